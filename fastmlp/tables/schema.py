"""The meaning of a table's columns to a network, decided in training and stored with the model for prediction."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.suggest import did_you_mean
from ..base.text import printable
from ..model.mlp import MLP
from .reading import Values, pa, pc

__all__ = ["Column", "Schema", "split"]

_DATE = r"(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d{2})([T :].*)?"


@dataclass(frozen=True)
class Column:
    """A column that a network takes: one standardised number, or one input of 0 or 1 for each of its categories.

    ``mean`` stands in for a missing number. A None among ``categories`` is the missing value; a category that is not
    among them makes all its inputs 0.
    """

    name: str
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str | None, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """Names of the network's inputs that this column fills, in order."""
        if not self.categories:
            return [self.name]
        return [f"{self.name} is {'missing' if value is None else repr(value)}" for value in self.categories]

    def __str__(self) -> str:
        """Describe in words what the column takes."""
        if not self.categories:
            return f"a number, {self.mean:.4g} ± {self.std:.4g}"
        return "one of " + ", ".join("(missing)" if value is None else printable(value) for value in self.categories)

    def fill(self, values: Values, out: np.ndarray) -> None:
        """Write raw numbers, or a 1 for the category of each row, into ``out`` (n_samples, n_inputs), which is zero."""
        if not self.categories:
            numbers = values.finite(out.dtype)
            out[:, 0] = np.where(np.isnan(numbers), self.mean, numbers)
            return
        places = pc.index_in(values.text, pa.array(self.categories, pa.string()))
        rows = np.flatnonzero(np.asarray(places.is_valid()))
        out[rows, np.asarray(places.drop_null())] = 1
        if len(rows) < len(out):
            category = values.text.filter(pc.is_null(places))[0].as_py()
            value = "a missing value" if category is None else repr(category)
            warnings.warn(
                f"column {self.name!r} has {value}, which the model has never seen; "
                f"in {len(out) - len(rows)} of {len(out)} rows it is taken as none of the categories",
                stacklevel=4,
            )


@dataclass(frozen=True)
class Schema:
    """What the columns of a table mean to a network: which it takes, as what, and what its outputs are called.

    Parameters
    ----------
    columns : tuple of Column
        In the order of the network's inputs.
    target : str
        Name of the column to predict.
    classes : tuple of str
        The target's values in the order of the network's outputs; empty for regression.
    """

    columns: tuple[Column, ...]
    target: str
    classes: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """A name for each of the network's inputs, in order."""
        return [name for column in self.columns for name in column.inputs]

    def input_layer(self) -> dict[str, Any]:
        """Return the input layer that standardises the numbers and leaves the categories alone."""
        widths = [len(column.inputs) for column in self.columns]
        shift = np.repeat([column.mean for column in self.columns], widths)
        scale = np.repeat([1 / column.std for column in self.columns], widths)
        return {"n": len(shift), "act": None, "shift": shift, "scale": scale}

    def encode(self, table: Mapping[str, Values], dtype: Any = np.float32) -> np.ndarray:
        """Return the table as x (n_samples, n_in), in raw numbers: the network's input layer standardises them.

        Columns may come in any order, and others with them. A column that is missing, or holds something else than
        numbers where numbers were learnt from, is a ValueError. A category that was not there in training is a
        warning.
        """
        require_columns(table, [column.name for column in self.columns])
        x = np.zeros((len(next(iter(table.values()))), len(self.inputs)), dtype)
        at = 0
        for column in self.columns:
            end = at + len(column.inputs)
            column.fill(table[column.name], x[:, at:end])
            at = end
        return x

    def encode_target(self, table: Mapping[str, Values], dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that have a target, and their y: class indices or numbers."""
        require_columns(table, [self.target])
        values = table[self.target]
        if not self.classes:
            numbers = values.finite(dtype)
            return np.flatnonzero(values.present), numbers[values.present]
        text = values.text.drop_null()
        places = pc.index_in(text, pa.array(self.classes))
        if places.null_count:
            value = text.filter(places.is_null())[0].as_py()
            raise ValueError(
                f"column {self.target!r} has {value!r}, which is none of the classes {', '.join(self.classes)}"
            )
        return np.flatnonzero(np.asarray(values.text.is_valid())), np.asarray(places).astype(np.int64)

    @classmethod
    def of(
        cls,
        table: Mapping[str, Values],
        target: str,
        task: str = "auto",
        *,
        ignore: Collection[str] = (),
        category: Collection[str] = (),
    ) -> Schema:
        """Decide what each column is; numbers are not yet standardised (`fitted` does that).

        Parameters
        ----------
        table : dict of str to Values
        target : str
        task : "auto", "classification" or "regression"
            "auto" is classification where the target is text, true and false, two whole numbers, or whole numbers of
            at most 20 different values and five times as many rows; otherwise regression.
        ignore, category : names
            Columns to leave out, and those whose values are categories whatever they look like.

        Raises
        ------
        ValueError
            For a column that is not there, a target without two different values, and columns of dates, free text
            and the like, all named.
        """
        require_columns(table, [target, *ignore, *category])
        classes = _classes(table[target], task)
        columns, troubles = [], {}
        for name, values in table.items():
            if name == target or name in ignore:
                continue
            trouble = "" if name in category else _trouble(values)
            if trouble:
                troubles[name] = trouble
            elif name in category or values.numbers is None:
                columns.append(Column(name, categories=_categories(values.text)))
            else:
                columns.append(Column(name))
        if troubles:
            reasons = _short("; ".join(f"column {name!r}: {why}" for name, why in troubles.items()))
            raise ValueError(
                f"cannot learn from {reasons} (leave columns out with --ignore COL, or take their values as categories "
                "with --category COL)"
            )
        if not columns:
            raise ValueError(f"there is no column besides {target!r} to learn from")
        return cls(tuple(columns), target, classes)

    def fitted(self, table: Mapping[str, Values], rows: np.ndarray, dtype: Any = np.float32) -> Schema:
        """Return this schema with the means, deviations and categories of some rows, without columns constant there.

        Raises
        ------
        ValueError
            When every column is constant.
        """
        columns: list[Column] = []
        constant: list[Column] = []
        for column in self.columns:
            if column.categories:
                categories = _categories(table[column.name].text.take(rows))
                new = Column(column.name, categories=categories) if len(categories) > 1 else None
            else:
                new = _standardised(column.name, table[column.name].finite(dtype)[rows])
                if new and abs(new.mean) * np.finfo(dtype).eps > 0.01 * new.std:
                    warnings.warn(
                        f"column {new.name!r} varies little around {new.mean:g}: {np.dtype(dtype)} keeps less than "
                        "two digits of that",
                        stacklevel=3,
                    )
            (columns if new else constant).append(new or column)
        if not columns:
            raise ValueError("every column is constant: there is nothing to learn from")
        if constant:
            names = _listed(column.name for column in constant)
            warnings.warn(f"left out because nothing varies in it: {names}", stacklevel=2)
        return Schema(tuple(columns), self.target, self.classes)

    def caption(self) -> list[str]:
        """Describe each input and output of the network in a line, for those who call it without this library."""
        lines = ["inputs, in this order:"]
        for column in self.columns:
            if not column.categories:
                lines.append(f"  {printable(column.name)} (where it is missing: {column.mean:.7g})")
            lines.extend(f"  1 where {printable(name)}, else 0" for name in column.inputs if column.categories)
        lines.append("outputs, in this order:")
        target = printable(self.target)
        lines.extend(f"  {target} is {name!r}" for name in self.classes)
        return lines if self.classes else [*lines, f"  {target}"]

    def store(self, model: MLP) -> None:
        """Give a model the names of its columns, categories and classes, which `MLP.save` keeps."""
        columns = [{"name": c.name, "categories": list(c.categories)} for c in self.columns]
        model.metadata["table"] = {"target": self.target, "columns": columns}
        model.class_names = self.classes or None

    @classmethod
    def stored_in(cls, model: MLP) -> Schema:
        """Return the schema that `store` gave a model; a ValueError where there is none, or none that fits."""
        if "table" not in model.metadata:
            raise ValueError("the model was not trained on a table by `fastmlp train`: it has no column names")
        try:
            description = model.metadata["table"]
            columns: list[Column] = []
            shift, scale, at = model.spec.shift or (), model.spec.scale or (), 0
            for entry in description["columns"]:
                categories = tuple(None if value is None else str(value) for value in entry["categories"])
                columns.append(Column(str(entry["name"]), shift[at], 1 / scale[at], categories))
                at += len(columns[-1].inputs)
            schema = cls(tuple(columns), str(description["target"]), model.class_names or ())
        except (TypeError, KeyError, IndexError, ZeroDivisionError):
            raise ValueError("the model's description of its columns is broken") from None
        if len(schema.inputs) != model.spec.n_in or (len(schema.classes) or 1) != model.spec.n_out:
            raise ValueError("the model's description of its columns does not fit its layers")
        return schema


def split(y: np.ndarray, n_classes: int, fraction: float, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rows to hold out: a share of each class, or of all rows where ``n_classes`` is 0.

    Returns the rows to train on, and those held out.
    """
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(y == k) for k in range(n_classes)] or [np.arange(len(y))]
    held_out = np.concatenate([rng.permutation(group)[: round(fraction * len(group))] for group in groups])
    if len(held_out) == len(y):
        raise ValueError(f"a validation share of {fraction:g} leaves no rows to train on")
    return np.setdiff1d(np.arange(len(y)), held_out), np.sort(held_out)


def require_columns(table: Mapping[str, Values], names: Sequence[str]) -> None:
    """Raise a ValueError that names the columns that a table lacks, and the nearest one that it has."""
    missing_names = [name for name in names if name not in table]
    if len(missing_names) == 1:
        raise ValueError(_short(f"there is no column {missing_names[0]!r}{did_you_mean(missing_names[0], table)}"))
    if missing_names:
        raise ValueError(f"there are no columns {_listed(missing_names)}; there are {_listed(table)}")


def _listed(names: Iterable[str]) -> str:
    return _short(", ".join(map(repr, names)))


def _short(text: str) -> str:
    """Shorten a long list for an error message."""
    return textwrap.shorten(text, 400, placeholder=" …")


def _categories(text: Any) -> tuple[str | None, ...]:
    values = text.unique().to_pylist()
    return (*sorted(value for value in values if value is not None), *([None] if None in values else []))


def _standardised(name: str, numbers: np.ndarray) -> Column | None:
    """Return the column with its mean and standard deviation, or None when it is constant."""
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers) or numbers.min() == numbers.max() or not numbers.std():
        return None
    return Column(name, float(numbers.mean()), float(numbers.std()))


def _trouble(values: Values) -> str:
    """Return why nothing can be learnt from a column as it is, or an empty text."""
    if values.numbers is not None:
        return ""
    if pa.types.is_temporal(values.type) or (values.is_text and values.matches(_DATE)):
        return "dates or times"
    if not values.is_text:
        return f"values of type {values.type}"
    if values.share_numeric >= 0.9:
        row, value = values.first_non_number
        return f"numbers, but {value!r} in row {row}"
    n_rows = int(values.present.sum())
    n_values = len(values.text.drop_null().unique())
    if n_values > min(100, max(20, n_rows // 2)):
        return f"free text, {n_values} different values in {n_rows} rows"
    return ""


def _classes(values: Values, task: str) -> tuple[str, ...]:
    """Return the target's classes, numbers in ascending order; none for regression."""
    if task == "regression":
        values.finite(np.float64)
    numbers = None if values.numbers is None else values.numbers[values.present]
    n_rows = int(values.present.sum())
    n_values = len(values.text.drop_null().unique() if numbers is None else np.unique(numbers))
    if n_values < 2:
        only = f"one value only, {values.text.drop_null()[0].as_py()!r}" if n_values else "no values"
        raise ValueError(f"column {values.name!r} has {only}: there is nothing to learn")
    if task == "auto":
        few = n_values <= max(2, min(20, n_rows // 5))
        whole = numbers is not None and bool(np.all(numbers == np.floor(numbers)))
        task = "classification" if numbers is None or (few and whole) else "regression"
    if task == "regression":
        return ()
    if n_values > max(20, n_rows // 2):
        raise ValueError(
            f"column {values.name!r} has {n_values} different values in {n_rows} rows, too many for classes"
        )
    names = values.text.drop_null().unique().to_pylist()
    return tuple(sorted(names, key=str if values.share_numeric < 1 else float))
