"""Model files: exact round trips, old versions, and whatever else may stand under a file's name."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import subprocess
import sys
import zipfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.base.atomic import remove_leftovers, write_whole
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


def test_class_names_are_checked():
    model = fastmlp.MLP(SPEC)
    for names, error in [
        (["a", "b"], ValueError), (["a", "b", "a"], ValueError), ("abc", TypeError), ([1, 2, 3], TypeError)
    ]:  # fmt: skip
        with pytest.raises(error, match="class_names"):
            model.class_names = names
    with pytest.raises(ValueError, match="class_names needs classes"):
        fastmlp.MLP([{"n": 2}, {"n": 1}]).class_names = ["a"]
    yes_or_no = fastmlp.MLP([{"n": 2}, {"n": 1, "act": "sigmoid"}])
    yes_or_no.class_names = ["no", "yes"]
    labels = fastmlp.MLP([{"n": 2}, {"n": 2, "act": "sigmoid"}])
    labels.class_names = ["red", "round"]
    labels.class_names = None
    assert labels.class_names is None


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    model, path = saved(tmp_path)
    before = path.read_bytes()

    def full_disk(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        fastmlp.MLP(SPEC, seed=9).save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    assert fastmlp.load(path) == model


def test_permissions_and_links_are_kept(tmp_path):
    if os.name != "posix":
        pytest.skip("permissions are POSIX's")
    model, path = saved(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask(tmp_path)
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    model.save(link)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o600


def _umask(folder: Path) -> int:
    probe = folder / "probe"
    probe.touch()
    return 0o666 & ~probe.stat().st_mode


def test_leftovers_of_killed_processes_are_found(tmp_path):
    path = tmp_path / "run [1]*.ckpt"
    write_whole(path, b"whole")
    mine = tmp_path / f"{path.name}.0123456789abcdef.part"
    others = [tmp_path / "run 1.ckpt.0123456789abcdef.part", tmp_path / f"{path.name}.part"]
    for file in (mine, *others):
        file.touch()
    remove_leftovers(path)
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


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


# What else may stand under a file's name.


class Bomb:
    def __reduce__(self):
        return os._exit, (77,)


def header(content: bytes, *, length: int | None = None) -> bytes:
    return (len(content) if length is None else length).to_bytes(8, "little") + content


def hostile_files(tmp_path: Path) -> dict[str, bytes]:
    good = saved(tmp_path)[1].read_bytes()
    bombs = tmp_path / "bombs.npz"
    with zipfile.ZipFile(bombs, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.npy", bytes(1 << 24))
    one = b'{"a":{"dtype":"F32","shape":%s,"data_offsets":[0,4]}}'
    return {
        "empty": b"", "one byte": b"\0", "zeros": bytes(1000), "cut header": good[:50], "cut data": good[:-1],
        "longer": good + b"\0", "pickle": pickle.dumps(Bomb()), "zip bomb": bombs.read_bytes(),
        "gzip": gzip.compress(good), "text": b"weights: [1, 2, 3]\n" * 9,
        "huge length": header(b"{}", length=1 << 40), "longest length": header(b"{}", length=(1 << 64) - 1),
        "no length": header(b""), "length that wraps": header(b"{}", length=(1 << 64) - 8),
        "header not UTF-8": header(b'{"\xff\xfe":1}'), "header no JSON": header(b"{not json}"),
        "deep header": header(b"[" * 100_000), "deep object": header(b'{"a":' * 100_000),
        "NaN shape": header(one % b"[NaN]") + bytes(4), "negative shape": header(one % b"[-1]") + bytes(4),
        "fractional shape": header(one % b"[1.5]") + bytes(4), "huge shape": header(one % b"[4294967296,4294967296]"),
        "empty shape": header(b"{}"), "tensors only": safetensors.numpy.save({"a": np.ones(3)}),
        "a tensor twice": header(one[:-1] % b"[1]" + b"," + one[1:] % b"[1]") + bytes(4),
        "overlapping": header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                              b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}') + bytes(4),
        "metadata twice": header(b'{"__metadata__":{"fastmlp":"1","fastmlp":"2"}}'),
        "metadata a number": header(b'{"__metadata__":{"fastmlp":1}}'),
    }  # fmt: skip


def test_hostile_files_are_refused_by_name(tmp_path):
    path = tmp_path / "hostile.safetensors"
    for name, content in hostile_files(tmp_path).items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"hostile\.safetensors: \S") as refusal:
            fastmlp.load(path)
        assert refusal.type is ValueError and len(str(refusal.value)) < 1000, name


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


def test_dtypes_that_numpy_does_not_have_are_refused(tmp_path):
    _, path = saved(tmp_path)
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b'"weights.2":{"dtype":"F32","shape":[4,5]', b'"weights.2":{"dtype":"F4","shape":[4,40]')
    )
    with pytest.raises(ValueError, match="safetensors: "):
        fastmlp.load(path)


def loads(path: Path, content: bytes | bytearray) -> bool:
    """Whether that is a model file; what is none is refused by a ValueError that names it, and by nothing else."""
    path.unlink(missing_ok=True)  # some file systems flush what is written over
    path.write_bytes(content)
    try:
        model = fastmlp.load(path)
    except ValueError as error:
        trouble = error
    else:
        return bool(np.isfinite(model.params).all())
    assert type(trouble) is ValueError and str(path) in str(trouble)
    return False


N_MUTATIONS = int(os.environ.get("FASTMLP_FUZZ", 20_000))


def test_mutations_load_or_are_refused(tmp_path):
    """FASTMLP_FUZZ=1000000 makes as many as one has patience for."""
    originals = [saved(tmp_path)[1].read_bytes(), (DATA / "version-1.safetensors").read_bytes()]
    path, rng = tmp_path / "mutated.safetensors", random.Random(int(os.environ.get("FASTMLP_FUZZ_SEED", 0)))
    loaded = 0
    for i in range(N_MUTATIONS):
        content = bytearray(originals[i % 2])
        for _ in range(rng.choice((1, 1, 2, 8))):
            MUTATIONS[rng.randrange(len(MUTATIONS))](content, rng, originals[(i + 1) % 2])
        loaded += loads(path, content)
    assert loaded < N_MUTATIONS / 10


def flip_a_bit(content, rng, other):
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def flip_a_bit_of_the_header(content, rng, other):
    if content:
        content[rng.randrange(min(len(content), 700))] ^= 1 << rng.randrange(8)


def cut(content, rng, other):
    del content[rng.randrange(len(content) + 1) :]


def cut_out(content, rng, other):
    start = rng.randrange(len(content) + 1)
    del content[start : start + rng.choice((1, 4, 8, 100))]


def splice(content, rng, other):
    start, source = rng.randrange(len(content) + 1), rng.randrange(len(other))
    length = rng.choice((1, 8, 50, 1000))
    content[start : start + rng.choice((0, length))] = other[source : source + length]


def edit(content, rng, other):
    found = [word for word in WORDS if word in content]
    if found:
        word = rng.choice(found)
        start = content.index(word)
        content[start : start + len(word)] = rng.choice(WORDS)


def new_length(content, rng, other):
    content[:8] = rng.choice((0, 1, max(0, len(content) - 8), len(content), 1 << 31, (1 << 64) - 1)).to_bytes(
        8, "little"
    )


WORDS = [
    b"F32", b"F64", b"BF16", b"I64", b"F4", b"[5,7]", b"[5]", b"[0]", b"[]", b"[1e9]", b"[-1]", b"NaN", b"null",
    b"weights.1", b"weights.2", b"biases.1", b"biases.3", b"__metadata__", b"fastmlp", b"data_offsets", b"shape",
    b"dtype", b"softmax", b"relu", b"float32", b"float64", b"sha256", b"spec", b"kind", b"model", b"true", b"\\\"",
    b"\"", b"{", b"}", b"[", b"]", b",", b":", b"[0,20]", b"[20,32]", b"9" * 20, b"\xff", b"\\ud800", b"\\u0000",
]  # fmt: skip
MUTATIONS = [flip_a_bit, flip_a_bit_of_the_header, cut, cut_out, splice, edit, edit, new_length]


def test_mutated_documents_under_a_right_checksum(tmp_path, sealed):
    """The same behind the checksum: values in the JSON exchanged for others."""
    _, path = saved(tmp_path)
    with safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["fastmlp"])
    del document["sha256"]
    tensors, rng = safetensors.numpy.load_file(path), random.Random(1)
    values = [
        None, True, 0, -1, 1, 5, 7, 10**9, 10**30, 10**400, 0.5, 1e308, "", "relu", "softmax", "model", "float64",
        "x" * 999, [], [1], [[1]], [None], {}, {"n": 3}, [{"n": 7}, {"n": 3}], ["a", "b", "c"],
    ]  # fmt: skip
    for _ in range(N_MUTATIONS // 10):
        changed = json.loads(json.dumps(document))
        for _ in range(rng.choice((1, 1, 2))):
            place = changed
            while True:
                key = rng.choice(list(place) if isinstance(place, dict) else range(len(place))) if place else None
                if key is None or not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.2:
                    break
                place = place[key]
            if key is not None:
                place[key] = deepcopy(rng.choice(values))
        loads(path, sealed(changed, tensors))


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
