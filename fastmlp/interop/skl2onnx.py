"""skl2onnx: its converters for fastmlp.sklearn's estimators, in pipelines and searches, too.

An estimator that is fitted or loaded after skl2onnx was imported is registered with it, as skl2onnx's own are. For
older ones skl2onnx calls their methods ``onnx_parser``, ``onnx_shape_calculator`` and ``onnx_converter``, which lead
here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, defs
from onnx.helper import get_attribute_value
from skl2onnx import get_model_alias, update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from ..sklearn import MLPClassifier
from .onnx import OPSET, Graph, labels_of, of_classifier, of_regressor
from .sklearn import from_sklearn

__all__ = ["convert", "declare", "infer_shapes", "register"]

_OPTIONS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}


def register(kind: type) -> None:
    """Register a class of estimators with skl2onnx, with the options that it has for scikit-learn's MLPs.

    If a user has registered something for the class, that stays.
    """
    try:
        get_model_alias(kind)
        return
    except RuntimeError:
        pass
    options = _OPTIONS if issubclass(kind, MLPClassifier) else None
    update_registered_converter(kind, f"Fastmlp{kind.__name__}", infer_shapes, convert, options=options)


def declare(estimator: Any, scope: Any, inputs: Any) -> list[Any] | None:
    """Declare the outputs of an estimator whose class skl2onnx did not know when it began to convert.

    The class is registered, the operator without a name that skl2onnx has declared meanwhile is removed, and its
    outputs are declared again. Returns None for a class that skl2onnx knows: it then goes on itself.
    """
    if type(estimator) in scope.registered_models["aliases"]:
        return None
    from skl2onnx._parse import parse_sklearn  # what is private may move; here alone it would be missed

    register(type(estimator))
    name, operator = list(scope.operators.items())[-1]
    del scope.operators[name]
    operator.outputs = parse_sklearn(scope, estimator, inputs)
    return []


def infer_shapes(operator: Any) -> None:
    """Set the types and shapes of an operator's outputs."""
    if isinstance(operator.raw_operator, MLPClassifier):
        calculate_linear_classifier_output_shapes(operator)
    else:
        calculate_linear_regressor_output_shapes(operator)
        operator.outputs[0].type.shape = [operator.inputs[0].get_first_dimension(), operator.raw_operator.n_outputs_]


def convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes and constants of an operator's estimator to skl2onnx's graph."""
    estimator, [begin] = operator.raw_operator, operator.inputs
    dtype = np.dtype(np.float64 if isinstance(begin.type, DoubleTensorType) else np.float32)
    g, model = Graph(dtype), from_sklearn(estimator)
    x = g.Cast("X", to=TensorProto.DOUBLE if dtype == np.float64 else TensorProto.FLOAT)
    if isinstance(estimator, MLPClassifier):
        numbered = scope.get_options(estimator, {"nocl": False})["nocl"]
        classes = np.arange(len(estimator.classes_)) if numbered else estimator.classes_
        ends = [*of_classifier(g, model, x, labels_of(classes))]
    else:
        ends = [of_regressor(g, model, x)]
    names = {"X": begin.full_name}
    for tensor in g.constants:
        names[tensor.name] = tensor.name = scope.get_unique_variable_name(tensor.name)
        container.initializers.append(tensor)
    for node in g.nodes:
        names.update((name, scope.get_unique_variable_name(name)) for name in node.output)
        attributes = {item.name: get_attribute_value(item) for item in node.attribute}
        version = defs.get_schema(node.op_type, OPSET).since_version
        inputs, outputs = ([names[name] for name in side] for side in (node.input, node.output))
        container.add_node(
            node.op_type,
            inputs,
            outputs,
            op_version=version,
            name=scope.get_unique_operator_name(node.op_type),
            **attributes,
        )
    for end, output in zip(ends, operator.outputs, strict=True):
        name = scope.get_unique_operator_name("Identity")
        container.add_node("Identity", [names[end]], [output.full_name], op_version=1, name=name)
