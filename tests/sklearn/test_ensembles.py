"""Ensembles of estimators: scikit-learn's checks, and what they answer held against their members."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastmlp

pytest.importorskip("sklearn")

import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, make_multilabel_classification
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp.sklearn import EnsembleClassifier, EnsembleRegressor, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = scale(X)
RNG = np.random.default_rng(0)
NUMBERS = X @ RNG.normal(size=(4, 2)) + RNG.normal(size=(150, 2))
CLASSIFIER = MLPClassifier(6, max_iter=30, learning_rate_init=0.02)
REGRESSOR = MLPRegressor(hidden_layer_sizes=6, max_iter=30, learning_rate_init=0.02)


@parametrize_with_checks(
    [
        EnsembleClassifier(MLPClassifier(max_iter=100), n_estimators=3),
        EnsembleRegressor(MLPRegressor(max_iter=100), n_estimators=3),
        EnsembleClassifier(MLPClassifier(8, solver="lbfgs", max_iter=20), n_threads=2),
    ]
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_without_bootstrap_members_are_estimators_that_differ_in_their_seeds():
    ensemble = EnsembleClassifier(CLASSIFIER, 4, random_state=3).fit(X, Y)
    seeds = [member.random_state for member in ensemble.estimators_]
    assert len(set(seeds)) == 4
    alone = [clone(CLASSIFIER).set_params(random_state=seed).fit(X, Y) for seed in seeds]
    np.testing.assert_allclose(
        ensemble.predict_proba(X), np.mean([one.predict_proba(X) for one in alone], axis=0), rtol=1e-13
    )
    votes = np.stack([np.sum([one.predict(X) == k for one in alone], axis=0) for k in range(3)], axis=1)
    np.testing.assert_array_equal(ensemble.votes(X), votes)
    np.testing.assert_array_equal(ensemble.predict(X), ensemble.predict_proba(X).argmax(axis=1))
    np.testing.assert_array_equal(np.exp(ensemble.predict_log_proba(X)).round(12), ensemble.predict_proba(X).round(12))
    assert isinstance(ensemble.ensemble_, fastmlp.Ensemble)
    assert list(ensemble.ensemble_) == [one.network_ for one in alone]


@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, 0]], ids=["two numbers", "one"])
def test_values_spread_and_quantiles_of_regressors(y):
    ensemble = EnsembleRegressor(REGRESSOR, 5, random_state=0).fit(X, y)
    each = np.stack([member.predict(X) for member in ensemble.estimators_])
    mean, std = ensemble.predict(X, return_std=True)
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(std, each.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(ensemble.predict(X), mean)
    np.testing.assert_allclose(ensemble.quantiles(X, [0.25, 1]), np.quantile(each, [0.25, 1], axis=0), rtol=1e-12)
    assert mean.shape == y.shape and ensemble.quantiles(X, 0.5).shape == y.shape
    with pytest.raises(ValueError, match="q must lie between 0 and 1"):
        ensemble.quantiles(X, 2)


def test_counts_are_averaged_and_not_their_logarithms():
    counts = RNG.poisson(np.exp(X[:, 0]))
    ensemble = EnsembleRegressor(clone(REGRESSOR).set_params(loss="poisson"), 3, random_state=0).fit(X, counts)
    each = [member.predict(X) for member in ensemble.estimators_]
    np.testing.assert_allclose(ensemble.predict(X), np.mean(each, axis=0), rtol=1e-12)


def test_a_bootstrap_gives_each_member_the_samples_drawn_for_it():
    """A network without hidden layers has one optimum: that of samples drawn, repeated as often as they were."""
    line = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.0, max_iter=500, tol=1e-10)
    ensemble = EnsembleRegressor(line, 20, bootstrap=True, random_state=0).fit(X, NUMBERS[:, 0])
    states = np.random.RandomState(0)
    design = np.column_stack([X, np.ones(len(X))])
    for member in ensemble.estimators_:
        assert member.random_state == states.randint(np.iinfo(np.int32).max)
        rows = states.randint(len(X), size=len(X))
        solution = np.linalg.lstsq(design[rows], NUMBERS[rows, 0], rcond=None)[0]
        np.testing.assert_allclose(member.coefs_[0][:, 0], solution[:-1], atol=1e-3)
    # the textbook's standard error of a mean prediction, s √(x'(X'X)⁻¹x), which bootstraps estimate
    _, std = ensemble.predict(X, return_std=True)
    residuals = NUMBERS[:, 0] - design @ np.linalg.lstsq(design, NUMBERS[:, 0], rcond=None)[0]
    inverse = np.linalg.inv(design.T @ design)
    exact = np.sqrt(np.einsum("ij,jk,ik->i", design, inverse, design) * (residuals**2).sum() / (len(X) - 5))
    assert 0.7 < np.mean(std / exact) < 1.3


def test_sample_weights_count_and_multiply_those_of_the_bootstrap():
    only = (Y != 2).astype(float)
    ensemble = EnsembleClassifier(CLASSIFIER, 3, bootstrap=True, random_state=0).fit(X, Y, sample_weight=only)
    assert (ensemble.predict(X) != 2).all() and ensemble.score(X[Y != 2], Y[Y != 2]) > 0.95
    for weights in (np.ones(3), np.ones((150, 2))):
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(150,\)"):
            ensemble.fit(X, Y, weights)


@pytest.mark.parametrize("bootstrap", [False, True])
def test_threads_do_not_change_the_numbers(bootstrap):
    one, two = (
        EnsembleClassifier(CLASSIFIER, 5, bootstrap=bootstrap, random_state=1, n_threads=n).fit(X, Y) for n in (1, 2)
    )
    assert one.ensemble_ == two.ensemble_
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_text_labels_two_classes_several_labels_and_scores():
    x, y = load_breast_cancer(return_X_y=True)
    x, y = scale(x), np.array(["bad", "good"])[y]
    two = EnsembleClassifier(CLASSIFIER, 3, random_state=0).fit(x, y)
    assert two.classes_.tolist() == ["bad", "good"] and two.score(x, y) > 0.95
    assert two.predict_proba(x).shape == two.votes(x).shape == (len(x), 2)
    np.testing.assert_array_equal(two.votes(x).argmax(axis=1) == 1, two.predict(x) == "good")
    x, y = make_multilabel_classification(n_samples=200, random_state=0)
    labels = EnsembleClassifier(CLASSIFIER, 3, random_state=0).fit(x, y)
    assert labels.predict(x).shape == labels.predict_proba(x).shape == labels.votes(x).shape == y.shape
    np.testing.assert_array_equal(labels.votes(x), np.sum([one.predict(x) for one in labels.estimators_], axis=0))
    scores = EnsembleClassifier(clone(CLASSIFIER).set_params(loss="hinge"), 3, random_state=0)
    assert not hasattr(scores, "predict_proba") and scores.fit(X, Y).score(X, Y) > 0.9


def test_sparse_x_pipelines_searches_clones_and_pickles():
    ensemble = EnsembleClassifier(CLASSIFIER, 3, random_state=0)
    dense, sparse = clone(ensemble).fit(X, Y), clone(ensemble).fit(scipy.sparse.csr_matrix(X), Y)
    np.testing.assert_allclose(sparse.predict_proba(X), dense.predict_proba(X), rtol=1e-9)
    again = pickle.loads(pickle.dumps(dense))
    np.testing.assert_array_equal(again.predict_proba(X), dense.predict_proba(X))
    pipeline = make_pipeline(StandardScaler(), ensemble)
    search = GridSearchCV(pipeline, {"ensembleclassifier__estimator__alpha": [1e-4, 1e-2]}, cv=2).fit(X, Y)
    assert search.best_score_ > 0.8
    assert cross_val_score(ensemble, X, Y, cv=3).mean() > 0.8


def test_a_column_of_targets_is_warned_of_once():
    with pytest.warns(DataConversionWarning) as said:
        EnsembleRegressor(REGRESSOR, 3, random_state=0).fit(X, NUMBERS[:, :1])
    assert sum(issubclass(one.category, DataConversionWarning) for one in said) == 1


def test_what_makes_no_sense_is_refused():
    for estimator in (MLPRegressor(), 3, MLPClassifier):
        with pytest.raises(TypeError, match=r"estimator must be a fastmlp\.sklearn\.MLPClassifier, got"):
            EnsembleClassifier(estimator).fit(X, Y)
    for options, error in [
        ({"n_estimators": 0}, ValueError), ({"n_estimators": "3"}, TypeError), ({"bootstrap": 2}, TypeError),
        ({"n_threads": 0}, ValueError),
    ]:  # fmt: skip
        with pytest.raises(error, match=next(iter(options))):
            EnsembleClassifier(CLASSIFIER, **options).fit(X, Y)
    fresh = EnsembleRegressor()
    assert not hasattr(fresh, "ensemble_")
    for call in (fresh.predict, lambda x: fresh.quantiles(x, 0.5), EnsembleClassifier().votes):
        with pytest.raises(NotFittedError):
            call(X)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_error_of_a_member_arrives_and_nothing_is_half_fitted(n_threads):
    ensemble = EnsembleClassifier(clone(CLASSIFIER).set_params(solver="sdg"), n_threads=n_threads)
    with pytest.raises(ValueError, match="solver"):
        ensemble.fit(X, Y)
    assert not hasattr(ensemble, "estimators_")
