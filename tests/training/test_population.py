"""Groups against solo runs, bit for bit where that is promised."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aevae import InputError, config, data, models, networks, objectives, optim
from aevae.config import Config
from aevae.models import likelihoods
from aevae.training import bounds
from aevae.training.check import check_run, with_image_shape
from aevae.training.epochs import begin, is_evaluated, judge
from aevae.training.layout import chunk_of, lay_out
from aevae.training.loop import _mark, snapshots
from aevae.training.population import Population
from aevae.training.step import State, Window, init_state, train_span

pytestmark = [pytest.mark.bits, pytest.mark.retraced]

OBJECTIVES = {
    "autoencoder": (objectives.autoencoder, {"sigma": 0.7}),
    "beta_vae": (objectives.beta_vae, {"beta": 4.0}),
    "capacity_vae": (objectives.capacity_vae, {"gamma": 2.0, "capacity": 30.0}),
    "iwae": (functools.partial(objectives.iwae, k=3), {}),
}


def run(name="beta_vae", *, seed=0, lr=1e-3, epochs=2, **hparams):
    objective, hp = OBJECTIVES[name]
    gaussian = name == "autoencoder"
    return Config(
        model=models.VAE(
            3,
            networks.MLPEncoder((8,)),
            networks.MLPDecoder((8,)),
            likelihoods.gaussian if gaussian else likelihoods.bernoulli,
            models.zeros if gaussian else models.mean_logit,
        ),
        objective=objective,
        hparams=hp | {"lr": lr} | hparams,
        optimizer=optim.adam,
        schedule=optim.constant,
        binarization=data.none if gaussian else data.stochastic,
        batch=16,
        epochs=epochs,
        seed=seed,
    )


def group(runs, dataset, devices=1, chunk=2):
    checked = check_run(runs[0], dataset)
    layout = lay_out(len(runs), min(chunk, len(runs)), devices)
    return Population(runs, dataset, layout, checked)


def together(
    runs, dataset, devices=1, chunk=2, length=None, evaluated=False, piece=None
):
    """The states, the metrics of every epoch, and the results, of runs trained as one group."""
    population = group(runs, dataset, devices, chunk)
    population.piece = piece
    curves = []
    for snapshot in snapshots(population, population.start(), length):
        rows = snapshot.metrics or {"epoch": ()}
        curves += [
            {k: v[n] for k, v in rows.items()} for n in range(len(rows["epoch"]))
        ]
        if snapshot.epoch == runs[0].epochs and not evaluated:
            break
    return population.states(snapshot), curves, snapshot.results


def assert_same_bits(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def assert_close(ours, theirs):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6),
        ours,
        theirs,
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_member_equals_the_run_alone(name, tiny):
    """The run alone is plain jit of `train`: no group, no vmap, no devices."""
    runs = [run(name, seed=s, lr=lr) for s in (0, 1) for lr in (1e-3, 3e-3)]
    states, curves, _ = together(runs, tiny, devices=2)
    config = with_image_shape(runs[3], tiny)
    hp = {k: jnp.float32(v) for k, v in config.hparams.items()}
    start = jax.jit(functools.partial(init_state, config))
    state = start(data.none(None, data.rows(tiny.train, slice(None))), 1, hp)
    sums = dict.fromkeys(check_run(runs[3], tiny)[1], jnp.float32(0))
    span = jax.jit(functools.partial(train_span, config))
    for epoch in range(2):
        order = np.random.default_rng([1, epoch]).permutation(48).reshape(3, 16)
        window = Window(tiny.train, order, 0, 48)
        state, sums = span(window, (state, sums), 1, hp, 0, 3)
    assert_close(states[3], jax.device_get(state))
    for term, total in sums.items():
        np.testing.assert_allclose(curves[-1][f"train_{term}"][3], total / 3, rtol=2e-5)


@pytest.mark.parametrize("chunk", [1, 2])
def test_neighbors_change_no_bit(chunk, tiny):
    ours, others = (
        run(seed=5, beta=2.0),
        [run(seed=s, beta=b) for s, b in ((0, 1), (1, 9))],
    )
    first = together([ours, *others, others[0]], tiny, chunk=chunk)
    second = together([others[1], others[0], ours, ours], tiny, chunk=chunk)
    for place in (2, 3):
        assert_same_bits(first[0][0], second[0][place])
        for a, b in zip(first[1], second[1]):
            assert {k: v[0] for k, v in a.items()} == {
                k: v[place] for k, v in b.items()
            }


def test_a_member_that_diverges_leaves_the_others_bits_alone(tiny):
    sound = [run(seed=s) for s in (0, 1, 2)]
    broken = run(seed=3, lr=1e30)
    ours, curves, _ = together([*sound, broken], tiny)
    theirs, _, _ = together([*sound, run(seed=3)], tiny)
    assert not np.isfinite(curves[-1]["train_loss"][3])
    assert all(np.isfinite(curves[-1]["train_loss"][:3]))
    for a, b in zip(ours[:3], theirs[:3]):
        assert_same_bits(a, b)


def test_cutting_an_epoch_changes_no_bit(tiny):
    runs = [run(seed=s) for s in (0, 1, 2, 3)]
    whole, by_one = together(runs, tiny, length=3), together(runs, tiny, length=1)
    assert_same_bits(whole[0], by_one[0])
    assert_same_bits(whole[1], by_one[1])


def test_loops_of_known_length_change_no_bit(tiny):
    """3 steps at once, as on an accelerator; cut where such a loop does not end; one by one."""
    runs = [run(seed=s, epochs=3) for s in (0, 1, 2, 3)]
    plain = together(runs, tiny)
    for length in (None, 4, 1):
        known = together(runs, tiny, length=length, piece=3)
        assert_same_bits(known[0], plain[0])
        assert_same_bits(known[1], plain[1])


def test_best_and_stopped_runs_are_the_same_wherever_the_host_looks(tiny):
    """Runs that stop at epochs of their own, alone and in a chunk with others."""
    base = dataclasses.replace(run(lr=0.1, epochs=30), keep="best", patience=2)
    runs = [config.replace(base, "seed", seed) for seed in range(4)]

    def told(chunk, length, piece):
        population = group(runs, tiny, chunk=chunk)
        population.piece = piece
        *_, last = snapshots(population, length=length)
        assert last.epoch == last.status.stopped.max() < 30
        assert len({*last.status.stopped.tolist()}) > 1
        return last.status, population.selected(last), population.states(last)

    for chunk in (1, 2):
        whole = told(chunk, None, None)
        assert_same_bits(told(chunk, 1, None), whole)
        assert_same_bits(told(chunk, None, 3), whole)
        assert (whole[0].stopped - whole[0].best == 2).all()


def test_evaluated_now_and_then_a_run_is_the_same(tiny):
    """Every other epoch, and after the last: the rows of those, from a state that moves alike."""
    runs = [run(seed=s, epochs=5) for s in (0, 1)]
    every = together(runs, tiny)
    some = together([dataclasses.replace(r, evaluate_every=2) for r in runs], tiny)
    assert_same_bits(some[0], every[0])
    assert [row["epoch"].tolist() for row in some[1]] == [[2, 2], [4, 4], [5, 5]]
    assert_same_bits(some[1], [every[1][n - 1] for n in (2, 4, 5)])


@pytest.mark.parametrize("every", [1, 2, 3])
def test_patience_counts_epochs_and_is_judged_where_there_is_an_evaluation(every):
    """Against plain Python, at a score that rises until epoch 5; what diverges in between is marked."""
    last, patience, scores = 12, 4, [1, 2, 3, 4, 5, *[0] * 7]
    made = dataclasses.replace(run(epochs=last), evaluate_every=every)
    made = dataclasses.replace(made, patience=patience)
    best, stopped, top = 0, 0, -np.inf
    step = jax.jit(functools.partial(judge, made))
    status = begin(made, State(None, None, 0), ["loss"], {}, 1).status
    for epoch, score in enumerate(scores, 1):
        evaluated = is_evaluated(made, epoch, last)
        found = {"train_loss": np.inf if epoch >= 7 else 1.0}
        found["validation_elbo"] = np.float32(score if evaluated else np.nan)
        _, status = step(epoch, found, status, evaluated)
        if evaluated and score > top:
            best, top = epoch, score
        if evaluated and epoch - best >= patience:
            stopped = epoch
            break
    assert (int(status.best), int(status.stopped)) == (best, stopped)
    assert int(status.diverged) == 7 and best == 5 // every * every


def test_the_program_of_an_accelerator_knows_how_long_its_loops_are(tiny):
    """Of the steps; it moves no state between host and device, and copies it once an epoch at most."""
    made = dataclasses.replace(run(), keep="best", patience=2)
    population = group([made] * 2, tiny, chunk=2)
    population.piece = 3
    text = population.compiled_text()
    for name in ("infeed", "outfeed", "host-transfer", "send(", "recv("):
        assert name not in text
    known = r'body=%(\S+?),.*"known_trip_count":\{"n":"3"\}'
    (body,) = re.findall(known, text)
    steps = text[text.index(f"\n%{body} ") :].partition("\n}")[0]
    assert steps.count("f32[2,16,8]") > 3  # both members' first weights, and Adam's
    assert not re.search(r"f32\[2,16,8\]\S* copy\(", steps)


def test_a_snapshot_in_mid_epoch_can_be_resumed(tiny):
    """All that a checkpoint will hold is the snapshot: what follows depends on nothing else."""
    runs = [run(seed=s) for s in range(4)]
    straight, _, _ = together(runs, tiny)
    population = group(runs, tiny)
    for snapshot in snapshots(population, population.start(), length=1):
        if (snapshot.epoch, snapshot.step) == (1, 2):
            break
    kept = snapshot._replace(run=jax.device_get(snapshot.run))
    again = group(runs, tiny)
    for last in snapshots(again, kept):
        if last.epoch == 2:
            break
    assert_same_bits(again.states(last), straight)


def test_four_devices_give_the_result_of_one(tiny):
    runs = [run(seed=s) for s in range(4)]
    one, four = together(runs, tiny, devices=1), together(runs, tiny, devices=4)
    assert_close(one[0], four[0])
    assert_close(one[1], four[1])


def test_the_program_has_no_collective(tiny):
    runs = [run(seed=s) for s in range(4)]
    text = group(runs, tiny, 4, 1).compiled_text()
    assert "while" in text  # it is the program that trains
    for name in (
        "all-gather",
        "all-reduce",
        "all-to-all",
        "collective-permute",
        "reduce-scatter",
    ):
        assert name not in text


def test_runs_that_share_a_seed_are_paired(tiny):
    runs = [run(seed=0, beta=b, lr=1e-30, epochs=1) for b in (1.0, 8.0, 2.0, 4.0)]
    states, curves, _ = together(runs, tiny)
    # One initial state, not moved; only the output bias starts at 0, and so may move at all.
    first, second = (jax.tree.leaves(state.params) for state in states[:2])
    for a, b in zip(first, second):
        np.testing.assert_allclose(a, b, atol=1e-28, rtol=0)
    for name in ("distortion", "rate"):
        a, b, *_ = curves[0][f"train_{name}"]
        np.testing.assert_allclose(a, b, rtol=1e-6)  # one order, one noise


def test_initial_weights_and_order_depend_on_the_seed(tiny):
    runs = [run(seed=s, lr=1e-30, epochs=1) for s in range(4)]
    states, _, _ = together(runs, tiny)
    kernels = [s.params["params"]["encoder"]["Dense_0"]["kernel"] for s in states]
    assert (kernels[0] != kernels[1]).mean() > 0.9
    (window,) = group(runs, tiny).feed.windows(0, 0, 2)
    first, second = np.asarray(window.order)[:, :2].swapaxes(0, 1)
    assert sorted(first[0].ravel()) == list(range(48))
    assert (first != second).any() and (first[0] != first[1]).any()


def test_no_block_of_an_evaluation_is_small():
    """What is measured between the rows of a block, as a total correlation, needs some of them."""
    for count in range(1, 4000):
        rows = {"image": np.empty(count)}
        full, size, rest = bounds.blocks(rows, 100)
        assert full * size + rest == count and size <= 100
        assert rest == 0 or rest >= 25
        assert count <= 100 or size > 50


def test_evaluation_is_over_every_example_once():
    """601 rows are two blocks and a rest: the mean must weigh each by its size."""
    values = np.arange(601, dtype=np.float32)
    assert bounds.blocks({"image": values}, 250) == (2, 201, 199)
    rows = {"image": values[:, None]}

    def measure(config, state, batch, key, hp):
        return {"x": batch["image"].mean()}

    state = State(None, (), jnp.int32(0))
    args = run(), state, rows, jax.random.key(0), {}
    mean = bounds.means(measure, 250, *args)
    np.testing.assert_allclose(mean["x"], values.mean(), rtol=1e-6)
    sums = {"x": jnp.float32(9)}  # of an earlier evaluation
    for start, stop in ((0, 1), (1, 2), (2, 3)):
        sums = bounds.span(
            measure, 250, *args[:3], sums, *args[3:], np.int32(start), np.int32(stop)
        )
    np.testing.assert_array_equal(mean["x"], sums["x"])


def test_results_are_the_bounds(tiny):
    runs = [run(seed=0, lr=1e-2, epochs=30), run(seed=1, lr=1e-2, epochs=30)]
    states, curves, results = together(runs, tiny, evaluated=True)
    np.testing.assert_allclose(
        results["test_elbo"],
        -results["test_distortion"] - results["test_rate"],
        rtol=1e-6,
    )
    assert (results["test_iwae"] > results["test_elbo"]).all()
    # One draw a point against 64 of them.
    np.testing.assert_allclose(results["test_elbo"], curves[-1]["test_elbo"], rtol=0.03)
    config = with_image_shape(runs[0], tiny)
    batch = data.none(None, data.held_out(config.binarization, tiny, "test"))
    q = jax.jit(functools.partial(config.model.apply, method="encode"))(
        states[0].params, batch
    )
    variance = np.asarray(q.mean, np.float64).var(0)
    assert abs(variance - bounds.ACTIVE).min() > 1e-5  # none is in doubt
    assert results["test_active_units"][0] == (variance > bounds.ACTIVE).sum()


def test_active_units_are_counted_by_the_variance_of_the_mean(tiny):
    """Against float64 NumPy, with one latent cut off by hand."""
    config = with_image_shape(run(), tiny)
    rows = data.threshold(None, {"image": tiny.test["image"]})
    hp = {"beta": jnp.float32(1), "lr": jnp.float32(1)}
    state = jax.jit(functools.partial(init_state, config))(
        data.rows(rows, slice(None)), 0, hp
    )
    kernel = state.params["params"]["posterior"]["Dense_0"]["kernel"]
    state.params["params"]["posterior"]["Dense_0"]["kernel"] = kernel.at[:, 0].set(0.0)
    terms = jax.jit(functools.partial(bounds.of_split, config))(
        state, rows, jax.random.key(0), hp
    )
    encode = jax.jit(functools.partial(config.model.apply, method="encode"))
    variance = np.asarray(encode(state.params, rows).mean, np.float64).var(0)
    assert variance[0] < 1e-9 and variance[1:].min() > 0.01
    assert terms["active_units"] == 2


def test_autoencoder_has_no_bound(tiny):
    _, curves, results = together(
        [run("autoencoder", seed=s) for s in (0, 1)], tiny, evaluated=True
    )
    for table in (*curves, results):
        assert not any(
            "elbo" in k or "rate" in k or "iwae" in k or "active" in k for k in table
        )
    terms = ("distortion", "squared_error", "cross_entropy")
    assert {*results} == {f"{p}_{n}" for p in ("validation", "test") for n in terms}


@pytest.mark.parametrize(
    ("runs", "parameters", "expected"),
    [
        (1, 1000, 1),
        (3, 1000, 1),
        (4, 1000, 2),
        (9, 1000, 3),
        (12, 1000, 3),
        (40, 1000, 5),
        (40, 30_000, 1),
    ],
)
def test_a_chunk_follows_from_the_group_alone(runs, parameters, expected, monkeypatch):
    for devices in (1, 2, 7, 64):
        monkeypatch.setattr(jax, "device_count", lambda count=devices: count)
        chunk = chunk_of(runs, parameters)
        layout = lay_out(runs, chunk)
        assert chunk == layout.chunk == expected
        assert layout.devices <= devices
        assert runs <= layout.padded < runs + layout.devices * chunk
        part = lay_out(chunk, chunk, whole=runs)  # of one turn
        assert part.devices == min(layout.devices, 2)
        turns = -(-runs // chunk)
        assert devices > 1 or layout.padded == turns * chunk
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert chunk_of(runs, parameters) == runs


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"hparams": {"beta": 1.0, "lr": 1e-3, "gama": 2.0}},
            "nothing reads .* gama; it reads",
        ),
        ({"hparams": {"lr": 1e-3}}, r"'beta' is neither a hyperparameter \(lr\) nor"),
        ({"batch": 49}, "larger than the 48 .*: --config.batch=48 is the most"),
        ({"objective": lambda *a: 1 / 0}, "fails: division by zero"),
    ],
)
def test_a_fault_shows_before_training(change, says, tiny):
    with pytest.raises(InputError, match=says) as fault:
        check_run(dataclasses.replace(run(), **change), tiny)
    assert "\n" not in str(fault.value)


def test_a_hyperparameter_that_only_a_schedule_touches_is_not_read(tiny):
    """The schedule reads beta, and nothing reads what the schedule makes of it."""

    def schedule(hp, step):
        return hp | {"beta": hp["beta"] * jnp.minimum(1.0, step / 10)}

    lost = dataclasses.replace(
        run("iwae"), hparams={"lr": 1e-3, "beta": 1.0}, schedule=schedule
    )
    with pytest.raises(
        InputError, match="nothing reads hyperparameter beta; it reads lr"
    ):
        check_run(lost, tiny)


def test_data_outside_the_likelihoods_range_is_refused():
    rows = {"image": np.linspace(-1, 1, 80, dtype=np.float32).reshape(20, 2, 2, 1)}
    dataset = data.arrays(rows, rows, rows, name="mine")
    config = dataclasses.replace(run(), binarization=data.none)
    with pytest.raises(
        InputError, match="mine, train: pixels from -1 to 1 lie outside .* 0 to 1"
    ):
        check_run(config, dataset)
    config = dataclasses.replace(run("autoencoder"), binarization=data.none)
    check_run(config, dataset)  # a Gaussian takes any


def test_a_ramp_grows_to_the_value():
    schedule = functools.partial(optim.ramp, name="beta", length="warmup")
    hp = {"beta": 4.0, "warmup": 10.0}
    assert [float(schedule(hp, s)["beta"]) for s in (0, 5, 10, 20)] == [0, 2, 4, 4]


def test_what_is_not_finite_is_marked_and_never_the_best(tiny):
    runs = [run(seed=s) for s in range(3)]
    status = group(runs, tiny, chunk=1).start().status
    scores = {
        "train_loss": np.ones(3),
        "validation_elbo": np.array([-9, np.inf, np.nan]),
    }
    of_one = functools.partial(judge, runs[0], 1, evaluated=True)
    better, status = jax.jit(jax.vmap(of_one))(scores, status)
    assert better.tolist() == [True, False, False]
    assert status.best.tolist() == [1, 0, 0]
    assert status.diverged.tolist() == [0, 1, 1]
    # The results alone may show it, and what was marked before stays.
    after = _mark(status, {"test_iwae": np.array([np.nan, 1, np.nan])}, 7)
    assert after.diverged.tolist() == [7, 1, 1]
