"""scikit-learn's MLPClassifier and MLPRegressor on fastmlp's kernels, with more activations, losses and options.

Parameters, attributes, warnings, the use of ``random_state`` and every formula are scikit-learn's: the same numbers
come out, sooner. This module has the estimators, fit.py the loop that trains them.
"""

from __future__ import annotations

from functools import cached_property
from operator import is_ as is_same
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from ..activations import get_activation
from ..base.checks import check_count, check_dtype
from ..engine.epochs import Samples
from ..engine.network import is_plain
from ..losses import Loss, get_loss
from ..model.data import balanced_weights, check_weights, check_x, check_y, plain_targets
from ..model.mlp import MLP
from ..model.options import dropout_shares
from ..spec import Spec
from .fit import STOCHASTIC, Fit, FitState, check_parameters

__all__ = ["DTYPES", "MLPClassifier", "MLPRegressor", "gives_probabilities", "gives_scores", "scores_of"]

_LOSSES = {"squared_error": "mse", "absolute_error": "mae"}  # scikit-learn's names
_ACTIVATIONS = {"linear": "identity", "sigmoid": "logistic"}  # ours, and scikit-learn's
# What kernels read as it is; anything else becomes float64.
DTYPES = [np.float64, np.float32, *(np.dtype(f"{kind}{size}") for kind in "ui" for size in (1, 2, 4, 8))]
_CACHES = ("_network", "_views", "_online")  # made anew when they are missing


def _is_stochastic(estimator: Any) -> bool:
    if estimator.solver not in STOCHASTIC:
        raise AttributeError(f"partial_fit is only available for {' and '.join(STOCHASTIC)}, not {estimator.solver}")
    return True


def gives_probabilities(estimator: Any) -> bool:
    """Return True, or raise AttributeError for a classifier whose outputs are scores."""
    if estimator._loss_name() == "hinge":
        raise AttributeError("under the loss hinge outputs are scores; there are no probabilities")
    return True


def gives_scores(estimator: Any) -> bool:
    """Return True, or raise AttributeError for a classifier whose outputs are probabilities."""
    if estimator._loss_name() != "hinge":
        raise AttributeError("outputs are probabilities, predict_proba has them; under the loss hinge they are scores")
    return True


class _Online(NamedTuple):
    """What a call of partial_fit with one sample leaves to the next, and what must be the same then."""

    fit: Fit
    network: MLP
    names: list[str]
    values: list[Any]  # the parameters of these names
    places: dict[Any, int]  # of the classes


class _MLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The part that classifier and regressor share: from parameters to a network, and back to ``coefs_``."""

    def _keep(self, parameters: dict[str, Any]) -> None:
        """Store every parameter of the constructor as scikit-learn wants it: unchanged, under its own name."""
        self.__dict__.update((name, value) for name, value in parameters.items() if name != "self")

    def _loss_name(self) -> Any:
        return _LOSSES.get(self.loss, self.loss) if isinstance(self.loss, str) else self.loss

    def _loss(self) -> Loss | None:
        """The loss that the parameter means; None where it goes by the output."""
        return get_loss(self._loss_name(), "loss")

    def _spec(self, n_in: int, hidden: list[int], n_out: int) -> Spec:
        """The spec of a network with these numbers of inputs, of units in each hidden layer, and of outputs."""
        act, loss = self._output()
        return Spec([{"n": n_in, "act": None}, *self._hidden_layers(hidden), {"n": n_out, "act": act, "cost": loss}])

    def _hidden_layers(self, hidden: list[int] | None = None) -> list[dict[str, Any]]:
        """The hidden layers' part of a spec, with these numbers of units, or those of the parameters."""
        hidden, act = self._hidden() if hidden is None else hidden, self.activation
        acts = list(act) if isinstance(act, (list, tuple)) else [act] * len(hidden)
        if len(acts) != len(hidden):
            raise ValueError(f"activation has {len(acts)} entries, there are {len(hidden)} hidden layers")
        return [{"n": n, "act": get_activation(act, "activation")} for n, act in zip(hidden, acts, strict=True)]

    def _output(self) -> tuple[str, str | Loss | None]:
        """Return the activation and the loss of the last layer."""
        raise NotImplementedError

    def _hidden(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        return [check_count(n, "hidden_layer_sizes") for n in (sizes if np.iterable(sizes) else [sizes])]

    @property
    def network_(self) -> MLP:
        """The `fastmlp.MLP` itself; ``coefs_`` and ``intercepts_`` are views of its parameters."""
        if not hasattr(self, "coefs_"):
            raise AttributeError(f"{type(self).__name__} has no network_ before fit")
        arrays = [*self.coefs_, *self.intercepts_]
        network: MLP | None = vars(self).get("_network")
        if network is not None and all(a is b for a, b in zip(arrays, self._views, strict=True)):
            return network
        sizes = [len(c) for c in self.coefs_]
        dtype = np.float32 if arrays[0].dtype == np.float32 else np.float64
        network = MLP(self._spec(sizes[0], sizes[1:], len(self.intercepts_[-1])), seed=0, dtype=dtype)
        for w, b, coef, intercept in zip(network.weights, network.biases, self.coefs_, self.intercepts_, strict=True):
            w[...], b[...] = np.transpose(coef), intercept
        self._adopt(network)
        return network

    def _adopt(self, network: MLP) -> None:
        """Make this the estimator's network, and views of its parameters ``coefs_`` and ``intercepts_``."""
        self._network = network
        self.coefs_ = [w.T for w in network.weights]
        self.intercepts_ = list(network.biases)
        self._views = [*self.coefs_, *self.intercepts_]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in _CACHES}

    def _initialize(self, spec: Spec, dtype: Any, random_state: np.random.RandomState) -> None:
        """Begin with a new network: scikit-learn's draws (Glorot and Bengio 2010), no epochs, no progress."""
        network = MLP(spec, seed=0, dtype=dtype)
        acts = [layer.act.name for layer in spec.layers[:-1]]
        for weights, biases, act in zip(network.weights, network.biases, [*acts, (acts or [""])[-1]], strict=True):
            n_out, n_in = weights.shape
            bound = np.sqrt((2.0 if act == "sigmoid" else 6.0) / (n_in + n_out))
            weights[...] = random_state.uniform(-bound, bound, (n_in, n_out)).T
            biases[...] = random_state.uniform(-bound, bound, n_out)
        self._adopt(network)
        self._fit_state = FitState()
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(spec)
        output = spec.layers[-1].act.name
        self.out_activation_ = "exp" if spec.loss.name == "poisson" else _ACTIVATIONS.get(output, output)

    @cached_property
    def _fit_state(self) -> FitState:
        return FitState()

    @property
    def _optimizer(self) -> FitState:
        """scikit-learn's name for what has the ``learning_rate``; its own tests read it."""
        return self._fit_state

    @property
    def _no_improvement_count(self) -> int:
        """scikit-learn's name for the count; its own tests read and set it."""
        return self._fit_state.no_improvement_count

    @_no_improvement_count.setter
    def _no_improvement_count(self, count: int) -> None:
        self._fit_state.no_improvement_count = count

    def _begin_to_watch(self, has_validation: bool) -> None:
        """Forget the losses and scores by which the stochastic solvers decide when to stop."""
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] | None = [] if has_validation else None
        self._fit_state.no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Train on X (n_samples, n_features), dense or sparse, and y.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            Floats and integers are read as they are, without a copy.
        y : array, (n_samples,) or (n_samples, n_outputs)
        sample_weight : array, (n_samples,), optional
            Weights of a batch's samples in its mean loss. With ``batch_size=1`` they multiply the step.
        X_val : array or sparse matrix, (n_val, n_features), optional
            Samples that nothing is learnt from, for the solvers sgd and adam. Their loss is followed in
            ``validation_loss_curve_``, and early stopping goes by their score, without holding out rows of X.
        y_val : array, (n_val,) or (n_val, n_outputs), optional
        sample_weight_val : array, (n_val,), optional

        Returns
        -------
        self
        """
        if X_val is None and y_val is None and sample_weight_val is None:
            return self._fit(X, y, sample_weight, incremental=False)
        if X_val is None or y_val is None:
            raise ValueError(f"fit was not given {'X_val' if X_val is None else 'y_val'}: both are needed, or neither")
        return self._fit(X, y, sample_weight, incremental=False, validation=(X_val, y_val, sample_weight_val))

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: tuple[Any, Any, Any] | None = None
    ) -> Any:
        """Check the arguments, make a new network or go on with the present one, and train it."""
        check_parameters(self)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y, targets = self._validate(X, y, first, incremental)
        random_state = check_random_state(self.random_state)
        n_outputs = self._count_outputs(targets)
        spec = self._spec(X.shape[1], self._hidden(), n_outputs)
        if first:
            dtype = check_dtype(self.dtype or ("float32" if X.dtype == np.float32 else "float64"))
        elif spec == self.network_.spec:
            dtype = self.network_.dtype
        else:
            raise ValueError(f"the network to go on with is {self.network_.spec!r}, the parameters ask for {spec!r}")
        x = check_x(X, spec.n_in, dtype, "X")
        targets = check_y(targets, spec, len(x), dtype)
        sample_weight = weights = check_weights(sample_weight, None, targets, spec)
        balance = getattr(self, "class_weight", None)
        if balance is not None:
            if incremental and isinstance(balance, str):
                raise ValueError("class_weight 'balanced' needs all samples; give partial_fit a dict")
            weights = _class_weights(balance, y, weights)
        held_out = None if validation is None else self._held_out(*validation, spec, dtype)
        shares = dropout_shares(self.dropout, len(spec.layers) - 1)
        self.n_outputs_ = n_outputs
        if first:
            self._initialize(spec, dtype, random_state)
        has_validation = self.early_stopping or held_out is not None
        scored = getattr(self, "validation_scores_", None) is not None
        watched = getattr(self, "validation_loss_curve_", None) is not None
        same = hasattr(self, "loss_curve_") and scored == self.early_stopping
        if self.solver in STOCHASTIC and (first or not same or (watched != has_validation and not incremental)):
            self._begin_to_watch(has_validation)
        samples = Samples(x, targets, weights)
        self._online: _Online | None = None
        self._name_network()
        fit = Fit(self, self._fit_state, samples, sample_weight, held_out, shares, random_state, incremental)
        fit.run()
        if fit.is_plain and balance is None and not hasattr(self, "feature_names_in_"):
            self._keep_online(fit)
        return self

    def _name_network(self) -> None:
        """Give the network the labels and the names of columns, so that it has them on its own, in files too."""
        classes = getattr(self, "classes_", None)
        if classes is not None and len(classes) == max(2, self.n_outputs_):
            self.network_.class_names = classes
        self.network_.feature_names = getattr(self, "feature_names_in_", None)

    def _keep_online(self, fit: Fit) -> None:
        """Let `_learn_one` go on from here, if all that decides what it does would be seen to change."""
        if isinstance(self.hidden_layer_sizes, (int, tuple)) and isinstance(self.activation, str):
            names = self._get_param_names()
            values = [getattr(self, name) for name in names]
            places = {label: i for i, label in enumerate(getattr(self, "classes_", np.empty(0)).tolist())}
            self._online = _Online(fit, self.network_, names, values, places)

    def _learn_one(self, X: Any, y: Any) -> bool:
        """`partial_fit` of one sample where the call before was one, too; False, and nothing done, where the long way
        is needed."""
        online: _Online | None = vars(self).get("_online")
        if online is None or not (is_plain(X) and X.shape == (1, online.network.spec.n_in) and is_plain(y)):
            return False
        if y.shape != (1,) or self.network_ is not online.network:
            return False
        if not all(map(is_same, map(vars(self).get, online.names), online.values)):
            return False
        targets = self._one_target(y, online)
        return targets is not None and online.fit.learn_one(X, targets)

    def _one_target(self, y: np.ndarray, online: _Online) -> np.ndarray | None:
        """What the network learns of y (1,); None where the long way decides."""
        raise NotImplementedError

    def _held_out(self, X: Any, y: Any, sample_weight: Any, spec: Spec, dtype: np.dtype) -> Samples:
        """Check the samples that a caller gives for validation."""
        if self.solver not in STOCHASTIC:
            raise ValueError(f"X_val is for the solvers {' and '.join(STOCHASTIC)}, this one is {self.solver}")
        X, y = self._check_pair(X, y, reset=False)
        x = check_x(X, spec.n_in, dtype, "X_val")
        targets = check_y(self._targets(y, "y_val"), spec, len(x), dtype, "y_val")
        return Samples(x, targets, check_weights(sample_weight, None, targets, spec, "sample_weight_val"))

    def _check_pair(self, X: Any, y: Any, reset: bool) -> tuple[Any, np.ndarray]:
        """Return X and y as scikit-learn checks them."""
        is_numeric = isinstance(self, RegressorMixin)
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=is_numeric, dtype=DTYPES, reset=reset
        )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _validate(self, X: Any, y: Any, first: bool, incremental: bool) -> tuple[Any, np.ndarray, np.ndarray]:
        """Return X and y as scikit-learn checks them, and y as the network learns it."""
        raise NotImplementedError

    def _targets(self, y: np.ndarray, name: str) -> np.ndarray:
        """Return checked y as the network learns it."""
        raise NotImplementedError

    def _count_outputs(self, targets: np.ndarray) -> int:
        return targets.shape[1]

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """The classes by which the validation set is stratified, or None."""
        return None

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=DTYPES, reset=False)
        return self.network_.predict(X, n_threads=self.n_threads)

    def transform(self, X: Any) -> np.ndarray:
        """The activations of the last hidden layer for X, (n_samples, n_units): what the network makes of features.

        ValueError for a network without hidden layers.
        """
        check_is_fitted(self)
        if len(self.coefs_) == 1:
            raise ValueError("transform gives the last hidden layer; this network has none")
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=DTYPES, reset=False)
        _, activations = self.network_.forward(X)
        return activations[-2]

    @property
    def _n_features_out(self) -> int:
        """scikit-learn's name for the number of columns that `transform` makes."""
        return len(self.coefs_[-1])

    def _predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Return what `predict` gives for the network's outputs."""
        raise NotImplementedError

    def _score(self, targets: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None) -> float:
        """The estimator's score for held-out samples, from the network's outputs; NaN where these are not finite."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def scores_of(outputs: np.ndarray) -> np.ndarray:
    """What `decision_function` gives for the outputs (n_samples, n_classes) of a network of scores."""
    return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs


def _class_weights(balance: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """Each sample's weight: its own times its class's, (n_samples,), for y (n_samples,) or labels (n_samples, n)."""
    if sample_weight is None:
        return compute_sample_weight(balance, y)
    if not isinstance(balance, str):
        return compute_sample_weight(balance, y) * sample_weight
    weights = sample_weight
    for column in np.atleast_2d(y.T):  # scikit-learn's function does not count weights
        weights = weights * balanced_weights(np.unique(column, return_inverse=True)[1], sample_weight)
    return weights


class MLPClassifier(ClassifierMixin, _MLP):
    """scikit-learn's `MLPClassifier`, trained by fastmlp.

    The same ``random_state`` gives scikit-learn's numbers, but for rounding. The parameters that are not described
    here, and the attributes, are those of `sklearn.neural_network.MLPClassifier`.

    Parameters
    ----------
    activation : str, fastmlp.Activation, or list of either
        The activation of the hidden layers: any of the library's, or your own; a list has one a layer.
    loss : "log_loss", name of another loss, or fastmlp.Loss
        For example "mse" of the probabilities; or "hinge", under which there are scores and no probabilities.
    class_weight : "balanced", dict, or list of dict, optional
        A weight for each class by its label; for multi-label y a dict a label.
    dropout : float or list of float
        The share of hidden units left out in training, one for all layers or one each.
    l1 : float
        The penalty l1 Σ|w|, beside that of alpha.
    dtype : "float32" or "float64", optional
        The network's dtype; when left out, float32 where X is float32, else float64.
    n_threads : int
        Threads that share batches of 32 samples and more, wide networks' per-sample SGD, and predictions.

    Attributes
    ----------
    network_ : fastmlp.MLP
        The network itself; ``coefs_`` and ``intercepts_`` are views of its parameters.
    validation_loss_curve_ : list of float, or None
        The mean loss of the validation samples after each epoch, without penalties: those of ``X_val``, or the rows
        that early stopping holds out.

    Examples
    --------
    >>> from fastmlp.sklearn import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier((16, 8), activation=["tanh", "swish"], solver="lbfgs", max_iter=1000, random_state=0)
    >>> bool(clf.fit(X, y).score(X, y) > 0.97)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        loss: Any = "log_loss",
        solver: str = "adam",
        alpha: float = 0.0001,
        l1: float = 0.0,
        dropout: Any = 0.0,
        class_weight: Any = None,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
        dtype: Any = None,
        n_threads: int = 1,
    ) -> None:
        self._keep(locals())

    def _output(self) -> tuple[str, str | Loss | None]:
        loss = self._loss_name()
        kind = self._label_binarizer.y_type_
        if loss == "hinge":
            if kind.startswith("multilabel"):
                raise ValueError("loss is hinge, which needs one class a sample, but y has labels in several columns")
            return "linear", loss
        act = "softmax" if kind == "multiclass" else "sigmoid"
        return act, self._loss()

    def _loss(self) -> Loss | None:
        return None if self._loss_name() == "log_loss" else super()._loss()

    def _validate(self, X: Any, y: Any, first: bool, incremental: bool) -> tuple[Any, np.ndarray, np.ndarray]:
        X, y = self._check_pair(X, y, reset=first)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            known_classes, classes = set(self.classes_), unique_labels(y)
            if self.warm_start and set(classes) != known_classes:
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit."
                    f" Previously got {self.classes_}, `y` has {classes}"
                )
        return X, y, self._targets(y, "y")

    def _targets(self, y: np.ndarray, name: str) -> np.ndarray:
        classes = unique_labels(y)
        if not set(classes) <= set(self.classes_):
            raise ValueError(
                f"`{name}` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'{name}' has {classes}."
            )
        if self._one_of_many():
            return np.searchsorted(self.classes_, y).astype(np.int64)
        return self._label_binarizer.transform(y).astype(np.uint8)

    def _one_of_many(self) -> bool:
        kind = self._label_binarizer.y_type_
        return kind == "multiclass" or (kind == "binary" and self._loss_name() == "hinge")

    def _count_outputs(self, targets: np.ndarray) -> int:
        return len(self.classes_) if targets.ndim == 1 else targets.shape[1]

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        return targets.astype(bool) if self.n_outputs_ == 1 else None  # as scikit-learn: only of two classes

    @available_if(_is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """One more epoch, over these samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array, (n_classes,)
            All there will ever be; needed in the first call.

        Returns
        -------
        self
        """
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self.classes_ = unique_labels(classes)
            multilabel = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        if sample_weight is None and classes is None and self._learn_one(X, y):
            return self
        return self._fit(X, y, sample_weight, incremental=True)

    def _one_target(self, y: np.ndarray, online: _Online) -> np.ndarray | None:
        place = online.places.get(y.item())
        if place is None:
            return None
        return np.array([place] if self._one_of_many() else [[place]])

    def predict(self, X: Any) -> np.ndarray:
        """The class of each sample of X, (n_samples,), or its labels, (n_samples, n_outputs)."""
        return self._predictions(self._outputs(X))

    def _predictions(self, outputs: np.ndarray) -> np.ndarray:
        if self._one_of_many():
            return self.classes_[np.argmax(outputs, axis=1)]
        return self._label_binarizer.inverse_transform(outputs.ravel() if outputs.shape[1] == 1 else outputs)

    def _score(self, targets: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None) -> float:
        if not np.isfinite(outputs).all():
            return np.nan
        y = self.classes_[targets] if targets.ndim == 1 else self._label_binarizer.inverse_transform(targets)
        return accuracy_score(y, self._predictions(outputs), sample_weight=weights)

    @available_if(gives_scores)
    def decision_function(self, X: Any) -> np.ndarray:
        """The score of each class in the order of ``classes_``, (n_samples, n_classes); the higher, the likelier.

        Of two classes, how much more the second scores than the first, (n_samples,).
        """
        return scores_of(self._outputs(X))

    @available_if(gives_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class in the order of ``classes_``, (n_samples, n_classes)."""
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    @available_if(gives_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _MLP):
    """scikit-learn's `MLPRegressor`, trained by fastmlp.

    The same ``random_state`` gives scikit-learn's numbers, but for rounding. The parameters that are not described
    here, and the attributes, are those of `sklearn.neural_network.MLPRegressor`.

    Parameters
    ----------
    loss : "squared_error", "absolute_error", "poisson", name of another loss, or fastmlp.Loss
        Any of the library's that fits a linear output, such as "huber".
    activation : str, fastmlp.Activation, or list of either
        The activation of the hidden layers: any of the library's, or your own; a list has one a layer.
    dropout : float or list of float
        The share of hidden units left out in training, one for all layers or one each.
    l1 : float
        The penalty l1 Σ|w|, beside that of alpha.
    dtype : "float32" or "float64", optional
        The network's dtype; when left out, float32 where X is float32, else float64.
    n_threads : int
        Threads that share batches of 32 samples and more, wide networks' per-sample SGD, and predictions.

    Attributes
    ----------
    network_ : fastmlp.MLP
        The network itself; ``coefs_`` and ``intercepts_`` are views of its parameters. Under "poisson" its outputs are
        the logarithms of what `predict` returns.
    validation_loss_curve_ : list of float, or None
        The mean loss of the validation samples after each epoch, without penalties: those of ``X_val``, or the rows
        that early stopping holds out.

    Examples
    --------
    >>> from fastmlp.sklearn import MLPRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = MLPRegressor(hidden_layer_sizes=8, loss="huber", random_state=0, max_iter=500)
    >>> bool(reg.fit(scale(X), scale(y)).score(scale(X), scale(y)) > 0.5)
    True
    """

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        l1: float = 0.0,
        dropout: Any = 0.0,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
        dtype: Any = None,
        n_threads: int = 1,
    ) -> None:
        self._keep(locals())

    def _output(self) -> tuple[str, str | Loss | None]:
        return "linear", self._loss()

    def _validate(self, X: Any, y: Any, first: bool, incremental: bool) -> tuple[Any, np.ndarray, np.ndarray]:
        X, y = self._check_pair(X, y, reset=first)
        return X, y, self._targets(y, "y")

    def _targets(self, y: np.ndarray, name: str) -> np.ndarray:
        return y[:, None] if y.ndim == 1 else y

    @available_if(_is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """One more epoch, over these samples; as `fit` otherwise."""
        if sample_weight is None and self._learn_one(X, y):
            return self
        return self._fit(X, y, sample_weight, incremental=True)

    def _one_target(self, y: np.ndarray, online: _Online) -> np.ndarray | None:
        return plain_targets(y, online.network.spec, 1)

    def predict(self, X: Any) -> np.ndarray:
        """The value for each sample of X, (n_samples,), or its values, (n_samples, n_outputs)."""
        return self._predictions(self._outputs(X))

    def _predictions(self, outputs: np.ndarray) -> np.ndarray:
        values = np.exp(outputs) if self.out_activation_ == "exp" else outputs
        return values.ravel() if values.shape[1] == 1 else values

    def _score(self, targets: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None) -> float:
        values = self._predictions(outputs)
        return r2_score(targets, values, sample_weight=weights) if np.isfinite(values).all() else np.nan
