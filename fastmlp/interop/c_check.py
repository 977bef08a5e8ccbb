"""The system's C compiler, asked whether a file that to_c is about to write computes what the network predicts."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

__all__ = ["NotChecked", "compiled"]

_COMPILERS = ("cc", "gcc", "clang")
_MAIN = """
#include <stdio.h>
int main(int count, char **paths)
{
    static TYPE x[N_IN];
    static TYPE out[N_OUT];
    FILE *from, *to;
    if (count != 3 || !(from = fopen(paths[1], "rb")) || !(to = fopen(paths[2], "wb")))
        return 1;
    while (fread(x, sizeof x, 1, from) == 1) {
        CALL;
        if (fwrite(out, sizeof out, 1, to) != 1)
            return 1;
    }
    return fclose(to);
}
"""


class NotChecked(Exception):
    """Why there is no result: no compiler, or one that does not work here."""


def compiled(text: str, call: str, rows: np.ndarray, n_out: int, flags: Sequence[str] = ()) -> tuple[np.ndarray, str]:
    """Compile a C file with a main function behind it, run that on rows, and return what ``call`` left in out.

    Parameters
    ----------
    text : str
        The C file.
    call : str
        A statement that reads ``x`` and writes ``out``, n_out numbers.
    rows : ndarray, (n, n_in)
        Of the type that the function takes and gives.

    Returns
    -------
    ndarray, (n, n_out), of the rows' dtype, and the compiler's name

    Raises
    ------
    NotChecked
        Where no compiler is found, or it, or the program, fails.
    """
    path = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if path is None:
        raise NotChecked(f"there is no C compiler ({', '.join(_COMPILERS)})")
    kind = {"float32": "float", "float64": "double", "int8": "signed char"}[rows.dtype.name]
    main = _MAIN
    for key, value in (("TYPE", kind), ("N_IN", rows.shape[1]), ("N_OUT", n_out), ("CALL", call)):
        main = main.replace(key, str(value))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.c").write_text(text + main, encoding="utf-8")
        np.ascontiguousarray(rows).tofile(folder / "x")
        program, out = folder / "program", folder / "out"
        _run([path, "-std=c99", "-O1", *flags, folder / "net.c", "-o", program, "-lm"], path)
        _run([program, folder / "x", out], "the program")
        return np.fromfile(out, rows.dtype).reshape(len(rows), n_out), Path(path).name


def _run(command: Sequence[str | Path], what: str) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise NotChecked(f"{what} cannot be run: {error}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise NotChecked(f"{what} failed" + (f": {lines[0]}" if lines else ""))
