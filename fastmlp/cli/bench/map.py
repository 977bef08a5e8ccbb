"""The map: about ninety points of what people do with small networks, each beside all peers that do it.

A point is a training, a call, or many networks at once. Points are in groups. Each group is measured in a separate
process, with one thread on one core, or, if its peers also use two, with two threads on all cores.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...model.mlp import MLP
from ...model.training import train
from . import calls
from .clock import Run, figures, per_unit, repeated
from .networks import NETWORKS, POPULATION, Networks, Population
from .table import NAMES
from .trainings import EPOCHS, TRAINERS, Training

__all__ = ["GROUPS", "Group", "Measured", "Point", "page"]

NEAR = 1.2  # a peer that takes less than this many times our time is near
Peers = Mapping[str, Callable[[], Run]]  # what makes their runs, by names of modules, or of functions in them
_LABELS = {**NAMES, "numpy": "NumPy", "vowpalwabbit": "Vowpal Wabbit"}


@dataclass(frozen=True)
class Measured:
    """The result of a point.

    Attributes
    ----------
    name : str
    unit : str
        "a sample", "a call" or "a network".
    microseconds : float
        The time of fastmlp for one, in the best round.
    ratios : dict of float
        The peers' times in their best rounds, divided by ours.
    noise : float
        How far the median round was above the best one, for the library for which that is most.
    """

    name: str
    unit: str
    microseconds: float
    ratios: dict[str, float]
    noise: float

    @property
    def nearest(self) -> float:
        """The ratio of the nearest peer; infinite without peers."""
        return min(self.ratios.values(), default=float("inf"))

    def summary(self) -> str:
        """A line with the peers, the nearest first."""
        ordered = sorted(self.ratios.items(), key=lambda item: item[1])
        ratios = ", ".join(f"{name} {figures(ratio)}×" for name, ratio in ordered)
        return f"| {self.name} | {figures(self.microseconds)} µs {self.unit} | {ratios} | {self.noise:.0%} |"


@dataclass(frozen=True)
class Point:
    """One measurement: ``make()`` returns fastmlp's run and the peers' runs."""

    name: str
    unit: str
    make: Callable[[], tuple[Run, Peers]]
    step: int = 1  # units that are taken together: a batch
    most: int | None = None
    units: int = 1  # in what a run counts as one: epochs

    def measured(self, rounds: int, seconds: float, clock: Callable[[], float], pause: float) -> Measured:
        ours, peers = self.make()
        installed = {name: make for name, make in peers.items() if importlib.util.find_spec(name.partition(".")[0])}
        runs = {"fastmlp": ours, **{_LABELS.get(name, name): make() for name, make in installed.items()}}
        times = per_unit(runs, rounds, seconds, self.step, self.most, clock, pause)
        best = {name: min(values) for name, values in times.items()}
        noise = max(statistics.median(values) / min(values) - 1 for values in times.values())
        own = best.pop("fastmlp")
        ratios = {name: value / own for name, value in best.items()}
        return Measured(self.name, self.unit, own / self.units * 1e6, ratios, noise)


@dataclass(frozen=True)
class Group:
    """Points that one process measures."""

    name: str
    points: Sequence[Point]
    n_threads: int = 1

    def measured(self, rounds: int, seconds: float) -> Iterator[Measured]:
        """Measure the points, except those whose data are missing."""
        clock, pause = (time.process_time, 0.0) if self.n_threads == 1 else (time.perf_counter, 0.05)
        for point in self.points:
            try:
                yield point.measured(rounds, seconds, clock, pause)
            except ConnectionError:  # load_mnist neither found nor fetched it
                continue


def page(found: Sequence[Measured]) -> Iterator[str]:
    """Write the results in Markdown: first the points where a peer is near, the nearest first, then the others."""
    ordered = sorted(found, key=lambda point: point.nearest)
    compared = [point for point in ordered if point.ratios]
    near = [point for point in compared if point.nearest < NEAR]
    ahead = sum(point.nearest < 1 for point in near)
    middle = statistics.median(point.nearest for point in compared) if compared else float("nan")
    yield (
        f"{len(found)} points. At {ahead} a peer is ahead, at {len(near) - ahead} more one is within {NEAR}×; "
        f"the nearest peer's time is {figures(middle)} times ours in the median."
    )
    head = "fastmlp | peers ÷ fastmlp | noise |", "---|---|---|"
    for title, points in ((f"where a peer is within {NEAR}×", near), ("elsewhere", ordered[len(near) :])):
        yield ""
        yield f"| {title} | {head[0]}"
        yield f"|---|{head[1]}"
        yield from (point.summary() for point in points)


def _training(training: Training, *peers: str) -> Point:
    most = 2_000 if training.widths[0] > 5_000 else 10_000

    def make() -> tuple[Run, Peers]:
        x, y = training.samples(most)
        runs = {name: partial(TRAINERS[name], training, x, y) for name in peers}
        return TRAINERS["fastmlp"](training, x, y), runs

    threads = f", {training.n_threads} threads" if training.n_threads > 1 else ""
    return Point(f"training {training.name}{threads}", "a sample", make, training.batch, most, EPOCHS)


def _prediction(n: int, *widths: int) -> Point:
    def make() -> tuple[Run, Peers]:
        model = MLP(calls.network(*widths), seed=0)
        x = np.random.default_rng(0).random((n, widths[0]), dtype=np.float32)
        peers = {"onnxruntime": calls.onnxruntime_prediction, "numpy": calls.numpy_prediction,
                 "torch": calls.torch_prediction, "jax": calls.jax_prediction}  # fmt: skip
        return repeated(lambda: model.predict(x)), _of_calls(peers, model, x)

    return Point(f"predict {n:,} rows of {'-'.join(map(str, widths))}", "a call", make)


def _of_calls(peers: Mapping[str, Callable[..., calls.Call]], *arguments: Any) -> Peers:
    return {name: lambda peer=peer: repeated(peer(*arguments)) for name, peer in peers.items()}  # type: ignore[misc]


def _step(*widths: int, vowpal_wabbit: bool = False) -> Point:
    def make() -> tuple[Run, Peers]:
        model = MLP(calls.network(*widths, output="linear"), seed=0)
        rng = np.random.default_rng(0)
        x, y = rng.random((1, widths[0]), dtype=np.float32), rng.random(1, dtype=np.float32)
        peers = {"numpy": lambda: calls.numpy_step(model, x[0], y, 1e-4)}
        if vowpal_wabbit:
            peers["vowpalwabbit"] = lambda: calls.vowpal_wabbit_step(*widths[:2])
        return repeated(lambda: model.partial_fit(x, y, lr=1e-4)), _of_calls(peers)

    return Point(f"partial_fit one row, {'-'.join(map(str, widths))}", "a call", make)


def _gradient(n: int, *widths: int, dtype: str = "float32") -> Point:
    def make() -> tuple[Run, Peers]:
        model, x, y = _regression(n, *widths, dtype=dtype)
        return repeated(lambda: model.gradient(x, y)), _of_calls({"jax": calls.jax_gradient}, model, x, y)

    return Point(f"gradient of {n:,} rows, {'-'.join(map(str, widths))}, {dtype}", "a call", make)


def _jacobian(n: int, *widths: int) -> Point:
    def make() -> tuple[Run, Peers]:
        model, x, _ = _regression(n, *widths)
        peers = {
            "jax.jacrev": lambda: calls.jax_jacobian(model, x, forward=False),
            "jax.jacfwd": lambda: calls.jax_jacobian(model, x, forward=True),
        }
        return repeated(lambda: model.jacobian(x, wrt="inputs")), _of_calls(peers)

    return Point(f"jacobian by the inputs, {n} rows, {'-'.join(map(str, widths))}", "a call", make)


def _regression(n: int, *widths: int, dtype: str = "float32") -> tuple[MLP, np.ndarray, np.ndarray]:
    """A network of tanh layers under a linear one, and n samples."""
    rng = np.random.default_rng(0)
    model = MLP(calls.network(*widths, act="tanh", output="linear"), seed=0, dtype=dtype)
    return model, rng.normal(size=(n, widths[0])).astype(dtype), rng.normal(size=(n, widths[-1])).astype(dtype)


def _sparse_prediction(share: str, n: int) -> Point:
    training = Training((20_000, 100, 10), 200, share)

    def sklearn(x: Any, y: np.ndarray) -> calls.Call:
        import warnings

        from sklearn.neural_network import MLPClassifier

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged
            fitted = MLPClassifier(training.widths[1:-1], max_iter=1).fit(x, y)
        return lambda: fitted.predict(x)

    def make() -> tuple[Run, Peers]:
        x, y = training.samples(n)
        model = MLP(training.spec, seed=0)
        return repeated(lambda: np.argmax(model.predict(x), axis=1)), _of_calls({"sklearn": sklearn}, x, y)

    return Point(f"predict {n:,} rows of 20000-100-10, {share}", "a call", make)


def _many(networks: Networks) -> Point:
    def make() -> tuple[Run, Peers]:
        return repeated(networks.fastmlp()), {"jax.vmap": lambda: repeated(networks.jax())}

    return Point(f"train_many, {networks.name}", "a network", make, units=networks.count)


def _population(population: Population) -> Point:
    def make() -> tuple[Run, Peers]:
        peers: Peers = {
            "jax.vmap": lambda: repeated(population.jax()),
            "fastmlp.predict": lambda: repeated(population.one_by_one()),
        }
        return repeated(population.fastmlp()), peers

    return Point(f"predict_many, {population.name}", "a call", make)


def _short_training() -> Point:
    def torch(model: MLP, x: np.ndarray, y: np.ndarray) -> calls.Call:
        import torch

        from ...interop import to_torch

        torch.set_num_threads(1)
        net, xs, ys = to_torch(model), torch.from_numpy(x), torch.from_numpy(y)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)

        def epoch() -> None:
            for start in range(0, len(xs), 8):
                optimizer.zero_grad()
                (0.5 * ((net(xs[start : start + 8]) - ys[start : start + 8]) ** 2).sum(1).mean()).backward()
                optimizer.step()

        return epoch

    def make() -> tuple[Run, Peers]:
        model, x, y = _regression(64, 4, 64, 64, 2)
        options: dict[str, Any] = {"lr": 1e-3, "epochs": 1, "batch_size": 8, "seed": 0, "progress": False}
        return repeated(lambda: train(x, y, model, **options)), _of_calls({"torch": torch}, model, x, y)

    return Point("train() of 64 rows, one epoch of batches of 8, 4-64-64-2", "a call", make)


_FRAMEWORKS = ("jax", "torch", "sklearn")
_SINGLE = (*_FRAMEWORKS, "numpy")
_SMALL = (2, 8, 2), (4, 16, 2), (24, 8, 2), (8, 64, 64, 2), (64, 100, 10), (30, 64, 64, 64, 2), (100, 128, 1000)
_WIDE = (784, 512, 512, 10)
_OPTIMIZED = (
    ("momentum", (784, 128, 10)),
    ("momentum", (8, 64, 64, 2)),
    ("Adam", (784, 128, 10)),
    ("Adam", (8, 64, 64, 2)),
)


def _single_samples() -> Iterator[Point]:
    for size, data in (((784, 10, 10), "MNIST"), ((784, 128, 10), "MNIST"), ((768, 128, 10), "dense")):
        yield _training(Training(size, 1, data), "numba", *_SINGLE)
    yield _training(Training(_WIDE, 1, "dense"), *_SINGLE)
    for widths in _SMALL:
        yield _training(Training(widths, 1), *_SINGLE)
    for optimizer, widths in (*_OPTIMIZED, ("Adam", (64, 100, 10)), ("momentum", _WIDE)):
        yield _training(Training(widths, 1, "", optimizer), *_FRAMEWORKS)


def _batches() -> Iterator[Point]:
    yield _training(Training((784, 128, 10), 32, "MNIST"), *_FRAMEWORKS)
    for widths in ((4, 16, 2), (8, 64, 64, 2), (64, 100, 10), (100, 128, 1000), _WIDE):
        yield _training(Training(widths, 32), *_FRAMEWORKS)
    for widths, batch in (((2, 8, 2), 200), ((8, 64, 64, 2), 128), ((100, 128, 1000), 128), ((4096, 1024, 100), 512)):
        yield _training(Training(widths, batch), *_FRAMEWORKS)
    for batch in (64, 128, 512):
        yield _training(Training(_WIDE, batch), *_FRAMEWORKS)
    for batch in (128, 512):
        yield _training(Training((784, 1024, 1024, 1024, 10), batch), *_FRAMEWORKS)
    for optimizer, widths in _OPTIMIZED:
        yield _training(Training(widths, 32, "", optimizer), *_FRAMEWORKS)


def _float64() -> Iterator[Point]:
    for widths, batch, optimizer in (
        ((8, 64, 64, 2), 1, "SGD"),
        ((64, 100, 10), 1, "SGD"),
        ((64, 100, 10), 32, "SGD"),
        ((64, 100, 10), 32, "Adam"),
    ):
        yield _training(Training(widths, batch, "", optimizer, "float64"), *_FRAMEWORKS)
    yield _gradient(200, 24, 8, 2, dtype="float64")


def _calls() -> Iterator[Point]:
    for widths in ((4, 16, 2), (30, 100, 2), (784, 128, 10), _WIDE):
        for n in (1, 2, 10, 100, 1000):
            yield _prediction(n, *widths)
    yield _prediction(100_000, 4, 16, 2)
    for widths in ((2, 16, 1), (8, 64, 64, 1), (784, 128, 1)):
        yield _step(*widths)
    yield _step(20, 32, 1, vowpal_wabbit=True)
    for n in (10, 1000):
        yield _gradient(n, 8, 64, 64, 2)
    for n, widths in ((200, (24, 8, 2)), (100, (8, 64, 64, 2)), (10, (784, 128, 10))):
        yield _jacobian(n, *widths)
    yield _short_training()


def _sparse() -> Iterator[Point]:
    widths = 20_000, 100, 10
    for share in ("1 % non-zero", "0.2 % non-zero"):
        for batch, optimizer in ((1, "SGD"), (200, "SGD"), (200, "Adam")):
            yield _training(Training(widths, batch, share, optimizer), "sklearn")
        yield _sparse_prediction(share, 1000)


def _two_threads() -> Iterator[Point]:
    for widths in (_WIDE, (784, 128, 10)):
        for batch in (1, 64, 128, 512):
            yield _training(Training(widths, batch, "dense", n_threads=2), "jax", "torch")


GROUPS = {
    group.name: group
    for group in (
        Group("single-samples", tuple(_single_samples())),
        Group("batches", tuple(_batches())),
        Group("float64", tuple(_float64())),
        Group("calls", tuple(_calls())),
        Group("sparse", tuple(_sparse())),
        Group("many", (*map(_many, NETWORKS), _population(POPULATION))),
        Group("two-threads", tuple(_two_threads()), n_threads=2),
    )
}
