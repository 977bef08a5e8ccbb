"""Ensembles as scikit-learn estimators: copies of one estimator that differ in their seeds and samples."""

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
    """The part that classifier and regressor share: training the members, and their single predictions."""

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
            The samples.
        y : array, (n_samples,) or (n_samples, n_outputs)
            Their labels, or values.
        sample_weight : array, (n_samples,), optional
            As in the members' own fit. A bootstrap multiplies each by the number of times that its sample was drawn.

        Returns
        -------
        self
            The estimator.
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
        """Each network's outputs, (n_estimators, n_samples, n_outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=DTYPES, reset=False)
        return self.ensemble_.predict_each(X, n_threads=self.n_threads)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _times_drawn(n_samples: int, random_state: np.random.RandomState) -> np.ndarray:
    """Draw n_samples samples with replacement, and return how often each was drawn, (n_samples,) float64."""
    return np.bincount(random_state.randint(n_samples, size=n_samples), minlength=n_samples).astype(np.float64)


def _call_all(functions: Sequence[Callable[[], Any]], n_threads: int) -> list[Any]:
    """Return what the functions return; after the first error, which is raised, no further one is called."""
    if n_threads == 1:
        return [function() for function in functions]
    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(function) for function in functions]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class EnsembleClassifier(ClassifierMixin, _EnsembleOfMLPs):
    """Several `MLPClassifier`, whose mean probabilities decide.

    With ``bootstrap=False`` they are a deep ensemble (Lakshminarayanan et al., 2017): all train on all samples, and
    differ in their initial weights and the order of samples.

    Parameters
    ----------
    estimator : MLPClassifier, optional
        What the members are clones of; `MLPClassifier` with its defaults when left out.
    n_estimators : int
        The number of members.
    bootstrap : bool
        Whether each member trains on its own draw of samples, with replacement, as many as there are.
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
        """Predict the class of each sample, (n_samples,), or its labels, (n_samples, n_outputs), by the members' mean.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        mean = self._mean(X)
        return self.estimators_[0]._predictions(mean)

    @available_if(_members_give_scores)
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the mean of the members' scores, in the shape of `MLPClassifier.decision_function`.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        return scores_of(self._mean(X))

    @available_if(_members_give_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the mean of the members' probabilities in the order of ``classes_``, (n_samples, n_classes).

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        mean = self._mean(X)
        return np.hstack([1 - mean, mean]) if mean.shape[1] == 1 else mean

    @available_if(_members_give_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def votes(self, X: Any) -> np.ndarray:
        """Count the members that vote for each class, in the order of ``classes_``, (n_samples, n_classes).

        For y with labels in several columns: the members that vote for each label, (n_samples, n_outputs).

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        each = self._each(X)
        return votes_of(each, self.estimators_[0].network_.spec)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class EnsembleRegressor(RegressorMixin, _EnsembleOfMLPs):
    """Several `MLPRegressor`: the mean of their predictions, and their spread.

    Parameters
    ----------
    estimator : MLPRegressor, optional
        What the members are clones of; `MLPRegressor` with its defaults when left out.
    n_estimators : int
        The number of members.
    bootstrap : bool
        Whether each member trains on its own draw of samples, with replacement, as many as there are. If not, they are
        a deep ensemble (Lakshminarayanan et al., 2017), whose members differ in their initial weights and the order of
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
        """Each member's predictions, (n_estimators, n_samples) or (n_estimators, n_samples, n_outputs)."""
        each = self._each(X)
        return np.stack([self.estimators_[0]._predictions(outputs) for outputs in each])

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the mean of the members' values for each sample, (n_samples,) or (n_samples, n_outputs).

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        return_std : bool
            Whether to return the standard deviation of those values, too, in that shape: how much the members
            disagree. It does not contain the noise of y.
        """
        return mean_of(self._values(X), return_std)

    def quantiles(self, X: Any, q: Any) -> np.ndarray:
        """Return quantiles of the members' values, in the shape of `predict`; for a list, one such array after another.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        q : float or list of float, in [0, 1]
            The levels.
        """
        levels = check_levels(q)
        return quantiles_of(self._values(X), levels)
