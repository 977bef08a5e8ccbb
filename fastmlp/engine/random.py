"""Initial parameters and orders of samples for many networks at once, equal to those that each seed gives alone.

Kernels draw them (kernels/random.py) if they reproduce NumPy's numbers, which is tried once in each process; otherwise,
and for numbers that depend on a C library's last bit, NumPy does.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from copy import copy
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..init import Uniform, distribution
from ..init import draw as draw_by_numpy
from ..kernels import catalog
from ..kernels.catalog import Variant
from ..kernels.layout import DRAW, STREAM, ZIGGURAT, Place
from ..spec import Layer, Spec
from .memory import fields, places_of

__all__ = ["Orders", "draw_params", "known_seeds", "permutations", "unflattened"]

_PROBES = [0, 1, 2026, 2**32, 2**80 + 7]  # seeds that are tried
_WORTH = 1 << 11  # numbers to permute from which on a generator's state is worth fetching
_LONGEST = 1 << 32  # permutation that a kernel makes
_LOW = (1 << 64) - 1
_INVERSE = pow(0x2360ED051FC65DA44385DF649FCCF645, -1, 1 << 128)  # of PCG64's multiplier


class Orders:
    """The orders in which networks take their samples, each as ``default_rng(seed).permutation(rows)`` draws them.

    Parameters
    ----------
    seeds : sequence of int
        One a network.
    rows : ndarray of int64, (n_rows,) or (n_networks, n_rows)
        The samples that an epoch takes, the same for all networks or their own.
    """

    def __init__(self, seeds: Sequence[int], rows: np.ndarray) -> None:
        self._rows = np.ascontiguousarray(rows)
        self._by_kernel = _agreement().orders
        if self._by_kernel:
            self._streams = _streams(seeds)
        else:
            self._generators = [np.random.default_rng(seed) for seed in seeds]

    def of(self, part: slice) -> Orders:
        """The orders of some of the networks, whose streams they go on with."""
        orders = copy(self)
        orders._rows = self._rows[part] if self._rows.ndim > 1 else self._rows
        if self._by_kernel:
            orders._streams = self._streams[part]
        else:
            orders._generators = self._generators[part]
        return orders

    def among(self, rows: np.ndarray) -> Orders:
        """The orders of other rows, (n_networks, n_rows), from where the streams are now."""
        orders = copy(self)
        orders._rows = np.ascontiguousarray(rows)
        return orders

    def room(self, n: int) -> Orders:
        """Orders of n networks like these, which `put` is to fill in."""
        orders = copy(self)
        if self._rows.ndim > 1:
            orders._rows = np.repeat(self._rows[:1], n, axis=0)
        if self._by_kernel:
            orders._streams = np.zeros(n, STREAM)
        else:
            orders._generators = self._generators[:1] * n
        return orders

    def put(self, place: int, others: Orders, i: int) -> None:
        """Take network i of others, of as many rows, in place of one of these."""
        if self._rows.ndim > 1:
            self._rows[place] = others._rows[i]
        if self._by_kernel:
            self._streams[place] = others._streams[i]
        else:
            self._generators[place] = others._generators[i]

    def draw(self, epochs: int, out: np.ndarray | None = None) -> np.ndarray:
        """The orders of the next epochs, (n_networks, epochs, n_rows), each network's contiguous; written to ``out``,
        where it is given."""
        rows, each = self._rows, self._rows.ndim > 1
        shape = len(self._streams if self._by_kernel else self._generators), epochs, rows.shape[-1]
        if out is None:
            out = np.empty(shape, np.int64)
        elif out.shape != shape or not out[0].flags.c_contiguous:  # a kernel would write beyond it
            raise ValueError(f"orders are {shape}, each network's contiguous; got room for {out.shape}")
        if self._by_kernel:
            _draw_orders(self._streams, rows, rows.shape[-1] if each else 0, out)
            return out
        out[...] = rows[:, None] if each else rows
        for generator, own in zip(self._generators, out, strict=True):
            generator.permuted(own, axis=1, out=own)
        return out


def permutations(rng: np.random.Generator, rows: np.ndarray, n: int) -> np.ndarray:
    """The next n of ``rng.permutation(rows)``, (n, n_rows) int64, behind which rng then stands. The kernel, where it is
    there, takes 2 ns a number, NumPy 7, and 6 µs to fetch and to put back rng's state."""
    orders, bits = np.empty((n, len(rows)), np.int64), rng.bit_generator
    worth = orders.size >= _WORTH and len(rows) <= _LONGEST
    if not worth or type(bits) is not np.random.PCG64 or not _kernel_permutes():
        orders[...] = rows
        return rng.permuted(orders, axis=1, out=orders)
    now: Any = bits.state
    state, increment = (now["state"][name] for name in ("state", "inc"))
    stream = np.zeros(1, STREAM)
    stream[0] = (
        state & _LOW, state >> 64, increment & _LOW, increment >> 64, now["uinteger"], now["has_uint32"],
    )  # fmt: skip
    _draw_orders(stream, np.ascontiguousarray(rows, np.int64), 0, orders[None])
    low, high, _, _, half, has_half = stream[0].tolist()
    now |= {"state": {"state": low | high << 64, "inc": increment}, "has_uint32": has_half, "uinteger": half}
    bits.state = now
    return orders


def known_seeds(seeds: Sequence[int | None]) -> list[int]:
    """The seeds, and from the system's entropy one for each that is None."""
    return [secrets.randbits(128) if seed is None else seed for seed in seeds]


def draw_params(spec: Spec, init: str | Uniform, seeds: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """The parameters of new networks, (n_networks, n_params) in the order of `MLP.params`: those of
    ``MLP(spec, init=init, seed=seed, dtype=dtype)`` for each seed."""
    places, n_params = places_of(spec)
    params = np.zeros((len(seeds), n_params), dtype)
    records, agreement = _draw_records(spec.layers, places, init, dtype.itemsize), _agreement()
    certain = np.zeros(len(seeds), bool)
    if records is not None and (agreement.normal if records["normal"].any() else agreement.fused is not None):
        certain = _draws(_streams(seeds, second=True), records, params, bool(agreement.fused))
    for i in map(int, np.flatnonzero(~certain)):
        weights, biases = unflattened(params[i], places)
        draw_by_numpy(init, np.random.default_rng([seeds[i], 1]), spec.layers, weights, biases)
    return params


def unflattened(vector: np.ndarray, places: Sequence[Place]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Views of a vector in the order of `MLP.params`: for each layer its weights (n_out, n_in) and its biases (n_out,),
    read-only zeros where it has none."""
    weights, biases = [], []
    for place in places:
        stored = vector[place.w : place.b].reshape(place.shape)
        weights.append(stored.T if place.by_inputs else stored)
        if place.has_biases:
            biases.append(vector[place.b : place.b + place.n_out])
        else:
            zeros = np.zeros(place.n_out, vector.dtype)
            zeros.flags.writeable = False
            biases.append(zeros)
    return weights, biases


class _Agreement(NamedTuple):
    """Say which of the kernels' random numbers equal NumPy's here.

    ``fused`` tells how NumPy's compiler computed low + scale · u: in one operation, in two, or (None) in another way.
    """

    orders: bool
    normal: bool
    fused: bool | None


@cache
def _agreement() -> _Agreement:
    """Draw a few numbers by the kernels and by NumPy: a version or a compiler of its own may have others."""
    if not _orders_agree():
        return _Agreement(False, False, None)
    agrees, low, high = {}, -0.3, 0.4
    for normal, fused in ((True, False), (False, False), (False, True)):
        record = np.zeros(1, DRAW)
        numbers = np.zeros((len(_PROBES), 300))
        record[0] = fields(
            DRAW, rows=1, columns=numbers.shape[1], at=0, row=0, column=8, normal=normal, low=low, scale=high - low
        )
        certain = _draws(_streams(_PROBES, second=True), record, numbers, fused)
        generators = [np.random.default_rng([seed, 1]) for seed in _PROBES]
        theirs = [rng.normal(0.0, high - low, 300) if normal else rng.uniform(low, high, 300) for rng in generators]
        agrees[normal, fused] = bool(certain.any()) and np.array_equal(numbers[certain], np.array(theirs)[certain])
    return _Agreement(True, agrees[True, False], next((f for f in (False, True) if agrees[False, f]), None))


@cache
def _orders_agree() -> bool:
    """Whether the kernels' permutations are NumPy's."""
    rows = np.arange(37)
    orders = np.empty((len(_PROBES), 3, len(rows)), np.int64)
    _draw_orders(_streams(_PROBES), rows, 0, orders)
    expected = [np.random.default_rng(seed).permuted(np.tile(rows, (3, 1)), axis=1) for seed in _PROBES]
    return np.array_equal(orders, expected)


def _kernel_permutes() -> bool:
    """Whether permutations can come from kernels that need not be compiled, and are NumPy's."""
    return all(catalog.is_ready(Variant(name, "", "float64")) for name in ("streams", "orders")) and _orders_agree()


def _streams(seeds: Sequence[int], second: bool = False) -> np.ndarray:
    """STREAM records (n_seeds,) of default_rng(seed), or where ``second``, of default_rng([seed, 1])."""
    size = 4 * max(1, -(-max(seed.bit_length() for seed in seeds) // 32))
    words = np.frombuffer(b"".join(seed.to_bytes(size, "little") for seed in seeds), "<u4").reshape(len(seeds), -1)
    lengths = np.max(np.where(words > 0, np.arange(words.shape[1]) + 1, 1), axis=1)
    streams = np.zeros(len(seeds), STREAM)
    catalog.streams()(words.ctypes.data, words.shape[1], lengths.ctypes.data, len(seeds), second, streams.ctypes.data)
    return streams


def _draw_orders(streams: np.ndarray, rows: np.ndarray, row_stride: int, orders: np.ndarray) -> None:
    """Write orders (n_streams, epochs, n_rows), each stream's contiguous."""
    at = streams.ctypes.data, len(streams), rows.ctypes.data, row_stride, rows.shape[-1], orders.shape[1]
    catalog.orders()(*at, orders.ctypes.data, orders.strides[0])


def _draws(streams: np.ndarray, records: np.ndarray, params: np.ndarray, fused: bool) -> np.ndarray:
    """Draw params (n_networks, n_params) as the DRAW records say; return which networks' are certainly NumPy's."""
    certain, ziggurat, count = np.zeros(len(streams), np.int64), _ziggurat().record, len(streams)
    at = streams.ctypes.data, count, records.ctypes.data, len(records), params.ctypes.data, params.strides[0]
    catalog.draws(params.dtype.name)(*at, ziggurat.ctypes.data, fused, certain.ctypes.data)
    return certain.astype(bool)


def _draw_records(
    layers: Sequence[Layer], places: Sequence[Place], init: str | Uniform, itemsize: int
) -> np.ndarray | None:
    """DRAW records in the order in which `init.draw` draws; None where a kernel cannot."""
    records = []
    for layer, place in zip(layers, places, strict=True):
        shape = place.n_out, place.n_in
        drawn_from = distribution(init, shape, layer.act)
        if drawn_from is None or not np.isfinite(drawn_from.high - drawn_from.low):
            return None
        row, column = (1, place.n_out) if place.by_inputs else (place.n_in, 1)
        parts = [(shape, place.w, row, column)]
        if isinstance(init, Uniform) and layer.bias:
            parts.append(((1, place.n_out), place.b, 0, 1))
        for (rows, columns), at, row, column in parts:
            strides = {"at": at * itemsize, "row": row * itemsize, "column": column * itemsize}
            numbers = {"low": drawn_from.low, "scale": drawn_from.high - drawn_from.low}
            records.append(fields(DRAW, rows=rows, columns=columns, normal=drawn_from.normal, **strides, **numbers))
    return np.array(records, DRAW)


class _Tables(NamedTuple):
    """A ZIGGURAT record, (), and the arrays that it has the addresses of."""

    record: np.ndarray
    arrays: list[np.ndarray]


@cache
def _ziggurat() -> _Tables:
    """The steps of the ziggurat by their definition, and what NumPy multiplies with, as it says itself.

    Step i > 0 reaches from 0 to xᵢ, and all have the same area; what lies beyond the last, r, is the tail, step 0.
    """
    r, area = 3.6541528853610088, 0.004928673233974655
    steps = [r]
    while len(steps) < 255:
        steps.append(np.sqrt(-2 * np.log(area / steps[-1] + np.exp(-0.5 * steps[-1] ** 2))))
    x = np.array(steps[::-1])
    heights = np.exp(-0.5 * np.array([0, *x]) ** 2)
    inner = np.array([r * heights[-1] / area, 0, *(x[:-1] / x[1:])]) * 2**52
    arrays = [np.array([_width_by_numpy(step) for step in range(256)]), inner.astype(np.int64), heights]
    record = np.zeros((), ZIGGURAT)
    for name, array in zip(ZIGGURAT.names or (), arrays, strict=True):
        record[name] = array.ctypes.data
    return _Tables(record, arrays)


def _width_by_numpy(step: int) -> float:
    """What NumPy makes of one 2⁻⁵² of a step of its ziggurat: PCG64 is put where its next 64 bits say just that."""
    generator = np.random.PCG64(0)
    state = generator.state
    state["state"]["state"] = ((step | 1 << 9) - state["state"]["inc"]) * _INVERSE % (1 << 128)
    generator.state = state
    return np.random.Generator(generator).standard_normal()
