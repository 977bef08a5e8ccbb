"""Ensembles as scikit-learn estimators: copies of one estimator that differ in their seeds, and in their samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from ..base.checks import check_count, check_flag
from ..model.ensemble import Ensemble, check_levels, mean_of, quantiles_of, votes_of
from .estimators import DTYPES, MLPClassifier, MLPRegressor, gives_probabilities, gives_scores, scores_of
from .fit import scikit_learns_errors

__all__ = ["EnsembleClassifier", "EnsembleRegressor"]


def _members_give_probabilities(ensemble: Any) -> bool:
    return gives_probabilities(ensemble._prototype())


def _members_give_scores(ensemble: Any) -> bool:
    return gives_scores(ensemble._prototype())


class _EnsembleOfMLPs(BaseEstimator):
    """The part that classifier and regressor share: the training of members, and what each says."""

    _member: Any  # the class of members
    _doc_link_module = "fastmlp"
    _doc_link_template = "https://github.com/fastmlp/fastmlp/blob/main/docs/how-to/ensembles.md"

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 10,
        *,
        bootstrap: bool = False,
        random_state: Any = None,
        n_threads: int = 1,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.bootstrap = bootstrap
        self.random_state = random_state
        self.n_threads = n_threads

    def _prototype(self) -> Any:
        """The estimator that members are clones of."""
        return self._member() if self.estimator is None else self.estimator

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train all members on X (n_samples, n_features), dense or sparse, and y.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
        y : array, (n_samples,) or (n_samples, n_outputs)
        sample_weight : array, (n_samples,), optional
            As in the members' own fit. A bootstrap multiplies each by the number of times that its sample was drawn.

        Returns
        -------
        self
        """
        prototype = self._prototype()
        if not isinstance(prototype, self._member):
            kind = f"fastmlp.sklearn.{self._member.__name__}"
            raise InvalidParameterError(f"estimator must be a {kind}, got {prototype!r}")
        with scikit_learns_errors():
            n_estimators = check_count(self.n_estimators, "n_estimators")
            n_threads = check_count(self.n_threads, "n_threads")
            bootstrap = check_flag(self.bootstrap, "bootstrap")
        is_numeric = self._member is MLPRegressor
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=is_numeric, dtype=DTYPES
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        n_samples = X.shape[0]
        weights = None if sample_weight is None else check_array(sample_weight, ensure_2d=False, dtype=np.float64)
        if weights is not None and weights.shape != (n_samples,):
            raise ValueError(f"sample_weight must have shape ({n_samples},), got {weights.shape}")
        random_state = check_random_state(self.random_state)
        fits = []
        for _ in range(n_estimators):
            member = clone(prototype).set_params(random_state=random_state.randint(np.iinfo(np.int32).max))
            drawn = _times_drawn(n_samples, random_state) if bootstrap else None
            if drawn is not None and weights is not None:
                drawn *= weights
            fits.append(partial(member.fit, X, y, weights if drawn is None else drawn))
        self.estimators_ = _call_all(fits, n_threads)
        if hasattr(self.estimators_[0], "classes_"):
            self.classes_ = self.estimators_[0].classes_
        return self

    @property
    def ensemble_(self) -> Ensemble:
        """The `fastmlp.Ensemble` of the members' networks."""
        if not hasattr(self, "estimators_"):
            raise AttributeError(f"{type(self).__name__} has no ensemble_ before fit")
        return Ensemble(member.network_ for member in self.estimators_)

    def _each(self, X: Any) -> np.ndarray:
        """Every network's outputs, (n_estimators, n_samples, n_outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=DTYPES, reset=False)
        return self.ensemble_.predict_each(X, n_threads=self.n_threads)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _times_drawn(n_samples: int, random_state: np.random.RandomState) -> np.ndarray:
    """How often each sample is among n_samples that are drawn with replacement, (n_samples,) float64."""
    return np.bincount(random_state.randint(n_samples, size=n_samples), minlength=n_samples).astype(np.float64)


def _call_all(functions: Sequence[Callable[[], Any]], n_threads: int) -> list[Any]:
    """Return what the functions return; the first error is raised, and what has not begun by then is not called."""
    if n_threads == 1:
        return [function() for function in functions]
    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(function) for function in functions]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class EnsembleClassifier(ClassifierMixin, _EnsembleOfMLPs):
    """Several `MLPClassifier` that vote by the mean of their probabilities.

    With ``bootstrap=False`` they are a deep ensemble (Lakshminarayanan et al., 2017): all see all samples, and differ
    in their initial weights and the order of samples.

    Parameters
    ----------
    estimator : MLPClassifier, optional
        What the members are clones of; `MLPClassifier` with its defaults when left out.
    n_estimators : int
        The number of members.
    bootstrap : bool
        Whether each member sees samples of its own, as many as there are, drawn with replacement.
    random_state : int, RandomState, optional
        Draws the members' ``random_state`` and their samples.
    n_threads : int
        Members trained at a time. It does not change their numbers.

    Attributes
    ----------
    estimators_ : list of MLPClassifier
        The trained members.
    ensemble_ : fastmlp.Ensemble
        Their networks.
    classes_ : ndarray, (n_classes,)
        The labels of the classes.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of str, (n_features,)
        Their names, where X was a frame whose columns have names.

    Examples
    --------
    >>> from fastmlp.sklearn import EnsembleClassifier, MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> members = MLPClassifier(8, solver="lbfgs", alpha=0.1, max_iter=1000)
    >>> clf = EnsembleClassifier(members, n_estimators=7, bootstrap=True, random_state=0).fit(X, y)
    >>> bool(clf.score(X, y) > 0.95), clf.votes(X[:1]).tolist()
    (True, [[7, 0, 0]])
    """

    _member = MLPClassifier

    def _mean(self, X: Any) -> np.ndarray:
        return mean_of(self._each(X))

    def predict(self, X: Any) -> np.ndarray:
        """The class of each sample of X by the members' mean, (n_samples,), or its labels, (n_samples, n_outputs)."""
        mean = self._mean(X)
        return self.estimators_[0]._predictions(mean)

    @available_if(_members_give_scores)
    def decision_function(self, X: Any) -> np.ndarray:
        """The mean of the members' scores, in the shape of `MLPClassifier.decision_function`."""
        return scores_of(self._mean(X))

    @available_if(_members_give_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """The mean of the members' probabilities in the order of ``classes_``, (n_samples, n_classes)."""
        mean = self._mean(X)
        return np.hstack([1 - mean, mean]) if mean.shape[1] == 1 else mean

    @available_if(_members_give_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def votes(self, X: Any) -> np.ndarray:
        """The number of members that are for each class in the order of ``classes_``, (n_samples, n_classes).

        Where y has labels in several columns: how many say yes to each, (n_samples, n_outputs).
        """
        each = self._each(X)
        return votes_of(each, self.estimators_[0].network_.spec)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class EnsembleRegressor(RegressorMixin, _EnsembleOfMLPs):
    """Several `MLPRegressor`: the mean of what they predict, and how far they spread.

    Parameters
    ----------
    estimator : MLPRegressor, optional
        What the members are clones of; `MLPRegressor` with its defaults when left out.
    n_estimators : int
        The number of members.
    bootstrap : bool
        Whether each member sees samples of its own, as many as there are, drawn with replacement. Without, they are a
        deep ensemble (Lakshminarayanan et al., 2017), whose members differ in their initial weights and the order of
        samples.
    random_state : int, RandomState, optional
        Draws the members' ``random_state`` and their samples.
    n_threads : int
        Members trained at a time. It does not change their numbers.

    Attributes
    ----------
    estimators_ : list of MLPRegressor
        The trained members.
    ensemble_ : fastmlp.Ensemble
        Their networks.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of str, (n_features,)
        Their names, where X was a frame whose columns have names.

    Examples
    --------
    >>> from fastmlp.sklearn import EnsembleRegressor, MLPRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_diabetes(return_X_y=True)
    >>> members = MLPRegressor(hidden_layer_sizes=4, solver="lbfgs", alpha=1.0, max_iter=1000)
    >>> reg = EnsembleRegressor(members, bootstrap=True, random_state=0).fit(scale(X), scale(y))
    >>> mean, std = reg.predict(scale(X), return_std=True)
    >>> mean.shape, std.shape, bool(reg.score(scale(X), scale(y)) > 0.5)
    ((442,), (442,), True)
    """

    _member = MLPRegressor

    def _values(self, X: Any) -> np.ndarray:
        """What each member predicts, (n_estimators, n_samples) or (n_estimators, n_samples, n_outputs)."""
        each = self._each(X)
        return np.stack([self.estimators_[0]._predictions(outputs) for outputs in each])

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The mean of the members' values for each sample of X, (n_samples,) or (n_samples, n_outputs).

        With ``return_std`` also the standard deviation of those values, in the same shape: how much the members
        disagree. The noise of y is not in it.
        """
        return mean_of(self._values(X), return_std)

    def quantiles(self, X: Any, q: Any) -> np.ndarray:
        """Quantiles over the members' values, in the shape of `predict`, for a list q one after another.

        ``q`` is a number from 0 to 1, or a list of such.
        """
        levels = check_levels(q)
        return quantiles_of(self._values(X), levels)
