"""Memory for tests of single kernels: rows of whole cache lines, between guards that no kernel may write to."""

from __future__ import annotations

import sys

import llvmlite.binding as llvm
import numpy as np
import pytest

LINE = 64  # bytes of a cache line, to which rows are padded
GUARD = 4 * LINE  # bytes before and behind each array; 0xFF is NaN in every float


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def real(request):
    """The dtype of a network's numbers."""
    return request.param


@pytest.fixture
def guarded():
    """A function that copies rows, or a vector, into guarded memory; the guards are looked at when the test is over.

    ``guarded(values, columns)`` is an array (…, columns), rounded up to whole cache lines. Its padding is NaN, or -1
    in integers, or what ``padding`` says.
    """
    blocks = []

    def guarded(values, columns=0, padding=None):
        values = np.asarray(values)
        item = values.dtype.itemsize
        width = -(-max(columns, values.shape[-1]) * item // LINE) * LINE // item
        shape = (*values.shape[:-1], width)
        size = int(np.prod(shape)) * item
        block = np.full(size + 2 * GUARD + LINE, 0xFF, np.uint8)
        start = GUARD + -(block.ctypes.data + GUARD) % LINE
        blocks.append((block, start, start + size))
        array = block[start : start + size].view(values.dtype).reshape(shape)
        if padding is not None:
            array[...] = padding
        array[..., : values.shape[-1]] = values
        return array

    yield guarded
    for block, start, end in blocks:
        assert np.all(block[:start] == 0xFF), "a kernel wrote in front of an array"
        assert np.all(block[end:] == 0xFF), "a kernel wrote behind an array"


@pytest.fixture(scope="module")
def compiling():
    """No prebuilt kernels in the processes that a file's tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTMLP_PREBUILT", "0")
        yield


@pytest.fixture(scope="session")
def elf_symbols():
    """A function of an object file: the names that it shows others, and those that it needs of others."""
    if sys.platform != "linux":
        pytest.skip("object files are ELF on Linux alone")
    entry = [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]

    def elf_symbols(code):
        sections = {section.name(): section.data() for section in llvm.ObjectFileRef.from_data(code).sections()}
        shown, needed = set(), set()
        for symbol in np.frombuffer(sections[b".symtab"], entry):
            name = sections[b".strtab"][symbol["name"] :].split(b"\0", 1)[0].decode()
            if name and symbol["info"] >> 4:  # neither a section nor local
                (shown if symbol["section"] else needed).add(name)
        return shown, needed

    return elf_symbols
