"""What the doors have in common: lazy imports, missing libraries, refusals of what no other library has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastmlp import interop


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
