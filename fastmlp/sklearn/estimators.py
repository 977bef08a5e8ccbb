"""scikit-learn's MLPClassifier and MLPRegressor on fastmlp's kernels, with more activations, losses and options.

Parameters, attributes, warnings, the use of ``random_state`` and every formula are scikit-learn's, so that the numbers
are the same. This module has the estimators, fit.py the loop that trains them.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cached_property, partial
from importlib import import_module
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
from ..base.checks import check_count, check_dtype, dropout_shares
from ..engine.epochs import Samples
from ..engine.network import is_plain
from ..losses import Loss, get_loss
from ..model.data import balanced_weights, check_lazy, check_weights, check_x, check_y, plain_targets
from ..model.mlp import MLP
from ..model.scaling import standardised
from ..optimizers import Optimizer
from ..spec import Layer, Spec, spec_of
from .fit import Fit, FitState, check_parameters, is_stochastic, scikit_learns_errors
from .watching import CallbackSupportMixin, FitCallbacks, with_callbacks

__all__ = ["DTYPES", "MLPClassifier", "MLPRegressor", "gives_probabilities", "gives_scores", "scores_of"]

_LOSSES = {"squared_error": "mse", "absolute_error": "mae"}  # scikit-learn's names
_ACTIVATIONS = {"linear": "identity", "sigmoid": "logistic"}  # ours, and scikit-learn's
# What kernels read as it is; anything else becomes float64.
DTYPES = [np.float64, np.float32, *(np.dtype(f"{kind}{size}") for kind in "ui" for size in (1, 2, 4, 8))]
_CACHES = ("_network", "_views", "_online")  # made anew when they are missing


def _learns_online(estimator: Any) -> bool:
    if not is_stochastic(estimator.solver):
        raise AttributeError(f"partial_fit is not available for the solver {estimator.solver}")
    return True


def _has_hidden_layers(estimator: Any) -> bool:
    n_hidden = len(estimator.coefs_) - 1 if hasattr(estimator, "coefs_") else np.size(estimator.hidden_layer_sizes)
    if not n_hidden:
        raise AttributeError("transform gives the last hidden layer; this network has none")
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


def _skl2onnx() -> Any:
    """The module of fastmlp.interop that talks to skl2onnx; imported by name, since doors do not import each other."""
    return import_module("fastmlp.interop.skl2onnx")


Scaling = tuple[dict[str, Any], dict[str, Any]]  # each "shift" and "scale", or one of them, or neither


class _Online(NamedTuple):
    """What a call of partial_fit with a few samples keeps for the next, and what must not change in between."""

    fit: Fit
    network: MLP
    names: list[str]
    values: list[Any]  # the parameters of these names
    places: dict[Any, int]  # of the classes
    columns: Any  # pandas' index of them, where X was a frame


def _plain(values: Any) -> Any:
    """The values of a list or a pandas object as an array; anything else unchanged."""
    if type(values) is np.ndarray:
        return values
    if hasattr(values, "iloc"):
        return values.to_numpy()
    with suppress(ValueError):  # rows of different lengths
        return np.asarray(values) if isinstance(values, list) else values
    return values


def _columns_of(X: Any) -> Any:
    """The columns of a pandas frame; None for anything else."""
    return X.columns if type(X) is not np.ndarray and hasattr(X, "iloc") else None


class _MLP(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The part that classifier and regressor share: a network made from the parameters, and attributes from it."""

    _doc_link_module = "fastmlp"
    _doc_link_template = "https://github.com/fastmlp/fastmlp/blob/main/docs/how-to/scikit-learn.md"
    _scaling: Scaling | None = None  # of a network that is standardised: its input's, and its last layer's

    def _keep(self, parameters: dict[str, Any]) -> None:
        """Store every parameter of the constructor as scikit-learn wants it: unchanged, under its own name."""
        self.__dict__.update((name, value) for name, value in parameters.items() if name != "self")

    def _loss_name(self) -> Any:
        return _LOSSES.get(self.loss, self.loss) if isinstance(self.loss, str) else self.loss

    def _loss(self) -> Loss | None:
        """The loss that the parameter means; None if the output decides."""
        return get_loss(self._loss_name(), "loss")

    def _spec(self, n_in: int, hidden: list[int], n_out: int, scaling: Scaling | None = None) -> Spec:
        """The spec of a network with these numbers of inputs, of units in each hidden layer, and of outputs."""
        act, loss = self._output()
        layers = self._hidden_layers(hidden)
        spec = spec_of([{"n": n_in, "act": None}, *layers, {"n": n_out, "act": act, "cost": loss}])
        return spec if scaling is None else spec.with_scaling(*scaling)

    def _hidden_layers(self, hidden: list[int] | None = None) -> list[dict[str, Any]]:
        """The hidden layers of a spec, with these numbers of units, or those of ``hidden_layer_sizes``."""
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
        network = MLP(self._spec(sizes[0], sizes[1:], len(self.intercepts_[-1]), self._scaling), seed=0, dtype=dtype)
        for w, b, coef, intercept in zip(network.weights, network.biases, self.coefs_, self.intercepts_, strict=True):
            w[...], b[...] = np.transpose(coef), intercept
        self._adopt(network)
        return network

    def _adopt(self, network: MLP) -> None:
        """Make this the estimator's network, with views of its parameters as ``coefs_`` and ``intercepts_``, and the
        names of features and classes."""
        network.feature_names = getattr(self, "feature_names_in_", None)
        network.class_names = self._class_names(network.spec)
        if sys.modules.get("skl2onnx") is not None:
            with suppress(ImportError):  # another version than the converters are for: it can wait until it is asked
                _skl2onnx().register(type(self))
        self._network = network
        self.coefs_ = [w.T for w in network.weights]
        self.intercepts_ = list(network.biases)
        self._views = [*self.coefs_, *self.intercepts_]

    def _class_names(self, spec: Spec) -> np.ndarray | None:
        """The labels of the network's classes; None if not every class has one."""
        return None

    def onnx_parser(self) -> Any:
        """skl2onnx's protocol: a function of scope and inputs that declares the outputs of an ONNX graph."""
        return partial(_skl2onnx().declare, self)

    def onnx_shape_calculator(self) -> Any:
        """skl2onnx's protocol: a function of an operator that sets the shapes of its outputs."""
        return _skl2onnx().infer_shapes

    def onnx_converter(self) -> Any:
        """skl2onnx's protocol: a function of scope, operator and container that adds the nodes of an ONNX graph."""
        return _skl2onnx().convert

    def _standardise(self, samples: Samples, rows: np.ndarray) -> None:
        """Set the new network's shift and scale of the inputs, and for a regression of the outputs, by these rows."""
        network = self.network_
        spec = standardised(network.spec, samples, rows, network.dtype)
        network._rescale(spec)
        self._scaling = _shift_and_scale(spec), _shift_and_scale(spec.layers[-1])

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle keeps: the parameters, and names, numbers, arrays and scikit-learn's own objects."""
        state = {name: value for name, value in super().__getstate__().items() if name not in _CACHES}
        fit_state = state.pop("_fit_state", None)
        if fit_state is not None and "coefs_" in state:  # it is also made by who looks at an estimator before fit
            state["_fit_state"] = fit_state.to_plain()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        plain = vars(self).get("_fit_state")
        if isinstance(plain, dict):
            self._fit_state = FitState.from_plain(plain, self.network_.params)

    def _initialize(self, spec: Spec, dtype: Any, random_state: np.random.RandomState) -> None:
        """Begin a new network: weights as scikit-learn draws them (Glorot and Bengio 2010), counters at 0."""
        network = MLP(spec, seed=0, dtype=dtype)
        acts = [layer.act.name for layer in spec.layers[:-1]]
        for weights, biases, act in zip(network.weights, network.biases, [*acts, (acts or [""])[-1]], strict=True):
            n_out, n_in = weights.shape
            bound = np.sqrt((2.0 if act == "sigmoid" else 6.0) / (n_in + n_out))
            weights[...] = random_state.uniform(-bound, bound, (n_in, n_out)).T
            biases[...] = random_state.uniform(-bound, bound, n_out)
        self._scaling = None
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
        """scikit-learn's name for the object that has ``learning_rate``; its tests read it."""
        return self._fit_state

    @property
    def _no_improvement_count(self) -> int:
        """scikit-learn's name for the count; its tests read and set it."""
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
        """Train on samples and their targets.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples; floats and integers are not copied.
        y : array, (n_samples,) or (n_samples, n_outputs)
            Their labels, or values.
        sample_weight : array, (n_samples,), optional
            The samples' weights in the mean loss of a batch. With ``batch_size=1`` they multiply the step.
        X_val : array or sparse matrix, (n_val, n_features), optional
            Validation samples, for the stochastic solvers. ``validation_loss_curve_`` has their loss, and early
            stopping uses their score instead of holding out rows of X.
        y_val : array, (n_val,) or (n_val, n_outputs), optional
            Their labels, or values.
        sample_weight_val : array, (n_val,), optional
            Their weights.

        Returns
        -------
        self
            The estimator.
        """
        if X_val is None and y_val is None and sample_weight_val is None:
            return self._fit(X, y, sample_weight, incremental=False)
        if X_val is None or y_val is None:
            raise ValueError(f"fit was not given {'X_val' if X_val is None else 'y_val'}: both are needed, or neither")
        return self._fit(X, y, sample_weight, incremental=False, validation=(X_val, y_val, sample_weight_val))

    @with_callbacks
    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: tuple[Any, Any, Any] | None = None
    ) -> Any:
        """Check the arguments, make a new network or go on with the present one, and train it."""
        with scikit_learns_errors():
            check_parameters(self)
        given, columns = (X, y), _columns_of(X)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        self._check_what_goes_on(first, incremental, validation is not None)
        X, y, targets = self._validate(X, y, first, incremental)
        random_state = check_random_state(self.random_state)
        n_outputs = self._count_outputs(targets)
        spec = self._spec(X.shape[1], self._hidden(), n_outputs, None if first else self._scaling)
        if first:
            dtype = check_dtype(self.dtype or ("float32" if X.dtype == np.float32 else "float64"))
        elif spec == self.network_.spec:
            dtype = self.network_.dtype
        else:
            raise ValueError(f"the network to go on with is {self.network_.spec!r}, the parameters ask for {spec!r}")
        x = check_x(X, spec.n_in, dtype, "X")
        if isinstance(self.solver, Optimizer):
            check_lazy(self.solver, x)
        targets = check_y(targets, spec, len(x), dtype)
        sample_weight = weights = check_weights(sample_weight, None, targets, spec)
        balance = getattr(self, "class_weight", None)
        if balance is not None:
            if incremental and isinstance(balance, str):
                raise ValueError("class_weight 'balanced' needs all samples; give partial_fit a dict")
            weights = _class_weights(balance, y, weights)
        held_out = None if validation is None else self._held_out(*validation, spec, dtype)
        if first and incremental and self.standardize and len(x) < 2:
            raise ValueError(
                "standardize=True takes means and deviations of the rows of the first call of partial_fit, which are "
                "one: give it more, or call fit first"
            )
        shares = dropout_shares(self.dropout, len(spec.layers) - 1)
        self.n_outputs_ = n_outputs
        if first:
            self._initialize(spec, dtype, random_state)
        has_validation = self.early_stopping or held_out is not None
        scored = getattr(self, "validation_scores_", None) is not None
        watched = getattr(self, "validation_loss_curve_", None) is not None
        same = hasattr(self, "loss_curve_") and scored == self.early_stopping
        if is_stochastic(self.solver) and (first or not same or (watched != has_validation and not incremental)):
            self._begin_to_watch(has_validation)
        samples = Samples(x, targets, weights)
        self._online: _Online | None = None
        callbacks = None
        if not incremental:
            metadata = None if sample_weight is None else {"sample_weight": sample_weight}
            callbacks = FitCallbacks(self, self.max_iter, {"X": given[0], "y": given[1], "metadata": metadata})
        fit = Fit(
            self, self._fit_state, samples, sample_weight, held_out, shares, random_state, incremental, first, callbacks
        )
        fit.run()
        of_one_column = targets.ndim == 1 or targets.shape[1] == 1
        has_its_names = columns is not None or not hasattr(self, "feature_names_in_")
        if fit.is_plain and balance is None and of_one_column and has_its_names:
            self._keep_online(fit, columns)
        return self

    def _check_what_goes_on(self, first: bool, incremental: bool, has_validation: bool) -> None:
        """Raise a ValueError for parameters that this call of fit or partial_fit cannot follow."""
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not first and bool(self.standardize) != (self._scaling is not None):
            raise ValueError(f"standardize={self.standardize} is for new networks; this one goes on with what it has")
        monitor = getattr(self.learning_rate, "monitor", None)
        if monitor == "val_loss" and not (has_validation or self.early_stopping):
            raise ValueError(f"learning_rate looks at {monitor!r}: give fit X_val and y_val, or early_stopping=True")

    def _keep_online(self, fit: Fit, columns: Any) -> None:
        """Allow `_learn_few` to go on from here, unless something that it depends on could change unnoticed."""
        if isinstance(self.hidden_layer_sizes, (int, tuple)) and isinstance(self.activation, str):
            names = self._get_param_names()
            values = [getattr(self, name) for name in names]
            places = {label: i for i, label in enumerate(getattr(self, "classes_", np.empty(0)).tolist())}
            self._online = _Online(fit, self.network_, names, values, places, columns)

    def _learn_few(self, X: Any, y: Any) -> bool:
        """`partial_fit` of a few samples, after another such call; False, with nothing done, if the long way is
        needed."""
        online: _Online | None = vars(self).get("_online")
        if online is None or self.network_ is not online.network:
            return False
        columns, known = _columns_of(X), online.columns
        if (columns is None) != (known is None) or not (columns is None or columns.equals(known)):
            return False
        X, y = _plain(X), _plain(y)
        if not (is_plain(X) and type(y) is np.ndarray):
            return False
        n, n_in = len(y) if y.ndim == 1 else 0, online.network.spec.n_in
        if n == 0 or X.shape != (n, n_in):
            return False
        if not all(map(is_same, map(vars(self).get, online.names), online.values)):
            return False
        targets = self._targets_of_few(y, online)
        return targets is not None and online.fit.learn_few(X, targets)

    def _targets_of_few(self, y: np.ndarray, online: _Online) -> np.ndarray | None:
        """The targets that the network learns for y (n,); None if the long way must decide."""
        raise NotImplementedError

    def _held_out(self, X: Any, y: Any, sample_weight: Any, spec: Spec, dtype: np.dtype) -> Samples:
        """Check the validation samples that a caller gives."""
        if not is_stochastic(self.solver):
            raise ValueError(f"X_val is for solvers that go batch by batch, which {self.solver} does not")
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
        if self._is_like_fitted(X):  # scikit-learn takes 50 µs to say the same
            with suppress(ValueError):  # which it is to raise, with its own words
                return self.network_.predict(X, n_threads=self.n_threads)
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=DTYPES, reset=False)
        return self.network_.predict(X, n_threads=self.n_threads)

    def _is_like_fitted(self, X: Any) -> bool:
        """Whether X is a plain array with the columns of a fitted estimator, which knows no names of them: all that
        scikit-learn looks at, but for NaN and infinities."""
        own = vars(self)
        if "coefs_" not in own or "feature_names_in_" in own or not is_plain(X):
            return False
        return X.ndim == 2 and len(X) > 0 and X.shape[1] == own.get("n_features_in_")

    def transform(self, X: Any) -> np.ndarray:
        """Return the activations of the last hidden layer, (n_samples, n_units): features that the network has learnt.

        A network without hidden layers raises an AttributeError.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=DTYPES, reset=False)
        _, activations = self.network_.forward(X)
        return activations[-2]

    @property
    def _n_features_out(self) -> int:
        """scikit-learn's name for the number of columns that `transform` makes."""
        return len(self.coefs_[-1])

    def _predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Turn the network's outputs into what `predict` returns."""
        raise NotImplementedError

    def _score(self, targets: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None) -> float:
        """The estimator's score for held-out samples, from the network's outputs; NaN where these are not finite."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        dtypes = {None: ["float64", "float32"], "float64": ["float64"], "float32": ["float32"]}
        name = getattr(self.dtype, "__name__", self.dtype)  # of numpy.float32
        tags.transformer_tags.preserves_dtype = dtypes.get(name if name is None else str(name), [])
        return tags


for _name in ("transform", "fit_transform"):  # as scikit-learn wrapped them, for set_output
    setattr(_MLP, _name, available_if(_has_hidden_layers)(getattr(_MLP, _name)))


def _shift_and_scale(end: Spec | Layer) -> dict[str, Any]:
    """The shift and scale of a spec's input or of a layer, if it has them."""
    return {key: getattr(end, key) for key in ("shift", "scale") if getattr(end, key) is not None}


def scores_of(outputs: np.ndarray) -> np.ndarray:
    """What `decision_function` returns for the outputs (n_samples, n_classes) of a network of scores."""
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

    The same ``random_state`` gives scikit-learn's numbers, except for rounding. docs/how-to/scikit-learn.md lists what
    differs.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        The number of units of each hidden layer; ``()`` for none.
    activation : str, fastmlp.Activation, or list of either
        The activation of the hidden layers: one of fastmlp's, or your own; a list has one for each layer.
    loss : "log_loss", name of another loss, or fastmlp.Loss
        Other losses are, for example, "mse" of the probabilities, or "hinge", which gives scores and no probabilities.
    solver : str or fastmlp.optimizers.Optimizer
        "sgd", "adam" and "lbfgs" are scikit-learn's, with the settings below. "adamw", "lion", "rmsprop" and the other
        names of `fastmlp.optimizers` have that module's defaults; an object, such as ``Lion(betas=(0.95, 0.98))``, has
        its own settings.
    alpha : float
        The penalty ½ alpha Σw² on all weights, divided by the number of a batch's samples. The solver
        ``LevenbergMarquardt(regularisation="bayesian")`` finds its own penalty: it does not use alpha, and refuses any
        value but 0 and the default.
    l1 : float
        The penalty l1 Σ|w|, divided in the same way, in addition to that of alpha.
    dropout : float or list of float
        The share of hidden units that are left out in training: one number for all layers, or one for each.
    class_weight : "balanced", dict, or list of dict, optional
        A weight for each class, by its label; for multi-label y a list with one dict for each label.
    batch_size : int or "auto"
        The number of samples in a step; "auto" is 200, or all if there are fewer. lbfgs and lm always take all.
    learning_rate : {"constant", "invscaling", "adaptive"}, schedule, or function of the epoch
        "invscaling" divides ``learning_rate_init`` by the number of samples seen to the power of ``power_t``, after
        each epoch; "adaptive" divides it by 5 whenever training would stop. As in scikit-learn, adam ignores both.
        A schedule of `fastmlp.schedules`, or a function of the epoch, counted from 0, is the rate itself;
        ``ReduceOnPlateau`` sees "loss" and "val_loss".
    learning_rate_init : float
        The learning rate, unless a schedule is given.
    power_t : float
        The exponent of "invscaling".
    max_iter : int
        The largest number of epochs, or of iterations of lbfgs and lm.
    shuffle : bool
        Whether each epoch takes the samples in another order.
    random_state : int, RandomState, optional
        Draws the initial weights, the rows to hold out, and the order of samples.
    tol : float
        How much an epoch must gain, in loss or in validation score, to count as better; lbfgs ends when no derivative
        is larger.
    verbose : bool
        Whether each epoch's loss is printed.
    warm_start : bool
        Whether `fit` goes on with the network of the call before.
    momentum : float, in [0, 1)
        The momentum of the solver "sgd".
    nesterovs_momentum : bool
        Whether that momentum is Nesterov's.
    early_stopping : bool
        Whether training ends when the score of held-out samples gets no better, and keeps the best parameters. If not,
        it ends when the training loss gets no better.
    validation_fraction : float, in [0, 1)
        The share of the samples that early stopping holds out, unless `fit` is given ``X_val`` and ``y_val``.
    beta_1, beta_2 : float, in [0, 1)
        How slowly the solver "adam" forgets gradients, and their squares.
    epsilon : float
        Added to the denominator of a step by the solver "adam".
    n_iter_no_change : int
        The number of epochs without getting better after which training ends; ``numpy.inf`` for never.
    max_fun : int
        How often the solver "lbfgs" computes the loss at most.
    clip_norm : float, optional
        The largest length of a batch's gradient, over all parameters and before penalties; a longer one is shortened.
    standardize : bool
        Whether a new network scales its inputs to mean 0 and deviation 1, by the rows that `fit`, or the first call of
        `partial_fit`, trains on. Sparse X is scaled without a shift.
    dtype : "float32" or "float64", optional
        The network's dtype; when left out, float32 where X is float32, else float64.
    n_threads : int
        The number of threads that share batches of at least 32 samples, per-sample SGD of wide networks, and
        predictions.

    Attributes
    ----------
    classes_ : ndarray, (n_classes,)
        The labels of the classes.
    coefs_ : list of ndarray, (n_in, n_out)
        Each layer's weights, as views of the network's: the network computes with what is written into them.
    intercepts_ : list of ndarray, (n_out,)
        Each layer's biases, as views too.
    network_ : fastmlp.MLP
        The network itself, with ``feature_names`` and, as ``class_names``, the labels.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of str, (n_features,)
        Their names, where X was a frame whose columns have names.
    n_layers_, n_outputs_ : int
        The number of layers, with the input and the output, and the number of outputs.
    out_activation_ : str
        The activation of the last layer, by scikit-learn's name.
    loss_ : float
        The loss of the last epoch, with penalties.
    loss_curve_ : list of float
        The loss after each epoch; not for lbfgs and lm.
    best_loss_ : float, or None
        The smallest of these losses; None under early stopping.
    validation_loss_curve_ : list of float, or None
        The mean loss, without penalties, of the validation samples after each epoch: of ``X_val``, or of the rows that
        early stopping holds out.
    validation_scores_ : list of float, or None
        Their accuracy after each epoch, under early stopping.
    best_validation_score_ : float, or None
        The largest of these scores.
    n_iter_ : int
        The number of epochs, or of iterations of lbfgs and lm, in the last call of `fit`.
    t_ : int
        The number of samples trained on, in all epochs.

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
        solver: Any = "adam",
        alpha: float = 0.0001,
        l1: float = 0.0,
        dropout: Any = 0.0,
        class_weight: Any = None,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
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
        clip_norm: float | None = None,
        standardize: bool = False,
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
            if len(self.classes_) < 2:
                raise ValueError("loss is hinge, which needs two classes or more, but y has one class")
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

    def _class_names(self, spec: Spec) -> np.ndarray | None:
        return self.classes_ if len(self.classes_) == max(2, spec.n_out) else None

    def _one_of_many(self) -> bool:
        kind = self._label_binarizer.y_type_
        return kind == "multiclass" or (kind == "binary" and self._loss_name() == "hinge")

    def _count_outputs(self, targets: np.ndarray) -> int:
        return len(self.classes_) if targets.ndim == 1 else targets.shape[1]

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        return targets.astype(bool) if self.n_outputs_ == 1 else None  # as scikit-learn: only of two classes

    @available_if(_learns_online)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train for one more epoch, on these samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array, (n_classes,)
            The labels of all classes that will ever occur; needed in the first call.

        Returns
        -------
        self
            The estimator.
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
        if sample_weight is None and classes is None and self._learn_few(X, y):
            return self
        return self._fit(X, y, sample_weight, incremental=True)

    def _targets_of_few(self, y: np.ndarray, online: _Online) -> np.ndarray | None:
        if y.dtype.kind not in "biufU" and not isinstance(y[0], str):
            return None
        places = list(map(online.places.get, y.tolist()))
        if None in places:
            return None
        return np.array(places) if self._one_of_many() else np.array(places, np.uint8)[:, None]

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class of each sample, (n_samples,), or its labels, (n_samples, n_outputs).

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
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
        """Return each class's score in the order of ``classes_``, (n_samples, n_classes); the highest is predicted.

        For two classes: by how much the second one's score is higher than the first one's, (n_samples,).

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        return scores_of(self._outputs(X))

    @available_if(gives_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class in the order of ``classes_``, (n_samples, n_classes).

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    @available_if(gives_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self._loss_name() != "hinge"
        return tags


class MLPRegressor(RegressorMixin, _MLP):
    """scikit-learn's `MLPRegressor`, trained by fastmlp.

    The same ``random_state`` gives scikit-learn's numbers, except for rounding. docs/how-to/scikit-learn.md lists what
    differs.

    Parameters
    ----------
    loss : "squared_error", "absolute_error", "poisson", name of another loss, or fastmlp.Loss
        Another loss may be any of fastmlp's that fits a linear output, such as "huber".
    hidden_layer_sizes : int or sequence of int
        The number of units of each hidden layer; ``()`` for none.
    activation : str, fastmlp.Activation, or list of either
        The activation of the hidden layers: one of fastmlp's, or your own; a list has one for each layer.
    solver : str or fastmlp.optimizers.Optimizer
        "sgd", "adam" and "lbfgs" are scikit-learn's, with the settings below. "adamw", "lion", "rmsprop" and the other
        names of `fastmlp.optimizers` have that module's defaults; an object, such as ``Lion(betas=(0.95, 0.98))``, has
        its own settings.
    alpha : float
        The penalty ½ alpha Σw² on all weights, divided by the number of a batch's samples. The solver
        ``LevenbergMarquardt(regularisation="bayesian")`` finds its own penalty: it does not use alpha, and refuses any
        value but 0 and the default.
    l1 : float
        The penalty l1 Σ|w|, divided in the same way, in addition to that of alpha.
    dropout : float or list of float
        The share of hidden units that are left out in training: one number for all layers, or one for each.
    batch_size : int or "auto"
        The number of samples in a step; "auto" is 200, or all if there are fewer. lbfgs and lm always take all.
    learning_rate : {"constant", "invscaling", "adaptive"}, schedule, or function of the epoch
        "invscaling" divides ``learning_rate_init`` by the number of samples seen to the power of ``power_t``, after
        each epoch; "adaptive" divides it by 5 whenever training would stop. As in scikit-learn, adam ignores both.
        A schedule of `fastmlp.schedules`, or a function of the epoch, counted from 0, is the rate itself;
        ``ReduceOnPlateau`` sees "loss" and "val_loss".
    learning_rate_init : float
        The learning rate, unless a schedule is given.
    power_t : float
        The exponent of "invscaling".
    max_iter : int
        The largest number of epochs, or of iterations of lbfgs and lm.
    shuffle : bool
        Whether each epoch takes the samples in another order.
    random_state : int, RandomState, optional
        Draws the initial weights, the rows to hold out, and the order of samples.
    tol : float
        How much an epoch must gain, in loss or in validation score, to count as better; lbfgs ends when no derivative
        is larger.
    verbose : bool
        Whether each epoch's loss is printed.
    warm_start : bool
        Whether `fit` goes on with the network of the call before.
    momentum : float, in [0, 1)
        The momentum of the solver "sgd".
    nesterovs_momentum : bool
        Whether that momentum is Nesterov's.
    early_stopping : bool
        Whether training ends when the score of held-out samples gets no better, and keeps the best parameters. If not,
        it ends when the training loss gets no better.
    validation_fraction : float, in [0, 1)
        The share of the samples that early stopping holds out, unless `fit` is given ``X_val`` and ``y_val``.
    beta_1, beta_2 : float, in [0, 1)
        How slowly the solver "adam" forgets gradients, and their squares.
    epsilon : float
        Added to the denominator of a step by the solver "adam".
    n_iter_no_change : int
        The number of epochs without getting better after which training ends; ``numpy.inf`` for never.
    max_fun : int
        How often the solver "lbfgs" computes the loss at most.
    clip_norm : float, optional
        The largest length of a batch's gradient, over all parameters and before penalties; a longer one is shortened.
    standardize : bool
        Whether a new network scales its inputs and targets to mean 0 and deviation 1, by the rows that `fit`, or the
        first call of `partial_fit`, trains on. Sparse X is scaled without a shift. Losses are then those of
        standardised targets; predictions are in y's units.
    dtype : "float32" or "float64", optional
        The network's dtype; when left out, float32 where X is float32, else float64.
    n_threads : int
        The number of threads that share batches of at least 32 samples, per-sample SGD of wide networks, and
        predictions.

    Attributes
    ----------
    coefs_ : list of ndarray, (n_in, n_out)
        Each layer's weights, as views of the network's: the network computes with what is written into them.
    intercepts_ : list of ndarray, (n_out,)
        Each layer's biases, as views too.
    network_ : fastmlp.MLP
        The network itself, with ``feature_names``. Under "poisson" its outputs are the logarithms of what `predict`
        returns.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of str, (n_features,)
        Their names, where X was a frame whose columns have names.
    n_layers_, n_outputs_ : int
        The number of layers, with the input and the output, and the number of outputs.
    out_activation_ : str
        The activation of the last layer, by scikit-learn's name.
    loss_ : float
        The loss of the last epoch, with penalties.
    loss_curve_ : list of float
        The loss after each epoch; not for lbfgs and lm.
    best_loss_ : float, or None
        The smallest of these losses; None under early stopping.
    validation_loss_curve_ : list of float, or None
        The mean loss, without penalties, of the validation samples after each epoch: of ``X_val``, or of the rows that
        early stopping holds out.
    validation_scores_ : list of float, or None
        Their R² after each epoch, under early stopping.
    best_validation_score_ : float, or None
        The largest of these scores.
    n_iter_ : int
        The number of epochs, or of iterations of lbfgs and lm, in the last call of `fit`.
    t_ : int
        The number of samples trained on, in all epochs.

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
        solver: Any = "adam",
        alpha: float = 0.0001,
        l1: float = 0.0,
        dropout: Any = 0.0,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
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
        clip_norm: float | None = None,
        standardize: bool = False,
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

    @available_if(_learns_online)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one more epoch, on these samples.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
            The estimator.
        """
        if sample_weight is None and self._learn_few(X, y):
            return self
        return self._fit(X, y, sample_weight, incremental=True)

    def _targets_of_few(self, y: np.ndarray, online: _Online) -> np.ndarray | None:
        return plain_targets(y, online.network.spec, len(y))

    def predict(self, X: Any) -> np.ndarray:
        """Predict the value of each sample, (n_samples,), or its values, (n_samples, n_outputs).

        Parameters
        ----------
        X : array or sparse matrix, (n_samples, n_features)
            The samples.
        """
        return self._predictions(self._outputs(X))

    def _predictions(self, outputs: np.ndarray) -> np.ndarray:
        values = np.exp(outputs) if self.out_activation_ == "exp" else outputs
        return values.ravel() if values.shape[1] == 1 else values

    def _score(self, targets: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None) -> float:
        values = self._predictions(outputs)
        return r2_score(targets, values, sample_weight=weights) if np.isfinite(values).all() else np.nan

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        loss = self._loss_name()
        tags.target_tags.positive_only = (loss.name if isinstance(loss, Loss) else loss) == "poisson"
        return tags
