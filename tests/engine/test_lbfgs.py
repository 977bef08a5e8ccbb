"""L-BFGS against SciPy on the NumPy reference, and under everything else that training does."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import reference
from fastmlp.model.options import DEFAULTS
from fastmlp.optimizers import LBFGS

optimize = pytest.importorskip("scipy.optimize")

NETWORKS = {
    "classes": [{"n": 5, "act": None}, {"n": 7, "act": "tanh"}, {"n": 3, "act": "softmax"}],
    "numbers": [{"n": 5, "act": None}, {"n": 8, "act": "softplus"}, {"n": 2, "act": "linear", "bias": False}],
    "labels": [{"n": 5, "act": None}, {"n": 16, "act": "swish"}, {"n": 2, "act": "sigmoid"}],
}


def data(kind, n=150):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 5))
    y = {"classes": rng.integers(0, 3, n), "numbers": rng.normal(size=(n, 2)), "labels": rng.integers(0, 2, (n, 2))}
    return x, y[kind]


def scipy_on_the_reference(model, x, y, l2, iterations):
    """Losses without the penalty after each iteration, and the parameters at the end."""
    shapes = [p.shape for p in (*model.weights, *model.biases)]
    ends = np.cumsum([0, *(np.prod(shape) for shape in shapes)])
    n_layers, losses = len(model.weights), []
    free = np.concatenate([np.full(p.size, p.flags.writeable) for p in (*model.weights, *model.biases)])

    def parts(vector):
        arrays = [vector[a:b].reshape(s) for a, b, s in zip(ends, ends[1:], shapes, strict=False)]
        return arrays[:n_layers], arrays[n_layers:]

    def value(vector):
        weights, biases = parts(vector)
        loss, dws, dbs = reference.gradient(model.spec, weights, biases, x, reference.targets(model.spec, y))
        penalty = 0.5 * l2 * sum(np.sum(w**2) for w in weights)
        slopes = [dw + l2 * w for w, dw in zip(weights, dws, strict=True)]
        return loss + penalty, np.concatenate([g.ravel() for g in (*slopes, *dbs)]) * free

    def callback(intermediate_result):
        weights, _ = parts(intermediate_result.x)
        losses.append(intermediate_result.fun - 0.5 * l2 * sum(np.sum(w**2) for w in weights))

    start = np.concatenate([p.ravel() for p in (*model.weights, *model.biases)])
    options = {"maxiter": iterations, "maxcor": 10, "gtol": 1e-5, "ftol": 2.2e-9}
    result = optimize.minimize(value, start, jac=True, method="L-BFGS-B", callback=callback, options=options)
    return losses, parts(result.x)


@pytest.mark.parametrize("l2", [0.0, 0.01])
@pytest.mark.parametrize("kind", NETWORKS)
def test_an_epoch_is_an_iteration_of_scipy(kind, l2):
    x, y = data(kind)
    model = fastmlp.MLP(NETWORKS[kind], seed=1, dtype="float64")
    losses, (weights, biases) = scipy_on_the_reference(model, x, y, l2, 25)
    _, history = fastmlp.train(x, y, model, optimizer="lbfgs", epochs=25, l2=l2)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-6)
    for ours, theirs in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_it_converges_and_ends_before_the_last_epoch():
    """Least squares: the minimum is known."""
    x, y = data("numbers")
    spec = [{"n": 5, "act": None}, {"n": 2, "act": "linear"}]
    model, history = fastmlp.train(x, y, spec, optimizer=LBFGS(gtol=1e-10, ftol=0), epochs=500, dtype="float64", seed=0)
    best = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y)[0]
    np.testing.assert_allclose(np.vstack([model.weights[0].T, model.biases[0]]), best, rtol=1e-7)
    assert history.epochs < 60
    _, again = fastmlp.train(x, y, model, optimizer=LBFGS(gtol=1e-3), epochs=10)
    assert again["loss"] == [pytest.approx(history["loss"][-1])]  # nothing to gain, but the history is not empty


def test_weights_are_copies():
    x, y = data("classes")
    weights = np.random.default_rng(1).integers(0, 3, len(x))
    rows = np.repeat(np.arange(len(x)), weights)
    options = {"optimizer": LBFGS(memory=5), "epochs": 15, "seed": 0, "dtype": "float64", "metrics": "cross_entropy"}
    weighted, history = fastmlp.train(x, y, NETWORKS["classes"], sample_weight=weights, **options)
    copied, same = fastmlp.train(x[rows], y[rows], NETWORKS["classes"], **options)
    np.testing.assert_allclose(weighted.params, copied.params, rtol=1e-6, atol=1e-8)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(history[name], same[name], rtol=1e-6)


def test_validation_stopping_callbacks_and_metrics():
    x, y = data("classes")
    seen = []
    options = {"optimizer": "lbfgs", "seed": 0, "dtype": "float64"}
    model, history = fastmlp.train(
        x, y, NETWORKS["classes"], epochs=300, validation_fraction=0.3, early_stopping=5, metrics=["cross_entropy"],
        callbacks=lambda state: seen.append((state.epoch, state.model.params.copy())), **options,
    )  # fmt: skip
    best = int(np.argmin(history["val_loss"]))
    assert history.epochs == best + 6 < 300
    assert [epoch for epoch, _ in seen] == list(range(history.epochs))
    np.testing.assert_array_equal(model.params, seen[best][1])
    np.testing.assert_allclose(history["loss"], history["cross_entropy"])
    _, history = fastmlp.train(
        x, y, NETWORKS["classes"], epochs=30, callbacks=lambda state: state.stop() if state.epoch == 3 else None,
        **options,
    )  # fmt: skip
    assert history.epochs == 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_history_is_what_evaluate_says(dtype):
    x, y = data("labels")
    model, history = fastmlp.train(x, y, NETWORKS["labels"], optimizer="lbfgs", epochs=20, seed=0, dtype=dtype)
    report = model.evaluate(x, y)
    assert report["loss"] == pytest.approx(history["loss"][-1], rel=1e-6)
    assert report["accuracy"] == history["accuracy"][-1]


def test_same_bits_for_any_number_of_threads():
    x, y = data("classes", 900)
    options = {"optimizer": "lbfgs", "epochs": 8, "seed": 0}
    model, history = fastmlp.train(x, y, NETWORKS["classes"], **options)
    other, the_same = fastmlp.train(x, y, NETWORKS["classes"], n_threads=3, **options)
    np.testing.assert_array_equal(other.params, model.params)
    assert history == the_same


def test_ctrl_c_keeps_the_last_iteration():
    x, y = data("classes")
    seen = []

    def interrupt(state):
        seen.append(state.model.params.copy())
        if state.epoch == 4:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="interrupted"):
        model, history = fastmlp.train(x, y, NETWORKS["classes"], optimizer="lbfgs", epochs=9, callbacks=interrupt)
    assert history.interrupted and history.epochs == 5
    np.testing.assert_array_equal(model.params, seen[-1])


def test_infinite_loss():
    spec = [{"n": 1, "act": None}, {"n": 1, "act": "linear"}]
    model = fastmlp.MLP(spec, seed=0)
    before = model.params.copy()
    with pytest.raises(fastmlp.DivergenceError):
        fastmlp.train([[1e30], [-1e30]], [0.0, 1.0], model, optimizer="lbfgs")
    np.testing.assert_array_equal(model.params, before)


@pytest.mark.parametrize(
    ("option", "value"),
    [("lr", 0.1), ("lr", lambda epoch: 0.1), ("batch_size", 8), ("l1", 0.1), ("dropout", [0.5]), ("clip_norm", 1.0),
     ("max_norm", 1.0)],
)  # fmt: skip
def test_what_has_no_place_is_refused(option, value):
    x, y = data("classes")
    with pytest.raises(ValueError, match=rf"{option} is .*lbfgs"):
        fastmlp.train(x, y, NETWORKS["classes"], optimizer="lbfgs", **{option: value})


def test_what_is_left_out_is_known_by_the_defaults_of_train():
    assert DEFAULTS.items() <= fastmlp.train.__kwdefaults__.items()


def test_errors():
    with pytest.raises(ValueError, match="memory must be at least 1"):
        LBFGS(memory=0)
    model = fastmlp.MLP(NETWORKS["numbers"])
    with pytest.raises(ValueError, match="lbfgs, which needs all samples"):
        model.partial_fit(*data("numbers"), optimizer="lbfgs")
