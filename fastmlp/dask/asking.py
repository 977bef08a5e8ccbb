"""Predictions and evaluation of Dask collections, chunk by chunk, by any of Dask's schedulers."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed.protocol import pickle

from ..base.checks import check_flag
from ..metrics import METRICS, MetricFunction, named_metrics
from ..model.data import check_output_weight
from ..model.mlp import MLP, check_model
from ..spec import Spec
from . import work
from .partitions import check_columns, partitions, sum_in_tree

__all__ = ["evaluate", "mean_metrics", "named", "predict", "quantities"]


def predict(model: MLP, x: Any) -> Any:
    """Compute the outputs for x lazily, chunk by chunk.

    Parameters
    ----------
    model : MLP
        The network.
    x : dask array (n_samples, n_in), or dask dataframe of n_in columns
        Samples in chunks of any number, known or not; all columns must be in one chunk.

    Returns
    -------
    dask array, (n_samples, n_out), or dask dataframe
        The same kind of collection as x, with the network's dtype. A dataframe has the index of x and columns named by
        ``model.class_names``, if there is a name for each output, else "output_0", "output_1", ….

    Raises
    ------
    ValueError, TypeError
        For a bad shape at once; for bad numbers in a chunk when that is computed.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastmlp, fastmlp.dask
    >>> model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 2, "act": "softmax"}], seed=0)
    >>> outputs = fastmlp.dask.predict(model, da.zeros((1000, 3), chunks=(300, 3)))
    >>> outputs.shape, outputs.chunks[0]
    ((1000, 2), (300, 300, 300, 100))
    >>> outputs.compute().shape
    (1000, 2)
    """
    model = check_model(model)
    x = check_columns(x, model.spec.n_in, model._names)
    once = dask.delayed(work.loaded, pure=True)(pickle.dumps(model))  # as it is now, and once for all chunks
    if isinstance(x, da.Array):
        chunks = (x.chunks[0], (model.spec.n_out,))
        meta = np.empty((0, 0), model.dtype)
        return x.map_blocks(_outputs, once, dtype=model.dtype, chunks=chunks, meta=meta)
    names = _output_names(model)
    meta = x._meta.iloc[:, :0].assign(**{name: np.empty(0, model.dtype) for name in names})
    return x.map_partitions(_frame_of_outputs, once, names, meta=meta, enforce_metadata=False)


def evaluate(
    model: MLP,
    x: Any,
    y: Any,
    metrics: Any = None,
    *,
    sample_weight: Any = None,
    output_weight: Any = None,
    compute: bool = True,
) -> Any:
    """Measure a network on Dask collections: mean loss, for classes and labels accuracy, and metrics, by name.

    Parameters
    ----------
    model : MLP
        The network.
    x, y : dask arrays or dataframes
        Of the shapes that `MLP.evaluate` takes, in the same partitions; labels are those of ``model.class_names``.
    metrics : name or list of names, optional
        Metrics that are means over samples: mse, mae, mape, mbe, accuracy, top_k, log_loss and cross_entropy.
    sample_weight : dask array or series, (n_samples,), optional
        Weights w: every value is then Σ w v / Σ w.
    output_weight : array, (n_out,), optional
        How much each output counts in the loss, as in `MLP.evaluate`; not in metrics.
    compute : bool
        Whether to compute at once; if not, a delayed dict is returned.

    Returns
    -------
    dict of float, or dask.delayed.Delayed
        "loss", "accuracy" and the metrics.

    Raises
    ------
    ValueError, TypeError
        For bad input; for bad numbers in a partition when that is computed.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastmlp, fastmlp.dask
    >>> model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 2, "act": "softmax"}], seed=0)
    >>> x, y = da.zeros((1000, 3), chunks=(300, 3)), da.zeros(1000, chunks=300, dtype=int)
    >>> round(fastmlp.dask.evaluate(model, x, y)["loss"], 3)
    0.693
    """
    model, compute = check_model(model), check_flag(compute, "compute")
    chosen = mean_metrics(named_metrics(metrics, model.spec))
    of_outputs = check_output_weight(output_weight, model.spec, model.dtype)
    parts = partitions(x, y, sample_weight, model.spec, model._names)
    job = work.Job(model.spec, model.dtype, chosen, model._names, output_weight=of_outputs)
    task = dask.delayed(work.Task(pickle.dumps(job), model.params.copy()), pure=True, traverse=False)
    scores = [dask.delayed(work.score, pure=False)(task, *part) for part in parts]
    values = dask.delayed(named, pure=False)(sum_in_tree(scores, work.add), quantities(model.spec, chosen))
    return values.compute() if compute else values


def mean_metrics(metrics: dict[str, MetricFunction]) -> dict[str, MetricFunction]:
    """Return the metrics; a ValueError for one that is not a mean over samples, and so not one of partitions."""
    means = [metric for metric in METRICS.values() if metric.is_mean]
    known = {metric.function for metric in means} | {metric.of_labels for metric in means}
    for name, metric in metrics.items():
        if getattr(metric, "func", metric) not in known:
            raise ValueError(
                f"metrics: {name} needs the outputs of all samples in one place; partitions can add up those that are "
                f"means over samples: {', '.join(mean.name for mean in means)}. Others can be computed from "
                "fastmlp.dask.predict"
            )
    return metrics


def named(sums: work.Sums, names: list[str]) -> dict[str, float]:
    """The means, by name, from sums over partitions; a ValueError if no sample counts."""
    weight = float(sums.values[0])
    if weight == 0:
        raise ValueError("x is empty, or all weights are zero: there is nothing to measure")
    return dict(zip(names, (sums.values[1:] / weight).tolist(), strict=True))


def quantities(spec: Spec, metrics: dict[str, MetricFunction]) -> list[str]:
    """The names of the values that a partition measures."""
    return ["loss", *(["accuracy"] if spec.multilabel or spec.one_of_many else []), *metrics]


def _output_names(model: MLP) -> list[str]:
    n_out, names = model.spec.n_out, model.class_names
    return list(names) if names and len(names) == n_out else [f"output_{i}" for i in range(n_out)]


def _outputs(x: Any, model: MLP) -> np.ndarray:
    """The outputs of a chunk, which may be empty."""
    return model.predict(x) if len(x) else np.empty((0, model.spec.n_out), model.dtype)


def _frame_of_outputs(x: Any, model: MLP, names: list[str]) -> Any:
    """A partition's outputs, with its index."""
    return type(x)(_outputs(x, model), index=x.index, columns=names)
