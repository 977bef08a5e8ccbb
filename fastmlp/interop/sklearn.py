"""scikit-learn: fitted MLPClassifier and MLPRegressor, alone or behind scalers in a Pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from .. import sklearn as ours
from ..activations import Activation, get_activation
from ..model.mlp import MLP
from .chain import Chain

__all__ = ["from_sklearn"]

_CLASSIFIERS = (MLPClassifier, ours.MLPClassifier)
_REGRESSORS = (MLPRegressor, ours.MLPRegressor)
_THEIRS = (MLPClassifier, MLPRegressor)  # whose names of activations we know too

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
    """A network from a fitted ``MLPClassifier`` or ``MLPRegressor``, with copies of the parameters.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or Pipeline
        scikit-learn's own, or those of `fastmlp.sklearn`.
        A Pipeline of scalers (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler) and one of these at its end
        becomes one network, the scalers its shift and scale.

    Returns
    -------
    MLP
        A network of the parameters' dtype, which is that of the data they were fitted to. ``predict`` is
        ``predict_proba`` where there are more than two classes or several labels, and its second column, the
        probability of ``classes_[1]``, where there are two; of a regressor it is ``predict``, as (n_samples, n_out).
        ``predict_class`` counts in ``classes_``, whose names are ``class_names``.

    Raises
    ------
    ValueError
        When it is not fitted, or when a step, or the output ("exp" in Poisson regression), has no place here.

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
    chain = Chain()
    steps = estimator.steps if isinstance(estimator, Pipeline) else [("estimator", estimator)]
    for name, step in steps[:-1]:
        where = f"step {name!r} ({type(step).__name__})"
        if step is None or step == "passthrough":
            continue
        if type(step) not in _SCALERS:
            raise ValueError(f"{where} cannot be part of a network; scalers can: {', '.join(_names(_SCALERS))}")
        check_is_fitted(step)
        if getattr(step, "clip", False):
            raise ValueError(f"{where} clips, which a network's shift and scale cannot")
        for method, values in _SCALERS[type(step)](step):
            getattr(chain, method)(values, where)
    network = steps[-1][1]
    if not isinstance(network, (*_CLASSIFIERS, *_REGRESSORS)):
        raise ValueError(f"{type(network).__name__} is no MLPClassifier, no MLPRegressor, and no Pipeline to one")
    check_is_fitted(network)
    layers = zip(network.coefs_, network.intercepts_, _activations(network), strict=True)
    for i, (weights, biases, activation) in enumerate(layers, 1):
        chain.dense(np.transpose(weights), biases, f"layer {i}")
        chain.activate(activation, f"layer {i}")
    model = chain.model(None if isinstance(network, _THEIRS) else network.network_.spec.loss)
    if isinstance(network, _CLASSIFIERS) and len(network.classes_) == max(2, network.n_outputs_):
        model.class_names = network.classes_
    return model


def _activations(network: Any) -> list[Activation]:
    if network.out_activation_ == "exp":
        raise ValueError(f"{type(network).__name__} has the output activation 'exp', which fastmlp has not")
    if not isinstance(network, _THEIRS):
        return [layer.act for layer in network.network_.spec.layers]
    names = [network.activation] * (len(network.coefs_) - 1) + [network.out_activation_]
    return [get_activation(name) for name in names]


def _names(types: dict[type, Any]) -> list[str]:
    return [kind.__name__ for kind in types]
