"""The result of `train_many`: networks that are kept as arrays until one is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, NamedTuple, Protocol, overload

import numpy as np

from ..spec import Spec
from .history import DivergenceError, History
from .mlp import MLP
from .names import Names
from .runs import Runs

__all__ = ["Alone", "SideBySide", "Trained", "TrainedNetworks", "trained"]


class Outcome(Protocol):
    """The outcome of one run."""

    @property
    def model(self) -> MLP: ...

    @property
    def history(self) -> History: ...

    @property
    def error(self) -> DivergenceError | None: ...


class Alone(NamedTuple):
    """The outcome of a run that was trained alone."""

    model: MLP
    history: History
    error: DivergenceError | None = None

    @property
    def n_diverged(self) -> int:
        """1 if the network diverged, else 0."""
        return int(self.error is not None)


class SideBySide:
    """The outcome of networks that were trained side by side.

    Parameters
    ----------
    spec : Spec
        The networks' spec.
    names : Names
        The names of their inputs and classes.
    params : ndarray, (n_networks, n_params)
        In the order of `MLP.params`.
    columns : dict of ndarray, (n_networks, epochs)
        Their histories, by name. Losses are NaN from the epoch in which a network diverged.
    advice : dict of str
        The remedy for each network that diverged, by its lane.
    """

    __slots__ = ("_advice", "_columns", "_models", "_names", "_params", "_spec")

    def __init__(
        self,
        spec: Spec,
        names: Names,
        params: np.ndarray,
        columns: Mapping[str, np.ndarray],
        advice: Mapping[int, str],
    ) -> None:
        self._spec, self._names, self._params, self._columns, self._advice = spec, names, params, columns, advice
        self._models: dict[int, MLP] = {}

    @property
    def n_diverged(self) -> int:
        """The number of networks that diverged."""
        return len(self._advice)

    def model(self, lane: int) -> MLP:
        """A network's model, which is made once, so that all changes to it are kept."""
        if lane not in self._models:
            model = MLP.__new__(MLP)
            model._build(self._spec, self._params.dtype)
            model.params, model._names = self._params[lane], self._names
            return self._models.setdefault(lane, model)  # another thread may have been first
        return self._models[lane]

    def history(self, lane: int) -> History:
        """A network's history up to its last finite epoch."""
        history = History()
        losses = self._columns["loss"][lane]
        epochs = int(np.argmax(np.isnan(losses))) if lane in self._advice else len(losses)
        if epochs:
            history._extend({name: column[lane, :epochs].tolist() for name, column in self._columns.items()})
        return history

    def advice(self, lane: int) -> str | None:
        """The remedy for a network that diverged; None for others."""
        return self._advice.get(lane)


class Lane:
    """One network of several that were trained side by side."""

    def __init__(self, networks: SideBySide, lane: int) -> None:
        self._networks, self._lane = networks, lane

    @property
    def model(self) -> MLP:
        return self._networks.model(self._lane)

    @cached_property
    def history(self) -> History:
        return self._networks.history(self._lane)

    @cached_property
    def error(self) -> DivergenceError | None:
        advice = self._networks.advice(self._lane)
        if advice is None:
            return None
        return DivergenceError(self.history.epochs + 1, self.model, self.history, advice)


class Trained:
    """One of the networks of `train_many`.

    Attributes
    ----------
    model : MLP
        The network.
    history : History
        The values of each epoch.
    settings : dict
        The settings of this run: "spec", its number among the specs; "seed"; and its values of the grid's options.
    error : DivergenceError or None
        The error, if the loss became infinite or NaN; model and history are then those of the last finite epoch.
    """

    __slots__ = ("_outcome", "_settings")

    def __init__(
        self, model: MLP, history: History, settings: dict[str, Any], error: DivergenceError | None = None
    ) -> None:
        self._outcome: Outcome = Alone(model, history, error)
        self._settings = settings

    @classmethod
    def _of(cls, outcome: Outcome, settings: dict[str, Any]) -> Trained:
        """A network that an outcome makes when it is asked for."""
        self = cls.__new__(cls)
        self._outcome, self._settings = outcome, settings
        return self

    @property
    def model(self) -> MLP:
        return self._outcome.model

    @property
    def history(self) -> History:
        return self._outcome.history

    @property
    def settings(self) -> dict[str, Any]:
        return self._settings

    @property
    def error(self) -> DivergenceError | None:
        return self._outcome.error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trained):
            return NotImplemented
        return (self.model, self.history, self.settings) == (other.model, other.history, other.settings)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        return Trained, (self.model, self.history, self.settings, self.error)

    def __repr__(self) -> str:
        return f"Trained(model={self.model!r}, settings={self.settings!r}, error={self.error!r})"


class TrainedNetworks(Sequence[Trained]):
    """The networks of `train_many`, in order: a sequence of `Trained`, which works like a list.

    Networks that were trained side by side are kept as arrays, a few hundred bytes each. ``networks[i].history`` is
    made from these whenever it is asked for; ``networks[i].model`` is made once and then kept, with all changes that
    you make to it. Slices share their networks.

    Examples
    --------
    >>> import fastmlp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> trained = fastmlp.train_many(x, y, spec, seeds=range(1000), lr=0.5, epochs=100)
    >>> trained
    <fastmlp.TrainedNetworks: 1,000 networks>
    >>> trained[-1].settings["seed"], len(trained[:10])
    (999, 10)
    >>> best = min(trained, key=lambda one: one.history["loss"][-1])
    >>> best.model.predict_class(x).tolist()
    [0, 1, 1, 0]
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._outcomes: list[Alone | SideBySide | None] = [None] * len(runs)  # of each run,
        self._lanes = bytearray(len(runs))  # and which of the networks side by side it is
        self._numbers: Sequence[int] = range(len(runs))  # of the runs that are here

    def _add(self, numbers: Iterable[int], outcome: Alone | SideBySide) -> None:
        """Keep the outcome of some runs, which may end in any order."""
        for lane, number in enumerate(numbers):
            self._outcomes[number], self._lanes[number] = outcome, lane

    def _end(self) -> None:
        """Remove the runs that were not done."""
        if None in self._outcomes:
            done = [number for number, outcome in enumerate(self._outcomes) if outcome is not None]
            self._numbers = array("q", done)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Trained: ...

    @overload
    def __getitem__(self, index: slice) -> TrainedNetworks: ...

    def __getitem__(self, index: int | slice) -> Trained | TrainedNetworks:
        if isinstance(index, slice):
            part = copy(self)
            part._numbers = self._numbers[index]
            return part
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} networks, got index {index}")
        number = self._numbers[index]
        outcome = self._outcomes[number]
        assert outcome is not None
        return trained(outcome, self._lanes[number], self._runs[number])

    def __add__(self, others: Iterable[Trained]) -> list[Trained]:
        return [*self, *others]

    def __radd__(self, others: Iterable[Trained]) -> list[Trained]:
        return [*others, *self]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (TrainedNetworks, list)):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<fastmlp.TrainedNetworks: {len(self):,} network{'s' * (len(self) != 1)}>"


def trained(outcome: Alone | SideBySide, lane: int, settings: dict[str, Any]) -> Trained:
    """Make one of the networks of an outcome."""
    return Trained._of(Lane(outcome, lane) if isinstance(outcome, SideBySide) else outcome, settings)
