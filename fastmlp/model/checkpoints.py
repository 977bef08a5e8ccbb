"""Training runs in files: what a checkpoint holds, whether it belongs to the run at hand, and going on from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.atomic import remove_leftovers, write_whole
from ..base.checks import check_count
from ..base.sparse import SparseRows
from ..spec import Spec
from .container import entry, reading, to_bytes

if TYPE_CHECKING:
    from ..engine.steps import OptimizerState
    from .history import History
    from .mlp import MLP
    from .stopping import StoppingWatch

__all__ = ["Checkpoint", "Record", "Run", "fingerprint", "get_checkpoint", "terms"]

_CHUNK = 1 << 20  # elements hashed together, so that x is not copied

_LONGEST = 80  # characters of a value in a message


@dataclass(frozen=True)
class Checkpoint:
    """Keep a training run in a file: where the file is there already, training goes on from it.

    Parameters
    ----------
    path : str or path
    every : int
        It is written before the first epoch, after every so many, and after the last one.

    Examples
    --------
    >>> import fastmlp
    >>> fastmlp.Checkpoint("run.ckpt", every=10)
    Checkpoint(path='run.ckpt', every=10)
    """

    path: str | os.PathLike[str]
    every: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)):
            raise TypeError(f"checkpoint must be a file's name or a Checkpoint, got {type(self.path).__name__}")
        check_count(self.every, "every")


def get_checkpoint(value: Any) -> Checkpoint | None:
    """What the ``checkpoint`` argument means: None, a file's name, or a `Checkpoint`."""
    return value if value is None or isinstance(value, Checkpoint) else Checkpoint(value)


@dataclass
class Run:
    """What changes in the course of a training run: all that must be kept for it to go on as if nothing had happened.

    ``stopped`` is true when early stopping or a callback ended it.
    """

    model: MLP
    steps: OptimizerState
    history: History
    watch: StoppingWatch | None
    rng: np.random.Generator
    stopped: bool = False

    def vectors(self) -> dict[str, np.ndarray]:
        """Those shaped like the parameters, by their names in a file."""
        vectors = {"params": self.model.params}
        vectors.update((f"optimizer.{i}", vector) for i, vector in enumerate(self.steps.vectors, 1))
        if self.watch is not None:
            vectors["best"] = self.watch.best
        return vectors


class Record:
    """The file of a run. Where there is one, ``run`` is what it was when that was written, but for its random state,
    which is that of the beginning: the rows to hold out are drawn from it, before `begin`.

    Parameters
    ----------
    checkpoint : Checkpoint
    epochs : int
        How many are wanted.
    run : Run
    terms : dict
        What the run is defined by (`terms`); a file with other ones is refused.
    """

    def __init__(self, checkpoint: Checkpoint, epochs: int, run: Run, terms: Mapping[str, Any]) -> None:
        self._path, self._every = Path(checkpoint.path).absolute(), checkpoint.every
        self._epochs, self._run, self._terms = epochs, run, terms
        self._now: dict[str, Any] | None = None
        self._writer = ThreadPoolExecutor(1, "fastmlp-checkpoint")
        self._writing: Future[None] | None = None
        remove_leftovers(self._path)
        if self._path.exists():
            self._now = self._restore()
        self._first = run.rng.bit_generator.state

    def begin(self) -> None:
        """The first epoch of this process is about to begin. A new file is there when this returns: where it cannot be
        written, that is known before an hour of training."""
        if self._now is None:
            self._write()
            self._wait()
        else:
            self._run.rng.bit_generator.state = self._now

    def epoch_done(self) -> None:
        """Take note of an epoch, where it is time for it."""
        done = self._run.history.epochs
        if self._run.stopped or done == self._epochs or done % self._every == 0:
            self._write()

    def close(self) -> None:
        """Wait for the file to be on the disk."""
        try:
            self._wait()
        finally:
            self._writer.shutdown()

    def _write(self) -> None:
        run = self._run
        history = {name: np.asarray(values, np.float64) for name, values in run.history.items()}
        document = {
            **self._terms,
            "epochs": run.history.epochs,
            "stopped": run.stopped,
            "steps": run.steps.count,
            "random_state": {"first": self._first, "now": run.rng.bit_generator.state},
            "history": {name: len(values) for name, values in history.items()},
        }
        tensors = run.vectors() | {f"history.{name}": values for name, values in history.items()}
        content = to_bytes("checkpoint", document, tensors)
        self._wait()
        self._writing = self._writer.submit(write_whole, self._path, content)  # the disk works beside the next epoch

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _restore(self) -> dict[str, Any]:
        """Put the file's state into the run, all but the random state, which is returned; or refuse, with the run as
        it was."""
        run = self._run
        vectors = run.vectors()
        with reading(self._path, "checkpoint") as (document, take):
            if differences := list(_differences(self._terms, document)):
                raise ValueError(f"is another run's checkpoint (give another file's name?): {'; '.join(differences)}")
            done, stopped = entry(document, "epochs", int), entry(document, "stopped", bool)
            if done > self._epochs:
                raise ValueError(f"has had {done} epochs already, epochs is {self._epochs}")
            steps = entry(document, "steps", int)
            states = entry(document, "random_state", dict)
            first, now = (_check_random_state(states.get(name)) for name in ("first", "now"))
            lengths = entry(document, "history", dict)
            shapes = {name: (vector.dtype.name, vector.shape) for name, vector in vectors.items()}
            shapes |= {f"history.{name}": ("float64", (length,)) for name, length in lengths.items()}
            if done != lengths.get("loss", 0):
                raise ValueError(f"says that it has had {done} epochs, and has {lengths.get('loss', 0)} losses")
            tensors = take(shapes)
        for name, vector in vectors.items():
            vector[...] = tensors[name]
        run.history.update((name, tensors[f"history.{name}"].tolist()) for name in lengths)
        run.steps.set_count(steps)
        run.stopped = stopped
        run.rng.bit_generator.state = first
        return now


def terms(spec: Spec, options: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is defined by, in JSON: the spec, the options, and fingerprints of the data.

    Functions cannot be compared with those of another process; of them only the name counts, or that they are there.
    """
    return {
        "spec": json.loads(json.dumps(spec.to_list(), default=repr)),
        "options": json.loads(json.dumps(options, default=_described)),
        "data": {name: fingerprint(values) for name, values in data.items()},
    }


def fingerprint(values: np.ndarray | SparseRows | None) -> str | None:
    """dtype, shape, and a SHA-256 of the numbers (1.8 GB/s with the CPU's own instructions for it)."""
    if values is None:
        return None
    if isinstance(values, SparseRows):
        used = int(values.indptr[-1])
        kind, parts = "sparse ", [values.data[:used], values.indices[:used], values.indptr]
    else:
        kind, parts = "", [values]
    digest = hashlib.sha256()
    for part in parts:
        rows = max(1, _CHUNK // max(1, part[:1].size))
        for start in range(0, len(part), rows):
            digest.update(np.ascontiguousarray(part[start : start + rows]).data)
    return f"{kind}{parts[0].dtype.name} {values.shape} {digest.hexdigest()[:32]}"


def _described(value: Any) -> Any:
    """For JSON, what is none."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return "a function" if callable(value) and not dataclasses.is_dataclass(value) else repr(value)


def _differences(ours: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    layers, kept_layers = ours["spec"], entry(document, "spec", list)
    if len(layers) != len(kept_layers):
        yield f"the spec has {len(layers)} layers, there it has {len(kept_layers)}"
    for i, (layer, kept) in enumerate(zip(layers, kept_layers, strict=False)):
        yield from _differing(layer, kept if isinstance(kept, dict) else {}, f"spec[{i}][%r]")
    for part in ("options", "data"):
        yield from _differing(ours[part], entry(document, part, dict), "%s")


def _differing(ours: Mapping[str, Any], kept: Mapping[str, Any], label: str) -> Iterator[str]:
    for name in dict.fromkeys([*ours, *kept]):
        if ours.get(name) != kept.get(name):
            yield f"{label % name} is {_short(ours.get(name))}, there it is {_short(kept.get(name))}"


def _short(value: Any) -> str:
    text = "left out" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _check_random_state(state: Any) -> dict[str, Any]:
    try:
        np.random.PCG64().state = state
    except (TypeError, ValueError, KeyError, OverflowError):
        raise ValueError("its random state is none of NumPy's PCG64") from None
    return state
