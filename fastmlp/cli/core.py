"""The commands that need no extra: measure, show, and compile ahead of time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["CORE"]


def warmup() -> None:
    """Compile all kernels now, for an image or a cluster; FASTMLP_CACHE_DIR says where they are kept."""
    from ..kernels.warmup import warm_up

    count, seconds, place = warm_up()
    print(f"{count} kernels ready after {seconds:.1f} s, in {place}")


def bench(rounds: int = 5, seconds: float = 0.3, out: list[Path] | None = None, map: bool = False) -> int:
    """Measure fastmlp beside the libraries that are installed: the best of ROUNDS of about SECONDS each.

    OUT is a Markdown file to renew as well, and may be repeated. MAP measures about ninety points instead of the table:
    trainings, calls, sparse data, many networks, two threads; it takes a quarter of an hour.
    """
    from .bench import main as measure

    return measure(rounds, seconds, out or (), map)


def demo(
    data: Literal["digits", "mnist"] = "digits",
    folder: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    plots: Path | None = None,
) -> None:
    """Train on handwritten digits and show how fast that is; with MNIST, beside Keras where that is installed.

    FOLDER is where the MNIST files are; EPOCHS replaces the experiment's number of epochs; PLOTS is a folder for
    pictures: curves, digits, confusions, weights.
    """
    from .demo import run

    run(data, None if folder is None else str(folder), epochs, seed, plots)


CORE = (bench, demo, warmup)
