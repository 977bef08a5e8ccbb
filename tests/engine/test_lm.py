"""Levenberg-Marquardt against SciPy, closed forms and the NumPy reference, and under all else that training does."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


class Curve(NamedTuple):
    """A problem of NIST's StRD, https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml, as a network 1-1-1 without a
    bias at its output: its data, starts, certified parameters and sum of squares, and what parameters of the network,
    in the order of its `params`, they are."""

    act: str
    x: list[float]
    y: list[float]
    starts: list[list[float]]
    certified: list[float]
    squares: float
    scaling: tuple[float, float, float]  # the input's shift and scale, the output's scale
    of_network: Callable[..., list[float]]


CURVES = {
    # y = b₁ (1 - exp(-b₂ x)), of lower and of higher difficulty
    "Misra1a": Curve(
        "rise",
        [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0],
        [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78],
        [[500.0, 1e-4], [250.0, 5e-4]],
        [2.3894212918e2, 5.5015643181e-4],
        1.2455138894e-1,
        (0.0, 0.002, 100.0),
        lambda b1, b2: [b2 / 0.002, b1 / 100],
    ),
    "BoxBOD": Curve(
        "rise",
        [1, 2, 3, 5, 7, 10],
        [109, 149, 149, 191, 213, 224],
        [[1.0, 1.0], [100.0, 0.75]],
        [2.1380940889e2, 5.4723748542e-1],
        1.1680088766e3,
        (0.0, 1.0, 200.0),
        lambda b1, b2: [b2, b1 / 200],
    ),
    # y = b₁ / (1 + exp(b₂ - b₃ x)), of higher difficulty
    "Rat42": Curve(
        "sigmoid",
        [9, 14, 21, 28, 42, 57, 63, 70, 79],
        [8.93, 10.8, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08],
        [[100.0, 1.0, 0.1], [75.0, 2.5, 0.07]],
        [7.2462237576e1, 2.6180768402, 6.7359200066e-2],
        8.0565229338,
        (0.0, 0.02, 100.0),
        lambda b1, b2, b3: [b3 / 0.02, -b2, b1 / 100],
    ),
    # y = b₁ / b₂ · exp(-½ ((x - b₃) / b₂)²), of higher difficulty
    "Eckerle4": Curve(
        "bell",
        [*np.r_[400:436:5, 436.5:464:1.5, 465:501:5]],
        [
            0.0001575, 0.0001699, 0.0002350, 0.0003102, 0.0004917, 0.0008710, 0.0017418, 0.0046400, 0.0065895,
            0.0097302, 0.0149002, 0.0237310, 0.0401683, 0.0712559, 0.1264458, 0.2073413, 0.2902366, 0.3445623,
            0.3698049, 0.3668534, 0.3106727, 0.2078154, 0.1164354, 0.0616764, 0.0337200, 0.0194023, 0.0117831,
            0.0074357, 0.0022732, 0.0008800, 0.0004579, 0.0002345, 0.0001586, 0.0001143, 0.0000710,
        ],
        [[1.0, 10.0, 500.0], [1.5, 5.0, 450.0]],
        [1.5543827178, 4.0888321754, 4.5154121844e2],
        1.4635887487e-3,
        (450.0, 0.1, 1.0),
        lambda b1, b2, b3: [10 / b2, (450 - b3) / b2, b1 / b2],
    ),
}  # fmt: skip


def of_numba(name):
    """The activations that NIST's curves are made of and the library has not."""
    numba = pytest.importorskip("numba")

    @numba.njit
    def rise(z):
        return 1.0 - np.exp(-z)

    @numba.njit
    def of_rise(z):
        return np.exp(-z)

    @numba.njit
    def bell(z):
        return np.exp(-0.5 * z * z)

    @numba.njit
    def of_bell(z):
        return -z * np.exp(-0.5 * z * z)

    return fastmlp.Activation(name, *{"rise": (rise, of_rise), "bell": (bell, of_bell)}[name])


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", CURVES)
def test_certified_curves_of_nist(name, start):
    curve = CURVES[name]
    x, y = np.array(curve.x, float)[:, None], np.array(curve.y, float)
    shift, scale, unit = curve.scaling
    spec = [
        {"n": 1, "shift": shift, "scale": scale},
        {"n": 1, "act": curve.act if curve.act == "sigmoid" else of_numba(curve.act), "bias": curve.act != "rise"},
        {"n": 1, "act": "linear", "bias": False, "scale": unit},
    ]
    model = fastmlp.MLP(spec, dtype="float64")
    model.params = curve.of_network(*curve.starts[start])
    tight = LevenbergMarquardt(ftol=1e-15, xtol=1e-13, gtol=1e-13)
    fastmlp.train(x, y, model, optimizer=tight, epochs=500)
    np.testing.assert_allclose(model.params, curve.of_network(*curve.certified), rtol=1e-7)
    assert np.sum((model.predict(x)[:, 0] - y) ** 2) == pytest.approx(curve.squares, rel=1e-9)
    if name == "Misra1a":
        errors = np.sqrt(np.diag(model.covariance(x, y)))
        np.testing.assert_allclose(errors, [7.2668688436e-6 / 0.002, 2.7070075241 / 100], rtol=1e-6)


@pytest.mark.parametrize("kind", ["curve", "outputs", "scaled"])
def test_first_steps_are_the_references(kind):
    spec = SHAPES[kind]
    x, y = data(spec, 40)
    model = fastmlp.MLP(spec, seed=1, dtype="float64")
    start = model.copy()
    _, history = fastmlp.train(x, y, model, optimizer="lm", epochs=5)
    targets = reference.targets(model.spec, y)
    weights, biases, losses = reference.levenberg_marquardt(
        model.spec, start.weights, start.biases, x, targets, steps=5
    )
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-8)
    for found, expected in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


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


def classes_both_ways():
    """Samples of three classes, with class indices and with rows of 0 and 1, and a spec whose free parameters they
    determine: a softmax of free weights would stay the same where all its rows move alike."""
    x, y = data(SHAPES["classes"], 60)
    last = {"n": 3, "act": "softmax", "cost": "mse", "trainable": False}
    return x[:, :2], y, np.eye(3)[y], [{"n": 2, "act": None}, {"n": 2, "act": "tanh"}, last]


def test_covariance_is_the_same_for_class_indices_and_rows_of_0_and_1():
    x, classes, rows, spec = classes_both_ways()
    model, _ = fastmlp.train(x, rows, spec, optimizer="lm", epochs=100, seed=0, dtype="float64")
    found = model.covariance(x, classes)
    np.testing.assert_array_equal(found, model.covariance(x, rows))
    free = np.flatnonzero(np.diag(found))
    slopes = model.jacobian(x).reshape(rows.size, -1)[:, free]
    errors = np.sum((model.predict(x) - rows) ** 2)
    expected = errors / (rows.size - 6) * np.linalg.inv(slopes.T @ slopes)
    np.testing.assert_allclose(found[np.ix_(free, free)], expected, rtol=1e-6)


def test_bayesian_regularisation_is_the_same_for_class_indices_and_rows_of_0_and_1():
    x, classes, rows, spec = classes_both_ways()
    bayesian = LevenbergMarquardt(regularisation="bayesian")
    options = {"optimizer": bayesian, "epochs": 20, "seed": 0, "dtype": "float64"}
    model, history = fastmlp.train(x, rows, spec, **options)
    other, same = fastmlp.train(x, classes, spec, **options)
    np.testing.assert_allclose(other.params, model.params, rtol=1e-9)
    np.testing.assert_allclose(same["l2"], history["l2"], rtol=1e-9)


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


@pytest.mark.parametrize(("name", "value"), [("damping", np.nan), ("damping", -1.0), ("l2", np.nan), ("l2", -1.0)])
def test_a_checkpoint_with_a_damaged_damping_is_refused(tmp_path, resealed, name, value):
    x, y = data(SHAPES["curve"])
    bayesian = LevenbergMarquardt(regularisation="bayesian")
    options = {"optimizer": bayesian, "seed": 0, "checkpoint": tmp_path / "run"}
    fastmlp.train(x, y, SHAPES["curve"], epochs=3, **options)

    def damage(document, tensors):
        tensors[f"history.{name}"][-1] = value

    resealed(tmp_path / "run", damage)
    with pytest.raises(ValueError, match=f"has a {name} that is NaN or negative"):
        fastmlp.train(x, y, SHAPES["curve"], epochs=5, **options)


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


def test_estimators_refuse_an_alpha_that_has_no_place():
    from fastmlp.sklearn import MLPRegressor

    x, y = data(SHAPES["curve"])
    bayesian = LevenbergMarquardt(regularisation="bayesian")
    with pytest.raises(ValueError, match=r"alpha is 0\.5, but regularisation='bayesian' finds the penalty itself"):
        MLPRegressor(solver=bayesian, alpha=0.5).fit(x, y[:, 0])
    default = MLPRegressor(hidden_layer_sizes=4, solver=bayesian, random_state=0, max_iter=200).fit(x, y[:, 0])
    none = MLPRegressor(hidden_layer_sizes=4, solver=bayesian, random_state=0, max_iter=200, alpha=0.0).fit(x, y[:, 0])
    np.testing.assert_array_equal(default.coefs_[0], none.coefs_[0])


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
