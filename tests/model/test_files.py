"""Model files: exact round trips, old versions, places, and descriptions that make no sense."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import LOSSES

DATA = Path(__file__).parent / "data"
SPEC = [{"n": 7, "act": None, "shift": 0.1, "scale": list(np.linspace(0.3, 2, 7))}, {"n": 5, "act": "leaky_relu",
        "slope": 1 / 3}, {"n": 4, "act": "tanh", "bias": False}, {"n": 3, "act": "softmax"}]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*do not train")


def saved(tmp_path, spec=SPEC, name="net.safetensors", **options):
    model = fastmlp.MLP(spec, seed=3, **options)
    model.save(tmp_path / name)
    return model, tmp_path / name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_dtype_comes_back(tmp_path, activation, dtype):
    spec = [{"n": 3, "shift": [0.1, 1e-300, -7e22]}, {"n": 4, "act": activation}, {"n": 2, "act": "linear"}]
    model, path = saved(tmp_path, spec, dtype=dtype)
    again = fastmlp.load(path)
    assert again == model and again.dtype == dtype and again.spec == model.spec
    assert again.params.tobytes() == model.params.tobytes()
    x = np.random.default_rng(0).normal(size=(9, 3))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_comes_back(tmp_path, loss):
    for output in ("softmax", "sigmoid", "linear"):
        try:
            spec = fastmlp.Spec([{"n": 3}, {"n": 2, "act": output, "cost": loss}])
        except ValueError:
            continue
        assert fastmlp.load(saved(tmp_path, spec)[1]).spec == spec


def test_names_metadata_slopes_and_missing_biases_come_back(tmp_path):
    model, path = saved(tmp_path)
    assert fastmlp.load(path).class_names is None and fastmlp.load(path).metadata == {}
    model.class_names = ["Ünder", "\ud800", ""]
    model.metadata = {"columns": ["a", "b"], "means": [0.1, 1e300], "nested": {"": None, "yes": [True, 1, 1.5]}}
    model.save(path)
    for again in (fastmlp.load(path), model.copy(), pickle.loads(pickle.dumps(model))):
        assert again == model
        assert again.class_names == ("Ünder", "\ud800", "")
        assert again.metadata == model.metadata
        again.metadata["nested"]["yes"].append(2)
        assert model.metadata["nested"]["yes"] == [True, 1, 1.5]


def test_loading_does_not_warn_of_step_again(tmp_path, recwarn):
    _, path = saved(tmp_path, [{"n": 3}, {"n": 4, "act": "step"}, {"n": 2}])
    recwarn.clear()
    fastmlp.load(path)
    assert not recwarn.list


def test_the_same_model_makes_the_same_bytes(tmp_path):
    assert len({saved(tmp_path, name=f"{i}")[1].read_bytes() for i in range(5)}) == 1


def test_other_tools_read_the_tensors(tmp_path):
    model, path = saved(tmp_path)
    tensors = safetensors.numpy.load_file(path)
    assert list(tensors) == ["biases.1", "biases.3", "weights.1", "weights.2", "weights.3"]
    a = (np.eye(7) - 0.1) * SPEC[0]["scale"]
    a = a @ tensors["weights.1"].T + tensors["biases.1"]
    a = np.tanh(np.where(a > 0, a, a / 3) @ tensors["weights.2"].T) @ tensors["weights.3"].T + tensors["biases.3"]
    e = np.exp(a - a.max(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict(np.eye(7)), e / e.sum(axis=1, keepdims=True), rtol=1e-5)
    torch = pytest.importorskip("safetensors.torch")
    assert torch.load_file(path)["weights.3"].shape == (3, 4)


def test_a_file_of_version_1_still_loads():
    model = fastmlp.load(DATA / "version-1.safetensors")
    expected = json.loads((DATA / "version-1.json").read_text())
    np.testing.assert_allclose(model.predict(expected["x"]), expected["predictions"], rtol=1e-5)
    assert model.class_names == ("yes", "no", "perhaps")
    assert model.metadata == {"columns": ["a", "b", "c", "d"]}


def test_what_cannot_be_kept_is_refused_before_anything_is_written(tmp_path):
    numba = pytest.importorskip("numba")
    square = numba.njit(lambda z: z * z)
    mine = fastmlp.Activation("mine", square, square)
    own_loss = fastmlp.Loss("own", numba.njit(lambda y_hat, y: y), numba.njit(lambda y_hat, y: y))
    path = tmp_path / "net"
    for spec, message in [
        ([{"n": 2}, {"n": 2, "act": mine}, {"n": 1}], "'mine'> cannot be written"),
        ([{"n": 2}, {"n": 1, "cost": own_loss}], "'own'> cannot be written"),
    ]:
        with pytest.raises(ValueError, match=message):
            fastmlp.MLP(spec).save(path)
    model = fastmlp.MLP(SPEC)
    for metadata, error in [
        ({1: 2}, ValueError), ({"a": (1, 2)}, ValueError), ({"a": np.ones(2)}, ValueError), ({"a": np.nan}, ValueError),
        ([1], TypeError), ({"a": {1, 2}}, ValueError), ({"a": "b" * (1 << 24)}, ValueError),
    ]:  # fmt: skip
        model.metadata = metadata
        with pytest.raises(error, match="metadata"):
            model.save(path)
    model.metadata = {}
    model.weights[1][2, 3] = np.inf
    with pytest.raises(ValueError, match=r"weights\.2 holds NaN or infinity"):
        model.save(path)
    assert not list(tmp_path.iterdir())


def test_names_that_are_hard_to_say(tmp_path):
    for name in ("ü ñ.safetensors", "no suffix", "日本"):
        model, path = saved(tmp_path, name=name)
        assert fastmlp.load(str(path)) == model
    if sys.platform == "linux":
        model, path = saved(tmp_path, name=os.fsdecode(b"not utf-8 \xff"))
        assert fastmlp.load(path) == model


def test_places_that_are_no_place(tmp_path):
    model, _ = saved(tmp_path)
    with pytest.raises(FileNotFoundError):
        fastmlp.load(tmp_path / "missing")
    with pytest.raises(ValueError, match="is a folder"):
        fastmlp.load(tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        model.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.save(tmp_path / "missing" / "net")
    for wrong in (3, None, b"net"):
        with pytest.raises(TypeError):
            fastmlp.load(wrong)
        with pytest.raises(TypeError):
            model.save(wrong)
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        for special in (tmp_path / "pipe", "/dev/zero"):
            with pytest.raises(ValueError, match="is not a regular file"):
                fastmlp.load(special)
            with pytest.raises(OSError, match="which a file would replace"):
                model.save(special)


def put(*keys, value):
    def change(document, tensors):
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def tensor(name, value):
    def change(document, tensors):
        tensors[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("spec", 1, "act", value="reluu"), r"unknown activation 'reluu'; did you mean 'relu'"),
        (put("spec", 1, "act", value="x" * 10**6), "unknown activation"),
        (put("spec", 1, "act", value=["relu"]), "must be a name"),
        (put("spec", 1, "n", value=10**9), r"weights\.1 must be float32 of shape \(1000000000, 7\), got"),
        (put("spec", 0, "n", value=10**15), "must be"),
        (put("spec", 1, "n", value=10**400), "must be"),
        (put("spec", 1, "n", value=-5), "positive integer"),
        (put("spec", 1, "n", value=5.0), "positive integer"),
        (put("spec", 1, "n", value=None), "positive integer"),
        (put("spec", 1, "slope", value=10**400), "slope"),
        (put("spec", 0, "shift", value=[[1], [2, 3]]), "."),
        (put("spec", 0, "shift", value="0.1"), "shift"),
        (put("spec", 0, "scale", value=[10**400] * 7), "scale"),
        (put("spec", 0, "scale", value=[1.0] * 6), "scale"),
        (put("spec", 3, "cost", value="none"), "unknown"),
        (put("spec", 3, "cost", value=7), "cost"),
        (put("spec", 2, value=["n", 4]), r"spec\[2\] must be a dict"),
        (put("spec", value={"n": 7}), "'spec' must be a list"),
        (put("spec", value=[]), "spec needs"),
        (put("spec", 1, "evil", value=1), "unknown key 'evil'"),
        (put("spec", value=[{"n": 7}] + [{"n": 1}] * 10_000), "lacks the tensor"),
        (put("dtype", value="float16"), "float16"),
        (put("dtype", value="object"), "object"),
        (put("dtype", value="float64"), "must be float64"),
        (put("dtype", value=[1]), "'dtype' must be a str"),
        (put("kind", value="checkpoint"), "is a checkpoint, not a model"),
        (put("kind", value=None), "kind"),
        (put("format", value=2), "has format 2, fastmlp .* reads up to 1: a newer fastmlp wrote it"),
        (put("format", value=0), "format 0"),
        (put("format", value=True), "'format' must be a int"),
        (put("class_names", value=["a", "b"]), "class_names"),
        (put("class_names", value=[[], [], []]), "class_names"),
        (put("class_names", value=7), "class_names"),
        (put("metadata", value=[]), "'metadata' must be a dict"),
        (put("sha256", value="0" * 64), "SHA-256 differs"),
        (put("sha256", value=0), "sha256"),
        (put("more", value=float("nan")), "NaN"),
        (lambda document, tensors: [document], "must be a JSON object"),
        (lambda document, tensors: "[" * 100_000, "recursion"),
        (lambda document, tensors: '{"kind":"model","kind":"model"}', "'kind' twice"),
        (lambda document, tensors: "{", "."),
        (lambda document, tensors: {**document, "lost": tensors.pop("weights.2").size}, r"lacks the tensor weights\.2"),
        (tensor("weights.4", np.ones(3, np.float32)), r"has a tensor 'weights\.4'"),
        (tensor("biases.2", np.ones(4, np.float32)), r"has a tensor 'biases\.2'"),
        (tensor("biases.1", np.ones(6, np.float32)), r"biases\.1 must be float32 of shape \(5,\), got .*\(6,\)"),
        (tensor("biases.1", np.ones((5, 1), np.float32)), r"biases\.1 must be"),
        (tensor("biases.1", np.ones(5, np.int32)), r"biases\.1 must be float32 .* got I32"),
        (tensor("biases.1", np.ones(5)), r"biases\.1 must be float32 .* got float64"),
        (tensor("biases.1", np.array([1, 2, np.nan, 4, 5], np.float32)), r"biases\.1 holds NaN"),
        (tensor("weights.1", np.full((5, 7), np.inf, np.float32)), r"weights\.1 holds NaN"),
    ],
)  # fmt: skip
def test_sealed_files_that_make_no_sense_are_refused(tmp_path, resealed, change, message):
    _, path = saved(tmp_path)
    resealed(path, lambda document, tensors: None)
    fastmlp.load(path)
    resealed(path, change)
    with pytest.raises(ValueError, match=rf"(?s)net\.safetensors: .*{message}") as refusal:
        fastmlp.load(path)
    assert refusal.type is ValueError and len(str(refusal.value)) < 1000


def test_hostile_files_take_no_memory(tmp_path, resealed):
    """Each is read by a process that may have 512 MB more than it began with."""
    resource = pytest.importorskip("resource")
    assert resource
    _, path = saved(tmp_path)
    files = []
    for name, change in {
        "wide": put("spec", 1, "n", value=10**9),
        "wider": put("spec", 1, "n", value=10**18),
        "deep": put("spec", value=[{"n": 7}] + [{"n": 1}] * 100_000),
        "long": put("spec", 1, "act", value="a" * 10**7),
        "many": put("metadata", value={"a": [[]] * 1_000_000}),
    }.items():
        copy = tmp_path / name
        copy.write_bytes(path.read_bytes())
        resealed(copy, change)
        files.append(copy)
    sparse = tmp_path / "sparse"
    with open(sparse, "wb") as file:
        file.write((1 << 39).to_bytes(8, "little") + b"{")
        file.truncate(1 << 40)
    script = """
import resource, sys, fastmlp
import safetensors
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (512 << 20),) * 2)
for path in sys.argv[1:]:
    try:
        fastmlp.load(path)
    except ValueError as error:
        print(str(error)[:200])
    else:
        print("loaded", path)
"""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    command = [sys.executable, "-c", script, *map(str, [*files, sparse])]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and len(lines) == len(files) + 1, result.stderr
    for line, file in zip(lines, [*files, sparse], strict=True):
        assert str(file) in line
    assert "loaded" in lines[4]


@pytest.mark.parametrize("ending", ["onnx", "keras", "h5", "pt", "PTH"])
def test_kinds_of_files_that_others_write_are_refused_by_name(tmp_path, ending):
    path = tmp_path / f"net.{ending}"
    model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "linear"}])
    for save in (model.save, fastmlp.Ensemble([model]).save):
        with pytest.raises(ValueError, match=r"fastmlp\.interop\.to_(onnx|keras|torch)\(model"):
            save(path)
    with pytest.raises(FileNotFoundError):
        fastmlp.load(path)
    path.write_bytes(b"something")
    with pytest.raises(ValueError, match=r"fastmlp\.interop\.from_(onnx|keras|torch)"):
        fastmlp.load(path)
