"""Text from files: shown without characters that control a terminal, and with one form of errors."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["is_terminal", "printable", "refusal"]

_LONGEST = 400  # a hostile file's text is not all repeated


def printable(text: str) -> str:
    """Return the text with every unprintable character as `repr` writes it: ESC as ``\\x1b``.

    Line ends, marks that change the direction of writing, and lone surrogates, which cannot be encoded, are among them.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def is_terminal(stream: Any) -> bool:
    """Whether a standard stream is a terminal; programs without a console have none at all."""
    return hasattr(stream, "isatty") and bool(stream.isatty())


def refusal(path: str | os.PathLike[str], trouble: object) -> ValueError:
    """Make the error for a file's content, which names the file and, in one line, the fault."""
    text = printable(" ".join(str(trouble).split())) or type(trouble).__name__
    return ValueError(f"{os.fspath(path)}: {text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'}")
