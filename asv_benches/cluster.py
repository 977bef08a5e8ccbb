"""What do a task and a call cost on a Dask cluster, beside their work? All of the cluster is in one process."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

SPEC = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]


def processor_milliseconds(function: Any) -> float:
    """The least of three calls."""
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        function()
        best = min(best, time.process_time() - begin)
    return best * 1e3


class Tasks:
    """Partitions and networks so small that the work is next to nothing; processor time."""

    def setup(self) -> None:
        try:
            import dask.array as da
            from distributed import Client

            import fastmlp.dask

            self.cluster = fastmlp.dask
            self.train_many = fastmlp.dask.train_many
        except (ImportError, AttributeError):
            raise NotImplementedError from None
        self.client = Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0")
        self.x, self.y = np.random.default_rng(0).random((64, 2), np.float32), np.arange(64) % 2
        self.parts = [da.from_array(array, chunks=(4, *array.shape[1:])).persist() for array in (self.x, self.y)]
        self._train(1)

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.client.close()

    def track_milliseconds_a_task(self) -> float:
        """Of 16 partitions in 40 epochs, by what epochs take more."""
        few, many = (processor_milliseconds(lambda n=n: self._train(n)) for n in (10, 50))
        return (many - few) / (40 * 16)

    def track_milliseconds_a_call(self) -> float:
        """Of train_many for one network."""
        return processor_milliseconds(
            lambda: self.train_many(self.x, self.y, SPEC, seeds=[0], epochs=1, client=self.client)
        )

    def _train(self, epochs: int) -> None:
        self.cluster.train(*self.parts, SPEC, epochs=epochs, seed=0, client=self.client)

    track_milliseconds_a_task.pretty_name = "Dask: a task beside its work, ms"
    track_milliseconds_a_call.pretty_name = "Dask: a call of train_many beside its work, ms"
    track_milliseconds_a_task.unit = track_milliseconds_a_call.unit = "ms"
