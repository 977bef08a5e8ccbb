"""C files compiled by gcc, with every warning an error, against predict."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.interop import to_c

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
WARNINGS = ["all", "extra", "error", "conversion", "double-promotion", "missing-prototypes", "shadow"]
FLAGS = ["-std=c99", "-pedantic", *(f"-W{warning}" for warning in WARNINGS)]


def compiled(paths, library):
    """The library of some C files, as ctypes has it."""
    subprocess.run(["gcc", "-O1", *FLAGS, "-shared", "-fPIC", "-o", library, *paths, "-lm"], check=True)
    return ctypes.CDLL(str(library))


def run(function, model, x):
    x = np.ascontiguousarray(x, model.dtype)
    out = np.full((len(x), model.spec.n_out), np.nan, model.dtype)
    for row, result in zip(x, out, strict=True):
        function(row.ctypes.data_as(ctypes.c_void_p), result.ctypes.data_as(ctypes.c_void_p))
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_at_every_depth(act, dtype, network_of, tmp_path):
    affine = [{}, {"shift": 0.25}, {"scale": [1, 2, 3, 0.5, 1 / 3]}, {"shift": [1, 2, 3, 4, 5], "scale": 1 / 7}]
    models = {f"net{depth}": network_of(act, depth, dtype, **affine[depth - 1]) for depth in (1, 2, 3, 4)}
    for name, model in models.items():
        to_c(model, tmp_path / f"{name}.c", name)
    library = compiled(tmp_path.glob("*.c"), tmp_path / "nets.so")
    x = np.random.default_rng(0).normal(size=(50, 5))
    for name, model in models.items():
        expected = model.predict(x.astype(dtype))
        tolerance = 5e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(run(library[name], model, x), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_inputs_neither_overflow_nor_become_nan(dtype, tmp_path):
    """A layer with the activation of inputs that are given to it unchanged."""
    extreme = np.array([0.0, -0.0, 1e-38, 88.0, -88.0, 104.0, -104.0, 1e3, -1e3, 1e6, -1e6, 1e30, -1e30])
    x = np.stack([extreme, extreme[::-1], np.roll(extreme, 3)], axis=1)
    models = {}
    for act in set(ACTIVATIONS) - {"step", "sine"}:  # libm's sin and ours part at arguments such as 1e30
        models[act] = fastmlp.MLP([{"n": 3, "act": None}, {"n": 3, "act": act, "bias": False}], dtype=dtype)
        models[act].weights[0][:] = np.eye(3)
        to_c(models[act], tmp_path / f"{act}.c", f"act_{act}")
    library = compiled(tmp_path.glob("*.c"), tmp_path / "nets.so")
    for act, model in models.items():
        np.testing.assert_allclose(
            run(library[f"act_{act}"], model, x), model.predict(x.astype(dtype)), rtol=5e-6, atol=1e-30, err_msg=act
        )


def test_a_program_that_calls_it(tmp_path):
    """What the file's head says is true: how to declare it, and the bytes it takes."""
    model = fastmlp.MLP(
        [{"n": 784, "act": None, "scale": 1 / 255}, {"n": 32, "act": "relu"}, {"n": 10, "act": "softmax"}]
    )
    model.class_names = ["*/ int x;", "/* ??/", 'a"b\\', "REAL@NAME", *"456789"]
    to_c(model, tmp_path / "net.c")
    text = (tmp_path / "net.c").read_text()
    assert f"Weights: {model.params.nbytes + 4} bytes" in text and f"stack: {(784 + 32) * 4} bytes" in text
    assert 'out[0] is "* / int x;"; ' in text and 'out[3] is "REAL@NAME"; ' in text
    sizes = [int(n) for n in re.findall(r"static const float \w+\[(\d+)\]", text)]
    assert sum(sizes) * 4 == model.params.nbytes + 4
    (tmp_path / "main.c").write_text(
        "#include <stdio.h>\nvoid net_predict(const float *x, float *out);\n"
        "int main(void) { float x[784], out[10]; int i; for (i = 0; i < 784; ++i) x[i] = (float)(i % 256);"
        ' net_predict(x, out); for (i = 0; i < 10; ++i) printf("%.9g\\n", (double)out[i]); return 0; }\n'
    )
    sources = [tmp_path / "main.c", tmp_path / "net.c"]
    subprocess.run(["gcc", *FLAGS, "-o", tmp_path / "main", *sources, "-lm"], check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    expected = model.predict(np.arange(784, dtype=np.uint8)[None])[0]
    np.testing.assert_allclose(np.array(printed.split(), float), expected, atol=5e-6)


def test_one_sigmoid_is_named(network_of, tmp_path):
    model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "sigmoid"}], seed=0)
    model.class_names = ["no", "yes"]
    to_c(model, tmp_path / "net.c", "likely")
    compiled([tmp_path / "net.c"], tmp_path / "net.so")
    assert 'out[0] is the probability of "yes", against "no".' in (tmp_path / "net.c").read_text()


@pytest.mark.parametrize(
    "name", ["", "2net", "net-1", "net predict", "näh", "_net", "float", "main", "expf", "exp", "isnan", "net\n"]
)
def test_names_that_are_no_identifiers(name, network_of, tmp_path):
    with pytest.raises(ValueError, match="name must be a C identifier"):
        to_c(network_of("relu"), tmp_path / "net.c", name)
    with pytest.raises(TypeError, match="name must be a string, got int"):
        to_c(network_of("relu"), tmp_path / "net.c", 3)


@pytest.mark.parametrize("name", ["REAL", "NAME", "f", "er", "REAL_NAME2"])
def test_names_that_look_like_the_template(name, network_of, tmp_path):
    to_c(network_of("gelu"), tmp_path / "net.c", name)
    compiled([tmp_path / "net.c"], tmp_path / "net.so")


def test_numbers_that_c_cannot_have(network_of, tmp_path):
    model = network_of("relu")
    model.weights[1][2, 3] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite, in w2"):
        to_c(model, tmp_path / "net.c")
    with pytest.raises(ValueError, match=r"spec\[0\]\['shift'\] has 1e\+300, which is too large for float32"):
        network_of("relu", shift=1e300)
    assert not list(tmp_path.iterdir())
