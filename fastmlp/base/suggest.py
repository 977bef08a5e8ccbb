"""What to say of a name that is not known: the nearest one that is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 100  # characters that are compared: a name out of a file may be any text


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of an error message: the nearest known name, or all of them when none is near."""
    known = list(known)
    close = difflib.get_close_matches(name[:_LONGEST].lower(), known, n=1, cutoff=0.45)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "; known are " + ", ".join(sorted(known))
