"""Levenberg-Marquardt against SciPy, closed forms and the NumPy reference, and under all else that training does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, sparse

import fastmlp
from fastmlp import reference
from fastmlp.engine.epochs import Samples
from fastmlp.engine.lm import LeastSquares
from fastmlp.optimizers import LevenbergMarquardt

SHAPES = {
    "curve": [{"n": 1, "act": None}, {"n": 10, "act": "tanh"}, {"n": 1, "act": "linear"}],
    "outputs": [{"n": 4, "act": None}, {"n": 20, "act": "tanh"}, {"n": 3, "act": "linear"}],
    "classes": [
        {"n": 5, "act": None}, {"n": 16, "act": "swish", "bias": False}, {"n": 3, "act": "softmax", "cost": "mse"}
    ],
    "scaled": [
        {"n": 3, "shift": 0.2, "scale": [1.0, 2.0, 0.5]}, {"n": 16, "act": "softmax"}, {"n": 7, "act": "tanh"},
        {"n": 2, "act": "linear", "shift": [1.0, -2.0], "scale": [3.0, 0.1]},
    ],
    "many outputs": [{"n": 2, "act": None}, {"n": 3, "act": "tanh"}, {"n": 70, "act": "linear"}],
}  # fmt: skip


def data(spec, n=90, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, spec[0]["n"]))
    if spec[-1]["act"] == "softmax":
        return x, rng.integers(0, spec[-1]["n"], n)
    return x, rng.normal(size=(n, spec[-1]["n"]))


def gauss_newton(model, x, y, weights):
    """JᵀJ / W and Jᵀr / W by the NumPy reference, in the network's units."""
    spec = model.spec
    rows, errors = [], []
    targets = reference.targets(spec, y)
    _, activations = reference.forward(spec, model.weights, model.biases, x)
    for s, of_outputs in enumerate(reference.jacobian(spec, model.weights, model.biases, x)):
        for k, (dws, dbs) in enumerate(of_outputs):
            row = np.zeros(model.params.size)
            into = model.unflatten(row)
            for i, layer in enumerate(spec.layers):
                into[0][i][...] = dws[i]
                if layer.bias:
                    into[1][i][...] = dbs[i]
            unit = 1.0 if spec.output_affine is None else spec.output_affine[1][k]
            rows.append(row / unit * np.sqrt(weights[s]))
            errors.append((activations[-1][s, k] - targets[s, k]) * np.sqrt(weights[s]))
    rows, errors = np.array(rows), np.array(errors)
    return rows.T @ rows / weights.sum(), rows.T @ errors / weights.sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", SHAPES)
def test_normal_equations_are_the_references(kind, weighted):
    spec = SHAPES[kind]
    x, y = data(spec)
    weights = np.random.default_rng(1).random(len(x)) if weighted else np.ones(len(x))
    model = fastmlp.MLP(spec, seed=1, dtype="float64")
    samples = Samples(x, y, weights if weighted else None)
    found = []
    for n_threads in (1, 3):
        squares = LeastSquares(model, samples, np.arange(len(x)), {}, n_threads)
        loss = squares.loss(model.params)
        gram, slope = squares.squares()
        squares.close()
        found.append((np.tril(gram), slope))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    expected, expected_slope = gauss_newton(model, x, y, weights)
    np.testing.assert_allclose(found[0][0], np.tril(expected), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-9, atol=1e-12)
    if not weighted:
        np.testing.assert_allclose(slope, model.gradient(x, y)[1], rtol=1e-9, atol=1e-12)
        assert loss == pytest.approx(model.evaluate(x, y)["loss"], rel=1e-12)


def test_sparse_rows_and_rows_left_out():
    spec = SHAPES["outputs"]
    x, y = data(spec)
    x = x * (np.random.default_rng(2).random(x.shape) < 0.3)
    dense, _ = fastmlp.train(x[10:], y[10:], spec, optimizer="lm", epochs=5, seed=0)
    weights = np.r_[np.zeros(10), np.ones(len(x) - 10)]
    thin, _ = fastmlp.train(sparse.csr_array(x), y, spec, optimizer="lm", epochs=5, seed=0, sample_weight=weights)
    np.testing.assert_allclose(thin.params, dense.params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["curve", "outputs"])
def test_it_reaches_what_scipy_reaches(kind):
    """The outputs of a network of this shape are learnt: to 1e-10 where MINPACK gets there, to no higher loss else."""
    spec = SHAPES[kind]
    x = data(spec, 200)[0]
    y = fastmlp.MLP(spec, seed=77, dtype="float64").predict(x)
    model = fastmlp.MLP(spec, seed=1, dtype="float64")
    other = model.copy()

    def residuals(params):
        other.params = params
        return (other.predict(x) - y).ravel()

    def slopes(params):
        other.params = params
        return other.jacobian(x).reshape(y.size, -1)

    theirs = optimize.least_squares(residuals, model.params.copy(), slopes, method="lm", max_nfev=300)
    fastmlp.train(x, y, model, optimizer="lm", epochs=300)
    assert np.mean((model.predict(x) - y) ** 2) <= max(1e-10, np.mean(theirs.fun**2))


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_a_line_is_found_at_once_and_ends(l2):
    """Linear least squares, with ridge: the minimum is known."""
    x, y = data([{"n": 5}, {"n": 2, "act": "linear"}], 150)
    spec = [{"n": 5, "act": None}, {"n": 2, "act": "linear"}]
    options = {"optimizer": LevenbergMarquardt(damping=1e-9, gtol=1e-12), "epochs": 50, "dtype": "float64"}
    model, history = fastmlp.train(x, y, spec, l2=l2, seed=0, **options)
    columns = np.column_stack([x, np.ones(len(x))])
    penalty = np.diag([l2] * 5 + [0.0]) * len(x)
    best = np.linalg.solve(columns.T @ columns + penalty, columns.T @ y)
    np.testing.assert_allclose(np.vstack([model.weights[0].T, model.biases[0]]), best, rtol=1e-8)
    assert history.epochs < 6
    _, again = fastmlp.train(x, y, model, optimizer=LevenbergMarquardt(gtol=1e-4), epochs=10, l2=l2)
    assert again["loss"] == [pytest.approx(history["loss"][-1])]  # nothing to gain, but the history is not empty


def test_misra1a_of_nist():
    """NIST's StRD, of lower difficulty, as a network: y = b₁ (1 - exp(-b₂ x)), and its certified sum of squares."""
    y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
    x = np.array([77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0])
    numba = pytest.importorskip("numba")

    @numba.njit
    def rise(z):
        return 1.0 - np.exp(-z)

    @numba.njit
    def slope(z):
        return np.exp(-z)

    act = fastmlp.Activation("rise", rise, slope)
    last = {"n": 1, "act": "linear", "bias": False, "scale": 100.0}
    model = fastmlp.MLP([{"n": 1, "scale": 0.002}, {"n": 1, "act": act, "bias": False}, last], dtype="float64")
    units = np.array([500.0, 0.01])
    model.params = units * [1e-4, 500.0]  # NIST's first start
    tight = LevenbergMarquardt(ftol=1e-15, xtol=1e-12, gtol=1e-12)
    fastmlp.train(x[:, None], y, model, optimizer=tight, epochs=500)
    np.testing.assert_allclose(model.params / units, [5.5015643181e-4, 2.3894212918e2], rtol=1e-7)
    assert np.sum((model.predict(x[:, None])[:, 0] - y) ** 2) == pytest.approx(1.2455138894e-1, rel=1e-9)
    errors = np.sqrt(np.diag(model.covariance(x[:, None], y)))
    np.testing.assert_allclose(errors / units, [7.2668688436e-6, 2.7070075241], rtol=1e-6)


def test_covariance_is_curve_fits():
    x, y = data([{"n": 3}, {"n": 1, "act": "linear"}], 60)
    weights = np.random.default_rng(3).random(60) + 0.1
    spec = [{"n": 3, "act": None}, {"n": 1, "act": "linear"}]
    model, _ = fastmlp.train(x, y, spec, optimizer="lm", seed=0, dtype="float64", sample_weight=weights)
    _, expected = optimize.curve_fit(
        lambda x, a, b, c, d: x.T @ [a, b, c] + d, x.T, y[:, 0], p0=np.ones(4), sigma=1 / np.sqrt(weights)
    )
    np.testing.assert_allclose(model.covariance(x, y, sample_weight=weights), expected, rtol=1e-5)
    with pytest.warns(RuntimeWarning, match="do not determine all parameters"):
        assert np.isinf(model.covariance(x[:3], y[:3])).all()
    with pytest.raises(ValueError, match="the loss is mae, but least squares"):
        fastmlp.MLP([{"n": 3}, {"n": 1, "act": "linear", "cost": "mae"}]).covariance(x, y)


def test_bayesian_regularisation_of_a_line_is_the_evidences_fixed_point():
    """γ, α and β agree with each other and with the ridge solution: scikit-learn's BayesianRidge has the same ones."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 6))
    y = x @ [1.0, 0.5, 0, 0, 0, 0.1] + rng.normal(size=40)
    spec = [{"n": 6, "act": None}, {"n": 1, "act": "linear", "bias": False}]
    bayesian = LevenbergMarquardt(regularisation="bayesian", ftol=0.0, xtol=1e-12, gtol=0.0)
    model, history = fastmlp.train(x, y, spec, optimizer=bayesian, epochs=300, seed=0, dtype="float64")
    none = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0}
    ridge = linear_model.BayesianRidge(fit_intercept=False, tol=1e-12, max_iter=5000, **none).fit(x, y)
    np.testing.assert_allclose(model.weights[0][0], ridge.coef_, rtol=1e-4)
    assert history["l2"][-1] == pytest.approx(ridge.lambda_ / ridge.alpha_ / len(x), rel=1e-3)
    assert 0 < history["effective_params"][-1] < 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_history_is_what_evaluate_says_and_falls(dtype):
    x, y = data(SHAPES["classes"])
    model, history = fastmlp.train(x, y, SHAPES["classes"], optimizer="lm", epochs=20, seed=0, dtype=dtype)
    report = model.evaluate(x, y)
    assert report["loss"] == pytest.approx(history["loss"][-1], rel=1e-5)
    assert report["accuracy"] == history["accuracy"][-1]
    assert np.all(np.diff(history["loss"]) < 0) and len(history["damping"]) == history.epochs


def test_validation_stopping_callbacks_and_metrics():
    x, y = data(SHAPES["outputs"])
    seen = []
    model, history = fastmlp.train(
        x, y, SHAPES["outputs"], epochs=300, validation_fraction=0.3, early_stopping=5, metrics=["mae"], seed=0,
        optimizer="lm", callbacks=lambda state: seen.append(state.model.params.copy()),
    )  # fmt: skip
    best = int(np.argmin(history["val_loss"]))
    assert history.epochs == len(seen) == best + 6 < 300
    np.testing.assert_array_equal(model.params, seen[best])
    stop = {"callbacks": lambda state: state.stop() if state.epoch == 3 else None}
    assert fastmlp.train(x, y, SHAPES["outputs"], optimizer="lm", epochs=30, seed=0, **stop).history.epochs == 4


class Accident(Exception):
    pass


@pytest.mark.parametrize("regularisation", [None, "bayesian"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_that_broke_ends_with_the_same_bits(tmp_path, dtype, regularisation):
    x, y = data(SHAPES["curve"])
    optimizer = LevenbergMarquardt(regularisation=regularisation)
    options = {"optimizer": optimizer, "epochs": 12, "seed": 0, "dtype": dtype, "validation_fraction": 0.2}
    whole, history = fastmlp.train(x, y, SHAPES["curve"], **options)

    def accident(state):
        if state.epoch in (2, 7):
            raise Accident

    for _ in range(2):
        with pytest.raises(Accident):
            fastmlp.train(x, y, SHAPES["curve"], checkpoint=tmp_path / "run", callbacks=accident, **options)
    resumed, same = fastmlp.train(x, y, SHAPES["curve"], checkpoint=tmp_path / "run", **options)
    np.testing.assert_array_equal(resumed.params, whole.params)
    assert same == history


def test_a_run_that_converged_is_returned_at_once(tmp_path):
    x, y = data([{"n": 2}, {"n": 1, "act": "linear"}])
    spec = [{"n": 2, "act": None}, {"n": 1, "act": "linear"}]
    options = {"optimizer": "lm", "epochs": 100, "seed": 0, "checkpoint": tmp_path / "run"}
    model, history = fastmlp.train(x, y, spec, **options)
    again, same = fastmlp.train(x, y, spec, **options)
    assert history.epochs < 100 and same == history and again == model


def test_infinite_loss():
    spec = [{"n": 1, "act": None}, {"n": 1, "act": "linear"}]
    model = fastmlp.MLP(spec, seed=0, dtype="float64")
    before = model.params.copy()
    with pytest.raises(fastmlp.DivergenceError):
        fastmlp.train([[1e300], [-1e300]], [0.0, 1.0], model, optimizer="lm")
    np.testing.assert_array_equal(model.params, before)


@pytest.mark.parametrize(
    ("option", "value"),
    [("lr", 0.1), ("batch_size", 8), ("l1", 0.1), ("dropout", [0.5]), ("clip_norm", 1.0), ("max_norm", 1.0)],
)
def test_what_has_no_place_is_refused(option, value):
    x, y = data(SHAPES["curve"])
    with pytest.raises(ValueError, match=rf"{option} is .*lm"):
        fastmlp.train(x, y, SHAPES["curve"], optimizer="lm", **{option: value})


def test_errors():
    x, y = data(SHAPES["curve"])
    with pytest.raises(ValueError, match="the loss is huber, but least squares"):
        fastmlp.train(x, y, SHAPES["curve"], optimizer="lm", loss="huber")
    with pytest.raises(ValueError, match="finds the penalty itself; leave l2 out"):
        fastmlp.train(x, y, SHAPES["curve"], optimizer=LevenbergMarquardt(regularisation="bayesian"), l2=0.1)
    with pytest.raises(ValueError, match="damping must be"):
        LevenbergMarquardt(damping=0)
    with pytest.raises(ValueError, match="regularisation: unknown 'ridge'"):
        LevenbergMarquardt(regularisation="ridge")
    with pytest.raises(ValueError, match="lm, which needs all samples"):
        fastmlp.MLP(SHAPES["curve"]).partial_fit(x, y, optimizer="lm")


def test_many_networks_and_estimators():
    from fastmlp.sklearn import MLPRegressor

    x, y = data(SHAPES["curve"])
    nets = fastmlp.train_many(x, y, SHAPES["curve"], seeds=range(3), optimizer="lm", epochs=5)
    assert nets[1].model == fastmlp.train(x, y, SHAPES["curve"], optimizer="lm", epochs=5, seed=1).model
    reg = MLPRegressor(hidden_layer_sizes=(), solver="lm", alpha=0.0, dtype="float64", random_state=0)
    reg.fit(x, 3 * x[:, 0] + 1)
    assert reg.score(x, 3 * x[:, 0] + 1) > 1 - 1e-9 and reg.n_iter_ < 20
    with pytest.raises(ValueError, match="the loss is mae, but least squares"):
        MLPRegressor(solver="lm", loss="absolute_error").fit(x, y[:, 0])
