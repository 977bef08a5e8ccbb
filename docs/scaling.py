"""The numbers of docs/scaling.md, and its picture, each on a machine that does nothing else::

    python docs/scaling.py efficiency [train_many | average | gradient] | overhead | simulate | averaging [LR]

``averaging`` draws docs/img/averaging.png, from MNIST where FASTMLP_DATA says; with another rate it only prints.
"""

from __future__ import annotations

import heapq
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

import fastmlp
import fastmlp.dask
from fastmlp.dask.chunks import Chunks
from fastmlp.datasets import load_mnist
from fastmlp.model.sweep import Part

SPEC = [{"n": 32, "act": None}, *[{"n": 64, "act": "relu"}] * 2, {"n": 2, "act": "softmax"}]
TINY = [{"n": 32, "act": None}, {"n": 8, "act": "tanh"}, {"n": 2, "act": "softmax"}]


@contextmanager
def workers(n: int) -> Iterator[Client]:
    """A client of so many processes of one thread."""
    with LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        client.wait_for_workers(n)
        yield client


def samples(n: int, n_in: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Points, and on which side of a plane they are."""
    x = np.random.default_rng(0).normal(size=(n, n_in)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)


def timed(function: Callable[[], Any]) -> float:
    """The seconds of a call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def efficiency(name: str = "train_many", seconds: str = "60", rows: str = "200000") -> None:
    """Train networks, or one by "average" or "gradient", with one worker and two: how far from half the time?"""
    x, y = samples(4000)

    def work(n: int, client: Client, parts: list[da.Array]) -> None:
        if name == "train_many":
            fastmlp.dask.train_many(x, y, SPEC, seeds=range(n), client=client)
        else:
            fastmlp.dask.train(*parts, SPEC, sync=name, epochs=n, lr=0.01, seed=0, client=client)

    took = {}
    for n_workers in (1, 2):
        with workers(n_workers) as client:
            parts = [] if name == "train_many" else in_memory(client, int(rows))
            few = timed(lambda: work(2, client, parts))
            if n_workers == 1:
                few = timed(lambda: work(2, client, parts))
                count = 2 + round(8 * (float(seconds) - few) / (timed(lambda: work(10, client, parts)) - few))
            took[n_workers] = timed(lambda: work(count, client, parts))
    gain = took[1] / took[2]
    print(f"{name}: {took[1]:.1f} s, {took[2]:.1f} s: {gain:.2f} times as fast, efficiency {gain / 2:.2f}")


def in_memory(client: Client, rows: int) -> list[da.Array]:
    """Samples in 16 partitions, which the workers made and hold."""

    def points(block_info: Any = None) -> np.ndarray:
        rng = np.random.default_rng(block_info[None]["chunk-location"][0])
        return rng.standard_normal((rows, 32), np.float32)

    x = da.map_blocks(points, chunks=((rows,) * 16, (32,)), dtype=np.float32, meta=np.empty((0, 0), np.float32))
    parts = client.persist([x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)])
    wait(parts)
    return parts


def overhead() -> None:
    """What a task costs beside its work, and what travels."""
    x, y = samples(4000)
    with workers(2) as client:
        fastmlp.dask.train_many(x, y, TINY, seeds=range(64), epochs=1)
        original, Chunks.next = Chunks.next, one_step
        try:
            few, many = (
                timed(lambda n=n: fastmlp.dask.train_many(x[:8], y[:8], SPEC, seeds=range(n), epochs=1))
                for n in (100, 900)
            )
        finally:
            Chunks.next = original
        local = timed(lambda: fastmlp.train_many(x[:8], y[:8], SPEC, seeds=range(800), epochs=1, n_threads=1)) / 800
        print(f"train_many, a task for each network of {local * 1e3:.2f} ms: {(many - few) / 800 * 1e3:.2f} ms a task")
        each = timed(lambda: client.gather(client.map(int, range(2000), pure=False))) / 2000
        print(f"Dask alone, 2,000 tasks that do nothing: {each * 1e3:.2f} ms a task")
        before = sent()
        fastmlp.dask.train_many(x, y, SPEC, seeds=range(200), epochs=1)
        total = sent() - before
        print(f"train_many, 200 networks {fastmlp.Spec(SPEC).n_params:,} parameters, x of {x.nbytes / 1e3:.0f} kB: "
              f"{total / 1e6:.1f} MB on the wire, {total / 200 / 1e3:.0f} kB a network")  # fmt: skip
        size = len(pickle.dumps(fastmlp.train_many(x, y, SPEC, seeds=[0], epochs=1)[0]))
        print(f"one such network, pickled: {size / 1e3:.1f} kB")
        parts = [client.persist(da.from_array(a, chunks=(500, *a.shape[1:]))) for a in (x, y)]
        wait(parts)
        for sync in ("average", "gradient"):
            train = [timed(lambda n=n: fastmlp.dask.train(*parts, SPEC, sync=sync, epochs=n, seed=0)) for n in (10, 60)]
            before = sent()
            fastmlp.dask.train(*parts, SPEC, sync=sync, epochs=10, seed=0)
            total = (sent() - before) / 10
            print(f"train, {sync}, 8 partitions of 500 rows: {(train[1] - train[0]) / 50 * 1e3:.1f} ms an epoch, "
                  f"{total / 1e3:.0f} kB on the wire")  # fmt: skip


def one_step(self: Chunks, n_threads: int) -> list[Part]:
    """A chunk of a single step, whatever it takes."""
    self._measured.clear()
    return Chunks_next(self, n_threads)


Chunks_next = Chunks.next


def sent() -> int:
    """Bytes that this machine sent to itself so far (Linux)."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[9]) for line in lines if line.strip().startswith("lo:"))


class FixedChunks:
    """Chunks of so many networks."""

    def __init__(self, n: int, size: int) -> None:
        self._left, self._size = n, size

    def next(self, n_threads: int) -> list[Part]:
        """The next one."""
        take = min(self._size, self._left)
        self._left -= take
        return [Part(0, 0, take)] if take else []

    def took(self, chunk: list[Part], seconds: float) -> None:
        """Nothing is learnt of it."""


def virtual(chunks: Any, n_workers: int, network: float, task: float) -> tuple[float, int]:
    """Efficiency and number of tasks of a sweep in virtual time.

    Networks take about so many seconds; client and scheduler, which do one thing at a time, are busy for ``task``
    seconds with each task, half of it before and half after its work.
    """
    events: list[tuple[float, int, list[Part], float]] = []  # when a worker is done, with what, and how long it took
    free = [0.0] * n_workers  # when each worker is
    heapq.heapify(free)
    server, work, n_tasks, at_work = 0.0, 0.0, 0, 0
    rng = np.random.default_rng(0)
    while True:
        while at_work < 2 * n_workers and (chunk := chunks.next(n_workers)):
            server += task / 2
            begin = max(server, heapq.heappop(free))
            seconds = sum(part.stop - part.start for part in chunk) * network * float(rng.uniform(0.8, 1.2))
            heapq.heappush(free, begin + seconds)
            heapq.heappush(events, (begin + seconds, n_tasks, chunk, seconds))
            work, n_tasks, at_work = work + seconds, n_tasks + 1, at_work + 1
        if not events:
            return work / n_workers / server, n_tasks
        end, _, chunk, seconds = heapq.heappop(events)
        server = max(server, end) + task / 2
        at_work -= 1
        chunks.took(chunk, seconds)


def simulate(task: float = 0.005, network: float = 0.05) -> None:
    """Efficiency of a sweep of 2,000 networks a worker on clusters that are not here."""
    print(f"a task costs client and scheduler {task * 1e3:.1f} ms, a network takes {network * 1e3:.0f} ms")
    for n_workers in (1, 2, 10, 100, 300, 1000, 3000):
        n = 2000 * n_workers
        cells = []
        for name, chunks in {
            "one network a task": FixedChunks(n, 1),
            "0.5 s": FixedChunks(n, round(0.5 / network)),
            "measured, up to 2 s": Chunks([Part(0, 0, n)], lambda _: 1.0, lambda _: 1),
            "20 s": FixedChunks(n, round(20 / network)),
            "one task a worker": FixedChunks(n, 2000),
        }.items():
            share, n_tasks = virtual(chunks, n_workers, network, task)
            cells.append(f"{name} {share:.2f} ({n_tasks:,})")
        print(f"{n_workers:>5} workers: " + "; ".join(cells))


def averaging(lr: str = "") -> None:
    """Accuracy per round and per second of averaged parameters, 784-256-10 on MNIST, by partitions."""
    from matplotlib.figure import Figure

    (x, y), (x_test, y_test) = load_mnist()
    spec = [{"n": 784, "act": None, "scale": 1 / 255}, {"n": 256, "act": "relu"}, {"n": 10, "act": "softmax"}]
    figure = Figure((9, 3.6), layout="constrained")
    by_round, by_second = figure.subplots(1, 2, sharey=True)
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        for n in (0, 1, 2, 4, 8, 16):
            seconds, accuracies = [0.0], [np.nan]
            last = [0.0]

            def note(
                state: Any, n: int = n, seconds: list = seconds, accuracies: list = accuracies, last: list = last
            ) -> None:
                seconds.append(seconds[-1] + (time.perf_counter() - last[0]) / max(1, n))
                accuracies.append(100 * state.model.evaluate(x_test, y_test)["accuracy"])
                last[0] = time.perf_counter()

            options = {"lr": float(lr or 0.03), "epochs": 10, "seed": 0, "callbacks": note}
            if n == 0:
                fastmlp.train(x, y, spec, epochs=1)
                last[0] = time.perf_counter()
                fastmlp.train(x, y, spec, **options)
            else:
                size = -(-len(x) // n)
                parts = [client.persist(da.from_array(a, chunks=(size, *a.shape[1:]))) for a in (x, y)]
                wait(parts)
                fastmlp.dask.train(*parts, spec, sync="average", client=client, epochs=1)
                last[0] = time.perf_counter()
                fastmlp.dask.train(*parts, spec, sync="average", client=client, **options)
            label = f"{n} partition{'s' * (n != 1)}" if n else "fastmlp.train"
            style = {"label": label, "color": "black" if not n else None, "linestyle": ":" if not n else "-"}
            by_round.plot(range(len(accuracies)), accuracies, marker=".", **style)
            by_second.plot(seconds, accuracies, marker=".", **style)
            print(f"{label}: {' '.join(f'{a:.1f}' for a in accuracies[1:])}; {seconds[-1] / 10:.3f} s a round")
    if lr:
        return
    by_round.set_xlabel("round")
    by_second.set_xlabel("seconds, with a worker for each partition")
    by_round.set_ylabel("test accuracy, %")
    by_round.set_ylim(92, 98.5)
    by_round.legend(fontsize="small")
    path = Path(__file__).parent / "img" / "averaging.png"
    figure.savefig(path, dpi=100)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    {"efficiency": efficiency, "overhead": overhead, "simulate": simulate, "averaging": averaging}[sys.argv[1]](
        *sys.argv[2:]
    )
