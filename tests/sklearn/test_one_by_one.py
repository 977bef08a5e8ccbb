"""partial_fit of one sample after another, or of a few at a time, takes a short way: to the numbers of the long one."""

from __future__ import annotations

import contextlib
import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.neural_network import MLPClassifier as Theirs

from fastmlp.optimizers import Adam
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


SIZES = [8, 64, 8, 2, 65, 128, 129, 200, 8]  # of one block, of several, and of a batch in two parts
LABELS = {
    "integers": np.array([3, 7]),
    "strings": np.array(["a", "bb", "c"]),
    "booleans": np.array([False, True]),
    "numbers": None,
}


def parts(labels, sizes, dtype="float64"):
    """Pairs of x and y with so many rows, and the first call's keywords."""
    rng = np.random.default_rng(0)
    pairs = []
    for n in sizes:
        x = (5 * rng.normal(size=(n, 4))).astype(dtype)
        pairs.append((x, rng.normal(size=n) if LABELS[labels] is None else rng.choice(LABELS[labels], n)))
    return pairs, {} if LABELS[labels] is None else {"classes": LABELS[labels]}


def banning(patch):
    """What makes calls of `learnt` fail that take the long way, except the first."""
    return lambda estimator, i: patch.setattr(type(estimator), "_fit", None) if i == 1 else None


def learnt(labels, pairs, first, takes_long_way, disturb=lambda estimator, i: None, **parameters):
    """All that must be the same whichever way an estimator took the pairs, one call for each."""
    np.random.seed(3)  # noqa: NPY002, which is what random_state=None draws from
    parameters = {"hidden_layer_sizes": (8, 5), **copy.deepcopy(parameters)}
    estimator = (MLPRegressor if LABELS[labels] is None else MLPClassifier)(**parameters)
    errors = []
    for i, (x, y) in enumerate(pairs):
        disturb(estimator, i)
        if takes_long_way:
            vars(estimator).pop("_online", None)
        try:
            estimator.partial_fit(x, y, **(first if i == 0 else {}))
        except (TypeError, ValueError) as error:
            errors.append((i, type(error), str(error)))
    state = estimator._fit_state
    drawn = [np.random.get_state(), *(r.get_state() for r in parameters.values() if hasattr(r, "get_state"))]  # noqa: NPY002
    return {
        "errors": errors,
        "params": estimator.network_.params.tobytes(),
        "optimizer": ([vector.tobytes() for vector in state.optimizer.vectors], state.optimizer.count),
        "losses": (estimator.loss_, estimator.best_loss_, estimator.loss_curve_),
        "counts": (estimator.t_, estimator.n_iter_, state.epochs, state.no_improvement_count, state.learning_rate),
        "random numbers": [(key.tobytes(), place) for _, key, place, *_ in drawn],
    }


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"solver": "sgd", "alpha": 0.01, "random_state": np.random.RandomState(5), "dtype": "float32"},
        {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "random_state": 7},
        {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.5, "l1": 0.001, "shuffle": False},
        {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "clip_norm": 0.1},
        {"solver": "rmsprop", "activation": "tanh", "learning_rate": lambda epoch: 0.01 / (1 + epoch)},
    ],
    ids=["adam", "momentum", "plain sgd", "invscaling", "adaptive", "rmsprop"],
)
def test_few_samples_have_the_bits_of_the_long_way(labels, dtype, parameters, monkeypatch):
    pairs, first = parts(labels, SIZES, dtype)
    expected = learnt(labels, pairs, first, True, **parameters)
    assert learnt(labels, pairs, first, False, banning(monkeypatch), **parameters) == expected
    assert not expected["errors"]


def test_after_one_sample_few_take_the_short_way_too(monkeypatch):
    pairs, first = parts("strings", [1, 8, 1, 64])
    expected = learnt("strings", pairs, first, True)
    values = learnt("strings", pairs, first, False, banning(monkeypatch))
    assert values["random numbers"] == expected["random numbers"] and values["counts"] == expected["counts"]
    np.testing.assert_allclose(values["losses"][2], expected["losses"][2], rtol=1e-9)


@pytest.mark.parametrize("labels", LABELS)
def test_few_samples_as_lists_and_frames_take_it_too(labels, monkeypatch):
    pairs, first = parts(labels, [8, 64, 8])
    expected = learnt(labels, pairs, first, True)
    for kind in (
        lambda x, y: (x.tolist(), y.tolist()),
        lambda x, y: (pd.DataFrame(x, columns=list("abcd")), pd.Series(y)),
        lambda x, y: (x, y.astype(object) if y.dtype.kind == "U" else y),
    ):
        with monkeypatch.context() as patch:
            assert learnt(labels, [kind(x, y) for x, y in pairs], first, False, banning(patch)) == expected


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("batch_size", ["auto", 8, 10])
def test_other_batches_and_changed_parameters_are_seen(labels, batch_size):
    pairs, first = parts(labels, [8, 8, 64, 201, 8, 8, 8, 8, 8])

    def disturb(estimator, i):
        if i == 5:
            estimator.set_params(alpha=0.1, shuffle=False)
        if i == 6:
            estimator.coefs_ = [c + 0.01 for c in estimator.coefs_]
        if i == 7:
            estimator.coefs_[0][...] *= 2
        if i == 8:
            estimator.set_params(batch_size=4)

    with pytest.warns(UserWarning, match="batch_size") if batch_size == 10 else contextlib.nullcontext():
        ways = [learnt(labels, pairs, first, long, disturb, batch_size=batch_size) for long in (True, False)]
    assert ways[0] == ways[1]


def with_number(x, number):
    x = x.copy()
    x[3, 1] = number
    return x


BAD = {  # what becomes of x and y of 8 rows
    "NaN": lambda x, y: (with_number(x, np.nan), y),
    "infinity": lambda x, y: (with_number(x, np.inf), y),
    "too large for float32": lambda x, y: (with_number(x, 1e60), y),
    "almost too large for float32": lambda x, y: (with_number(x, 1e36), y),
    "too large": lambda x, y: (with_number(x, 1e300), y),
    "y is NaN": lambda x, y: (x, np.full(8, np.nan)),
    "y is large": lambda x, y: (x, np.full(8, 1e200)),
    "unknown labels": lambda x, y: (x, np.array([*y[:7], 99])),
    "objects": lambda x, y: (x, y.astype(object)),
    "text": lambda x, y: (x, y.astype(str)),
    "complex": lambda x, y: (x, y.astype(complex)),
    "dates": lambda x, y: (x, y.astype(np.int64).astype("datetime64[ns]")),
    "another number of rows": lambda x, y: (x, y[:5]),
    "no rows": lambda x, y: (x[:0], y[:0]),
    "columns": lambda x, y: (x[:, :3], y),
    "rows of different lengths": lambda x, y: ([*x.tolist()[:7], [1.0]], y),
    "y has an axis more": lambda x, y: (x, y[:, None]),
    "lists": lambda x, y: (x.tolist(), y.tolist()),
    "in another order": lambda x, y: (np.asfortranarray(x)[::-1], y[::-1]),
    "a sparse x": lambda x, y: (scipy.sparse.csr_array(x), y),
}


@pytest.mark.parametrize("labels", ["integers", "booleans", "numbers"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["plain sgd", "adam"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:A column-vector y")
def test_few_bad_samples_do_what_they_do_in_the_long_way(labels, dtype, solver):
    options = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0} if solver == "plain sgd" else {"solver": solver}
    for change in BAD.values():
        pairs, first = parts(labels, [8, 8, 8, 8])
        pairs[2] = change(*pairs[2])
        ways = [learnt(labels, pairs, first, long_way, dtype=dtype, **options) for long_way in (True, False)]
        assert ways[0] == ways[1]


def test_labels_in_one_column_for_several_labels_take_the_long_way():
    x, y = np.random.default_rng(0).normal(size=(8, 4)), np.eye(3, dtype=int)[[0, 1, 2, 1, 1, 0, 2, 0]]
    ways = [MLPClassifier(4, random_state=0).partial_fit(x, y, classes=[0, 1, 2]) for _ in range(2)]
    for rows in (slice(0, 1), slice(0, 8)):
        for estimator, labels in zip(ways, (np.argmax(y, axis=1), y), strict=True):
            estimator.partial_fit(x[rows], labels[rows])
    np.testing.assert_array_equal(ways[0].coefs_[0], ways[1].coefs_[0])


@pytest.mark.parametrize("n", [1, 8])
def test_a_lazy_solver_refuses_dense_samples_after_sparse_ones(n):
    x, y = np.ones((n, 4)), np.ones(n)
    estimator = MLPRegressor(hidden_layer_sizes=4, solver=Adam(lazy=True)).partial_fit(scipy.sparse.csr_array(x), y)
    with pytest.raises(ValueError, match="lazy steps are for sparse x"):
        estimator.partial_fit(x, y)
