"""Many networks at once: side by side in the lanes of vectors, or each by `train`, on threads."""

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
    with AVX-512. Such a network's numbers differ from those of `train` only by rounding, and do not depend on its
    neighbours or on the number of threads. Other networks, and all with ``lanes=False``, have the bits of `train`.

    Parameters
    ----------
    x, y : arrays
        As in `train`, the same for all.
    specs : spec, or list of them
        Each is a list of dict, a Spec, or an MLP, whose training goes on in place.
    seeds : list of int, optional
        ``range(10)`` trains every combination ten times.
    grid : dict of lists, optional
        The values to try for options of `train`, in all combinations, like scikit-learn's ``ParameterGrid``:
        ``{"lr": [0.1, 0.01], "batch_size": [1, 32]}``.
    n_threads : int, optional
        The number of networks trained at a time; when left out, the number of cores that this process may use.
    progress : bool, optional
        As in `train`; without a terminal, True prints a line for each network.
    lanes : bool, optional
        Whether networks are trained side by side. When left out, this is done where it is faster: with few parameters
        and not too many samples (the how-to page "Many networks at once" has the numbers). Callbacks, metrics, weights
        of samples, dropout and limits prevent it; validation and early stopping do not. True refuses networks for
        which it is impossible, False trains each as `train` does.
    **options
        Options of `train` that all networks share.

    Returns
    -------
    TrainedNetworks
        A sequence of `Trained`, with ``model``, ``history``, ``settings`` and ``error``. The order: by spec; for each
        spec by combination of the grid, whose last option changes first; for each combination by seed.

    Raises
    ------
    ValueError, TypeError
        For bad input to any of the networks, before one is trained.

    Warns
    -----
    RuntimeWarning
        When some networks diverged. They have the weights of their last finite epoch; the others are not affected.

    Notes
    -----
    Ctrl-C ends all training; the networks that were finished are returned, with a warning. A network that was trained
    side by side takes the memory of its parameters and 16 bytes for each epoch; `train_many_iter` keeps no network.

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

    Parameters, errors and warnings are those of `train_many`, and the networks are the same. They come as they end, not
    in order: ``settings`` tells which one it is. Only a few wait to be taken, and then training waits, too, so that
    memory is needed only for the networks that you keep.

    Yields
    ------
    Trained
        A trained network.

    Notes
    -----
    Closing the iterator, or leaving the loop, stops the work. So does Ctrl-C while the loop waits for a network: the
    loop ends, with a warning that says how many networks it was given.

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
