"""Checks, with the system's C compiler, whether a file that to_c is about to write predicts as the network does."""

from __future__ import annotations

import re
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
int main(int AFTER_count, char **AFTER_paths)
{
    static TYPE AFTER_x[N_IN];
    static TYPE AFTER_out[N_OUT];
    FILE *AFTER_from, *AFTER_to;
    if (AFTER_count != 3 || !(AFTER_from = fopen(AFTER_paths[1], "rb")) || !(AFTER_to = fopen(AFTER_paths[2], "wb")))
        return 1;
    while (fread(AFTER_x, sizeof AFTER_x, 1, AFTER_from) == 1) {
        CALL;
        if (fwrite(AFTER_out, sizeof AFTER_out, 1, AFTER_to) != 1)
            return 1;
    }
    return fclose(AFTER_to);
}
"""


class NotChecked(Exception):
    """There is no result, because there is no compiler, or it does not work here."""


def compiled(
    text: str, name: str, call: str, rows: np.ndarray, n_out: int, flags: Sequence[str] = ()
) -> tuple[np.ndarray, str]:
    """Compile a C file with a main function at its end, run it on rows, and return what ``call`` wrote to out.

    Parameters
    ----------
    text : str
        The C file.
    name : str
        A unique identifier, with which those of the main function begin.
    call : str
        A statement that reads ``{name}_x`` and writes ``{name}_out``, n_out numbers.
    rows : ndarray, (n, n_in)
        Samples, of the type of the function's inputs and outputs.

    Returns
    -------
    ndarray, (n, n_out), of the rows' dtype, and the compiler's name

    Raises
    ------
    NotChecked
        When no compiler is found, or the compiler or the program fails.
    """
    path = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if path is None:
        raise NotChecked(f"there is no C compiler ({', '.join(_COMPILERS)})")
    kind = {"float32": "float", "float64": "double", "int8": "signed char"}[rows.dtype.name]
    values = {"TYPE": kind, "N_IN": rows.shape[1], "N_OUT": n_out, "AFTER": name, "CALL": call}
    main = re.sub("|".join(values), lambda key: str(values[key[0]]), _MAIN)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "net.c").write_text(text + main, encoding="utf-8")
        np.ascontiguousarray(rows).tofile(folder / "x")
        program, out = folder / "program", folder / "out"
        _run([path, "-std=c99", "-O1", *flags, "net.c", "-o", "program", "-lm"], path, folder)
        _run([program, "x", "out"], "the program", folder)
        return np.fromfile(out, rows.dtype).reshape(len(rows), n_out), Path(path).name


def _run(command: Sequence[str | Path], what: str, folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise NotChecked(f"{what} cannot be run: {error}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        lines = [line for line in lines if "error" in line] or lines
        raise NotChecked(f"{what} failed" + (f": {lines[0]}" if lines else ""))
