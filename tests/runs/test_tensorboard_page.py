"""TensorBoard's page itself, in a browser: hyperparameters, results, and names that hold markup."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from aevae.runs.events import Events

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MARKUP = '<b id="injected">x</b><script>injected = 1</script>'
RUNS = ("0000,beta=1", "0001,beta=<b id=injected>4")


@contextlib.contextmanager
def served(folder, *options):
    """The address at which TensorBoard shows a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--host", "127.0.0.1", "--port", port, *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    try:
        place = f"http://127.0.0.1:{port}"
        for _ in range(240):
            with contextlib.suppress(OSError):
                runs = urllib.request.urlopen(f"{place}/data/runs", timeout=5).read()
                if runs.count(b"beta=") == len(RUNS):
                    break
            time.sleep(0.25)
        yield place
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("options", [(), ("--load_fast=false",)])
def test_the_page_shows_runs_and_escapes_their_names(options, tmp_path):
    api = pytest.importorskip("playwright.sync_api")
    hparams = [{"beta": 1.0, "data": MARKUP}, {"beta": 4.0, "data": "plain"}]
    # More epochs, after which one has diverged: both readers have the second status.
    for epochs, diverged in ((3.0, False), (6.0, True)):
        own = [values | {"epochs": epochs} for values in hparams]
        points = [(member, 3, {"test/elbo": -30.0}) for member in range(2)]
        made = Events(tmp_path, RUNS, points, own)
        results = [(int(epochs), {"elbo": -20.5 - epochs})] * 2
        made.end(results, [False, diverged])
    with served(tmp_path, *options) as place, api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"{place}/#hparams")
        page.get_by_text("results/elbo").first.wait_for(timeout=60_000)
        for text in ("-26.500", "6.0000", "4.0000", MARKUP):
            page.get_by_text(text).first.wait_for(timeout=30_000)
        page.get_by_text("Failure").first.wait_for(timeout=30_000, state="attached")
        # Without the run that failed, one is left.
        assert page.get_by_text("0001,beta").count()
        page.get_by_text("Failure").first.click()
        page.get_by_text("0001,beta").first.wait_for(state="hidden", timeout=30_000)
        assert page.get_by_text("0000,beta").count()
        assert page.locator("#injected").count() == 0
        assert page.evaluate("typeof injected") == "undefined"
        page.goto(f"{place}/#timeseries")
        page.get_by_text(RUNS[1]).first.wait_for(timeout=60_000)
        assert page.locator("#injected").count() == 0
        browser.close()
