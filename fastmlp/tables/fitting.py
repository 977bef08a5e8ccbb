"""Training on a table: from columns to x and y, to a network that takes the raw numbers and answers in the target's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..activations import Activation
from ..losses import Loss, get_loss
from ..model.history import History
from ..model.mlp import MLP
from ..model.training import train
from .reading import Values
from .schema import Schema, split

__all__ = ["TableRows", "fit"]


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
    training, validation : ndarray of int
        Indices of the rows to train on, and of those held out to stop in time and to measure on.
    """

    schema: Schema
    x: np.ndarray
    y: np.ndarray
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

        Rows without a target are left out with a warning.
        """
        rows, y = schema.encode_target(table, dtype)
        n_rows = len(table[schema.target])
        if len(rows) < n_rows:
            warnings.warn(
                f"{n_rows - len(rows)} of {n_rows} rows have no {schema.target!r}, and are left out", stacklevel=2
            )
        training, validation = split(y, len(schema.classes), validation_fraction, seed)
        schema = schema.fitted(table, rows[training], dtype)
        return cls(schema, schema.encode(table, dtype)[rows], y, training, validation)


def fit(
    rows: TableRows,
    hidden: Sequence[int] = (16, 16),
    act: str | Activation = "relu",
    loss: str | Loss | None = None,
    dtype: Any = np.float32,
    **options: Any,
) -> tuple[MLP, History]:
    """Train a network on the training rows, and watch it on the validation rows.

    The target of a regression is standardised during training: the losses in the history are those of standardised
    targets.

    Parameters
    ----------
    rows : TableRows
    hidden : list of int
        Widths of the hidden layers.
    act : str or Activation
        The activation of the hidden layers.
    loss : str or Loss, optional
        cross_entropy for classes and mse for numbers when left out.
    dtype : "float32" or "float64"
    **options
        More options of `fastmlp.train`, such as ``epochs`` and ``optimizer``.

    Returns
    -------
    MLP
        Takes the table's raw numbers, gives probabilities (under hinge scores) or numbers in the target's units, and
        has the schema stored in it.
    History
        Empty where training was interrupted in the first epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fastmlp import tables
    >>> from fastmlp.tables.fitting import TableRows, fit
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "boxes.csv"
    ...     colours = np.array(["red", "blue"] * 15)
    ...     tables.write({"width": np.arange(30), "colour": colours, "price": np.arange(30.0)}, path)
    ...     table = tables.read(path)
    >>> rows = TableRows.of(table, tables.Schema.of(table, "price", "regression"), seed=0)
    >>> rows.x.shape, len(rows.training), len(rows.validation)
    ((30, 3), 24, 6)
    >>> model, history = fit(rows, hidden=[8], epochs=5, seed=0)
    >>> model.predict(rows.x[rows.validation]).shape
    (6, 1)
    """
    schema, y, training, validation = rows.schema, rows.y, rows.training, rows.validation
    center, spread = (0.0, 1.0) if schema.classes else (float(np.mean(y[training])), float(np.std(y[training])) or 1.0)
    targets = y if schema.classes else (y - center) / spread
    scores = loss is not None and get_loss(loss).name == "hinge"
    layers = [
        schema.input_layer(),
        *({"n": n, "act": act} for n in hidden),
        {"n": len(schema.classes) or 1, "act": "softmax" if schema.classes and not scores else "linear"},
    ]
    model, history = train(
        rows.x[training],
        targets[training],
        layers,
        loss=loss,
        dtype=dtype,
        validation_data=(rows.x[validation], targets[validation]) if len(validation) else None,
        **options,
    )
    if not schema.classes:  # the last layer, which is linear, undoes the target's standardisation
        model.weights[-1][...] *= spread
        model.biases[-1][...] = model.biases[-1] * spread + center
    schema.store(model)
    return model, history
