"""scikit-learn: fitted MLPClassifier and MLPRegressor, alone or with scalers of their inputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from .. import sklearn as ours
from ..activations import Activation, get_activation
from ..model.mlp import MLP
from .chain import Chain

__all__ = ["from_sklearn"]

_CLASSIFIERS = (MLPClassifier, ours.MLPClassifier)
_REGRESSORS = (MLPRegressor, ours.MLPRegressor)
_THEIRS = (MLPClassifier, MLPRegressor)  # whose names of activations we know too
_SEARCH = GridSearchCV.__bases__[0]  # of all searches, those that are still experimental too
_Named = tuple[str, Any]  # what an error calls it, and the object

# What a fitted scaler multiplies by, and what it adds then; or what it adds first, and then multiplies by.
_Step = tuple[str, Any]
_SCALERS: dict[type, Callable[[Any], tuple[_Step, _Step]]] = {
    StandardScaler: lambda s: (
        ("add", -s.mean_ if s.with_mean else 0),
        ("multiply", 1 / s.scale_ if s.with_std else 1),
    ),
    RobustScaler: lambda s: (
        ("add", -s.center_ if s.with_centering else 0),
        ("multiply", 1 / s.scale_ if s.with_scaling else 1),
    ),
    MinMaxScaler: lambda s: (("multiply", s.scale_), ("add", s.min_)),
    MaxAbsScaler: lambda s: (("multiply", 1 / s.scale_), ("add", 0)),
}


def from_sklearn(estimator: Any) -> MLP:
    """Make a network from a fitted ``MLPClassifier`` or ``MLPRegressor``, with copies of the parameters.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or an estimator that contains one of them
        scikit-learn's estimators, or those of `fastmlp.sklearn`. A Pipeline that ends in one becomes one network: its
        scalers (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler; a ColumnTransformer of them) become shift and
        scale of the input. Such a scaler in a TransformedTargetRegressor becomes shift and scale of the last layer, so
        that further training goes on in the same units. From a fitted search (GridSearchCV and others)
        ``best_estimator_`` is taken.

    Returns
    -------
    MLP
        A network of the parameters' dtype, which is that of the data they were fitted to. For a classifier, its
        ``predict`` gives the estimator's ``predict_proba``, or, for two classes, its second column, the probability of
        ``classes_[1]``; for a regressor ``predict``, as (n_samples, n_out), or, under the loss "poisson", the logarithm
        of that. ``predict_class`` returns indices into ``classes_``, which become ``class_names``. The column names of
        a frame become ``feature_names``.

    Raises
    ------
    ValueError
        When it is not fitted, or when a step cannot be part of a network; the message names it.

    Examples
    --------
    >>> import fastmlp
    >>> from sklearn.neural_network import MLPRegressor
    >>> x = [[0.0], [1.0], [2.0], [3.0]]
    >>> theirs = MLPRegressor(hidden_layer_sizes=[8], solver="lbfgs", random_state=0).fit(x, [1.0, 3.0, 5.0, 7.0])
    >>> model = fastmlp.interop.from_sklearn(theirs)
    >>> bool(abs(model.predict(x)[:, 0] - theirs.predict(x)).max() < 1e-12)
    True
    """
    steps, targets, network = _opened(estimator)
    if not isinstance(network, (*_CLASSIFIERS, *_REGRESSORS)):
        raise ValueError(f"{type(network).__name__} is no MLPClassifier, no MLPRegressor, and nothing that has one")
    chain = Chain()
    _read_inputs(chain, steps)
    check_is_fitted(network)
    spec = None if isinstance(network, _THEIRS) else network.network_.spec
    if spec is not None and spec.input_affine is not None:
        chain.add(-spec.input_affine[0], "the inputs")
        chain.multiply(spec.input_affine[1], "the inputs")
    layers = zip(network.coefs_, network.intercepts_, _activations(network), strict=True)
    for i, (weights, biases, activation) in enumerate(layers, 1):
        chain.dense(np.transpose(weights), biases, f"layer {i}")
        chain.activate(activation, f"layer {i}")
    if spec is not None and spec.output_affine is not None:
        chain.multiply(spec.output_affine[1], "the outputs")
        chain.add(spec.output_affine[0], "the outputs")
    loss = None if spec is None else spec.loss
    is_poisson = network.out_activation_ == "exp"
    for where, transformer in reversed(targets):
        for method, values in reversed(_scaling(transformer, where)):
            if is_poisson:
                raise ValueError(f"{where} scales what the network predicts the logarithm of")
            if method == "multiply":
                chain.multiply(1 / np.asarray(values), where)
            else:
                chain.add(-np.asarray(values), where)
    model = chain.model("poisson" if is_poisson else loss)
    if isinstance(network, _CLASSIFIERS) and len(network.classes_) == max(2, network.n_outputs_):
        model.class_names = network.classes_
    first = steps[0][1] if steps else network
    if hasattr(first, "feature_names_in_") and len(first.feature_names_in_) == model.spec.n_in:
        model.feature_names = first.feature_names_in_
    return model


def _opened(estimator: Any) -> tuple[list[_Named], list[_Named], Any]:
    """Return the steps before the network, the transformers of its targets, the outermost first, and the network."""
    steps: list[_Named] = []
    targets: list[_Named] = []
    while True:
        if isinstance(estimator, _SEARCH):
            if not hasattr(estimator, "best_estimator_"):
                raise ValueError(f"{type(estimator).__name__} has no best_estimator_: call fit, with refit=True")
            estimator = estimator.best_estimator_
        elif isinstance(estimator, TransformedTargetRegressor):
            check_is_fitted(estimator)
            targets.append((f"the target's {type(estimator.transformer_).__name__}", estimator.transformer_))
            estimator = estimator.regressor_
        elif isinstance(estimator, Pipeline):
            steps += [(f"step {name!r} ({type(step).__name__})", step) for name, step in estimator.steps[:-1]]
            estimator = estimator.steps[-1][1]
        else:
            return steps, targets, estimator


def _scaling(step: Any, where: str) -> list[_Step]:
    """Return the factors and the summands of a scaler, or of a Pipeline of scalers."""
    if step is None or step == "passthrough" or (isinstance(step, FunctionTransformer) and step.func is None):
        return []
    if isinstance(step, Pipeline):
        return [part for _, member in step.steps for part in _scaling(member, where)]
    if type(step) not in _SCALERS:
        raise ValueError(f"{where} cannot be part of a network; scalers can: {', '.join(_names(_SCALERS))}")
    check_is_fitted(step)
    if getattr(step, "clip", False):
        raise ValueError(f"{where} clips, which a network's shift and scale cannot")
    return list(_SCALERS[type(step)](step))


@dataclass
class _Inputs:
    """A network's input as a function of x: (x[:, columns] - shift) · scale; all (n,), shift and scale float64."""

    columns: np.ndarray
    shift: np.ndarray
    scale: np.ndarray

    def through(self, step: Any, where: str) -> _Inputs:
        """Return these inputs after a step."""
        if isinstance(step, ColumnTransformer):
            return self._through_columns(step, where)
        shift, scale = self.shift, self.scale
        for method, values in _scaling(step, where):
            if method == "multiply":
                scale = scale * values
            elif not scale.all():
                raise ValueError(f"{where} adds to inputs that are multiplied by 0")
            else:
                shift = shift - values / scale
        return _Inputs(self.columns, shift, scale)

    def _through_columns(self, step: ColumnTransformer, where: str) -> _Inputs:
        check_is_fitted(step)
        parts = []
        for name, member, columns in step.transformers_:
            if isinstance(member, str) and member == "drop":
                continue
            at = _positions(columns, step)
            of_member = f"{where}, transformer {name!r} ({type(member).__name__})"
            part = _Inputs(self.columns[at], self.shift[at], self.scale[at]).through(member, of_member)
            weight = (step.transformer_weights or {}).get(name, 1)
            parts.append(_Inputs(part.columns, part.shift, part.scale * weight))
        fields = [(part.columns, part.shift, part.scale) for part in parts] or [(self.columns[:0],) * 3]
        joined = _Inputs(*(np.concatenate(arrays) for arrays in zip(*fields, strict=True)))
        if len(np.unique(joined.columns)) < len(joined.columns):
            raise ValueError(f"{where} takes a column twice; a network's shift and scale are one each")
        return joined


def _positions(columns: Any, step: ColumnTransformer) -> np.ndarray:
    """Return the positions of a fitted ColumnTransformer's columns, in whatever way they are given."""
    places = np.arange(step.n_features_in_)
    names = {name: i for i, name in enumerate(getattr(step, "feature_names_in_", ()))}
    if isinstance(columns, slice):
        begin, end = names.get(columns.start, columns.start), columns.stop
        if isinstance(end, str):
            end = names[end] + 1  # as pandas has it, where the last one counts
        return places[begin : end : columns.step]
    wanted = np.atleast_1d(np.asarray(columns))
    if wanted.dtype.kind in "biu":
        return places[wanted]
    return np.array([names[name] for name in wanted], np.intp)


def _read_inputs(chain: Chain, steps: list[_Named]) -> None:
    """Begin a chain with the inputs that the steps make of x."""
    fitted = [step for _, step in steps if hasattr(step, "n_features_in_")]
    if not fitted:
        for where, step in steps:
            _scaling(step, where)  # which refuses what is not fitted
        return
    n_in = fitted[0].n_features_in_
    inputs = _Inputs(np.arange(n_in), np.zeros(n_in), np.ones(n_in))
    for where, step in steps:
        inputs = inputs.through(step, where)
    if not np.array_equal(inputs.columns, np.arange(n_in)):
        chain.take(inputs.columns, n_in)
    chain.add(-inputs.shift, "the inputs")
    chain.multiply(inputs.scale, "the inputs")


def _activations(network: Any) -> list[Activation]:
    if not isinstance(network, _THEIRS):
        return [layer.act for layer in network.network_.spec.layers]
    last = "identity" if network.out_activation_ == "exp" else network.out_activation_
    return [get_activation(name) for name in [network.activation] * (len(network.coefs_) - 1) + [last]]


def _names(types: dict[type, Any]) -> list[str]:
    return [kind.__name__ for kind in types]
