"""Runs on standardized data: their bounds are of the data as stored, and so is what they give back."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from outside import NETWORKS, run_of

from aevae import InputError, data, models, networks, objectives, training
from aevae.evaluation import evaluate
from aevae.runs import study, tables, trained
from aevae.training.trained_run import Trained, seen

pytestmark = pytest.mark.retraced

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3)) @ RNG.normal(size=(3, 3)) * [2e4, 1, 0.02] + [3e5, 0, 7]
X = np.float32(X)
JACOBIAN = np.log(np.std(X[:40], 0, dtype=np.float64)).sum()
HP = {"beta": 2.0}


def split(images):
    parts = np.split(images, [40, 60])
    return data.arrays(*({"image": part} for part in parts), name="made")


def model(likelihood=None, encoder=None, decoder=None, latent=2):
    kinds = encoder or NETWORKS[0], decoder or NETWORKS[1]
    return models.VAE(latent, *kinds, likelihood or models.LearnedGaussian())


def run(objective=objectives.beta_vae, hp=HP, **fields):
    how = {"binarization": data.none, "batch": 20, "standardize": "each"} | fields
    return run_of(how.pop("model", model()), objective, hp, **how)


def by_hand(config):
    """The same run on data that were standardized by hand."""
    made = data.of(config, dataset=split(X))
    parts = made.train, made.validation, made.test
    return dataclasses.replace(config, standardize="no"), data.arrays(*parts, name="y")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("standardized") / "run"
    study.run(run(), path, dataset=split(X))
    return path


@pytest.fixture(scope="module")
def both(folder):
    """The run, loaded without its data, and its parameters on data standardized by hand."""
    ours = trained.load(folder, run())
    plain = ours.config.model.clone(scaling=None)
    plain = dataclasses.replace(ours.config, model=plain)
    return ours, Trained(plain, ours.params, ours.step, {}, {})


@pytest.mark.parametrize(
    ("objective", "likelihood", "hp"),
    [
        (objectives.denoising, models.gaussian, {"sigma": 1.0, "noise": 0.1}),
        (objectives.dreg, models.LearnedGaussian(True), {}),
        (objectives.optimal_sigma_vae, models.OptimalGaussian(), {"beta": 1.0}),
    ],
)
def test_the_jacobian_is_in_the_loss_and_the_metrics(objective, likelihood, hp):
    """Σ log std more than on data that were standardized by hand; the gradient is the same."""
    if objective is objectives.dreg:
        objective = functools.partial(objective, k=2)
    config = run(objective, hp, model=model(likelihood))
    dataset = data.of(config, dataset=split(X))
    ours = training.check.with_image_shape(config, dataset)
    values = {n: jnp.float32(v) for n, v in config.hparams.items()}
    batch = data.none(None, data.rows(dataset.train, np.arange(20)))
    state = training.step.init_state(ours, batch, 0, values)

    def loss(params, model):
        return objective(model, params, batch, jax.random.key(1), values)

    @jax.jit
    def found(params):
        kinds = ours.model, ours.model.clone(scaling=None)
        return [jax.value_and_grad(loss, has_aux=True)(params, m) for m in kinds]

    ((one, terms), grads), ((other, plain), plain_grads) = found(state.params)
    np.testing.assert_allclose(one - other, JACOBIAN, atol=1e-4)
    apart = terms["distortion"] - plain["distortion"]
    np.testing.assert_allclose(apart, JACOBIAN, atol=1e-4)
    assert jax.tree.all(jax.tree.map(np.allclose, grads, plain_grads))


def test_the_bound_is_the_exact_log_likelihood_of_a_linear_gaussian():
    """With the exact posterior, log p(x, z) / q(z|x) = log N(x; S b + m, S (W Wᵀ + sigma² I) S).

    x is as it is stored, S = diag(std) and m the mean of the training split; for any z, in float64.
    """
    sigma = 0.7
    linear = networks.MLPEncoder(()), networks.MLPDecoder(())
    config = run(
        hp={"beta": 1.0, "sigma": sigma}, model=model(models.gaussian, *linear, 1)
    )
    images = X * np.float32([1e-3, 1, 10])
    dataset = data.of(config, dataset=split(images))
    config = training.check.with_image_shape(config, dataset)
    w, b = np.array([[0.9, -0.5, 0.3]]), np.array([0.2, -0.1, 0.4])
    variance = 1 / (1 + (w @ w.T).item() / sigma**2)
    slope = variance * w / sigma**2
    head = np.concatenate([slope.T, np.zeros((3, 1))], 1)
    offset = np.array([-(slope @ b).item(), np.log(variance)])
    hp = {name: jnp.float32(value) for name, value in config.hparams.items()}
    batch = data.none(None, data.rows(dataset.test, slice(None)))
    params = config.model.init(jax.random.key(0), batch, None, hp)
    values = {"posterior": {"kernel": head, "bias": offset}}
    values |= {"decoder": {"kernel": w}, "bias": {"value": b}}

    def put(path, leaf):
        names = [key.key for key in path]
        return jnp.float32(values[names[1]][names[-1]]).reshape(leaf.shape)

    params = jax.tree.map_with_path(put, params)
    apply = jax.jit(lambda key: config.model.apply(params, batch, key, hp))
    draw = apply(jax.random.key(0))
    train = np.float64(images[:40])
    mean, std = train.mean(0), train.std(0)
    cov = np.diag(std) @ (w.T @ w + sigma**2 * np.eye(3)) @ np.diag(std)
    exact = scipy.stats.multivariate_normal(mean + std * b, cov).logpdf(images[60:])
    found = draw.log_px + draw.log_pz - draw.log_qz
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_what_is_given_and_comes_back_is_as_stored(both):
    ours, theirs = both
    x, y = X[60:], by_hand(run())[1].test["image"]
    mean, std = X[:40].mean(0, np.float64), X[:40].std(0, dtype=np.float64)
    q = ours.encode(x)
    np.testing.assert_array_equal(q.mean, theirs.encode(y).mean)
    np.testing.assert_array_equal(ours.examples["image"], x[:10])
    np.testing.assert_array_equal(ours.seen[:2], [X.min(0), X.max(0)])

    def near(found, standardized):
        theirs = np.float64(standardized) * std + mean
        assert (abs(np.asarray(found) - theirs) <= 1e-6 * (abs(mean) + std)).all()

    near(ours.reconstruct(x), theirs.reconstruct(y))
    near(ours.reconstruct({"image": x}), theirs.reconstruct(y))
    key = jax.random.key(3)
    near(ours.sample(key, 5), theirs.sample(key, 5))
    p, own = ours.decode(q.mean), theirs.decode(q.mean)
    near(p.sample(key), own.sample(key))
    np.testing.assert_allclose(p.std, own.std * std.astype(np.float32)[None], rtol=1e-6)
    exact = scipy.stats.norm(np.float64(p.mean), p.std).logpdf(x)
    np.testing.assert_allclose(p.log_prob(x), exact.sum(1), atol=2e-3)
    np.testing.assert_allclose(p.log_prob_each(x), exact, atol=2e-3)
    assert p.density and not hasattr(p, "cross_entropy")
    with pytest.raises(
        AttributeError, match="has no log_std: that of standardized ones"
    ):
        _ = p.log_std
    with pytest.raises(InputError, match="another scale than the run was trained on"):
        ours.encode(x * 10)


def test_gray_levels_are_given_as_bytes_or_from_0_to_1(tiny):
    config = run(standardize="all")
    dataset = data.of(config, dataset=tiny)
    held = {"test": dataset.test}
    assert seen(data.none, dataset, held)[:2] == (0, 1)
    config = training.check.with_image_shape(config, dataset)
    batch = data.none(None, dataset.train)
    params = config.model.init(jax.random.key(0), batch, None, {})
    made = Trained(config, params, 0, {}, {}, seen=(0, 1))
    images = tiny.test["image"]
    q = config.model.apply(params, data.none(None, dataset.test), method="encode")
    for given in (images, np.float32(images) / np.float32(255)):
        np.testing.assert_allclose(made.encode(given).mean, q.mean, atol=1e-6)
    assert abs(made.reconstruct(images).mean() - images.mean() / 255) < 0.3


@pytest.mark.slow
def test_all_that_is_measured_is_of_the_data_as_stored(tmp_path):
    """A sweep's results, curves and every measure, beside those of data standardized by hand."""
    found = []
    own = run(hp={"beta": 1.0})
    for name, base, dataset in (("x", own, split(X)), ("y", *by_hand(own))):
        path = tmp_path / name
        study.run(base, path, dataset=dataset)
        how = {"dataset": dataset, "base": base, "k": 20}
        how |= {"ais_chains": 2, "ais_steps": 5, "ais_examples": 10}
        names = ["likelihood", "train_likelihood", "ais", "latents", "reconstruction"]
        evaluate.run(path, names, **how)
        (row,), curves = tables.results(path), tables.read(path / "curves.csv")
        found.append((row, curves[-1], trained.load(path, base)))
    (ours, curve, loaded), (theirs, plain, other) = found
    jax.tree.map(np.testing.assert_array_equal, loaded.params, other.params)
    for name in ("elbo", "iwae", "validation_elbo", "iwae_20", "train_iwae_20", "ais"):
        np.testing.assert_allclose(theirs[name] - ours[name], JACOBIAN, atol=1e-4)
    for name in ("train_loss", "train_distortion", "test_distortion", "test_loss"):
        np.testing.assert_allclose(curve[name] - plain[name], JACOBIAN, atol=1e-4)
    for name in ("bdmc_gap", "mutual_information", "total_correlation", "rate"):
        np.testing.assert_allclose(theirs[name], ours[name], atol=1e-4)
    test, mean = np.float64(X[60:]), X[:40].mean(0, np.float64)
    error = (loaded.reconstruct(X[60:]) - test) ** 2
    np.testing.assert_allclose(ours["squared_error"], error.sum(1).mean(), rtol=1e-4)
    axes, rest = np.linalg.svd(X[:40] - mean)[2][:2], test - mean
    rest -= rest @ axes.T @ axes
    error = (rest**2).sum(1).mean()
    np.testing.assert_allclose(ours["pca_squared_error"], error, rtol=0.05)
