"""Names that users write: their meaning, and errors that suggest the nearest name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

__all__ = ["did_you_mean", "lookup", "unknown_name"]

T = TypeVar("T")

_LONGEST = 100  # characters that are compared: a name out of a file may be any text


def lookup(
    value: Any,
    registry: Mapping[str, T],
    aliases: Mapping[str, str],
    where: str,
    kind: str,
    hint: str = "",
) -> T:
    """Find the entry of a registry that a user names, in upper or lower case.

    Parameters
    ----------
    value : str
        The name; anything else is a TypeError.
    registry : dict
        Entries by their names, which are in lower case.
    aliases : dict
        Other names, and the registry's name for each.
    where : str
        The argument, or place in an argument, that an error is about.
    kind : str
        The class whose instances could be given instead of a name: "fastmlp.Loss".
    hint : str
        Advice in the error for a function or a class that was given instead of a name.
    """
    if not isinstance(value, str):
        advice = f"; {hint}" if hint and callable(value) else ""
        raise TypeError(f"{where} must be a name or a {kind}, got {type(value).__name__}{advice}")
    name = value.lower()
    name = aliases.get(name, name)
    if name not in registry:
        raise unknown_name(value, [*registry, *aliases], where, kind.rpartition(".")[2].lower())
    return registry[name]


def unknown_name(name: str, names: Iterable[str], where: str, kind: str = "") -> ValueError:
    """Make the error for a name that is not among ``names``: "{where}: unknown {kind} …; did you mean …?"."""
    return ValueError(f"{where}: unknown {f'{kind} ' if kind else ''}{name!r}{did_you_mean(name, names)}")


def did_you_mean(name: str, names: Iterable[str], otherwise: str | None = None) -> str:
    """Word the tail of an error message: the nearest of ``names``; if none is near, ``otherwise``, or all of them."""
    import difflib

    names = list(names)
    spelt = {known.lower(): known for known in reversed(names)}
    close = difflib.get_close_matches(name[:_LONGEST].lower(), spelt, n=1, cutoff=0.45)
    if close:
        return f"; did you mean {spelt[close[0]]!r}?"
    return "; known are " + ", ".join(sorted(names)) if otherwise is None else otherwise
