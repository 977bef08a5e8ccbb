"""Damaged and crafted files against every loader: each is taken, or refused in words that name it, and nothing else.

``python tests/faults/fuzz.py --seconds 3600`` works for an hour; ``--loader`` chooses what to feed, ``--seed`` begins
another sequence, ``--count`` makes so many files for each loader. A file is whole but for what a mutator changes, which
knows the format: it exchanges numbers, strings, shapes and dtypes, swaps and cuts arrays, nests, repeats, and seals the
result with a right checksum, or it flips, cuts and inserts bytes. The loaders work in processes of their own, with 1 GB
of memory and half a minute for a file. The files that break one stay in ``--keep``.
"""

from __future__ import annotations

import argparse
import errno
import gzip
import hashlib
import io
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from copy import deepcopy
from pathlib import Path

import numpy as np

NUMBERS = [
    0,
    -1,
    1,
    2,
    3,
    7,
    255,
    2**31 - 1,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    10**400,
    -(10**9),
]
FLOATS = [0.5, -0.0, 1e-300, 3.5e38, 1e308, float("nan"), float("inf"), -float("inf")]
TEXTS = [
    "", " ", "relu", "softmax", "float64", "loss", "\x1b[31m\x07", "\ud800", "\u202e", "a\0b", "\n", "x" * 5000, "NaN",
    "../../../etc/passwd", "/dev/zero", "*/", "{", "params",
]  # fmt: skip
DEEP = "@deep@"  # becomes a value inside of 100,000 lists
MEMORY, SECONDS_A_FILE = 1 << 30, 30


def damaged(content, rng, start=0):
    """Bytes with a few flipped, cut, inserted, doubled or made extreme, behind ``start``."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 6))):
        at = rng.randrange(min(start, len(content)), len(content) + 1)
        length = rng.choice((1, 2, 4, 8, 64, 1000))
        kind = rng.randrange(8)
        if kind < 3 and at < len(content):
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            del content[at : at + length]
        elif kind == 4:
            content[at:at] = rng.randbytes(length)
        elif kind == 5:
            content[at : at + length] = bytes([rng.choice((0, 1, 127, 128, 255))]) * min(length, len(content) - at)
        elif kind == 6:
            source = rng.randrange(len(content) + 1)
            content[at : at + rng.choice((0, length))] = content[source : source + length]
        elif kind == 7 and rng.random() < 0.5:
            del content[at:]
    return bytes(content)


def json_value(rng):
    nested = [[], {}, [1], [[1]], {"n": 3}, [{"n": 7}, {"n": 3}], ["a", "b", "c"], {"loss": 2}]
    return deepcopy(rng.choice([rng.choice(NUMBERS), rng.choice(FLOATS), rng.choice(TEXTS), *nested, None, True, DEEP]))


def changed_json(document, rng):
    """A JSON value with one part of it exchanged, left out, doubled or renamed."""
    document = deepcopy(document)
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = rng.choice(keys)
        if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.85:
            place = place[key]
            continue
        kind = rng.randrange(6)
        if kind == 0:
            del place[key]
        elif kind == 1 and isinstance(place, dict):
            place[rng.choice(TEXTS)] = place.pop(key)
        elif kind == 1:
            place.insert(key, deepcopy(place[key]))
        elif kind == 2 and type(place[key]) is int:
            place[key] += rng.choice((-1, 1, 2, -2 * place[key] - 1))
        else:
            place[key] = json_value(rng)
        break
    return document


# Models and checkpoints.


def unsealed(content):
    """Document and tensors of a safetensors file."""
    import safetensors.numpy

    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    document = json.loads(header["__metadata__"]["fastmlp"])
    del document["sha256"]
    return document, safetensors.numpy.load(content)


def sealed(document, tensors):
    """The file of a document and tensors, with a right checksum."""
    import safetensors.numpy

    digest = hashlib.sha256(json.dumps(document).encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"\n{name} {values.dtype} {values.shape}\n".encode() + values.tobytes())
    document = {**document, "sha256": digest.hexdigest()} if isinstance(document, dict) else document
    text = json.dumps(document).replace(json.dumps(DEEP), "[" * 100_000 + "]" * 100_000)
    return safetensors.numpy.save(tensors, {"fastmlp": text})


def changed_tensors(tensors, rng):
    """Tensors of which one has other numbers, another shape, dtype or name, or is gone."""
    tensors = {name: np.array(values) for name, values in tensors.items()}
    name = rng.choice(list(tensors))
    values, kind = tensors[name], rng.randrange(8)
    if kind < 3 and values.size:
        number = np.array([rng.choice((*FLOATS, -1.0, 3e38, 1e-40))])
        at = rng.randrange(values.size)
        values.reshape(-1)[at : at + 1] = number.astype(values.dtype)
    elif kind == 3:
        other = rng.choice(list(tensors))
        tensors[name], tensors[other] = tensors[other], values
    elif kind == 4:
        tensors[name] = values.reshape(-1)[: rng.randrange(values.size + 1)]
    elif kind == 5:
        tensors[name] = values.astype(rng.choice((np.float32, np.float64, np.int32, np.uint8, np.float16)), copy=False)
    elif kind == 6:
        del tensors[name]
    else:
        tensors[rng.choice((*tensors, "weights.9", "", "\x1b[31m"))] = np.concatenate([values.reshape(-1)] * 2)
    return tensors


def changed_sealed(content, rng):
    kind = rng.random()
    if kind < 0.3:
        return damaged(content, rng)
    if kind < 0.4:
        length = int.from_bytes(content[:8], "little")
        header = changed_json(json.loads(content[8 : 8 + length]), rng)
        text = json.dumps(header).replace(json.dumps(DEEP), "[" * 100_000).encode()
        length = len(text) if rng.random() < 0.9 else rng.choice((0, 1, len(content), 2**40, 2**64 - 1))
        return length.to_bytes(8, "little") + text + content[8 + length :]
    document, tensors = unsealed(content)
    with np.errstate(all="ignore"):
        for _ in range(rng.choice((1, 1, 2))):
            if rng.random() < 0.7:
                document = changed_json(document, rng)
            else:
                tensors = changed_tensors(tensors, rng) if tensors else tensors
    return sealed(document, tensors)


# Tables.


def npy(array, rng=None):
    """The bytes of an .npy, its header changed where there is chance."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, (2, 0) if rng and rng.random() < 0.2 else None)
    content = buffer.getvalue()
    if rng is None:
        return content
    if rng.random() < 0.4:
        return damaged(content, rng)
    n = 8 + (2 if content[6] == 1 else 4)
    header, data = content[n:].split(b"\n", 1)
    changes = [
        (rb"\([\d, ]*\)", b"() (0,) (-1,) (10**9,) (1000000000000,) (2,True) (1e9,) 3 (9223372036854775807,9) (3,)*9"),
        (rb"'[<>|][^']*'", b"'O' '|O' '<f2' '<f16' '<c16' '<U9999999' '|V0' '<M8[s]' '>i8' '|b1' '<U0' ('f8',(9,)) "
                           b"[('a','O')] 'x\\q' b'f8'"),
        (rb"True|False", b"None 1 'True'"),
        (rb"\{.*", b"{ {'descr':'<f8'} 1is ''' \xff " + b" ".join((b"[" * 900, b"(" * 90, b"-" * 5000))),
        (rb", \}", b",'x':1} }} ,1}"),
    ]  # fmt: skip
    pattern, texts = rng.choice(changes)
    text = rng.choice(texts.split())
    header = re.sub(pattern, lambda match: text, header, count=1) + b"\n"
    size = len(header) if rng.random() < 0.9 else rng.choice((0, 60_000))
    return content[:8] + size.to_bytes(n - 8, "little") + header + data[: rng.choice((len(data), 3))]


def changed_npy(content, rng):
    return npy(np.load(io.BytesIO(content)), rng)


def changed_npz(content, rng):
    if rng.random() < 0.4:
        return damaged(content, rng)
    arrays = dict(np.load(io.BytesIO(content)))
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, 8, 12, 14))) as archive,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of names that come twice
        for name, array in arrays.items():
            name = rng.choice(("a", "\x1b[31m", "../x", "x" * 999)) if rng.random() < 0.1 else name
            archive.writestr(f"{name}.npy", npy(array, rng if rng.random() < 0.3 else None))
    content = bytearray(buffer.getvalue())
    if rng.random() < 0.3:
        at = content.rindex(b"PK\1\2")
        at += rng.choice((8, 10, 20, 24, 42)) - (26 if rng.random() < 0.3 else 0)
        content[at : at + 2] = rng.choice((b"\1\0", b"\x63\0", b"\xff\xff", b"\0\0"))  # a password, another compression
    return bytes(content)


CSV_PARTS = [
    b'"', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"1e999",
    b"nan", b"-inf", b"1_0", b"\xe2\x80\xae", b"\x1b[31m", b"a" * 200_000, b"," * 3000, b"NA", b"2020-01-01", b"true",
]  # fmt: skip


def changed_csv(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        if rng.random() < 0.3:
            content = bytearray(damaged(content, rng))
        else:
            at = rng.randrange(min(len(content), rng.choice((20, 10**6))) + 1)
            content[at : at + rng.choice((0, 0, 1, 9))] = rng.choice(CSV_PARTS)
    return bytes(content)


def changed_gz(content, rng):
    if rng.random() < 0.5:
        return damaged(content, rng)
    return gzip.compress(changed_csv(gzip.decompress(content), rng), 1)


def changed_parquet(content, rng):
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little") if rng.random() < 0.6 else 0
    return damaged(content, rng, max(0, start))


def frame():
    import pandas as pd

    n = 30
    numbers = {
        "width": np.arange(n) * 0.37,
        "count": np.arange(n),
        "yes": [True, False] * 15,
        "gaps": [None, 1.5, 2] * 10,
    }
    return pd.DataFrame({**numbers, "when": pd.date_range("2020-01-01", periods=n), "colour": ["red", "grün"] * 15})


def originals_csv(folder):
    return [
        frame().to_csv(index=False).encode(), frame().to_csv(sep=";", decimal=",").encode("utf-8-sig"),
        frame().to_csv(index=False, quoting=1, sep="\t", lineterminator="\r\n").encode(),
    ]  # fmt: skip


def originals_parquet(folder):
    import pyarrow as pa
    import pyarrow.parquet

    plain = pa.Table.from_pandas(frame())
    lists = plain.append_column("list", pa.array([[1, 2], [3]] * 15))
    strange = pa.table({
        "dictionary": plain["colour"].dictionary_encode(), "bytes": pa.array([b"a", b"\xff"] * 15),
        "decimal": pa.array([1, None] * 15).cast(pa.decimal128(21, 2)), "struct": pa.array([{"a": 1}] * 30),
        "half": pa.array(np.arange(30, dtype=np.float16)),
    })  # fmt: skip
    contents = []
    for table, options in [
        (plain, {"compression": "none"}), (plain, {}), (lists, {"compression": "zstd"}),
        (strange, {"compression": "gzip", "data_page_version": "2.0"}),
        (plain.select([0, 1, 2]), {"use_dictionary": False, "row_group_size": 7, "write_page_checksum": True}),
    ]:  # fmt: skip
        sink = io.BytesIO()
        pa.parquet.write_table(table, sink, **options)
        contents.append(sink.getvalue())
    return contents


def originals_npy(folder):
    rows = np.random.default_rng(0).normal(size=(12, 3))
    fields = np.zeros(5, [("a", "<f4"), ("b", "<U4"), ("c", ">i2", (2,))])
    arrays = [rows, np.asfortranarray(rows), rows.astype(">f4"), rows.astype(np.float16), rows > 0, np.arange(4)]
    return [npy(array) for array in (*arrays, fields, np.array([["blue", "x"]]))]


def originals_npz(folder):
    contents = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, x=np.ones((9, 2, 2)), y=np.arange(9), name=np.array(["blue"] * 9))
        contents.append(buffer.getvalue())
    return contents


def load_table(path):
    from fastmlp import tables

    table = tables.read(path)
    try:
        for values in table.values():
            assert len(values.present) == len(values)
        tables.Schema.of(table, next(reversed(table)))
    except ValueError as error:
        if type(error) not in (ValueError, tables.RefusedColumns) or "column" not in str(error):
            raise RuntimeError("an error that names no column") from error


# Networks.

SPEC = [{"n": 5, "scale": 0.9, "shift": [0.1, 0, 0, 0, 0]}, {"n": 4, "act": "leaky_relu"}, {"n": 3, "act": "softmax"}]


def originals_model(folder):
    import fastmlp

    model = fastmlp.MLP(SPEC, seed=0)
    model.class_names, model.metadata = ["a", "b", "c"], {"table": {"target": "y", "columns": []}}
    model.save(folder / "model")
    fastmlp.MLP([*SPEC[:2], {"n": 2, "act": "linear", "bias": False}], seed=1, dtype="float64").save(folder / "other")
    fastmlp.Ensemble([model, fastmlp.load(folder / "model")]).save(folder / "ensemble")
    return [(folder / name).read_bytes() for name in ("model", "other", "ensemble")]


def load_model(path):
    import fastmlp

    model = fastmlp.load(path)
    for one in model if isinstance(model, fastmlp.Ensemble) else [model]:
        assert np.isfinite(one.params).all()
        one.predict(np.zeros((2, one.spec.n_in)))


def trained(path, model, epochs):
    import fastmlp

    x = np.random.default_rng(0).normal(size=(12, 5))
    options = {"optimizer": "adam", "batch_size": 4, "dropout": 0.1, "early_stopping": 5, "validation_fraction": 0.25}
    fastmlp.train(x, np.arange(12) % 3, model, epochs=epochs, seed=0, checkpoint=path, progress=False, **options)


def originals_checkpoint(folder):
    import fastmlp

    for name, epochs in (("two", 2), ("three", 3)):
        trained(folder / name, fastmlp.MLP(SPEC, seed=0), epochs)
    return [(folder / "two").read_bytes(), (folder / "three").read_bytes()]


def load_checkpoint(path):
    import fastmlp

    model, content = fastmlp.MLP(SPEC, seed=0), path.read_bytes()
    try:
        trained(path, model, 3)
    except fastmlp.DivergenceError:  # from numbers that may be
        pass
    except ValueError:
        assert model == fastmlp.MLP(SPEC, seed=0) and path.read_bytes() == content, (
            "something was changed before it was refused"
        )
        raise


ONNX_WORDS = "Gemm Relu Mul Cast Reshape Identity Constant x y c0 gemm1 ai.onnx.ml location fastmlp"


def originals_onnx(folder):
    import fastmlp

    contents = []
    for act, dtype in [("relu", "float32"), ("gelu", "float32"), ("selu", "float64"), ("hard_tanh", "float64")]:
        spec = [{"n": 3, "shift": 0.1, "scale": [1, 2, 3]}, {"n": 4, "act": act}, {"n": 2, "act": "softmax"}]
        model = fastmlp.MLP(spec, seed=0, dtype=dtype)
        model.class_names = ["a", "b"]
        fastmlp.interop.to_onnx(model, folder / "net.onnx")
        contents.append((folder / "net.onnx").read_bytes())
    return contents


def changed_onnx(content, rng):
    import onnx

    if rng.random() < 0.25:
        return damaged(content, rng)
    proto = onnx.load_model_from_string(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        change_message(proto, rng)
    return proto.SerializeToString()


def change_message(message, rng):
    """Change a field of a message of protobuf, or of one within it."""
    fields = [(field, value) for field, value in message.ListFields()]
    fields = fields if rng.random() < 0.9 else []
    field, value = rng.choice(fields or [(field, None) for field in message.DESCRIPTOR.fields])
    many = hasattr(value, "append") or hasattr(value, "add")
    inner = field.message_type is not None
    if value is None:
        value = getattr(message, field.name)
        many = hasattr(value, "append") or hasattr(value, "add")
        if inner and not many:
            value.SetInParent()
            return
    if many and len(value) and rng.random() < 0.25:
        i, j = rng.randrange(len(value)), rng.randrange(len(value))
        kind = rng.randrange(3)
        if kind == 0:
            del value[i]
        elif inner:
            copy = type(value[i])()
            copy.CopyFrom(value[i])
            if kind == 1:
                value.add().CopyFrom(copy)
            else:
                value[i].CopyFrom(value[j])
                value[j].CopyFrom(copy)
        else:
            value.append(value[j])
    elif inner and many:
        change_message(rng.choice(value) if len(value) else value.add(), rng)
    elif inner:
        change_message(value, rng)
    else:
        try:
            new = scalar(field, value[0] if many and len(value) else value, rng)
            if many and len(value):
                value[rng.randrange(len(value))] = new
            elif many:
                value.append(new)
            else:
                setattr(message, field.name, new)
        except (ValueError, TypeError, OverflowError):  # protobuf does not take it: another kind of number, say
            message.ClearField(field.name)


def scalar(field, value, rng):
    if field.cpp_type == field.CPPTYPE_STRING:
        if isinstance(value, bytes):
            return damaged(value, rng)
        return rng.choice([*ONNX_WORDS.split(), *(text for text in TEXTS if text.isascii())])
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice(FLOATS)
    return rng.choice([*(n for n in NUMBERS if n < 2**63), *range(30)])


def load_onnx(path):
    from fastmlp.interop import from_onnx

    model = from_onnx(path)
    model.predict(np.zeros((2, model.spec.n_in)))


LOADERS = {  # the name's end, whole files, a mutator, what takes a path
    "model": (".safetensors", originals_model, changed_sealed, load_model),
    "checkpoint": (".ckpt", originals_checkpoint, changed_sealed, load_checkpoint),
    "npy": (".npy", originals_npy, changed_npy, load_table),
    "npz": (".npz", originals_npz, changed_npz, load_table),
    "csv": (".csv", originals_csv, changed_csv, load_table),
    "gz": (".csv.gz", lambda folder: [gzip.compress(text) for text in originals_csv(folder)], changed_gz, load_table),
    "parquet": (".parquet", originals_parquet, changed_parquet, load_table),
    "onnx": (".onnx", originals_onnx, changed_onnx, load_onnx),
}


def trouble_with(load, path):
    """What is wrong with how a file is answered; "" when it is taken, None when it is refused as it should be."""
    try:
        load(path)
        return ""
    except (ValueError, OSError) as error:
        text, kind = str(error), type(error)
        named = str(path) in text or getattr(error, "filename", None) in (path, str(path))
        of_the_system = isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EISDIR, errno.EACCES)
        if (kind is ValueError or of_the_system) and named and text.replace(str(path), "").isprintable():
            return None
        return f"{kind.__name__}: {text!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {error!r}"[:600]


def work(loader, folder, seed, first, last, seconds):
    """Feed one loader: a line of output before each file, and one for each trouble; a file stays while it is loaded."""
    suffix, originals, mutate, load = LOADERS[loader]
    path = folder / f"fuzzed{suffix}"
    contents = originals(folder)
    for content in contents:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        trouble = trouble_with(load, path)
        assert trouble == "", f"a whole file is refused: {trouble}"
    limit_memory()
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "the checkpoint was made by other kernels")
    warnings.filterwarnings("ignore", "the (text is not in UTF-8|table has|archive has|first line is taken)")
    end, i, n_taken = time.monotonic() + seconds, first, 0
    while i < last and time.monotonic() < end:
        rng = random.Random(f"{seed} {loader} {i}")
        content = mutate(rng.choice(contents), rng)
        path.unlink(missing_ok=True)  # some file systems flush what is written over
        path.write_bytes(content)
        print("at", i, flush=True)
        if hasattr(signal, "alarm"):
            signal.alarm(SECONDS_A_FILE)
        trouble = trouble_with(load, path)
        if trouble:
            kept = folder / f"{loader}-{seed}-{i}{suffix}"
            kept.write_bytes(content)
            print("trouble", i, trouble, flush=True)
        n_taken += trouble == ""
        i += 1
    print("taken", n_taken, flush=True)


def limit_memory():
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError):
        pass


def feed(loader, seed, count, seconds, keep):
    """Feed one loader in processes, another one after each that dies: how many files, and lines of trouble."""
    troubles, i, taken, end = [], 0, 0, time.monotonic() + seconds
    while i < count and time.monotonic() < end:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            left = max(1.0, end - time.monotonic())
            task = {"work": folder, "loader": loader, "seed": seed, "from": i, "count": count, "seconds": left}
            command = [sys.executable, __file__, *(f"--{name}={value}" for name, value in task.items())]
            process = subprocess.run(command, capture_output=True, text=True, check=False)
            out, err = process.stdout, process.stderr
            for line in out.splitlines():
                word, _, rest = line.partition(" ")
                i = int(rest) + 1 if word == "at" else i
                taken += int(rest) if word == "taken" else 0
                if word == "trouble":
                    troubles.append(f"{loader} {rest}")
            if process.returncode:
                troubles.append(f"{loader} {i - 1} ended by {process.returncode}: {err[-500:]}")
                for path in Path(folder).glob("fuzzed*"):
                    path.rename(Path(folder) / f"{loader}-{seed}-{i - 1}{LOADERS[loader][0]}")
            for path in Path(folder).glob(f"{loader}-*"):
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, keep)
            if process.returncode and not out:
                break  # it does not even begin
    return i, taken, troubles


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1e9, help="for all loaders together")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="files for each loader")
    parser.add_argument("--loader", choices=LOADERS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzzed"), help="where files go that break a loader")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--from", dest="first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    loaders = options.loader or list(LOADERS)
    if options.work is not None:
        work(loaders[0], options.work, options.seed, options.first, options.count, options.seconds)
        return 0
    if options.seconds == 1e9 and options.count == sys.maxsize:
        parser.error("give --seconds or --count")
    troubled = False
    for loader in loaders:
        seconds = options.seconds / len(loaders)
        n_files, taken, troubles = feed(loader, options.seed, options.count, seconds, options.keep)
        print(f"{loader}: {n_files} files, {taken} taken, {len(troubles)} troubles", flush=True)
        for line in troubles[:20]:
            print(f"  {line}", flush=True)
        troubled |= bool(troubles) or not n_files
    return int(troubled)


if __name__ == "__main__":
    sys.exit(main())
