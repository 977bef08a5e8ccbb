"""Intervals against their definition, written out in NumPy, and their coverage on real tables."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import intervals

N_IN, N = 3, 41


def network(cost, n_targets=1, seed=0, act="linear"):
    n = n_targets * {"quantile(0.1, 0.5, 0.9)": 3, "gaussian_nll": 2}.get(cost, 1)
    layers = [{"n": N_IN, "act": None}, {"n": 6, "act": "tanh"}, {"n": n, "act": act, "cost": cost}]
    return fastmlp.MLP(layers, seed=seed, dtype="float64")


def samples(n_targets=1, n=N, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, N_IN)), rng.exponential(size=(n, n_targets))


def kth_smallest(scores, coverage):
    """The k-th smallest of each column's n scores, with k = ⌈(n + 1) coverage⌉, counted without floating point."""
    k = min(k for k in range(1, len(scores) + 1) if k * 100 >= (len(scores) + 1) * round(100 * coverage))
    return np.sort(scores, axis=0)[k - 1]


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("cost", ["mse", "quantile(0.1, 0.5, 0.9)", "gaussian_nll", "poisson", "huber"])
def test_intervals_are_the_papers(cost, coverage, n_targets):
    model, (x, y), new = network(cost, n_targets), samples(n_targets), samples(seed=1)[0]
    found = intervals.calibrate(model, x, y, coverage=coverage)
    out, ahead = model.predict(x), model.predict(new)
    lower, upper = found.predict(new)
    if cost.startswith("quantile"):
        q, r = (values.reshape(N, n_targets, 3) for values in (out, ahead))
        margin = kth_smallest(np.maximum(q[..., 0] - y, y - q[..., 2]), coverage)
        expected = r[..., 0] - margin, r[..., 2] + margin
        assert found.score == "quantile"
    else:
        unit = unit_ahead = 1.0
        if cost == "gaussian_nll":
            (out, unit), (ahead, unit_ahead) = (np.hsplit(values, 2) for values in (out, ahead))
            unit, unit_ahead = np.exp(unit / 2), np.exp(unit_ahead / 2)
        if cost == "poisson":
            out, ahead = np.exp(out), np.exp(ahead)
            unit, unit_ahead = np.sqrt(out), np.sqrt(ahead)
        margin = kth_smallest(np.abs(y - out) / unit, coverage)
        expected = ahead - margin * unit_ahead, ahead + margin * unit_ahead
        assert found.score == ("normalized" if cost in ("gaussian_nll", "poisson") else "absolute")
    np.testing.assert_allclose(found.margin, margin, rtol=1e-12)
    np.testing.assert_allclose((lower, upper), expected, rtol=1e-12)
    assert lower.shape == (N, n_targets) and found.n_calibration == N
    measured = found.evaluate(x, y)
    inside = kth_smallest(np.arange(1, N + 1)[:, None], coverage)[0]
    assert measured["coverage"] == pytest.approx(inside / N)
    width = np.mean(np.subtract(*found.predict(x)[::-1]))
    assert measured["width"] == pytest.approx(width, rel=1e-12)


def test_ensembles():
    x, y = samples()
    models = [network("gaussian_nll", seed=seed) for seed in range(3)]
    found = intervals.calibrate(fastmlp.Ensemble(models), x, y)
    mean, log_variance = (np.array([model.predict(x)[:, [k]] for model in models]) for k in (0, 1))
    deviation = np.sqrt(np.exp(log_variance).mean(axis=0) + mean.var(axis=0))  # of the mixture
    margin = kth_smallest(np.abs(y - mean.mean(axis=0)) / deviation, 0.9)
    np.testing.assert_allclose(found.margin, margin, rtol=1e-12)
    plain = fastmlp.Ensemble([network("mse", seed=seed) for seed in range(3)])
    mean, std = plain.predict(x, return_std=True)
    for score, unit in (("absolute", 1.0), ("normalized", std)):
        found = intervals.calibrate(plain, x, y, score=score)
        np.testing.assert_allclose(found.margin, kth_smallest(np.abs(y - mean) / unit, 0.9), rtol=1e-9)
        lower, upper = found.predict(x)
        np.testing.assert_allclose((upper - lower) / 2, np.broadcast_to(unit * found.margin, mean.shape), rtol=1e-9)
    assert intervals.calibrate(plain, x, y).score == "absolute"
    quantiles = fastmlp.Ensemble([network("quantile(0.1, 0.5, 0.9)", seed=seed) for seed in range(3)])
    q = quantiles.predict(x)
    margin = kth_smallest(np.maximum(q[:, [0]] - y, y - q[:, [2]]), 0.9)
    np.testing.assert_allclose(intervals.calibrate(quantiles, x, y).margin, margin, rtol=1e-9)


def test_crossing_quantiles_are_sorted_on_request_only():
    model, (x, y) = network("quantile(0.1, 0.5, 0.9)"), samples()
    out = model.predict(x)
    assert (np.diff(out, axis=1) < 0).any()
    np.testing.assert_array_equal(model.quantiles(x)[:, 0], out)
    np.testing.assert_array_equal(model.quantiles(x, sort=True)[:, 0], np.sort(out, axis=1))
    as_it_is, sorted_first = (intervals.calibrate(model, x, y, sort=sort) for sort in (False, True))
    ordered = np.sort(out, axis=1)
    margin = kth_smallest(np.maximum(ordered[:, 0] - y[:, 0], y[:, 0] - ordered[:, 2]), 0.9)
    assert sorted_first.margin[0] == margin != as_it_is.margin[0]
    np.testing.assert_array_equal(sorted_first.predict(x)[0][:, 0], ordered[:, 0] - margin)
    two = network("quantile(0.1, 0.5, 0.9)", 2)
    np.testing.assert_array_equal(two.quantiles(x), two.predict(x).reshape(N, 2, 3))


def test_pickles_and_threads():
    model, (x, y) = network("gaussian_nll"), samples(n=3000)
    found = intervals.calibrate(model, x, y)
    again = pickle.loads(pickle.dumps(found))
    on_threads = intervals.calibrate(model, x, y, n_threads=2)
    for other in (again, on_threads):
        np.testing.assert_array_equal(other.predict(x, n_threads=2), found.predict(x))
    assert repr(found).startswith("Intervals(model=<fastmlp.MLP")


@pytest.mark.parametrize(
    ("cost", "options", "error", "words"),
    [
        ("mse", {"coverage": 0.99}, ValueError, "x has 41 samples, coverage=0.99 needs at least 99"),
        ("mse", {"coverage": 1.0}, ValueError, "coverage must be a finite number above 0 and below 1"),
        ("mse", {"score": "quantile"}, ValueError, "does not fit the loss mse: it is for several quantiles"),
        ("mse", {"score": "normalized"}, ValueError, "needs a predicted deviation: the loss gaussian_nll, or an"),
        ("mse", {"score": "relative"}, ValueError, "score: unknown 'relative'"),
        ("mse", {"sort": True}, ValueError, "sort=True is for several quantiles; the score is absolute"),
        ("quantile(0.1, 0.5, 0.9)", {"score": "absolute"}, ValueError, "score='quantile' is for its quantiles"),
        ("mse", {"x": np.zeros((N, 2))}, ValueError, "x has 2 features, the network takes 3"),
        ("mse", {"y": np.zeros(3)}, ValueError, "y has 3 rows, x has 41 samples"),
        ("mse", {"model": 3}, TypeError, "model must be a fastmlp.MLP or fastmlp.Ensemble, got int"),
    ],
)
def test_bad_arguments(cost, options, error, words):
    x, y = samples()
    arguments = {"model": network(cost), "x": x, "y": y, **options}
    with pytest.raises(error, match=words):
        intervals.calibrate(**arguments)


@pytest.mark.parametrize(("cost", "act"), [("cross_entropy", "sigmoid"), ("bce", "sigmoid"), ("hinge", "linear")])
def test_classes_have_no_intervals(cost, act):
    model = network(cost, n_targets=2, act=act)
    with pytest.raises(ValueError, match=rf"intervals are for numbers, .* are classes \({cost}\)"):
        intervals.calibrate(model, *samples(2))


def test_spreads_without_a_size_are_refused():
    x, y = samples()
    twins = fastmlp.Ensemble([network("mse"), network("mse")])
    with pytest.raises(ValueError, match="normalized scores are not finite"):
        intervals.calibrate(twins, x, y, score="normalized")


def diabetes():
    return pytest.importorskip("sklearn.datasets").load_diabetes(return_X_y=True)


def of_statsmodels(name, target, n=None):
    frame = getattr(pytest.importorskip("statsmodels.api").datasets, name).load_pandas().data
    frame = frame if n is None else frame.sample(n, random_state=0)
    return frame.drop(columns=target).to_numpy(np.float64), frame[target].to_numpy(np.float64)


TABLES = {
    "diabetes": diabetes,  # scikit-learn's, 442 rows: how far the disease went
    "engel": lambda: of_statsmodels("engel", "foodexp"),  # 235 households: what they spend on food
    "star98": lambda: of_statsmodels("star98", "PERMINTE"),  # 303 school districts: their minority teachers, in percent
    "fair": lambda: of_statsmodels("fair", "affairs"),  # 6,366 women: time spent in affairs
    "randhie": lambda: of_statsmodels("randhie", "mdvis", 3000),  # of 20,190 persons: visits to a doctor
}


@pytest.mark.parametrize("table", TABLES)
def test_coverage_on_real_tables(table):
    """A third of the rows trains; the others are halved again and again, into those that calibrate and those that are
    asked, which are as good as new ones."""
    x, y = TABLES[table]()
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(x))
    training, others = rows[: len(x) // 3], rows[len(x) // 3 :]
    for cost, n_out in (("mse", 1), ("quantile(0.05, 0.95)", 2), ("gaussian_nll", 2)):
        spec = [{"n": x.shape[1]}, {"n": 8, "act": "tanh"}, {"n": n_out, "act": "linear", "cost": cost}]
        options = {"optimizer": "adam", "batch_size": 16, "epochs": 20, "l2": 0.01, "clip_norm": 5.0}
        model = fastmlp.train(x[training], y[training], spec, standardize=True, seed=0, **options).model
        for coverage in (0.8, 0.9):
            found = []
            for _ in range(40):
                rows = rng.permutation(others)
                asked, calibrating = rows[: len(rows) // 2], rows[len(rows) // 2 :]
                made = intervals.calibrate(model, x[calibrating], y[calibrating], coverage=coverage)
                lower, upper = made.predict(x[asked])
                found.append(np.mean((lower[:, 0] <= y[asked]) & (y[asked] <= upper[:, 0])))
            assert abs(np.mean(found) - coverage) < 0.02, (cost, coverage, np.mean(found))
