"""Users' names for a network's inputs and classes: names of columns, and labels instead of class indices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..base.frames import cells_of, is_categorical, is_frame, named_columns, objects_of, only_column
from ..base.missing import is_missing
from ..base.pages import FRAMES
from ..engine.network import is_plain
from ..spec import Spec
from .container import entry

__all__ = [
    "NO_NAMES", "Names", "check_feature_names", "check_labels", "class_place", "different_labels", "dtype_of",
    "feature_names_of", "found_labels", "indices_of", "labels_among", "labels_of", "takes_labels",
]  # fmt: skip

_SHOWN = 5  # labels or names in a message
_KINDS = (str, bool, int, float)  # of labels: what a file can keep
_AS_TEXT = "give {name}.astype(str)"


class Names(NamedTuple):
    """The names of a network's inputs and the labels of its classes; None if it has none.

    Attributes
    ----------
    labels : ndarray or None
        (n_classes,) in the order of the outputs, of the dtype that y had; two for a single sigmoid.
    features : tuple of str or None
        The columns of x.
    """

    labels: np.ndarray | None = None
    features: tuple[str, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The labels as text."""
        return None if self.labels is None else tuple(map(str, self.labels.tolist()))

    @property
    def key(self) -> tuple[object, ...]:
        """A key for dicts, which is the same for equal names."""
        return self.classes, None if self.labels is None else self.labels.dtype, self.features

    def found(self, x: Any, y: Any, spec: Spec) -> Names:
        """These names, and those that x and y bring where there are none yet."""
        if is_plain(x) and is_plain(y):
            return self
        labels = found_labels(y, spec) if self.labels is None else self.labels
        return Names(labels, feature_names_of(x) if self.features is None else self.features)

    def found_in_part(self, x: Any, y: Any, spec: Spec) -> Names:
        """These names; those that are None are taken from some samples: labels only if they are true and false."""
        labels = self.labels
        if labels is None:
            values = labels_of(y, spec)
            labels = found_labels(y, spec) if values is not None and values.dtype.kind == "b" else None
        return Names(labels, feature_names_of(x) if self.features is None else self.features)

    def check_columns(self, x: Any, name: str = "x") -> None:
        """Raise ValueError for a frame whose columns have other names or another order; arrays pass."""
        if self.features is None:
            return
        given = feature_names_of(x)
        if given is None or given == self.features:
            return
        unseen, lacking = sorted({*given} - {*self.features}), sorted({*self.features} - {*given})
        lines = ["The feature names should match those that were passed during fit."]
        for heading, names in (
            ("Feature names unseen at fit time:", unseen),
            ("Feature names seen at fit time, yet now missing:", lacking),
        ):
            if names:
                more = ["- ..."] if len(names) > _SHOWN else []
                lines += [heading, *(f"- {each}" for each in names[:_SHOWN]), *more]
        twice = len({*given}) < len(given) or len({*self.features}) < len(self.features)
        if not (unseen or lacking):
            lines.append(
                "Several columns have one name; they must be as many, in the same order, as they were in fit."
                if twice
                else "Feature names must be in the same order as they were in fit."
            )
        if not (lacking or twice):
            lines.append(f"Give {name.rpartition(' ')[2]}[list(model.feature_names)]; {FRAMES}.")
        raise ValueError(f"{name}: " + "\n".join(lines))

    def described(self) -> dict[str, Any]:
        """The names in JSON, as files keep them."""
        document: dict[str, Any] = {"class_names": self.classes}
        if self.labels is not None and dtype_of(self.labels) != "U":  # text is in class_names already
            document["labels"] = {"dtype": dtype_of(self.labels), "values": self.labels.tolist()}
        if self.features is not None:
            document["feature_names"] = self.features
        return document

    @classmethod
    def restored(cls, document: dict[str, Any], spec: Spec) -> Names:
        """Read names from a file, as `described` wrote them; a ValueError for anything else."""
        labels, features = document.get("class_names"), document.get("feature_names")
        try:
            if "labels" in document:
                kept = entry(document, "labels", dict)
                labels = check_labels(kept.get("values"), spec, entry(kept, "dtype", str))
            elif labels is not None:
                labels = check_labels(labels, spec)
            return cls(labels, None if features is None else check_feature_names(features, spec))
        except TypeError as error:
            raise ValueError(str(error)) from None

    def for_checkpoint(self) -> dict[str, Any]:
        """The names in JSON, without those that are None."""
        named = {"class_names": self.classes, "feature_names": self.features}
        return {name: list(values) for name, values in named.items() if values is not None}


NO_NAMES = Names()


def feature_names_of(x: Any) -> tuple[str, ...] | None:
    """The names of a frame's columns if they are all text; None for anything else.

    If only some of them are text, that is a TypeError, as in scikit-learn.
    """
    if not is_frame(x):
        return None
    names = named_columns(x)
    are_text = [isinstance(name, str) for name in names]
    if any(are_text) and not all(are_text):
        kinds = ", ".join(sorted({type(name).__name__ for name in names}))
        raise TypeError(
            f"x has columns whose names are text and others whose are not ({kinds}); "
            "make all text: x.columns = x.columns.astype(str)"
        )
    return tuple(map(str, names)) if names and all(are_text) else None


def check_feature_names(names: Any, spec: Spec) -> tuple[str, ...]:
    """Return the names of the columns of x as a tuple: text, one for each input."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"feature_names must be a list of strings, got {names!r}")
    names = tuple(names)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"feature_names must be a list of strings, got {list(names)!r}")
    if len(names) != spec.n_in:
        raise ValueError(f"feature_names must be {spec.n_in} names, one an input, got {len(names)}")
    return tuple(map(str, names))


def check_labels(names: Any, spec: Spec, dtype: str | None = None) -> np.ndarray:
    """Return the names of classes as labels, (n_classes,): one for each output, or two for a single sigmoid output.

    They are all different, and may be text, booleans, or the values of categories and arrays of objects. ``dtype`` is
    for those that come from a file, as `dtype_of` returns it.
    """
    if not (spec.multilabel or spec.one_of_many):
        raise ValueError(f"class_names needs classes; this network's {spec.layers[-1].act.name} outputs are numbers")
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"class_names must be a list of strings, got {names!r}")
    names = names if hasattr(names, "dtype") or hasattr(names, "type") else list(names)
    labels = _array_of(names) if dtype is None else _restored(names, dtype)
    if labels is None or labels.ndim != 1 or not (dtype or _are_labels(labels, names) or hasattr(names, "dtype")):
        raise TypeError(
            f"class_names must be a list of strings, got {names!r}; for labels that are no text give an array of them"
        )
    values = labels.tolist()
    for value in values:
        if not isinstance(value, _KINDS) or is_missing(value):
            raise TypeError(f"class_names must be a list of strings, it holds {value!r}")
    n_names = 2 if spec.multilabel and spec.n_out == 1 else spec.n_out
    if len(values) != n_names or len({*map(str, values)}) != n_names:
        raise ValueError(f"class_names must be {n_names} different names, got {', '.join(map(repr, values))}")
    return labels


def dtype_of(labels: np.ndarray) -> str:
    """The name of the labels' dtype in a file: "U", "T" or "O" for text and objects, else NumPy's name."""
    return labels.dtype.kind if labels.dtype.kind in "UTO" else labels.dtype.name


def _restored(values: Any, dtype: str) -> np.ndarray | None:
    """Labels from a file; None if they are not labels."""
    if dtype not in ("U", "T", "O", "bool") and not (isinstance(dtype, str) and dtype.rstrip("0123456789") in _NUMBERS):
        return None
    if not isinstance(values, list) or not all(type(value) in _KINDS for value in values):
        return None
    if dtype in ("U", "T") and not all(type(value) is str for value in values):
        return None
    try:
        return objects_of(values) if dtype == "O" else np.array(values, dtype)
    except (TypeError, ValueError, OverflowError):
        return None


_NUMBERS = ("int", "uint", "float")


def takes_labels(spec: Spec) -> bool:
    """Whether each sample has exactly one class, so that y may hold labels."""
    return spec.multilabel if spec.n_out == 1 else spec.one_of_many


def labels_of(y: Any, spec: Spec) -> np.ndarray | None:
    """y (n_samples,) as an array if it holds labels of classes; None if it holds numbers or rows of numbers."""
    if not takes_labels(spec):
        return None
    if type(y) is np.ndarray and y.dtype.kind in "iufc":
        return None
    y = only_column(y)
    values = None if is_frame(y) else _array_of(y)
    return values if values is not None and values.ndim == 1 and _are_labels(values, y) else None


def found_labels(y: Any, spec: Spec) -> np.ndarray | None:
    """The different labels of y, sorted as by `numpy.unique`; None if y has none. A ValueError if their number is not
    that of the network's classes."""
    values = labels_of(y, spec)
    return None if values is None else labels_among(values, spec)


def different_labels(y: Any, spec: Spec, name: str = "y") -> np.ndarray | None:
    """The different labels of some samples, sorted, even if not all classes occur; None if y has no labels."""
    values = labels_of(y, spec)
    return None if values is None else _distinct(values, name)[0]


def labels_among(values: np.ndarray, spec: Spec) -> np.ndarray:
    """The different ones among labels (n_samples,), with the errors of `found_labels`."""
    n_classes = max(2, spec.n_out)
    labels = np.array([False, True]) if values.dtype.kind == "b" else _distinct(values, "y")[0]
    if len(labels) > n_classes or (len(labels) != n_classes and values.dtype.kind == "b"):
        cure = f'give the last layer {{"n": {len(labels)}, "act": "softmax"}}'
        if values.dtype.kind == "b":
            cure = "true and false are two classes: give the last layer 1 sigmoid, or y.astype(int) for class indices"
        raise ValueError(f"y has {len(labels)} labels, {_shown(labels)}, the network has {n_classes} classes; {cure}")
    if len(labels) < n_classes:
        raise ValueError(
            f"y has only the labels {_shown(labels)}, the network has {n_classes} classes; "
            "name all of them, in the order of the outputs: class_names=[…], or model.class_names = […]"
        )
    return labels


def indices_of(values: np.ndarray, labels: np.ndarray | None, spec: Spec, name: str) -> np.ndarray:
    """The class index of each label of y, (n_samples,) int64; a ValueError for a label that the network lacks."""
    named = labels is not None and all(isinstance(label, bool) for label in labels.tolist())
    if values.dtype.kind == "b" and not named and spec.n_out <= 2:
        return values.astype(np.int64)  # of two classes, false is the first, whatever they are called
    distinct, codes = _distinct(values, name)
    if labels is None:
        raise ValueError(
            f"{name} has labels, {_shown(distinct)}, and this network has no names for its classes yet; set "
            "model.class_names = […], one a class in the order of the outputs, or give class indices"
        )
    places = {_key(label): i for i, label in enumerate(labels.tolist())}
    found = np.array([places.get(_key(label), -1) for label in distinct.tolist()], np.int64)
    indices = found[codes]
    if (found < 0).any():
        row = int(np.argmax(indices < 0))
        unknown = _shown(values[row : row + 1])
        raise ValueError(
            f"{name} has the label {unknown} in row {row}, which is none of the class names {_shown(labels)}"
        )
    return indices


def class_place(key: Any, labels: np.ndarray | None, n_classes: int) -> int | None:
    """The index of the class that a label or an index names; None for anything else."""
    places = {} if labels is None else {_key(label): i for i, label in enumerate(labels.tolist())}
    try:
        if _key(key) in places:
            return places[_key(key)]
    except TypeError:
        return None
    is_index = isinstance(key, (int, np.integer)) and not isinstance(key, bool) and 0 <= key < n_classes
    named_by_numbers = any(isinstance(label, (int, float)) and not isinstance(label, bool) for label, _ in places)
    return int(key) if is_index and not named_by_numbers else None


def _key(label: Any) -> tuple[Any, bool]:
    """A key that is the same for equal labels; True and 1 are different."""
    return label, isinstance(label, (bool, np.bool_))


def _array_of(y: Any) -> np.ndarray | None:
    """Values of any kind as an array; None if their lengths differ."""
    try:
        values = cells_of(y)
        if values.dtype.kind == "U" and not hasattr(y, "dtype"):
            objects = np.asarray(y, object)  # NumPy makes text of numbers and of missing values beside text
            if not all(isinstance(value, str) for value in objects.flat):
                values = objects
        return values
    except ValueError:
        return None


def _are_labels(values: np.ndarray, y: Any) -> bool:
    """Whether cells are labels, not numbers."""
    return values.dtype.kind in "UTObSMm" or is_categorical(y)


def _distinct(values: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The different labels among the values, sorted, and each value's place among them."""
    if values.dtype.kind in "SMm":
        raise TypeError(f"{name} holds {values.dtype}, which are no labels; {_AS_TEXT.format(name=name)}")
    if values.dtype.kind == "O":
        _check_objects(values, name)
    elif values.dtype.kind == "f" and np.isnan(values).any():
        raise _no_label(int(np.argmax(np.isnan(values))), np.nan, name)
    places: dict[Any, int] = {}
    codes = np.fromiter((places.setdefault(value, len(places)) for value in values.tolist()), np.int64, len(values))
    firsts = values[np.unique(codes, return_index=True)[1]] if len(values) else values
    try:
        order = np.argsort(firsts, kind="stable")
    except TypeError:
        kinds = ", ".join(sorted({type(value).__name__ for value in firsts}))
        raise TypeError(f"{name} has labels of several types: {kinds}; {_AS_TEXT.format(name=name)}") from None
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return firsts[order], ranks[codes]


def _check_objects(values: np.ndarray, name: str) -> None:
    """Refuse objects that are missing or cannot be labels."""
    for row, value in enumerate(values.tolist()):
        if is_missing(value):
            raise _no_label(row, value, name)
        if not isinstance(value, (*_KINDS, np.generic)):
            kind = type(value).__name__
            raise TypeError(
                f"{name} must hold labels or class indices, in row {row} is a {kind}; {_AS_TEXT.format(name=name)}"
            )


def _no_label(row: int, value: Any, name: str) -> ValueError:
    """The error for a missing label."""
    return ValueError(f"{name} has no label in row {row}, it is {value!r}; leave out such rows, of x too")


def _shown(labels: np.ndarray) -> str:
    """Labels for a message."""
    some = [repr(label) for label in labels.tolist()[:_SHOWN]]
    return ", ".join([*some, "…"] if len(labels) > _SHOWN else some)
