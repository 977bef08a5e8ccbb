"""The runs of `train_many`: combinations of specs, settings and seeds, each made from its number when needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..base.checks import check_seed
from ..base.remedies import OF_TRAINING, check_options
from .training import train

__all__ = ["DEFAULTS", "Runs"]

DEFAULTS: Mapping[str, Any] = train.__kwdefaults__ or {}  # of all options of train


class Runs:
    """The settings of each run, which take no memory, even for a million runs.

    The order: by spec; for each spec by combination of the grid, whose last option changes first; for each of these by
    seed. A *combination* is the settings without the seed: run i has combination i // n_seeds.

    Attributes
    ----------
    grid : dict of lists
    seeds : sequence of int, or None
    n_seeds, n_combinations : int
    """

    def __init__(self, n_specs: int, grid: Mapping[str, Sequence[Any]], seeds: Sequence[int | None] | None) -> None:
        self._axes: dict[str, Sequence[Any]] = {"spec": range(n_specs), **grid}
        self.grid, self.seeds = grid, seeds
        self.n_seeds = 1 if seeds is None else len(seeds)
        self.n_combinations = math.prod(map(len, self._axes.values()))

    @classmethod
    def checked(cls, n_specs: int, seeds: Any, grid: Any, options: Mapping[str, Any]) -> Runs:
        """Check the arguments of `train_many`; a ValueError or TypeError for a bad one."""
        if grid is not None and not isinstance(grid, Mapping):
            raise TypeError(f"grid must be a dict of lists such as {{'lr': [0.1, 0.01]}}, got {type(grid).__name__}")
        grid = grid or {}
        _check_names("", options)
        _check_names("grid: ", grid)
        for name, values in grid.items():
            if name in options:
                raise ValueError(f"{name} is given twice, in the grid and as an option")
            if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)) or not len(values):
                remedy = f"; give [{values!r}]" if np.ndim(values) == 0 else ""
                raise TypeError(f"grid: {name} must be a list of values to try, got {values!r}{remedy}")
        if seeds is not None and ("seed" in options or "seed" in grid):
            raise ValueError("seed and seeds are both given; give one of them")
        return cls(n_specs, {name: list(values) for name, values in grid.items()}, _checked_seeds(seeds))

    def __len__(self) -> int:
        return self.n_combinations * self.n_seeds

    def __getitem__(self, number: int) -> dict[str, Any]:
        """The settings of a run: "spec", its number among the specs, then options of `train`."""
        combination, which = divmod(number, self.n_seeds)
        settings = self.combination(combination)
        if self.seeds is not None:
            settings["seed"] = self.seeds[which]
        return settings

    def combination(self, number: int) -> dict[str, Any]:
        """The settings of a combination."""
        settings: dict[str, Any] = {}
        for name, values in reversed(self._axes.items()):
            number, which = divmod(number, len(values))
            settings[name] = values[which]
        return {name: settings[name] for name in self._axes}

    def combinations(self) -> Iterator[dict[str, Any]]:
        """The settings of all combinations."""
        return map(self.combination, range(self.n_combinations))

    def first_with(self, number: int, name: str) -> int:
        """The combination that has an option's first value, and otherwise the values of this combination."""
        step = 1
        for other, values in reversed(self._axes.items()):
            if other == name:
                return number - number // step % len(values) * step
            step *= len(values)
        return number

    def seed(self, number: int, default: int | None) -> int | None:
        """The seed of a run; ``default`` if there are no seeds."""
        return default if self.seeds is None else self.seeds[number % self.n_seeds]


def _check_names(where: str, names: Iterable[str]) -> None:
    """Refuse names that are not options of `train`, and options that several runs cannot share."""
    allowed = sorted(DEFAULTS.keys() - {"progress", "n_threads", "checkpoint"})
    for name in names:
        if name == "checkpoint":
            raise ValueError(f"{where}train_many has no checkpoint: a file is for one network")
        check_options([name], allowed, f"{where}train", OF_TRAINING)


def _checked_seeds(seeds: Any) -> Sequence[int | None] | None:
    """A ``seeds`` argument as a sequence; None for a single run."""
    if seeds is None:
        return None
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        raise TypeError(
            f"seeds must be a list of integers such as range({seeds if isinstance(seeds, int) else 10}), got {seeds!r}"
        )
    if isinstance(seeds, range):
        result: Sequence[int | None] = seeds  # a million seeds without a million objects
        for seed in (seeds[0], seeds[-1]) if seeds else ():
            check_seed(seed)
    else:
        result = [check_seed(seed) for seed in seeds]
    if not result:
        raise ValueError("seeds is empty: there is nothing to train")
    return result
