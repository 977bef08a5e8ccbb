"""Files that somebody else had in hand: refused in one sentence before anything changes, or not read at all."""

from __future__ import annotations

import ctypes
import gzip
import io
import json
import os
import pickle
import pty
import re
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import tables

ESCAPE = "\x1b]0;owned\x07\x1b[31m\u202e"
X, Y = np.random.default_rng(0).normal(size=(12, 5)), np.arange(12) % 3
SPEC = [{"n": 5}, {"n": 4, "act": "tanh"}, {"n": 3, "act": "softmax"}]
OPTIONS = {"optimizer": "adam", "early_stopping": 5, "seed": 0, "progress": False}


def trained(path, model, epochs=3, **options):
    return fastmlp.train(X, Y, model, epochs=epochs, checkpoint=path, **OPTIONS, **options)


# Checkpoints under a right checksum.


def put(*keys, value):
    def change(document, found):
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def value_of(name, value):
    def change(document, found):
        found[name] = found[name].copy()
        found[name][-1] = value

    return change


def shorter(name, n):
    def change(document, found):
        found[f"history.{name}"] = found[f"history.{name}"][:n].copy()
        document["history"][name] = n

    return change


def lost(name):
    def change(document, found):
        del found[f"history.{name}"], document["history"][name]

    return change


def epochs(n):
    def change(document, found):
        document["epochs"] = n
        for name in ("loss", "accuracy"):
            shorter(name, n)(document, found)

    return change


NOW = "random_state", "now"
CRAFTED = [
    *(put("steps", value=value) for value in (10**400, 2**53 + 1, -1, 1.0, True, "7", None)),
    *(put("epochs", value=value) for value in (10**400, -1, 1, 3, 2.0)),
    *(value_of(name, value) for name in ("params", "best", "optimizer.1", "optimizer.2") for value in (np.nan, np.inf)),
    *(value_of("history.loss", value) for value in (np.nan, np.inf)),
    shorter("accuracy", 1), shorter("loss", 1), lost("accuracy"), lost("loss"),
    put("history", "accuracy", value=2.0), put("history", "loss", value=True), put("history", "new", value=-1),
    *(put(*NOW, "state", "state", value=value) for value in (-1, 2**128, 10**400, "1", None, 1.5)),
    *(put(*NOW, "state", "inc", value=value) for value in (0, 2, -1, 2**128)),
    *(put(*NOW, "has_uint32", value=value) for value in (2, -1, 10**30)),
    *(put(*NOW, "uinteger", value=value) for value in (-1, 2**32, 10**30)),
    put(*NOW, "bit_generator", value="MT19937"), put(*NOW, value=[]), put("random_state", "first", value={}),
]  # fmt: skip


@pytest.mark.parametrize("change", CRAFTED)
def test_a_crafted_checkpoint_changes_nothing(tmp_path, resealed, change):
    path = tmp_path / "run"
    trained(path, fastmlp.MLP(SPEC, seed=0), 2)
    resealed(path, lambda document, found: None)
    model, content = fastmlp.MLP(SPEC, seed=0), path.read_bytes()
    trained(path, model)
    path.write_bytes(content)
    resealed(path, change)
    model, content = fastmlp.MLP(SPEC, seed=0), path.read_bytes()
    with pytest.raises(ValueError, match=f"^{path}: ") as refusal:
        trained(path, model)
    assert refusal.type is ValueError and len(str(refusal.value)) < 600
    assert model == fastmlp.MLP(SPEC, seed=0) and path.read_bytes() == content
    assert os.listdir(tmp_path) == ["run"]


def test_what_callbacks_note_now_and_then_may_be_of_any_length(tmp_path):
    def note(state):
        if state.epoch % 2:
            state.history.setdefault("norm", []).append(1.0)

    trained(tmp_path / "run", fastmlp.MLP(SPEC, seed=0), 3, callbacks=note)
    _, history = trained(tmp_path / "run", fastmlp.MLP(SPEC, seed=0), 4, callbacks=note)
    assert history["norm"] == [1.0, 1.0] and len(history["loss"]) == 4


# Two processes, one checkpoint.

SLOW = """
import sys, time
sys.path.insert(0, {folder!r})
from test_files import *
model, history = trained(sys.argv[1], fastmlp.MLP(SPEC, seed=0), 400, callbacks=lambda state: time.sleep(0.01))
print(model.params.tobytes().hex())
""".replace("{folder!r}", repr(str(Path(__file__).parent)))


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_a_second_process_is_refused_and_the_first_one_goes_on(tmp_path):
    path = tmp_path / "run"
    command = [sys.executable, "-c", SLOW, path]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not path.exists():
        assert first.poll() is None
        time.sleep(0.01)
    for _ in range(2):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1].startswith(f"ValueError: {path}: another run is writing it now")
    for seed in range(30):  # other runs, which meet files that are being written
        with pytest.raises(ValueError, match="another run is writing it now"):
            fastmlp.train(X, Y, SPEC, seed=seed, checkpoint=path, progress=False)
    assert first.poll() is None
    out, error = first.communicate()
    assert first.returncode == 0, error
    assert out.strip() == trained(None, fastmlp.MLP(SPEC, seed=0), 400)[0].params.tobytes().hex()
    assert os.listdir(tmp_path) == ["run"]


def test_a_run_within_a_run_is_refused(tmp_path):
    def again(state):
        with pytest.raises(ValueError, match="another run is writing it now"):
            trained(tmp_path / "run", fastmlp.MLP(SPEC, seed=0))

    trained(tmp_path / "run", fastmlp.MLP(SPEC, seed=0), callbacks=again)
    assert os.listdir(tmp_path) == ["run"]


def test_a_refused_run_leaves_the_files_of_others_alone(tmp_path):
    path, part = tmp_path / "run", tmp_path / f"run.{'0' * 16}.part"
    trained(path, fastmlp.MLP(SPEC, seed=0), 1)
    part.touch()
    with pytest.raises(ValueError, match="another run's checkpoint"):
        fastmlp.train(X, Y, SPEC, seed=9, checkpoint=path, progress=False)
    assert part.exists()
    trained(path, fastmlp.MLP(SPEC, seed=0), 2)
    assert os.listdir(tmp_path) == ["run"]


# Models.


@pytest.mark.parametrize("key", ["shift", "scale"])
def test_a_shift_that_the_dtype_cannot_hold_is_refused_in_words(tmp_path, resealed, key):
    path = tmp_path / "net"
    for value in (1e39, -1e300, [1.0, 1e39, 1.0, 1.0, 1.0]):
        fastmlp.MLP([{"n": 5, key: value}, *SPEC[1:]], dtype="float64", seed=0).save(path)

        def narrow(document, found):
            document["dtype"] = "float32"
            found.update({name: values.astype(np.float32) for name, values in found.items()})

        assert np.isfinite(fastmlp.load(path).predict(X)).all()
        resealed(path, narrow)
        with pytest.raises(ValueError, match=rf"^{path}: spec\[0\]\['{key}'\] has .*, which is too large for float32"):
            fastmlp.load(path)
        with pytest.raises(ValueError, match="too large for float32"):
            fastmlp.MLP([{"n": 5, key: value}, *SPEC[1:]])
    with pytest.raises(ValueError, match=r"spec\[1\]\['slope'\] has 1e\+40, which is too large for float32"):
        fastmlp.MLP([{"n": 5}, {"n": 4, "act": "leaky_relu", "slope": 1e40}, SPEC[2]])


# Tables.


class Bomb:
    def __reduce__(self):
        return os._exit, (77,)


def npy(header, data=bytes(80), version=1):
    header = header.encode() if isinstance(header, str) else header
    header += b" " * (53 - len(header) % 16) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2 if version == 1 else 4, "little") + header + data


def header(descr="'<f8'", shape="(10,)", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def zip_bomb():
    """An archive whose three thousand arrays are one, of a megabyte, packed a thousand times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(header(shape="(125000,)"), bytes(1_000_000)))
    content = buffer.getvalue()
    start, end = content.rindex(b"PK\1\2"), content.rindex(b"PK\5\6")
    entries = content[start:end] * 3000
    counts = (3000).to_bytes(2, "little") * 2 + len(entries).to_bytes(4, "little")
    return content[:start] + entries + content[end : end + 8] + counts + content[end + 16 :]


def damaged_tables(tmp_path):
    np.savez_compressed(tmp_path / "good.npz", x=np.arange(1000.0))
    np.savez(tmp_path / "objects.npz", x=np.array([Bomb()], object))
    np.save(tmp_path / "objects.npy", np.array([Bomb()], object), allow_pickle=True)
    npz, text = (tmp_path / "good.npz").read_bytes(), gzip.compress(b"x,y\n1,2\n2,3\n" * 500)
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("x.npy", b"1,2,3")
    locked = bytearray(npz)
    locked[npz.rindex(b"PK\1\2") + 8] |= 1
    yield from {
        "cut.npz": npz[:-40], "half.npz": npz[: len(npz) // 2], "empty.npz": b"", "locked.npz": bytes(locked),
        "flipped.npz": npz[:300] + bytes([npz[300] ^ 255]) + npz[301:],
        **{name: (tmp_path / name).read_bytes() for name in ("objects.npz", "objects.npy", "text.npz")},
        "pickle.npy": pickle.dumps(Bomb()), "token.npy": npy("{'descr': '''"), "syntax.npy": npy("{'descr' '<f8'"),
        "latin.npy": npy(b"\xff\xfe"), "deep.npy": npy("(" * 5000), "minus.npy": npy("-" * 9000 + "1"),
        "list.npy": npy("[1, 2]"), "warns.npy": npy("1is 2"), "empty.npy": b"", "long.npy": npy("")[:6] + b"\2\0\xff",
        "shape.npy": npy(header(shape="(-1,)")), "true.npy": npy(header(shape="(True,)")),
        "wide.npy": npy(header(shape="(10000000000,)")), "wider.npy": npy(header(shape="(4294967296, 4294967296, 0)")),
        "cut.npy": npy(header())[:-8], "order.npy": npy(header(order="'no'")), "object.npy": npy(header("'O'")),
        "void.npy": npy(header("'|V8'")), "date.npy": npy(header("'<M8[s]'")),
        "complex.npy": npy(header("'<c16'", "(5,)")), "version.npy": npy(header(), version=9),
        "points.npy": npy(header("'<U1'", "(20,)"), b"\xff" * 80),
        "cut.csv.gz": text[:-9], "half.csv.gz": text[: len(text) // 2], "empty.csv.gz": b"", "empty.csv": b"",
        "flipped.csv.gz": text[:30] + bytes([text[30] ^ 255]) + text[31:],
        "bomb.csv.gz": gzip.compress(bytes(1 << 20)) * 300, "bomb.npz": zip_bomb(),
        "field.csv": b'"' + b"a" * 300_000, "utf-16.csv": "x,y\n1,2\n".encode("utf-16")[:-1],
        "empty.parquet": b"", "magic.parquet": b"PAR1" + b"\xff" * 40 + b"\x20\0\0\0PAR1",
    }.items()  # fmt: skip
    tables.write({"x": np.arange(50.0), "colour": np.array(["red", "blue"] * 25)}, tmp_path / "good.parquet")
    parquet = (tmp_path / "good.parquet").read_bytes()
    yield from {"cut.parquet": parquet[:-30], "head.parquet": parquet[:50]}.items()
    yield "text.parquet", parquet.replace(b"red", b"\xff\xfe\xfd")


def test_damaged_tables_are_refused_by_name(tmp_path, capfd):
    folder, n_files = tmp_path / "damaged", 0
    folder.mkdir()
    for name, content in damaged_tables(tmp_path):
        path = folder / name
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match=r".") as refusal:
                tables.read(path)
        text = str(refusal.value)
        assert refusal.type is ValueError and text.startswith(f"{path}: "), name
        assert text.isprintable() and len(text) < 600, name
        assert fastmlp.__main__.main(["train", str(path), "-t", "x"]) == 2
        assert capfd.readouterr().err == f"fastmlp: {text}\n"
        n_files += 1
    assert n_files == 44


def test_memory_that_is_lacking_is_said_of_the_file(tmp_path, monkeypatch):
    def lacking(*arguments):
        raise MemoryError

    monkeypatch.setattr(tables.reading, "delimited", lacking)
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"t\.csv: takes more memory than there is$"):
        tables.read(tmp_path / "t.csv")


def test_arrays_of_every_sort_are_read(tmp_path):
    rows = np.array([[1.5, 2.0], [3.0, -4.0]])
    for dtype in ("<f2", "<f4", ">f4", "<f8", ">f8", "g", "<i1", "<i8", ">i2", "<u4"):
        for order in "CF":
            np.save(tmp_path / "t.npy", np.asarray(rows, dtype, order=order))
            read = tables.read(tmp_path / "t.npy")
            np.testing.assert_array_equal([read[name].numbers for name in "01"], rows.astype(dtype).T.astype(float))
    for text in (["blue", "red"], ["a", "b"], ["a longer text", "x"]):  # <U4 takes 16 bytes, as the widest floats do
        for byte_order in "<>":
            np.savez(tmp_path / "t.npz", name=np.array(text).astype(f"{byte_order}U20"), short=np.array(text))
            read = tables.read(tmp_path / "t.npz")
            assert [read[name].as_written().tolist() for name in read] == [text, text]
    fields = np.zeros(3, [("größe 日本", "<f4"), ("b", "<U4"), ("c", ">i2", (2,))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the newest version of the format
        np.save(tmp_path / "t.npy", fields)
    assert list(tables.read(tmp_path / "t.npy")) == ["größe 日本", "b", "c[0]", "c[1]"]


def test_the_system_s_own_trouble_stays_an_oserror(tmp_path):
    for suffix in (".csv", ".npy", ".npz", ".parquet", ".csv.gz"):
        with pytest.raises(FileNotFoundError, match=f"missing{suffix}"):
            tables.read(tmp_path / f"missing{suffix}")
        (tmp_path / f"folder{suffix}").mkdir()
        with pytest.raises(IsADirectoryError, match=f"folder{suffix}"):
            tables.read(tmp_path / f"folder{suffix}")


# Terminals, and C.


def hostile(tmp_path):
    """A table whose names and classes command a terminal, and a model of it."""
    rng = np.random.default_rng(0)
    columns = {f"{ESCAPE}width": rng.normal(size=60), "colour": np.array([f"{ESCAPE}red", "blue", "*/ \\"] * 20)}
    tables.write({**columns, f"{ESCAPE}kind": np.array([f"{ESCAPE}yes", "no"] * 30)}, tmp_path / "t.csv")
    return tmp_path / "t.csv", f"{ESCAPE}kind"


def at_a_terminal(arguments, folder):
    """What a command prints to a terminal, standard error included."""
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "fastmlp", *map(str, arguments)],
        stdout=side,
        stderr=side,
        stdin=side,
        cwd=folder,
        env=environment,
    )
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 1 << 16)
        except OSError:  # the end, on Linux
            break
        if not part:
            break
        shown += part
    os.close(main)
    return process.wait(), shown.decode()


def test_nothing_in_a_file_commands_a_terminal(tmp_path):
    table, target = hostile(tmp_path)
    model = tmp_path / "m.safetensors"
    commands = [
        ("train", table, "-t", target, "-o", model, "--epochs", 1), ("info", model), ("evaluate", model, table),
        ("predict", model, table, "--probabilities"), ("export", model, "--to", "c", "-o", tmp_path / "net.c"),
        ("export", model, "--to", "onnx", "-o", tmp_path / "net.onnx"),
    ]  # fmt: skip
    for arguments in commands:
        code, shown = at_a_terminal(arguments, tmp_path)
        assert code == 0, shown
        assert (
            "\x07" not in shown and "\u202e" not in shown and "]0;owned\x1b" not in shown and "\x1b]0" not in shown
        ), shown
        assert "\x1b[31m" not in shown and "\\x1b" in shown
    tables.write(
        {"colour": np.array([ESCAPE, "x"]), f"{ESCAPE}kind": np.array([f"{ESCAPE}other", "no"])}, tmp_path / "o.csv"
    )
    for arguments in (("predict", model, tmp_path / "o.csv"), ("train", tmp_path / "o.csv", "-t", "knd")):
        code, shown = at_a_terminal(arguments, tmp_path)
        assert code == 2 and "\x1b" not in shown and "\u202e" not in shown, shown
    out = subprocess.check_output([sys.executable, "-m", "fastmlp", "predict", model, table], text=True)
    assert out.startswith(f"{ESCAPE}kind\n"), "what a program reads is what the file has"


def test_errors_repeat_no_control_characters(tmp_path, resealed):
    path = tmp_path / "net"
    fastmlp.MLP(SPEC, seed=0).save(path)
    good = path.read_bytes()
    for change in (
        *(put(key, value=ESCAPE) for key in ("kind", "dtype", "spec")), put("class_names", value=[ESCAPE]),
        put("spec", 1, "act", value=ESCAPE), put("spec", 1, ESCAPE, value=1), put("spec", 1, "n", value=ESCAPE),
        lambda document, found: found.update({ESCAPE: found["biases.1"]}),
    ):  # fmt: skip
        path.write_bytes(good)
        resealed(path, change)
        with pytest.raises(ValueError, match="net: ") as refusal:
            fastmlp.load(path)
        assert str(refusal.value).isprintable(), ascii(str(refusal.value))
    onnx = pytest.importorskip("onnx")
    model = fastmlp.MLP(SPEC, seed=0)
    fastmlp.interop.to_onnx(model, path)
    proto = onnx.load(path)
    proto.graph.node[1].name = proto.graph.node[1].op_type = "Evil\x1b[31m\n"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="net: ") as refusal:
        fastmlp.interop.from_onnx(path)
    assert str(refusal.value).isprintable()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_the_exported_c_holds_only_what_shows(tmp_path, command):
    table, target = hostile(tmp_path)
    model = tmp_path / "m.safetensors"
    assert command("train", table, "-t", target, "-o", model, "--epochs", 1)[0] == 0
    assert command("export", model, "--to", "c", "-o", tmp_path / "net.c")[0] == 0
    source = (tmp_path / "net.c").read_text()
    assert source.replace("\n", "").isprintable() and "\\x1b]0;owned" in source
    fastmlp.interop.to_c(
        fastmlp.load(model), tmp_path / "other.c", "other", note="a\ud800\0b\\\n*\\\n/ */ ??/\r/*\x0c x"
    )
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-trigraphs", "-shared", "-fPIC"]
    sources = [tmp_path / "net.c", tmp_path / "other.c"]
    subprocess.run(["gcc", *flags, "-o", tmp_path / "net.so", *sources, "-lm"], check=True)
    assert ctypes.CDLL(str(tmp_path / "net.so")).other


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_every_name_of_math_h_is_refused(tmp_path):
    """gcc itself says what the header has, and no name that is accepted fails to compile."""

    def preprocessed(flag):
        command = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-E", flag, "-x", "c", "-"]
        return subprocess.run(command, input="#include <math.h>\n", capture_output=True, text=True, check=True).stdout

    macros = {line.split()[1].partition("(")[0] for line in preprocessed("-dM").splitlines()}
    names = sorted(name for name in macros | {*re.findall(r"\w+", preprocessed("-P"))} if name[0].isalpha())
    assert len(names) > 400 and {"FP_NAN", "M_PI", "sinf", "fmaf64x"} <= {*names}
    model, accepted = fastmlp.MLP(SPEC, seed=0), []
    for name in names:
        try:
            fastmlp.interop.to_c(model, tmp_path / f"{name}.c", name)
        except ValueError:
            continue
        accepted.append(name)
    assert sorted({*accepted} & macros) == []
    sources = [tmp_path / f"{name}.c" for name in accepted]
    for standard in ("c99", "gnu17"):
        subprocess.run(["gcc", f"-std={standard}", "-Wall", "-Werror", "-fsyntax-only", *sources], check=True)


# The cache folder.

COMPILE = """
import json, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from fastmlp.base.cache import cache_folder
    from fastmlp.kernels import catalog
    for dtype in ("float32", "float64"):
        catalog.activation("relu", dtype)
    folder = cache_folder()
said = [str(w.message) for w in caught if "folder" in str(w.message)]
mode = oct(folder.stat().st_mode & 0o777) if folder.exists() else None
print(json.dumps([str(folder), said, mode, len(list(folder.glob("*/*.o"))), "numba" in sys.modules]))
"""


def cache_of(variables, user=(), remove=("FASTMLP_CACHE_DIR", "XDG_CACHE_HOME")):
    """What a process without prebuilt kernels says: folder, warnings, mode, number of kernels, whether it compiled any.

    As another user, with a number for itself and its group, it may still read whatever root may: Python may be root's.
    """
    environment = {key: value for key, value in os.environ.items() if key not in remove} | {"FASTMLP_PREBUILT": "0"}
    command = [sys.executable, "-c", COMPILE]
    if user:
        powers = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
        command = ["setpriv", f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups", *powers, *command]
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


posix = pytest.mark.skipif(os.name != "posix", reason="no owners and modes there")
root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None, reason="root plays other users"
)


@posix
def test_a_new_cache_folder_is_for_its_owner_alone_and_is_trusted(tmp_path):
    cache = tmp_path / "a" / "cache"
    assert cache_of({"FASTMLP_CACHE_DIR": str(cache)})[:3] == [str(cache), [], "0o700"]
    assert [oct(folder.stat().st_mode & 0o777) for folder in (cache.parent, *cache.glob("*"))] == ["0o700"] * 2
    folder, said, _, n_kernels, compiled = cache_of({"FASTMLP_CACHE_DIR": str(cache)})
    assert (folder, said, compiled) == (str(cache), [], False) and n_kernels


@posix
def test_whoever_else_may_write_there_is_not_trusted(tmp_path):
    cache = tmp_path / "cache"
    variables = {"FASTMLP_CACHE_DIR": str(cache)}
    cache_of(variables)
    (digest,) = cache.glob("*")
    cache.chmod(0o777)
    folder, said, mode, n_kernels, compiled = cache_of(variables)
    assert folder != str(cache) and mode == "0o700" and n_kernels and compiled and not Path(folder).exists()
    (warning,) = said
    assert (
        f"the cache folder {cache} is not used: all users may write to it" in warning and "FASTMLP_CACHE_DIR" in warning
    )
    cache.chmod(0o755)
    assert cache_of(variables)[1:] == [[], "0o755", n_kernels, False]
    digest.chmod(0o757)
    folder, said, _, _, compiled = cache_of(variables)
    assert compiled and len(said) == 1 and str(digest) in said[0]
    digest.chmod(0o700)
    for path in digest.glob("*.o"):
        path.chmod(0o666)
    assert cache_of(variables)[1:] == [[], "0o755", n_kernels, True], "files that others could write are made anew"
    assert cache_of(variables)[4] is False


@posix
@root
def test_owners_and_groups(tmp_path):
    cache = tmp_path / "cache"
    variables = {"FASTMLP_CACHE_DIR": str(cache)}
    n_kernels = cache_of(variables)[3]

    def own(uid, gid, mode):
        for path in (cache, *cache.rglob("*")):
            os.chown(path, uid, gid)
            path.chmod(mode if path.is_dir() else 0o644)

    for owner, mode, user, trouble in [
        ((0, 0), 0o755, (1234, 1234), ""), ((1234, 1234), 0o700, (1234, 1234), ""),
        ((1234, 1234), 0o775, (1234, 1234), ""), ((1234, 0), 0o775, (1234, 1234), ""),
        ((1234, 777), 0o775, (1234, 1234), "another group, 777, may write to it"),
        ((4321, 4321), 0o755, (1234, 1234), "it belongs to another user, 4321"),
        ((1234, 1234), 0o755, (), "it belongs to another user, 1234"),
        ((0, 4321), 0o775, (1234, 1234), "another group, 4321, may write to it"),
    ]:  # fmt: skip
        own(*owner, mode)
        folder, said, _, found, compiled = cache_of(variables, user)
        assert compiled == bool(trouble), (owner, mode, user)
        if trouble:
            assert folder != str(cache) and len(said) == 1 and trouble in said[0]
        else:
            assert (folder, said, found) == (str(cache), [], n_kernels)
    own(1234, 1234, 0o755)
    for path in cache.rglob("*.o"):
        os.chown(path, 4321, 4321)
    assert cache_of(variables, (1234, 1234))[4], "kernels of another user are not run"


@posix
@root
def test_without_home_and_without_a_passwd_entry_it_works():
    remove = ("FASTMLP_CACHE_DIR", "XDG_CACHE_HOME", "HOME")
    folder, said, mode, n_kernels, compiled = cache_of({"PYTHONDONTWRITEBYTECODE": "1"}, (123_456, 123_456), remove)
    assert compiled and n_kernels and mode == "0o700" and not Path(folder).exists()
    assert len(said) == 1 and "no home folder is known" in said[0]


def test_the_home_folder_may_be_abbreviated(tmp_path):
    folder, said, *_ = cache_of({"FASTMLP_CACHE_DIR": "~/x", "HOME": str(tmp_path)})
    assert (folder, said) == (str(tmp_path / "x"), []) and not Path("~").exists()


# Callbacks.


def test_a_stop_iteration_of_a_callback_arrives(tmp_path):
    pytest.importorskip("scipy")
    error = StopIteration("mine")

    def callback(state):
        if state.epoch == 1:
            raise error

    for optimizer in ("lbfgs", "adam"):
        model = fastmlp.MLP(SPEC, seed=0)
        with pytest.raises(StopIteration) as caught:
            fastmlp.train(X, Y, model, optimizer=optimizer, epochs=5, callbacks=callback, progress=False)
        assert caught.value is error
    _, history = fastmlp.train(X, Y, SPEC, optimizer="lbfgs", epochs=5, callbacks=lambda s: s.epoch == 1 and s.stop())
    assert history.epochs == 2
