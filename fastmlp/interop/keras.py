"""Keras 3: models to and from ``keras.Sequential``, and functional models that are chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ..activations import ACTIVATIONS, Activation
from ..losses import Loss
from ..model.mlp import MLP, check_model
from .chain import Chain, word

__all__ = ["GeluTanh", "Sine", "Step", "from_keras", "to_keras"]


@keras.saving.register_keras_serializable("fastmlp")
class Sine(layers.Layer):
    """sin(z), for which Keras has no layer."""

    def call(self, z: Any) -> Any:
        return ops.sin(z)


@keras.saving.register_keras_serializable("fastmlp")
class Step(layers.Layer):
    """1 where z ≥ 0, else 0."""

    def call(self, z: Any) -> Any:
        return ops.cast(z >= 0, z.dtype)


@keras.saving.register_keras_serializable("fastmlp")
class GeluTanh(layers.Layer):
    """gelu by a hyperbolic tangent, for which Keras has no layer."""

    def call(self, z: Any) -> Any:
        return ops.gelu(z, approximate=True)


# Keras's name of an activation, for Dense(activation=...), or what makes a layer of it.
_WORDS: dict[str, str | Callable[..., Any]] = {
    "step": lambda slope, dtype: Step(dtype=dtype),
    "linear": "linear",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "leaky_relu": lambda slope, dtype: layers.LeakyReLU(negative_slope=slope, dtype=dtype),
    "softmax": "softmax",
    "swish": "silu",
    "elu": lambda alpha, dtype: layers.ELU(alpha=alpha, dtype=dtype),
    "selu": "selu",
    "gelu": "gelu",
    "gelu_tanh": lambda slope, dtype: GeluTanh(dtype=dtype),
    "mish": "mish",
    "softplus": "softplus",
    "hard_tanh": "hard_tanh",
    "relu6": "relu6",
    "hard_sigmoid": "hard_sigmoid",
    "hard_swish": "hard_swish",
    "softsign": "softsign",
    "sine": lambda slope, dtype: Sine(dtype=dtype),
}
_FUNCTIONS = {
    getattr(keras.activations, form): ACTIVATIONS[name] for name, form in _WORDS.items() if isinstance(form, str)
}
_FUNCTIONS[keras.activations.elu] = _FUNCTIONS[keras.activations.celu] = ACTIVATIONS["elu"]
_FUNCTIONS[keras.activations.leaky_relu] = ACTIVATIONS["leaky_relu"].with_slope(0.2)  # its default
_LAYERS = {layers.LeakyReLU: "leaky_relu", layers.ReLU: "relu", layers.ELU: "elu", layers.Softmax: "softmax",
           GeluTanh: "gelu_tanh", Sine: "sine", Step: "step"}  # fmt: skip
# What a layer must be set to, where that is not the only thing that it can be.
_SETTINGS: dict[type, dict[str, tuple[object, ...]]] = {
    layers.ReLU: {"max_value": (None, 6), "threshold": (0,)},
    layers.BatchNormalization: {"axis": (-1, 1)},
    layers.Softmax: {"axis": (-1, 1)},
    layers.Normalization: {"invert": (False,)},
}
_SKIPPED = (
    layers.ActivityRegularization, layers.AlphaDropout, layers.Dropout, layers.Flatten, layers.GaussianDropout,
    layers.GaussianNoise, layers.Identity, layers.InputLayer,
)  # fmt: skip


def to_keras(model: MLP) -> keras.Sequential:
    """Make a built ``keras.Sequential`` of a network, with copies of the parameters.

    Parameters
    ----------
    model : MLP
        Shift and scale, of the input and of the last layer, become Rescaling layers; frozen layers are not trainable.
        Sine, step and gelu_tanh are layers of this file, registered with Keras: a saved model that has one is loaded
        where ``fastmlp.interop.keras`` is imported.

    Returns
    -------
    keras.Sequential
        A model of the network's dtype, whatever Keras's default is; it is not compiled. Unless its backend is
        TensorFlow, Keras multiplies float64 numbers in float32, so that a float64 network then predicts with float32's
        rounding. JAX also makes the parameters float32, unless it is configured otherwise.

    Raises
    ------
    ValueError
        For a custom activation.

    Examples
    --------
    >>> import fastmlp
    >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "linear"}], seed=0)
    >>> net = fastmlp.interop.to_keras(model)
    >>> [layer.activation.__name__ for layer in net.layers]
    ['tanh', 'linear']
    >>> fastmlp.interop.from_keras(net) == model
    True
    """
    check_model(model)
    spec, dtype = model.spec, model.dtype.name
    net = keras.Sequential([keras.Input((spec.n_in,), dtype=dtype)])
    if spec.shift is not None:  # in two layers, for x·k + c would be rounded otherwise than (x - shift)·scale
        net.add(layers.Rescaling(1.0, offset=[-value for value in spec.shift], dtype=dtype))
    if spec.scale is not None:
        net.add(layers.Rescaling(list(spec.scale), dtype=dtype))
    for layer, weights, biases in zip(spec.layers, model.weights, model.biases, strict=True):
        form = word(_WORDS, layer.act, "Keras")
        dense = layers.Dense(
            layer.n,
            form if isinstance(form, str) else None,
            use_bias=layer.bias,
            kernel_initializer="zeros",
            trainable=layer.trainable,
            dtype=dtype,
        )
        net.add(dense)
        dense.set_weights([weights.T, biases] if layer.bias else [weights.T])
        if not isinstance(form, str):
            net.add(form(layer.act.slope, dtype))
    last = spec.layers[-1]
    if last.shift is not None or last.scale is not None:
        net.add(layers.Rescaling(list(last.scale or (1.0,)), offset=list(last.shift or (0.0,)), dtype=dtype))
    return net


def from_keras(net: keras.Model, *, loss: str | Loss | None = None) -> MLP:
    """Make a network from a built Keras model, with copies of the parameters.

    Parameters
    ----------
    net : keras.Sequential, or a functional keras.Model that is a chain
        Dense layers, activations within them or as layers, and other such models. Rescaling, Normalization and
        BatchNormalization become part of the weights beside them, in front shift and scale of the input, at the end
        those of the last layer. A log_softmax at the end is read as softmax. Flatten, dropout and noise are left out:
        they change nothing in a trained network. Dense layers that are not trainable are frozen.
    loss : str or Loss, optional
        The loss for further training; when left out, the default of the output activation.

    Raises
    ------
    ValueError
        When a layer cannot be part of such a network; the message names it.

    Examples
    --------
    >>> import fastmlp, keras
    >>> net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "silu"), keras.layers.Dense(3, "softmax")])
    >>> fastmlp.interop.from_keras(net)
    <fastmlp.MLP 2 → 8 swish → 3 softmax, cross_entropy, 51 float32 parameters>
    """
    if not isinstance(net, keras.Model):
        raise TypeError(f"net must be a keras.Model, got {type(net).__name__}")
    if not net.built:
        raise ValueError("net has no weights yet: give it an Input, or call net.build((None, n_in))")
    chain = Chain()
    flat = len(net.input_shape) < 3
    parts = list(_flat(net))
    for i, layer in enumerate(parts):
        kind, where = type(layer), f"layer {layer.name!r} ({type(layer).__name__})"
        for setting, values in _SETTINGS.get(kind, {}).items():
            if getattr(layer, setting) not in values:
                raise ValueError(f"{where}: {setting} is {getattr(layer, setting)!r}, only {values[0]!r} is supported")
        flat = flat or kind is layers.Flatten
        is_last = all(type(later) in _SKIPPED for later in parts[i + 1 :])
        if kind is layers.Dense:
            if not flat:
                raise ValueError(f"{where} has inputs of {len(net.input_shape) - 1} axes, which are not flattened")
            _dense(chain, layer, where, is_last)
        elif kind is layers.Activation:
            chain.activate(_of_function(layer.activation, where, is_last), where)
        elif kind in _LAYERS:
            chain.activate(_of_layer(layer), where)
        elif kind is layers.Rescaling:
            chain.multiply(layer.scale, where)
            chain.add(layer.offset, where)
        elif kind is layers.Normalization:
            mean, variance = (np.asarray(ops.convert_to_numpy(v), np.float64) for v in (layer.mean, layer.variance))
            chain.add(-mean, where)
            chain.multiply(1 / np.maximum(np.sqrt(variance), keras.config.epsilon()), where)
        elif kind is layers.BatchNormalization:
            _normalise(chain, layer, where)
        elif kind not in _SKIPPED:
            raise ValueError(f"{where} has no place in a fully connected network of fastmlp")
    return chain.model(loss)


def _dense(chain: Chain, layer: Any, where: str, is_last: bool) -> None:
    if layer.quantization_mode is not None or layer.compute_dtype != layer.variable_dtype:
        how = layer.quantization_mode or layer.compute_dtype
        raise ValueError(f"{where} computes in {how}; float32 or float64 is wanted")
    biases = ops.convert_to_numpy(layer.bias) if layer.use_bias else None
    chain.dense(ops.convert_to_numpy(layer.kernel).T, biases, where, layer.trainable)
    chain.activate(_of_function(layer.activation, where, is_last), where)


def _normalise(chain: Chain, layer: Any, where: str) -> None:
    """Fold in what a BatchNormalization does in a trained network."""
    mean, variance = (ops.convert_to_numpy(values) for values in (layer.moving_mean, layer.moving_variance))
    chain.add(-mean, where)
    factor = 1 / np.sqrt(variance.astype(np.float64) + layer.epsilon)
    chain.multiply(factor * ops.convert_to_numpy(layer.gamma) if layer.scale else factor, where)
    if layer.center:
        chain.add(ops.convert_to_numpy(layer.beta), where)


def _of_layer(layer: Any) -> Activation:
    if isinstance(layer, layers.ReLU) and layer.max_value is not None:
        if layer.negative_slope:
            raise ValueError(f"layer {layer.name!r} (ReLU) has both a max_value and a negative_slope")
        return ACTIVATIONS["relu6"]
    if isinstance(layer, layers.ELU):
        return ACTIVATIONS["elu"].with_slope(layer.alpha)
    slope = getattr(layer, "negative_slope", 0)
    return ACTIVATIONS["leaky_relu"].with_slope(slope) if slope else ACTIVATIONS[_LAYERS[type(layer)]]


def _of_function(function: Any, where: str, is_last: bool) -> Activation:
    if function is keras.activations.log_softmax and is_last:
        return ACTIVATIONS["softmax"]
    if function not in _FUNCTIONS:
        name = getattr(function, "__name__", type(function).__name__)
        raise ValueError(f"{where} has the activation {name!r}, which fastmlp has not")
    return _FUNCTIONS[function]


def _flat(net: keras.Model) -> Iterator[Any]:
    """Yield the layers of models within models, from input to output."""
    if isinstance(net, keras.Sequential):
        members = net.layers
    elif type(net).__name__ == "Functional":
        members = _chain_of(net)
    else:
        raise ValueError(f"model {net.name!r} ({type(net).__name__}) is neither Sequential nor functional")
    for layer in members:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        else:
            yield layer


def _chain_of(net: keras.Model) -> list[Any]:
    """Return the layers of a functional model; a ValueError if it is not a chain."""
    if len(net.inputs) != 1 or len(net.outputs) != 1:
        raise ValueError(
            f"model {net.name!r} has {len(net.inputs)} inputs and {len(net.outputs)} outputs, not one each"
        )
    chain: list[Any] = []
    tensors = net.outputs
    while tensors:
        if len(tensors) > 1:
            raise ValueError(
                f"layer {chain[0].name!r} ({type(chain[0]).__name__}) joins branches; a network is a chain"
            )
        operation, index, _ = tensors[0]._keras_history
        chain.insert(0, operation)
        if tensors[0] is net.inputs[0]:
            break
        tensors = operation._inbound_nodes[index].input_tensors
    return chain
