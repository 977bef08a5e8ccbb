"""TableModel: a network that takes tables and answers in the words of their target; and how good its answers are."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..base.checks import check_flag, check_number
from ..model.history import History
from ..model.loading import load_model
from ..model.mlp import MLP
from .reading import Reading, table_of
from .schema import ColumnReport, Schema

__all__ = ["TableModel", "constant_scores", "load", "scores"]


@dataclass(frozen=True, eq=False)
class TableModel:
    """A network trained on a table by `fit`: it takes tables, and answers in the target's own words.

    Attributes
    ----------
    model : MLP
        The network: it takes the raw numbers that ``schema.encode`` makes of a table.
    history : History
        One number an epoch for each quantity. Losses of a regression are those of the standardised target.
    schema : Schema
        What the columns mean to the network.
    columns : tuple of ColumnReport
        What became of each column of the training table: ``name``, ``taken``, ``missing``, ``range``.
    scores : dict
        How good the predictions are on the rows held out, or on the training rows if none were ("held_out" says
        which). For classes: "rows", "accuracy", "balanced_accuracy", "loss", and by class "precision", "recall" and
        "counts". For numbers: "rows", "r2", "mae" and "rmse"; for quantiles also "within", the share of rows between
        the lowest and the highest quantile.
    baseline : dict
        Scores of simpler answers on these rows: of "constant", the best answer that ignores the columns, and of
        "linear", ridge or logistic regression.
    threshold : (str, float) or None
        A class, and the probability from which on it is predicted.
    """

    model: MLP
    history: History
    schema: Schema
    columns: tuple[ColumnReport, ...] = ()
    scores: dict[str, Any] | None = None
    baseline: dict[str, dict[str, Any]] | None = None
    threshold: tuple[str, float] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The target's values in the order of the network's outputs; empty for regression."""
        return self.schema.classes

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of the quantiles that the network predicts; empty where it predicts none."""
        return self.model.spec.loss.levels

    @property
    def gaussian(self) -> bool:
        """Whether the network's outputs are a mean and the logarithm of a variance."""
        return self.model.spec.loss.gaussian

    def predict(self, frame: Any) -> np.ndarray:
        """Predict the target of each row.

        Parameters
        ----------
        frame : frame, file, or dict of columns
            What `fit` takes; the target's column need not be there.

        Returns
        -------
        ndarray, (n_rows,)
            Labels of the target's own kind, or numbers in its units.

        Notes
        -----
        The columns that the model was trained on may come in any order, and others with them. A missing number is taken
        as the training rows' mean, and an unknown category, of which a warning tells, as none of the known ones. Of a
        model of quantiles it is the median, or lies between those around it; `quantiles` has all. Of one that was
        trained with gaussian_nll it is the mean; `deviation` is beside it.
        """
        outputs = self.outputs(frame)
        if not self.classes:
            return self.middle(outputs)
        labels = np.array(self.classes)[self.choose(outputs)]
        kinds: dict[str, Any] = {"whole": np.int64, "number": np.float64}
        if self.schema.kind == "bool":
            return labels == "True"
        return labels.astype(kinds[self.schema.kind]) if self.schema.kind in kinds else labels

    def probabilities(self, frame: Any) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        frame : frame, file, or dict of columns
            What `fit` takes; the target's column need not be there.

        Returns
        -------
        ndarray, (n_rows, n_classes)
            In the order of ``classes``.
        """
        if not self.classes or self.model.spec.layers[-1].act.name != "softmax":
            raise ValueError("probabilities need a model with softmax outputs, which this one has not")
        return self.outputs(frame)

    def quantiles(self, frame: Any, *, sort: bool = False) -> np.ndarray:
        """Predict the target's quantiles, of a model whose loss is "quantile(…)".

        Parameters
        ----------
        frame : frame, file, or dict of columns
            What `fit` takes; the target's column need not be there.
        sort : bool, default False
            Whether to put those of a row that cross in ascending order.

        Returns
        -------
        ndarray, (n_rows, n_levels)
            In the target's units.
        """
        if not self.levels:
            raise ValueError("quantiles need a model that was trained with loss='quantile', which this one was not")
        check_flag(sort, "sort")
        values = self.outputs(frame).astype(np.float64)
        return np.sort(values, axis=1) if sort else values

    def deviation(self, frame: Any) -> np.ndarray:
        """Predict the standard deviation of the target around `predict`, of a model whose loss is "gaussian_nll".

        Parameters
        ----------
        frame : frame, file, or dict of columns
            What `fit` takes; the target's column need not be there.

        Returns
        -------
        ndarray, (n_rows,)
            In the target's units.
        """
        if not self.gaussian:
            raise ValueError(
                "a deviation needs a model that was trained with loss='gaussian_nll', which this one was not"
            )
        return self.deviation_of(self.outputs(frame))

    def evaluate(self, frame: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Measure the model on a table that has the target.

        Parameters
        ----------
        frame : frame, file, or dict of columns
            What `fit` takes, with the target's column.

        Returns
        -------
        tuple of two dicts
            What ``scores`` has, and what ``baseline["constant"]`` has, both for these rows.
        """
        table = self._table(frame)
        rows, y = self.schema.encode_target(table, self.model.dtype)
        if not len(rows):
            raise ValueError(f"no row has a value in column {self.schema.target!r}")
        has_weights = self.schema.weight in table
        weights = self.schema.encode_weight(table, self.model.dtype) if has_weights else None
        x = self.schema.encode(table, self.model.dtype)[rows]
        weights = None if weights is None else weights[rows]
        return self.scores_of(x, y, weights), constant_scores(self.schema, y, weights, self.model.spec.loss.name)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model and its report to a file, which `load` and `fastmlp.load` read.

        Parameters
        ----------
        path : str or Path
            The file; its ending is free, .safetensors is usual.
        """
        self.model.metadata["report"] = {
            "columns": [asdict(column) for column in self.columns],
            "scores": self.scores or {},
            "baseline": self.baseline or {},
            "history": {name: list(map(float, values)) for name, values in self.history.items()},
        }
        self.model.save(path)

    def outputs(self, frame: Any) -> np.ndarray:
        """Return the network's outputs.

        Parameters
        ----------
        frame : frame, file, or dict of columns
            What `fit` takes; the target's column need not be there.

        Returns
        -------
        ndarray, (n_rows, n_out)
            Probabilities, scores under hinge, or numbers in the target's units.
        """
        x = self.schema.encode(self._table(frame), self.model.dtype)
        return self.outputs_of(x) if len(x) else np.zeros((0, self.model.spec.n_out), self.model.dtype)

    def outputs_of(self, x: np.ndarray) -> np.ndarray:
        """Return the network's outputs, (n_rows, n_out), for rows that are encoded already.

        Parameters
        ----------
        x : ndarray, (n_rows, n_in)
            What `Schema.encode` returns.
        """
        outputs = self.model.predict(x)
        return np.exp(outputs.astype(np.float64)) if self.model.spec.loss.name == "poisson" else outputs

    def middle(self, outputs: np.ndarray) -> np.ndarray:
        """Return a regression's predictions, (n_rows,): of quantiles the median, or a value between those around it;
        of a mean and a variance the mean.

        Parameters
        ----------
        outputs : ndarray, (n_rows, n_out)
            What `outputs` returns.
        """
        if self.gaussian:
            return outputs[:, 0].astype(np.float64)
        levels = self.levels or (0.5,)
        return outputs.astype(np.float64) @ np.array([np.interp(0.5, levels, share) for share in np.eye(len(levels))])

    def deviation_of(self, outputs: np.ndarray) -> np.ndarray:
        """Return the standard deviation, (n_rows,), of a model whose loss is "gaussian_nll".

        Parameters
        ----------
        outputs : ndarray, (n_rows, n_out)
            What `outputs` returns.
        """
        return np.exp(0.5 * outputs[:, 1].astype(np.float64))

    def choose(self, outputs: np.ndarray) -> np.ndarray:
        """Return the index of the class that is predicted, (n_rows,): the likeliest, or what ``threshold`` decides.

        Parameters
        ----------
        outputs : ndarray, (n_rows, n_out)
            What `outputs` returns.
        """
        if self.threshold is None:
            return np.argmax(outputs, axis=1)
        place = self.classes.index(self.threshold[0])
        return np.where(outputs[:, place] >= self.threshold[1], place, 1 - place)

    def scores_of(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> dict[str, Any]:
        """Measure the model on rows that are encoded already: what ``scores`` has.

        Parameters
        ----------
        x : ndarray, (n_rows, n_in)
            What `Schema.encode` returns.
        y : ndarray, (n_rows,)
            Class indices, or numbers in the target's units.
        weights : ndarray, (n_rows,), optional
            How much each row counts.
        """
        outputs = self.outputs_of(x)
        if not self.classes:
            found = scores(self.schema, self.middle(outputs)[:, None], y, weights, "")
            if len(self.levels) > 1:
                found["within"] = float(np.average((outputs[:, 0] <= y) & (y <= outputs[:, -1]), weights=weights))
            return found
        found = scores(self.schema, outputs, y, weights, self.model.spec.loss.name, self.choose(outputs))
        return found | {"loss": self.model.evaluate(x, y, sample_weight=weights)["loss"]}

    def with_threshold(self, threshold: float) -> TableModel:
        """Return a model of the same network that predicts the rarer of its two classes earlier, or later.

        Parameters
        ----------
        threshold : float, in (0, 1)
            The probability from which on the rarer class is predicted, instead of one half.
        """
        check_number(threshold, "threshold", 0.0, 1.0, open_low=True)
        if len(self.classes) != 2 or self.model.spec.layers[-1].act.name != "softmax":
            raise ValueError("threshold needs two classes with probabilities")
        counts = (self.scores or {}).get("counts", {})
        rare = self.threshold[0] if self.threshold else min(self.classes, key=lambda name: counts.get(name, 0))
        return replace(self, threshold=(rare, float(threshold)))

    def described(self, columns: tuple[ColumnReport, ...]) -> TableModel:
        """Return the model with a report of its columns.

        Parameters
        ----------
        columns : tuple of ColumnReport
            What became of each column of the training table.
        """
        return replace(self, columns=columns)

    def measured(self, scores: dict[str, Any], baseline: dict[str, dict[str, Any]]) -> TableModel:
        """Return the model with its scores and those of simpler models.

        Parameters
        ----------
        scores : dict
            As the attribute of that name.
        baseline : dict
            As the attribute of that name.
        """
        return replace(self, scores=scores, baseline=baseline)

    def _table(self, frame: Any) -> Any:
        return table_of(frame, self.reading)

    @property
    def reading(self) -> Reading:
        """How tables for this model are read: with its missing values, and its decimal mark where nothing decides."""
        likely = self.schema.decimal if self.schema.decimal == "," else ""
        return Reading(self.schema.missing, likely=likely, header=self.schema.header)

    @classmethod
    def of(cls, model: MLP) -> TableModel:
        """Return the table model of a network that `fit` or ``fastmlp train`` made.

        Parameters
        ----------
        model : MLP
            The network; one that was not trained on a table, or whose report is damaged, is a ValueError.
        """
        schema = Schema.stored_in(model)
        report = model.metadata.get("report", {})
        try:
            columns = tuple(
                ColumnReport(str(c["name"]), str(c["taken"]), int(c["missing"]), str(c["range"]))
                for c in report.get("columns", ())
            )
            history = History({str(k): [float(v) for v in values] for k, values in report.get("history", {}).items()})
            measured, baseline = dict(report.get("scores", {})), dict(report.get("baseline", {}))
            threshold = model.metadata["table"].get("threshold")
            if threshold is not None:
                threshold = str(threshold["class"]), float(threshold["from"])
                schema.classes.index(threshold[0])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError("the model's report of its training is broken") from None
        return cls(model, history, schema, columns, measured, baseline, threshold)

    def __repr__(self) -> str:
        shown = {k: round(v, 4) for k, v in (self.scores or {}).items() if isinstance(v, float)}
        return f"<TableModel of {self.schema.target!r} from {len(self.schema.columns)} columns: {shown}>"


def load(path: str | os.PathLike[str]) -> TableModel:
    """Read a model that `TableModel.save` or ``fastmlp train`` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        For a damaged file, and for a model that was not trained on a table.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from fastmlp import tables
    >>> found = tables.fit({"a": np.arange(50) % 7, "b": np.arange(50) % 7 * 1.5}, "b", epochs=5)
    >>> with TemporaryDirectory() as folder:
    ...     found.save(f"{folder}/b.safetensors")
    ...     [column.taken for column in tables.load(f"{folder}/b.safetensors").columns]
    ['a number', 'the target, a number']
    """
    return TableModel.of(load_model(path))


def scores(
    schema: Schema,
    outputs: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    loss: str,
    chosen: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure outputs (n_rows, n_out) against the truth y (n_rows,): what `TableModel.scores` has.

    ``loss`` is the name of the network's loss. ``chosen`` are the predicted classes; the largest output's when left
    out.
    """
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    if not schema.classes:
        difference = y - outputs[:, 0].astype(np.float64)
        residual, total = (
            np.average(difference**2, weights=w),
            np.average((y - np.average(y, weights=w)) ** 2, weights=w),
        )
        return {
            "rows": len(y),
            "r2": float(1 - residual / total) if total > 0 else None,
            "mae": float(np.average(np.abs(difference), weights=w)),
            "rmse": float(np.sqrt(residual)),
        }
    chosen = np.argmax(outputs, axis=1) if chosen is None else chosen
    n = len(schema.classes)
    right = np.bincount(y, w * (chosen == y), minlength=n)
    true, said = np.bincount(y, w, minlength=n), np.bincount(chosen, w, minlength=n)
    result: dict[str, Any] = {
        "rows": len(y),
        "accuracy": float(right.sum() / w.sum()),
        "balanced_accuracy": float(np.mean(right[true > 0] / true[true > 0])),
        "counts": dict(zip(schema.classes, np.bincount(y, minlength=n).tolist(), strict=True)),
        "recall": {name: float(right[k] / true[k]) if true[k] else None for k, name in enumerate(schema.classes)},
        "precision": {name: float(right[k] / said[k]) if said[k] else None for k, name in enumerate(schema.classes)},
    }
    if loss == "cross_entropy":
        of_truth = np.maximum(outputs[np.arange(len(y)), y].astype(np.float64), np.finfo(outputs.dtype).tiny)
        result["loss"] = float(np.average(-np.log(of_truth), weights=w))
    return result


def constant_scores(schema: Schema, y: np.ndarray, weights: np.ndarray | None, loss: str) -> dict[str, Any]:
    """Measure the best answer that ignores the columns: always the mean, or the classes' shares."""
    if schema.classes:
        outputs = np.bincount(y, weights, minlength=len(schema.classes)) / (
            len(y) if weights is None else weights.sum()
        )
    else:
        outputs = np.array([np.average(y, weights=weights)])
    return scores(schema, np.repeat(outputs[None], len(y), axis=0), y, weights, loss)
