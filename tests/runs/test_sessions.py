"""TensorBoard's HParams page has each run once, with its values, results and how it ended.

All is read by TensorBoard's own backend, as the page's server does.
"""

import contextlib
import io
import shutil

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import (
    EventMultiplexer,
)
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from aevae import InputError
from aevae.evaluation import evaluate
from aevae.runs import events, record, study, tables, worker
from aevae.runs.events import Events

CONFIG = "configs/digits.py"
SMALL = {"epochs": 2, "batch": 300, "encoder.widths": (8,), "decoder.widths": (8,)}
GRID = {"latent": (2, 3), "lr": (0.003, 1e9), "seed": (0, 1)}
ASKED = {"overrides": SMALL, "grid": GRID}
MARKUP = '</script><b id="injected">"x"&amp;.npz'
SUCCESS, FAILURE, UNKNOWN = 1, 2, 0
pytestmark = [
    pytest.mark.retraced,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def reader(workdir):
    """TensorBoard's reader of a run folder, and the backend of the page."""
    path = str(workdir / "tensorboard")
    found = EventMultiplexer()
    found.AddRunsFromDirectory(path)
    found.Reload()
    provider = MultiplexerDataProvider(found, path)
    return found, Context(TBContext(data_provider=provider))


def asked(backend, kind, request):
    return kind.Handler(RequestContext(), backend, "x", request).run()


def sessions(workdir):
    """{number of a run: ({hyperparameter: value}, {metric: (step, value)}, status)} as the page has it."""
    request = api_pb2.ListSessionGroupsRequest(
        slice_size=1000, allowed_statuses=[0, 1, 2, 3]
    )
    response = asked(reader(workdir)[1], list_session_groups, request)
    found = {}
    for group in response.session_groups:
        (session,) = group.sessions
        hparams = {
            k: getattr(v, v.WhichOneof("kind")) for k, v in group.hparams.items()
        }
        metrics = {
            m.name.tag: (m.training_step, m.value) for m in session.metric_values
        }
        number = int(session.name[:4])
        assert number not in found
        found[number] = hparams, metrics, session.status
    return found


def pictures(workdir):
    """{(number of a run, tag): steps} of the pictures."""
    found, _ = reader(workdir)
    return {
        (int(run[:4]), tag): [e.step for e in found.Tensors(run, tag)]
        for run, tags in found.PluginRunToTagToContent("images").items()
        for tag in tags
    }


def same(value, cell):
    return value == pytest.approx(cell, nan_ok=True)


def assert_shown(workdir, epochs=2):
    """What the page has is what results.csv and config.json have."""
    rows, found = tables.results(workdir), sessions(workdir)
    runs = record.declared(workdir)
    assert sorted(found) == sorted(row["run"] for row in rows)
    for row in rows:
        hparams, metrics, status = found[row["run"]]
        run = runs[row["run"]]
        assert hparams["latent"] == run.model.latent and hparams["seed"] == run.seed
        assert hparams["beta"] == 1 and hparams["epochs"] == epochs == run.epochs
        assert hparams["lr"] == run.hparams["lr"]
        assert hparams["objective"] == "beta_vae" and hparams["patience"] == "inf"
        assert status == (SUCCESS if row["diverged"] is None else FAILURE)
        for name in ("elbo", "distortion", "iwae", "validation_elbo"):
            step, value = metrics[f"results/{name}"]
            assert step == epochs * 4 and same(value, row[name]), name


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions") / "run"
    study.run(CONFIG, folder, **ASKED)
    return folder


def test_the_page_has_what_the_tables_have(straight):
    assert len({row["diverged"] for row in tables.results(straight)}) == 2
    assert_shown(straight)
    request = api_pb2.GetExperimentRequest()
    found = asked(reader(straight)[1], get_experiment, request)
    differ = {info.name for info in found.hparam_infos if info.differs}
    assert differ == {"latent", "lr", "seed"}
    first = [info.name.tag for info in found.metric_infos][:6]
    assert all(tag.startswith("results/") for tag in first)


def test_workers_show_the_same(straight, tmp_path):
    folder = tmp_path / "run"
    study.declare(CONFIG, folder, **ASKED)
    assert not (folder / "tensorboard").exists()
    worker.run(folder, 0)
    assert set(sessions(folder)) == {0, 1, 2, 3}
    worker.run(folder, 1)
    study.collect(folder)
    names = [
        sorted(p.name for p in (f / "tensorboard").iterdir())
        for f in (folder, straight)
    ]
    assert (
        names[0] == names[1] and names[0][0] == "0000,latent=2,beta=1,lr=0.003,seed=0"
    )
    assert_shown(folder)


@pytest.mark.parametrize(
    "how", ["before", pytest.param("after", marks=pytest.mark.slow)]
)
def test_a_run_that_was_killed_and_goes_on_is_one_session(how, tmp_path):
    folder = tmp_path / "run"
    add, calls = Events.add, []

    def dying(self, points):
        calls.append(None)
        if how == "after" or len(calls) < 3:
            add(self, points)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Events, "add", dying)
        with pytest.raises(KeyboardInterrupt):
            study.run(CONFIG, folder, **ASKED, interval=0)
    assert {status for _, _, status in sessions(folder).values()} == {UNKNOWN}
    study.run(CONFIG, folder, **ASKED)
    assert_shown(folder)
    more = ASKED | {"overrides": SMALL | {"epochs": 3}}
    study.run(CONFIG, folder, **more)
    assert_shown(folder, epochs=3)
    if how == "after":
        study.run(CONFIG, folder, **more | {"grid": GRID | {"seed": (0, 1, 2)}})
        assert_shown(folder, epochs=3)


def test_a_run_that_diverges_later_has_failed(tmp_path):
    """Of a session's records readers keep the first, whatever a resume says."""
    place, run = tmp_path / "tensorboard", "0000,beta=1"
    for diverged, value in ((False, -9.0), (True, -8.0), (False, -7.0)):
        made = Events(place, [run], [(0, 3, {"test/elbo": value})], [{"beta": value}])
        made.end([(3, {"elbo": value})], [diverged])
        ((hparams, metrics, status),) = sessions(tmp_path).values()
        assert hparams == {"beta": value} and status == 1 + diverged
        assert metrics["results/elbo"] == metrics["test/elbo"] == (3, value)
    before = {path: path.read_bytes() for path in (place / run).iterdir()}
    Events(place, [run], [], [{"beta": -7.0}])
    assert all(path.read_bytes() == content for path, content in before.items())


def test_what_is_measured_later_is_added_once(straight, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    names = evaluate.run(folder, ["representation"])
    files = {p: p.read_bytes() for p in (folder / "tensorboard").glob("*/*")}
    evaluate.run(folder, ["representation"])
    evaluate.collect(folder)
    assert files == {p: p.read_bytes() for p in (folder / "tensorboard").glob("*/*")}
    found = sessions(folder)
    for row in tables.results(folder):
        for name in names if row["diverged"] is None else ():
            step, value = found[row["run"]][1][f"results/{name}"]
            assert step == 8 and value == pytest.approx(row[name])
    # Of the parameters of more epochs it is not known, and no longer shown.
    study.run(CONFIG, folder, **ASKED | {"overrides": SMALL | {"epochs": 3}})
    shown, _ = reader(folder)
    (run,) = (name for name in shown.Runs() if name.startswith("0000"))
    assert not shown.Tensors(run, f"results/{names[0]}")
    evaluate.run(folder, ["representation"])
    step, value = sessions(folder)[0][1][f"results/{names[0]}"]
    assert (step, value) == (12, pytest.approx(tables.results(folder)[0][names[0]]))


# Names


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"run": 3}, "0003"),
        ({"run": 12, "latent": 8, "beta": "", "seed": 1}, "0012,latent=8,seed=1"),
        (
            {"run": 0, "dataset": "/home/me/a/very/long/path/x.npz", "lr": "0.001"},
            "0000,dataset=x.npz,lr=0.001",
        ),
        (
            {"run": 1, "encoder.widths": "(512, 256, 128, 64, 32)", "seed": 0},
            "0001,encoder.widths=(512, 256,~, 64, 32),seed=0",
        ),
    ],
)
def test_names_of_runs_can_be_read(columns, name):
    assert events.named(columns) == name


def test_names_stay_short():
    columns = {"run": 12345} | {f"hyperparameter_{n}": n for n in range(30)}
    assert (
        events.named(columns)
        == "12345,hyperparameter_0=0,hyperparameter_1=1,hyperparameter_2=2"
    )


def test_a_folder_of_before_keeps_its_names(straight, tmp_path):
    """And its points, and its runs become sessions as they are trained further."""
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    place = folder / "tensorboard"
    shutil.rmtree(place)
    names = [f"{n:04d},a name of before, {'longer, ' * 5}{n}" for n in range(8)]
    for name in names:
        Events(place, [name], [(0, 4, {"test/elbo": -30.0})])
    assert [*events.folders(folder).values()] == [place / name for name in names]
    assert sessions(folder) == {}
    study.run(CONFIG, folder, **ASKED | {"overrides": SMALL | {"epochs": 3}})
    assert sorted(path.name for path in place.iterdir()) == names
    assert_shown(folder, epochs=3)


# Pictures


def test_pictures_change_no_bit(straight, tmp_path):
    folder = tmp_path / "run"
    study.run(CONFIG, folder, **ASKED, images=3)
    for name in ("results.csv", "curves.csv"):
        assert (folder / name).read_bytes() == (straight / name).read_bytes()
    ours, theirs = (record.read(f) for f in (folder, straight))
    assert ours == theirs
    found = pictures(folder)
    assert {number for number, _ in found} == {0, 2, 5}
    assert {tag for _, tag in found} == {"images/reconstructions", "images/samples"}
    assert all(steps[-1] == 8 for steps in found.values())
    assert pictures(straight) == {}


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_pictures_are_gray_or_in_color_and_survive_a_resume(channels, tmp_path):
    rng = np.random.default_rng(0)
    shape = (60, 4, 4, channels)
    path = tmp_path / MARKUP.replace("/", "_")
    np.savez(path, image=rng.integers(0, 256, shape).astype(np.uint8))
    asked = {"dataset": str(path), "images": 1, "grid": {"seed": (0,)}}
    folder, small = tmp_path / "run", SMALL | {"batch": 10, "binarization": "none"}
    small = small | (
        {"likelihood": "gaussian", "hparams.sigma": 1.0} if channels == 3 else {}
    )
    study.run(CONFIG, folder, overrides=small, **asked)
    before = pictures(folder)
    study.run(CONFIG, folder, overrides=small | {"epochs": 3}, **asked)
    after = pictures(folder)
    assert sessions(folder)[0][0]["dataset"] == str(path)  # markup and all
    for key, steps in before.items():
        assert after[key][: len(steps)] == steps and after[key][-1] > steps[-1]
    shown, _ = reader(folder)
    (run,) = shown.Runs()
    last = shown.Tensors(run, "images/reconstructions")[-1].tensor_proto
    width, height, png = last.string_val
    picture = Image.open(io.BytesIO(png))
    assert picture.size == (int(width), int(height)) and int(height) == 130
    assert picture.mode == ("L" if channels == 1 else "RGB")


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_vectors_have_no_pictures_and_a_line_says_so(
    trained, tmp_path, capsys, monkeypatch
):
    if not trained:
        monkeypatch.setattr(study, "_train_all", lambda *_: None)
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    ended = pytest.raises(InputError, match="no finished run")
    with contextlib.nullcontext() if trained else ended:
        study.run(
            CONFIG,
            tmp_path / "run",
            overrides=SMALL
            | {
                "batch": 10,
                "likelihood": "gaussian",
                "hparams.sigma": 1.0,
                "binarization": "none",
            },
            grid={"seed": (0, 1)},
            dataset={"train": rows[:40], "validation": rows[40:50], "test": rows[50:]},
            images=2,
        )
    said = capsys.readouterr().err
    assert said.count("no pictures for TensorBoard: the data are vectors") == 1
    assert not trained or pictures(tmp_path / "run") == {}


@pytest.mark.parametrize("images", [-1, 1.5, True, "all"])
def test_a_wrong_number_of_pictures_is_refused(images, tmp_path):
    with pytest.raises(InputError, match="images must be a whole number of runs"):
        study.run(CONFIG, tmp_path / "run", **ASKED, images=images)
    assert not (tmp_path / "run").exists()
