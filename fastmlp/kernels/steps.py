"""The optimisers' steps, from the formulas of ../optimizers.py."""

from __future__ import annotations

import numpy as np

from ..optimizers import OPTIMIZERS, count_numbers
from .decorators import array_at, force_inlined, record_at
from .formulas import for_each, specialised, tuple_of
from .layout import OPTIONS
from .math import functions
from .vectors import wide_vectors


def build(name: str, dtype: str):
    """The Python function to compile for "prepare.adam", or "step.adam.2" with the number of vectors of state."""
    family, optimizer, *states = name.split(".")
    if family == "prepare":
        return _prepare(OPTIMIZERS[optimizer])
    return _step(OPTIMIZERS[optimizer], int(states[0]), np.dtype(dtype).type)


def _prepare(optimizer):
    """Write the numbers that all parameters share in the next step: once a step, because Adam's take a logarithm and an
    exponential each, a twentieth of the time of a small network's sample."""
    formula = specialised(optimizer.prepare, np.float64)
    n_constants = len(optimizer().constants)
    all_constants = tuple_of(n_constants, force_inlined(lambda i, constants: constants[i]))

    @force_inlined
    def write(i, numbers, values):
        numbers[i] = values[i]

    n_numbers = count_numbers(optimizer.name)
    write_all = for_each(n_numbers, write)

    def prepare(numbers, options, constants, lr):
        constants = all_constants(array_at(constants, n_constants, constants))
        values = formula(lr, record_at(options, OPTIONS).steps + 1, constants)
        write_all(array_at(numbers, n_numbers, numbers), values)
        return 0.0

    return prepare


def _step(optimizer, n_states, real):
    """Move parameters w, (rows, n), and what the optimiser keeps of them, by one step against factor · x ⊗ g, to which
    penalties add for weights. x is (rows,), g (n,); ``states`` lists the distances of the vectors of state behind w;
    ``numbers`` are what `_prepare` made.
    """
    rule = specialised(optimizer.rule, real)
    sign = functions(real).sign
    n_numbers = count_numbers(optimizer.name)
    all_numbers = tuple_of(n_numbers, force_inlined(lambda i, numbers: real(numbers[i])))
    all_places = tuple_of(n_states, force_inlined(lambda i, w, states: w + states[i]))
    read_all = tuple_of(n_states, force_inlined(lambda i, places, n, k: array_at(places[i], n, real)[k]))

    @force_inlined
    def write(i, places, n, k, values):
        array_at(places[i], n, real)[k] = values[i]

    write_all = for_each(n_states, write)

    def step(w, x, g, states, rows, n, for_weights, options, numbers, factor):
        wide_vectors()
        options = record_at(options, OPTIONS)
        numbers = all_numbers(array_at(numbers, n_numbers, numbers))
        states = array_at(states, n_states, states)
        l1 = real(options.l1 if for_weights else 0)
        l2 = real(options.l2 if for_weights else 0)
        factor = real(factor)
        g, x = array_at(g, n, real), array_at(x, rows, real)
        for r in range(rows):
            place = w + r * n * g.itemsize
            places, row = all_places(place, states), array_at(place, n, real)
            of_row = factor * x[r]
            for k in range(n):
                slope = of_row * g[k] + l2 * row[k] + l1 * sign(row[k])
                moved, after = rule(row[k], slope, read_all(places, n, k), numbers)
                row[k] = moved
                write_all(places, n, k, after)
        return 0.0

    return step
