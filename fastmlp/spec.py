"""The description of a network: a list of layer dicts becomes a frozen, checked Spec, which prints and becomes JSON."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from .activations import ACTIVATIONS, Activation, get_activation
from .base.pages import DESCRIBE
from .base.suggest import unknown_name
from .losses import LOSSES, Loss, default_loss, get_loss

__all__ = ["Layer", "Spec"]

_SETTINGS = {act.traits.setting: act.name for act in ACTIVATIONS.values() if act.traits.setting}
_ELSEWHERE = {  # keys that layers have in other libraries, and what to write
    **dict.fromkeys(("units", "size", "neurons", "nodes", "width", "out_features"), "'n'"),
    **dict.fromkeys(("input_dim", "input_shape", "in_features"), "'n' in the first layer: {'n': n_in, 'act': None}"),
    **dict.fromkeys(("dropout", "rate"), "dropout for train: fastmlp.train(x, y, spec, dropout=…)"),
    **dict.fromkeys(("kernel_regularizer", "regularizer", "l2"), "l2 for train: fastmlp.train(x, y, spec, l2=…)"),
    **dict.fromkeys(("kernel_initializer", "init"), "init for train: fastmlp.train(x, y, spec, init=…)"),
    "activation": "'act'",
    "loss": "'cost'",
    "use_bias": "'bias'",
    "requires_grad": "'trainable'",
}
_KEYS = {
    "input": ("n", "act", "shift", "scale"),
    "layer": ("n", "act", *_SETTINGS, "bias", "trainable", "cost", "shift", "scale"),
}

Affine = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Layer:
    """A layer that computes ``a = act(W a_below + b)``.

    The last one may have ``shift`` and ``scale``, one number or n: then the network predicts ``shift + scale * a``.
    Training leaves W and b of one that is not ``trainable`` as they are.

    Parameters
    ----------
    n : int
        The number of units.
    act : Activation
        What is computed from W a_below + b.
    bias : bool
        Whether the layer has b.
    shift, scale : tuple of float, optional
        Of the last layer only: one number or n.
    trainable : bool
        Whether training moves W and b.
    """

    n: int
    act: Activation
    bias: bool = True
    shift: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    trainable: bool = True


@dataclass(frozen=True, init=False, repr=False)
class Spec:
    """The typed form of a network's description.

    Parameters
    ----------
    layers : list of dict, or Spec
        First the input: ``{"n": n_in, "act": None}``, optionally with ``shift`` and ``scale`` (scalars or n_in
        numbers): the network sees ``(x - shift) * scale``. Then the layers: ``n`` outputs, ``act`` (a name, an object
        such as `fastmlp.relu`, a custom `fastmlp.Activation`; None is linear), optionally ``slope`` (of
        leaky_relu, 0.1), ``alpha`` (of elu, 1), ``bias: False``, and ``trainable: False``, which freezes the layer:
        training does not move its weights and biases, and their gradients are 0. The last layer may have ``cost``, a
        name or `fastmlp.Loss`; when left out, it is cross_entropy for softmax, bce for sigmoid (with shift or scale,
        mse), and mse for anything else. If its outputs are numbers, it may also have ``shift`` and ``scale`` (above 0;
        scalars or n numbers): with a = act(z) the network predicts ``shift + scale * a``, and its loss compares a with
        ``(y - shift) / scale``. Under poisson a prediction is the logarithm of a count, so only ``shift`` is possible:
        the loss compares exp(a) with ``y / exp(shift)``. Under gaussian_nll they are those of the targets, scalars or
        n_targets numbers; the variances' logarithms get a shift of ``2 log(scale)``.

    Raises
    ------
    TypeError, ValueError
        Naming the layer and the key at fault.

    Examples
    --------
    >>> import fastmlp
    >>> spec = fastmlp.Spec([{"n": 784, "act": None}, {"n": 10, "act": "relu"}, {"n": 10, "act": "softmax"}])
    >>> print(spec)
    layer  activation  weights    biases  parameters
    input
    1      relu        (10, 784)      10        7850
    2      softmax     (10, 10)       10         110
    loss: cross_entropy, 7960 parameters
    >>> fastmlp.Spec.from_json(spec.to_json()) == spec
    True
    """

    n_in: int
    layers: tuple[Layer, ...]
    loss: Loss
    shift: tuple[float, ...] | None
    scale: tuple[float, ...] | None

    def __init__(self, layers: Sequence[Mapping[str, Any]] | Spec) -> None:
        if isinstance(layers, Spec):
            self._set({name: getattr(layers, name) for name in self.__dataclass_fields__})
        else:
            self._set(_parse(layers))
            _warn_of_flat_layers(self.layers)

    def _set(self, fields: Mapping[str, Any]) -> None:
        for key in self.__dataclass_fields__:
            object.__setattr__(self, key, fields[key])

    def __setstate__(self, fields: Mapping[str, Any]) -> None:
        self._set(fields)
        self.loss.check_output(self.layers[-1].act, self.n_out)  # an older version may have pickled it

    @cached_property
    def n_out(self) -> int:
        """Number of outputs of the last layer."""
        return self.layers[-1].n

    @cached_property
    def n_targets(self) -> int:
        """Number of columns of y: that of outputs, but under a loss that has several of them for a target."""
        return self.n_out // self.loss.outputs_per_target

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Numbers of units of all layers, from the input to the output."""
        return (self.n_in, *(layer.n for layer in self.layers))

    @cached_property
    def n_params(self) -> int:
        """Number of weights and biases."""
        return sum(self._counts())

    @cached_property
    def frozen(self) -> bool:
        """Whether training leaves some layer as it is, one with ``trainable: False``."""
        return not all(layer.trainable for layer in self.layers)

    @cached_property
    def builtin(self) -> bool:
        """Whether its activations and its loss are all fastmlp's own."""
        return self.loss.builtin and all(layer.act.builtin for layer in self.layers)

    @cached_property
    def multilabel(self) -> bool:
        """Whether each output is an independent label (sigmoid, but not under cross_entropy or with shift and
        scale)."""
        return (
            self.layers[-1].act.name == "sigmoid" and self.loss.name != "cross_entropy" and self.output_affine is None
        )

    @cached_property
    def one_of_many(self) -> bool:
        """Whether each output is a class, of which one is right, so that y may hold class indices."""
        return not self.multilabel and (self.layers[-1].act.name == "softmax" or self.loss.classification)

    @cached_property
    def input_affine(self) -> Affine | None:
        """Shift and scale, float64 (n_in,) each: the network sees (x - shift) · scale. None if it sees x."""
        return _affine(self, self.n_in)

    @cached_property
    def output_affine(self) -> Affine | None:
        """Shift and scale, float64 (n_out,) each: a prediction is shift + scale · a. None if it is a."""
        return _affine(self.layers[-1], self.n_out)

    @cached_property
    def target_affine(self) -> Affine | None:
        """Shift and factor, float64 (n_out,) each: the loss uses (y - shift) · factor. None if it uses y."""
        if self.output_affine is None:
            return None
        shift, scale = self.output_affine
        if self.loss.gaussian:
            shift, scale = (self.loss.for_outputs(vector[: self.n_targets]) for vector in (shift, scale))
        with np.errstate(over="ignore", divide="ignore"):  # `check_range` looks at them
            return (np.zeros(self.n_out), np.exp(-shift)) if self.loss.logarithmic else (shift, 1 / scale)

    def with_scaling(self, of_input: Mapping[str, Any], of_output: Mapping[str, Any]) -> Spec:
        """Return this spec with another ``shift`` and ``scale`` of the input layer, and of the last layer.

        Parameters
        ----------
        of_input, of_output : dict
            New values of ``shift`` and ``scale``, by these names; what is left out stays as it is.
        """
        first, *hidden, last = self.to_list()
        return Spec.restored([{**first, **of_input}, *hidden, {**last, **of_output}])

    def check_range(self, dtype: np.dtype) -> None:
        """Raise a ValueError for a shift, scale or slope that a network of that dtype cannot hold.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.
        """
        limits, where = np.finfo(dtype), f"spec[{len(self.layers)}]"
        for name, largest in self._largest.items():
            if abs(largest) > float(limits.max):
                raise ValueError(f"{name} has {largest:g}, which is too large for {dtype}")
        if self.target_affine is not None:
            factor = self.target_affine[1]
            lost = ~((factor >= float(limits.tiny)) & (factor <= float(limits.max)))
            if lost.any():
                key, unit = ("shift", "exp(shift)") if self.loss.logarithmic else ("scale", "scale")
                k = int(np.argmax(lost))
                raise ValueError(
                    f"{where}[{key!r}]: targets are divided by {unit}, which for output {k} {dtype} cannot do"
                )

    @cached_property
    def _largest(self) -> dict[str, float]:
        """The number of the largest magnitude in each shift, scale and slope, by its place in the list."""
        last, where = self.layers[-1], f"spec[{len(self.layers)}]"
        numbers = {"spec[0]['shift']": self.shift, "spec[0]['scale']": self.scale}
        numbers |= {
            f"spec[{i}][{layer.act.traits.setting!r}]": (layer.act.slope,)
            for i, layer in enumerate(self.layers, 1)
            if layer.act.slope
        }
        numbers |= {f"{where}['shift']": last.shift, f"{where}['scale']": last.scale}
        return {name: max(values, key=abs) for name, values in numbers.items() if values}

    def to_list(self) -> list[dict[str, Any]]:
        """Return a list of dicts from which this spec can be made again, with names for fastmlp's own activations and
        losses."""
        first: dict[str, Any] = {"n": self.n_in, "act": None}
        _write_affine(first, self)
        entries: list[dict[str, Any]] = []
        for layer in self.layers:
            entry: dict[str, Any] = {"n": layer.n, "act": layer.act.name if layer.act.builtin else layer.act}
            if layer.act.slope is not None:
                entry[layer.act.traits.setting] = layer.act.slope
            if not layer.bias:
                entry["bias"] = False
            if not layer.trainable:
                entry["trainable"] = False
            entries.append(entry)
        _write_affine(entries[-1], self.layers[-1])
        entries[-1]["cost"] = self.loss.name if self.loss.builtin else self.loss
        return [first, *entries]

    def to_json(self) -> str:
        """Return the list of dicts as JSON. A custom activation or loss cannot be written: a ValueError names it."""
        functions: list[Activation | Loss] = [*(layer.act for layer in self.layers), self.loss]
        for function in functions:
            if not function.builtin:
                raise ValueError(f"spec: the custom {function!r} cannot be written as JSON")
        return json.dumps(self.to_list())

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Make a spec from JSON.

        Parameters
        ----------
        text : str
            What `to_json` returned.
        """
        return cls.restored(json.loads(text))

    @classmethod
    def restored(cls, layers: Sequence[Mapping[str, Any]]) -> Spec:
        """Make a spec without warning a second time.

        Parameters
        ----------
        layers : list of dict
            What `to_list` returned.
        """
        spec = cls.__new__(cls)
        spec._set(_parse(layers))
        return spec

    def __len__(self) -> int:
        return len(self.layers) + 1

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # of all layers and their functions: a call of `predict_many` looks its spec up
        return hash(tuple(getattr(self, key) for key in self.__dataclass_fields__))

    def __repr__(self) -> str:
        return f"Spec({self.to_list()!r})"

    def __str__(self) -> str:
        rows = [("layer", "activation", "weights", "biases", "parameters"), ("input", "", "", "", "")]
        for i, (layer, n_below, count) in enumerate(zip(self.layers, self.widths, self._counts(), strict=False), 1):
            biases = str(layer.n) if layer.bias else "none"
            frozen = "" if layer.trainable else " (frozen)"
            rows.append((str(i), layer.act.name + frozen, f"({layer.n}, {n_below})", biases, str(count)))
        width = [max(len(row[k]) for row in rows) for k in range(5)]
        lines = []
        for row in rows:
            cells = [
                cell.ljust(w) if k < 3 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, width, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, f"loss: {self.loss.name}, {self.n_params} parameters"])

    def check_trainable(self) -> None:
        """Raise ValueError where all layers are frozen, so that nothing could be learnt."""
        if self.frozen and not any(layer.trainable for layer in self.layers):
            raise ValueError(
                "all layers are frozen, so that nothing can be learnt; leave 'trainable' out in a layer of the spec, "
                "and give a new fastmlp.MLP of it the old one's params"
            )

    def _counts(self) -> list[int]:
        return [layer.n * (n_below + layer.bias) for layer, n_below in zip(self.layers, self.widths[:-1], strict=True)]


def spec_of(layers: Any) -> Spec:
    """Return ``Spec(layers)``, one object for equal lists: parsing takes as long as an epoch of a small network."""
    if isinstance(layers, Spec):
        return layers
    if not (isinstance(layers, (list, tuple)) and all(map(_may_be_shared, layers))):
        return Spec(layers)
    spec = None
    with suppress(TypeError, ValueError):  # which the parser says again
        spec = _known(tuple(tuple(map(_key, entry.items())) for entry in layers))
    if spec is None:
        return Spec(layers)
    _warn_of_flat_layers(spec.layers)
    return spec


_CONSTANT = frozenset((type(None), bool, int, float, str, Activation, Loss))  # types whose values stay what they are


def _may_be_shared(entry: Any) -> bool:
    """Whether this is a dict of values that stay what they are: arrays, and what turns into one, may be written to."""
    return type(entry) is dict and all(type(value) in _CONSTANT for value in entry.values())


def _key(item: tuple[str, Any]) -> tuple[Any, ...]:
    """A key of a layer's dict and its value, which is the same for no other: 1 equals True, and 0.0 equals -0.0."""
    key, value = item
    return key, value, type(value), str(value) if type(value) is float else ""


@lru_cache(maxsize=64)
def _known(layers: tuple[tuple[tuple[Any, ...], ...], ...]) -> Spec:
    return Spec.restored([{key: value for key, value, *_ in entry} for entry in layers])


def _parse(layers: Any) -> dict[str, Any]:
    """Check a list of layer dicts, and return the fields of a `Spec`."""
    if isinstance(layers, (str, bytes, Mapping)) or not isinstance(layers, Sequence):
        raise TypeError(f"spec must be a list of layer dicts, got {type(layers).__name__}")
    if len(layers) < 2:
        raise ValueError(f"spec needs an input layer and at least one more, got {len(layers)} layers")
    for i, entry in enumerate(layers):
        if not isinstance(entry, Mapping):
            raise TypeError(f"spec[{i}] must be a dict such as {{'n': 10, 'act': 'relu'}}, got {type(entry).__name__}")
        allowed = _KEYS["layer" if i else "input"]
        for key in entry:
            if key in _ELSEWHERE:
                raise ValueError(f"spec[{i}]: unknown key {key!r}; write {_ELSEWHERE[key]}; {DESCRIBE}")
            if key not in allowed:
                raise unknown_name(str(key), allowed, f"spec[{i}]", "key")
        if entry.get("cost") is not None and i < len(layers) - 1:
            raise ValueError(f"spec[{i}]: only the last layer has a cost, got {entry['cost']!r}")
        for key in ("shift", "scale"):
            if entry.get(key) is not None and 0 < i < len(layers) - 1:
                raise ValueError(f"spec[{i}]: only the input and the last layer have a {key}, got {entry[key]!r}")
    n_in = _parse_n(layers[0], 0)
    if layers[0].get("act") is not None and get_activation(layers[0]["act"], "spec[0]['act']") != ACTIVATIONS["linear"]:
        raise ValueError(
            f"spec[0]: the input layer has no activation (act: None), got {layers[0]['act']!r}; "
            "begin with one: {'n': columns of x, 'act': None}"
        )
    where, cost = f"spec[{len(layers) - 1}]", layers[-1].get("cost")
    loss = None if cost is None else get_loss(cost, f"{where}['cost']")
    of_targets = loss is not None and loss.gaussian
    *hidden, last = (
        _parse_layer(entry, i, of_targets and i == len(layers) - 1) for i, entry in enumerate(layers[1:], 1)
    )
    scaled = last.shift is not None or last.scale is not None
    if loss is None:
        loss = LOSSES["mse"] if scaled and last.act.name == "sigmoid" else default_loss(last.act)
    loss.check_output(last.act, last.n)
    if scaled:
        _check_output_affine(last, loss, where)
        last = _scaled_as_targets(last, where) if of_targets else last
    return {
        "n_in": n_in,
        "layers": (*hidden, last),
        "loss": loss,
        "shift": _parse_affine(layers[0], "shift", n_in, 0),
        "scale": _parse_affine(layers[0], "scale", n_in, 0),
    }


def _parse_n(entry: Mapping[str, Any], i: int) -> int:
    """Check and return the number of units of layer i."""
    if "n" not in entry:
        raise ValueError(f"spec[{i}] has no 'n', the number of units")
    n = entry["n"]
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"spec[{i}]['n'] must be a positive integer, got {n!r}")
    if n < 1:
        raise ValueError(f"spec[{i}]['n'] must be a positive integer, got {n}")
    return int(n)


def _parse_layer(entry: Mapping[str, Any], i: int, of_targets: bool = False) -> Layer:
    """Check the dict of layer i, counted from the input, 0, and return the `Layer`. Its shift and scale may be
    ``of_targets``, half as many as outputs."""
    n = _parse_n(entry, i)
    act = get_activation(entry.get("act"), f"spec[{i}]['act']")
    for key, owner in _SETTINGS.items():
        if entry.get(key) is not None:
            if act.traits.setting != key:
                raise ValueError(f"spec[{i}]: {key} belongs to {owner}, this layer is {act.name}")
            act = act.with_slope(_finite(entry[key], f"spec[{i}][{key!r}]"))
    flags = {key: entry.get(key, True) for key in ("bias", "trainable")}
    for key, flag in flags.items():
        if not isinstance(flag, (bool, np.bool_)):
            raise TypeError(f"spec[{i}][{key!r}] must be True or False, got {flag!r}")
    shift, scale = (_parse_affine(entry, key, n, i, of_targets) for key in ("shift", "scale"))
    return Layer(n, act, bool(flags["bias"]), shift, scale, bool(flags["trainable"]))


def _finite(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{where} must be a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{where} must be finite, got {number}")
    return number


def _parse_affine(
    entry: Mapping[str, Any], key: str, n: int, i: int, of_targets: bool = False
) -> tuple[float, ...] | None:
    """Check and return layer i's shift or scale, one number or n, or half of them; None where there is none."""
    if entry.get(key) is None:
        return None
    count = n // 2 if of_targets else n
    where, wanted = f"spec[{i}][{key!r}]", "a number" if count == 1 else f"a number or {count} numbers"
    values = np.asarray(entry[key])
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{where} must be {wanted}, got {entry[key]!r}")
    if values.shape not in ((), (1,), (n,), (count,)):
        raise ValueError(f"{where} must be {wanted}, got shape {values.shape}")
    return tuple(_finite(value, where) for value in np.atleast_1d(values))


def _check_output_affine(last: Layer, loss: Loss, where: str) -> None:
    """Refuse a shift and scale of the last layer if its outputs are not numbers with a unit."""
    key = "shift" if last.shift is not None else "scale"
    if loss.classification or last.act.name == "softmax":
        what = "probabilities" if last.act.name in ("softmax", "sigmoid") else "scores of classes"
        cure = "use another cost, such as mse" if loss.classification else "use another activation"
        raise ValueError(
            f"{where}: {key} is for outputs that are numbers; under {last.act.name} and {loss.name} they are {what}; "
            f"leave it out, or {cure}"
        )
    if loss.logarithmic and last.scale is not None:
        raise ValueError(
            f"{where}: under {loss.name} an output is the logarithm of a count, which has no scale; for counts in "
            "units of c give 'shift': log(c)"
        )
    if min(last.scale or (1.0,)) <= 0:
        raise ValueError(f"{where}['scale'] must be above 0, targets are divided by it, got {min(last.scale or ())}")


def is_of_targets(shift: np.ndarray, scale: np.ndarray) -> bool:
    """Whether the second halves of an output's shift and scale, (n_out,) each, are what follows from the first: where a
    target is divided by c, the logarithm of its variance is smaller by 2 log c."""
    half = len(scale) // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = 2 * np.log(scale[:half])
    return bool(np.all(scale[half:] == 1)) and np.allclose(shift[half:], expected, rtol=1e-5, atol=1e-5)


def _scaled_as_targets(last: Layer, where: str) -> Layer:
    """The last layer under gaussian_nll with a shift and scale of n numbers each, from those of its targets."""
    half = last.n // 2
    shift, scale = np.array(last.shift or 0.0), np.array(last.scale or 1.0)
    sizes = {shift.size, scale.size}
    if last.n in sizes:
        if sizes - {1, last.n} or not is_of_targets(np.broadcast_to(shift, last.n), np.broadcast_to(scale, last.n)):
            raise ValueError(
                f"{where}: under gaussian_nll shift and scale are those of the targets, one number or {half}; as "
                f"{last.n} numbers, those of the logarithms of variances must be 2 log(scale), and 1"
            )
        shift, scale = (np.broadcast_to(vector, last.n)[:half] for vector in (shift, scale))
    shift, scale = np.broadcast_to(shift, half), np.broadcast_to(scale, half)
    shift, scale = np.append(shift, 2 * np.log(scale)), np.append(scale, np.ones(half))
    return replace(last, shift=tuple(shift.tolist()), scale=None if last.scale is None else tuple(scale.tolist()))


def _affine(owner: Spec | Layer, n: int) -> Affine | None:
    """The shift and scale of the input, or of the last layer, as n numbers each; None if there is neither."""
    if owner.shift is None and owner.scale is None:
        return None
    shift, scale = (np.array(values, np.float64) for values in (owner.shift or 0.0, owner.scale or 1.0))
    return np.broadcast_to(shift, n), np.broadcast_to(scale, n)


def _write_affine(entry: dict[str, Any], owner: Spec | Layer) -> None:
    """Put the shift and scale of the input, or of the last layer, into its dict, if it has them."""
    for key, values in (("shift", owner.shift), ("scale", owner.scale)):
        if values is not None:
            entry[key] = values[0] if len(values) == 1 else list(values)


def _warn_of_flat_layers(layers: tuple[Layer, ...]) -> None:
    """Warn of the last layer whose activation has derivative zero: neither it nor any layer below it learns."""
    for i, layer in reversed(list(enumerate(layers, 1))):
        if layer.act.traits.flat:
            warnings.warn(
                f"spec[{i}]: the derivative of {layer.act.name} is zero, so layers 1 to {i} do not train", stacklevel=3
            )
            return
