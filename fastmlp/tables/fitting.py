"""Training on a table: from columns to x and y, to a network that takes the raw numbers and answers in the target's."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..activations import Activation
from ..base.checks import check_choice, check_flag, check_number, check_seed
from ..base.remedies import OF_TRAINING, check_options
from ..losses import Loss, Quantile, get_loss
from ..model.data import balanced_weights
from ..model.scaling import target_scaling
from ..model.training import train
from ..spec import Spec
from .baseline import MOST_INPUTS, logistic, probabilities, ridge
from .model import TableModel, constant_scores, scores
from .reading import Reading, table_of
from .schema import Schema, split
from .values import Values

__all__ = ["TableRows", "fit", "fit_rows"]

CLASS_LOSSES = ("cross_entropy", "hinge", "mse")
NUMBER_LOSSES = ("mse", "mae", "huber", "poisson", "quantile", "gaussian_nll")
LEVELS = (0.1, 0.5, 0.9)  # of quantiles, where none are given: the middle, and what four of five rows lie between
AUTO = "auto"
_OTHERWISE = {  # options of train that tables have in another form
    "validation_data": "validation_fraction, or evaluate(frame) afterwards",
    "sample_weight": "weight, the name of a column",
    "class_weight": "balanced=True",
    "dydx": "fastmlp.train on arrays, for a table's columns become other inputs",
    "residual": "fastmlp.train on arrays, for a table's columns become other inputs",
}
_EPOCHS, _MOST_EPOCHS, _STEPS = 100, 1000, 20_000  # small tables need more epochs for as many steps
_PENALTY, _LARGEST_PENALTY = 10.0, 0.1  # l2: over the number of rows, and at most
_MOST_ROWS = 30_000  # that the linear model is fitted to


@dataclass(frozen=True)
class TableRows:
    """The rows of a table that have a target, as x and y: some to train on, others to validate with.

    Attributes
    ----------
    schema : Schema
        The schema, with the means, deviations and categories of the training rows.
    x : ndarray, (n_rows, n_in)
        Raw numbers: the network's input layer standardises them.
    y : ndarray, (n_rows,)
        Class indices, or numbers in the target's units.
    weights : ndarray, (n_rows,), or None
        How much each row counts, 1 on average.
    training, validation : ndarray of int
        Indices of the rows to train on, and of those held out to stop in time and to measure on.
    """

    schema: Schema
    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    training: np.ndarray
    validation: np.ndarray

    @classmethod
    def of(
        cls,
        table: Mapping[str, Values],
        schema: Schema,
        validation_fraction: float = 0.2,
        seed: int | None = None,
        dtype: Any = np.float32,
    ) -> TableRows:
        """Encode a table, and draw the fraction of its rows, or of each class, that is for validation.

        Rows without a target are left out with a warning, rows of weight 0 without one.
        """
        rows, y = schema.encode_target(table, dtype)
        n_rows = len(table[schema.target])
        if len(rows) < n_rows:
            warnings.warn(
                f"{n_rows - len(rows)} of {n_rows} rows have no {schema.target!r}, and are left out", stacklevel=2
            )
        weights = schema.encode_weight(table, dtype)
        if weights is not None:
            rows, y, weights = rows[weights[rows] > 0], y[weights[rows] > 0], weights[rows][weights[rows] > 0]
            if not len(rows):
                raise ValueError(f"column {schema.weight!r} has no weight above 0")
            weights = weights / weights.mean()
        training, validation = split(y, len(schema.classes), validation_fraction, seed)
        schema = schema.fitted(table, rows[training], dtype)
        if schema.classes:
            schema.warn_of_rare_classes(y)
        return cls(schema, schema.encode(table, dtype)[rows], y, weights, training, validation)

    @property
    def measured(self) -> np.ndarray:
        """Indices of the rows to measure on: those held out, or the training rows if none are."""
        return self.validation if len(self.validation) else self.training

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """How much each of these rows counts, (n,); None where all count alike."""
        return None if self.weights is None else self.weights[rows]


def fit(
    frame: Any,
    target: str | int,
    *,
    task: str = "auto",
    ignore: Collection[str] = (),
    category: Collection[str] = (),
    number: Collection[str] = (),
    missing: Collection[str] = (),
    decimal: str = "",
    weight: str = "",
    balanced: bool = False,
    threshold: float | None = None,
    validation_fraction: float = 0.2,
    hidden: Sequence[int] = (16, 16),
    act: str | Activation = "relu",
    loss: str | Loss | None = None,
    dtype: Any = "float32",
    optimizer: Any = "adam",
    lr: Any = None,
    batch_size: int | str | None = None,
    epochs: int | None = None,
    early_stopping: Any = AUTO,
    l2: float | None = None,
    seed: int | None = 0,
    **options: Any,
) -> TableModel:
    """Train a network on a table with columns of any kind, as ``fastmlp train`` does on the command line.

    Parameters
    ----------
    frame : frame, dict of arrays, or path
        A pandas or polars frame, an Arrow table, whatever has ``__arrow_c_stream__``, arrays by name, or a file that
        `read` reads.
    target : str, or int where the columns are numbered
        The column to predict.
    task : "auto", "classification" or "regression"
        "auto" is classification for text, true and false, two whole numbers, or whole numbers of few different values.
    ignore, category, number : list of str
        Columns to leave out; columns whose values are categories; columns whose values are numbers although they look
        like ids, or dates that are taken as days.
    missing : list of str
        Texts or numbers that are missing values, in addition to `MISSING`: ``["-", "-999"]``.
    decimal : "." or ",", optional
        The decimal mark of numbers that are text; when left out, the numbers decide.
    weight : str
        The column that says how much each row counts.
    balanced : bool
        Whether all classes count alike, however many rows each has.
    threshold : float, optional
        The probability from which on the rarer of two classes is predicted, instead of one half.
    validation_fraction : float
        The share of the rows that is held out, to end training in time and to measure on.
    hidden : list of int
        Widths of the hidden layers.
    act : str or Activation
        The activation of the hidden layers.
    loss : str or Loss, optional
        "cross_entropy", "hinge" or "mse" for classes; "mse", "mae" or "huber" for numbers, "poisson" for counts,
        "quantile" for the 0.1, 0.5 and 0.9 quantiles of numbers ("quantile(0.05, 0.95)" for others), and "gaussian_nll"
        for their mean and standard deviation. The first of them when left out.
    dtype : "float32" or "float64"
        The network's dtype.
    optimizer, lr, batch_size, epochs, early_stopping, l2, seed
        As in `fastmlp.train`, with other defaults: lr is 0.003 and batch_size 16, except under sgd, lbfgs and lm; there
        are 100 epochs, or up to 1000 if an epoch has few steps; training ends when a tenth of them, at least 10, has
        brought nothing; and l2 is 10 / (number of training rows), at most 0.1.
    **options
        More options of `fastmlp.train`, such as ``dropout`` and ``checkpoint``.

    Returns
    -------
    TableModel
        The trained model, with ``predict``, ``scores``, ``baseline``, ``columns``, ``history`` and ``model``.

    Raises
    ------
    RefusedColumns
        A ValueError that names all columns that cannot be learnt from, and the options that let training go on.
    ValueError, TypeError
        For other bad input, before any work.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import tables
    >>> width = np.arange(60.0)
    >>> boxes = {"width": width, "colour": np.array(["red", "blue"] * 30), "size": np.where(width > 29, "big", "small")}
    >>> found = tables.fit(boxes, "size", number=["width"])
    >>> found.predict({"width": [3.0, 55.0], "colour": ["red", "red"]}).tolist()
    ['small', 'big']
    """
    check_number(validation_fraction, "validation_fraction", 0.0, 1.0)
    check_seed(seed)
    known = ((fit.__kwdefaults__ or {}) | (train.__kwdefaults__ or {})).keys() - {
        *_OTHERWISE,
        "dydx_weight",
        "residual_weight",
    }
    check_options(options, known, "fit()", {**OF_TRAINING, **_OTHERWISE})
    for name, given in (("ignore", ignore), ("category", category), ("number", number), ("missing", missing)):
        if isinstance(given, str):
            raise TypeError(f"{name} must be a list of names, got {given!r}: [{given!r}]")
    if isinstance(target, (int, np.integer)):  # the columns of a frame may be numbers
        target = str(target)
    if not isinstance(target, str):
        raise TypeError(f"target must be the name of a column, got {type(target).__name__}")
    check_choice(task, "task", ("auto", "classification", "regression"))
    if isinstance(hidden, (int, np.integer)):
        raise TypeError(f"hidden must be a list of widths, got {hidden}: [{hidden}]")
    table = table_of(frame, Reading(tuple(missing), decimal))
    schema = Schema.of(
        table, target, task, ignore=ignore, category=category, number=number, weight=weight, missing=missing
    )
    loss = check_loss(schema, loss)
    rows = TableRows.of(table, schema, validation_fraction, seed, dtype)
    steps = training_options(len(rows.training), optimizer, lr, batch_size, epochs, early_stopping, l2)
    options |= {**steps, "seed": seed}
    found = fit_rows(rows, hidden, act, loss, dtype, balanced=balanced, threshold=threshold, **options)
    return found.described(rows.schema.report(table))


def check_loss(schema: Schema, loss: Any, name: str = "loss") -> Any:
    """Return a loss, or its name; a ValueError for the name of a loss that does not fit the target."""
    if not isinstance(loss, str):
        return loss
    if loss.partition("(")[0] == "quantile" and not schema.classes:
        return Quantile(LEVELS) if loss == "quantile" else get_loss(loss, name)
    return check_choice(loss, name, CLASS_LOSSES if schema.classes else NUMBER_LOSSES)


def training_options(
    n_rows: int,
    optimizer: Any = "adam",
    lr: Any = None,
    batch_size: int | str | None = None,
    epochs: int | None = None,
    early_stopping: Any = AUTO,
    l2: float | None = None,
) -> dict[str, Any]:
    """Return `fastmlp.train`'s options for that number of rows, with defaults for tables.

    Measured on 28 tables of scikit-learn and statsmodels (16 to 6,366 rows; five runs, a quarter of the rows kept for a
    test): r² or accuracy was at least that of ridge or logistic regression on 12 tables, and at most 0.01 behind on 4
    more. With 100 epochs and no l2 these numbers are 8 and 2.
    """
    options: dict[str, Any] = {"optimizer": optimizer}
    if optimizer not in ("sgd", "lbfgs", "lm"):
        options.update(lr=0.003, batch_size=16)
    if lr is not None:
        options["lr"] = lr
    if batch_size is not None:
        options["batch_size"] = batch_size
    batch = options.get("batch_size", n_rows if optimizer in ("lbfgs", "lm") else 1)
    steps = 1 if not isinstance(batch, int) or batch < 1 else -(-n_rows // batch)
    if epochs is None:
        epochs = _EPOCHS if optimizer in ("lbfgs", "lm") else min(max(_EPOCHS, _STEPS // steps), _MOST_EPOCHS)
    options["epochs"] = epochs
    options["early_stopping"] = max(10, epochs // 10) if early_stopping is AUTO else early_stopping
    options["l2"] = min(_PENALTY / n_rows, _LARGEST_PENALTY) if l2 is None else l2
    return options


def fit_rows(
    rows: TableRows,
    hidden: Sequence[int] = (16, 16),
    act: str | Activation = "relu",
    loss: str | Loss | None = None,
    dtype: Any = np.float32,
    *,
    balanced: bool = False,
    threshold: float | None = None,
    **options: Any,
) -> TableModel:
    """Train a network on the training rows, watch it on the validation rows, and measure it beside simpler models.

    The target of a regression is standardised during training: the losses in the history are those of standardised
    targets.

    Parameters
    ----------
    rows : TableRows
        The table's rows, encoded.
    hidden, act, loss, dtype, balanced, threshold
        As in `fit`.
    **options
        More options of `fastmlp.train`, such as ``epochs`` and ``optimizer``.

    Returns
    -------
    TableModel
        Its history is empty if training was interrupted in the first epoch. Ctrl-C after training, while the model is
        measured, warns and leaves out what was not measured; ``history.interrupted`` is then True, too.
    """
    schema, training, validation = rows.schema, rows.training, rows.validation
    rare = _check_threshold(threshold, schema, rows.y[training])
    if check_flag(balanced, "balanced"):
        if not schema.classes:
            raise ValueError(f"balanced needs classes, and {schema.target!r} is a number")
        options["class_weight"] = "balanced"
    kind, per_target = ("", 1) if loss is None else (get_loss(loss).name, get_loss(loss).outputs_per_target)
    _check_counts(rows, kind)
    output = {
        "n": len(schema.classes) or per_target,
        "act": "softmax" if schema.classes and kind != "hinge" else "linear",
    }
    spec = Spec([schema.input_layer(), *({"n": n, "act": act} for n in hidden), {**output, "cost": loss}])
    if not schema.classes:
        y = spec.loss.for_outputs(rows.y[:, None])
        units = target_scaling(spec, y, training, rows.weights_of(training), np.dtype(dtype))
        spec = spec.with_scaling({}, units)
    validated = (rows.x[validation], rows.y[validation], rows.weights_of(validation))
    model, history = train(
        rows.x[training],
        rows.y[training],
        spec,
        dtype=dtype,
        sample_weight=rows.weights_of(training),
        validation_data=(validated if rows.weights is not None else validated[:2]) if len(validation) else None,
        **options,
    )
    schema.store(model)
    if threshold is not None:
        model.metadata["table"]["threshold"] = {"class": rare, "from": float(threshold)}
    found = TableModel(model, history, schema, threshold=None if threshold is None else (rare, float(threshold)))
    try:
        found = _measured(found, rows)
        found = _beside_a_linear_model(found, rows, balanced)
    except KeyboardInterrupt:
        history.interrupted = True
        what = "a linear model was fitted to compare with" if found.scores else "the network was measured"
        warnings.warn(f"interrupted while {what}; the network is trained, and kept", stacklevel=2)
    return found


def _measured(found: TableModel, rows: TableRows) -> TableModel:
    """The model with its scores, and those of the best constant answer."""
    x, y, weights = rows.x[rows.measured], rows.y[rows.measured], rows.weights_of(rows.measured)
    own_scores = found.scores_of(x, y, weights) | {"held_out": bool(len(rows.validation))}
    return found.measured(
        own_scores, {"constant": constant_scores(rows.schema, y, weights, found.model.spec.loss.name)}
    )


def _beside_a_linear_model(found: TableModel, rows: TableRows, balanced: bool) -> TableModel:
    """A measured model with the scores of a linear model too, if one can be fitted."""
    if found.levels and not found.levels[0] <= 0.5 <= found.levels[-1]:
        return found  # a linear model is for the middle
    linear = _linear_outputs(rows, balanced)
    if linear is None:
        return found
    x, y, weights = rows.x[rows.measured], rows.y[rows.measured], rows.weights_of(rows.measured)
    linear_scores = scores(rows.schema, linear, y, weights, found.model.spec.loss.name)
    ahead = _ahead(found, found.outputs_of(x), linear, y)
    return found.measured(
        {**(found.scores or {}), "ahead_of_linear": ahead}, {**(found.baseline or {}), "linear": linear_scores}
    )


def _ahead(found: TableModel, outputs: np.ndarray, linear: np.ndarray, y: np.ndarray) -> float:
    """How many standard errors the network's answers are better than a linear model's, compared row by row."""
    if found.classes:
        gains = (found.choose(outputs) == y).astype(float) - (found.choose(linear) == y)
    else:
        gains = (linear[:, 0] - y) ** 2 - (found.middle(outputs) - y) ** 2
    error = float(np.std(gains)) / np.sqrt(len(gains))
    return float(np.mean(gains) / error) if error > 0 else 0.0


def _check_counts(rows: TableRows, loss: str) -> None:
    """Raise a ValueError for targets below 0 under a loss for counts."""
    low = int(np.argmin(rows.y))
    if loss == "poisson" and rows.y[low] < 0:
        raise ValueError(f"column {rows.schema.target!r} has {rows.y[low]:g}; poisson is for counts, at least 0")


def _check_threshold(threshold: Any, schema: Schema, y: np.ndarray) -> str:
    """Return the class that a threshold is for, the rarer of two."""
    if threshold is None:
        return ""
    check_number(threshold, "threshold", 0.0, 1.0, open_low=True)
    if len(schema.classes) != 2:
        what = f"{len(schema.classes)} classes" if schema.classes else "a number"
        raise ValueError(f"threshold needs two classes, and {schema.target!r} has {what}")
    return schema.classes[int(np.argmin(np.bincount(y, minlength=2)))]


def _linear_outputs(rows: TableRows, balanced: bool) -> np.ndarray | None:
    """Predictions of ridge or logistic regression for the rows to measure on; None if there are too many inputs."""
    schema, x, y, training = rows.schema, rows.x, rows.y, rows.training
    if x.shape[1] > MOST_INPUTS:
        return None
    layer = schema.input_layer()
    if len(training) > _MOST_ROWS:
        training = np.random.default_rng(0).choice(training, _MOST_ROWS, replace=False)
    fitted, asked = (
        (x[some].astype(np.float64) - layer["shift"]) * layer["scale"] for some in (training, rows.measured)
    )
    weights, n_classes = rows.weights_of(training), len(schema.classes)
    if n_classes:
        if balanced:
            weights = balanced_weights(y[training], np.ones(len(training)) if weights is None else weights)
        return probabilities(asked, logistic(fitted, y[training], n_classes, weights))
    slopes = ridge(fitted, y[training].astype(np.float64), weights)
    return (asked @ slopes[:-1] + slopes[-1])[:, None]
