"""partial_fit of one sample after another takes a short way: to the numbers of the long one."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.neural_network import MLPClassifier as Theirs

from fastmlp.sklearn import MLPClassifier, MLPRegressor

KINDS = {
    "two classes": (MLPClassifier, [3, 7]),
    "classes": (MLPClassifier, [0, 1, 5]),
    "numbers": (MLPRegressor, None),
}


def stream(kind, n=25):
    rng = np.random.default_rng(0)
    labels = KINDS[kind][1]
    return rng.normal(size=(n, 4)), rng.normal(size=n) if labels is None else rng.choice(labels, n)


def one_by_one(kind, as_array, disturb=lambda estimator, i: estimator, **parameters):
    """An estimator that learnt a stream; y as tuples of one element take the long way."""
    make, labels = KINDS[kind]
    estimator = make(hidden_layer_sizes=(8, 5), random_state=0, **parameters)
    for i, (x, y) in enumerate(zip(*stream(kind), strict=True)):
        first = {"classes": labels} if labels and i == 0 else {}
        estimator = disturb(estimator, i)
        estimator.partial_fit(x[None], np.array([y]) if as_array else (y,), **first)
    return estimator


def check_equal(short, long_way):
    assert vars(long_way)["_online"] is not None
    for ours, theirs in zip(short.coefs_ + short.intercepts_, long_way.coefs_ + long_way.intercepts_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(short.loss_curve_, long_way.loss_curve_, rtol=1e-9)
    assert (short.t_, short.n_iter_) == (long_way.t_, long_way.n_iter_) == (25, 1)
    assert short.loss_ == pytest.approx(long_way.loss_) and short.best_loss_ == pytest.approx(long_way.best_loss_)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"solver": "sgd", "learning_rate": "invscaling", "alpha": 0.01},
        {"solver": "sgd", "learning_rate": "adaptive", "momentum": 0.0, "alpha": 0.0, "n_iter_no_change": 2},
        {"l1": 0.001, "batch_size": 1, "activation": "tanh"},
    ],
    ids=["adam", "invscaling", "adaptive", "l1"],
)
def test_the_short_way_is_the_long_one(kind, parameters):
    check_equal(one_by_one(kind, True, **parameters), one_by_one(kind, False, **parameters))


@pytest.mark.parametrize("kind", KINDS)
def test_lists_and_frames_take_it_too(kind, monkeypatch):
    make, labels = KINDS[kind]
    x, y = stream(kind)
    y = y if labels is None else np.array([f"label {k}" for k in y])
    frame, series = pd.DataFrame(x, columns=list("abcd")), pd.Series(y)
    ways = {
        "arrays": lambda i: (x[i : i + 1], y[i : i + 1]),
        "lists": lambda i: ([x[i].tolist()], [y.tolist()[i]]),
        "frames": lambda i: (frame[i : i + 1], series[i : i + 1]),
        "the long way": lambda i: (x[i : i + 1], (y.tolist()[i],)),
    }
    fitted = {}
    for way, pair in ways.items():
        with monkeypatch.context() as patch:
            estimator = fitted[way] = make(hidden_layer_sizes=(8, 5), random_state=0)
            estimator.partial_fit(*pair(0), **({"classes": np.unique(y)} if labels else {}))
            if way != "the long way":
                patch.setattr(make, "_fit", None)  # no longer needed
            for i in range(1, 25):
                estimator.partial_fit(*pair(i))
    for way in ("arrays", "lists", "frames"):
        check_equal(fitted[way], fitted["the long way"])


def test_frames_with_other_columns_take_the_long_way():
    x, y = stream("numbers")
    frame = pd.DataFrame(x, columns=list("abcd"))
    estimator = MLPRegressor(hidden_layer_sizes=4).partial_fit(frame[:1], y[:1])
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.partial_fit(frame[:1][list("bacd")], y[:1])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        estimator.partial_fit(x[:1], y[:1])
    estimator = MLPRegressor(hidden_layer_sizes=4).partial_fit(x[:1], y[:1])
    with pytest.warns(UserWarning, match="X has feature names"):
        estimator.partial_fit(frame[:1], y[:1])


def test_what_changes_between_two_samples_is_seen():
    def disturb(estimator, i):
        if i == 5:
            estimator.set_params(alpha=0.1, solver="adam")
        if i == 8:
            estimator.coefs_ = [c + 0.01 for c in estimator.coefs_]
        if i == 11:
            estimator = pickle.loads(pickle.dumps(estimator))
        if i == 14:
            estimator = copy.deepcopy(estimator)
        return estimator

    check_equal(one_by_one("classes", True, disturb), one_by_one("classes", False, disturb))


def test_scikit_learn_s_numbers():
    x, y = stream("classes")
    theirs = Theirs((8, 5), random_state=0)
    for row, label in zip(x, y, strict=True):
        theirs.partial_fit(row[None], [label], classes=[0, 1, 5])
    ours = one_by_one("classes", True)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-6, atol=1e-9)


def test_bad_samples_are_refused_and_change_nothing():
    estimator, other = one_by_one("classes", True), one_by_one("classes", True)
    x, y = np.zeros((1, 4)), np.array([5])
    for bad_x, bad_y, error in [
        (x + np.nan, y, "NaN"),
        (x[:, :3], y, "3 features"),
        (x, np.array([4]), "classes not in"),
        (x, np.array([5, 5]), "inconsistent numbers of samples"),
        (x, np.array([0.5]), "Unknown label type|classes not in"),
    ]:
        with pytest.raises(ValueError, match=error):
            estimator.partial_fit(bad_x, bad_y)
        estimator.partial_fit(x, y)
        other.partial_fit(x, y)
    for ours, theirs in zip(estimator.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_steps_that_leave_the_numbers_are_an_error():
    regressor = MLPRegressor(solver="sgd", random_state=0, learning_rate_init=1.0)
    regressor.partial_fit(np.ones((1, 4)), [0.5])
    weights = regressor.coefs_[0].copy()
    with pytest.raises(ValueError, match="non-finite"):
        regressor.partial_fit(np.full((1, 4), 1e160), np.array([1e150]))
    np.testing.assert_array_equal(regressor.coefs_[0], weights)
