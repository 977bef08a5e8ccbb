"""Every way to run a network's kernels over samples, from any number of threads at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from ..base.ram import check_memory
from ..base.sparse import SparseRows
from ..kernels.layout import Place, aligned
from ..spec import Spec
from .binding import Binding, DataView
from .blocks import BLOCK, part_of_batch
from .call import KernelCall, TimeSlices
from .jacobians import jacobian_block, jacobian_work
from .shortcuts import GradientOfFew, JacobianOfFew, PredictFew, PredictOne, ProductOfFew, ScoreFew
from .steps import Dropout
from .tangents import Tangents
from .team import LONG, Team

__all__ = ["AT_ONCE", "Engine"]

AT_ONCE = 16 * BLOCK  # samples in one call of the forward kernel that scores them, or is one of several threads'
_COPIED = 1 << 15  # numbers of x and of outputs that are sooner copied than described


class Engine:
    """Runs the kernels of one network. Each call has separate workspaces, so that several threads may call it.

    Attributes
    ----------
    binding : Binding
    few : int
        The largest number of samples for the methods ``…_few``, with which a call is short.
    """

    def __init__(self, spec: Spec, places: Sequence[Place], params: np.ndarray, shape: str = "") -> None:
        self.binding = Binding(spec, places, params)
        self._gradient_of_few = f"gradient_of_shape.{shape}" if shape and not spec.frozen else "batches"
        self.few = max(1, min(AT_ONCE, LONG // params.size))
        copied = max(1, _COPIED // (spec.n_in + spec.n_out))
        self._rooms = [(min(copied, limit), limit) for limit in (1, min(BLOCK, self.few), self.few)]
        self._idle_teams: list[Team] = []
        self._idle_tangents: tuple[list[Tangents], list[Tangents]] = [], []
        self._idle_predictors: list[PredictOne] = []
        self._idle_kernels: dict[Any, list[Any]] = {}

    def predict_one(self, x: np.ndarray) -> np.ndarray | None:
        """The outputs (1, n_out) of x (1, n_in), of any real dtype; None if x is not finite."""
        try:
            one = self._idle_predictors.pop()
        except IndexError:
            one = PredictOne(self.binding)
        outputs = one(x)
        self._idle_predictors.append(one)
        return outputs

    def predict_few(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray | None:
        """The outputs (n, n_out) of x (n, n_in), for up to ``few`` samples of any real dtype, written to ``out`` if
        that is given; None where x is not finite."""
        idle, predict = self._lent(PredictFew, len(x))
        outputs = predict(x, out)
        idle.append(predict)
        return outputs

    def score_few(self, x: np.ndarray, y: np.ndarray) -> list[float] | None:
        """The sums of losses and of right answers of up to ``few`` samples: x (n, n_in), y (n, n_out) or class indices
        (n,). None where x is not finite."""
        idle, score = self._lent(ScoreFew, len(x), y.ndim == 1)
        sums = score(x, y)
        idle.append(score)
        return sums

    def gradient_of_few(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean loss and its gradient (n_params,), for up to ``few`` samples: x (n, n_in), y (n, n_out) or class
        indices (n,). Where x or y is not finite, neither is the loss."""
        idle, differentiate = self._lent(GradientOfFew, len(x), y.ndim == 1, self._gradient_of_few)
        result = differentiate(x, y)
        idle.append(differentiate)
        return result

    def hvp_of_few(self, x: np.ndarray, y: np.ndarray, v: np.ndarray) -> np.ndarray | None:
        """The Hessian of the mean loss of up to ``few`` samples, as `gradient_of_few` takes them, times v (n_params,);
        None where x or y is not finite."""
        idle, multiply = self._lent(ProductOfFew, len(x), y.ndim == 1)
        product = multiply(x, y, v)
        idle.append(multiply)
        return product

    def jacobian_of_few(self, x: np.ndarray, by_inputs: bool) -> np.ndarray | None:
        """What `jacobian` makes of x (n, n_in), for up to ``few`` samples of any real dtype; None where x is not
        finite, or the call would last."""
        if len(x) * jacobian_work(self.binding.spec, self.binding.params.size, by_inputs) > LONG // 4:
            return None
        idle, differentiate = self._lent(JacobianOfFew, len(x), by_inputs)
        jacobian = differentiate(x)
        idle.append(differentiate)
        return jacobian

    def room(self, n: int) -> tuple[int, int]:
        """The largest number of samples that a kernel bound for n samples copies, and that it takes."""
        return self._rooms[0 if n == 1 else 1 if n <= BLOCK else 2]

    def _lent(self, kind: Callable[..., Any], n: int, *form: bool | str) -> tuple[list[Any], Any]:
        """A kernel bound for n samples, lent to this caller, and the place to which it is returned."""
        room = self.room(n)
        try:
            idle = self._idle_kernels[kind, room, form]
            return idle, idle.pop()
        except (KeyError, IndexError):
            idle = self._idle_kernels.setdefault((kind, room, form), [])
            return idle, kind(self.binding, *room, *form)

    def forward(
        self,
        view: DataView,
        order: np.ndarray,
        outputs: np.ndarray | None,
        scored: bool,
        n_threads: int = 1,
        dropout: Dropout | None = None,
    ) -> np.ndarray:
        """Write the outputs of the samples in ``order`` to ``outputs`` (n_samples, n_out); return the sums of their
        losses and of right answers, where they are scored."""
        n, block = len(order), self.binding.block
        if n <= AT_ONCE or n_threads == 1:
            call = KernelCall(order, block, outputs=outputs, scored=scored, step=dropout)
            slices = _slices_of_sums(n) if scored else TimeSlices(self.binding.params.size).slices(n, AT_ONCE)
            totals = []
            for start, count in slices:
                call.totals[:] = 0.0
                self.run("forward", view, call, start, count)
                totals.append(call.totals.copy())
            return np.sum(totals, axis=0)
        calls = [KernelCall(order, block, outputs=outputs, scored=scored, step=dropout) for _ in range(0, n, AT_ONCE)]

        def run(call: KernelCall, part: tuple[int, int]) -> None:
            self.run("forward", view, call, *part)

        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(n_threads) as threads:
            try:
                list(threads.map(run, calls, _slices_of_sums(n)))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        return np.sum([call.totals for call in calls], axis=0)

    def forward_with_dropout(
        self, view: DataView, outputs: np.ndarray, kept: Sequence[float], keys: Sequence[int], n_threads: int
    ) -> None:
        """Write the outputs of all samples to ``outputs`` (n_keys, n_samples, n_out), where each key leaves other units
        out: of each hidden layer the share ``kept`` stays."""
        function, order = self.binding.dropout(), np.arange(len(view.x))
        for key, part in zip(keys, outputs, strict=True):
            self.forward(view, order, part, False, n_threads, Dropout(function, kept, key))

    def gradient(
        self,
        view: DataView,
        order: np.ndarray,
        weight: float,
        team: Team | None = None,
        outputs: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The totals over the samples in ``order``, as a `KernelCall` has them, and the gradient (n_params,) of their
        mean loss; ``weight`` is theirs together."""
        gradient, n = aligned(self.binding.params.size, self.binding.params.dtype), len(order)
        part = part_of_batch(n, view.block)
        call = KernelCall(order, view.block, 1 / weight, batch=n, part=part, outputs=outputs, gradient=gradient)
        with nullcontext(team) if team else self._lent_team() as members:
            for start, count in TimeSlices().slices(n, members.n_threads * (AT_ONCE // part * part)):
                call.mark(begins=start == 0, ends=start + count == n)
                members.run("batches", view, call, start, count)
        return call.totals, gradient

    def jacobian(self, view: DataView, by_inputs: bool) -> np.ndarray:
        """The Jacobian of every sample's outputs, (n_samples, n_out, n_params), or by the inputs, (…, n_in)."""
        spec, params, n = self.binding.spec, self.binding.params, len(view.x)
        shape = n, spec.n_out, spec.n_in if by_inputs else params.size
        check_memory(math.prod(shape) * params.itemsize, "a Jacobian of shape {}", shape)
        jacobian = aligned(math.prod(shape), params.dtype, zeros=False).reshape(shape)
        block = jacobian_block(spec, by_inputs)
        call = KernelCall(np.arange(n), block, outputs=jacobian, by_inputs=by_inputs)
        for start, count in TimeSlices().slices(n, block):
            self.run("jacobian", view, call, start, count)
        return jacobian

    @contextmanager
    def tangents(self, curved: bool) -> Iterator[Tangents]:
        """The kernels of tangents, for this caller alone; with second derivatives where they are ``curved``."""
        idle = self._idle_tangents[curved]
        try:
            tangents = idle.pop()
        except IndexError:
            tangents = Tangents(self.binding, curved)
        yield tangents
        idle.append(tangents)

    def layers(self, view: DataView) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Every layer's z, and every layer's a with the input as the network sees it in front; (n_samples, n) each."""
        n, widths, dtype = len(view.x), self.binding.spec.widths, self.binding.params.dtype
        zs = [np.empty((n, width), dtype) for width in widths[1:]]
        activations = [np.empty((n, width), dtype) for width in widths[1:]]
        block = self.binding.block
        call = KernelCall(np.arange(n), block)
        with self._lent_team() as team:
            workspace = team.leader
            for start in range(0, n, block):
                count = min(block, n - start)
                team.run("forward", view, call, start, count)
                for layer, z, a in zip(workspace.layers, zs, activations, strict=True):
                    z[start : start + count] = workspace.rows_at(layer["z"], count, z.shape[1])
                    a[start : start + count] = workspace.rows_at(layer["a"], count, a.shape[1])
        x = view.x.toarray() if isinstance(view.x, SparseRows) else view.x
        inputs = x.astype(dtype)
        if self.binding.affine is not None:
            shift, scale = self.binding.affine
            inputs = (inputs - shift) * scale
        return zs, [inputs, *activations]

    def run(self, kernel: str, view: DataView, call: KernelCall, start: int, count: int) -> None:
        """Run a kernel over ``call.order[start:start + count]``."""
        with self._lent_team() as team:
            team.run(kernel, view, call, start, count)

    @contextmanager
    def _lent_team(self) -> Iterator[Team]:
        """A team of one, lent to this caller."""
        try:
            team = self._idle_teams.pop()
        except IndexError:
            team = Team(self.binding)
        yield team
        self._idle_teams.append(team)


def _slices_of_sums(n: int) -> Iterator[tuple[int, int]]:
    """(start, count) of n samples, in slices whose losses are added, which are the same for any number of threads."""
    return ((start, min(AT_ONCE, n - start)) for start in range(0, n, AT_ONCE))
