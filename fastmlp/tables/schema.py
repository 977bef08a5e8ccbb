"""The meaning of a table's columns to a network, decided in training and stored with the model for prediction."""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ..base.suggest import did_you_mean
from ..base.text import printable
from ..model.mlp import MLP
from .dates import are_dates
from .values import Values

__all__ = ["Column", "ColumnReport", "RefusedColumns", "Schema", "split"]

_ID_NAME = re.compile(
    r"(?i)(unnamed: ?\d+(\.\d+)*|(.*[\W_])?(id|idx|index|uuid|guid|row_?names?|row|nr|no|num|key|number)|"
    r"level_\d+|#|rownum(ber)?|.*_no|__index_level_\d+__)|.*[a-z](Id|ID|Nr|No)"
)
_CODE = re.compile(r"(?=.*\d)[\w.:/#-]+")
_FEW_ROWS = 10  # below which numbers in order may well be no row numbers
_LARGEST_STEP = 10  # between row numbers, on average: what grows faster is more than a number of the row
_RARE = 5  # rows of a class, below which there is little to learn it from
_FEW = 10  # between the least and the largest number, where -1 may well be one of them
_MANY = 20  # classes


class RefusedColumns(ValueError):
    """Columns that cannot be learnt from as they are.

    Parameters
    ----------
    message : str
        Which columns, and why.
    cures : list of (str, str)
        Options that would let training go on, each with its value: ("ignore", "name"), ("missing", "-"), …. The
        error has them under that name.
    """

    def __init__(self, message: str, cures: list[tuple[str, str]]) -> None:
        self.reason, self.cures = message, list(dict.fromkeys(cures))
        options: dict[str, list[str]] = {}
        for option, value in self.cures:
            options.setdefault(option, []).append(value)
        words = ", ".join(
            f"{option}={values[0]!r}" if option in ("decimal", "task") else f"{option}={values!r}"
            for option, values in options.items()
        )
        super().__init__(f"{message}; this goes on: {words}" if words else message)


@dataclass(frozen=True)
class ColumnReport:
    """What became of a column in training.

    Attributes
    ----------
    name : str
        The column's name in the table.
    taken : str
        What it was taken as, or why it was left out: "a number", "3 categories", "the target, 2 classes",
        "left out: row numbers".
    missing : int
        The number of rows without a value.
    range : str
        The smallest and the largest number, or the commonest categories.
    """

    name: str
    taken: str
    missing: int
    range: str


@dataclass(frozen=True)
class Column:
    """A column that a network takes: one standardised number, or one input of 0 or 1 for each of its categories.

    Parameters
    ----------
    name : str
        The column's name in the table.
    mean, std : float
        Mean and standard deviation of its numbers in training; ``mean`` is also used for a missing number.
    categories : tuple of str or None
        Its values, if it is a category, where None is the missing value. All inputs are 0 for any other value.
    unit : str
        The unit of its numbers; empty if they have none.
    date : str
        The format of its dates, whose numbers are days since 1970; empty for other columns.
    """

    name: str
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str | None, ...] = ()
    unit: str = ""
    date: str = ""

    @property
    def inputs(self) -> list[str]:
        """Names of the network's inputs that this column fills, in order."""
        if not self.categories:
            return [self.name]
        return [f"{self.name} is {'missing' if value is None else repr(value)}" for value in self.categories]

    def __str__(self) -> str:
        """Describe in words what the column takes."""
        if self.date:
            return f"a date, {_day(self.mean)} ± {self.std:.4g} days"
        if not self.categories:
            unit = f" {printable(self.unit)}" if self.unit else ""
            return f"a number, {self.mean:.4g} ± {self.std:.4g}{unit}"
        return "one of " + ", ".join("(missing)" if value is None else printable(value) for value in self.categories)

    def numbers(self, values: Values, dtype: Any) -> np.ndarray:
        """Return the column's numbers, NaN where one is missing; a ValueError for text and for another unit.

        Parameters
        ----------
        values : Values
            The column of a table.
        dtype : float32 or float64
            The network's dtype.
        """
        if self.date:
            return values.days(self.date)
        numbers = values.finite(dtype)
        unit = values.as_unit
        if unit and unit != self.unit and (self.unit or unit == "%"):
            learnt = f"in {self.unit!r}" if self.unit else "without a unit"
            raise ValueError(f"column {self.name!r} is in {unit!r}, and was learnt {learnt}")
        return numbers

    def fill(self, values: Values, out: np.ndarray) -> None:
        """Write raw numbers, or a 1 for the category of each row.

        Parameters
        ----------
        values : Values
            The column of a table.
        out : ndarray, (n_rows, n_inputs)
            Zeros, which are written to.
        """
        if not self.categories:
            numbers = self.numbers(values, out.dtype)
            out[:, 0] = np.where(np.isnan(numbers), self.mean, numbers)
            return
        places = _places(values, self.categories)
        rows = np.flatnonzero(places >= 0)
        out[rows, places[rows]] = 1
        if len(rows) < len(out):
            category = values.text(int(np.argmax(places < 0)))
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
        The columns that it takes, in the order of the network's inputs.
    target : str
        Name of the column to predict.
    classes : tuple of str
        The target's values in the order of the network's outputs; empty for regression.
    kind : "text", "whole", "bool" or "number"
        What the target's values were in the table.
    weight : str
        Name of the column that says how much each row counts; empty: all rows count alike.
    missing : tuple of str
        Texts that are missing values, in addition to `MISSING`.
    decimal : "." or ","
        The decimal mark of numbers that can be read with either mark.
    header : bool
        Whether the first line of such files names the columns.
    left_out : tuple of (str, str)
        Names of the columns that are not taken, and why.
    """

    columns: tuple[Column, ...]
    target: str
    classes: tuple[str, ...] = ()
    kind: str = "text"
    weight: str = ""
    missing: tuple[str, ...] = ()
    decimal: str = "."
    header: bool = True
    left_out: tuple[tuple[str, str], ...] = ()

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

        Columns may come in any order, and with others among them. A column that is missing is a ValueError, and so is
        text in a column that had numbers in training. A category that training did not see causes a warning.

        Parameters
        ----------
        table : dict of str to Values
            What `read` or `table_of` returns.
        dtype : float32 or float64
            The network's dtype.
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
        """Return the rows that have a target, (n,), and their y, (n,): class indices or numbers.

        Parameters
        ----------
        table : dict of str to Values
            What `read` or `table_of` returns.
        dtype : float32 or float64
            The network's dtype.
        """
        require_columns(table, [self.target])
        values = table[self.target]
        if not self.classes:
            numbers = values.finite(dtype)
            return np.flatnonzero(values.present), numbers[values.present]
        places = _places(values, self.classes)
        unknown = np.setdiff1d(values.codes[places < 0], [-1])
        if len(unknown):
            raise ValueError(
                f"column {self.target!r} has {values.distinct[unknown[0]]!r}, which is none of the classes "
                f"{', '.join(self.classes)}"
            )
        rows = np.flatnonzero(places >= 0)
        return rows, places[rows]

    def encode_weight(self, table: Mapping[str, Values], dtype: Any = np.float32) -> np.ndarray | None:
        """Return how much each row counts, (n_rows,); None where all count alike.

        Parameters
        ----------
        table : dict of str to Values
            What `read` or `table_of` returns.
        dtype : float32 or float64
            The network's dtype.
        """
        if not self.weight:
            return None
        require_columns(table, [self.weight])
        numbers = table[self.weight].finite(dtype)
        bad = ~(numbers >= 0)
        if bad.any():
            row = int(np.argmax(bad))
            what = "none" if np.isnan(numbers[row]) else f"{numbers[row]:g}"
            raise ValueError(
                f"column {self.weight!r} must have a weight of at least 0 in each row, row {row + 1} has {what}"
            )
        return numbers

    @classmethod
    def of(
        cls,
        table: Mapping[str, Values],
        target: str,
        task: str = "auto",
        *,
        ignore: Collection[str] = (),
        category: Collection[str] = (),
        number: Collection[str] = (),
        weight: str = "",
        missing: Collection[str] = (),
        header: bool = True,
    ) -> Schema:
        """Decide what each column is; numbers are not yet standardised (`fitted` does that).

        Parameters
        ----------
        table : dict of str to Values
            What `read` or `table_of` returns.
        target : str
            Name of the column to predict.
        task : "auto", "classification" or "regression"
            "auto" is classification where the target is text, true and false, two whole numbers, or whole numbers of
            at most 20 different values and five times as many rows; otherwise regression.
        ignore, category, number : names
            Columns to leave out; columns whose values are categories; columns whose values are numbers, or dates that
            are taken as days. The choice is yours, whatever they look like.
        weight : str
            The column that says how much each row counts.
        missing : texts
            Missing values, in addition to `MISSING`, with which the table was read.
        header : bool
            Whether the first line of the table's file named its columns.

        Raises
        ------
        RefusedColumns
            A ValueError that names all columns of dates, free text and the like.
        ValueError
            For a column that is not there, and a target with fewer than two different values.
        """
        require_columns(table, [target, *ignore, *category, *number, *([weight] if weight else [])])
        classes = _classes(table[target], task)
        columns: list[Column] = []
        ids: dict[str, Column] = {}
        left_out: dict[str, str] = {}
        troubles: dict[str, str] = {}
        cures: list[tuple[str, str]] = []
        for name, values in table.items():
            if name in (target, weight):
                continue
            if name in ignore:
                left_out[name] = "as you asked"
            elif name in category:
                columns.append(Column(name, categories=_categories(values)))
            elif name in number:
                columns.append(_forced_number(values))
            elif _is_id(values):
                ids[name] = Column(name) if values.numbers is not None else Column(name, categories=_categories(values))
                left_out[name] = "row numbers" if values.numbers is not None else "all different, an id"
            else:
                trouble, cure = _trouble(values)
                if trouble:
                    troubles[name] = trouble
                    cures += cure
                elif values.numbers is not None:
                    columns.append(Column(name, unit=values.as_unit))
                else:
                    columns.append(Column(name, categories=_categories(values)))
        if troubles:
            reasons = _short("; ".join(f"column {name!r}: {why}" for name, why in troubles.items()))
            raise RefusedColumns(f"cannot learn from {reasons}", cures)
        if not columns and len(ids) == 1 and not next(iter(ids.values())).categories:  # nothing else is left
            columns, left_out = [*ids.values()], {k: v for k, v in left_out.items() if k not in ids}
        if not columns:
            raise ValueError(f"there is no column besides {target!r} to learn from{_listed_reasons(left_out)}")
        commas = any(values.decimal == "," for values in table.values())
        return cls(
            tuple(columns), target, classes, table[target].kind, weight, tuple(missing), "," if commas else ".",
            header, tuple(left_out.items()),
        )  # fmt: skip

    def fitted(self, table: Mapping[str, Values], rows: np.ndarray, dtype: Any = np.float32) -> Schema:
        """Return this schema with the means, deviations and categories of some rows, without columns constant there.

        Parameters
        ----------
        table : dict of str to Values
            What `read` or `table_of` returns.
        rows : ndarray of int
            The rows to train on.
        dtype : float32 or float64
            The network's dtype.

        Raises
        ------
        ValueError
            When every column is constant.
        """
        columns: list[Column] = []
        constant: list[Column] = []
        for column in self.columns:
            values = table[column.name]
            if column.categories:
                categories = _categories(values, rows)
                new = replace(column, categories=categories) if len(categories) > 1 else None
            else:
                new = _standardised(column, column.numbers(values, dtype)[rows])
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
        left_out = (*self.left_out, *((column.name, "nothing varies in it") for column in constant))
        return replace(self, columns=tuple(columns), left_out=left_out)

    def warn_of_rare_classes(self, y: np.ndarray) -> None:
        """Warn if there are many classes, or if some of them have few rows to learn from.

        Parameters
        ----------
        y : ndarray of int, (n_rows,)
            Class indices.
        """
        counts = np.bincount(y, minlength=len(self.classes))
        rare = [name for name, count in zip(self.classes, counts, strict=True) if count < _RARE]
        if rare or len(self.classes) > _MANY:
            warnings.warn(
                f"column {self.target!r} has {len(self.classes)} classes"
                + (f", {len(rare)} of them in fewer than {_RARE} rows: {_listed(rare)}" if rare else "")
                + ("; are these what you want to predict?" if len(self.classes) > _MANY else ""),
                stacklevel=3,
            )

    def report(self, table: Mapping[str, Values]) -> tuple[ColumnReport, ...]:
        """Report what became of each column of the table.

        Parameters
        ----------
        table : dict of str to Values
            What `read` or `table_of` returns.
        """
        taken = {column.name: column for column in self.columns}
        left_out = dict(self.left_out)
        reports = []
        for name, values in table.items():
            n_missing = len(values) - int(np.count_nonzero(values.present))
            if name == self.target:
                what = f"the target, {len(self.classes)} classes" if self.classes else "the target, a number"
                shown = _commonest(values) if self.classes else _range(values.finite(np.float64), values.as_unit)
            elif name == self.weight:
                what, shown = "the weight", _range(values.finite(np.float64), "")
            elif name in taken:
                column = taken[name]
                what, shown = _what(column, values)
            else:
                what, shown = (
                    f"left out: {left_out.get(name, '')}",
                    _commonest(values) if values.numbers is None else "",
                )
            reports.append(ColumnReport(name, what, n_missing, shown))
        return tuple(reports)

    def caption(self) -> list[str]:
        """Describe each input and output of the network in a line, for programs that call it without this library."""
        lines = ["inputs, in this order:"]
        for column in self.columns:
            if not column.categories:
                days = ", in days since 1970-01-01" if column.date else f", in {column.unit}" if column.unit else ""
                lines.append(f"  {printable(column.name + days)} (where it is missing: {column.mean:.7g})")
            lines.extend(f"  1 where {printable(name)}, else 0" for name in column.inputs if column.categories)
        lines.append("outputs, in this order:")
        target = printable(self.target)
        lines.extend(f"  {target} is {name!r}" for name in self.classes)
        return lines if self.classes else [*lines, f"  {target}"]

    def store(self, model: MLP) -> None:
        """Give a model the names of its columns, categories and classes, which `MLP.save` keeps.

        Parameters
        ----------
        model : MLP
            The network whose inputs and outputs this schema describes.
        """
        columns: list[dict[str, Any]] = []
        for column in self.columns:
            entry: dict[str, Any] = {"name": column.name, "categories": list(column.categories)}
            columns.append(entry | {key: value for key in ("unit", "date") if (value := getattr(column, key))})
        description: dict[str, Any] = {"target": self.target, "columns": columns, "kind": self.kind}
        if self.weight:
            description["weight"] = self.weight
        if not self.header:
            description["header"] = False
        model.metadata["table"] = description | {"missing": list(self.missing), "decimal": self.decimal}
        model.class_names = self.classes or None

    @classmethod
    def stored_in(cls, model: MLP) -> Schema:
        """Return the schema that `store` gave a model; a ValueError if there is none, or if it does not fit.

        Parameters
        ----------
        model : MLP
            A network that was trained on a table.
        """
        if "table" not in model.metadata:
            raise ValueError("the model was not trained on a table by `fastmlp train`: it has no column names")
        try:
            description = model.metadata["table"]
            columns: list[Column] = []
            shift, scale, at = model.spec.shift or (), model.spec.scale or (), 0
            for entry in description["columns"]:
                categories = tuple(None if value is None else str(value) for value in entry["categories"])
                unit, date = str(entry.get("unit", "")), str(entry.get("date", ""))
                columns.append(Column(str(entry["name"]), shift[at], 1 / scale[at], categories, unit, date))
                at += len(columns[-1].inputs)
            schema = cls(
                tuple(columns), str(description["target"]), model.class_names or (),
                str(description.get("kind", "text")), str(description.get("weight", "")),
                tuple(map(str, description.get("missing", ()))),
                "," if description.get("decimal") == "," else ".", bool(description.get("header", True)),
            )  # fmt: skip
        except (AttributeError, TypeError, KeyError, IndexError, ZeroDivisionError):
            raise ValueError("the model's description of its columns is broken") from None
        if (
            len(schema.inputs) != model.spec.n_in
            or (len(schema.classes) or model.spec.loss.outputs_per_target) != model.spec.n_out
        ):
            raise ValueError("the model's description of its columns does not fit its layers")
        return schema


def split(y: np.ndarray, n_classes: int, fraction: float, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rows to hold out: a share of each class, or of all rows.

    Parameters
    ----------
    y : ndarray, (n_rows,)
        Class indices, or numbers.
    n_classes : int
        The number of classes; 0 for numbers.
    fraction : float, in [0, 1)
        The share of the rows to hold out.
    seed : int
        Draws the rows.

    Returns
    -------
    tuple of two ndarrays of int
        The rows to train on, and those held out.
    """
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(y == k) for k in range(n_classes)] or [np.arange(len(y))]
    held_out = np.concatenate([rng.permutation(group)[: round(fraction * len(group))] for group in groups])
    if len(held_out) == len(y):
        raise ValueError(f"a validation share of {fraction:g} leaves no rows to train on")
    return np.setdiff1d(np.arange(len(y)), held_out), np.sort(held_out)


def require_columns(table: Mapping[str, Values], names: Sequence[str]) -> None:
    """Raise a ValueError that names the columns that a table lacks, and the nearest name that it has."""
    missing_names = [name for name in dict.fromkeys(names) if name not in table]
    if len(missing_names) == 1:
        raise ValueError(_short(f"there is no column {missing_names[0]!r}{did_you_mean(missing_names[0], table)}"))
    if missing_names:
        raise ValueError(f"there are no columns {_listed(missing_names)}; there are {_listed(table)}")


def _listed(names: Iterable[str]) -> str:
    return _short(", ".join(map(repr, names)))


def _listed_reasons(left_out: Mapping[str, str]) -> str:
    return _short(f" (left out: {'; '.join(f'{name!r}, {why}' for name, why in left_out.items())})") if left_out else ""


def _short(text: str) -> str:
    """Shorten a long list for an error message."""
    return textwrap.shorten(text, 400, placeholder=" …") if len(text) > 400 else text


def _places(values: Values, names: Sequence[str | None]) -> np.ndarray:
    """The place of each row's text among ``names``, -1 for others; None in ``names`` is the missing value."""
    known = {name: place for place, name in enumerate(names)}
    of_codes = [known.get(text, -1) for text in values.distinct]
    return np.array([*of_codes, known.get(None, -1)])[values.codes]


def _categories(values: Values, rows: np.ndarray | None = None) -> tuple[str | None, ...]:
    codes = np.unique(values.codes if rows is None else values.codes[rows]).tolist()
    return (*sorted(values.distinct[code] for code in codes if code >= 0), *([None] if -1 in codes else []))


def _standardised(column: Column, numbers: np.ndarray) -> Column | None:
    """Return the column with its mean and standard deviation; None if it is constant."""
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers) or numbers.min() == numbers.max() or not numbers.std():
        return None
    _question_marks(column.name, numbers)
    return replace(column, mean=float(numbers.mean()), std=float(numbers.std()))


def _question_marks(name: str, numbers: np.ndarray) -> None:
    """Warn of a number like -999, far from all others, which probably stands for a missing value."""
    for value in (numbers.min(), numbers.max()):
        count, others = np.count_nonzero(numbers == value), numbers[numbers != value]
        if not re.fullmatch(r"-?9{2,}\.0|-1\.0", str(float(value))) or count < 2 or not len(others):
            continue
        low, high = others.min(), others.max()
        is_far = max(low - value, value - high) > high - low
        if is_far or (value < 0 <= low and high - low > _FEW):
            warnings.warn(
                f"column {name!r} has {value:g} in {count} of {len(numbers)} rows, unlike the others, {low:g} to "
                f"{high:g}; if it stands for what is missing, give {f'{value:g}'!r} as missing",
                stacklevel=4,
            )


def _is_id(values: Values) -> bool:
    """Whether a column only tells rows apart: all values differ, and are whole numbers in order or called an id."""
    n_rows = len(values)
    named = bool(_ID_NAME.fullmatch(values.name))
    if n_rows < 2 or values.is_moment or values.strange:
        return False
    if values.numbers is not None:
        numbers = values.numbers
        if values.kind == "bool" or np.isnan(numbers).any() or (numbers != np.floor(numbers)).any():
            return False
        steps = np.diff(numbers)
        if (steps > 0).all() or (steps < 0).all():
            return named or (n_rows >= _FEW_ROWS and abs(numbers[-1] - numbers[0]) <= _LARGEST_STEP * n_rows)
        return named and len(np.unique(numbers)) == n_rows
    if values.date_formats:
        return False
    codes = values.codes
    all_different = len(values.distinct) == n_rows and not (codes < 0).any()
    if not all_different or n_rows < _FEW_ROWS or values.as_numbers.all_numbers:
        return False
    return named or all(_CODE.fullmatch(text) for text in values.distinct)


def _forced_number(values: Values) -> Column:
    """A column that the user declares to be a number, or a date that is taken as one."""
    formats = _date_formats(values)
    if len(formats) > 1:
        raise ValueError(
            f"column {values.name!r}: nothing tells day from month, as in {values.distinct[0]!r}; write dates as "
            "YYYY-MM-DD"
        )
    if formats:
        return Column(values.name, date=formats[0])
    if values.numbers is None:
        raise ValueError(f"column {values.name!r} must hold numbers, {values.why_no_numbers()}")
    return Column(values.name, unit=values.as_unit)


def _date_formats(values: Values) -> list[str]:
    """The date formats that a column may have, each meaning other days."""
    formats = values.date_formats
    return (
        formats[:1] if all(np.array_equal(values.days(formats[0]), values.days(f), True) for f in formats) else formats
    )


def _trouble(values: Values) -> tuple[str, list[tuple[str, str]]]:
    """Return why nothing can be learnt from a column as it is (else an empty text), and the options that help."""
    name = values.name
    if values.strange:
        return f"values of type {values.strange}", [("ignore", name)]
    if values.numbers is not None:
        return "", []
    if values.date_formats:
        return "dates or times", [("number" if len(_date_formats(values)) == 1 else "ignore", name)]
    if values.is_text and are_dates(values.distinct):
        return "dates or times in several formats", [("ignore", name)]
    if values.share_numeric == 1:
        if not values.decimal:
            return f"{values.why_no_numbers()}, and nothing tells which", [("decimal", ".")]
        return f"numbers, but {values.why_no_numbers()}", [("ignore", name)]
    others = values.others()
    n_numbers = len(values.distinct) - len(others)
    if values.share_numeric >= 0.9 or (n_numbers > 10 and n_numbers > 2 * len(others)):
        shown = ", ".join(f"{text!r} in row {values.row_of(text)}" for text in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        few = len(others) <= 3
        return f"numbers, but {shown}{more}", [("missing", text) for text in others] if few else [("ignore", name)]
    n_rows, n_values = int(values.present.sum()), len(values.distinct)
    if n_values > max(20, min(n_rows // 2, 100), min(n_rows // 50, 1000)):
        cure = "category" if n_values <= n_rows // 5 else "ignore"
        return f"free text, {n_values} different values in {n_rows} rows", [(cure, name)]
    return "", []


def _classes(values: Values, task: str) -> tuple[str, ...]:
    """Return the target's classes, numbers in ascending order; none for regression."""
    if task == "regression":
        values.finite(np.float64)
    numbers = None if values.numbers is None else values.numbers[values.present]
    n_rows = int(values.present.sum())
    n_values = len(values.distinct if numbers is None else np.unique(numbers))
    if n_values < 2:
        only = f"one value only, {values.distinct[0]!r}" if n_values else "no values"
        raise ValueError(f"column {values.name!r} has {only}: there is nothing to learn")
    if task == "auto" and numbers is None:
        _refuse_numbers_as_classes(values)
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
    if numbers is None:
        return tuple(sorted(values.distinct))
    first = {code: row for row, code in reversed([*enumerate(values.codes.tolist())])}
    whole_numbers: Any = values.numbers
    return tuple(sorted(values.distinct, key=lambda name: float(whole_numbers[first[values.distinct.index(name)]])))


def _refuse_numbers_as_classes(values: Values) -> None:
    """Refuse a target of numbers or dates that only a few other texts among them would make classes."""
    if values.date_formats:
        raise RefusedColumns(f"column {values.name!r} has dates or times, and cannot be predicted", [])
    trouble, cures = _trouble(values)
    if trouble and not trouble.startswith("free text"):
        if cures[0][0] == "ignore":
            cures = [("task", "classification")]
        raise RefusedColumns(f"cannot learn to predict column {values.name!r}: {trouble}", cures)


def _what(column: Column, values: Values) -> tuple[str, str]:
    """What a column is taken as, and what it holds, in words."""
    if column.categories:
        return f"{len(column.categories)} categories", _commonest(values)
    if column.date:
        numbers = values.days(column.date)
        return "a date, in days", f"{_day(np.nanmin(numbers))} … {_day(np.nanmax(numbers))}"
    notes = [f"in {printable(column.unit)}"] if column.unit else []
    if values.is_text and values.decimal == ",":
        notes.append("1,5 is 1.5")
    elif values.is_text and values.is_grouped:
        notes.append("1,000 is 1000")
    if values.kind == "bool" or values.is_truth:
        return "true 1, false 0", ""
    return ", ".join(["a number", *notes]), _range(values.finite(np.float64), column.unit)


def _range(numbers: np.ndarray, unit: str) -> str:
    numbers = numbers[~np.isnan(numbers)]
    return f"{numbers.min():.6g} … {numbers.max():.6g}{f' {printable(unit)}' if unit else ''}" if len(numbers) else ""


def _commonest(values: Values) -> str:
    """The commonest texts of a column, the first three of them."""
    if values.strange:
        return ""
    codes = values.codes[values.codes >= 0]
    order: Any = np.argsort(-np.bincount(codes, minlength=len(values.distinct)), kind="stable") if len(codes) else []
    shown = ", ".join(textwrap.shorten(printable(values.distinct[code]), 20, placeholder="…") for code in order[:3])
    return f"{shown}, …" if len(values.distinct) > 3 else shown


def _day(days: float) -> str:
    """The date that many days after the beginning of 1970."""
    try:
        return (datetime(1970, 1, 1) + timedelta(days=float(days))).date().isoformat()
    except OverflowError:
        return f"{days:.4g} days"
