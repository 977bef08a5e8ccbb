"""ONNX: to_onnx writes a Gemm and an activation for each layer; from_onnx reads any graph that is a plain network.

The activation of a layer in a file may be one node or a formula of ten. It is recognised by its values, not by its
form: it is computed at a few hundred points and compared with every activation of the registry.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..activations import ACTIVATIONS, Activation
from ..base.atomic import write_whole
from ..base.text import refusal
from ..base.version import __version__
from ..losses import Loss
from ..model.mlp import MLP, check_model
from ..model.names import Names, check_labels
from ..spec import Spec
from .chain import Chain, word

__all__ = ["OPSET", "Graph", "from_onnx", "labels_of", "of_classifier", "of_regressor", "to_onnx", "zip_map"]

OPSET, _IR = 17, 8  # of 2022: old enough for the runtimes in use; neither has anything newer that a network needs
_METADATA = "fastmlp"  # the key under which a file has the spec, for its loss and unrounded numbers, and names


class Graph:
    """Nodes and constants of a graph: ``graph.Relu(z)`` adds a node and returns the name of its output."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, values: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, self.dtype), name))
        return name

    def output(self, name: str, tensor: str, shape: Sequence[int], kind: int | None = None) -> onnx.ValueInfoProto:
        """Declare a tensor to be an output of the graph, (batch, *shape), of the graph's dtype or another one."""
        if self.nodes[-1].output[0] == tensor:
            self.nodes[-1].output[0] = name
        else:
            self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        kind = helper.np_dtype_to_tensor_dtype(self.dtype) if kind is None else kind
        return helper.make_tensor_value_info(name, kind, ["batch", *shape])

    def __getattr__(self, op: str) -> Callable[..., str]:
        """Return a function that adds a node with the operator ``op`` and returns the name of its output."""
        if not op[0].isupper():
            raise AttributeError(op)

        def add(*inputs: str | float, **attributes: Any) -> str:
            names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
            output = f"{op.lower()}{len(self.nodes)}"
            self.nodes.append(helper.make_node(op, names, [output], output, **attributes))
            return output

        return add


_ACTIVATIONS: dict[str, Callable[[Graph, str, float | None], str]] = {
    "step": lambda g, z, slope: g.Where(g.GreaterOrEqual(z, 0.0), 1.0, 0.0),
    "linear": lambda g, z, slope: z,
    "sigmoid": lambda g, z, slope: g.Sigmoid(z),
    "tanh": lambda g, z, slope: g.Tanh(z),
    "relu": lambda g, z, slope: g.Relu(z),
    "leaky_relu": lambda g, z, slope: g.LeakyRelu(z, alpha=slope),
    "softmax": lambda g, z, slope: g.Softmax(z, axis=-1),
    "swish": lambda g, z, slope: g.Mul(z, g.Sigmoid(z)),
    "elu": lambda g, z, alpha: g.Elu(z, alpha=alpha),
    "selu": lambda g, z, slope: g.Selu(z),
    "gelu": lambda g, z, slope: g.Mul(g.Mul(z, 0.5), g.Add(g.Erf(g.Mul(z, math.sqrt(0.5))), 1.0)),
    "gelu_tanh": lambda g, z, slope: g.Mul(z, g.Sigmoid(_logit_of_gelu_tanh(g, g.Clip(z, -22.0, 22.0)))),
    "mish": lambda g, z, slope: g.Mul(z, g.Tanh(g.Softplus(z))),
    "softplus": lambda g, z, slope: g.Softplus(z),
    "hard_tanh": lambda g, z, slope: g.Clip(z, -1.0, 1.0),
    "relu6": lambda g, z, slope: g.Clip(z, 0.0, 6.0),
    "hard_sigmoid": lambda g, z, slope: g.HardSigmoid(z, alpha=1 / 6, beta=0.5),
    "hard_swish": lambda g, z, slope: g.HardSwish(z),
    "softsign": lambda g, z, slope: g.Softsign(z),
    "sine": lambda g, z, slope: g.Sin(z),
}
# An attribute is float32 whatever the tensors are, and onnxruntime has some nodes for float32 alone.
_IN_FLOAT64: dict[str, Callable[[Graph, str, float | None], str]] = {
    "leaky_relu": lambda g, z, slope: g.Where(g.Greater(z, 0.0), z, g.Mul(z, slope)),
    "elu": lambda g, z, alpha: g.Where(g.Greater(z, 0.0), z, g.Mul(_expm1_of_negative(g, z), alpha)),
    "selu": lambda g, z, slope: g.Where(
        g.Greater(z, 0.0), g.Mul(z, 1.0507009873554805), g.Mul(_expm1_of_negative(g, z), 1.7580993408473766)
    ),
    "gelu": lambda g, z, slope: _gelu_without_erf(g, z),
    "mish": lambda g, z, slope: g.Mul(z, _tanh_of_softplus(g, z)),
    "hard_sigmoid": lambda g, z, slope: _hard_sigmoid(g, z),
    "hard_swish": lambda g, z, slope: g.Mul(z, _hard_sigmoid(g, z)),
    "softsign": lambda g, z, slope: g.Div(z, g.Add(g.Abs(z), 1.0)),
    "softplus": lambda g, z, slope: g.Add(g.Max(z, 0.0), g.Log(g.Add(g.Exp(g.Neg(g.Abs(z))), 1.0))),
}


def _expm1_of_negative(g: Graph, z: str) -> str:
    return g.Sub(g.Exp(g.Min(z, 0.0)), 1.0)


def _hard_sigmoid(g: Graph, z: str) -> str:
    return g.Div(g.Add(g.Clip(z, -3.0, 3.0), 3.0), 6.0)


def _logit_of_gelu_tanh(g: Graph, z: str) -> str:
    """Add √(8/π) (z + 0.044715 z³), whose sigmoid, times z, is the activation."""
    slope = math.sqrt(8 / math.pi)
    return g.Mul(z, g.Add(g.Mul(g.Mul(z, z), 0.044715 * slope), slope))


def _tanh_of_softplus(g: Graph, z: str) -> str:
    """Add tanh(log(1 + eᶻ)) as a quotient in e⁻ᶻ or eᶻ, whichever is at most 1."""
    e, positive = g.Exp(g.Neg(g.Abs(z))), g.GreaterOrEqual(z, 0.0)
    p = g.Where(positive, g.Add(g.Mul(e, 2.0), 1.0), g.Mul(e, g.Add(e, 2.0)))
    q = g.Where(positive, g.Mul(g.Mul(e, e), 2.0), 2.0)
    return g.Div(p, g.Add(p, q))


def _gelu_without_erf(g: Graph, z: str) -> str:
    """Add z times half of erfc(-z/√2), exact to 3e-15.

    With u > 0, erfc(u) is exp(-u²) times a function that is smooth in t = 1/(1 + u/2), here a polynomial up to u = 10.
    What it is behind that makes no difference to so small a number, and behind 28 exp(-u²) is 0.
    """
    u = g.Min(g.Mul(g.Abs(z), math.sqrt(0.5)), 28.0)
    t = g.Sub(g.Div(1 / _HALF, g.Add(g.Mul(u, 0.5), 1.0)), _MIDDLE / _HALF)
    highest, *coefficients = _erfc_polynomial()[::-1]
    value = g.constant(highest)
    for coefficient in coefficients:
        value = g.Add(g.Mul(value, t), float(coefficient))
    tail = g.Mul(g.Mul(value, g.Exp(g.Neg(g.Mul(u, u)))), 0.5)
    return g.Mul(z, g.Where(g.Greater(z, 0.0), g.Sub(1.0, tail), tail))


_MIDDLE, _HALF = (1 + 1 / 6) / 2, (1 - 1 / 6) / 2  # of the interval of t: 1 at u = 0, 1/6 at u = 10


@cache
def _erfc_polynomial() -> np.ndarray:
    """Coefficients, the lowest first, of exp(u²) erfc(u) as a polynomial in t, moved to [-1, 1]."""

    def smooth(t: np.ndarray) -> np.ndarray:
        u = 2 / (_HALF * t + _MIDDLE) - 2
        return np.exp(u * u) * np.vectorize(math.erfc)(u)

    return np.polynomial.Chebyshev.interpolate(smooth, 18).convert(kind=np.polynomial.Polynomial).coef


def to_onnx(model: Any, path: str | os.PathLike[str], *, note: str = "", zipmap: bool | None = None) -> None:
    """Write a network, or a fitted estimator, as an ONNX file, for onnxruntime and other programs that read ONNX.

    A network's graph has one input ``x``, (batch, n_in), and one output ``y``, (batch, n_out), with any number of
    samples; both have the model's dtype (for ``uint8`` data give ``x.astype("float32")``). Shift and scale are in the
    graph; the loss and the names of classes and columns are in the file's metadata, for `from_onnx`. Opset 17.

    Parameters
    ----------
    model : MLP, or an estimator
        Estimators that `from_sklearn` takes are written as skl2onnx would: the input is ``X``; a classifier's outputs
        are ``output_label``, (batch,), with the labels that it was fitted to, and ``output_probability``; a regressor's
        output is ``variable``, (batch, n_out), the result of its ``predict``.
    path : str or path
        The file.
    note : str
        Information for readers of the file, such as what the inputs are: its ``doc_string``.
    zipmap : bool, optional
        For a classifier: whether the probabilities are a dict for each sample, by label, as by skl2onnx's default, or a
        tensor, (batch, n_classes). True when left out.

    Raises
    ------
    ValueError
        For a custom activation, for an estimator that is no network, and for zipmap without classes.

    Examples
    --------
    >>> import fastmlp, pathlib, tempfile
    >>> model = fastmlp.MLP([{"n": 4, "act": None}, {"n": 16, "act": "relu"}, {"n": 3, "act": "softmax"}], seed=0)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "net.onnx"
    >>> fastmlp.interop.to_onnx(model, path)
    >>> fastmlp.interop.from_onnx(path) == model
    True
    """
    estimator = None if isinstance(model, MLP) or not hasattr(model, "get_params") else model
    if estimator is not None:
        from .sklearn import from_sklearn

        model = from_sklearn(estimator)
    check_model(model)
    classes = getattr(estimator, "classes_", None)
    if zipmap is not None and classes is None:
        raise ValueError(f"zipmap is for estimators with classes, {type(estimator or model).__name__} has none")
    g = Graph(model.dtype)
    if estimator is None:
        begin, ends = "x", [g.output("y", _network(g, model, "x"), [model.spec.n_out])]
    else:
        begin = "X"
        if classes is None:
            ends = [g.output("variable", of_regressor(g, model, "X"), [model.spec.n_out])]
        else:
            ends = _labelled(g, model, np.asarray(classes), zipmap is not False)
    real = helper.np_dtype_to_tensor_dtype(model.dtype)
    begins = [helper.make_tensor_value_info(begin, real, ["batch", model.spec.n_in])]
    graph = helper.make_graph(g.nodes, "network", begins, ends, g.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    if any(node.domain for node in g.nodes):
        opsets.append(helper.make_opsetid("ai.onnx.ml", 1))
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
    proto.producer_name, proto.producer_version, proto.doc_string = "fastmlp", __version__, note
    entries = model.spec.to_list()
    if not model.spec.loss.builtin:
        del entries[-1]["cost"]
    helper.set_model_props(proto, {_METADATA: json.dumps({"spec": entries, **model._names.described()})})
    onnx.checker.check_model(proto)
    write_whole(Path(path), proto.SerializeToString())


def _network(g: Graph, model: MLP, a: str) -> str:
    """Add a network's nodes after the input ``a``; return the name of its outputs."""
    if model.spec.shift is not None:
        a = g.Sub(a, g.constant(model.spec.shift))
    if model.spec.scale is not None:
        a = g.Mul(a, g.constant(model.spec.scale))
    for layer, weights, biases in zip(model.spec.layers, model.weights, model.biases, strict=True):
        form = word(_ACTIVATIONS, layer.act, "ONNX")
        if g.dtype == np.float64:
            form = _IN_FLOAT64.get(layer.act.name, form)
        parameters = [weights, biases] if layer.bias else [weights]
        a = form(g, g.Gemm(a, *map(g.constant, parameters), transB=1), layer.act.slope)
    last = model.spec.layers[-1]
    if last.shift is not None or last.scale is not None:
        a = g.Add(g.Mul(a, g.constant(last.scale or 1.0)), g.constant(last.shift or 0.0))
    return a


def of_regressor(g: Graph, model: MLP, begin: str) -> str:
    """Add a network and the nodes that turn its outputs into a regressor's predictions; return their name."""
    outputs = _network(g, model, begin)
    return g.Exp(outputs) if model.spec.loss.name == "poisson" else outputs


def labels_of(classes: np.ndarray) -> list[str] | list[int]:
    """Return a classifier's labels in a form that ONNX has: integers, or else text."""
    if classes.dtype.kind in "fb" and np.all(classes == classes.astype(np.int64)):
        classes = classes.astype(np.int64)
    if classes.dtype.kind in "iu":
        return [int(label) for label in classes]
    return [str(label) for label in classes]


def of_classifier(g: Graph, model: MLP, begin: str, labels: list[str] | list[int]) -> tuple[str, str]:
    """Add a network and the nodes for labels and probabilities, or scores; return their names."""
    outputs = _network(g, model, begin)
    if _has_many_labels(model):
        return g.Cast(g.Greater(outputs, 0.5), to=TensorProto.INT64), outputs
    if model.spec.n_out == 1:
        outputs = g.Concat(g.Sub(1.0, outputs), outputs, axis=1)
    texts = [label.encode() if isinstance(label, str) else label for label in labels]
    g.constants.append(helper.make_tensor("classes", _kind(labels), [len(labels)], texts))
    return g.Gather("classes", g.ArgMax(outputs, axis=1, keepdims=0)), outputs


def zip_map(g: Graph, outputs: str, name: str, labels: list[str] | list[int]) -> None:
    """Add a node that turns probabilities into a dict for each sample, by label."""
    if g.dtype != np.float32:
        outputs = g.Cast(outputs, to=TensorProto.FLOAT)  # a ZipMap takes nothing else
    keys = {"classlabels_strings" if _kind(labels) == TensorProto.STRING else "classlabels_int64s": labels}
    g.nodes.append(helper.make_node("ZipMap", [outputs], [name], domain="ai.onnx.ml", **keys))


def _has_many_labels(model: MLP) -> bool:
    return model.spec.multilabel and model.spec.n_out > 1


def _kind(labels: list[str] | list[int]) -> int:
    return TensorProto.STRING if isinstance(labels[0], str) else TensorProto.INT64


def _labelled(g: Graph, model: MLP, classes: np.ndarray, zipmap: bool) -> list[onnx.ValueInfoProto]:
    """Add a classifier, and return its two outputs, the second as a tensor or as dicts."""
    labels = labels_of(classes)
    label, outputs = of_classifier(g, model, "X", labels)
    kind, shape = (TensorProto.INT64, [len(labels)]) if _has_many_labels(model) else (_kind(labels), [])
    ends = [g.output("output_label", label, shape, kind)]
    if not zipmap:
        return [*ends, g.output("output_probability", outputs, [len(labels)])]
    zip_map(g, outputs, "output_probability", labels)
    key = _kind(labels)
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    dicts = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
    return [*ends, helper.make_value_info("output_probability", dicts)]


# Nodes that compute each number from numbers at its place: what activations are made of.
_ELEMENTWISE = """
Abs Add And Cast Celu Clip Cos Div Elu Equal Erf Exp Gelu Greater GreaterOrEqual HardSigmoid HardSwish LeakyRelu Less
LessOrEqual Log Max Min Mish Mul Neg Not Or PRelu Pow Reciprocal Relu Selu Sigmoid Sign Sin Softmax Softplus Softsign
Sqrt Sub Swish Tanh ThresholdedRelu Where
"""
_FOLDED = {"Cast", "Constant", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}  # no constant grows by these
_FOLDED_SMALL = {"Concat", "Gather", "Slice"}  # what shapes are made of
_SMALL = 64  # numbers that these may take
_LOGICAL = "And Equal Greater GreaterOrEqual Less LessOrEqual Not Or"
_NUMBERS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
_REAL = (TensorProto.FLOAT, TensorProto.DOUBLE)
_SHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_WIDEST = 1000  # between the bounds of a Clip that is scaled; some exporters write the largest number for none
_MOST_STEPS = 8  # that are looked at for folding, at either end of a formula
_POINTS = np.concatenate([np.linspace(-30, 30, 121), [-1e3, -0.1, -1e-3, 1e-3, 0.1, 1e3]])


def from_onnx(path: str | os.PathLike[str], *, loss: str | Loss | None = None) -> MLP:
    """Read a network from an ONNX file that `to_onnx` wrote, or another exporter of plain networks.

    The graph must be a chain: optionally a shift and scale of the input and of the outputs; products with weights
    (Gemm, MatMul) and sums with biases; between them fastmlp's activations, as nodes or as formulas, which are
    recognised by their values. BatchNormalization, and other additions and multiplications, are folded into the
    weights, or become shift and scale of the last layer. Casts, Dropout, Flatten, Identity, Reshape and Squeeze are
    left out if they change no number.

    If there are several outputs, the one that is a tensor of floats is read, or the input of a ZipMap; of two columns
    1 - p and p, p is read. A LogSoftmax at the end is read as softmax. An Exp at the end is left out: the network then
    predicts the logarithm of a count, under the loss "poisson".

    Parameters
    ----------
    path : str or path
        The file.
    loss : str or Loss, optional
        The loss for further training; when left out, what `to_onnx` stored, else the default of the output activation.

    Raises
    ------
    ValueError
        For any other graph; the message names the file and the node, or what else is wrong. The file is only data:
        nothing is run except arithmetic on arrays of the sizes that it contains.
    """
    proto = _read(Path(path))
    try:
        spec, stored = _metadata(proto)
        reader = _Reader(proto)
        with np.errstate(all="ignore"):  # what is not finite is found and named
            chain = reader.chain()
            if loss is None and spec is None and reader.counts:
                loss = "poisson"
            model = chain.model(loss, spec)
        has_classes = model.spec.multilabel or model.spec.one_of_many  # the loss may be another
        model._names = Names.restored(stored if has_classes else {**stored, "class_names": None}, model.spec)
        if has_classes and model.class_names is None:
            labels = reader.class_names()
            if labels is not None and len(labels) == max(2, model.spec.n_out):
                model._names = model._names._replace(labels=check_labels(labels, model.spec))
    except ValueError as error:
        raise refusal(path, error) from error
    return model


def _read(path: Path) -> onnx.ModelProto:
    """Read a file, with data that it keeps in other files; a ValueError if it is not valid ONNX."""
    content = path.read_bytes()
    try:
        proto = onnx.load_model_from_string(content)
        onnx.load_external_data_for_model(proto, str(path.parent))
        onnx.checker.check_model(proto)
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise refusal(path, f"is not a valid ONNX file: {error}") from error
    return proto


def _metadata(proto: onnx.ModelProto) -> tuple[Spec | None, dict[str, Any]]:
    """Return the spec that `to_onnx` stored, or None, and the document that contains it and the names."""
    for entry in proto.metadata_props:
        if entry.key == _METADATA:
            try:
                document = json.loads(entry.value)
                names = document["class_names"]
                if names is not None and not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
                    raise TypeError("class_names are no list of strings")
                return Spec.restored(document["spec"]), document
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise ValueError(f"the metadata {_METADATA!r} is not what to_onnx writes: {error}") from error
    return None, {}


class _Reader:
    """Walks a graph from its input to its output; between two products it gathers the formula of an activation."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._proto, self._graph = proto, proto.graph
        if self._graph.sparse_initializer:
            raise ValueError("it has sparse initializers")
        self._initializers = {tensor.name: tensor for tensor in self._graph.initializer}
        self._constants: dict[str, np.ndarray] = {}
        inputs = [value for value in self._graph.input if value.name not in self._initializers]
        if len(inputs) != 1:
            raise ValueError(f"it has {len(inputs)} inputs ({', '.join(v.name for v in inputs)}); a network has one")
        self._input = inputs[0]
        self._chain = Chain()
        self._alias: dict[str, str] = {}
        self._base = self._input.name  # the tensor behind the last product or sum
        self._formula: dict[str, onnx.NodeProto] = {}  # the nodes since then, by their outputs
        self._nodes = [node for node in self._graph.node if node.domain in ("", "ai.onnx", "ai.onnx.ml")]
        self._maker = {name: node for node in self._nodes for name in node.output}
        self._flat = self._squeezed = False
        self._end = ""
        self.counts = False  # whether the graph ends in an exponential
        self._shapes: set[str] = set()  # the constants that are made of shapes
        self._room = 16 * proto.ByteSize()  # bytes that constants may still become

    def chain(self) -> Chain:
        """Return the graph as a chain of layers."""
        output, is_pair = self._output()
        self._end = output
        nodes = self._needed(output)
        names = {name for node in nodes for name in node.input}
        self._constants = {name: _array(tensor) for name, tensor in self._initializers.items() if name in names}
        for node in nodes:
            for part in self._parts(node):
                self._read(part)
        self._close(self._alias.get(output, output))
        self._check_input()
        if is_pair and self._chain.begun and self._chain.width != 1:
            raise ValueError(
                f"{_where(self._maker[output])} has {self._chain.width} columns, which are joined with others"
            )
        return self._chain

    def _output(self) -> tuple[str, bool]:
        """Return the name of the tensor that is a network's output, and whether the graph also outputs 1 minus it.

        If there are several outputs, that is the one tensor of floats, or the input of a ZipMap; of two columns, 1 - p
        and p, it is p; before a last LogSoftmax, it is the softmax.
        """
        values = self._graph.output
        names = [value.name for value in values if value.type.tensor_type.elem_type in _REAL]
        if not names:
            makers = [self._maker.get(value.name) for value in values]
            names = [node.input[0] for node in makers if node is not None and node.op_type == "ZipMap"]
        if len(names) != 1:
            raise ValueError(f"it has {len(names)} outputs that are tensors of floats; a network has one")
        node = self._maker.get(names[0])
        while node is not None and node.op_type in ("Cast", "Identity"):
            maker = self._maker.get(node.input[0])
            if maker is not None and maker.op_type in _LOGICAL.split():
                break
            names, node = list(node.input), maker
        if node is not None and node.op_type == "Concat" and len(node.input) == 2:
            rest, p = self._maker.get(node.input[0]), node.input[1]
            if rest is not None and rest.op_type == "Sub" and rest.input[1] == p:
                one = self._stated(rest.input[0])
                if one is not None and np.all(one == 1) and _attributes(node).get("axis") in (1, -1):
                    return p, True
        return names[0], False

    def _stated(self, name: str) -> np.ndarray | None:
        """Return the value of an initializer or a Constant node; None for other tensors."""
        if name in self._initializers:
            return _array(self._initializers[name])
        node = self._maker.get(name)
        if node is None or node.op_type != "Constant":
            return None
        attributes = _attributes(node)
        return _array(attributes["value"]) if "value" in attributes else np.array(attributes.get("value_float", np.nan))

    def class_names(self) -> np.ndarray | None:
        """Return the classes of a ZipMap, or of the node that picks the label; None without both."""
        for node in self._nodes:
            attributes = _attributes(node)
            if node.op_type == "ZipMap":
                labels = attributes.get("classlabels_strings") or attributes.get("classlabels_int64s")
            elif node.op_type in ("ArrayFeatureExtractor", "Gather") and self._picks_a_label(node):
                labels = numpy_helper.to_array(self._initializers[node.input[0]]).ravel().tolist()
            else:
                continue
            return np.array([label.decode() if isinstance(label, bytes) else label for label in labels or ()])
        return None

    def _picks_a_label(self, node: onnx.NodeProto) -> bool:
        """Whether a node picks from a constant the entry at the place of the largest output."""
        maker = self._maker.get(node.input[1])
        return node.input[0] in self._initializers and maker is not None and maker.op_type == "ArgMax"

    def _needed(self, output: str) -> list[onnx.NodeProto]:
        """Return the nodes that the output depends on, in their order.

        A last LogSoftmax becomes Softmax. A last Exp is left out, because networks of counts predict the logarithm.
        """
        names, nodes = {output}, []
        for node in reversed(self._graph.node):
            if names.intersection(node.output):
                names.update(node.input)
                nodes.append(node)
        if nodes and nodes[0].op_type == "LogSoftmax":
            nodes[0] = _copy(nodes[0], "Softmax")
        elif nodes and nodes[0].op_type == "Exp":
            nodes[0], self.counts = _copy(nodes[0], "Identity"), True
        return nodes[::-1]

    def _parts(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return simpler nodes that are equivalent to a node, whose additions and multiplications can be folded."""
        attributes, where = _attributes(node), _where(node)
        if node.domain not in ("", "ai.onnx"):
            return [node]
        if node.op_type == "BatchNormalization":
            values = [self._constants[name] for name in node.input[1:] if name in self._constants]
            if attributes.get("training_mode") or len([name for name in node.output if name]) > 1:
                raise ValueError(f"{where} normalises by each batch's own mean and variance: it is set to training")
            if len(values) != 4:
                raise ValueError(f"{where} has statistics that are not constants")
            if len({array.size for array in values}) > 1:
                raise ValueError(f"{where} has scales, shifts, means and variances of different lengths")
            gamma, beta, mean, variance = values
            if np.any(variance < 0):
                raise ValueError(f"{where} has a variance below 0")
            factor = gamma / np.sqrt(variance.astype(np.float64) + attributes.get("epsilon", 1e-5))
            steps: list[tuple[Any, ...]] = [("Sub", mean), ("Mul", factor.astype(gamma.dtype)), ("Add", beta)]
        elif node.op_type == "HardSigmoid":
            alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
            slope = float(np.float32(alpha * 6))  # attributes are float32
            steps = [("Mul", slope), ("Add", beta * 6 - 3), ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5})]
        elif node.op_type == "Celu":
            alpha = attributes.get("alpha", 1.0)
            steps = [("Div", alpha), ("Elu", {"alpha": 1.0}), ("Mul", alpha)]
        elif node.op_type == "Selu":
            alpha, gamma = attributes.get("alpha", 1.67326319217681884), attributes.get("gamma", 1.05070102214813232)
            steps = [("Elu", {"alpha": alpha}), ("Mul", gamma)]
        elif node.op_type == "Clip":
            low, high = self._bounds(node)
            if low is None or high is None or not 0 < high - low < _WIDEST or (low, high) == (-1, 1):
                return [node]
            half = (high - low) / 2
            steps = [
                ("Sub", low + half),
                ("Div", half),
                ("Max", -1.0),
                ("Min", 1.0),
                ("Mul", half),
                ("Add", low + half),
            ]
        else:
            return [node]
        return self._steps(node, steps)

    def _bounds(self, node: onnx.NodeProto) -> tuple[float | None, float | None]:
        """Return the bounds of a Clip, in both ways to write it; None for a bound that is missing or not constant."""
        attributes = _attributes(node)
        bounds = [attributes.get(key) for key in ("min", "max")]
        for i, name in enumerate(node.input[1:3]):
            value = self._constants.get(name)
            bounds[i] = value.item() if value is not None and value.size == 1 else None
        return bounds[0], bounds[1]

    def _steps(self, node: onnx.NodeProto, steps: Sequence[tuple[Any, ...]]) -> list[onnx.NodeProto]:
        """Return nodes, one after another, for these steps: (operator, its constant or its attributes)."""
        name, nodes, dtype = node.input[0], [], self._dtype
        idle = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}
        steps = [(op, value) for op, value in steps if isinstance(value, dict) or np.any(value != idle.get(op))]
        for i, (op, value) in enumerate(steps):
            inputs = [name]
            if not isinstance(value, dict):
                inputs.append(f"{node.output[0]}/{i}")
                self._constants[inputs[1]] = np.asarray(value, dtype)
            name = node.output[0] if i == len(steps) - 1 else f"{node.output[0]}/{i}/{op}"
            attributes = value if isinstance(value, dict) else {}
            nodes.append(helper.make_node(op, inputs, [name], node.name or f"of {node.op_type}", **attributes))
        return nodes

    @property
    def _dtype(self) -> np.dtype:
        """The dtype of the graph's floats."""
        if self._chain.begun:
            return self._chain.dtype
        kind = self._input.type.tensor_type.elem_type
        return np.dtype(np.float64 if kind == TensorProto.DOUBLE else np.float32)

    def _read(self, node: onnx.NodeProto) -> None:
        """Add the next node to the constants, the chain, or the formula of the next activation."""
        where = _where(node)
        if node.op_type not in _KNOWN or node.domain not in ("", "ai.onnx", *_ML.get(node.op_type, ())):
            raise ValueError(f"{where} has no place in a fully connected network")
        inputs = [self._alias.get(name, name) for name in node.input]
        data = [name for name in inputs if name and name not in self._constants]
        if not data:
            self._fold(node, inputs, where)
            return
        if self._shapes.intersection(inputs) and node.op_type != "Reshape":
            raise ValueError(f"{where} computes with the shape of its data")
        for name in data:
            if name != self._base and name not in self._formula:
                raise ValueError(f"{where} takes up {name!r} again, from further back; a network has no branches")
        reader = _READERS.get(node.op_type)
        if reader is None or not reader(self, node, inputs, where):
            if node.op_type not in _ELEMENTWISE.split():
                raise ValueError(f"{where} has no place in a fully connected network")
            node = _renamed(node, inputs)
            self._formula[node.output[0]] = node

    def _fold(self, node: onnx.NodeProto, inputs: Sequence[str], where: str) -> None:
        """Compute a node whose inputs are constants, and keep the result as a constant."""
        is_small = sum(self._constants[name].size for name in inputs if name) <= _SMALL
        if node.op_type not in _FOLDED and not (is_small and node.op_type in _FOLDED_SMALL):
            raise ValueError(f"{where} computes with constants alone; simplify the file first")
        if self._shapes.intersection(inputs):
            self._shapes.add(node.output[0])
        values = self._run([_renamed(node, inputs)], node.output[0], {}, where)
        self._room -= values.nbytes
        if self._room < 0:
            raise ValueError(f"{where} and those before it make more of the constants than networks need")
        self._constants[node.output[0]] = values

    def _run(self, nodes: list[onnx.NodeProto], output: str, feeds: dict[str, np.ndarray], where: str) -> np.ndarray:
        """Return what some nodes compute from the constants and from ``feeds``, arrays by name."""
        names = {name for node in nodes for name in node.input} & self._constants.keys()
        constants = [numpy_helper.from_array(self._constants[name], name) for name in names]
        begins = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), None)
            for name, array in feeds.items()
        ]
        graph = helper.make_graph(nodes, "nodes", begins, [helper.make_empty_tensor_value_info(output)], constants)
        opsets = [opset for opset in self._proto.opset_import if opset.domain in ("", "ai.onnx")]
        try:
            proto = helper.make_model(graph, opset_imports=opsets, ir_version=self._proto.ir_version)
            return np.asarray(ReferenceEvaluator(proto).run([output], feeds)[0])
        except Exception as error:  # the evaluator raises whatever NumPy and its own code do for wrong attributes
            raise ValueError(f"{where} cannot be computed: {error}") from error

    def _product(self, node: onnx.NodeProto, inputs: Sequence[str], where: str) -> bool:
        """Read a Gemm or MatMul as a layer."""
        attributes = _attributes(node)
        if self._squeezed:
            raise ValueError(f"{where} multiplies what a Squeeze made one number a sample of")
        if inputs[0] in self._constants or any(name not in self._constants for name in inputs[1:] if name):
            raise ValueError(f"{where} does not multiply by constants from the right")
        weights = self._constants[inputs[1]]
        if weights.ndim == 1 and node.op_type == "MatMul":
            weights, self._squeezed = weights[:, None], True
        if weights.ndim != 2 or attributes.get("transA", 0):
            raise ValueError(f"{where} is no product with a constant matrix")
        weights = weights * weights.dtype.type(attributes.get("alpha", 1.0))  # integers stay what they are: refused
        weights = weights if attributes.get("transB", 0) else weights.T
        biases = None
        if len(inputs) > 2 and inputs[2]:
            biases = self._row(self._constants[inputs[2]], len(weights), where) * attributes.get("beta", 1.0)
        self._close(inputs[0])
        self._chain.dense(weights, biases, where)
        self._base, self._formula = node.output[0], {}
        return True

    def _row(self, values: np.ndarray, n: int, where: str) -> np.ndarray:
        """Return a constant that broadcasts to rows of n numbers as one row, (n,)."""
        if values.size not in (1, n) or values.size != max(values.shape[-1:], default=1):
            raise ValueError(f"{where} has constants of shape {values.shape}, where {n} outputs are")
        return np.broadcast_to(values.ravel(), n)

    def _arithmetic(self, node: onnx.NodeProto, inputs: Sequence[str], where: str) -> bool:
        """Read a shift or scale of the inputs; False after the first layer, and for other formulas."""
        if self._chain.begun or self._base not in inputs:
            return False
        step = self._affine(_renamed(node, inputs))
        if step is None:
            return False
        self._fold_in(step, where)
        self._base = node.output[0]
        return True

    def _affine(self, node: onnx.NodeProto) -> tuple[str, list[tuple[str, np.ndarray]]] | None:
        """Return the summand or factor that a node applies to one tensor, and the tensor's name; None for other
        nodes."""
        if node.op_type == "Neg":
            return node.input[0], [("multiply", np.array(-1.0))]
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(node.input) != 2:
            return None
        first, second = node.input
        if (first in self._constants) == (second in self._constants):
            return None
        name, constant = (second, first) if first in self._constants else (first, second)
        values = self._constants[constant].astype(np.float64)
        if values.size != max(values.shape[-1:], default=1):
            return None  # a number a sample, not a number an input
        if node.op_type == "Add":
            return name, [("add", values)]
        if node.op_type == "Mul":
            return name, [("multiply", values)]
        if node.op_type == "Sub":
            return name, [("add", -values)] if name == first else [("multiply", np.array(-1.0)), ("add", values)]
        return (name, [("multiply", 1 / values)]) if name == first and values.all() else None

    def _fold_in(self, step: tuple[str, list[tuple[str, np.ndarray]]], where: str) -> None:
        for method, values in step[1]:
            getattr(self._chain, method)(values, where)

    def _scaler(self, node: onnx.NodeProto, inputs: Sequence[str], where: str) -> bool:
        """Read skl2onnx's form of a StandardScaler as shift and scale; False if it is not on the inputs."""
        if inputs[0] != self._base:
            return False
        attributes = _attributes(node)
        self._chain.add(-np.array(attributes.get("offset", 0.0)), where)
        self._chain.multiply(attributes.get("scale", 1.0), where)
        self._base = node.output[0]
        return True

    def _passed(self, node: onnx.NodeProto, inputs: Sequence[str], where: str) -> bool:
        """Skip a node that changes no number in a network's rows; False for any other node."""
        constants = [self._constants.get(name) for name in inputs[1:]]
        if node.op_type == "Cast" and not (_attributes(node)["to"] in _REAL and self._is_real(inputs[0])):
            return False
        if node.op_type == "Dropout" and len(inputs) > 2 and (constants[1] is None or constants[1].any()):
            return False
        if node.op_type in _SHAPES and not self._keeps_rows(node, constants[0] if constants else None):
            return False
        self._alias[node.output[0]] = inputs[0]
        return True

    def _is_real(self, name: str) -> bool:
        """Whether a tensor holds floats, not truth values or integers."""
        node = self._formula.get(name)
        return node is None or node.op_type not in {"Cast", *_LOGICAL.split()}

    def _shape(self, node: onnx.NodeProto, inputs: Sequence[str], where: str) -> bool:
        """Read the shape of the rows as a constant, with 0 for their number, as in Reshape."""
        if len(self._input.type.tensor_type.shape.dim) > 2 and not self._flat:
            rest = [dim.dim_value for dim in self._input.type.tensor_type.shape.dim[1:]]
        else:
            rest = [] if self._squeezed else [self._chain.width if self._chain.begun else self._n_declared or 0]
        attributes, shape = _attributes(node), [max(self._n_samples, 0), *rest]
        chosen = shape[attributes.get("start", 0) : attributes.get("end")]
        self._constants[node.output[0]] = np.array(chosen, np.int64)
        self._shapes.add(node.output[0])
        return True

    def _keeps_rows(self, node: onnx.NodeProto, constant: np.ndarray | None) -> bool:
        """Whether a node that changes shapes keeps one row for each sample, or one number of rows of one."""
        width = self._chain.width if self._chain.begun else self._n_declared
        attributes = _attributes(node)
        if node.op_type == "Flatten":
            self._flat = self._flat or attributes.get("axis", 1) == 1
            return attributes.get("axis", 1) == 1
        if node.op_type in ("Squeeze", "Unsqueeze"):
            axes = attributes.get("axes", None if constant is None else constant.ravel().tolist())
            if width != 1 or not self._chain.begun or axes not in ([1], [-1], None):
                return False
            self._squeezed = node.op_type == "Squeeze"
            return True
        if constant is None:
            return False
        shape = constant.ravel().tolist()
        if shape == [-1, 1] and node.output[0] == self._end:
            return True  # skl2onnx writes the outputs of a regression below each other, however many there are
        if shape == [-1] and width == 1 and self._chain.begun:
            self._squeezed = True
            return True
        all_samples = {-1, self._n_samples} | (set() if attributes.get("allowzero", 0) else {0})
        if len(shape) != 2 or shape[0] not in all_samples or shape[1] not in (width, -1) or shape == [-1, -1]:
            return False
        self._flat, self._squeezed = True, False
        return True

    def _close(self, end: str) -> None:
        """Give the last layer the activation that the formula up to ``end`` computes, with its additions and products.

        The whole formula may be an activation. If it is not, or if it is the same activation without them, the steps
        at its beginning and end that add or multiply are folded into the weights of this layer and the next one, or
        become the last layer's shift and scale.
        """
        if end == self._base:
            return
        if end not in self._formula:
            raise ValueError(f"{end!r} does not depend on the input")
        nodes = list(self._formula.values())
        where = ", ".join(map(_where, nodes[:4])) + (", …" if len(nodes) > 4 else "")
        if not self._chain.begun:
            raise ValueError(f"{where} comes before the first layer")
        before, after = self._peel(nodes, self._base, end)
        found: tuple[int, int, Activation, float] | None = None
        for n_before, n_after in sorted(itertools.product(range(len(before) + 1), range(len(after) + 1)), key=sum):
            if n_before + n_after > len(nodes) or (found and (n_before < found[0] or n_after < found[1])):
                continue
            core = nodes[n_before : len(nodes) - n_after]
            begin = nodes[n_before - 1].output[0] if n_before else self._base
            recognised = self._recognised(core, begin, where)
            if recognised and (found is None or recognised[0].name == found[2].name):
                found = n_before, n_after, *recognised
        if found is None:
            raise ValueError(f"{where} is none of the activations that fastmlp has")
        n_before, n_after, activation, scale = found
        for step, node in zip(before[:n_before], nodes, strict=False):
            self._fold_in(step, _where(node))
        if scale != 1:
            self._chain.multiply(scale, where)
        self._chain.activate(activation, where)
        if scale != 1:
            self._chain.multiply(1 / scale, where)
        for step, node in zip(after[:n_after][::-1], nodes[len(nodes) - n_after :], strict=True):
            self._fold_in(step, _where(node))

    def _peel(self, nodes: list[onnx.NodeProto], base: str, end: str) -> tuple[list[Any], list[Any]]:
        """Return the steps that only add or multiply at a formula's beginning, and, last first, at its end."""
        uses = Counter(name for node in nodes for name in node.input)
        before: list[Any] = []
        for node in nodes[:_MOST_STEPS]:
            step = self._affine(node)
            if step is None or step[0] != base or uses[base] > 1:
                break
            before.append(step)
            base = node.output[0]
        after: list[Any] = []
        for node in nodes[: -_MOST_STEPS - 1 : -1]:
            step = self._affine(node)
            if step is None or node.output[0] != end or uses[step[0]] > 1:
                break
            after.append(step)
            end = step[0]
        return before, after

    def _recognised(self, nodes: list[onnx.NodeProto], begin: str, where: str) -> tuple[Activation, float] | None:
        """Return f and k such that the nodes compute f(k z) / k of the tensor z where they begin."""
        if not nodes:
            return ACTIVATIONS["linear"], 1.0
        width = self._chain.width
        for name in {name for node in nodes for name in node.input} & self._constants.keys():
            self._row(self._constants[name], width, where)
        n = len(_POINTS)
        z = _POINTS[(np.arange(n)[:, None] + np.arange(width)) % n].astype(self._chain.dtype)
        values = self._run(nodes, nodes[-1].output[0], {begin: z}, where)
        if values.shape != z.shape or values.dtype.kind != "f":
            return None
        far = ~np.isfinite(values) & (np.abs(z) > 30)  # a naive formula overflows there

        def at(point: float) -> float:
            return float(values[z == np.asarray(point, z.dtype)][0])

        for activation, scale in _candidates(at):
            expected = activation(z.astype(np.float64) * scale) / scale
            if np.all(far | (np.abs(values - expected) <= 1e-5 * (1 + np.abs(expected)))):
                return activation, scale
        return None

    @property
    def _n_samples(self) -> int:
        """The number of samples that the graph declares; -1 if it declares none."""
        dims = self._input.type.tensor_type.shape.dim[:1]
        return dims[0].dim_value if dims and dims[0].dim_value else -1

    @property
    def _n_declared(self) -> int | None:
        """The number of inputs that the graph declares; None if it declares none."""
        dims = self._input.type.tensor_type.shape.dim[1:]
        return math.prod(dim.dim_value for dim in dims) if dims and all(dim.dim_value for dim in dims) else None

    def _check_input(self) -> None:
        rank = len(self._input.type.tensor_type.shape.dim)
        if rank > 2 and not self._flat:
            raise ValueError(f"its input has {rank} axes and is not flattened")
        if self._chain.begun and self._n_declared not in (None, self._chain.n_in):
            raise ValueError(f"its input has {self._n_declared} numbers a sample, its first layer {self._chain.n_in}")


_READERS: dict[str, Callable[[_Reader, onnx.NodeProto, Sequence[str], str], bool]] = {
    **dict.fromkeys(("Gemm", "MatMul"), _Reader._product),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _Reader._arithmetic),
    "Scaler": _Reader._scaler,
    "Shape": _Reader._shape,
    **dict.fromkeys(("Cast", "Dropout", "Identity", *_SHAPES), _Reader._passed),
}
_ML = {"Scaler": ["ai.onnx.ml"]}
_KNOWN = {*_READERS, *_FOLDED, *_FOLDED_SMALL, *_ELEMENTWISE.split()}


def _candidates(at: Callable[[float], float]) -> Iterator[tuple[Activation, float]]:
    """Yield every activation f that may have the values ``at`` some points, and a k: f(k z) / k is compared with
    them."""
    for activation in ACTIVATIONS.values():
        if activation.slope is not None:
            unit = activation.with_slope(1.0)
            slope = -at(next(point for point in (-1.0, -1e3) if unit(point) == -1))
            if not math.isfinite(slope):
                continue
            activation = activation.with_slope(slope)
        yield activation, 1.0
    zero, one = at(0.0), at(1.0)
    if zero and math.isfinite(zero):
        yield ACTIVATIONS["softplus"], math.log(2) / zero
    if 0 < one < 1 and one != 0.5:
        yield ACTIVATIONS["swish"], math.log(one / (1 - one))


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _where(node: onnx.NodeProto) -> str:
    return f"node {node.op_type[:40]} {node.name[:60]!r}" if node.name else f"node {node.op_type[:40]}"


def _copy(node: onnx.NodeProto, op: str) -> onnx.NodeProto:
    """Return a copy of a node with another operator."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.op_type = op
    return copy


def _renamed(node: onnx.NodeProto, inputs: Sequence[str]) -> onnx.NodeProto:
    """Return a copy of a node with inputs of other names."""
    copy = _copy(node, node.op_type)
    del copy.input[:]
    copy.input.extend(inputs)
    return copy


def _array(tensor: TensorProto) -> np.ndarray:
    if tensor.data_type not in _NUMBERS:
        kind = {number: name for name, number in TensorProto.DataType.items()}.get(tensor.data_type, "of no known type")
        raise ValueError(f"the initializer {tensor.name[:60]!r} is {kind}; a network is FLOAT or DOUBLE")
    return numpy_helper.to_array(tensor)
