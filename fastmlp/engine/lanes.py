"""Networks of one shape trained side by side, one in each lane of the vectors (kernels/lanes.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np

from ..kernels import catalog
from ..kernels.catalog import Variant
from ..kernels.layout import LANE_LAYER, LANES, OPTIONS, Place, aligned, padded
from ..metrics import one_hot
from ..optimizers import SGD, Optimizer, count_numbers
from ..spec import Affine, Spec
from .binding import address_of, fused_output, loss_flags, prepare_kernels, vectors_of
from .call import TimeSlices
from .memory import Functions, carved, fields, layer_fields, numbers_at, places_of, words

__all__ = ["LaneRunner", "lanes_of", "lanes_refusal", "lanes_samples"]

_ROWS = "z", "a", "d", "delta"
_SCRATCH = 16  # rows that sums and steps take at most


def lanes_refusal(spec: Spec, optimizer: Optimizer) -> str:
    """Why networks of this spec cannot be trained side by side; '' if they can."""
    for layer in spec.layers:
        if not layer.act.builtin:
            return f"the activation {layer.act.name} is not one of the library's own"
        if not layer.trainable:
            return "a layer is frozen"
    if not spec.loss.builtin:
        return f"the loss {spec.loss.name} is not one of the library's own"
    if optimizer.rule is None:
        return f"{optimizer.name} looks at all samples at once"
    return ""


@cache
def lanes_of(dtype: np.dtype) -> int:
    """The number of networks of that dtype that are trained side by side, which the kernel returns if it has nothing to
    train."""
    return int(catalog.lanes(dtype.name)(np.zeros((), LANES).ctypes.data))


def lanes_samples(spec: Spec, dtype: np.dtype, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked x and y as `LaneRunner` takes them: copies of that dtype, in the network's units, classes one-hot."""
    targets = _copied(one_hot(y, spec.n_out, dtype), spec.target_affine, dtype)
    return _copied(x, spec.input_affine, dtype), targets


def _copied(values: np.ndarray, affine: Affine | None, dtype: np.dtype) -> np.ndarray:
    """A copy, shifted and scaled, C-contiguous, in memory that kernels may be given."""
    result = aligned(values.size, dtype, zeros=False).reshape(values.shape)
    result[...] = values
    vectors = vectors_of(affine, dtype)
    if vectors is not None:
        result -= vectors[0]
        result *= vectors[1]
    return result


class LaneRunner:
    """Trains up to ``width`` networks of one spec side by side.

    It is not thread-safe; several of them may run in different threads.

    Parameters
    ----------
    spec : Spec
    dtype : dtype
    x : ndarray, (n_samples, n_in)
        C-contiguous, of that dtype, shifted and scaled as the spec says.
    y : ndarray, (n_samples, n_out)
        C-contiguous, of that dtype, in the network's units; one-hot for classes.
    batch : int
        The number of samples in a step.
    optimizer : Optimizer
        Of the registry, with a rule for single parameters.

    Attributes
    ----------
    width : int
        The number of lanes.
    epochs : TimeSlices
        Learns how many epochs a kernel call has time for, from one group of networks to the next.
    """

    def __init__(
        self, spec: Spec, dtype: np.dtype, x: np.ndarray, y: np.ndarray, batch: int, optimizer: Optimizer
    ) -> None:
        real, states = dtype.name, optimizer.states
        _prepare(spec, real, optimizer)
        self._train = catalog.lanes(real)
        self._job = np.zeros((), LANES)
        self.width = lanes = lanes_of(dtype)
        self.epochs, self._samples = TimeSlices(), TimeSlices()
        self._spec, self._dtype, self._alive, self._batch = spec, dtype, (x, y), batch
        places, n_params = places_of(spec)
        self._flat = _rows_of(places)
        self._plain = isinstance(optimizer, SGD) and not states and batch == 1
        row, widths = lanes * dtype.itemsize, spec.widths
        n_numbers = count_numbers(optimizer.name)
        n_scratch = max(*widths, _SCRATCH, 4 + states + n_numbers)
        self._memory, (params,), distance = carved([n_params * row], 2 + states)
        rows = [n_params, n_numbers, 2, 1, 1, 1, n_scratch, max(widths), widths[-1], widths[0]]
        rows += [n for n in widths[1:] for _ in _ROWS]
        self._rest, (steps, *addresses), _ = carved([8 * lanes, *(n * row for n in rows)])
        finite, numbers, penalties, factors, alive, right_so_far, scratch, zeros, targets, inputs = addresses[:10]
        self._gradient = distance
        self._params = numbers_at(self._memory, params, (n_params, lanes), dtype)
        self._states = [
            numbers_at(self._memory, params + (i + 2) * distance, (n_params, lanes), dtype) for i in range(states)
        ]
        self._distances = (np.arange(states) + 2) * distance
        self._finite = numbers_at(self._rest, finite, (n_params, lanes), dtype)
        self._penalties = numbers_at(self._rest, penalties, (2, lanes), dtype)
        self._lives = numbers_at(self._rest, alive, (lanes,), dtype)
        self._steps = numbers_at(self._rest, steps, (lanes,), np.float64)
        self._layers = _layers(spec, places, real, row, params, zeros, inputs, addresses[10:])
        self._options = np.zeros((), OPTIONS)
        self._constants, self._numbers = np.array(optimizer.constants, np.float64), np.zeros(n_numbers)
        self._order, self._totals = np.zeros((lanes, 0), np.int64), np.empty(0)
        words(self._job)[:] = fields(
            LANES,
            n_layers=len(places),
            layers=self._layers.ctypes.data,
            n_params=n_params,
            params=params,
            finite=finite,
            alive=alive,
            gradient=0,
            n_states=states,
            states=self._distances.ctypes.data,
            x=x.ctypes.data,
            y=y.ctypes.data,
            order=0,
            order_stride=0,
            order_step=0,
            count=0,
            batch=batch,
            epochs=0,
            first=0,
            last=0,
            learns=True,
            rates=0,
            rates_step=0,
            losses=0,
            right=0,
            right_so_far=right_so_far,
            targets=targets,
            loss=address_of(catalog.lane_loss(spec.loss.name, fused_output(spec), real)),
            prepare=address_of(catalog.prepare(optimizer.name)),
            rule=address_of(catalog.lane_step(optimizer.name, states, real)),
            **loss_flags(spec),
            steps=steps,
            options=self._options.ctypes.data,
            constants=self._constants.ctypes.data,
            step_numbers=self._numbers.ctypes.data,
            n_numbers=n_numbers,
            numbers=numbers,
            penalties=penalties,
            factors=factors,
            scratch=scratch,
        )

    def begin(self, params: np.ndarray, l1: Sequence[float], l2: Sequence[float]) -> None:
        """Take networks, at most ``width``: parameters (n_networks, n_params) in the order of `MLP.params`, and their
        penalties. The optimiser begins anew."""
        n = self._count = len(params)
        self.put(slice(0, n), params, l1, l2)
        if n < self.width:
            self.put(slice(n, None), params[[0] * (self.width - n)], 0.0, 0.0)  # ordinary numbers for the others

    def put(self, lanes: np.ndarray | slice, params: np.ndarray, l1: Any, l2: Any) -> None:
        """Take networks in these lanes, in place of what was there."""
        self._params[:, lanes] = self._finite[:, lanes] = params[:, self._flat].T
        for state in self._states:
            state[:, lanes] = 0
        self._penalties[0, lanes], self._penalties[1, lanes] = l1, l2
        self._job["gradient"] = 0 if self._plain and not self._penalties.any() else self._gradient
        self._steps[lanes] = 0
        self._lives[lanes] = 1

    def orders(self, epochs: int, count: int) -> np.ndarray:
        """Room for the orders of some epochs, (width, epochs, count) of int64, those of the lanes that nobody has zero.
        It is used anew by the next call."""
        size = epochs * count
        stride = padded(size, 8) | 8  # an odd number of cache lines: else the lanes' would evict each other
        if self._order.shape[1] < stride:
            self._order = np.zeros((self.width, stride), np.int64)
        self._order[self._count :, :size] = 0
        return self._order[:, :size].reshape(self.width, epochs, count)

    def run(
        self, orders: np.ndarray, rates: np.ndarray, report: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Train for some epochs.

        Parameters
        ----------
        orders : ndarray of int64, (width, epochs, n_samples) or (1, epochs, n_samples)
            Each epoch's contiguous; one for all lanes where they are the same. Epochs with the same ones may be one
            that is broadcast.
        rates : ndarray, (n_networks, epochs)
            Learning rates; epochs of the same ones may be broadcast, too.
        report : function, optional
            Called with the number of samples done of an epoch that is run alone, a few dozen times a second. What it
            raises ends the run.

        Returns
        -------
        losses, right : ndarray, (n_networks, epochs)
            The sums of losses and of right answers. Losses are NaN from a network's first epoch on whose loss or
            parameters were not finite. The next call writes over them.
        """
        job, (losses, right) = self._job, self._describe(orders)
        count, epochs = orders.shape[2], len(losses)
        each = rates if rates.strides[1] else rates[:, :1]
        all_rates = np.zeros((each.shape[1], self.width))
        all_rates[:, : self._count] = each.T
        job["rates"], job["rates_step"] = all_rates.ctypes.data, all_rates.strides[0] * (len(all_rates) > 1)
        self._run(count, epochs, report)
        return self._sums(losses, right)

    def evaluate(
        self, x: np.ndarray, y: np.ndarray, orders: np.ndarray, report: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sums of losses and of right answers, (n_networks,) each, of samples in the form of those that it trains
        with. ``orders`` say which, for one epoch; ``report`` is that of `run`.
        """
        job, (losses, right) = self._job, self._describe(orders)
        trained_with = job["x"].item(), job["y"].item()
        job["x"], job["y"], job["learns"] = x.ctypes.data, y.ctypes.data, False
        job["rates"], job["rates_step"] = losses.ctypes.data, 0  # of which nothing is made
        self._run(orders.shape[2], 1, report)
        (job["x"], job["y"]), job["learns"] = trained_with, True
        losses, right = self._sums(losses, right)
        return losses[:, 0], right[:, 0]

    def _run(self, count: int, epochs: int, report: Callable[[int], None] | None) -> None:
        """Run the job that is described, in slices if it is one epoch."""
        job = self._job
        for start, size in self._samples.slices(count, self._batch) if epochs == 1 else [(0, count)]:
            job["first"], job["last"] = start, start + size
            self._train(job.ctypes.data)
            if report is not None:
                report(start + size)

    def _describe(self, orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Write the orders to the job; return where the sums of losses and of right answers go, (epochs, width)."""
        each, epochs, count = orders.shape
        job, size = self._job, 2 * epochs * self.width
        if self._totals.size < size:
            self._totals = np.empty(size)
        losses, right = self._totals[:size].reshape(2, epochs, self.width)
        job["order"], job["order_stride"] = orders.ctypes.data, orders.strides[0] if each > 1 else 0
        job["order_step"] = orders.strides[1]
        job["count"], job["epochs"] = count, epochs
        job["losses"], job["right"] = losses.ctypes.data, right.ctypes.data
        return losses, right

    def _sums(self, losses: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums as callers know them, (n_networks, epochs)."""
        if self._spec.multilabel:
            right /= self._spec.n_out
        return losses[:, : self._count].T, right[:, : self._count].T

    @property
    def params(self) -> np.ndarray:
        """The parameters of each network's last finite epoch, (n_networks, n_params) in the order of `MLP.params`."""
        return self._flattened(self._finite[:, : self._count])

    def keep(self, better: np.ndarray) -> None:
        """Keep the parameters of the last finite epoch as the best, of the networks where ``better``, (n_networks,) of
        bool."""
        np.copyto(self._best[:, : self._count], self._finite[:, : self._count], where=better)

    def taken(self, lanes: Sequence[int], best: bool = False) -> np.ndarray:
        """The parameters of some lanes, (n_lanes, n_params): the last finite ones, or those that `keep` kept."""
        return self._flattened((self._best if best else self._finite)[:, lanes])

    @cached_property
    def _best(self) -> np.ndarray:
        return np.zeros_like(self._finite)

    def _flattened(self, rows: np.ndarray) -> np.ndarray:
        """Rows of parameters (n_params, n_networks) as vectors (n_networks, n_params) in the order of `MLP.params`."""
        result = np.empty(rows.shape[::-1], self._dtype)
        result[:, self._flat] = rows.T
        return result


def _rows_of(places: Sequence[Place]) -> np.ndarray:
    """Where in the flat vector the number of each row of parameters stands: weights are (n_out, n_in) in rows."""
    parts = []
    for place in places:
        weights = np.arange(place.w, place.w + place.n_in * place.n_out).reshape(place.shape)
        parts += [(weights.T if place.by_inputs else weights).ravel()]
        parts += [np.arange(place.b, place.b + place.n_out * place.has_biases)]
    return np.concatenate(parts)


def _layers(
    spec: Spec,
    places: Sequence[Place],
    real: str,
    row: int,
    w: int,
    zeros: int,
    below: int,
    matrices: Sequence[int],
) -> np.ndarray:
    """LANE_LAYER records. ``w``, ``zeros`` and ``below`` (the input) are addresses of rows, as ``matrices`` are, four a
    layer."""
    softmax, softmax_backward = map(address_of, catalog.lane_softmax(real))
    acts = [layer.act for layer in spec.layers]
    functions = Functions(
        tuple(address_of(catalog.activation(act.name, real)) if act.elementwise else softmax for act in acts),
        tuple(act.slope or 0.0 for act in acts),
        tuple(0 if act.elementwise else softmax_backward for act in acts),
        (),
    )
    result = []
    for i, place in enumerate(places):
        z, a, d, delta = matrices[len(_ROWS) * i :][: len(_ROWS)]
        b = w + place.n_in * place.n_out * row
        record = layer_fields(
            LANE_LAYER,
            place,
            functions,
            i,
            w=w,
            b=b if place.has_biases else zeros,
            input=below,
            z=z,
            a=a,
            d=d,
            delta=delta,
        )
        result.append(record)
        w, below = b + place.has_biases * place.n_out * row, a
    return np.array(result, LANE_LAYER)


def _prepare(spec: Spec, real: str, optimizer: Optimizer) -> None:
    """Compile the kernels that have to be compiled, at the same time."""
    kernels = [Variant(name, "", real) for name in catalog.LANES]
    kernels.append(Variant("lane_loss", f"{spec.loss.name}.{fused_output(spec)}", real))
    kernels.append(Variant("lane_step", f"{optimizer.name}.{optimizer.states}", real))
    prepare_kernels(spec, real, *kernels)
