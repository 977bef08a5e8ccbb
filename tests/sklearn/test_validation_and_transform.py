"""What the estimators have beside scikit-learn's: validation samples of one's own, transform, scores, their errors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.preprocessing import scale
from sklearn.utils._param_validation import InvalidParameterError

from fastmlp.sklearn import EnsembleClassifier, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = scale(X)
PLACES = np.random.default_rng(0).permutation(150)
TRAIN, VAL = PLACES[:100], PLACES[100:]
WEIGHTS = np.random.default_rng(1).uniform(0, 2, len(VAL))
OPTIONS = {"hidden_layer_sizes": (7, 5), "max_iter": 6, "learning_rate_init": 0.02, "random_state": 0}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_curve_is_scikit_learns_loss_of_the_validation_samples(sparse, weights):
    x_val = scipy.sparse.csr_matrix(X[VAL]) if sparse else X[VAL]
    clf = MLPClassifier(**OPTIONS).fit(X[TRAIN], Y[TRAIN], X_val=x_val, y_val=Y[VAL], sample_weight_val=weights)
    assert len(clf.validation_loss_curve_) == clf.n_iter_ == 6 and clf.validation_scores_ is None
    exact = log_loss(Y[VAL], clf.predict_proba(X[VAL]), sample_weight=weights)
    assert clf.validation_loss_curve_[-1] == pytest.approx(exact, rel=1e-9)
    alone = MLPClassifier(**OPTIONS).fit(X[TRAIN], Y[TRAIN])
    assert alone.validation_loss_curve_ is None
    np.testing.assert_array_equal(alone.coefs_[0], clf.coefs_[0])  # nothing was learnt from them


def test_the_curve_of_a_regressor_is_half_the_mean_squared_error():
    y = X @ np.random.default_rng(0).normal(size=(4, 2))
    reg = MLPRegressor(**OPTIONS).fit(X[TRAIN], y[TRAIN], X_val=X[VAL], y_val=y[VAL])
    exact = 0.5 * np.mean((reg.predict(X[VAL]) - y[VAL]) ** 2)
    assert reg.validation_loss_curve_[-1] == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("kind", "score"), [(MLPClassifier, accuracy_score), (MLPRegressor, r2_score)])
def test_early_stopping_goes_by_them_and_holds_nothing_out(kind, score):
    options = {**OPTIONS, "early_stopping": True, "max_iter": 60, "n_iter_no_change": 3, "batch_size": 10}
    one = kind(**options).fit(X[TRAIN], Y[TRAIN], X_val=X[VAL], y_val=Y[VAL])
    assert len(one.validation_scores_) == len(one.validation_loss_curve_) == one.n_iter_
    assert one.best_validation_score_ == max(one.validation_scores_)
    assert one.best_validation_score_ == pytest.approx(score(Y[VAL], one.predict(X[VAL])))
    assert one.t_ == one.n_iter_ * len(TRAIN)


def test_rows_that_early_stopping_holds_out_have_a_curve_too():
    clf = MLPClassifier(**OPTIONS, early_stopping=True).fit(X, Y)
    assert len(clf.validation_loss_curve_) == len(clf.validation_scores_) == clf.n_iter_
    assert clf.t_ == clf.n_iter_ * 135


def test_a_warm_start_goes_on_with_the_curve_and_partial_fit_leaves_it():
    clf = MLPClassifier(**OPTIONS, warm_start=True)
    for _ in range(2):
        clf.fit(X[TRAIN], Y[TRAIN], X_val=X[VAL], y_val=Y[VAL])
    assert len(clf.validation_loss_curve_) == len(clf.loss_curve_) == 12
    clf.partial_fit(X[TRAIN], Y[TRAIN])
    assert len(clf.validation_loss_curve_) == 12 and len(clf.loss_curve_) == 13


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": X}, "not given y_val"),
        ({"y_val": Y}, "not given X_val"),
        ({"sample_weight_val": WEIGHTS}, "not given X_val"),
        ({"X_val": X[:, :3], "y_val": Y}, "3 features"),
        ({"X_val": X, "y_val": Y[:9]}, "inconsistent numbers of samples"),
        ({"X_val": X, "y_val": Y + 1}, "`y_val` has classes not in"),
        (
            {"X_val": X, "y_val": Y, "sample_weight_val": -np.ones(150)},
            "sample_weight_val must be finite and at least 0",
        ),
    ],
)
def test_validation_samples_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**OPTIONS).fit(X, Y, **given)
    with pytest.raises(ValueError, match="X_val is for solvers that go batch by batch, which lbfgs does not"):
        MLPClassifier(solver="lbfgs").fit(X, Y, X_val=X, y_val=Y)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_transform_is_the_last_hidden_layer(kind):
    one = kind(**OPTIONS).fit(X, Y)
    exact = np.maximum(np.maximum(X @ one.coefs_[0] + one.intercepts_[0], 0) @ one.coefs_[1] + one.intercepts_[1], 0)
    np.testing.assert_allclose(one.transform(X), exact, atol=1e-12)
    np.testing.assert_allclose(one.transform(scipy.sparse.csr_matrix(X)), exact, atol=1e-12)
    np.testing.assert_array_equal(kind(**OPTIONS).fit_transform(X, Y), one.transform(X))
    assert one.get_feature_names_out().tolist() == [f"{kind.__name__.lower()}{i}" for i in range(5)]
    flat = kind(**{**OPTIONS, "hidden_layer_sizes": ()})
    assert not hasattr(flat, "transform")
    with pytest.raises(AttributeError, match="has no attribute 'transform'"):
        flat.fit(X, Y).transform(X)


@pytest.mark.parametrize("y", [Y, Y == 2], ids=["three", "two"])
def test_scores_decide_under_hinge(y):
    for clf in (MLPClassifier(**OPTIONS, loss="hinge"), EnsembleClassifier(MLPClassifier(**OPTIONS, loss="hinge"), 3)):
        scores = clf.fit(X, y).decision_function(X)
        networks = clf.ensemble_ if isinstance(clf, EnsembleClassifier) else [clf.network_]
        outputs = np.mean([network.predict(X) for network in networks], axis=0)
        np.testing.assert_allclose(scores, outputs if outputs.shape[1] > 2 else outputs @ [-1, 1], atol=1e-12)
        decided = scores.argmax(axis=1) if scores.ndim == 2 else scores > 0
        np.testing.assert_array_equal(clf.predict(X), clf.classes_[decided.astype(int)])
    assert not hasattr(MLPClassifier(), "decision_function")


@pytest.mark.parametrize(
    "bad",
    [
        {"solver": "adamm"}, {"alpha": -1}, {"alpha": "1"}, {"hidden_layer_sizes": (3, 0)}, {"hidden_layer_sizes": "a"},
        {"activation": "rellu"}, {"loss": "no"}, {"dropout": 2.0}, {"shuffle": 3}, {"activation": ["relu"] * 3},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_bad_parameters_are_scikit_learns_errors(kind, bad):
    with pytest.raises(InvalidParameterError):
        kind(**{**OPTIONS, **bad}).fit(X, Y)
