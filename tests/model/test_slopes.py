"""`train(..., dydx=...)`: what it takes, what it refuses, and that it goes with all else that training has."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp.optimizers import LBFGS

SPEC = [{"n": 2, "act": None}, {"n": 16, "act": "tanh"}, {"n": 1, "act": "linear"}]
RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (60, 2))
Y = np.sin(2 * X[:, 0]) * X[:, 1]
DYDX = np.stack([2 * np.cos(2 * X[:, 0]) * X[:, 1], np.sin(2 * X[:, 0])], axis=1)[:, None]


def train(x=X, y=Y, spec=SPEC, **options):
    return fastmlp.train(x, y, spec, **{"dydx": DYDX, "dtype": "float64", "seed": 0, **options})


def test_slopes_are_learnt():
    """From 60 points with slopes better than from 60 without."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 21)] * 2), axis=-1).reshape(-1, 2)
    errors = []
    for dydx in (None, DYDX):
        model = train(dydx=dydx, optimizer="lbfgs", epochs=300).model
        errors.append(np.abs(model.predict(grid)[:, 0] - np.sin(2 * grid[:, 0]) * grid[:, 1]).max())
    assert errors[1] < errors[0] / 3 and errors[1] < 0.02


def test_the_history_has_both_parts_of_the_loss():
    model = fastmlp.MLP(SPEC, seed=0, dtype="float64")
    slopes = np.sum((model.jacobian(X, wrt="inputs") - DYDX) ** 2, axis=(1, 2)) / 2
    weight, dydx_weight = RNG.uniform(0.5, 2, 60), RNG.uniform(0, 2, 60)
    losses = (model.predict(X)[:, 0] - Y) ** 2 / 2
    _, history = train(spec=model, batch_size="full", epochs=1, sample_weight=weight, dydx_weight=dydx_weight)
    part = np.sum(weight * dydx_weight * slopes) / weight.sum()
    np.testing.assert_allclose(history["dydx_loss"], [part], rtol=1e-12)
    np.testing.assert_allclose(history["loss"], [np.sum(weight * losses) / weight.sum() + part], rtol=1e-12)


def test_a_weight_of_two_is_two_copies():
    rows = np.r_[:60, :10]
    options = {"batch_size": "full", "epochs": 5, "shuffle": False}
    twice = train(X[rows], Y[rows], dydx=DYDX[rows], **options).model.params
    weighted = train(sample_weight=np.where(np.arange(60) < 10, 2.0, 1.0), **options).model.params
    np.testing.assert_allclose(weighted, twice, rtol=1e-10, atol=1e-12)


def test_one_weight_is_that_of_all():
    options = {"batch_size": 8, "epochs": 3}
    one, all_of_them = (train(dydx_weight=weight, **options) for weight in (0.3, np.full(60, 0.3)))
    assert one.model == all_of_them.model and one.history == all_of_them.history


@pytest.mark.parametrize("batch_size", [1, 16])
def test_what_is_not_known_teaches_nothing(batch_size):
    options = {"batch_size": batch_size, "epochs": 3}
    unknown, history = train(dydx=np.full((60, 1, 2), np.nan), **options)
    np.testing.assert_allclose(unknown.params, train(dydx=None, **options).model.params, rtol=1e-9)
    assert history["dydx_loss"] == [0.0, 0.0, 0.0]


def test_an_axis_of_length_one_may_be_left_out():
    assert train(dydx=DYDX[:, 0], epochs=2).model == train(epochs=2).model
    line = [{"n": 1, "act": None}, {"n": 4, "act": "tanh"}, {"n": 1, "act": "linear"}]
    x, dydx = X[:, :1], np.cos(X[:, 0])
    whole = train(x, spec=line, dydx=dydx[:, None, None]).model
    assert train(x, spec=line, dydx=dydx).model == whole == train(x, spec=line, dydx=dydx[:, None]).model


def test_units_are_the_networks():
    """Standardised, y in thousands and x in hundreds learn as y and x do."""
    shift, scale = X.mean(axis=0), 1 / X.std(axis=0)
    spec = [SPEC[0] | {"shift": shift, "scale": scale}, SPEC[1], SPEC[2] | {"shift": Y.mean(), "scale": Y.std()}]
    options = {"optimizer": "adam", "batch_size": 10, "epochs": 20}
    near = train(spec=spec, **options)
    far = train(100 * X, 1000 * Y, dydx=10 * DYDX, standardize=True, **options)
    np.testing.assert_allclose(far.history["dydx_loss"], near.history["dydx_loss"], rtol=1e-9)
    np.testing.assert_allclose(far.model.params, near.model.params, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_epochs_together_are_those_one_by_one(batch_size):
    together = train(batch_size=batch_size, epochs=30)
    one_by_one = train(batch_size=batch_size, epochs=30, callbacks=lambda state: None)
    assert together.model == one_by_one.model and together.history == one_by_one.history


def test_validation_is_of_y_alone():
    model, history = train(validation_data=(X, Y), epochs=2, metrics="rmse")
    assert history["val_loss"][-1] == model.evaluate(X, Y)["loss"]
    assert set(history) == {"loss", "rmse", "dydx_loss", "val_loss", "val_rmse"}
    stopping = fastmlp.EarlyStopping(monitor="dydx_loss")
    assert train(validation_fraction=0.25, early_stopping=stopping).history["val_loss"]


def test_classes_have_slopes_too():
    spec = [{"n": 2, "act": None}, {"n": 8, "act": "swish"}, {"n": 3, "act": "softmax"}]
    classes = RNG.integers(0, 3, 60)
    model, history = train(y=classes, spec=spec, dydx=np.zeros((60, 3, 2)), dydx_weight=100.0, lr=0.002, epochs=60)
    assert history["dydx_loss"][-1] < 0.05 * history["dydx_loss"][0] and "accuracy" in history
    assert np.abs(model.jacobian(X, wrt="inputs")).max() < 0.1


def test_lbfgs_minimises_both():
    _, history = train(optimizer=LBFGS(memory=20), epochs=200)
    assert history["dydx_loss"][-1] < history["loss"][-1] < 1e-4


def test_a_checkpoint_goes_on(tmp_path):
    whole = train(optimizer="adam", epochs=6, batch_size=7, dydx_weight=0.5)
    for epochs in (3, 6):
        parts = train(optimizer="adam", epochs=epochs, batch_size=7, dydx_weight=0.5, checkpoint=tmp_path / "run")
    assert parts.model == whole.model and parts.history == whole.history
    for change, words in (({"dydx": DYDX + 1}, "dydx is"), ({"dydx": None, "dydx_weight": 1.0}, "dydx is left out")):
        with pytest.raises(ValueError, match=f"another run's checkpoint.*{words}"):
            train(**{"optimizer": "adam", "epochs": 6, "batch_size": 7, "dydx_weight": 0.5, **change},
                  checkpoint=tmp_path / "run")  # fmt: skip


def test_many_networks():
    options = {"dydx": DYDX, "dtype": "float64", "epochs": 3}
    networks = fastmlp.train_many(X, Y, SPEC, seeds=range(2), grid={"dydx_weight": [0.1, 1.0]}, n_threads=1, **options)
    for network in networks:
        alone = fastmlp.train(X, Y, SPEC, **options, **{k: v for k, v in network.settings.items() if k != "spec"})
        assert network.model == alone.model and network.history == alone.history
    with pytest.raises(ValueError, match=r"lanes=True: .*: dydx is given; leave lanes out"):
        fastmlp.train_many(X, Y, SPEC, seeds=range(2), lanes=True, **options)


def test_divergence_says_what_is_large():
    with pytest.raises(fastmlp.DivergenceError, match=r"slopes up to 1e\+06 .*dydx_weight"):
        train(dydx=1e6 * DYDX / np.abs(DYDX).max(), spec=[SPEC[0], {"n": 16, "act": "swish"}, SPEC[2]], lr=0.5)


def no_second_derivative():
    square = numba.njit(lambda z: z * z)
    act = fastmlp.Activation("square", square, numba.njit(lambda z: 2.0 * z))
    return [SPEC[0], {"n": 4, "act": act}, SPEC[2]]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"dydx": DYDX[:50]}, ValueError, r"dydx must have shape \(60, 1, 2\), \(n_samples, .*, got \(50, 1, 2\)"),
        ({"dydx": DYDX.transpose(0, 2, 1)}, ValueError, r"got \(60, 2, 1\); give dydx.transpose\(0, 2, 1\)"),
        ({"dydx": np.where(DYDX[7, 0, 1] == DYDX, np.inf, DYDX)}, ValueError,
         r"dydx must be finite, dydx\[7, 0, 1\] is inf; NaN says that one is not known"),
        ({"dydx": np.full(DYDX.shape, 1e300), "dtype": "float32"}, ValueError, "is 1e.300, which float32 cannot hold"),
        ({"dydx": np.full(DYDX.shape, "a")}, TypeError, "dydx must be numeric, got dtype <U1"),
        ({"dydx": None, "dydx_weight": 2.0}, ValueError, "dydx_weight is given, but no dydx"),
        ({"dydx_weight": -1.0}, ValueError, "dydx_weight must be a finite number at least 0, got -1"),
        ({"dydx_weight": "a"}, TypeError, "dydx_weight must be a number, got 'a'"),
        ({"dydx_weight": np.ones(59)}, ValueError, r"dydx_weight must have shape \(60,\), .* got \(59,\)"),
        ({"dydx_weight": np.where(np.arange(60) == 3, np.nan, 1.0)}, ValueError, r"dydx_weight\[3\] is nan"),
        ({"optimizer": "lm"}, ValueError, "optimizer is lm, .* for dydx give optimizer='lbfgs'"),
        ({"dropout": 0.2}, ValueError, "dropout is 0.2, but dydx are slopes of what all units make"),
        ({"x": scipy.sparse.csr_array(X)}, ValueError, r"x is sparse; give x as a dense array: x.toarray\(\)"),
        ({"spec": no_second_derivative()}, ValueError, "activation 'square' has no second derivative; give one"),
    ],
)  # fmt: skip
def test_what_is_refused(changes, error, words):
    with pytest.raises(error, match=words):
        train(**changes)
