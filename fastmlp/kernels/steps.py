"""The optimisers' steps, from the formulas of ../optimizers.py."""

from __future__ import annotations

import numpy as np

from ..optimizers import OPTIMIZERS
from .decorators import array_at, force_inlined, record_at
from .formulas import for_each, specialised, tuple_of
from .layout import OPTIONS
from .math import functions
from .vectors import wide_vectors


def build(name: str, dtype: str):
    """The Python function to compile for "step.adam.2", the last being the number of vectors of state."""
    _, optimizer, states = name.split(".")
    return _step(OPTIMIZERS[optimizer], int(states), np.dtype(dtype).type)


def _step(optimizer, n_states, real):
    """Move n parameters w, and what the optimiser keeps of them, by one step against factor · g, to which penalties add
    for weights. w and g are (n,) numbers; ``states`` lists the distances of the vectors of state behind w.
    """
    prepare, rule = specialised(optimizer.prepare, np.float64), specialised(optimizer.rule, real)
    sign = functions(real).sign
    n_constants = len(optimizer().constants)
    n_numbers = len(optimizer.prepare(1.0, 1.0, optimizer().constants))
    all_constants = tuple_of(n_constants, force_inlined(lambda i, constants: constants[i]))
    all_numbers = tuple_of(n_numbers, force_inlined(lambda i, numbers: real(numbers[i])))
    all_places = tuple_of(n_states, force_inlined(lambda i, w, states: w + states[i]))
    read_all = tuple_of(n_states, force_inlined(lambda i, places, n, k: array_at(places[i], n, real)[k]))

    @force_inlined
    def write(i, places, n, k, values):
        array_at(places[i], n, real)[k] = values[i]

    write_all = for_each(n_states, write)

    def step(w, g, states, n, for_weights, options, constants, lr, factor):
        wide_vectors()
        options = record_at(options, OPTIONS)
        constants = all_constants(array_at(constants, n_constants, constants))
        numbers = all_numbers(prepare(lr, options.steps + 1, constants))
        places = all_places(w, array_at(states, n_states, states))
        l1 = real(options.l1 if for_weights else 0)
        l2 = real(options.l2 if for_weights else 0)
        factor = real(factor)
        w = array_at(w, n, real)
        g = array_at(g, n, real)
        for k in range(n):
            slope = factor * g[k] + l2 * w[k] + l1 * sign(w[k])
            moved, after = rule(w[k], slope, read_all(places, n, k), numbers)
            w[k] = moved
            write_all(places, n, k, after)
        return 0.0

    return step
