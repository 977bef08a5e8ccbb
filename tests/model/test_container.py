"""Whatever may stand under a model file's name: torn, foreign, hostile and mutated bytes are refused by name."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import zipfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

import fastmlp

DATA = Path(__file__).parent / "data"
SPEC = [{"n": 7, "act": None, "shift": 0.1, "scale": list(np.linspace(0.3, 2, 7))}, {"n": 5, "act": "leaky_relu",
        "slope": 1 / 3}, {"n": 4, "act": "tanh", "bias": False}, {"n": 3, "act": "softmax"}]  # fmt: skip


def saved(tmp_path):
    path = tmp_path / "net.safetensors"
    fastmlp.MLP(SPEC, seed=3).save(path)
    return path


def saved_ensemble(tmp_path):
    path = tmp_path / "three.safetensors"
    fastmlp.Ensemble(fastmlp.MLP(SPEC, seed=seed) for seed in range(3)).save(path)
    return path


class Bomb:
    def __reduce__(self):
        return os._exit, (77,)


def header(content: bytes, *, length: int | None = None) -> bytes:
    return (len(content) if length is None else length).to_bytes(8, "little") + content


def hostile_files(tmp_path: Path) -> dict[str, bytes]:
    good = saved(tmp_path).read_bytes()
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


def test_dtypes_that_numpy_does_not_have_are_refused(tmp_path):
    path = saved(tmp_path)
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
        return all(np.isfinite(one.params).all() for one in (model if isinstance(model, fastmlp.Ensemble) else [model]))
    assert type(trouble) is ValueError and str(path) in str(trouble)
    return False


N_MUTATIONS = int(os.environ.get("FASTMLP_FUZZ", 20_000))


def test_mutations_load_or_are_refused(tmp_path):
    """FASTMLP_FUZZ=1000000 makes as many as one has patience for."""
    paths = saved(tmp_path), DATA / "version-1.safetensors", saved_ensemble(tmp_path)
    originals = [path.read_bytes() for path in paths]
    path, rng = tmp_path / "mutated.safetensors", random.Random(int(os.environ.get("FASTMLP_FUZZ_SEED", 0)))
    loaded = 0
    for i in range(N_MUTATIONS):
        content = bytearray(originals[i % 3])
        for _ in range(rng.choice((1, 1, 2, 8))):
            MUTATIONS[rng.randrange(len(MUTATIONS))](content, rng, originals[(i + 1) % 3])
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
    b"dtype", b"softmax", b"relu", b"float32", b"float64", b"sha256", b"spec", b"kind", b"model", b"ensemble",
    b"true", b"\\\"", b"\"", b"{", b"}", b"[", b"]", b",", b":", b"[0,20]", b"[20,32]", b"9" * 20,
    b"\xff", b"\\ud800", b"\\u0000",
]  # fmt: skip


MUTATIONS = [flip_a_bit, flip_a_bit_of_the_header, cut, cut_out, splice, edit, edit, new_length]


def test_mutated_documents_under_a_right_checksum(tmp_path, sealed):
    """Values in the JSON exchanged for others, under a right checksum."""
    originals, rng = [], random.Random(1)
    for path in (saved(tmp_path), saved_ensemble(tmp_path)):
        with safe_open(path, framework="numpy") as file:
            document = json.loads(file.metadata()["fastmlp"])
        del document["sha256"]
        originals.append((document, safetensors.numpy.load_file(path)))
    values = [
        None, True, 0, -1, 1, 5, 7, 10**9, 10**30, 10**400, 0.5, 1e308, "", "relu", "softmax", "model", "float64",
        "x" * 999, [], [1], [[1]], [None], {}, {"n": 3}, [{"n": 7}, {"n": 3}], ["a", "b", "c"],
    ]  # fmt: skip
    for i in range(N_MUTATIONS // 10):
        document, tensors = originals[i % 2]
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
