"""The padded copy of the parameters, against a naive one: rows of whole cache lines, layer after layer; and what is
done to whole layers of it."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from fastmlp.engine.memory import Functions, Parameters, Workspace
from fastmlp.kernels import catalog, packing
from fastmlp.kernels.checked import checked
from fastmlp.kernels.decorators import record_at
from fastmlp.kernels.layout import JOB, LAYER, parameter_places

NETWORKS = [
    ([5, 9, 3], [True, True]),
    ([3, 2, 2, 1], [True, False, True]),
    ([16, 16, 10, 3], [False, True, True]),
    ([20, 33], [True]),
    ([1, 1], [False]),
]
_pack = njit(lambda job, flat, distance, first, real: packing.pack(record_at(job, JOB), flat, distance, first, real))
_unpack = njit(lambda job, flat, distance, real: packing.unpack(record_at(job, JOB), flat, distance, real))
_clear = njit(
    lambda layer, distance, member, team, real: packing.clear(record_at(layer, LAYER), distance, member, team, real)
)
_add = njit(
    lambda layer, distance, other, member, team, real: packing.add(
        record_at(layer, LAYER), distance, other, member, team, real
    )
)
_add_biases = njit(
    lambda layer, distance, other, member, real: packing.add_biases(
        record_at(layer, LAYER), distance, other, member, real
    )
)
_clear_biases = njit(lambda layer, distance, real: packing.clear_biases(record_at(layer, LAYER), distance, real))
_clear_met = njit(lambda job, distance, first, real: packing.clear_met(record_at(job, JOB), distance, first, real))
_add_met = njit(
    lambda job, distance, other, member, team, real: packing.add_met(
        record_at(job, JOB), distance, other, member, team, real
    )
)
_scale_gradient = njit(
    lambda layer, distance, factor, real: packing.scale_gradient(record_at(layer, LAYER), distance, factor, real)
)
_squares = njit(lambda address, n, real: packing.squares(address, n, real))


def pack(workspace, flat, distance, with_first=True):
    _pack(workspace.job.ctypes.data, flat.ctypes.data, distance, with_first, flat.dtype.type)


def unpack(workspace, flat, distance):
    _unpack(workspace.job.ctypes.data, flat.ctypes.data, distance, flat.dtype.type)


def workspace_of(places, parameters, dtype):
    """A workspace whose layers have no functions: none is called here."""
    nothing = [0] * len(places)
    return Workspace(places, 1, parameters, dtype, Functions(nothing, nothing, nothing, [0] * len(catalog.LINEAR)))


def whole_lines(n, dtype) -> int:
    per_line = 64 // dtype.itemsize
    return -(-n // per_line) * per_line


def padded_parts(places, flat, memory):
    """Every matrix of weights and vector of biases, as it stands in the flat vector, and the padded rows of it."""
    used = 0
    for place in places:
        rows, columns = place.shape
        width = whole_lines(columns, flat.dtype)
        yield flat[place.w : place.b].reshape(rows, columns), memory[used : used + rows * width].reshape(rows, width)
        used += rows * width
        width = whole_lines(place.n_out, flat.dtype)
        if place.has_biases:
            yield flat[place.b : place.b + place.n_out][None], memory[used : used + width][None]
        used += width


def naive_pack(places, flat, memory):
    for part, rows in padded_parts(places, flat, memory):
        rows[...] = 0
        rows[:, : part.shape[1]] = part


def naive_unpack(places, flat, memory):
    for part, rows in padded_parts(places, flat, memory):
        part[...] = rows[:, : part.shape[1]]


@pytest.fixture(params=NETWORKS, ids=str)
def packed(request, guarded, real):
    """A network's places, flat parameters, memory for two padded copies, the distance between them, and a workspace."""
    if checked():
        pytest.skip("the checked build has pages between the parts")
    places, size = parameter_places(*request.param)
    rng = np.random.default_rng(size)
    flat = guarded(rng.normal(size=size).astype(real))[:size]
    parameters = Parameters(places, flat)
    assert not parameters.in_place
    size = parameters.gradient // flat.itemsize
    memory = guarded(rng.normal(size=2 * size).astype(real))
    parameters.start = memory.ctypes.data
    workspace = workspace_of(places, parameters, flat.dtype)
    return places, flat, memory, size, workspace


@pytest.mark.parametrize("copy", [0, 1])
def test_pack(packed, copy):
    places, flat, memory, size, workspace = packed
    memory[...] = np.nan
    expected = memory.copy()
    naive_pack(places, flat, expected[copy * size :])
    pack(workspace, flat, copy * size * flat.itemsize)
    np.testing.assert_array_equal(memory, expected)


def test_pack_without_the_first_weights(packed):
    places, flat, memory, _, workspace = packed
    memory[...] = np.nan
    expected = memory.copy()
    naive_pack(places, flat, expected)
    _, first = next(padded_parts(places, flat, expected))
    first[...] = np.nan
    pack(workspace, flat, 0, with_first=False)
    np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("copy", [0, 1])
def test_unpack(packed, copy):
    places, flat, memory, size, workspace = packed
    expected, before = flat.copy(), memory.copy()
    naive_unpack(places, expected, memory[copy * size :])
    unpack(workspace, flat, copy * size * flat.itemsize)
    np.testing.assert_array_equal(flat, expected)
    np.testing.assert_array_equal(memory, before)


def test_parameters_whose_rows_are_whole_lines_are_used_in_place(guarded, real):
    places, size = parameter_places([5, 16, 32], [True, False])
    flat = guarded(np.arange(size, dtype=real))[:size]
    parameters = Parameters(places, flat)
    assert parameters.in_place and parameters.start == flat.ctypes.data
    workspace = workspace_of(places, parameters, flat.dtype)
    pack(workspace, flat, 0)
    np.testing.assert_array_equal(flat, np.arange(size))


def layers_of(workspace):
    """The addresses of the LAYER records."""
    return [workspace.layers.ctypes.data + i * LAYER.itemsize for i in range(len(workspace.layers))]


@pytest.mark.parametrize("team", [1, 2, 5])
@pytest.mark.parametrize("copy", [0, 1])
def test_clear(packed, copy, team):
    """Weights with their padding, but not biases, by the members of a team."""
    places, flat, memory, size, workspace = packed
    expected = memory.copy()
    parts = padded_parts(places, flat, expected[copy * size :])
    for place in places:
        _, weights = next(parts)
        weights[...] = 0
        if place.has_biases:
            next(parts)
    for layer in layers_of(workspace):
        for member in range(team):
            _clear(layer, copy * size * flat.itemsize, member, team, flat.dtype.type)
    np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("copy", [0, 1])
def test_clear_biases(packed, copy):
    places, flat, memory, size, workspace = packed
    expected = memory.copy()
    parts = padded_parts(places, flat, expected[copy * size :])
    for place in places:
        next(parts)
        if place.has_biases:
            next(parts)[1][:, : place.n_out] = 0
    for layer in layers_of(workspace):
        _clear_biases(layer, copy * size * flat.itemsize, flat.dtype.type)
    np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("team", [1, 2, 3, 4])
def test_members_of_any_team_add_what_one_adds(packed, team):
    places, flat, memory, size, workspace = packed
    expected = memory.copy()
    sums, others = (padded_parts(places, flat, expected[start:]) for start in (0, size))
    for (_, rows), (_, other_rows) in zip(sums, others, strict=True):
        rows += other_rows
    for member in reversed(range(team)):  # the order does not matter: no two members share a number
        for layer in layers_of(workspace):
            _add(layer, 0, size * flat.itemsize, member, team, flat.dtype.type)
            _add_biases(layer, 0, size * flat.itemsize, member, flat.dtype.type)
    np.testing.assert_array_equal(memory, expected)


def first_weights_of_inputs(packed):
    """A workspace that has met all inputs but the first, last ones first; the first layer's weights in both copies, as
    they should become."""
    places, flat, memory, size, workspace = packed
    met = np.arange(places[0].n_in)[:0:-1].copy()
    workspace.job["workspace"]["met"], workspace.job["workspace"]["n_met"] = met.ctypes.data, len(met)
    expected = memory.copy()
    parts = [next(padded_parts(places, flat, expected[start:]))[1] for start in (0, size)]
    return workspace, met, expected, *parts


@pytest.mark.parametrize("first", [0, 1])
def test_clear_met(packed, first):
    _, flat, memory, size, _ = packed
    workspace, met, expected, _, weights = first_weights_of_inputs(packed)
    weights[met[first:]] = 0
    _clear_met(workspace.job.ctypes.data, size * flat.itemsize, first, flat.dtype.type)
    np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("team", [1, 2, 3])
def test_members_of_any_team_add_what_was_met(packed, team):
    _, flat, memory, size, _ = packed
    workspace, met, expected, sums, others = first_weights_of_inputs(packed)
    sums[met] += others[met]
    for member in reversed(range(team)):
        _add_met(workspace.job.ctypes.data, 0, size * flat.itemsize, member, team, flat.dtype.type)
    np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("copy", [0, 1])
def test_scale_gradient(packed, copy):
    places, flat, memory, size, workspace = packed
    real = flat.dtype.type
    expected = memory.copy()
    for _, rows in padded_parts(places, flat, expected[copy * size :]):
        rows *= real(0.3)
    for layer in layers_of(workspace):
        _scale_gradient(layer, copy * size * flat.itemsize, real(0.3), real)
    np.testing.assert_array_equal(memory, expected)


@pytest.mark.parametrize("n", [0, 1, 7, 16, 100])
def test_squares(guarded, real, n):
    """Summed as float64, so that squares of large float32 numbers have room; nothing behind the n numbers counts."""
    large = 1e30 if real is np.float32 else 1e150
    values = (np.random.default_rng(n).normal(size=n) * large).astype(real)
    x = guarded(values, n + 1)
    exact = np.sum(values.astype(np.longdouble) ** 2)
    assert _squares(x.ctypes.data, n, real) == pytest.approx(float(exact), rel=1e-14)
