"""The README's table: fastmlp beside other libraries in training.

Every peer does the same work: relu layers under softmax and cross-entropy, plain SGD, the same samples in the same
order, float32, one thread, one core. Compiling and loading are not timed. The table has microseconds a sample for
fastmlp and ratios (peer ÷ fastmlp) for the others; below it come the single measurements of numbers.py.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from .clock import figures, per_unit
from .trainings import EPOCHS, TRAINERS, Training

__all__ = ["NAMES", "WORKS", "measure", "rows"]

NAMES = {
    "numba": "plain Numba loops",
    "jax": "JAX",
    "torch": "PyTorch",
    "sklearn": "scikit-learn",
    "numpy": "tutorial NumPy",
    "keras": "Keras",
}  # of the peers, by their modules
_OF_BATCHES = ("jax", "torch", "sklearn", "keras")
_NO_NUMBA = (*_OF_BATCHES, "numpy")  # its plain loops have one hidden layer
WORKS: dict[Training, tuple[str, ...]] = {
    Training((784, 10, 10), 1, "MNIST"): tuple(NAMES),
    Training((784, 128, 10), 1, "MNIST"): tuple(NAMES),
    Training((768, 128, 10), 1, "dense"): tuple(NAMES),
    Training((784, 128, 10), 32, "MNIST"): _OF_BATCHES,
    Training((784, 512, 512, 10), 32, "dense"): _OF_BATCHES,
    Training((8, 64, 64, 2), 1): _NO_NUMBA,
    Training((8, 64, 64, 2), 32): _OF_BATCHES,
}


def measure(work: Training, peers: tuple[str, ...], rounds: int = 5, seconds: float = 0.3) -> dict[str, float]:
    """Return the microseconds a sample of fastmlp and of the peers."""
    x, y = work.samples(10_000)
    runs = {name: TRAINERS[name](work, x, y) for name in ("fastmlp", *peers)}
    times = per_unit(runs, rounds, seconds, work.batch, len(x))
    return {name: min(times[name]) / EPOCHS * 1e6 for name in runs}


def rows(rounds: int, seconds: float) -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    installed = [name for name in NAMES if importlib.util.find_spec(name)]
    yield f"| µs a sample; the others as ratios | fastmlp | {' | '.join(NAMES[name] for name in installed)} |"
    yield "|---|---|" + "---|" * len(installed)
    for work, peers in WORKS.items():
        try:
            times = measure(work, tuple(name for name in installed if name in peers), rounds, seconds)
        except ConnectionError:  # load_mnist neither found nor fetched it
            yield f"| {work.name} | no MNIST |" + " |" * len(installed)
            continue
        ours = times["fastmlp"]
        ratios = [f"{figures(times[name] / ours)}×" if name in times else "" for name in installed]
        yield f"| {work.name} | {ours:.2f} | {' | '.join(ratios)} |"
