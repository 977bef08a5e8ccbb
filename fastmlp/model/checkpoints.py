"""Training runs in files: what a checkpoint holds, whether it belongs to the run at hand, and going on from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.atomic import remove_leftovers, write_whole
from ..base.checks import check_count
from ..base.sparse import SparseRows
from ..engine.network import Network
from ..engine.steps import OptimizerState
from ..spec import Spec
from .container import Tensors, entry, reading, to_bytes
from .history import History
from .stopping import StoppingWatch

__all__ = ["Checkpoint", "CheckpointFile", "RunState", "fingerprint", "get_checkpoint", "terms"]

_TOGETHER = 1 << 20  # elements hashed in one go, so that x is not copied
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
    """The `Checkpoint` of a ``checkpoint`` argument: None, a file's name, or a `Checkpoint`."""
    return value if value is None or isinstance(value, Checkpoint) else Checkpoint(value)


@dataclass
class RunState:
    """What changes in the course of a training run: all that must be kept for it to go on as if nothing had happened.

    Attributes
    ----------
    network : Network
    optimizer : OptimizerState
    history : History
    watch : StoppingWatch or None
    rng : numpy.random.Generator
        Whatever the run draws comes from here: rows to hold out, orders of samples, keys of dropout.
    first_random_state : dict
        What rng was before anything was drawn.
    stopped : bool
        Whether early stopping or a callback has ended the run.
    """

    network: Network
    optimizer: OptimizerState
    history: History
    watch: StoppingWatch | None
    rng: np.random.Generator
    first_random_state: Mapping[str, Any] = field(init=False)
    stopped: bool = False

    def __post_init__(self) -> None:
        self.first_random_state = self.rng.bit_generator.state

    def vectors(self) -> Tensors:
        """The arrays (n_params,) of the state, not copied, by their names in a file."""
        vectors = {"params": self.network.params}
        vectors.update((f"optimizer.{i}", vector) for i, vector in enumerate(self.optimizer.vectors, 1))
        if self.watch is not None:
            vectors["best"] = self.watch.best
        return vectors

    def restore(self, saved: SavedRun) -> None:
        """Become what was saved, random state included."""
        for name, vector in self.vectors().items():
            vector[...] = saved.vectors[name]
        self.optimizer.set_count(saved.steps)
        self.history.update(saved.history)
        self.stopped = saved.stopped
        self.first_random_state, self.rng.bit_generator.state = saved.first_random_state, saved.random_state


class SavedRun(NamedTuple):
    """A `RunState` as a file has it, checked."""

    vectors: Tensors
    history: dict[str, list[float]]
    steps: int
    stopped: bool
    first_random_state: dict[str, Any]
    random_state: dict[str, Any]

    def first_rng(self) -> np.random.Generator:
        """A generator that draws what the run drew first, in the process that began it: the rows to hold out."""
        rng = np.random.default_rng()
        rng.bit_generator.state = self.first_random_state
        return rng


class CheckpointFile:
    """Reads and writes the checkpoint of one run. Nothing is read or written before a method is called.

    Parameters
    ----------
    checkpoint : Checkpoint
    epochs : int
        With how many the run ends.
    terms : dict
        What the run is defined by (`terms`); a file with other ones is refused.
    """

    def __init__(self, checkpoint: Checkpoint, epochs: int, terms: Mapping[str, Any]) -> None:
        self._path, self._every = Path(checkpoint.path).absolute(), checkpoint.every
        self._epochs, self._terms = epochs, terms
        self._found = False
        self._writer = ThreadPoolExecutor(1, "fastmlp-checkpoint")
        self._writing: Future[None] | None = None

    def read(self, state: RunState) -> SavedRun | None:
        """Read what `RunState.restore` takes; None where there is no file.

        ``state`` only says which vectors there must be. ValueError for a file that is damaged or another run's.
        """
        remove_leftovers(self._path)
        self._found = self._path.exists()
        if not self._found:
            return None
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
            shapes = {name: (vector.dtype.name, vector.shape) for name, vector in state.vectors().items()}
            shapes |= {f"history.{name}": ("float64", (length,)) for name, length in lengths.items()}
            if done != lengths.get("loss", 0):
                raise ValueError(f"says that it has had {done} epochs, and has {lengths.get('loss', 0)} losses")
            tensors = take(shapes)
        history = {name: tensors.pop(f"history.{name}").tolist() for name in lengths}
        return SavedRun(tensors, history, steps, stopped, first, now)

    def begin(self, state: RunState) -> None:
        """Write the first file, where none was read. It is there when this returns: where it cannot be written, that is
        known before an hour of training."""
        if not self._found:
            self._write(state)
            self._wait()

    def end_epoch(self, state: RunState) -> None:
        """Write the file if an epoch that ended is one of those, or the last one."""
        done = state.history.epochs
        if state.stopped or done == self._epochs or done % self._every == 0:
            self._write(state)

    def close(self) -> None:
        """Wait for the file to be on the disk."""
        try:
            self._wait()
        finally:
            self._writer.shutdown()

    def _write(self, state: RunState) -> None:
        """Begin to write the file, which holds the state as it is now."""
        history = {name: np.asarray(values, np.float64) for name, values in state.history.items()}
        document = {
            **self._terms,
            "epochs": state.history.epochs,
            "stopped": state.stopped,
            "steps": state.optimizer.count,
            "random_state": {"first": state.first_random_state, "now": state.rng.bit_generator.state},
            "history": {name: len(values) for name, values in history.items()},
        }
        tensors = state.vectors() | {f"history.{name}": values for name, values in history.items()}
        content = to_bytes("checkpoint", document, tensors)
        self._wait()
        self._writing = self._writer.submit(write_whole, self._path, content)  # the disk works beside the next epoch

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()


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
        kind, arrays = "sparse ", [values.data[:used], values.indices[:used], values.indptr]
    else:
        kind, arrays = "", [values]
    digest = hashlib.sha256()
    for array in arrays:
        rows = max(1, _TOGETHER // max(1, array[:1].size))
        for start in range(0, len(array), rows):
            digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return f"{kind}{arrays[0].dtype.name} {values.shape} {digest.hexdigest()[:32]}"


def _described(value: Any) -> Any:
    """A JSON form of values that are not JSON, for `json.dumps`."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return "a function" if callable(value) and not dataclasses.is_dataclass(value) else repr(value)


def _differences(terms: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    """In words, each difference between a run's terms and those in a file's document."""
    layers, stored_layers = terms["spec"], entry(document, "spec", list)
    if len(layers) != len(stored_layers):
        yield f"the spec has {len(layers)} layers, there it has {len(stored_layers)}"
    for i, (layer, stored) in enumerate(zip(layers, stored_layers, strict=False)):
        yield from _differing_values(layer, stored if isinstance(stored, dict) else {}, f"spec[{i}][%r]")
    for section in ("options", "data"):
        yield from _differing_values(terms[section], entry(document, section, dict), "%s")


def _differing_values(values: Mapping[str, Any], stored: Mapping[str, Any], label: str) -> Iterator[str]:
    for name in dict.fromkeys([*values, *stored]):
        if values.get(name) != stored.get(name):
            yield f"{label % name} is {_short(values.get(name))}, there it is {_short(stored.get(name))}"


def _short(value: Any) -> str:
    """Shorten a value for an error message."""
    text = "left out" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _check_random_state(state: Any) -> dict[str, Any]:
    """The random state, if it is one of the generator that runs draw from."""
    try:
        np.random.PCG64().state = state
    except (TypeError, ValueError, KeyError, OverflowError):
        raise ValueError("its random state is none of NumPy's PCG64") from None
    return state
