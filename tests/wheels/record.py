"""Record what kernels are called with, and what they make of it: ``python tests/wheels/record.py FILE``.

replay.c calls the kernels of any other library with the same memory, at the same addresses, on a processor or a system
that has no Python here. So NumPy is made to put all its arrays into one mapping, at an address that others can map too.
All that a call of a kernel can see is then in live arrays, but for addresses of other kernels, which are kept by name.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import struct
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_START, _SIZE = 1 << 45, 1 << 29
_LINE = 64
_SET_HANDLER = 304  # where PyDataMem_SetHandler stands in NumPy's table of C functions


class Arena:
    """NumPy's memory from now on. Nothing is used twice: what is freed only is no longer live."""

    live: dict[int, int]  # address and bytes of each array's memory

    def __init__(self) -> None:
        self.live, self._end = {}, _START
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        where = libc.mmap(_START, _SIZE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        assert where == _START, "something else is mapped there"
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._functions = (
            ctypes.CFUNCTYPE(pointer, pointer, size)(lambda _, n: self._take(n)),
            ctypes.CFUNCTYPE(pointer, pointer, size, size)(lambda _, n, item: self._take(n * item)),
            ctypes.CFUNCTYPE(pointer, pointer, pointer, size)(lambda _, old, n: self._move(old, n)),
            ctypes.CFUNCTYPE(None, pointer, pointer, size)(lambda _, old, n: self.live.pop(old, None)),
        )
        addresses = [ctypes.cast(function, pointer).value for function in self._functions]
        self._handler = ctypes.create_string_buffer(struct.pack("127sBQ4Q", b"arena", 1, 0, *addresses))
        api = ctypes.pythonapi
        api.PyCapsule_GetPointer.restype, api.PyCapsule_New.restype = pointer, ctypes.py_object
        api.PyCapsule_GetPointer.argtypes = ctypes.py_object, ctypes.c_char_p
        api.PyCapsule_New.argtypes = pointer, ctypes.c_char_p, pointer
        table = api.PyCapsule_GetPointer(np._core._multiarray_umath._ARRAY_API, None)
        function = ctypes.cast(table, ctypes.POINTER(pointer))[_SET_HANDLER]
        self._capsule = api.PyCapsule_New(ctypes.addressof(self._handler), b"mem_handler", None)
        ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(function)(self._capsule)

    def _take(self, size: int) -> int:
        address = self._end
        self._end += (max(size, 1) + _LINE - 1) // _LINE * _LINE
        assert self._end <= _START + _SIZE
        self.live[address] = size
        return address

    def _move(self, old: int, size: int) -> int:
        address = self._take(size)
        ctypes.memmove(address, old, min(size, self.live.pop(old)))
        return address


class Recorder:
    """Writes each call that Python makes of a kernel: what replay.c reads."""

    def __init__(self, file: BinaryIO, arena: Arena) -> None:
        from fastmlp.kernels import store

        self._file, self._arena, self._loaded = file, arena, store._loaded
        self.calls, self.seen = 0, set()
        file.write(struct.pack("<3q", 0, _START, _SIZE))
        prototype = store._prototype
        record = self._record

        def recording(signature: str) -> Any:
            plain = prototype(signature)

            class Function(plain):  # type: ignore[misc, valid-type]
                _flags_, _argtypes_, _restype_ = plain._flags_, plain._argtypes_, plain._restype_

                def __call__(self, *arguments: Any) -> float:
                    return record(self, super().__call__, [getattr(value, "value", value) for value in arguments])

            return Function

        store._prototype = recording

    def finish(self) -> None:
        self._file.seek(0)
        self._file.write(struct.pack("<q", self.calls))

    def _record(self, function: Any, call: Any, arguments: list[int]) -> float:
        names = {_address(loaded): ".".join(["fastmlp", *key]) for key, loaded in self._loaded.items()}
        name = names[_address(function)]
        regions = {address: ctypes.string_at(address, size) for address, size in self._arena.live.items()}
        functions = [(i, names[value]) for i, value in enumerate(arguments) if value in names]
        for callee, symbol in names.items():
            word = struct.pack("<q", callee)
            for address, content in regions.items():
                functions += [(address + match.start(), symbol) for match in re.finditer(re.escape(word), content)]
        result = call(*arguments)
        real = np.dtype(name.rpartition(".")[2])
        self._text(name)
        self._numbers(len(arguments), *arguments)
        self._numbers(len(regions))
        for address, content in regions.items():
            self._numbers(address, len(content))
            self._file.write(content)
        self._numbers(len(functions))
        for place, callee in functions:
            self._numbers(place)
            self._text(callee)
        written = [(address, count, item) for address, count, item in _written(name, arguments, real) if address]
        self._numbers(len(written))
        for address, count, item in written:
            self._numbers(address, count, item)
            self._file.write(ctypes.string_at(address, count * item))
        self._file.write(struct.pack("<d", result))
        self.calls += 1
        self.seen |= {name, *(callee for _, callee in functions)}
        return result

    def _numbers(self, *values: int) -> None:
        self._file.write(struct.pack(f"<{len(values)}q", *values))

    def _text(self, text: str) -> None:
        self._numbers(len(text))
        self._file.write(text.encode())


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _written(name: str, arguments: list[int], real: np.dtype) -> Iterator[tuple[int, int, int]]:
    """Address, count and bytes of the numbers that a call leaves for Python."""
    from fastmlp.kernels.layout import JOB, LAYER, NUMBERS, OPTIONS

    job = _at(arguments[1], 1, JOB)[0]
    workspace, call, step = job["workspace"], job["call"], job["step"]
    n_params, item = int(workspace["n_params"]), real.itemsize
    layers = _at(int(workspace["layers"]), int(workspace["n_layers"]), LAYER)
    epochs = arguments[5] if len(arguments) > 3 else 1
    yield arguments[0], n_params, item
    yield arguments[2], epochs * NUMBERS.itemsize // 8, 8
    if len(arguments) > 3:
        yield arguments[3], n_params, item
    n_in = int(layers[0]["n_in"])
    outputs = int(call["count"]) * (n_in if ".vjp." in name else int(layers[-1]["n_out"]))
    if ".jacobian." in name:
        outputs *= n_in if call["by_inputs"] else n_params
    elif ".input_hessians." in name:
        outputs *= n_in * n_in
    yield int(call["outputs"]), outputs, item
    yield int(call["gradient"]), n_params, item
    yield int(step["options"]), OPTIONS.itemsize // 8, 8
    for address in _at(int(workspace["flat_states"]), int(workspace["n_states"]), np.dtype(np.int64)):
        yield int(address), n_params, item


def _at(address: int, count: int, dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(ctypes.string_at(address, count * dtype.itemsize), dtype)


def trainings(dtype: str) -> None:
    """Train and ask small networks, with every part that there is."""
    import scipy.sparse

    import fastmlp
    from fastmlp.activations import ACTIVATIONS
    from fastmlp.losses import LOSSES
    from fastmlp.optimizers import OPTIMIZERS, SGD

    rng = np.random.default_rng(0)
    x = np.where(rng.random((24, 21)) < 0.4, 0.0, rng.integers(0, 100, (24, 21)) / 64)
    labels = rng.integers(0, 3, 24)
    rows = np.eye(3)[labels]

    def train(x: Any, y: Any, hidden: str, output: str, **options: Any) -> fastmlp.MLP:
        spec = [{"n": x.shape[1], "act": None}, {"n": 18, "act": hidden}, {"n": 16, "act": "tanh"}]
        n_out = 3 * LOSSES[options.get("loss", "mse")].outputs_per_target
        options = {"epochs": 3, "lr": 0.01, "seed": 0, "dtype": dtype} | options
        return fastmlp.train(x, y, [*spec, {"n": n_out, "act": output}], **options).model

    for hidden in ACTIVATIONS:
        for batch in (1, 8):
            model = train(x, rows, hidden, "linear", batch_size=batch)
        model.hvp(x, rows, np.cos(np.arange(model.params.size)))
    for loss in LOSSES.values():
        for output in ("softmax", "sigmoid", "tanh", "linear"):
            if not loss.refusal(ACTIVATIONS[output]):
                model = train(x, rows, "relu", output, loss=loss.name, batch_size=4)
                model.hvp(x, rows, np.ones(model.params.size))
    for name, kind in OPTIMIZERS.items():
        if kind.rule:
            train(x, labels, "tanh", "softmax", optimizer=name, batch_size=6, l1=1e-4, max_norm=2.0)
    train(x, rows, "tanh", "linear", optimizer="lm", lr=0.01)
    for batch in (1, 24):
        train(x, labels, "relu", "softmax", optimizer=SGD(momentum=0.9), l2=1e-3, batch_size=batch, clip_norm=1.0)
    train(x, labels, "relu", "softmax", dropout=0.3, batch_size=5)
    train(x, labels, "relu", "softmax", sample_weight=rng.random(24))
    for source in ("float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))):
        train((8 * x).astype(source), (2 * rows).astype(source), "tanh", "linear", lr=0.001, batch_size=8)
        if source.startswith("float"):
            for index in (np.int32, np.int64):
                csr = scipy.sparse.csr_array(x.astype(source))
                csr.indices, csr.indptr = csr.indices.astype(index), csr.indptr.astype(index)
                train(csr, labels, "relu", "softmax")
    model = train(x, labels, "gelu", "softmax")
    model.predict(x[:1])
    model.predict(x)
    model.evaluate(x, labels)
    model.gradient(x, labels)
    model.jacobian(x[:4])
    model.jacobian(x[:4], wrt="inputs")
    model.hessian(x[:2], wrt="inputs")
    model.jvp(x, x)
    model.jvp(x, model.params, wrt="params")
    model.vjp(x, rows)
    model.vjp(x, rows, wrt="params")


def main(path: str) -> None:
    arena = Arena()
    with open(path, "wb") as file:
        recorder = Recorder(file, arena)
        from fastmlp.engine import call
        from fastmlp.kernels.variants import built_in

        call._SLICE_SECONDS = 1e6  # however slow recording is: several epochs go into one call
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for dtype in ("float32", "float64"):
                trainings(dtype)
        recorder.finish()
    unseen = sorted({variant.symbol for variant in built_in()} - recorder.seen)
    print(f"{recorder.calls} calls, {len(recorder.seen)} kernels; without {', '.join(unseen) or 'none'}", flush=True)
    os._exit(0)  # arrays still live are freed by functions that Python takes down before them


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(sys.argv[1])
