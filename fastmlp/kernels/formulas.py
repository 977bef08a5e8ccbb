"""The registries' formulas, made ready to be compiled for one dtype."""

from __future__ import annotations

from types import FunctionType

from .decorators import force_inlined
from .math import functions

__all__ = ["for_each", "specialised", "tuple_of"]


def specialised(formula, real, near=False):
    """A registry's formula for single numbers of one dtype: ``np`` is kernels/math.py, every constant of that dtype."""
    np = functions(real, near)
    names = {"np": np, "normal_cdf": np.normal_cdf, "normal_density": np.normal_density}
    for name in formula.__code__.co_names:
        value = formula.__globals__.get(name)
        if name not in names and value is not None:
            names[name] = real(value) if isinstance(value, float) else specialised(value, real, near)
    constants = tuple(real(c) if isinstance(c, float) else c for c in formula.__code__.co_consts)
    return force_inlined(FunctionType(formula.__code__.replace(co_consts=constants), names, formula.__name__))


def tuple_of(count, item):
    """A compiled function of any arguments that returns (item(0, …), item(1, …), …), ``count`` of them."""
    if count == 0:
        return force_inlined(lambda *arguments: ())
    before, last = tuple_of(count - 1, item), count - 1
    return force_inlined(lambda *arguments: (*before(*arguments), item(last, *arguments)))


def for_each(count, action):
    """A compiled function of any arguments that calls action(0, …), action(1, …), …, ``count`` of them."""
    if count == 0:
        return force_inlined(lambda *arguments: None)
    before, last = for_each(count - 1, action), count - 1

    @force_inlined
    def all_of_them(*arguments):
        before(*arguments)
        action(last, *arguments)

    return all_of_them
