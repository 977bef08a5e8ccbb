"""Networks of one shape trained side by side, one in each lane of the vectors (kernels/lanes.py)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from ..kernels import catalog
from ..kernels.catalog import Variant
from ..kernels.layout import LANE_LAYER, LANES, OPTIONS, aligned, parameter_places
from ..metrics import one_hot
from ..optimizers import SGD, Optimizer
from ..spec import Affine, Spec
from .binding import address_of, fused_output, prepare_kernels, vectors_of
from .memory import fields, words

__all__ = ["LaneRunner", "lanes_of", "lanes_refusal", "lanes_samples"]

_ROWS = "z", "a", "d", "delta"
_SCRATCH = 16  # rows that sums and steps take at most


def lanes_refusal(spec: Spec, optimizer: Optimizer) -> str:
    """Why networks of this spec cannot be trained side by side; '' if they can."""
    for layer in spec.layers:
        if not layer.act.builtin:
            return f"the activation {layer.act.name} is not one of the library's own"
    if not spec.loss.builtin:
        return f"the loss {spec.loss.name} is not one of the library's own"
    if optimizer.rule is None:
        return f"{optimizer.name} looks at all samples at once"
    return ""


@cache
def lanes_of(dtype: np.dtype) -> int:
    """How many networks of that dtype lie side by side: the kernel says so when it has nothing to train."""
    return int(catalog.lanes(dtype.name)(np.zeros((), LANES).ctypes.data))


def lanes_samples(spec: Spec, dtype: np.dtype, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked x and y as `LaneRunner` takes them: copies of that dtype, in the network's units, classes one-hot."""

    def in_units(values: np.ndarray, affine: Affine | None) -> np.ndarray:
        copy, vectors = np.array(values, dtype, order="C"), vectors_of(affine, dtype)
        return copy if vectors is None else (copy - vectors[0]) * vectors[1]

    return in_units(x, spec.input_affine), in_units(one_hot(y, spec.n_out, dtype), spec.target_affine)


class LaneRunner:
    """Trains up to ``width`` networks of one spec side by side.

    It is not thread-safe; several may run in threads of their own.

    Parameters
    ----------
    spec : Spec
    dtype : dtype
    x : ndarray, (n_samples, n_in)
        C-contiguous, of that dtype, shifted and scaled as the spec says.
    y : ndarray, (n_samples, n_out)
        C-contiguous, of that dtype, in the network's units; one-hot for classes.
    batch : int
        Samples a step.
    optimizer : Optimizer
        Of the registry, with a rule for single parameters.

    Attributes
    ----------
    width : int
        The number of lanes.
    """

    def __init__(
        self, spec: Spec, dtype: np.dtype, x: np.ndarray, y: np.ndarray, batch: int, optimizer: Optimizer
    ) -> None:
        real = dtype.name
        _prepare(spec, real, optimizer)
        self._train = catalog.lanes(real)
        self._job = np.zeros((), LANES)
        self.width = lanes = lanes_of(dtype)
        self._spec, self._dtype, self._alive = spec, dtype, (x, y)
        places, self._n_params = parameter_places(spec.widths, [layer.bias for layer in spec.layers])
        self._flat = np.concatenate([  # where in the flat vector the number of each row stands
            np.concatenate([
                np.arange(place.w, place.w + place.n_in * place.n_out).reshape(place.shape).T.ravel()
                if place.by_inputs else np.arange(place.w, place.w + place.n_in * place.n_out),
                np.arange(place.b, place.b + place.n_out * place.has_biases),
            ])
            for place in places
        ])  # fmt: skip
        self._plain = isinstance(optimizer, SGD) and not optimizer.states and batch == 1
        row = lanes * dtype.itemsize
        widths = spec.widths
        n_rows = self._n_params * (3 + optimizer.states)  # parameters, finite ones, gradient, states
        n_rows += widths[0] + sum(len(_ROWS) * n for n in widths[1:]) + widths[-1]
        constants = np.array(optimizer.constants, np.float64)
        n_numbers = len(optimizer.prepare(1.0, 1.0, optimizer.constants))
        n_scratch = max(*widths, _SCRATCH, 4 + optimizer.states + n_numbers)
        n_rows += n_numbers + 2 + 3 + n_scratch + max(widths)  # the last ones are zeros, in place of biases
        self._memory = aligned(n_rows * lanes, dtype)
        self._rows = self._memory.reshape(n_rows, lanes)
        address, used = self._memory.ctypes.data, 0

        def take(count: int) -> tuple[int, np.ndarray]:
            nonlocal used
            begin, used = used, used + count
            return address + begin * row, self._rows[begin:used]

        params, self._params = take(self._n_params)
        finite, self._finite = take(self._n_params)
        gradient, _ = take(self._n_params)
        self._gradient = gradient - params
        self._states = take(self._n_params * optimizer.states)[1]
        distances = [gradient - params + (i + 1) * self._n_params * row for i in range(optimizer.states)]
        self._distances = np.array(distances, np.int64)
        inputs, _ = take(widths[0])
        layers, w, below = [], params, inputs
        matrices = [[take(n)[0] for _ in _ROWS] for n in widths[1:]]
        targets, _ = take(widths[-1])
        numbers, _ = take(n_numbers)
        penalties, self._penalties = take(2)
        factors, _ = take(1)
        alive, self._lives = take(1)
        right_so_far, _ = take(1)
        scratch, _ = take(n_scratch)
        zeros, _ = take(max(widths))
        softmax = [address_of(function) for function in catalog.lane_softmax(real)]
        for layer, place, (z, a, d, delta) in zip(spec.layers, places, matrices, strict=True):
            b = w + place.n_in * place.n_out * row
            activation = softmax[0]
            if layer.act.elementwise:
                activation = address_of(catalog.activation(layer.act.name, real))
            layers.append(
                fields(
                    LANE_LAYER,
                    n_in=place.n_in,
                    n_out=place.n_out,
                    has_biases=place.has_biases,
                    w=w,
                    b=b if place.has_biases else zeros,
                    input=below,
                    z=z,
                    a=a,
                    d=d,
                    delta=delta,
                    activation=activation,
                    softmax_backward=0 if layer.act.elementwise else softmax[1],
                    slope=layer.act.slope or 0.0,
                )
            )
            w, below = b + place.has_biases * place.n_out * row, a
        self._layers = np.array(layers, LANE_LAYER)
        output = fused_output(spec)
        self._options, self._constants = np.zeros((), OPTIONS), constants
        self._step_numbers = np.zeros(n_numbers)
        words(self._job)[:] = fields(
            LANES,
            n_layers=len(layers),
            layers=self._layers.ctypes.data,
            n_params=self._n_params,
            params=params,
            finite=finite,
            alive=alive,
            gradient=0,
            n_states=optimizer.states,
            states=self._distances.ctypes.data,
            x=x.ctypes.data,
            y=y.ctypes.data,
            order=0,
            count=0,
            batch=batch,
            epochs=0,
            rates=0,
            losses=0,
            right=0,
            right_so_far=right_so_far,
            targets=targets,
            loss=address_of(catalog.lane_loss(spec.loss.name, output, real)),
            prepare=address_of(catalog.prepare(optimizer.name)),
            rule=address_of(catalog.lane_step(optimizer.name, optimizer.states, real)),
            fused=bool(output),
            loss_activates=bool(output) and not spec.layers[-1].act.elementwise,
            score_classes=spec.one_of_many and not spec.multilabel,
            score_labels=spec.multilabel,
            options=self._options.ctypes.data,
            constants=constants.ctypes.data,
            step_numbers=self._step_numbers.ctypes.data,
            n_numbers=n_numbers,
            numbers=numbers,
            penalties=penalties,
            factors=factors,
            scratch=scratch,
        )

    def begin(self, params: np.ndarray, l1: Sequence[float], l2: Sequence[float]) -> None:
        """Take networks, at most ``width``: parameters (n_networks, n_params) in the order of `MLP.params`, and their
        penalties. The optimiser begins anew."""
        n = len(params)
        self._count = n
        self._params[:, :n] = params[:, self._flat].T
        self._params[:, n:] = self._params[:, :1]
        self._finite[...] = self._params
        self._states[...] = 0
        self._penalties[...] = 0
        self._penalties[0, :n], self._penalties[1, :n] = l1, l2
        self._job["gradient"] = 0 if self._plain and not self._penalties.any() else self._gradient
        self._options["steps"] = 0
        self._lives[...] = 1

    def run(self, orders: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Train for some epochs: orders (n_networks, epochs, n_samples) of int64, learning rates (n_networks, epochs).

        Returns the sums of losses and of right answers, (n_networks, epochs) each. Losses are NaN from a network's
        first epoch on whose loss or parameters were not finite.
        """
        n, epochs, count = orders.shape
        order = np.zeros((epochs * count, self.width), np.int64)
        order[:, :n] = orders.reshape(n, epochs * count).T
        all_rates, losses, right = (np.zeros((epochs, self.width)) for _ in range(3))
        all_rates[:, :n] = rates.T
        job = self._job
        job["order"], job["count"], job["epochs"] = order.ctypes.data, count, epochs
        job["rates"], job["losses"], job["right"] = (part.ctypes.data for part in (all_rates, losses, right))
        self._train(job.ctypes.data)
        if self._spec.multilabel:
            right /= self._spec.n_out
        return losses[:, :n].T, right[:, :n].T

    @property
    def params(self) -> np.ndarray:
        """The parameters of each network's last finite epoch, (n_networks, n_params) in the order of `MLP.params`."""
        result = np.empty((self._count, self._n_params), self._dtype)
        result[:, self._flat] = self._finite[:, : self._count].T
        return result


def _prepare(spec: Spec, real: str, optimizer: Optimizer) -> None:
    """Compile, side by side, what has to be compiled."""
    kernels = [Variant(name, "", real) for name in catalog.LANES]
    kernels.append(Variant("lane_loss", f"{spec.loss.name}.{fused_output(spec)}", real))
    kernels.append(Variant("lane_step", f"{optimizer.name}.{optimizer.states}", real))
    prepare_kernels(spec, real, *kernels)
