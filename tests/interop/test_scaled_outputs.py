"""Shift and scale of the last layer through every door: against the other library's own runtime, and back."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

import fastmlp
from fastmlp import interop

LASTS = {
    "both": {"act": "linear", "shift": [2e5, -3.5, 0.25], "scale": [1e4, 0.5, 7.0]},
    "one number": {"act": "linear", "shift": 200.0, "scale": 16.0},
    "shift alone": {"act": "linear", "bias": False, "shift": [0.5, -2.0, 3.0]},
    "scale alone": {"act": "tanh", "scale": [0.5, 2.0, 4.0]},
    "gelu": {"act": "gelu", "shift": 10.0, "scale": 2.0},
    "sigmoid": {"act": "sigmoid", "shift": 10.0, "scale": 2.0},
    "poisson": {"act": "linear", "cost": "poisson", "shift": 2.5},
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
    if model.spec.loss.name != "poisson":
        assert interop.from_torch(net) == model
    assert interop.from_torch(net, loss=model.spec.loss) == model


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
    predict, outputs = ctypes.CDLL(str(library)).net_predict, np.empty((len(X), 3))
    for row, out in zip(X, outputs, strict=True):
        predict(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    same(model, outputs)
    assert "(times scale, plus shift)" in source.read_text()
