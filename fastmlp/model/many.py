"""Many networks at once: side by side in the lanes of vectors, or each by train(), on threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..base.cores import usable_cores
from .sweep import Sweep
from .trained import Trained, TrainedNetworks

__all__ = ["train_many", "train_many_iter"]


def train_many(
    x: Any,
    y: Any,
    specs: Any,
    *,
    seeds: Iterable[int] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
    lanes: bool | None = None,
    **options: Any,
) -> TrainedNetworks:
    """Train networks of all combinations of specs, settings and seeds, many at a time.

    Small networks of one shape are trained side by side, one in each lane of the processor's vectors: 32 of float32
    with AVX-512. Each has the numbers that `train` alone would give it but for rounding, whatever its neighbours and
    their number, and the number of threads; other networks, and all with ``lanes=False``, have its very bits.

    Parameters
    ----------
    x, y : arrays
        As in `train`, the same for all.
    specs : spec, or list of them
        Each a list of dict, a Spec, or an MLP, whose training goes on in place.
    seeds : list of int, optional
        ``range(10)`` trains every combination ten times.
    grid : dict of lists, optional
        For options of `train` the values to try, in all combinations, like scikit-learn's ``ParameterGrid``:
        ``{"lr": [0.1, 0.01], "batch_size": [1, 32]}``.
    n_threads : int, optional
        Networks trained at a time: the processor's cores that this process may use, when left out.
    progress : bool, optional
        As in `train`; True prints a line a network where there is no terminal.
    lanes : bool, optional
        Whether networks are trained side by side. When left out, those are that gain by it: with few parameters and not
        too many samples (docs/how-to/many-networks.md has the numbers), and without what looks at single networks
        meanwhile (callbacks, metrics, weights of samples, dropout, limits), but for validation and early stopping.
        True refuses networks that cannot be, False trains each as `train` does.
    **options
        Options of `train`, the same for all.

    Returns
    -------
    TrainedNetworks
        A sequence of `Trained`, with ``model``, ``history``, ``settings`` and ``error``. The specs in their order; for
        each the combinations of the grid, its last option changing first; for each of those the seeds.

    Raises
    ------
    ValueError, TypeError
        For bad input to any of them, before any is trained.

    Warns
    -----
    RuntimeWarning
        When some diverged. The others are not touched, and these have the weights of their last finite epoch.

    Notes
    -----
    Ctrl-C ends all at once; those that were finished are returned, with a warning. A network that was trained side by
    side takes its parameters and 16 bytes an epoch; where these are too many, `train_many_iter` keeps none.

    Examples
    --------
    >>> import fastmlp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> trained = fastmlp.train_many(x, y, spec, seeds=range(20), grid={"lr": [0.05, 0.5]}, epochs=300)
    >>> len(trained)
    40
    >>> best = min(trained, key=lambda one: one.history["loss"][-1])
    >>> best.settings["lr"]
    0.5
    """
    n_threads = usable_cores() if n_threads is None else n_threads
    sweep = Sweep.checked(x, y, specs, seeds, grid, n_threads, progress, lanes, options)
    networks, interrupted = TrainedNetworks(sweep.runs), False
    with sweep.crew(networks._add) as crew:
        try:
            crew.wait()
        except KeyboardInterrupt:
            interrupted = True
    networks._end()
    sweep.warn(len(networks), crew.n_diverged, interrupted)
    return networks


def train_many_iter(
    x: Any,
    y: Any,
    specs: Any,
    *,
    seeds: Iterable[int] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
    lanes: bool | None = None,
    **options: Any,
) -> Iterator[Trained]:
    """Train networks as `train_many` does, and yield each as it ends.

    Parameters, errors and warnings are those of `train_many`, and so are the networks. They come as they end, not in
    order: ``settings`` tells which one it is. Few are kept, so that any number of networks takes no more memory than
    what you keep of them; training waits while nobody takes them.

    Yields
    ------
    Trained

    Notes
    -----
    Closing the iterator, or leaving the loop so that nobody has it any more, stops the work. So does Ctrl-C, while the
    loop waits for a network: it ends with a warning that counts those that it was given.

    Examples
    --------
    >>> import fastmlp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> networks = fastmlp.train_many_iter(x, y, spec, seeds=range(10_000), lr=0.5, epochs=300)
    >>> first_to_learn = next(one for one in networks if one.history["accuracy"][-1] == 1)
    >>> networks.close()
    >>> first_to_learn.model.predict_class(x).tolist()
    [0, 1, 1, 0]
    """
    n_threads = usable_cores() if n_threads is None else n_threads
    return Sweep.checked(x, y, specs, seeds, grid, n_threads, progress, lanes, options).as_they_end()
