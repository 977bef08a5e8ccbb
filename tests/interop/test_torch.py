"""PyTorch's modules there and back, against PyTorch's own forward pass."""

from __future__ import annotations

import copy
from collections import OrderedDict

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.interop import from_torch, to_torch

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*derivative of step is zero")


def outputs(net, x):
    with torch.no_grad():
        return net.eval()(torch.tensor(x)).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_at_every_depth(act, dtype, network_of):
    affine = [{}, {"shift": 0.25}, {"scale": [1, 2, 3, 0.5, 0.125]}, {"shift": [1, 2, 3, 4, 5], "scale": 0.5}]
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(dtype)
    for depth in (1, 2, 3, 4):
        model = network_of(act, depth, dtype, **affine[depth - 1])
        net = to_torch(model)
        tolerance = 2e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(outputs(net, x), model.predict(x), rtol=tolerance, atol=tolerance)
        assert from_torch(net) == model


def test_numbers_that_float32_rounds(network_of):
    model = network_of("relu", shift=0.1, scale=1 / 255)
    again = from_torch(to_torch(model))
    x = np.random.default_rng(0).integers(0, 256, (20, 5), dtype=np.uint8)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.spec.scale == (float(np.float32(1 / 255)),)


def test_raw_pixels(network_of):
    model = network_of("tanh", shift=128, scale=1 / 64)
    x = np.random.default_rng(0).integers(0, 256, (20, 5), dtype=np.uint8)
    np.testing.assert_allclose(outputs(to_torch(model), x), model.predict(x), atol=2e-6)


def test_parameters_are_copies(network_of):
    model = network_of("tanh")
    net = to_torch(model)
    back = from_torch(net)
    before = model.params.copy()
    with torch.no_grad():
        net[0].weight.zero_()
    assert (model.params == before).all() and (back.params == before).all()


def test_it_trains_and_pickles(network_of, tmp_path):
    net = to_torch(network_of("sine", scale=2.0))
    x = torch.randn(20, 5)
    net(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    torch.save(net, tmp_path / "net.pt")
    again = torch.load(tmp_path / "net.pt", weights_only=False)
    assert torch.equal(again(x), net(x))
    assert torch.equal(copy.deepcopy(net)(x), net(x))


def test_what_people_write():
    """Nested, named, with Flatten and Dropout, one module used twice, no biases."""
    act = nn.ReLU(inplace=True)
    net = nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            body=nn.Sequential(nn.Linear(6, 5), act, nn.Dropout(0.5), nn.Sequential(nn.Linear(5, 4, bias=False), act)),
            head=nn.Linear(4, 3),
            act=nn.Identity(),
            out=nn.Softmax(dim=-1),
        )
    )
    model = from_torch(net)
    assert repr(model) == "<fastmlp.MLP 6 → 5 relu → 4 relu → 3 softmax, cross_entropy, 70 float32 parameters>"
    x = np.random.default_rng(0).normal(size=(20, 6)).astype("f4")
    np.testing.assert_allclose(model.predict(x), outputs(net, x), atol=1e-6)
    assert from_torch(nn.Linear(3, 2)).spec.loss.name == "mse"
    assert from_torch(nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(0.3))).spec.layers[0].act.slope == 0.3
    assert from_torch(nn.Linear(3, 2), loss="hinge").spec.loss.name == "hinge"
    assert from_torch(nn.Linear(3, 2).double()).dtype == "float64"


def test_normalisation_is_folded_and_dropout_dropped():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.BatchNorm1d(4), nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.PReLU(), nn.Dropout(0.5),
        nn.BatchNorm1d(6, affine=False), nn.Linear(6, 5), nn.CELU(), nn.Linear(5, 3), nn.BatchNorm1d(3),
        nn.LogSoftmax(1), nn.Identity(),
    )  # fmt: skip
    x = torch.randn(200, 4) * 3 + 2
    for _ in range(5):
        net.train()(x)
    for module in net:
        if getattr(module, "affine", False):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    model = from_torch(net)
    assert [layer.act.name for layer in model.spec.layers] == ["leaky_relu", "elu", "softmax"]
    np.testing.assert_allclose(model.predict(x.numpy()), np.exp(outputs(net, x.numpy())), rtol=2e-5, atol=1e-6)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("modules", "trouble"),
    [
        ([nn.Conv2d(1, 2, 3)], r"module 0 \(Conv2d\) has no place"),
        (
            [nn.Linear(3, 2), nn.Sequential(nn.Softmax(1), nn.BatchNorm1d(2))],
            r"module 1\.1 \(BatchNorm1d\) multiplies or adds to the outputs behind the last activation, softmax",
        ),
        (
            [nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 2)],
            r"module 0 \(BatchNorm1d\) normalises by each",
        ),
        ([nn.Linear(3, 2), nn.BatchNorm1d(3)], r"has shape \(3,\); a number, or a number an output \(2\)"),
        ([nn.Linear(3, 2), nn.LayerNorm(2)], "LayerNorm"),
        ([Doubled(3, 2)], "Doubled"),
        ([nn.Linear(3, 2), nn.LogSoftmax(1), nn.Linear(2, 2)], r"module 1 \(LogSoftmax\) is not the last module"),
        ([nn.Linear(3, 2), nn.PReLU(2)], "num_parameters is 2"),
        ([nn.LazyLinear(2)], "LazyLinear"),
        ([nn.Linear(3, 2), nn.CELU(0.5)], r"module 1 \(CELU\): alpha is 0\.5, only 1 is supported"),
        ([nn.Linear(3, 2), nn.Softplus(beta=2)], "beta is 2"),
        ([nn.Linear(3, 2), nn.Hardtanh(0, 6)], "min_val is 0"),
        ([nn.Linear(3, 2), nn.Softmax(dim=0)], "dim is 0"),
        ([nn.Flatten(0), nn.Linear(3, 2)], "start_dim is 0"),
        ([nn.Linear(3, 2), nn.ReLU(), nn.Tanh()], r"module 2 \(Tanh\) follows another activation, relu"),
        ([nn.ReLU(), nn.Linear(3, 2)], r"module 0 \(ReLU\) comes before the first layer"),
        ([nn.Linear(3, 2), nn.Linear(3, 2)], "takes 3 inputs, the layer before it has 2 outputs"),
        ([nn.Linear(3, 2).half()], r"module 0 \(Linear\) has torch.float16 parameters"),
        ([nn.Linear(3, 2).bfloat16()], "torch.bfloat16"),
        ([nn.Linear(3, 2), nn.Linear(2, 2).double()], "float64 parameters, those before it are float32"),
        ([nn.Linear(3, 2, device="meta")], "no values"),
        ([nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))], "ParametrizedLinear"),
        ([], "no layer with weights"),
    ],
)
def test_refusals(modules, trouble):
    with pytest.raises(ValueError, match=trouble):
        from_torch(nn.Sequential(*modules))


def test_what_is_no_module():
    with pytest.raises(TypeError, match=r"net must be a torch\.nn\.Sequential, got dict"):
        from_torch({})
    net = nn.Linear(2, 2)
    net.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        from_torch(net)


def test_frozen_layers_want_no_gradients():
    spec = [{"n": 3, "act": None}, {"n": 4, "act": "tanh", "trainable": False}, {"n": 2, "act": "linear"}]
    model = fastmlp.MLP(spec, seed=0)
    net = to_torch(model)
    assert [parameter.requires_grad for parameter in net.parameters()] == [False, False, True, True]
    assert from_torch(net) == model
