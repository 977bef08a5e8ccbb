"""Checkpoints: files that keep a training run, from which the same run can go on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base.atomic import remove_leftovers, write_whole
from ..base.checks import check_count
from ..base.extras import require
from ..base.lock import FileLock
from ..base.sparse import SparseRows
from ..base.version import __version__
from ..engine.network import Network, kernels_level
from ..engine.steps import OptimizerState
from ..spec import Spec
from .container import Tensors, check_finite, entry, reading, to_bytes
from .history import History
from .stopping import StoppingWatch

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Checkpoint", "CheckpointFile", "RunState", "fingerprint", "get_checkpoint", "terms"]

_TOGETHER = 1 << 20  # elements hashed in one go, so that x is not copied
_LONGEST = 80  # characters of a value in a message
_MOST_STEPS = 1 << 53  # that a float64 counts


@dataclass(frozen=True)
class Checkpoint:
    """Keep a training run in a file: if the file exists already, training goes on from it.

    Parameters
    ----------
    path : str or path
        The file; its folder must exist.
    every : int
        The file is written before the first epoch, after every ``every`` epochs, and after the last one.

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
    """The `Checkpoint` of a ``checkpoint`` argument: None, a file's name, or a `Checkpoint`; an ImportError where none
    can be written."""
    if value is None:
        return None
    require("safetensors", "files", "a checkpoint")
    return value if isinstance(value, Checkpoint) else Checkpoint(value)


@dataclass
class RunState:
    """The changing state of a training run: all that it needs to go on as if it had not been interrupted.

    Attributes
    ----------
    network : Network
    optimizer : OptimizerState
    history : History
    watch : StoppingWatch or None
    rng : numpy.random.Generator
        Whatever the run draws comes from here: rows to hold out, orders of samples, keys of dropout.
    first_random_state : dict or None
        The state of rng before anything was drawn; None where there is no file that keeps it.
    stopped : bool
        Whether early stopping or a callback has ended the run.
    stratified : bool
        Whether held-out rows are drawn from each class; False in a run that an older version began without that.
    """

    network: Network
    optimizer: OptimizerState
    history: History
    watch: StoppingWatch | None
    rng: np.random.Generator
    first_random_state: Mapping[str, Any] | None
    stopped: bool = False
    stratified: bool = True

    def vectors(self) -> Tensors:
        """The arrays (n_params,) of the state, not copied, by their names in a file."""
        vectors = {"params": self.network.params}
        vectors.update((f"optimizer.{i}", vector) for i, vector in enumerate(self.optimizer.vectors, 1))
        if self.watch is not None:
            vectors["best"] = self.watch.best
        return vectors

    def restore(self, saved: SavedRun) -> None:
        """Restore everything that was saved, with the random state."""
        for name, vector in self.vectors().items():
            vector[...] = saved.vectors[name]
        self.optimizer.set_count(saved.steps)
        self.history.update(saved.history)
        self.stopped, self.stratified = saved.stopped, saved.stratified
        self.first_random_state, self.rng.bit_generator.state = saved.first_random_state, saved.random_state


class SavedRun(NamedTuple):
    """The checked contents of a checkpoint, from which a `RunState` is restored."""

    vectors: Tensors
    history: dict[str, list[float]]
    steps: int
    stopped: bool
    first_random_state: dict[str, Any]
    random_state: dict[str, Any]
    stratified: bool
    kernels: str  # what made it so far, "" where a version wrote the file that did not say

    def first_rng(self) -> np.random.Generator:
        """A generator that again draws what the run drew first when it began: the rows to hold out."""
        rng = np.random.default_rng()
        rng.bit_generator.state = self.first_random_state
        return rng


class CheckpointFile:
    """Reads and writes the checkpoint of one run. Nothing is read or written before a method is called.

    From `read` to `close` no other run, in this process or another, may use the same file.

    Parameters
    ----------
    checkpoint : Checkpoint
    epochs : int
        The number of epochs of the whole run.
    terms : dict
        The run's definition (`terms`); a file with another one is refused.
    quantities : list of str
        The names that the history has in every epoch; callbacks may add others.

    Attributes
    ----------
    kernels : str
        What decides the bits of the epochs that this process trains.
    """

    def __init__(
        self, checkpoint: Checkpoint, epochs: int, terms: Mapping[str, Any], quantities: Sequence[str]
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._path, self._every = Path(checkpoint.path).absolute(), checkpoint.every
        self._epochs, self._terms, self._quantities = epochs, terms, quantities
        self.kernels = f"{kernels_level()}, fastmlp {__version__}"
        self._found = False
        self._lock = FileLock(self._path)
        self._writer = ThreadPoolExecutor(1, "fastmlp-checkpoint")
        self._writing: Future[None] | None = None

    def read(self, state: RunState) -> SavedRun | None:
        """Read the file for `RunState.restore`; None if there is none.

        ``state`` only tells which vectors the file must have. A file that is damaged, or of another run, is a
        ValueError.
        """
        if not self._lock.acquire():
            raise ValueError(f"{self._path}: another run is writing it now (give another file's name?)")
        self._found = self._path.exists()
        saved = self._saved(state) if self._found else None
        remove_leftovers(self._path)
        return saved

    def _saved(self, state: RunState) -> SavedRun:
        """Read the file, which exists."""
        with reading(self._path, "checkpoint") as (document, take):
            if differences := list(_differences(self._terms, document)):
                raise ValueError(f"is another run's checkpoint (give another file's name?): {'; '.join(differences)}")
            n_epochs, stopped = entry(document, "epochs", int), entry(document, "stopped", bool)
            if n_epochs > self._epochs:
                raise ValueError(f"has had {n_epochs} epochs already, epochs is {self._epochs}")
            steps = entry(document, "steps", int)
            if not 0 <= steps <= _MOST_STEPS:
                raise ValueError("says that it has made a number of steps that cannot be")
            states = entry(document, "random_state", dict)
            first, now = (_check_random_state(states.get(name)) for name in ("first", "now"))
            stratified = "stratified" in document and entry(document, "stratified", bool)
            kernels = entry(document, "kernels", str) if "kernels" in document else ""
            lengths = entry(document, "history", dict)
            lengths = {name: entry(lengths, name, int) for name in lengths}
            for name in self._quantities:
                if (n_values := lengths.get(name, 0)) != n_epochs:
                    raise ValueError(f"says that it has had {n_epochs} epochs, and has {n_values} values of {name!r}")
            shapes = {name: (vector.dtype.name, vector.shape) for name, vector in state.vectors().items()}
            shapes |= {f"history.{name}": ("float64", (length,)) for name, length in lengths.items()}
            tensors = take(shapes)
            history = {name: tensors.pop(f"history.{name}") for name in lengths}
            check_finite(tensors)
            if n_epochs and not np.isfinite(history["loss"]).all():
                raise ValueError("has a loss that is NaN or infinite")
            for name in {"damping", "l2"}.intersection(self._quantities):  # with which Levenberg-Marquardt goes on
                if not all(value >= 0 for value in history[name]):
                    raise ValueError(f"has a {name} that is NaN or negative")
        lists = {name: values.tolist() for name, values in history.items()}
        return SavedRun(tensors, lists, steps, stopped, first, now, stratified, kernels)

    def begin(self, state: RunState) -> None:
        """Write the first file, unless one was read, and wait for it, so that a file that cannot be written is an error
        before any training."""
        if not self._found:
            self._write(state)
            self._wait()

    def end_epoch(self, state: RunState) -> None:
        """Write the file after each ``every``-th epoch, and after the last one."""
        n_epochs = state.history.epochs
        if state.stopped or n_epochs == self._epochs or n_epochs % self._every == 0:
            self._write(state)

    def close(self) -> None:
        """Wait until the file is on the disk, and let other runs use it."""
        try:
            self._wait()
        finally:
            self._writer.shutdown()
            self._lock.release()

    def _write(self, state: RunState) -> None:
        """Begin to write the file with the present state."""
        history = {name: np.asarray(values, np.float64) for name, values in state.history.items()}
        document = {
            **self._terms,
            "epochs": state.history.epochs,
            "stopped": state.stopped,
            "stratified": state.stratified,
            "kernels": self.kernels,
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


def terms(spec: Spec, options: Mapping[str, Any], data: Mapping[str, str | None]) -> dict[str, Any]:
    """Define a run, in JSON: by its spec, its options, and the fingerprints of its data.

    Functions cannot be compared across processes, so only their names count, or that there is one.
    """
    return {
        "spec": json.loads(json.dumps(spec.to_list(), default=repr)),
        "options": json.loads(json.dumps(options, default=_described)),
        "data": dict(data),
    }


def fingerprint(values: np.ndarray | SparseRows | None) -> str | None:
    """Describe values by dtype, shape, and a SHA-256 of the numbers (1.8 GB/s with the CPU's own instructions)."""
    if values is None:
        return None
    if isinstance(values, SparseRows):
        n_values = int(values.indptr[-1])
        kind, arrays = "sparse ", [values.data[:n_values], values.indices[:n_values], values.indptr]
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
    """Yield, in words, each difference between a run's terms and those of a file."""
    layers, file_layers = terms["spec"], entry(document, "spec", list)
    if len(layers) != len(file_layers):
        yield f"the spec has {len(layers)} layers, there it has {len(file_layers)}"
    for i, (layer, file_layer) in enumerate(zip(layers, file_layers, strict=False)):
        yield from _differing_values(layer, file_layer if isinstance(file_layer, dict) else {}, f"spec[{i}][%r]")
    for section in ("options", "data"):
        yield from _differing_values(terms[section], entry(document, section, dict), "%s")


def _differing_values(values: Mapping[str, Any], file_values: Mapping[str, Any], label: str) -> Iterator[str]:
    for name in dict.fromkeys([*values, *file_values]):
        if values.get(name) != file_values.get(name):
            yield f"{label % name} is {_short(values.get(name))}, there it is {_short(file_values.get(name))}"


def _short(value: Any) -> str:
    """Shorten a value for an error message."""
    text = "left out" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _check_random_state(state: Any) -> dict[str, Any]:
    """Return the random state; a ValueError if it is not one of PCG64, the generator that runs use."""
    generator = np.random.PCG64()
    try:
        generator.state = state
        sound = generator.state == state and state["state"]["inc"] % 2 == 1 and state["has_uint32"] in (0, 1)
    except (TypeError, ValueError, KeyError, OverflowError):
        sound = False
    if not sound:  # NumPy takes more, and makes something else of it
        raise ValueError("its random state is none of NumPy's PCG64")
    return dict(generator.state)
