"""The cluster as training uses it: one graph of tasks after another, whatever becomes of single workers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import distributed
from distributed.scheduler import KilledWorker

from . import work

__all__ = ["Cluster"]

_ATTEMPTS = 3  # at one step: each is lost only when all workers that have the parameters die in it


class Cluster:
    """A client, and what is asked of its workers.

    Parameters
    ----------
    client : distributed.Client, optional
        The one that is current, when left out.
    """

    def __init__(self, client: Any) -> None:
        if client is None:
            try:
                client = distributed.get_client()
            except ValueError:
                raise ValueError(
                    "there is no cluster: make a client first, client = dask.distributed.Client(), which starts "
                    "workers on this machine, or Client('address of a scheduler')"
                ) from None
        if not isinstance(client, distributed.Client):
            raise TypeError(f"client must be a dask.distributed.Client, got {type(client).__name__}")
        if client.asynchronous:
            raise ValueError("client is asynchronous: training waits for its results, give it one that is not")
        self._client = client

    def warn_of_differences(self) -> None:
        """Say in words which workers have another version of fastmlp, or other kernels, and so make other bits; refuse
        a cluster that has none, or that cannot use fastmlp."""
        here = work.kernels_here()
        answers = self._client.run(work.kernels_here, on_error="return")
        if not answers:
            raise ValueError("the cluster has no workers yet: wait for them with client.wait_for_workers(1)")
        for address, there in answers.items():
            if isinstance(there, BaseException):
                raise RuntimeError(
                    f"the worker {address} cannot use fastmlp: {there!r}; is it installed there?"
                ) from there
        others = {there: address for address, there in answers.items() if there != here}
        for (version, kernels), address in others.items():
            warnings.warn(
                f"the worker {address} has fastmlp {version} with kernels {kernels}, here it is {here[0]} with "
                f"{here[1]}: training goes on, but where a partition is trained then decides the last bits",
                UserWarning,
                stacklevel=4,
            )

    def compute(self, task: work.Task, graph: Callable[[Any], Any]) -> Any:
        """The result of ``graph(task)``, a delayed value, where ``task`` stands for what all workers have of it.

        What a worker that dies had done is done again elsewhere. Where all that had the task died, the step begins
        anew, with the same numbers.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            future = None
            try:
                (shared,) = self._client.scatter([task], broadcast=True, hash=False)
                future = self._client.compute(graph(shared))
                return future.result()
            except (CancelledError, OSError, KilledWorker) as error:
                if self._client.status != "running":
                    raise
                if attempt == _ATTEMPTS or isinstance(error, KilledWorker):
                    raise RuntimeError(
                        "workers died again and again at one step, probably because a partition and its work are "
                        "larger than their memory: make partitions smaller (x.rechunk, or repartition of a dataframe), "
                        "or give workers more memory"
                    ) from error
            except ImportError as error:
                raise RuntimeError(
                    f"workers cannot import what this network or its data are made of: {error}; send them the module "
                    "with client.upload_file(…), or install it there"
                ) from error
            finally:
                if future is not None and not future.done():  # Ctrl-C
                    future.cancel()
        raise AssertionError("the last attempt returned or raised")
