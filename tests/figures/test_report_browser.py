"""The report in a browser: sorted, filtered, clicked; and what a user wrote is text."""

import shutil

import pytest
from reports import MARKUP, contents, marked, rewrite

from aevae.figures import report
from aevae.figures.report import file
from aevae.runs import study, tables

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install -e '.[test]'"
)
pytestmark = pytest.mark.retraced

GRID = {"beta": (0.5, 4.0), "lr": (1e-3, 3e-3), "seed": (0, 1, 2)}
SMALL = {"epochs": 4, "batch": 400, "latent": 2, "encoder.widths": "(8,)"}
NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
READY = "body[data-ready=yes]"
MODEL = "(name) => Bokeh.documents[0].get_model_by_name(name)"
SET = f"([name, value]) => {{ ({MODEL})(name).value = value; }}"
CHOSEN = f"() => ({MODEL})('runs').selected.indices"
# What the cells of the rows that can be seen say, in the shadow of the table's root.
CELLS = """(n) => {
  const found = [], look = (root) => root.querySelectorAll("*").forEach((node) => {
    if (node.classList.contains("slick-row")) found.push(node);
    if (node.shadowRoot) look(node.shadowRoot);
  });
  look(document.querySelector("#below"));
  found.sort((a, b) => a.offsetTop - b.offsetTop);
  return found.map((row) => [...row.children].map((cell) => cell.textContent)[n]);
}"""


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium here: none of {', '.join(NAMES)}")
    with sync_api.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "small"
    study.run("configs/digits.py", path, overrides=SMALL, grid=GRID)
    report.write([path])
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def opened(browser):
    """Opens a file; afterwards the page must have asked no network, and must not have failed."""
    faults, asked = [], []
    page = browser.new_page(viewport={"width": 1500, "height": 1400})
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: asked.append(r.url))
    page.on("dialog", lambda d: faults.append("dialog"))

    def open_file(path):
        page.goto(path.absolute().as_uri())
        page.wait_for_selector(READY, state="attached")
        page.wait_for_timeout(300)
        return page

    yield open_file
    page.close()
    assert not faults
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)


def shown(page, column):
    return [text for text in page.evaluate(CELLS, column) if text is not None]


def test_the_table_sorts_and_filters(opened, folder):
    page = opened(folder / "report.html")
    rows = tables.results(folder)
    place = [*contents(folder / "report.html")["fields"]].index("elbo")
    assert shown(page, 0) == [str(n) for n in range(12)]
    page.locator(".slick-header-column", has_text="elbo").first.click()
    page.wait_for_timeout(300)
    found = [float(text) for text in shown(page, place)]
    assert found == sorted(found) and len(found) == 12
    assert found[0] == pytest.approx(min(row["elbo"] for row in rows), abs=0.006)
    middle = sorted(row["elbo"] for row in rows)[6]
    page.get_by_placeholder("as: elbo").fill(f"elbo >= {middle}, beta = 0.5")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    kept = [r["run"] for r in rows if r["elbo"] >= middle and r["beta"] == 0.5]
    assert sorted(map(int, shown(page, 0))) == kept
    assert page.locator("#count").inner_text() == f"{len(kept)} of 12 runs are shown."
    page.evaluate(SET, ["filter", "nothing > 3"])
    assert (
        page.locator("#fault").inner_text().startswith("no column nothing: there are")
    )
    page.evaluate(SET, ["filter", ""])
    page.evaluate(SET, ["only0", "1"])  # the second beta
    page.wait_for_timeout(300)
    assert sorted(map(int, shown(page, 0))) == [
        r["run"] for r in rows if r["beta"] == 4
    ]


def test_a_click_on_a_point_shows_its_run(opened, folder):
    """And on a row, and on a curve, whose runs are all of its seeds."""
    page = opened(folder / "report.html")
    rows = tables.results(folder)
    where = """(n) => {
      const model = Bokeh.documents[0].get_model_by_name("plane");
      const view = Bokeh.index.find_one(model), data = Bokeh.documents[0].get_model_by_name("runs").data;
      const box = view.canvas_view.el.getBoundingClientRect();
      return [box.left + view.frame.x_scale.compute(data.rate[n]), box.top + view.frame.y_scale.compute(data.distortion[n])];
    }"""
    lone = max(range(12), key=lambda n: rows[n]["rate"])
    page.mouse.click(*page.evaluate(where, lone))
    page.wait_for_timeout(300)
    assert lone in page.evaluate(CHOSEN)
    details = page.locator("#details")
    titles = details.locator("h3").all_inner_texts()
    assert contents(folder / "report.html")["labels"][lone] in titles
    heads = details.locator("h4").all_inner_texts()[:4]
    assert heads == ["test examples", "reconstructions", "samples", "traversals"]
    strip = details.locator(".strip").first
    assert strip.evaluate("node => node.style.backgroundImage").startswith(
        'url("data:image/png'
    )
    assert (
        strip.bounding_box()["width"] > 200 and details.locator(".rates i").count() >= 2
    )
    page.locator(".slick-row").nth(3).locator(".slick-cell").nth(1).click()
    page.wait_for_timeout(300)
    assert page.evaluate(CHOSEN) == [3]
    assert details.locator("h3").all_inner_texts() == [
        "run 3: beta 0.5, lr 0.003, seed 0"
    ]
    page.evaluate(f"() => {{ ({MODEL})('lines').selected.indices = [2]; }}")
    page.wait_for_timeout(300)
    assert page.evaluate(CHOSEN) == [6, 7, 8]
    assert details.locator("article").count() == 3
    ys = page.evaluate(f"() => ({MODEL})('own').data.ys.map((ys) => ys[ys.length - 1])")
    last = {row["run"]: row["test_elbo"] for row in tables.read(folder / "curves.csv")}
    assert ys == pytest.approx([last[n] for n in (6, 7, 8)], rel=1e-4)


def test_choices_redraw_the_plots(opened, folder):
    page = opened(folder / "report.html")
    found = contents(folder / "report.html")
    page.evaluate(SET, ["metric", "train_rate"])
    page.evaluate(SET, ["x", found["fields"]["rate"]])
    page.evaluate(SET, ["color", ""])
    page.wait_for_timeout(300)
    first = page.evaluate(f"() => ({MODEL})('lines').data.ys[0]")
    assert first == pytest.approx(found["lines"][0]["mean"]["train_rate"])
    x = page.evaluate(f"() => Array.from(({MODEL})('runs').data.x)")
    assert x == pytest.approx([row["rate"] for row in tables.results(folder)])
    assert page.evaluate(f"() => ({MODEL})('scatter').below[0].axis_label") == "rate"
    assert "beta:" not in page.locator("#legend").inner_text()


def test_markup_is_shown_as_text(opened, folder, tmp_path):
    path = report.write([marked(folder, tmp_path)], tmp_path / "page.html")
    page = opened(path)
    page.evaluate(f"() => {{ ({MODEL})('runs').selected.indices = [0]; }}")
    page.evaluate(
        "() => document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )
    page.wait_for_timeout(500)
    count = """() => { let n = 0; const look = (root) => root.querySelectorAll("*").forEach((node) => {
      n += node.id === "x"; if (node.shadowRoot) look(node.shadowRoot); }); look(document); return n; }"""
    assert page.evaluate(count) == 0
    text = page.locator("body").inner_text()
    for what in ("beta", "set", "dataset", "binarization", " config text"):
        assert f"{MARKUP}{what}" in text, what
    assert (
        "<b id=x>run" in page.title()
        and MARKUP in page.locator("#details h3").inner_text()
    )
    heads = page.locator("#below .slick-column-name").all_inner_texts()
    assert f"{MARKUP}beta" in [head.replace("\u2060", "") for head in heads]
    assert MARKUP in page.locator("#legend").inner_text()
    page.evaluate(SET, ["filter", f"{MARKUP}nothing = 3"])
    assert MARKUP in page.locator("#fault").inner_text()


def test_a_picture_that_is_linked_is_found(opened, copy, monkeypatch):
    monkeypatch.setattr(file, "INSIDE", 1)
    place = copy.rename(copy.with_name("a b#c%d"))
    page = opened(report.write([place], place / "it's #1.html"))
    found = contents(place / "it's #1.html")["pictures"]
    (number, *_) = (
        int(n) for n, p in found.items() if not p["src"].startswith("data:")
    )
    page.evaluate(f"(n) => {{ ({MODEL})('runs').selected.indices = [n]; }}", number)
    assert (
        "The picture is not in this page, but in"
        in page.locator("#details").inner_text()
    )
    wide = page.evaluate(
        """async () => { const image = new Image(); image.src =
        getComputedStyle(document.querySelector(".strip")).backgroundImage.slice(5, -2);
        await image.decode(); return image.naturalWidth; }"""
    )
    assert wide == found[str(number)]["size"][0]


def test_an_open_page_loads_itself_again_and_keeps_what_was_chosen(opened, copy):
    results = (copy / "results.csv").read_text()
    rewrite(copy / "results.csv", lambda row: row if row["beta"] == "0.5" else None)
    made = file.Report([copy], copy / "50% #1.html", every=0.1)
    page = opened(made.write(live=True))
    assert "6 training" in page.locator("header").inner_text()
    page.evaluate(SET, ["filter", "seed < 2"])
    page.evaluate(SET, ["only1", "1"])
    page.evaluate(f"() => {{ ({MODEL})('runs').selected.indices = [4, 10]; }}")
    page.wait_for_timeout(300)
    (copy / "results.csv").write_text(results)
    made.write(live=True)
    page.wait_for_function(
        "() => !document.querySelector('header').innerText.includes('training')"
    )
    page.wait_for_selector(READY, state="attached")
    page.wait_for_timeout(500)
    assert page.evaluate(CHOSEN) == [4, 10]
    assert page.evaluate(f"() => ({MODEL})('filter').value") == "seed < 2"
    assert page.locator("#count").inner_text() == "4 of 12 runs are shown."
    assert (
        page.locator("#details .strip").count() == 8
    )  # the pictures that have come since
