"""What the doors have in common: lazy imports, missing libraries, what tables lack, chains that are none."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp import interop
from fastmlp.activations import ACTIVATIONS
from fastmlp.interop.chain import Chain, word


def test_no_library_is_imported_before_its_door_is_used():
    code = "import sys, fastmlp; dir(fastmlp.interop); print({'torch', 'keras', 'onnx', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("door", "advice"),
    [
        ("to_onnx", "needs onnx: pip install 'fastmlp[onnx]'"),
        ("from_sklearn", "needs scikit-learn: pip install 'fastmlp[sklearn]'"),
        ("to_torch", "needs torch: pip install torch"),
        ("from_keras", "needs keras: pip install keras"),
    ],
)
def test_a_missing_library_is_named(door, advice, monkeypatch):
    for module in ("onnx", "sklearn", "torch", "keras"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as error:
        getattr(interop, door)
    assert str(error.value) == f"fastmlp.interop.{door} {advice}"


def test_unknown_doors():
    with pytest.raises(AttributeError, match="to_tensorflow"):
        interop.to_tensorflow  # noqa: B018
    assert {"to_c", "from_onnx"} <= set(dir(interop))


def test_an_activation_that_a_table_lacks_is_named():
    with pytest.raises(ValueError, match="'relu' cannot be expressed in Fortran"):
        word({"tanh": "TANH"}, ACTIVATIONS["relu"], "Fortran")


@pytest.mark.parametrize("door", ["to_onnx", "to_c", "to_torch", "to_keras"])
def test_custom_activations_are_refused_and_leave_no_file(door, custom_network, tmp_path):
    if door != "to_c":
        pytest.importorskip(door[3:])
    arguments = [tmp_path / "net"] if door in ("to_onnx", "to_c") else []
    with pytest.raises(ValueError, match="custom activation 'square'"):
        getattr(interop, door)(custom_network, *arguments)
    with pytest.raises(TypeError, match=r"model must be a fastmlp\.MLP, got int"):
        getattr(interop, door)(1, *arguments)
    assert not list(tmp_path.iterdir())


def chain(*layers):
    made = Chain()
    for i, (n_in, n_out) in enumerate(layers):
        made.dense(np.ones((n_out, n_in), np.float32), np.zeros(n_out, np.float32), f"layer {i}")
    return made


def test_shift_and_scale_in_any_order():
    rng = np.random.default_rng(0)
    x, k, c = rng.normal(size=(4, 3)), rng.uniform(1, 2, 3), rng.normal(size=3)
    made = Chain()
    made.multiply(k, "k")
    made.add(c, "c")
    made.multiply(0.5, "half")
    made.add(0.0, "nothing")
    made.dense(np.eye(3), None, "layer")
    np.testing.assert_allclose(made.model().predict(x), (x * k + c) * 0.5, rtol=1e-14)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Chain().model(), "no layer with weights"),
        (lambda: chain((2, 3), (4, 1)), "layer 1 takes 4 inputs, the layer before it has 3 outputs"),
        (lambda: chain((2, 3)).dense(np.ones((1, 3)), None, "last"), "last has float64 parameters, those before it"),
        (lambda: Chain().dense(np.ones((1, 3), np.float16), None, "last"), "last has float16 parameters"),
        (lambda: Chain().dense(np.full((1, 3), np.nan), None, "last"), "NaN or infinite"),
        (lambda: Chain().dense(np.ones((1, 3)), np.ones(2), "last"), r"weights \(1, 3\), biases \(2,\)"),
        (lambda: Chain().dense(np.ones((0, 3)), None, "last"), r"weights \(0, 3\)"),
        (lambda: Chain().activate(fastmlp.relu, "relu"), "relu comes before the first layer"),
        (lambda: chain((2, 2)).multiply(2, "scaling"), "scaling scales or shifts behind a layer"),
        (lambda: Chain().add(np.ones((2, 2)), "shift"), r"shift has shape \(2, 2\)"),
    ],
)
def test_chains_that_are_none(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_two_activations_in_a_row():
    made = chain((2, 2))
    made.activate(fastmlp.linear, "identity")
    made.activate(fastmlp.relu, "first")
    with pytest.raises(ValueError, match="second follows another activation, relu"):
        made.activate(fastmlp.tanh, "second")
