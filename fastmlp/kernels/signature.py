"""The arguments of a kernel, as one line of text: "z:T a:T d rows n stride slope:d".

An argument is a name, and behind a colon its type: d a float64; T a pointer to the network's reals, I and D pointers to
int64 and float64; none an int64, which often is an address that may be null.
"""

from __future__ import annotations

__all__ = ["parameters"]


def parameters(signature: str) -> list[tuple[str, str]]:
    """The names and types ("i" for an int64) of a kernel's arguments.

    Examples
    --------
    >>> from fastmlp.kernels.signature import parameters
    >>> parameters("z:T rows slope:d")
    [('z', 'T'), ('rows', 'i'), ('slope', 'd')]
    """
    parts = (argument.partition(":") for argument in signature.split())
    return [(name, kind or "i") for name, _, kind in parts]
