"""C files compiled by gcc, with every warning an error, against predict."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
import warnings

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


def test_networks_of_random_shape(tmp_path):
    rng = np.random.default_rng(0)
    acts = [act for act in ACTIVATIONS if act not in ("step", "sine")]  # of which a rounding makes another number
    models, x = {}, {}
    for i in range(60):
        widths = rng.integers(1, 40, rng.integers(2, 6))
        layers = [{"n": max(int(n), 2), "act": str(rng.choice(acts)), "bias": bool(i % 3)} for n in widths[1:]]
        first = {"n": int(widths[0])} | ({"shift": 0.5, "scale": rng.uniform(0.1, 1, widths[0])} if i % 2 else {})
        models[f"net{i}"] = fastmlp.MLP([first, *layers], seed=i)
        x[f"net{i}"] = rng.normal(size=(5, widths[0]))
        to_c(models[f"net{i}"], tmp_path / f"net{i}.c", f"net{i}")
    library = compiled(tmp_path.glob("*.c"), tmp_path / "nets.so")
    for name, model in models.items():
        expected = model.predict(x[name].astype("f4"))
        np.testing.assert_allclose(run(library[name], model, x[name]), expected, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_of_every_activation(dtype, network_of, tmp_path):
    affine = [{}, {"shift": 0.25}, {"scale": [1, 2, 3, 0.5, 1 / 3]}]
    models = {f"{act}{n}": network_of(act, n, dtype, **affine[n - 1]) for act in ACTIVATIONS for n in (1, 2, 3)}
    for name, model in models.items():
        to_c(model, tmp_path / f"{name}.c", f"net_{name}_predict", jacobian=True)
    library = compiled(tmp_path.glob("*.c"), tmp_path / "nets.so")
    x = np.random.default_rng(0).normal(size=(20, 5)).astype(dtype) * 3
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for name, model in models.items():
        expected = model.jacobian(x, wrt="inputs")
        for row, outputs, derivatives in zip(x, model.predict(x), expected, strict=True):
            out, jac = np.full(outputs.shape, np.nan, dtype), np.full(derivatives.shape, np.nan, dtype)
            library[f"net_{name}_jacobian"](*(ctypes.c_void_p(a.ctypes.data) for a in (row, out, jac)))
            np.testing.assert_allclose(out, outputs, rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(jac, derivatives, rtol=tolerance, atol=tolerance, err_msg=name)


def numbers(text, macro):
    """A macro's list of numbers."""
    [found] = re.findall(rf"#define NET_PREDICT_{macro} \{{(.*?)\}}", text.replace("\\\n", ""))
    return np.array(found.split(","), float)


def run_int8(library, text, x):
    q = np.rint(x / numbers(text, "X_SCALES") + numbers(text, "X_ZEROS")).clip(-128, 127).astype(np.int8)
    out = np.zeros((len(x), len(numbers(text, "OUT_ZEROS"))), np.int8)
    for row, result in zip(q, out, strict=True):
        library.net_predict(ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(result.ctypes.data))
    return numbers(text, "OUT_SCALES") * (out - numbers(text, "OUT_ZEROS"))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "linear", "tanh"])
@pytest.mark.parametrize("act", [act for act in ACTIVATIONS if act != "softmax"])
def test_integers(act, output, tmp_path):
    """Columns of different units; the error is the one that the file states, and no more than a few steps of 255."""
    rng = np.random.default_rng(0)
    x = rng.normal([1e6, 0, 3, 7], [1, 1e-4, 20, 0], size=(300, 4))
    first = {"n": 4, "shift": [1e6, 0, 3, 6], "scale": [1, 1e4, 1 / 20, 1]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*derivative of step is zero")
        spec = [first, {"n": 20, "act": act}, {"n": 12, "act": act, "bias": False}, {"n": 3, "act": output}]
        model = fastmlp.MLP(spec, seed=1, dtype="float64")
    to_c(model, tmp_path / "net.c", dtype="int8", calibrate=x)
    text = (tmp_path / "net.c").read_text()
    assert "float" not in text.partition("#include")[2] and "double" not in text.partition("#include")[2]
    assert ("Outputs are scores" in text) == (output in ("softmax", "sigmoid"))
    library = compiled([tmp_path / "net.c"], tmp_path / "net.so")
    zs, activations = model.forward(x)
    expected = zs[-1] if output in ("softmax", "sigmoid") else activations[-1]
    error = np.abs(run_int8(library, text, x) - expected).max()
    [stated] = re.findall(r"Largest error on the 300 samples it was calibrated on: (\S+)\.\n", text)
    assert error == pytest.approx(float(stated), rel=0.01)
    assert error < (0.1 if act != "step" else 0.5) * np.ptp(expected)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="looks for x86's instructions")
def test_integers_without_floating_point_instructions(tmp_path):
    model = fastmlp.MLP([{"n": 30}, {"n": 20, "act": "mish"}, {"n": 5, "act": "softmax"}], seed=0)
    x = np.random.default_rng(0).normal(size=(100, 30))
    to_c(model, tmp_path / "net.c", dtype="int8", calibrate=x)
    for level in ("-O0", "-O3"):
        command = ["gcc", level, *FLAGS, "-mgeneral-regs-only", "-c", tmp_path / "net.c", "-o", tmp_path / "net.o"]
        subprocess.run(command, check=True)
        if shutil.which("objdump"):
            listing = subprocess.run(
                ["objdump", "-d", "--no-show-raw-insn", tmp_path / "net.o"], capture_output=True, text=True, check=True
            )
            assert "imul" in listing.stdout and not re.search(r"[xyz]mm\d|\tf[a-z]+", listing.stdout)


def test_a_file_that_is_checked(tmp_path):
    model = fastmlp.MLP([{"n": 3}, {"n": 5, "act": "gelu"}, {"n": 2, "act": "softmax"}], seed=0)
    x = np.random.default_rng(0).normal(size=(40, 3))
    to_c(model, tmp_path / "net.c", check=x, jacobian=True)
    text = (tmp_path / "net.c").read_text()
    found = re.search(r"Checked: compiled by \S+, its largest difference from predict on 40 samples is (\S+),", text)
    assert float(found[1]) < 1e-6
    assert float(re.search(r"that of its derivatives (\S+)\.\n", text)[1]) < 1e-5
    to_c(model, tmp_path / "net.c", dtype="int8", check=x)
    text = (tmp_path / "net.c").read_text()
    assert re.search(r"Checked: compiled by \S+, its largest error on 40 samples is \S+\.\n", text)


def test_a_file_that_cannot_be_checked(tmp_path, monkeypatch):
    model = fastmlp.MLP([{"n": 3}, {"n": 2, "act": "softmax"}], seed=0)
    broken = tmp_path / "bin" / "cc"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho it is '*/' broken >&2\nexit 1\n")
    broken.chmod(0o755)
    for folder, reason in ((tmp_path, "there is no C compiler"), (broken.parent, "failed: it is ")):
        monkeypatch.setenv("PATH", str(folder))
        with pytest.warns(UserWarning, match=f"to_c: the file is not checked: .*{reason}"):
            to_c(model, tmp_path / "net.c", check=np.zeros((1, 3)))
        assert f"Not checked: {'' if folder == tmp_path else broken}" in (tmp_path / "net.c").read_text()
    monkeypatch.undo()
    compiled([tmp_path / "net.c"], tmp_path / "net.so")


def test_the_header_and_its_macros(tmp_path):
    model = fastmlp.MLP([{"n": 3}, {"n": 2, "act": "softmax"}], seed=0)
    model.metadata["columns"] = names = ["größe, cm", 'a"b\\??/', "x" * 130 + "  y" * 40]
    model.class_names = ["no", "*/"]
    to_c(model, tmp_path / "net.c", "guess", note="one\n*/ two")
    (tmp_path / "main.c").write_text(
        '#include "net.h"\n#include <stdio.h>\nstatic const char *const names[GUESS_N_IN] = GUESS_INPUTS;\n'
        "static const char *const classes[] = GUESS_CLASSES;\n"
        "int main(void) { float x[GUESS_N_IN] = {0}, out[GUESS_N_OUT]; int i; guess(x, out);\n"
        " for (i = 0; i < GUESS_N_IN; ++i) puts(names[i]);\n puts(classes[1]); return out[0] > 1; }\n"
    )
    sources = [tmp_path / "main.c", tmp_path / "net.c"]
    subprocess.run(["gcc", *FLAGS, "-trigraphs", "-o", tmp_path / "main", *sources, "-lm"], check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout.decode()
    assert printed.splitlines() == [*names, "*/"]
    text = (tmp_path / "net.c").read_text()
    assert text.index("* / two") < text.index("#define GUESS_N_IN 3") < text.index("static const")


def test_refusals(network_of, tmp_path):
    model, x = network_of("relu"), np.zeros((2, 5))
    for options, trouble in (
        ({"dtype": "int8"}, "needs samples to choose the ranges of numbers by: calibrate=x, or check=x"),
        ({"dtype": "int9"}, "dtype: unknown 'int9'"),
        ({"calibrate": x}, 'calibrate is for dtype="int8"'),
        ({"dtype": "int8", "check": x, "jacobian": True}, "jacobian=True is for files of float32"),
        ({"check": x[:, :4]}, "check has 4 features, the network takes 5"),
        ({"dtype": "int8", "calibrate": x + np.nan}, "calibrate"),
    ):
        with pytest.raises(ValueError, match=re.escape(trouble)):
            to_c(model, tmp_path / "net.c", **options)
    with pytest.raises(ValueError, match=r"path must not end in \.h"):
        to_c(model, tmp_path / "net.h")
    with pytest.raises(ValueError, match="layer 1 is a softmax between layers"):
        to_c(network_of("softmax"), tmp_path / "net.c", dtype="int8", calibrate=x)
    big = network_of("relu", dtype="float64")
    big.weights[0][0, 0] = 1e300
    with pytest.raises(ValueError, match="NaN or infinite, in w1, as float32"):
        to_c(big, tmp_path / "net.c", dtype="float32")
    assert not list(tmp_path.iterdir())


def test_one_sigmoid_is_named(network_of, tmp_path):
    model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "sigmoid"}], seed=0)
    model.class_names = ["no", "yes"]
    to_c(model, tmp_path / "net.c", "likely")
    compiled([tmp_path / "net.c"], tmp_path / "net.so")
    assert 'out[0] is the probability of "yes", against "no".' in (tmp_path / "net.c").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "2net",
        "net-1",
        "net predict",
        "näh",
        "_net",
        "float",
        "main",
        "expf",
        "exp",
        "isnan",
        "net\n",
        "int8_t",
        "UINT8_C",
        "INT_MAX",
        "FLT_EPSILON",
        "NULL",
        "FP_NAN",
    ],
)
def test_names_that_are_no_identifiers(name, network_of, tmp_path):
    with pytest.raises(ValueError, match="name must be a C identifier"):
        to_c(network_of("relu"), tmp_path / "net.c", name)
    with pytest.raises(TypeError, match="name must be a string, got int"):
        to_c(network_of("relu"), tmp_path / "net.c", 3)


@pytest.mark.parametrize(
    "name", ["REAL", "NAME", "f", "er", "REAL_NAME2", "x", "out", "to", "paths", "N_IN", "CALL", "AFTER"]
)
def test_names_that_look_like_the_template(name, network_of, tmp_path):
    for options in ({"jacobian": True}, {"dtype": "int8"}):
        to_c(network_of("gelu"), tmp_path / "net.c", name, check=np.ones((2, 5)), **options)
        assert "Checked: compiled by" in (tmp_path / "net.c").read_text()
        compiled([tmp_path / "net.c"], tmp_path / "net.so")


def test_ranges_that_eight_bits_cannot_have(tmp_path):
    model = fastmlp.MLP([{"n": 2}, {"n": 1, "act": "linear"}], seed=0, dtype="float64")
    with pytest.raises(ValueError, match="too far apart for 8 bits"), np.errstate(all="ignore"):
        to_c(model, tmp_path / "net.c", dtype="int8", calibrate=[[1e308, 0.0], [-1e308, 0.0]])
    to_c(model, tmp_path / "net.c", dtype="int8", check=[[5e-324, 1.0], [0.0, 0.0]])  # as good as constant
    assert "inf" not in (tmp_path / "net.c").read_text() and "nan" not in (tmp_path / "net.c").read_text()


def test_numbers_that_c_cannot_have(network_of, tmp_path):
    model = network_of("relu")
    model.weights[1][2, 3] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite, in w2"):
        to_c(model, tmp_path / "net.c")
    with pytest.raises(ValueError, match=r"spec\[0\]\['shift'\] has 1e\+300, which is too large for float32"):
        network_of("relu", shift=1e300)
    assert not list(tmp_path.iterdir())
