"""PyTorch: networks to and from ``torch.nn.Sequential``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from ..activations import ACTIVATIONS, Activation
from ..losses import Loss
from ..model.mlp import MLP, check_model
from ..spec import Layer, Spec
from .chain import Chain, word

__all__ = ["ScaleShift", "ShiftScale", "Sine", "Step", "from_torch", "to_torch"]


class Sine(nn.Module):
    """sin(z), for which PyTorch has no module."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.sin(z)


class Step(nn.Module):
    """1 where z ≥ 0, else 0."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (z >= 0).to(z.dtype)


class _Scaling(nn.Module):
    """A module with a shift and a scale, which are not trained."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, shift: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)


class ShiftScale(_Scaling):
    """(x - shift) · scale, of numbers of any type."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.shift) * self.scale


class ScaleShift(_Scaling):
    """shift + scale · a, of a network's outputs."""

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return self.shift + self.scale * a


_MODULES: dict[str, Callable[[float | None], nn.Module]] = {
    "step": lambda slope: Step(),
    "linear": lambda slope: nn.Identity(),
    "sigmoid": lambda slope: nn.Sigmoid(),
    "tanh": lambda slope: nn.Tanh(),
    "relu": lambda slope: nn.ReLU(),
    "leaky_relu": lambda slope: nn.LeakyReLU(slope),
    "softmax": lambda slope: nn.Softmax(dim=1),
    "swish": lambda slope: nn.SiLU(),
    "elu": lambda alpha: nn.ELU(alpha),
    "selu": lambda slope: nn.SELU(),
    "gelu": lambda slope: nn.GELU(),
    "gelu_tanh": lambda slope: nn.GELU("tanh"),
    "mish": lambda slope: nn.Mish(),
    "softplus": lambda slope: nn.Softplus(threshold=40),  # above the default, 20, float64 would see the line
    "hard_tanh": lambda slope: nn.Hardtanh(),
    "relu6": lambda slope: nn.ReLU6(),
    "hard_sigmoid": lambda slope: nn.Hardsigmoid(),
    "hard_swish": lambda slope: nn.Hardswish(),
    "softsign": lambda slope: nn.Softsign(),
    "sine": lambda slope: Sine(),
}
# What a module must be set to, where that is not the only thing that it can be.
_SETTINGS: dict[type[nn.Module], dict[str, tuple[object, ...]]] = {
    nn.Softmax: {"dim": (1, -1)},
    nn.GELU: {"approximate": ("none", "tanh")},
    nn.Softplus: {"beta": (1,)},
    nn.Hardtanh: {"min_val": (-1,), "max_val": (1,)},
    nn.LogSoftmax: {"dim": (1, -1)},
    nn.CELU: {"alpha": (1,)},
    nn.PReLU: {"num_parameters": (1,)},
    nn.Flatten: {"start_dim": (1,), "end_dim": (-1, 1)},
}
_SKIPPED = (nn.Identity, nn.Flatten, nn.Dropout, nn.AlphaDropout)
_ACTIVATION_OF = {type(make(0.1)): ACTIVATIONS[name] for name, make in _MODULES.items()}
_ACTIVATION_OF[nn.CELU] = ACTIVATIONS["elu"]  # with an alpha of 1 they are one
_ACTIVATION_OF[nn.PReLU] = ACTIVATIONS["leaky_relu"]


def to_torch(model: MLP) -> nn.Sequential:
    """Make a ``torch.nn.Sequential`` of a network, with copies of the parameters.

    Parameters
    ----------
    model : MLP
        The network. Shift and scale of the input become a first module, those of the last layer a last one, both with
        buffers. These, sine and step are modules of fastmlp, so that fastmlp is needed to unpickle a network with one.

    Returns
    -------
    torch.nn.Sequential
        A network of the model's dtype, on the CPU, whose frozen layers want no gradients. The last layer's activation
        is in it, softmax too: for training with ``CrossEntropyLoss``, which wants logits, leave the last module off.

    Raises
    ------
    ValueError
        For a custom activation.

    Examples
    --------
    >>> import fastmlp
    >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 8, "act": "relu"}, {"n": 1, "act": "linear"}], seed=0)
    >>> net = fastmlp.interop.to_torch(model)
    >>> net
    Sequential(
      (0): Linear(in_features=2, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=1, bias=True)
    )
    >>> fastmlp.interop.from_torch(net) == model
    True
    """
    check_model(model)
    spec = model.spec
    dtype = torch.float32 if model.dtype == np.float32 else torch.float64
    modules: list[nn.Module] = []
    modules += _scaling(ShiftScale, spec, dtype)
    for layer, weights, biases in zip(spec.layers, model.weights, model.biases, strict=True):
        make = word(_MODULES, layer.act, "PyTorch")
        linear = nn.Linear(weights.shape[1], layer.n, bias=layer.bias, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(weights))
            if layer.bias:
                linear.bias.copy_(torch.tensor(biases))
        linear.requires_grad_(layer.trainable)
        modules += [linear] if layer.act.name == "linear" else [linear, make(layer.act.slope)]
    return nn.Sequential(*modules, *_scaling(ScaleShift, spec.layers[-1], dtype))


def _scaling(
    kind: type[ShiftScale] | type[ScaleShift], owner: Spec | Layer, dtype: torch.dtype
) -> list[ShiftScale | ScaleShift]:
    """Return the module for shift and scale of the input or of the last layer, if it has any."""
    if owner.shift is None and owner.scale is None:
        return []
    return [kind(*(torch.tensor(v, dtype=dtype) for v in (owner.shift or (0.0,), owner.scale or (1.0,))))]


def from_torch(net: nn.Module, *, loss: str | Loss | None = None) -> MLP:
    """Make a network from a ``torch.nn.Sequential``, with copies of the parameters.

    Parameters
    ----------
    net : torch.nn.Sequential
        A chain of ``Linear`` and activation modules, and Sequentials of them. Identity, Flatten and Dropout are left
        out: they change nothing in a trained network. A ``BatchNorm1d`` becomes part of the weights beside it, in front
        the shift and scale of the input, at the end those of the last layer. A classifier that was trained on logits
        gives logits here too; for probabilities append ``torch.nn.Softmax(dim=1)``. A ``LogSoftmax`` at the end is read
        as softmax. A layer none of whose parameters wants a gradient is frozen.
    loss : str or Loss, optional
        The loss for further training; when left out, the default of the output activation.

    Raises
    ------
    ValueError
        When a module cannot be part of such a network; the message names it and its place.

    Examples
    --------
    >>> import fastmlp
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 3), nn.Softmax(dim=1))
    >>> fastmlp.interop.from_torch(net)
    <fastmlp.MLP 2 → 8 swish → 3 softmax, cross_entropy, 51 float32 parameters>
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch.nn.Sequential, got {type(net).__name__}")
    chain = Chain()
    modules = list(_flat(net, ""))
    for i, (name, module) in enumerate(modules):
        kind, where = type(module), f"module {name or '0'} ({type(module).__name__})"
        for setting, values in _SETTINGS.get(kind, {}).items():
            if getattr(module, setting) not in values:
                raise ValueError(f"{where}: {setting} is {getattr(module, setting)!r}, only {values[0]!r} is supported")
        if kind is nn.Linear:
            assert isinstance(module, nn.Linear)
            biases = None if module.bias is None else _array(module.bias, where)
            trainable = any(parameter.requires_grad for parameter in module.parameters())
            chain.dense(_array(module.weight, where), biases, where, trainable)
        elif kind is ShiftScale:
            assert isinstance(module, ShiftScale)
            chain.add(-_array(module.shift, where), where)
            chain.multiply(_array(module.scale, where), where)
        elif kind is ScaleShift:
            assert isinstance(module, ScaleShift)
            chain.multiply(_array(module.scale, where), where)
            chain.add(_array(module.shift, where), where)
        elif kind is nn.BatchNorm1d:
            assert isinstance(module, nn.BatchNorm1d)
            _normalise(chain, module, where)
        elif kind is nn.LogSoftmax:
            if any(type(later) not in _SKIPPED for _, later in modules[i + 1 :]):
                raise ValueError(f"{where} is not the last module; only there it is read, as softmax")
            chain.activate(ACTIVATIONS["softmax"], where)
        elif kind in _ACTIVATION_OF:
            chain.activate(_activation(module), where)
        elif kind not in _SKIPPED:
            raise ValueError(f"{where} has no place in a fully connected network of fastmlp")
    return chain.model(loss)


def _normalise(chain: Chain, module: nn.BatchNorm1d, where: str) -> None:
    """Fold in what a BatchNorm1d does in a trained network."""
    if module.running_mean is None or module.running_var is None:
        raise ValueError(f"{where} normalises by each batch's own mean and variance: track_running_stats is False")
    chain.add(-_array(module.running_mean, where), where)
    factor = 1 / np.sqrt(_array(module.running_var, where).astype(np.float64) + module.eps)
    chain.multiply(factor if module.weight is None else factor * _array(module.weight, where), where)
    if module.bias is not None:
        chain.add(_array(module.bias, where), where)


def _activation(module: nn.Module) -> Activation:
    if isinstance(module, nn.GELU):
        return ACTIVATIONS["gelu" if module.approximate == "none" else "gelu_tanh"]
    activation = _ACTIVATION_OF[type(module)]
    if isinstance(module, nn.PReLU):
        return activation.with_slope(module.weight.item())
    setting = {"slope": "negative_slope", "alpha": "alpha"}.get(activation.traits.setting)
    return activation.with_slope(getattr(module, setting)) if setting else activation


def _flat(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of Sequentials within Sequentials, with their names in PyTorch's way: "2.0"."""
    if type(module) is not nn.Sequential:
        yield name, module
        return
    for key, child in module._modules.items():  # named_children leaves out what comes twice
        yield from _flat(child, f"{name}.{key}".lstrip("."))


def _array(tensor: torch.Tensor, where: str) -> np.ndarray:
    if tensor.dtype not in (torch.float32, torch.float64) or tensor.is_meta:
        what = "no values (it is on the meta device)" if tensor.is_meta else f"{tensor.dtype} parameters"
        raise ValueError(f"{where} has {what}; float32 or float64 numbers are wanted")
    return tensor.detach().cpu().numpy()
