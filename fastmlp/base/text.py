"""Text out of files and where it is shown: no characters that command a terminal, and one form of errors."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["is_terminal", "printable", "refusal"]

_LONGEST = 400  # a hostile file's text is not all repeated


def printable(text: str) -> str:
    """The text, with every character that is no letter, sign or blank as `repr` has it: ESC as ``\\x1b``.

    So are line ends, marks that turn the direction of writing, and half characters, which cannot be encoded.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def is_terminal(stream: Any) -> bool:
    """Whether a standard stream is a terminal; programs without a console have none at all."""
    return hasattr(stream, "isatty") and bool(stream.isatty())


def refusal(path: str | os.PathLike[str], trouble: object) -> ValueError:
    """The error that a file's content is answered by: it names the file and, in one line, the trouble."""
    text = printable(" ".join(str(trouble).split())) or type(trouble).__name__
    return ValueError(f"{os.fspath(path)}: {text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'}")
