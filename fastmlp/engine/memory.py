"""The memory of a running kernel, and the records that describe it (kernels/layout.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import addressof, c_char
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from ..kernels.checked import checked, fenced
from ..kernels.layout import (
    BUFFER,
    JOB,
    LAYER,
    PANELED_FROM,
    PANELED_ROWS,
    ROOM,
    TOTALS,
    WORKSPACE,
    Place,
    aligned,
    padded,
    parameter_places,
)
from ..spec import Spec
from .blocks import BLOCK, GROUPED

__all__ = [
    "Functions", "Parameters", "Workspace", "address", "carved", "fields", "free_params", "layer_fields", "numbers_at",
    "places_of", "record_of", "word_places", "words",
]  # fmt: skip

_ROWS = "z", "a", "d", "delta", "scaled"  # of a layer, ``block`` of each
_BYTE = np.dtype(np.uint8)
_MORE = 64  # numbers behind the end of a list that kernels may write to


def word_places(layout: np.dtype) -> dict[str, int]:
    """Which word of a record of 64-bit fields each field is: NumPy writes a word in half of a field's time."""
    return {name: i for i, name in enumerate(layout.names or ())}


_OF_LAYER, _OF_WORKSPACE = word_places(LAYER), word_places(WORKSPACE)


class Functions(NamedTuple):
    """Addresses of the functions that a network's layers call: one a layer, and the fields of a LINEAR record."""

    activations: tuple[int, ...]
    slopes: tuple[float, ...]
    softmax_backwards: tuple[int, ...]
    linear: tuple[float, ...]


class Parameters:
    """The parameters as kernels see them, with their gradient and an optimiser's state at fixed distances behind.

    Several threads may share one of these; then only one of them packs and unpacks.

    Parameters
    ----------
    places : sequence of Place
    params : ndarray, (n_params,)
    states : sequence of ndarray, (n_params,) each
    copied : bool
        Whether kernels must work on a copy, even if they could work on the flat vector.

    Attributes
    ----------
    in_place : bool
        Whether kernels work on the flat vector itself.
    start : int
        The address of the first parameter.
    offsets : list of (int, int)
        How many bytes behind ``start`` each layer's weights and its biases stand.
    gradient : int
        The distance of the gradient.
    states : ndarray of int64
        The distances of the optimiser's vectors of state.
    flat_states : ndarray of int64
        Their addresses as flat vectors.
    """

    def __init__(
        self, places: Sequence[Place], params: np.ndarray, states: Sequence[np.ndarray] = (), copied: bool = False
    ) -> None:
        item = params.itemsize
        lengths = [*(place.n_out for place in places[:-1]), places[-1].shape[1]]
        self.in_place = not copied and all(n == padded(n, item) for n in lengths)
        self._alive: Any = params, tuple(states)  # a list could lose one
        self.flat_states = np.array([state.ctypes.data for state in states], np.int64)
        line = padded(1, item)
        if self.in_place:
            sizes, copies = [padded(params.size, item) + line], 1  # kernels may read a line beyond the end
        else:
            shapes = [(*place.shape, place.n_out) for place in places]
            pieces = [(rows * padded(columns, item), padded(n_out, item)) for rows, columns, n_out in shapes]
            sizes, copies = [*(size for piece in pieces for size in piece), line], 2 + len(states)
        self._sizes = [size * item for size in sizes]
        self._memory, addresses, distance = carved(self._sizes, copies)
        if self.in_place:
            self.start = params.ctypes.data
            self.offsets = [(place.w * item, place.b * item) for place in places]
            self.gradient, self.states = addresses[0] - self.start, self.flat_states - self.start
        else:
            self.start = addresses[0]
            offsets = [address - self.start for address in addresses[:-1]]
            self.offsets = list(zip(offsets[::2], offsets[1::2], strict=True))
            self.gradient, self.states = distance, (np.arange(len(states)) + 2) * distance

    def point_at(self, params: np.ndarray, params_at: int, states: Sequence[np.ndarray]) -> int:
        """Describe other vectors of the same shapes, the first at that address. Returns by how many bytes kernels'
        parameters moved."""
        self._alive = params, tuple(states)
        moved = params_at - self.start if self.in_place else 0
        self.start, self.gradient = self.start + moved, self.gradient - moved
        if states:
            self.flat_states[:] = [address(state) for state in states]
            if self.in_place:
                np.subtract(self.flat_states, self.start, out=self.states)
        return moved

    def let_go(self) -> None:
        """Release all arrays; `point_at` must be called before the next run."""
        self._alive = None

    @property
    def nbytes(self) -> int:
        """The bytes of memory that it owns."""
        return self._memory.nbytes

    def extra_gradient(self) -> tuple[np.ndarray, int]:
        """Memory for another gradient, and its distance. Keep the memory as long as the distance is used."""
        memory, addresses, _ = carved(self._sizes)
        return memory, addresses[0] - self.start


class Workspace:
    """The memory of one running kernel for ``block`` samples.

    One that is given a ``leader`` shares the rows of all layers, but for x, and their scores with that.

    Attributes
    ----------
    job : ndarray of JOB, ()
        Its records ``workspace`` and ``linear`` are filled in; the others are for whoever runs the kernel.
    address : int
        The job's.
    data, call : ndarray of int64
        The words of its DATA and CALL records.
    layers : ndarray of LAYER, (n_layers,)
    buffers : ndarray of BUFFER, (1,) or (2,)
    """

    def __init__(
        self,
        places: Sequence[Place],
        block: int,
        parameters: Parameters,
        dtype: np.dtype,
        functions: Functions,
        leader: Workspace | None = None,
    ) -> None:
        item, n_in, n_out = dtype.itemsize, places[0].n_in, places[-1].n_out
        row = {0: 0, **{n: padded(n, item) for place in places for n in place[:2]}}
        square, n_gram = padded(block, item), min(block, BLOCK)
        gram_row = padded(n_gram, item)
        matrices = [n_in, *(0 if leader else place.n_out for place in places for _ in _ROWS)]
        sizes = [max(square, *row.values()), square, block * row[n_out], n_gram * gram_row]
        sizes += [block * row[n] for n in matrices]
        n_params = sum(place.n_out * (place.n_in + place.has_biases) for place in places)
        scores = block * TOTALS.itemsize // 8 if n_params >= GROUPED and not leader else 0
        lists = [n_in + _MORE, n_in, n_in, n_in, max(block, *row), scores]
        lists += [place.n_in + _MORE for place in places[1:]]
        self._sizes_of_buffer = block * row[n_in] * item, 8 * lists[0], n_gram * gram_row * item
        self._dtype = dtype
        self._memory, addresses, _ = carved([*(size * item for size in sizes), *(8 * size for size in lists)])
        zeros, ones, targets, gram, x, *rows = addresses[: len(sizes)]
        index, slots, met, is_met, identity, score, *alive = addresses[len(sizes) :]
        wide = [max(block, place.n_in) for place in places if place.n_out * item >= PANELED_FROM]
        room = ROOM if max(wide, default=0) >= PANELED_ROWS else 0
        self._room, (room_at, *_), _ = carved([room], zeros=False)
        self._rows: Sequence[int] = leader._rows if leader else rows
        self._score: int = leader._score if leader else score if scores else 0
        self.buffers = np.array([(x, index, gram)], BUFFER)
        numbers_at(self._memory, ones, (square,), dtype)[:] = 1
        numbers_at(self._memory, slots, (n_in,), np.int64)[:] = -1
        numbers_at(self._memory, identity, (lists[4],), np.int64)[:] = np.arange(lists[4])
        self._parameters = parameters
        self.layers = np.array(
            _layer_fields(places, parameters, functions, item, row, zeros, x, self._rows, [0, *alive]), LAYER
        )
        self._of_layers = words(self.layers).reshape(len(places), -1)
        self.job = np.zeros((), JOB)
        self.address = self.job.ctypes.data
        self._own = words(self.job["workspace"])
        self._own[:] = fields(
            WORKSPACE,
            n_layers=len(places),
            layers=self.layers.ctypes.data,
            lowest=next((i for i, place in enumerate(places) if place.trainable), len(places)),
            block=block,
            n_params=n_params,
            in_place=parameters.in_place,
            gradient=parameters.gradient,
            n_states=len(parameters.states),
            states=parameters.states.ctypes.data,
            flat_states=parameters.flat_states.ctypes.data,
            targets=targets,
            buffers=self.buffers.ctypes.data,
            index=index,
            identity=identity,
            slots=slots,
            met=met,
            n_met=0,
            is_met=is_met,
            zeros=zeros,
            ones=ones,
            gram=gram,
            gram_row=gram_row * item,
            room=room_at if room else 0,
            scores=self._score,
        )
        words(self.job["linear"])[:] = functions.linear
        self.data, self.call, self._step = (words(self.job[name]) for name in ("data", "call", "step"))

    def read_ahead(self, leader: Workspace) -> None:
        """Share the rows of the first layer and the Gram matrices with the team's leader (which may be this), and get a
        second buffer, so that a block can be read beside the one that is worked on."""
        x, index, gram = self._sizes_of_buffer
        self._ahead, addresses, _ = carved([x, index, gram])
        self.buffers = np.append(self.buffers, np.array([tuple(addresses)], BUFFER))
        self.buffers["gram"] = leader.buffers["gram"]
        for name in _ROWS:
            self.layers[name][0] = leader.layers[name][0]
        self.job["workspace"]["buffers"] = self.buffers.ctypes.data

    def follow(self, moved: int) -> None:
        """Work on the parameters that `Parameters.point_at` moved by so many bytes."""
        layers = self._of_layers
        layers[:, _OF_LAYER["w"]] += moved
        layers[:, _OF_LAYER["b"]] += moved * layers[:, _OF_LAYER["has_biases"]]
        self._own[_OF_WORKSPACE["gradient"]] = self._parameters.gradient

    @property
    def nbytes(self) -> int:
        """The bytes of memory in which it works."""
        return self._memory.nbytes + self._room.nbytes

    def take(self, data: np.ndarray, call: np.ndarray, step: np.ndarray) -> None:
        """Fill in the words of the records that say what is to be done next."""
        self.data[:], self.call[:], self._step[:] = data, call, step

    def rows_at(self, address: int, count: int, n: int) -> np.ndarray:
        """``count`` rows of n numbers that stand at an address of a layer's record, as a view."""
        stride = padded(n, self._dtype.itemsize)
        return numbers_at(self._memory, address, (count, stride), self._dtype)[:, :n]


def _layer_fields(
    places: Sequence[Place],
    parameters: Parameters,
    functions: Functions,
    item: int,
    row: Mapping[int, int],
    zeros: int,
    x: int,
    rows: Sequence[int],
    alive: Sequence[int],
) -> list[tuple[float, ...]]:
    """The fields of each layer's LAYER record; ``x`` and ``rows`` are addresses of matrices, ``alive`` of lists."""
    result, below, below_d = [], x, x
    for i, (place, (w, b)) in enumerate(zip(places, parameters.offsets, strict=True)):
        w_rows, w_columns = place.shape
        z, a, d, delta, scaled = rows[len(_ROWS) * i :][: len(_ROWS)]
        layer = layer_fields(
            LAYER,
            place,
            functions,
            i,
            trainable=place.trainable,
            by_inputs=place.by_inputs,
            in_row=row[place.n_in] * item,
            out_row=row[place.n_out] * item,
            w_rows=w_rows,
            w_columns=w_columns,
            w_row=row[w_columns] * item,
            flat_w=place.w * item,
            flat_b=place.b * item,
            w=parameters.start + w,
            b=parameters.start + b if place.has_biases else zeros,
            input=below,
            below_d=below_d,
            z=z,
            a=a,
            d=d,
            delta=delta,
            scaled=scaled,
            alive=alive[i],
            n_alive=0,
            curvature=0,
            third_derivative=0,
        )
        result.append(layer)
        below, below_d = a, d
    return result


def layer_fields(layout: np.dtype, place: Place, functions: Functions, i: int, **others: float) -> tuple[float, ...]:
    """The fields of a record of layer i: its shape, its functions, and all others by name."""
    return fields(
        layout,
        n_in=place.n_in,
        n_out=place.n_out,
        has_biases=place.has_biases,
        activation=functions.activations[i],
        softmax_backward=functions.softmax_backwards[i],
        slope=functions.slopes[i],
        **others,
    )


def carved(sizes: Sequence[int], copies: int = 1, zeros: bool = True) -> tuple[np.ndarray, list[int], int]:
    """Memory for parts of so many bytes, one after the other, all zero, or without ``zeros`` of anything, and the whole
    ``copies`` times; the address of each part of the first copy; and how many bytes on the next copy has it."""
    if checked():
        memory, offsets = fenced(sizes, copies)
    else:
        memory, offsets = aligned(sum(sizes) * copies, _BYTE, zeros), [0, *accumulate(sizes[:-1])]
    start = memory.ctypes.data
    return memory, [start + offset for offset in offsets], len(memory) // copies


def numbers_at(memory: np.ndarray, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The numbers that stand at an address of carved memory, as a view."""
    return np.ndarray(shape, dtype, memory, address - memory.ctypes.data)


def address(array: np.ndarray) -> int:
    """Where an array's first number lies, which ctypes tells in a quarter of NumPy's time where it gets the array."""
    if array.flags.carray and array.size and array.dtype.isnative:
        return addressof(c_char.from_buffer(array))  # type: ignore[arg-type]  # NumPy's stubs hide that it is a buffer
    return array.ctypes.data


def fields(layout: np.dtype, **values: float) -> tuple[float, ...]:
    """Arrange the values of a record's fields, each given by its name, in the order in which they lie.

    A field that is missing is a KeyError, a name that is no field a TypeError.
    """
    result = tuple(map(values.pop, layout.names or ()))
    if values:
        raise TypeError(f"no such fields: {', '.join(values)}")
    return result


def words(record: np.ndarray) -> np.ndarray:
    """The memory of a record of 64-bit fields as int64 numbers: these are copied in no time, records are not."""
    return np.ndarray(record.nbytes // 8, np.int64, record)


def record_of(words: np.ndarray, layout: np.dtype) -> np.ndarray:
    """The record, (), whose memory these int64 numbers are."""
    return np.ndarray((), layout, words)


def places_of(spec: Spec) -> tuple[tuple[Place, ...], int]:
    """The places of a spec's layers among its parameters, and how many these are."""
    biases, trainable = zip(*[(layer.bias, layer.trainable) for layer in spec.layers], strict=True)
    return _places(spec.widths, biases, trainable)


@lru_cache(maxsize=64)
def _places(
    widths: tuple[int, ...], biases: tuple[bool, ...], trainable: tuple[bool, ...]
) -> tuple[tuple[Place, ...], int]:
    places, n_params = parameter_places(widths, biases, trainable)
    return tuple(places), n_params


def free_params(places: Sequence[Place], n_params: int) -> slice | np.ndarray:
    """The indices of the parameters of layers that are not frozen."""
    if all(place.trainable for place in places):
        return slice(None)
    ends = [*(place.w for place in places[1:]), n_params]
    moving = [np.arange(place.w, end) for place, end in zip(places, ends, strict=True) if place.trainable]
    return np.concatenate(moving) if moving else np.zeros(0, np.int64)
