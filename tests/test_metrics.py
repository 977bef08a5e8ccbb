"""Metrics against scikit-learn's, and by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import metrics
from fastmlp.metrics import METRICS, higher_is_better, named_metrics

INPUT = {"n": 4, "act": None}
ENDS = {
    "classes": {"n": 4, "act": "softmax"},
    "two of softmax": {"n": 2, "act": "softmax"},
    "hinge": {"n": 3, "act": "linear", "cost": "hinge"},
    "two classes": {"n": 1, "act": "sigmoid"},
    "labels": {"n": 3, "act": "sigmoid"},
    "numbers": {"n": 2, "act": "linear"},
}


def spec_of(kind):
    return fastmlp.Spec([INPUT, ENDS[kind]])


def drawn(kind, n=60, seed=0, weighted=False):
    """Targets (n, n_out), as a network's outputs have them, outputs with ties, and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    n_out = ENDS[kind]["n"]
    scores = rng.integers(-4, 5, (n, n_out)) / 4
    if kind == "numbers":
        y, y_hat = rng.normal(size=(n, n_out)), scores
    elif kind in ("labels", "two classes"):
        y, y_hat = rng.integers(0, 2, (n, n_out)).astype(float), 1 / (1 + np.exp(-scores))
    else:
        y = np.eye(n_out)[rng.integers(0, n_out, n)]
        y_hat = scores if kind == "hinge" else np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return y, y_hat, rng.integers(0, 4, n) * rng.random(n) if weighted else None


def theirs(name, kind, y, y_hat, weights):
    """scikit-learn's value of a metric, from classes and scores as it wants them."""
    sk = pytest.importorskip("sklearn.metrics")
    options = {"sample_weight": weights}
    if kind == "labels":
        true, found, scores = y, y_hat > 0.5, y_hat
    elif kind == "two classes":
        true, found, scores = y[:, 0], y_hat[:, 0] > 0.5, y_hat[:, 0]
    else:
        true, found, scores = y.argmax(axis=1), y_hat.argmax(axis=1), y_hat[:, 1] if y.shape[1] == 2 else y_hat
    match = re.fullmatch(r"(precision|recall|f1)_?(\w*)", name)
    if match:
        average = match[2] or ("binary" if kind in ("two classes", "two of softmax") else "macro")
        return getattr(sk, f"{match[1]}_score")(true, found, average=average, zero_division=0.0, **options)
    if name in ("roc_auc", "average_precision"):
        one_against_the_rest = y if y.shape[1] > 2 else true
        return getattr(sk, f"{name}_score")(one_against_the_rest, scores, **options)
    if name == "accuracy" and kind == "labels":
        repeated = {"sample_weight": None if weights is None else np.repeat(weights, y.shape[1])}
        return sk.accuracy_score(y.ravel(), found.ravel(), **repeated)
    if name == "mbe":
        return np.average(np.mean(y - y_hat, axis=1), weights=weights)
    if name == "top_k":
        return sk.top_k_accuracy_score(true, scores, k=min(5, y.shape[1]), labels=np.arange(y.shape[1]), **options)
    function = {
        "mse": sk.mean_squared_error, "mae": sk.mean_absolute_error, "mape": sk.mean_absolute_percentage_error,
        "rmse": sk.root_mean_squared_error, "r2": sk.r2_score,
    }.get(name)  # fmt: skip
    if function is not None:
        return function(y, y_hat, **options)
    if name in ("log_loss", "cross_entropy"):
        return sk.log_loss(true, y_hat, labels=np.arange(max(2, y.shape[1])), **options)
    return getattr(sk, f"{name}_score")(true, found, **options)


CASES = [(name, kind) for kind in ENDS for name in METRICS if METRICS[name].fits(spec_of(kind))]


@pytest.mark.filterwarnings("ignore:Number of classes in 'y_true' .* less than or equal:UserWarning")
@pytest.mark.filterwarnings("ignore:'k' .* will result in a perfect score")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_metrics_against_scikit_learn(name, kind, weighted):
    for seed in range(5):
        y, y_hat, weights = drawn(kind, 30 if seed > 2 else 60, seed, weighted)
        function = named_metrics(name, spec_of(kind))[name]
        kept = slice(None) if weights is None else weights > 0
        value = function(y, y_hat, sample_weight=weights)
        want = theirs(name, kind, y[kept], y_hat[kept], None if weights is None else weights[kept])
        assert value == pytest.approx(want, rel=1e-12, abs=1e-12)
        doubled = function(np.repeat(y, 2, axis=0), np.repeat(y_hat, 2, axis=0), sample_weight=None)
        assert function(y, y_hat, sample_weight=np.full(len(y), 2.0)) == pytest.approx(doubled, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kind", ENDS)
def test_history_and_evaluate_have_all_that_fit(kind):
    """Weights of 0 are samples that are not there; float32 outputs make the numbers of the same outputs in float64."""
    rng = np.random.default_rng(1)
    x, (y, _, weights) = rng.normal(size=(60, 4)), drawn(kind, seed=1, weighted=True)
    names = [name for name in METRICS if METRICS[name].fits(spec_of(kind))]
    options = {"metrics": names, "epochs": 2, "seed": 0, "validation_data": (x, y, weights)}
    model, history = fastmlp.train(x, y, spec_of(kind), **options)
    report = model.evaluate(x, y, names, sample_weight=weights)
    outputs = model.predict(x)
    for name in names:
        assert history[f"val_{name}"][-1] == report[name] and len(history[name]) == 2
        want = named_metrics(name, spec_of(kind))[name](y, outputs, sample_weight=weights)
        assert report[name] == pytest.approx(want, rel=1e-5, abs=1e-6)


def test_a_class_that_has_no_samples():
    """As in scikit-learn: it is not averaged over where nothing was said of it; roc_auc is not defined."""
    sk = pytest.importorskip("sklearn.metrics")
    y, y_hat = np.eye(4)[[0, 0, 1, 1, 2]], np.eye(4)[[0, 1, 1, 1, 0]] * 0.8 + 0.05
    true, found = y.argmax(axis=1), y_hat.argmax(axis=1)
    for name in ("precision", "recall", "f1"):
        want = getattr(sk, f"{name}_score")(true, found, average="macro", zero_division=0.0)
        assert METRICS[name](y, y_hat) == pytest.approx(want, rel=1e-12)
    assert METRICS["balanced_accuracy"](y[:4], y_hat[:4]) == sk.balanced_accuracy_score(true[:4], found[:4])
    assert METRICS["average_precision"](y[:, 3:], y_hat[:, 3:]) == 0.0
    with pytest.warns(UserWarning, match=r"roc_auc is undefined \(NaN\): class 3 has none of these 5 samples"):
        assert np.isnan(METRICS["roc_auc"](y, y_hat))
    with pytest.warns(UserWarning, match="class 1 has none"):
        assert np.isnan(METRICS["roc_auc"](np.zeros((3, 1)), np.full((3, 1), 0.3)))
    with pytest.warns(UserWarning, match="label 1 has none"):
        assert np.isnan(metrics.roc_auc(np.array([[1, 0], [0, 0]]), np.full((2, 2), 0.3), labels=True))
    assert metrics.f1(np.zeros((3, 1)), np.zeros((3, 1))) == 0.0


@pytest.mark.parametrize("kind", ENDS)
def test_outputs_that_are_nan_are_wrong_or_make_nan(kind):
    y, y_hat, _ = drawn(kind)
    y_hat[::7] = np.nan
    for name, metric in METRICS.items():
        if metric.fits(spec_of(kind)):
            value = named_metrics(name, spec_of(kind))[name](y, y_hat, sample_weight=None)
            decides = re.match("accuracy|balanced|top_k|precision|recall|f1", name)
            assert np.isnan(value) != bool(decides), name
    hit = y.argmax(axis=1) == np.where(np.isnan(y_hat[:, 0]), -1, y_hat.argmax(axis=1))
    if kind == "classes":
        assert metrics.recall(y, y_hat, "micro") == pytest.approx(hit.mean(), rel=1e-12)


def test_probabilities_of_0_and_of_1():
    sk = pytest.importorskip("sklearn.metrics")
    y, y_hat = np.eye(3)[[0, 1, 2]], np.array([[1.0, 0, 0], [1, 0, 0], [0, 0.5, 0.5]])
    for dtype in ("float32", "float64"):
        ours = metrics.log_loss(y, y_hat.astype(dtype))
        assert ours == pytest.approx(sk.log_loss([0, 1, 2], y_hat.astype(dtype)), rel=1e-6)
    assert metrics.mape(np.zeros((1, 1)), np.ones((1, 1))) == sk.mean_absolute_percentage_error([0.0], [1.0])


def test_names_that_mean_a_metric():
    spec = spec_of("classes")
    y, y_hat, _ = drawn("classes")
    for name in ("F1", "f1_score", METRICS["f1"], metrics.f1):
        (key, function), *rest = named_metrics(name, spec).items()
        assert function(y, y_hat, sample_weight=None) == metrics.f1(y, y_hat) and not rest
        assert key == (name if isinstance(name, str) else "f1")
    assert set(metrics.ALIASES.values()) <= set(METRICS)
    (function,) = named_metrics(metrics.f1, spec_of("labels")).values()
    y, y_hat, _ = drawn("labels")
    assert function(y, y_hat, sample_weight=None) == metrics.f1(y, y_hat, labels=True) != metrics.f1(y, y_hat)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("f1_makro", "classes", "metrics: unknown 'f1_makro'; did you mean 'f1_macro'"),
        ("loss", "classes", "'loss' is in the history by itself"),
        ("neg_log_loss", "classes", "ask for 'log_loss': it is not negated, and early stopping knows"),
        ("neg_root_mean_squared_error", "numbers", "ask for 'rmse'"),
        ("f1", "numbers", "f1 needs one output a class or .* 2 linear outputs, for which there are mse, rmse"),
        ("log_loss", "hinge", "log_loss needs one output a class .*softmax or sigmoid; .* balanced_accuracy"),
        ("balanced_accuracy", "labels", "balanced_accuracy needs one output a class or one sigmoid output"),
        ("mape", "classes", "mape needs numbers"),
    ],
)  # fmt: skip
def test_names_that_are_refused(name, kind, message):
    x, (y, _, _) = np.zeros((60, 4)), drawn(kind)
    for ask in (fastmlp.train, lambda x, y, spec, metrics: fastmlp.MLP(spec).evaluate(x, y, metrics)):
        with pytest.raises(ValueError, match=message):
            ask(x, y, spec_of(kind), metrics=[name])
    with pytest.raises(ValueError, match="average='binary' is for two classes, there are 4"):
        metrics.f1(*drawn("classes")[:2], average="binary")


def test_early_stopping_knows_which_way_is_better():
    """As scikit-learn, whose scorers say so by neg_."""
    scorers = set(pytest.importorskip("sklearn.metrics").get_scorer_names())
    for name in METRICS:
        if name in scorers:
            assert higher_is_better(name)
    for alias, name in metrics.ALIASES.items():
        assert higher_is_better(alias) == higher_is_better(name)
        assert f"neg_{alias}" not in scorers or not higher_is_better(name)
    assert higher_is_better("top_3") and higher_is_better("F1") and not higher_is_better("loss")
    x, (y, _, _) = np.random.default_rng(0).normal(size=(60, 4)), drawn("two classes")
    rule = fastmlp.EarlyStopping(monitor="val_roc_auc", patience=3)
    model, history = fastmlp.train(
        x, y, spec_of("two classes"), lr=0.1, epochs=40, seed=0, metrics=["roc_auc"], validation_data=(x, y),
        early_stopping=rule,
    )  # fmt: skip
    assert model.evaluate(x, y, "roc_auc")["roc_auc"] == max(history["val_roc_auc"])


def test_the_table_of_the_reference():
    page = (Path(__file__).parent.parent / "docs/reference/activations-losses-metrics.md").read_text()
    for name, metric in METRICS.items():
        others = [f"`{alias}`" for alias, target in metrics.ALIASES.items() if target == name]
        direction = "higher" if metric.higher_is_better else "lower"
        row = f"| `{name}` | {metric.text} | {', '.join(metric.outputs)} | {direction} | {', '.join(others)} |"
        assert row in page, row


def test_r2_of_a_constant_output():
    """Whose mean is not the constant itself: rounding makes a variance of 1e-34, and a score of -1e30."""
    y, weights = np.full((3, 1), 0.1), np.array([0.3, 0.3, 0.1])
    for options in ({}, {"sample_weight": weights}):
        assert metrics.r2(y, y, **options) == 1.0 and metrics.r2(y, y + 0.1, **options) == 0.0
    y = np.array([[1.0, 5.0], [1.0, 6.0], [9.0, 7.0]])
    assert (
        metrics.r2(y, np.add(y, [0.5, 0.0]), sample_weight=[1, 1, 0]) == 0.5
    )  # without the row of weight 0 it is constant
