"""ONNX files against onnxruntime, against what other exporters write, and against damage."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.interop import from_onnx, from_sklearn, to_onnx

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*derivative of step is zero")


def session(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_at_every_depth(act, dtype, network_of, tmp_path):
    """onnxruntime computes what predict computes, for any number of samples, and the file comes back as the model."""
    affine = [{}, {"shift": 0.25}, {"scale": [1, 2, 3, 0.5, 1 / 3]}, {"shift": [1, 2, 3, 4, 5], "scale": 1 / 7}]
    for depth in (1, 2, 3, 4):
        model = network_of(act, depth, dtype, **affine[depth - 1])
        to_onnx(model, tmp_path / "net.onnx")
        run = session(tmp_path / "net.onnx").run
        for n in (1, 70):
            x = np.random.default_rng(n).normal(size=(n, 5)).astype(dtype)
            tolerance = 2e-6 if dtype == "float32" else 1e-13
            np.testing.assert_allclose(run(None, {"x": x})[0], model.predict(x), rtol=tolerance, atol=tolerance)
        again = from_onnx(tmp_path / "net.onnx")
        assert again == model and again.spec == model.spec
        without_metadata = onnx.load(tmp_path / "net.onnx")
        del without_metadata.metadata_props[:]
        onnx.save(without_metadata, tmp_path / "net.onnx")
        np.testing.assert_array_equal(from_onnx(tmp_path / "net.onnx").predict(x), model.predict(x))


@pytest.mark.parametrize("act", [act for act in ACTIVATIONS if act != "sine"])
def test_far_from_zero_in_float64(act, tmp_path):
    n = 2 if act == "softmax" else 1
    model = fastmlp.MLP([{"n": 1, "act": None}, {"n": n, "act": act, "bias": False}], dtype="float64")
    model.weights[0][:, 0] = [1, -1][:n]
    to_onnx(model, tmp_path / "net.onnx")
    x = np.concatenate([np.linspace(-40, 40, 2001), [-1e30, -1e5, 1e5, 1e30]])[:, None]
    y = session(tmp_path / "net.onnx").run(None, {"x": x})[0]  # whose sigmoid becomes 0 at -37
    np.testing.assert_allclose(y, model.predict(x), rtol=1e-14, atol=5e-15)


def test_what_is_not_in_the_graph(tmp_path):
    spec = [{"n": 4, "act": None}, {"n": 3, "act": "linear", "cost": "hinge"}]
    model = fastmlp.MLP(spec, seed=0)
    model.class_names = ["setosa", "versicolor", "virginica"]
    to_onnx(model, tmp_path / "net.onnx")
    again = from_onnx(tmp_path / "net.onnx")
    assert again.spec.loss.name == "hinge" and again.class_names == model.class_names
    assert from_onnx(tmp_path / "net.onnx", loss="mae").spec.loss.name == "mae"
    proto = onnx.load(tmp_path / "net.onnx")
    assert proto.opset_import[0].version == 17 and proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_a_custom_loss_is_left_behind(tmp_path):
    import numba

    loss = fastmlp.Loss("quartic", numba.njit(lambda a, y: (a - y) ** 4), numba.njit(lambda a, y: 4 * (a - y) ** 3))
    model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "linear", "cost": loss}], seed=0)
    to_onnx(model, tmp_path / "net.onnx")
    assert from_onnx(tmp_path / "net.onnx").spec.loss.name == "mse"


def test_metadata_of_another_graph_is_not_used(network_of, tmp_path):
    """Who edits the graph and leaves the metadata gets the graph."""
    to_onnx(network_of("relu", scale=2.0), tmp_path / "net.onnx")
    proto = onnx.load(tmp_path / "net.onnx")
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.float32([3.0]), proto.graph.initializer[0].name))
    onnx.save(proto, tmp_path / "net.onnx")
    assert from_onnx(tmp_path / "net.onnx").spec.scale == (3.0,)


# --- what other exporters write


def graph(nodes, constants, n_in=3, n_out=2, opset=17, dtype=TensorProto.FLOAT, rank=None):
    shape = ["n", n_in] if rank is None else ["n", *rank]
    begin = helper.make_tensor_value_info("x", dtype, shape)
    end = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", n_out])
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    made = helper.make_graph(nodes, "network", [begin], [end], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def read(nodes, constants, tmp_path, **options):
    proto = graph(nodes, constants, **options)
    onnx.save(proto, tmp_path / "net.onnx")
    return from_onnx(tmp_path / "net.onnx")


W = np.random.default_rng(0).normal(size=(2, 3)).astype("f4")
B = np.float32([0.5, -1.0])
X = np.random.default_rng(1).normal(size=(20, 3)).astype("f4")
node = helper.make_node
Z = node("Gemm", ["x", "w", "b"], ["z"], transB=1)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        [node("Gemm", ["x", "wt", "b"], ["y"])],
        [node("Gemm", ["x", "w2", "b_half"], ["y"], transB=1, alpha=0.5, beta=2.0)],
        [node("Gemm", ["x", "w", "b_row"], ["y"], transB=1)],
        [node("MatMul", ["x", "wt"], ["p"]), node("Add", ["p", "b"], ["y"])],
        [node("MatMul", ["x", "wt"], ["p"]), node("Add", ["b_row", "p"], ["y"])],
        [node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["p"]), node("Add", ["p", "b"], ["y"])],
        [node("Identity", ["x"], ["i"]), node("Gemm", ["i", "w", "b"], ["g"], transB=1), node("Dropout", ["g"], ["y"])],
        [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "b"], ["g"], transB=1), node("Flatten", ["g"], ["y"])],
        [node("Reshape", ["x", "all_3"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"], transB=1)],
    ],
)
def test_ways_to_write_a_layer(nodes, tmp_path):
    constants = {"w": W, "wt": W.T.copy(), "w2": 2 * W, "b": B, "b_row": B[None], "b_half": B / 2, "all_3": [-1, 3]}
    model = read(nodes, constants, tmp_path)
    np.testing.assert_allclose(model.predict(X), X @ W.T + B, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("Sub", ["x", "c"], ["s"]), node("Mul", ["s", "k"], ["v"])], lambda x, c, k: (x - c) * k),
        ([node("Add", ["c", "x"], ["s"]), node("Div", ["s", "k"], ["v"])], lambda x, c, k: (x + c) / k),
        ([node("Mul", ["k", "x"], ["s"]), node("Sub", ["s", "c"], ["v"])], lambda x, c, k: x * k - c),
        ([node("Sub", ["c", "x"], ["s"]), node("Cast", ["s"], ["v"], to=TensorProto.FLOAT)], lambda x, c, k: c - x),
    ],
)
def test_shift_and_scale(nodes, expected, tmp_path):
    constants = {"w": W, "b": B, "c": np.float32([1, 2, 3]), "k": np.float32(0.5)}
    model = read([*nodes, node("Gemm", ["v", "w", "b"], ["y"], transB=1)], constants, tmp_path)
    np.testing.assert_allclose(model.predict(X), expected(X, constants["c"], 0.5) @ W.T + B, rtol=1e-5, atol=1e-5)


FORMULAS = {
    "sigmoid": [node("Neg", ["z"], ["1"]), node("Exp", ["1"], ["2"]), node("Add", ["2", "one"], ["3"]),
                node("Reciprocal", ["3"], ["y"])],
    "swish": [node("Sigmoid", ["z"], ["1"]), node("Mul", ["1", "z"], ["y"])],
    "softplus": [node("Exp", ["z"], ["1"]), node("Add", ["one", "1"], ["2"]), node("Log", ["2"], ["y"])],
    "hard_tanh": [node("Min", ["z", "one"], ["1"]), node("Max", ["1", "minus_one"], ["y"])],
    "relu": [node("Clip", ["z", "zero", "largest"], ["y"])],
    "leaky_relu": [node("PRelu", ["z", "slopes"], ["y"])],
    "elu": [node("Celu", ["z"], ["y"])],
    "relu6": [node("Clip", ["z", "zero", "six"], ["y"])],
    "hard_swish": [node("Add", ["z", "three"], ["1"]), node("Clip", ["1", "zero", "six"], ["2"]),
                   node("Mul", ["z", "2"], ["3"]), node("Div", ["3", "six"], ["y"])],
    "mish": [node("Softplus", ["z"], ["1"]), node("Tanh", ["1"], ["2"]), node("Mul", ["z", "2"], ["y"])],
    "softsign": [node("Abs", ["z"], ["1"]), node("Add", ["1", "one"], ["2"]), node("Div", ["z", "2"], ["y"])],
    "gelu_tanh": [node("Gelu", ["z"], ["y"], approximate="tanh")],
    "step": [node("Less", ["z", "zero"], ["1"]), node("Not", ["1"], ["2"]), node("Cast", ["2"], ["y"], to=1)],
    "tanh": [node("Mul", ["z", "two"], ["1"]), node("Sigmoid", ["1"], ["2"]), node("Mul", ["2", "two"], ["3"]),
             node("Sub", ["3", "one"], ["y"])],
}  # fmt: skip
NUMBERS = {
    "zero": 0,
    "one": 1,
    "minus_one": -1,
    "two": 2,
    "three": 3,
    "six": 6,
    "largest": 3.4028235e38,
    "slopes": [0.25, 0.25],
    "unlike": [0.1, 0.2],
}
CONSTANTS = {"w": W, "b": B} | {name: np.float32(value) for name, value in NUMBERS.items()}


@pytest.mark.parametrize("act", FORMULAS)
def test_formulas_are_recognised_by_their_values(act, tmp_path):
    model = read([Z, *FORMULAS[act]], CONSTANTS, tmp_path, opset=20)
    assert model.spec.layers[0].act.name == act
    assert model.spec.layers[0].act.slope in (None, 0.25, 1)


@pytest.mark.parametrize(
    ("nodes", "trouble"),
    [
        ([Z, node("Conv", ["z", "w"], ["y"], name="conv1")], "node Conv 'conv1' has no place"),
        ([Z, node("LogSoftmax", ["z"], ["s"]), node("Mul", ["s", "two"], ["y"])], "node LogSoftmax has no place"),
        ([Z, node("Softmax", ["z"], ["y"], axis=0)], "node Softmax is none of the activations"),
        ([Z, node("Exp", ["z"], ["e"], name="e"), node("Add", ["e", "one"], ["y"])],
         "node Exp 'e', node Add is none of the activations"),
        ([Z, node("Softmax", ["z"], ["s"]), node("Mul", ["s", "two"], ["y"])],
         "node Mul multiplies or adds to the outputs behind the last activation, softmax"),
        ([Z, node("Shape", ["z"], ["s"]), node("Gather", ["s", "first"], ["n"]), node("Cast", ["n"], ["f"], to=1),
          node("Mul", ["z", "f"], ["y"])], "node Mul computes with the shape of its data"),
        ([node("Gemm", ["x", "w", "b"], ["z"], transB=1),
          node("BatchNormalization", ["z", "b", "b", "b", "b"], ["y"], training_mode=1)],
         "normalises by each batch's own"),
        ([Z, node("BatchNormalization", ["z", "b", "b", "z", "b"], ["y"])], "statistics that are not constants"),
        ([Z, node("BatchNormalization", ["z", "b", "b", "b", "first"], ["y"])], "of different lengths"),
        ([Z, node("BatchNormalization", ["z", "b", "b", "b", "below"], ["y"])], "has a variance below 0"),
        ([node("MatMul", ["x", "whole"], ["y"])], "node MatMul has int64 parameters"),
        ([Z, node("PRelu", ["z", "unlike"], ["y"])], "node PRelu is none of the activations"),
        ([Z, node("Add", ["z", "column"], ["y"])], r"node Add has constants of shape \(2, 1\)"),
        ([node("Relu", ["x"], ["r"]), node("Gemm", ["r", "w"], ["y"], transB=1)], "Relu comes before the first layer"),
        ([Z, node("Relu", ["z"], ["r"]), node("MatMul", ["r", "two_two"], ["p"]), node("Add", ["p", "z"], ["y"])],
         "node Add takes up 'z' again"),
        ([Z, node("MatMul", ["two_two", "z"], ["y"])], "node MatMul does not multiply by constants from the right"),
        ([Z, node("MatMul", ["z", "z"], ["y"])], "node MatMul does not multiply by constants"),
        ([node("Gemm", ["x", "w", "b"], ["y"], transA=1)], "node Gemm is no product with a constant matrix"),
        ([Z, node("Gemm", ["z", "w"], ["y"], transB=1)], "node Gemm takes 3 inputs, the layer before it has 2"),
        ([node("Gemm", ["x", "nan"], ["y"], transB=1)], "node Gemm has parameters that are NaN or infinite"),
        ([node("Gemm", ["x", "w", "column"], ["y"], transB=1)], r"constants of shape \(2, 1\)"),
        ([Z, node("Reshape", ["z", "pairs"], ["y"])], "node Reshape has no place"),
        ([Z, node("Relu", ["z"], ["r"]), node("Tanh", ["r"], ["y"])], "node Relu, node Tanh is none of"),
        ([Z, node("Tanh", ["z"], ["t"]), node("Sub", ["b", "t"], ["y"])],
         "node Sub multiplies or adds to the outputs behind the last activation, tanh, by -1"),
        ([node("Gemm", ["x", "half", "b"], ["y"], transB=1)], "'half' is FLOAT16"),
        ([node("Add", ["two_two", "column"], ["c"]), node("MatMul", ["x", "c"], ["y"])], "computes with constants"),
        ([node("Identity", ["two_two"], ["y"])], "does not depend on the input"),
        ([node("Relu", ["x"], ["y"])], "Relu comes before the first layer"),
        ([node("Add", ["x", "column"], ["s"]), node("Gemm", ["s", "w"], ["y"], transB=1)],
         "Add comes before the first layer"),
        ([node("Sub", ["one", "x"], ["s"]), node("Concat", ["s", "x"], ["y"], axis=1)], "no layer with weights"),
        ([Z, node("Sub", ["one", "z"], ["s"]), node("Concat", ["s", "z"], ["y"], axis=1)],
         "has 2 columns, which are joined"),
        ([node("Identity", ["x"], ["y"])], "no layer with weights"),
    ],
)  # fmt: skip
def test_refusals(nodes, trouble, tmp_path):
    constants = {**CONSTANTS, "two_two": np.eye(2, dtype="f4"), "nan": np.float32([[np.nan] * 3] * 2),
                 "column": B[:, None], "pairs": [2, -1], "first": np.int64([0]),
                 "below": np.float32([-1, 1]), "whole": np.eye(3, dtype=np.int64)}  # fmt: skip
    if "FLOAT16" in trouble:
        constants["half"] = W.astype("f2")
    with pytest.raises(ValueError, match=r"net\.onnx: .*" + trouble):
        read(nodes, constants, tmp_path, opset=20)


@pytest.mark.parametrize(
    ("nodes", "act", "shift", "scale"),
    [
        ([node("Clip", ["z", "zero", "one"], ["y"])], "hard_tanh", (0.5,), (0.5,)),
        ([node("Celu", ["z"], ["y"], alpha=3.0)], "elu", None, (3.0,)),
        ([node("Relu", ["z"], ["r"]), node("Mul", ["two", "r"], ["y"])], "relu", None, (2.0,)),
        ([node("Tanh", ["z"], ["t"]), node("Div", ["t", "two"], ["d"]), node("Sub", ["d", "slopes"], ["y"])],
         "tanh", (-0.25, -0.25), (0.5,)),
        ([node("Mul", ["z", "two"], ["m"]), node("Sigmoid", ["m"], ["s"]), node("Add", ["s", "three"], ["y"])],
         "sigmoid", (3.0,), None),
        ([node("Mul", ["z", "two"], ["m"]), node("Add", ["m", "one"], ["y"])], "linear", (1.0,), (2.0,)),
        ([node("Sub", ["one", "z"], ["y"])], "linear", None, None),
    ],
)  # fmt: skip
def test_what_scales_and_shifts_the_outputs(nodes, act, shift, scale, tmp_path):
    model = read([Z, *nodes], CONSTANTS, tmp_path)
    last = model.spec.layers[-1]
    assert (last.act.name, last.shift, last.scale) == (act, shift, scale)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype("f4") * 3
    expected = session(tmp_path / "net.onnx").run(None, {"x": x})[0]
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-5)


def test_inputs_that_are_no_rows(tmp_path):
    for rank, trouble in (
        ((4, 3), "has 2 axes.*not flattened|3 axes"),
        ((4,), "4 numbers a sample, its first layer 3"),
    ):
        with pytest.raises(ValueError, match=trouble):
            read([node("Gemm", ["x", "w", "b"], ["y"], transB=1)], CONSTANTS, tmp_path, rank=rank)
    flat = [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], transB=1)]
    assert read(flat, CONSTANTS, tmp_path, rank=(1, 3)).spec.n_in == 3
    proto = graph([Z, node("Add", ["z", "x2"], ["y"])], CONSTANTS)
    proto.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, ["n", 2]))
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"it has 2 inputs \(x, x2\)"):
        from_onnx(tmp_path / "net.onnx")


MODULES = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "sigmoid": "Sigmoid", "tanh": "Tanh", "swish": "SiLU",
           "elu": "ELU", "selu": "SELU", "gelu": "GELU", "softplus": "Softplus", "hard_tanh": "Hardtanh",
           "softmax": "Softmax"}  # fmt: skip


@pytest.mark.parametrize("act", MODULES)
def test_what_pytorch_exports(act, tmp_path):
    """The exporter that needs nothing but PyTorch, at two opsets: gelu is a formula in the first."""
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, MODULES[act])(*([1] if act == "softmax" else []))
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(6, 5), module, torch.nn.Dropout(), torch.nn.Linear(5, 4, bias=False), module
    ).eval()
    x = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0))
    for opset in (13, 20):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter is deprecated, but the other takes seconds and a package
            torch.onnx.export(
                net, (x,), tmp_path / "net.onnx", dynamo=False, opset_version=opset, input_names=["x"],
                dynamic_axes={"x": {0: "n"}},
            )  # fmt: skip
        model = from_onnx(tmp_path / "net.onnx")
        assert [layer.act.name for layer in model.spec.layers] == [act, act]
        assert [layer.bias for layer in model.spec.layers] == [True, False]
        expected = net(x).detach().numpy()
        np.testing.assert_allclose(model.predict(x.reshape(7, 6).numpy()), expected, rtol=1e-5, atol=1e-6)


def test_what_pytorch_exports_by_default(tmp_path):
    """The other exporter: Flatten becomes Reshape, swish and gelu formulas, softplus one with a threshold."""
    pytest.importorskip("onnxscript")
    torch = pytest.importorskip("torch")
    nn = torch.nn
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 5), nn.GELU(), nn.Linear(5, 5), nn.Softplus(),
        nn.Linear(5, 4, bias=False), nn.Hardtanh(), nn.Linear(4, 3), nn.Softmax(dim=1),
    ).eval()  # fmt: skip
    x = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim("n")},)
        torch.onnx.export(net, (x,), tmp_path / "net.onnx", dynamo=True, dynamic_shapes=shapes, verbose=False)
    model = from_onnx(tmp_path / "net.onnx")
    acts = [layer.act.name for layer in model.spec.layers]
    assert acts == ["swish", "gelu", "softplus", "hard_tanh", "softmax"]
    np.testing.assert_allclose(model.predict(x.reshape(7, 6).numpy()), net(x).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_what_pytorch_exports_of_other_networks(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv1d(2, 2, 2), torch.nn.Flatten(), torch.nn.Linear(4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(1, 2, 3),), tmp_path / "net.onnx", dynamo=False)
    with pytest.raises(ValueError, match=r"net\.onnx: node Conv '/0/Conv' has no place"):
        from_onnx(tmp_path / "net.onnx")


def exported(net, x, path, dynamo):
    """The file that one of PyTorch's exporters writes by default, and the outputs it stands for."""
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (x,), path, dynamo=dynamo, **({"verbose": False} if dynamo else {}))
    with torch.no_grad():
        return net(x).numpy()


@pytest.mark.parametrize("dynamo", [False, True])
def test_what_pytorch_exports_of_newer_activations(dynamo, tmp_path):
    """What has other settings than ours is scaled: CELU, softplus with a β, LogSigmoid."""
    nn = pytest.importorskip("torch").nn
    modules = [nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(), nn.Softsign(), nn.Mish(), nn.ELU(0.5), nn.GELU("tanh"),
               nn.PReLU(), nn.CELU(2.0), nn.Softplus(beta=2), nn.LogSigmoid(), nn.Hardtanh(-2, 3)]  # fmt: skip
    net = nn.Sequential(*(part for module in modules for part in (nn.Linear(4, 4), module)), nn.Linear(4, 2))
    x = nn.init.normal_(nn.Linear(4, 7).weight.detach(), std=3)
    expected = exported(net, x, tmp_path / "net.onnx", dynamo)
    model = from_onnx(tmp_path / "net.onnx")
    acts = ["relu6", "hard_swish", "hard_sigmoid", "softsign", "mish", "elu", "gelu_tanh", "leaky_relu", "elu",
            "softplus", "softplus", "hard_tanh", "linear"]  # fmt: skip
    assert [layer.act.name for layer in model.spec.layers] == acts
    assert [layer.act.slope for layer in model.spec.layers if layer.act.slope] == [0.5, 0.25, 1.0]
    np.testing.assert_allclose(model.predict(x.numpy()), expected, rtol=1e-5, atol=1e-6)


def two_columns(torch):
    class TwoColumns(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(4, 5), torch.nn.Linear(5, 1)

        def forward(self, x):
            p = torch.sigmoid(self.last(torch.relu(self.first((x - 2.0) / 3.0))))
            return torch.cat([1 - p, p], 1)

    return TwoColumns()


def squeezed(torch):
    class Squeezed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(4, 5), torch.nn.Linear(5, 1)

        def forward(self, x):
            return self.last(torch.relu(self.first(x))).squeeze(-1) * 2 + 1

    return Squeezed()


def normalised(torch):
    nn = torch.nn
    net = nn.Sequential(
        nn.BatchNorm1d(4), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 5, bias=False),
        nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 3), nn.LogSoftmax(dim=1),
    )  # fmt: skip
    for module in net:
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    return net


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("make", [two_columns, squeezed, normalised])
def test_what_pytorch_exports_around_layers(make, dynamo, tmp_path):
    torch = pytest.importorskip("torch")
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    expected = exported(make(torch), x, tmp_path / "net.onnx", dynamo)
    outputs = from_onnx(tmp_path / "net.onnx").predict(x.numpy())
    if make is normalised:
        expected = np.exp(expected)  # what ends in LogSoftmax becomes softmax
    elif make is two_columns:
        expected = expected[:, 1:]
    np.testing.assert_allclose(outputs, expected.reshape(outputs.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("act", ["relu6", "hard_sigmoid", "hard_silu", "softsign", "mish", "celu", "leaky_relu"])
def test_what_keras_exports(act, tmp_path):
    keras = pytest.importorskip("keras")
    pytest.importorskip("onnxscript")
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((2, 2)), layers.Rescaling(1 / 255, offset=0.5), layers.Flatten(), layers.Dense(6, act),
         layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(5), layers.BatchNormalization(),
         layers.ReLU(max_value=6), layers.Dense(3, "softmax")]
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for layer in net.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, size=w.shape) for w in layer.get_weights()])
    x = rng.normal(size=(10, 2, 2)).astype("f4") * 255
    expected = keras.ops.convert_to_numpy(net(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.export(tmp_path / "net.onnx", format="onnx", verbose=False)
    model = from_onnx(tmp_path / "net.onnx")
    assert model.spec.layers[1].act.name == "relu6"
    np.testing.assert_allclose(model.predict(x.reshape(10, 4)), expected, rtol=1e-5, atol=1e-6)


def fitted(kind, library=None, dtype="float32"):
    """Networks as people fit them with scikit-learn, or a library like it, with x."""
    if library is None:
        from sklearn import neural_network as library
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, size=(50, 4)).astype(dtype)
    options = {"hidden_layer_sizes": [6, 5], "activation": "tanh", "solver": "lbfgs", "random_state": 0}
    targets = {
        "three": np.arange(50) % 3, "words": np.array(["ant", "bee", "cow"])[np.arange(50) % 3],
        "two": np.array(["no", "yes"])[np.arange(50) % 2], "labels": (rng.random((50, 3)) > 0.5).astype(int),
        "truth": np.arange(50) % 2 == 0, "counts": np.round(np.abs(x[:, 0])), "number": x[:, 0], "numbers": x[:, :2],
    }  # fmt: skip
    target, _, scaler = kind.partition(" ")
    scalers = {"": [], "standard": [StandardScaler()], "minmax": [MinMaxScaler()], "maxabs": [MaxAbsScaler()],
               "robust": [RobustScaler()]}  # fmt: skip
    if target in ("number", "numbers", "counts"):
        loss = "poisson" if target == "counts" else "squared_error"
        network = library.MLPRegressor(loss=loss, **options)
    else:
        network = library.MLPClassifier(**options)
    return make_pipeline(*scalers[scaler], network).fit(x, targets[target]), x


KINDS = ["three", "words", "two", "labels", "number", "numbers", "three standard", "two minmax", "number maxabs",
         "number robust"]  # fmt: skip


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_skl2onnx_exports(kind, zipmap, tmp_path):
    """Its defaults make dicts of probabilities, and two columns of one sigmoid; labels are found where they stand."""
    skl2onnx = pytest.importorskip("skl2onnx")
    theirs, x = fitted(kind)
    proto = skl2onnx.to_onnx(theirs, x[:1], options=None if zipmap or "number" in kind else {"zipmap": False})
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    model = from_onnx(tmp_path / "net.onnx")
    expected = theirs.predict(x).reshape(50, -1) if "number" in kind else theirs.predict_proba(x)
    outputs = model.predict(x)
    np.testing.assert_allclose(outputs, expected[:, -outputs.shape[1] :], rtol=1e-5, atol=1e-5)
    if kind[:3] in ("wor", "two"):
        assert model.class_names == tuple(theirs.classes_)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, "truth", "counts"])
def test_estimators_are_written_as_skl2onnx_does(kind, ours, tmp_path):
    """Labels and probabilities, numbers, as their predict and predict_proba have them; and the file is read again."""
    pytest.importorskip("sklearn")
    theirs, x = fitted(kind, fastmlp.sklearn if ours else None, "float32" if ours else "float64")
    path = tmp_path / "net.onnx"
    tolerance = {"rtol": 1e-5, "atol": 2e-5}
    if hasattr(theirs, "classes_"):
        for zipmap in (None, False):
            to_onnx(theirs, path, zipmap=zipmap)
            labels, probabilities = session(path).run(None, {"X": x.astype(from_onnx(path).dtype)})
            np.testing.assert_array_equal(labels, theirs.predict(x))
            if zipmap is None:
                assert list(probabilities[0]) == theirs.classes_.tolist()
                probabilities = np.array([list(row.values()) for row in probabilities])
            np.testing.assert_allclose(probabilities, theirs.predict_proba(x), **tolerance)
    else:
        with pytest.raises(ValueError, match="zipmap is for estimators with classes, Pipeline has none"):
            to_onnx(theirs, path, zipmap=False)
        to_onnx(theirs, path)
        [numbers] = session(path).run(None, {"X": x.astype(from_onnx(path).dtype)})
        np.testing.assert_allclose(numbers, theirs.predict(x).reshape(50, -1), **tolerance)
    assert from_onnx(path) == from_sklearn(theirs)


def test_operators_of_unknown_domains(tmp_path):
    """A checker looks at none of these: they are refused, whatever they lack."""
    for op in ("ZipMap", "Concat", "HardSigmoid", "BatchNormalization", "Clip", "Cast", "Shape"):
        proto = graph([Z, node(op, [], ["y"], domain="elsewhere")], CONSTANTS)
        proto.opset_import.append(helper.make_opsetid("elsewhere", 1))
        damaged(tmp_path / "net.onnx", proto.SerializeToString())


def test_small_biases_are_kept(tmp_path):
    """A formula with them is as good as the activation alone, by its values."""
    nodes = [node("MatMul", ["x", "wt"], ["p"]), node("Add", ["p", "tiny"], ["q"]), node("LeakyRelu", ["q"], ["y"])]
    model = read(nodes, {"wt": W.T.copy(), "tiny": np.float32([1e-6, -2e-6])}, tmp_path)
    np.testing.assert_array_equal(model.biases[0], np.float32([1e-6, -2e-6]))
    assert model.spec.layers[0].act.slope == np.float32(0.01)


def test_counts_without_metadata(tmp_path):
    model = read([Z, node("Exp", ["z"], ["y"])], CONSTANTS, tmp_path)
    assert model.spec.loss.name == "poisson"
    np.testing.assert_allclose(np.exp(model.predict(X)), np.exp(X @ W.T + B), rtol=1e-5)
    with pytest.raises(ValueError, match="zipmap is for estimators with classes, MLP has none"):
        to_onnx(model, tmp_path / "net.onnx", zipmap=True)


def test_what_tf2onnx_writes(tmp_path):
    """Its way to write dense layers, BatchNormalization, an old hard_sigmoid and Flatten, node by node."""
    rng = np.random.default_rng(0)
    k, c = rng.uniform(0.5, 2, (2, 2)).astype("f4")
    nodes = [
        node("Reshape", ["x", "flat"], ["f"]), node("MatMul", ["f", "wt"], ["p"]), node("Add", ["p", "b"], ["z"]),
        node("Mul", ["z", "k"], ["m"]), node("Add", ["m", "c"], ["n"]),
        node("Mul", ["n", "fifth"], ["h1"]), node("Add", ["h1", "half"], ["h2"]),
        node("Clip", ["h2", "zero", "one"], ["h"]),
        node("MatMul", ["h", "v"], ["q"]), node("Add", ["q", "scalar"], ["r"]), node("Sigmoid", ["r"], ["s"]),
        node("Squeeze", ["s", "last"], ["t"]), node("Identity", ["t"], ["y"]),
    ]  # fmt: skip
    v = rng.normal(size=(2, 1)).astype("f4")
    constants = CONSTANTS | {"wt": W.T.copy(), "flat": [-1, 3], "k": k, "c": c, "fifth": np.float32(0.2), "last": [1],
                             "half": np.float32(0.5), "v": v, "scalar": np.float32([0.25])}  # fmt: skip
    model = read(nodes, constants, tmp_path, rank=(3, 1))
    hidden = np.clip(0.2 * ((X @ W.T + B) * k + c) + 0.5, 0, 1)
    np.testing.assert_allclose(model.predict(X), 1 / (1 + np.exp(-hidden @ v - 0.25)), rtol=1e-5)


# --- damage


def damaged(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        from_onnx(path)


def test_files_that_are_none(network_of, tmp_path):
    to_onnx(network_of("gelu"), tmp_path / "net.onnx")
    whole = (tmp_path / "net.onnx").read_bytes()
    path = tmp_path / "bad.onnx"
    for content in (
        b"",
        b"\0",
        b"\x80\x04]q\x00.",
        b'{"spec": []}',
        np.random.default_rng(0).bytes(5000),
        whole[:-900],
    ):
        damaged(path, content)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "missing.onnx")


@pytest.mark.parametrize("act", ["gelu", "softmax", "leaky_relu"])
def test_mutations(act, network_of, tmp_path):
    """A file with some bytes changed is read or refused with a ValueError that names it, and never anything else."""
    rng = np.random.default_rng(len(act))
    path = tmp_path / "net.onnx"
    to_onnx(network_of(act, 1, "float64", scale=2.0), path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    refused = []
    for _ in range(1000):
        content = whole.copy()
        where = rng.integers(0, len(content), rng.integers(1, 4))
        content[where] = rng.integers(0, 256, len(where))
        if rng.random() < 0.2:
            content = np.delete(content, np.s_[where[0] : where[0] + rng.integers(1, 9)])
        path.write_bytes(content.tobytes())
        try:
            assert isinstance(from_onnx(path), fastmlp.MLP)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 300 and all(str(path) in message for message in refused)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"spec": 3, "class_names": null}',
        '{"spec": [{}, {}]}',
        '{"spec": [{"n": 5, "act": null}, {"n": 1, "act": "linear"}], "class_names": [1, 2]}',
        '{"spec": [{"n": 5, "act": null}, {"n": 1, "act": "linear"}], "class_names": "ab"}',
    ],
)
def test_hostile_metadata(metadata, network_of, tmp_path):
    to_onnx(network_of("relu"), tmp_path / "net.onnx")
    proto = onnx.load(tmp_path / "net.onnx")
    proto.metadata_props[0].value = metadata
    damaged(tmp_path / "net.onnx", proto.SerializeToString())


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "missing"])
def test_weights_elsewhere(location, tmp_path):
    """External data is read from the file's own folder, and from nowhere else."""
    (tmp_path / "secret").write_bytes(bytes(24))
    folder = tmp_path / "folder"
    folder.mkdir()
    proto = graph([Z, node("Relu", ["z"], ["y"])], {"w": W, "b": B})
    onnx.save(proto, folder / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    assert from_onnx(folder / "net.onnx").spec.n_in == 3
    stored = onnx.load(folder / "net.onnx", load_external_data=False)
    for entry in stored.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    damaged(folder / "net.onnx", stored.SerializeToString())


def test_constants_that_would_grow(tmp_path):
    """Two vectors of a megabyte would make a matrix of 64 gigabytes."""
    big = np.ones(1 << 17, np.float32)
    nodes = [node("Mul", ["row", "column"], ["w"]), node("MatMul", ["x", "w"], ["y"])]
    with pytest.raises(ValueError, match="computes with constants alone"):
        read(nodes, {"row": big[None], "column": big[:, None]}, tmp_path)
    turns = [node("Transpose", [f"w{i}"], [f"w{i + 1}"]) for i in range(100)]
    with pytest.raises(ValueError, match="make more of the constants than networks need"):
        read([*turns, node("MatMul", ["x", "w100"], ["y"])], {"w0": np.ones((300, 300), np.float32)}, tmp_path)
    nodes = [Z, node("Add", ["z", "column"], ["y"])]
    with pytest.raises(ValueError, match="constants of shape"):
        read(nodes, {**CONSTANTS, "column": big[:, None]}, tmp_path)


def test_what_is_frozen_comes_back(tmp_path):
    spec = [{"n": 3, "act": None}, {"n": 4, "act": "tanh", "trainable": False}, {"n": 2, "act": "linear"}]
    model = fastmlp.MLP(spec, seed=0)
    to_onnx(model, tmp_path / "net.onnx")
    assert from_onnx(tmp_path / "net.onnx") == model
