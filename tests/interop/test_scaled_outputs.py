"""Shift and scale of the last layer through every door: against the other library's own runtime, and back."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest

import fastmlp
from fastmlp import interop
from fastmlp.interop.c_int8 import Integers

LASTS = {
    "both": {"act": "linear", "shift": [2e5, -3.5, 0.25], "scale": [1e4, 0.5, 7.0]},
    "one number": {"act": "linear", "shift": 200.0, "scale": 16.0},
    "shift alone": {"act": "linear", "bias": False, "shift": [0.5, -2.0, 3.0]},
    "scale alone": {"act": "tanh", "scale": [0.5, 2.0, 4.0]},
    "gelu": {"act": "gelu", "shift": 10.0, "scale": 2.0},
    "sigmoid": {"act": "sigmoid", "shift": 10.0, "scale": 2.0},
    "poisson": {"act": "linear", "cost": "poisson", "shift": 2.5},
    "quantiles": {"act": "linear", "cost": "quantile(0.1, 0.5, 0.9)", "shift": 10.0, "scale": 2.0},
    "gaussian": {"n": 4, "act": "linear", "cost": "gaussian_nll", "shift": [3.0, -2.0], "scale": [16.0, 0.1]},
}
X = np.random.default_rng(0).normal(size=(40, 4))


@pytest.fixture(params=LASTS)
def model(request):
    layers = [{"n": 4, "act": None, "scale": 0.5}, {"n": 6, "act": "relu"}, {"n": 3, **LASTS[request.param]}]
    return fastmlp.MLP(layers, seed=0, dtype="float64")


def same(model, outputs, rtol=1e-13):
    np.testing.assert_allclose(outputs, model.predict(X), rtol=rtol, atol=rtol * 10)


def test_onnx(model, tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    path = tmp_path / "net.onnx"
    interop.to_onnx(model, path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    same(model, session.run(None, {"x": X})[0])
    assert interop.from_onnx(path) == model
    without_metadata = onnx.load(path)
    del without_metadata.metadata_props[:]
    onnx.save(without_metadata, path)
    same(model, interop.from_onnx(path).predict(X), 1e-15)


def test_torch(model):
    torch = pytest.importorskip("torch")
    net = interop.to_torch(model)
    with torch.no_grad():
        same(model, net(torch.tensor(X)).numpy())
    if model.spec.loss.name == "mse":
        assert interop.from_torch(net) == model
    assert interop.from_torch(net, loss=model.spec.loss) == model


def test_batch_normalisation_behind_the_last_activation():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.BatchNorm1d(3)).double()
    net(torch.tensor(X))
    model = interop.from_torch(net.eval())
    with torch.no_grad():
        same(model, net(torch.tensor(X)).numpy())
    assert model.spec.output_affine is not None


def test_keras(model):
    keras = pytest.importorskip("keras")
    net = interop.to_keras(model)
    same(model, keras.ops.convert_to_numpy(net(X)), 1e-5)
    assert interop.from_keras(net, loss=model.spec.loss) == model


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_c(model, tmp_path):
    source, library = tmp_path / "net.c", tmp_path / "net.so"
    interop.to_c(model, source)
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", library, source, "-lm"], check=True)
    predict, outputs = ctypes.CDLL(str(library)).net_predict, np.empty((len(X), model.spec.n_out))
    for row, out in zip(X, outputs, strict=True):
        predict(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    same(model, outputs)
    last = model.spec.layers[-1]
    said = [text for text, value in (("times scale", last.scale), ("plus shift", last.shift)) if value is not None]
    assert f"({', '.join(said)})" in source.read_text()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_c_is_checked_with_derivatives_and_in_integers(model, tmp_path):
    """What to_c measures against the network is small in the outputs' own units."""
    path, span = tmp_path / "net.c", np.ptp(model.predict(X), axis=0).max()
    interop.to_c(model, path, check=X, jacobian=True)
    difference, of_derivatives = re.findall(r"largest difference .* is (\S+),.*that of its derivatives (\S+)\.\n",
                                            path.read_text(), re.DOTALL)[0]  # fmt: skip
    assert float(difference) < 1e-9 and float(of_derivatives) < 1e-9
    interop.to_c(model, path, dtype="int8", check=X)
    text = path.read_text()
    assert "Outputs are scores" not in text
    [error] = re.findall(r"its largest error on 40 samples is (\S+)\.\n", text)
    assert 0 < float(error) < 0.05 * span


def test_integers_give_outputs_in_their_units():
    layers = [{"n": 4}, {"n": 6, "act": "relu"}, {"n": 3, "act": "sigmoid", "shift": [200.0, 0.0, -3.0], "scale": 16}]
    model = fastmlp.MLP(layers, seed=0, dtype="float64")
    made = Integers(model, X)
    outputs = made.out_scales * (made.outputs(made.quantised(X)) - made.out_zeros)
    np.testing.assert_allclose(outputs, model.predict(X), atol=0.2)
    assert made.error == np.abs(outputs - model.predict(X)).max()


def test_onnx_of_an_estimator_with_scaled_targets(tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    compose, preprocessing = map(pytest.importorskip, ("sklearn.compose", "sklearn.preprocessing"))
    y = np.stack([X[:, 0] * 1000 + 5000, X[:, 1] - 3], axis=1)
    inside = fastmlp.sklearn.MLPRegressor(hidden_layer_sizes=[6], solver="lbfgs", tol=0.01, random_state=0)
    scaler = preprocessing.StandardScaler()
    theirs = compose.TransformedTargetRegressor(inside, transformer=scaler).fit(X, y)
    interop.to_onnx(theirs, tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["variable"], {"X": X})[0], theirs.predict(X), rtol=1e-12)
    model = interop.from_onnx(tmp_path / "net.onnx")
    assert model == interop.from_sklearn(theirs)
    np.testing.assert_array_equal(model.spec.layers[-1].shift, theirs.transformer_.mean_)
    np.testing.assert_array_equal(model.weights[-1], theirs.regressor_.coefs_[-1].T)


def test_neutral_scaling_keeps_the_loss(tmp_path):
    pytest.importorskip("onnx")
    layers = [{"n": 4, "scale": [1.0] * 4}, {"n": 2, "act": "tanh", "shift": 0.0, "scale": [1.0, 1.0], "cost": "mae"}]
    model = fastmlp.MLP(layers, seed=0)
    interop.to_onnx(model, tmp_path / "net.onnx")
    assert interop.from_onnx(tmp_path / "net.onnx") == model
