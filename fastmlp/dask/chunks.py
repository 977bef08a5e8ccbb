"""How many networks a task trains: as many as take a second or two, estimated from the first ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..model.sweep import Part

__all__ = ["Chunks"]

_SHORTEST, _LONGEST = 0.1, 2.0  # seconds of a task: hundreds of times what it costs, and what a lost worker loses
_FOR_EACH = 0.01  # seconds of a task for each thread of the cluster: twice what client and scheduler have to do for it
_ENDS = 2  # chunks that each thread of the cluster should still have before it, so that all end together
_MEMORY = 0.5  # of what was measured before, beside the last chunk


class Chunks:
    """Cuts parts of a sweep into chunks.

    The first chunks are as small as makes sense. Later ones take two seconds, or more with hundreds of threads, which
    one client and one scheduler must serve. Towards the end they take less, so that threads do not wait for each other
    (docs/scaling.md has a simulation).

    Parameters
    ----------
    strands : iterable of Part
        Networks, each part of about equal cost.
    cost : function
        The cost of one network of a combination, in any unit.
    step : function
        The number of networks of a combination of which a chunk should be a multiple. Combinations with the same number
        are assumed to be equally fast for their cost.
    """

    def __init__(self, strands: Iterable[Part], cost: Callable[[int], float], step: Callable[[int], int]) -> None:
        self._cost, self._step = cost, step
        self._strands = list(strands)[::-1]
        self._left = sum(map(self._cost_of, self._strands))
        self._measured: dict[int, tuple[float, float]] = {}  # seconds and cost, by step

    def next(self, n_threads: int) -> list[Part]:
        """The next chunk, for a cluster with that many threads; empty if none is left."""
        chunk: list[Part] = []
        if not self._strands:
            return chunk
        rate = self._rate(self._strands[-1])
        longest = max(_LONGEST, _FOR_EACH * n_threads)
        shortest = max(_SHORTEST, longest / 4 if longest > _LONGEST else 0.0)
        wanted = 0.0 if rate is None else min(longest, max(shortest, self._left * rate / (_ENDS * n_threads)))
        while self._strands:
            strand = self._strands.pop()
            rate, step = self._rate(strand), self._step(strand.combination)
            seconds = 0.0 if rate is None else rate * self._cost(strand.combination) * step  # of a step
            steps = 1 if not seconds else round(wanted / seconds)
            if chunk and not steps:
                self._strands.append(strand)
                break
            stop = min(strand.stop, strand.start + max(1, steps) * step)
            chunk.append(strand._replace(stop=stop))
            self._left -= self._cost_of(chunk[-1])
            if stop < strand.stop:
                self._strands.append(strand._replace(start=stop))
                break
            wanted -= seconds * (stop - strand.start) / step
            if rate is None or wanted <= 0:
                break
        return chunk

    def took(self, chunk: list[Part], seconds: float) -> None:
        """Record the time that a chunk took."""
        steps = {self._step(part.combination) for part in chunk}
        if len(steps) == 1:
            (step,) = steps
            before = self._measured.get(step, (0.0, 0.0))
            new = seconds, sum(map(self._cost_of, chunk))
            self._measured[step] = before[0] * _MEMORY + new[0], before[1] * _MEMORY + new[1]

    def _rate(self, part: Part) -> float | None:
        """Seconds per unit of cost; None before a part of this kind was measured."""
        seconds, cost = self._measured.get(self._step(part.combination), (0.0, 0.0))
        return seconds / cost if cost else None

    def _cost_of(self, part: Part) -> float:
        return self._cost(part.combination) * (part.stop - part.start)
