"""Residuals as users give them: collocation points, the check of dr, what is refused, and functions that misbehave."""

from __future__ import annotations

import math
import pickle

import numba
import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import Residual

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 2))
Y = np.where(np.arange(60) < 40, np.nan, X[:, 0])
SPEC = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": None}]


@numba.njit
def r(x, u, du, d2u):
    return d2u[0, 0, 0] + u[0] * du[0, 1]


@numba.njit
def dr(x, u, du, d2u, g_u, g_du, g_d2u):
    g_u[0], g_du[0, 1], g_d2u[0, 0, 0] = du[0, 1], u[0], 1.0


@numba.njit
def wrong(x, u, du, d2u, g_u, g_du, g_d2u):
    g_u[0], g_d2u[0, 0, 0] = du[0, 1], 1.0


@numba.njit
def outside(x, u, du, d2u):
    return u[7]


@numba.njit
def writing(x, u, du, d2u):
    u[0] = 0.0
    return u[0]


@numba.njit
def writing_there(x, u, du, d2u, g_u, g_du, g_d2u):
    dr(x, u, du, d2u, g_u, g_du, g_d2u)
    d2u[0, 0, 0] = 1.0


@numba.njit
def text(x, u, du, d2u):
    return "1.0"


@numba.njit
def unknown(x, u, du, d2u):
    return nobody_knows_this  # noqa: F821


@numba.njit
def infinite_by_d2u(x, u, du, d2u, g_u, g_du, g_d2u):
    dr(x, u, du, d2u, g_u, g_du, g_d2u)
    g_d2u[0, 1, 0] = np.nan


@numba.njit
def sometimes_outside(x, u, du, d2u):
    return u[0 if abs(u[0]) > 1e-6 else 1 << 40]


@numba.njit("float64(float64[:])")
def size(u):
    return math.sqrt(u[0])


@numba.njit
def root(x, u, du, d2u):
    return size(u)


@numba.njit
def d_root(x, u, du, d2u, g_u, g_du, g_d2u):
    g_u[0] = 0.5 / size(u)


@numba.njit
def by_u(x, u, du, d2u, g_u, g_du, g_d2u):
    g_u[0] = 1.0


def train(r=r, dr=dr, **options):
    options = {"residual": Residual(r, dr), "epochs": 3, "batch_size": 16, "seed": 0, "x": X, "y": Y, **options}
    return fastmlp.train(options.pop("x"), options.pop("y"), options.pop("spec", SPEC), **options)


def test_a_number_weighs_the_samples_without_y_and_an_array_all():
    same = train(residual_weight=0.5), train(residual_weight=np.where(np.isnan(Y), 0.5, 0.0))
    assert same[0] == same[1]
    assert train(residual_weight=np.full(60, 0.5)).history["residual_loss"][0] > same[0].history["residual_loss"][0]


def test_a_checkpoint_goes_on_and_knows_the_weights(tmp_path):
    train(epochs=1, checkpoint=tmp_path / "run")
    assert train(checkpoint=tmp_path / "run") == train()
    with pytest.raises(ValueError, match="residual_weight is"):
        train(checkpoint=tmp_path / "run", residual_weight=2.0)
    with pytest.raises(ValueError, match=r"residual is Residual\(root, d_root\), there it is Residual\(r, dr\)"):
        train(root, d_root, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("batch", [1, 16])
def test_accuracy_is_of_the_samples_that_have_a_y(batch):
    classes = np.where(np.isnan(Y), np.nan, X[:, 0] > 0)
    model = fastmlp.MLP([*SPEC[:2], {"n": 1, "act": "sigmoid"}], seed=0)
    right = (model.predict(X[40:])[:, 0] > 0.5) == classes[40:]
    for weights in (None, np.linspace(1, 2, 60)):
        history = train(
            y=classes, spec=model.copy(), sample_weight=weights, lr=1e-9, epochs=1, batch_size=batch
        ).history
        assert history["accuracy"][0] == pytest.approx(
            np.average(right, weights=weights if weights is None else weights[40:])
        )


def test_what_raises_in_training_makes_the_loss_nan():
    model = fastmlp.MLP(SPEC, seed=0)
    model.params[...] = 0
    named = r"fault: your function sometimes_outside raises IndexError: index \d+ is out of .*\(for x = \[.*, u = "
    with pytest.raises(fastmlp.DivergenceError, match=named):
        train(sometimes_outside, by_u, spec=model)


def test_what_has_no_value_somewhere_is_checked_elsewhere():
    """As Numba computes it: in Python the root of a negative number raises."""
    Residual(root, d_root).check(X[:4], 1)
    with pytest.raises(ValueError, match=r"dr has g_u\[0\] = 1,"):
        Residual(root, by_u).check(X[:4], 1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"dr": wrong}, ValueError, r"dr has g_du\[0, 1\] = 0, but differences of r by du\[0, 1\] are"),
        ({"dr": infinite_by_d2u}, ValueError, r"g_d2u\[0, 1, 0\] = nan, but differences of r by d2u\[0, 1, 0\] are 0"),
        ({"r": outside}, ValueError, r"residual: r raises IndexError: .* \(for x \(2,\), u \(1,\), du \(1, 2\), d2u"),
        ({"r": writing}, ValueError, "residual: r writes to u, which it must leave alone; copy it first"),
        ({"dr": writing_there}, ValueError, "residual: dr writes to d2u, which"),
        ({"r": text}, ValueError, "residual: r must return one number, got str"),
        ({"r": unknown}, ValueError, "(?s)residual: r raises TypingError: .*nobody_knows_this"),
        ({"residual_weight": [[1.0], [1.0, 2.0]]}, ValueError, "residual_weight is not a regular array"),
        ({"residual_weight": -1.0}, ValueError, "residual_weight must be .*, got -1"),
        ({"residual": r}, TypeError, r"residual must be a fastmlp.Residual\(r, dr\), got CPUDispatcher"),
        ({"y": X[:, 0]}, ValueError, "there are no collocation points, samples whose y is NaN; append rows"),
        ({"residual": None, "residual_weight": 2.0}, ValueError, "residual_weight is given, but no residual"),
        ({"dydx": np.zeros((60, 1, 2))}, ValueError, "dydx and residual are both given"),
        ({"optimizer": "lm", "batch_size": 1}, ValueError, "optimizer is lm, .* for residual give optimizer='lbfgs'"),
        ({"dropout": 0.2}, ValueError, "dropout is 0.2"),
        ({"validation_fraction": 0.1}, ValueError, r"validation_fraction is 0.1, .* give validation_data=\(x, y\)"),
        ({"x": scipy.sparse.csr_array(X)}, ValueError, r"x is sparse; give x.toarray\(\)"),
        ({"spec": [SPEC[0], {"n": 3, "act": "softmax"}, SPEC[2]]}, ValueError, "'softmax' has no place under a resid"),
    ],
)
def test_what_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        train(**options)


def test_plain_functions_are_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"r must be a function under numba\.njit, .* write @numba.njit above"):
        Residual(r.py_func, dr)
    with pytest.raises(TypeError, match="dr must take 7 arguments"):
        Residual(r, r)


def test_pickles_are_equal_in_what_they_train():
    same = pickle.loads(pickle.dumps(Residual(r, dr)))
    assert train(residual=same) == train()
