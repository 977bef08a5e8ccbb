"""Checks of x, y and their weights before any work: errors say what is wrong, and what to write instead."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from ..base.checks import check_number
from ..base.frames import cells_of, columns_of, is_frame, named_columns, only_column
from ..base.missing import is_missing
from ..base.pages import DATA, FRAMES, TABLES, TARGETS
from ..base.sparse import SparseRows
from ..engine.epochs import Samples
from ..engine.network import is_plain
from ..engine.slopes import Residuals, Slopes
from ..optimizers import Optimizer
from ..residuals import Residual
from ..spec import Spec
from .names import NO_NAMES, Names, class_place, indices_of, labels_of

__all__ = [
    "balanced_weights", "check_direction", "check_lazy", "check_output_weight", "check_residual", "check_samples",
    "check_slopes",
    "check_weights", "check_x", "check_y", "class_indices", "counted_rows", "plain_targets",
]  # fmt: skip

_TOGETHER = 1 << 20  # elements looked at in one go, so that checking costs no memory to speak of
_FEW = 1 << 12  # elements whose squares are sooner summed than NumPy told to ignore an overflow of their sum
_LARGEST_SQUARES = {4: float(np.finfo(np.float32).max) ** 2, 8: math.inf}  # of what 4 and 8 bytes hold


def check_x(x: Any, n_in: int, dtype: np.dtype, name: str = "x", names: Names = NO_NAMES) -> Any:
    """Return x as an array, or `SparseRows`, of (n_samples, n_in) finite numbers, without a copy if it is one already.

    A frame must have the columns that ``names`` lists. If its columns are not one array, it is copied column by column,
    to the network's dtype or a smaller one.
    """
    if is_plain(x) and x.ndim == 2 and x.shape[1] == n_in and len(x) > 0:  # nothing else to ask, which takes longer
        _check_finite(x, dtype, name)
        return x
    columns: Sequence[Any] | None = None
    if is_frame(x):
        names.check_columns(x, name)
        columns = named_columns(x)
        if len(columns) != n_in:
            hint = _columns_hint(x, name)
            raise ValueError(f"{name} has {len(columns)} features, the network takes {n_in}{hint}; {FRAMES}")
        x = _of_frame(x, dtype, name)
    if hasattr(x, "tocsr"):
        x = SparseRows.of(x, name)
    elif columns is None:
        x = _numeric(x, name)
    if x.ndim != 2:
        hint = ""
        if x.ndim == 1:
            hint = "; reshape it: x.reshape(-1, 1)" if n_in == 1 else f"; give all {n_in} columns (or is it y?)"
            hint = hint if n_in == 1 or len(x) != n_in else "; one sample is x.reshape(1, -1)"
        elif x.ndim > 2:
            hint = f"; flatten the samples: {name}.reshape(len({name}), -1)"
        raise ValueError(f"{name} must be two-dimensional, (n_samples, {n_in}), got shape {x.shape}{hint}; {DATA}")
    if x.shape[1] != n_in:
        hint = f'; give the first layer {{"n": {x.shape[1]}}}, or other columns'
        if x.shape[0] == n_in:
            hint = f"; samples are rows: give {name}.T"
        raise ValueError(f"{name} has {x.shape[1]} features, the network takes {n_in}{hint}")
    if len(x) == 0:
        raise ValueError(f"{name} is empty: it has no samples")
    if isinstance(x, SparseRows):
        _check_finite(_numeric(x.data, f"{name}.data")[:, None], dtype, f"{name}.data")
    else:
        _check_finite(x, dtype, name, columns)
    return x


def check_direction(v: Any, shape: tuple[int, ...], dtype: np.dtype, name: str) -> np.ndarray:
    """v as a contiguous array of that shape and dtype, of finite numbers."""
    array = v if is_plain(v) else _numeric(v, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    _check_finite(array.reshape(len(array), -1), dtype, name)
    return np.ascontiguousarray(array, dtype)


def check_lazy(optimizer: Optimizer, x: Any) -> None:
    """Refuse a lazy optimiser for a checked x that is not sparse."""
    if optimizer.lazy and not isinstance(x, SparseRows):
        raise ValueError(
            f"optimizer is {optimizer}, whose lazy steps are for sparse x, got a dense one; "
            "give lazy=False, or x as scipy.sparse.csr_array(x)"
        )


def check_y(
    y: Any,
    spec: Spec,
    n_samples: int,
    dtype: np.dtype,
    name: str = "y",
    names: Names = NO_NAMES,
    *,
    may_be_missing: bool = False,
) -> np.ndarray:
    """Return y as int64 class indices (n_samples,) or as numbers (n_samples, n_out), if it suits the spec's output.

    A target that has several outputs stands once for each of them. Labels of classes become the indices of those that
    ``names`` lists. Numbers and labels of several outputs ``may_be_missing``: NaN stands for what was not measured.
    """
    may_be_missing = may_be_missing and not spec.one_of_many
    if not is_plain(y):
        y = only_column(y)
        labels = labels_of(y, spec)
        if labels is not None:
            y = indices_of(labels, names.labels, spec, name)
        elif is_frame(y):
            y = _of_frame(y, dtype, name, may_be_missing)
        y = _native(_numeric(y, name, text=_of_labels(spec)), dtype)
    n_out = spec.n_out
    if y.ndim == 0 or len(y) != n_samples:
        rows = "a single number" if y.ndim == 0 else f"{len(y)} rows"
        raise ValueError(f"{name} has {rows}, x has {n_samples} samples")
    if y.ndim == 1 and spec.one_of_many and n_out > 1:
        return _check_classes(y, n_out, name)
    if y.ndim == 1 and spec.n_targets == 1:
        y = y[:, None]
    if y.shape != (n_samples, spec.n_targets):
        shapes = f"({n_samples}, {spec.n_targets})"
        if spec.one_of_many:
            shapes += f" or class indices ({n_samples},)"
        elif spec.n_targets == 1:
            shapes += f" or ({n_samples},)"
        raise ValueError(f"{name} must have shape {shapes}, got {y.shape}{_shape_hint(y, spec, name)}; {TARGETS}")
    _check_finite(y, dtype, name, may_be_missing=may_be_missing)
    if spec.loss.classification:
        _check_probabilities(y, spec, name)
    lowest = spec.loss.lowest_target
    if lowest > -math.inf and np.fmin.reduce(y, axis=None) < lowest:
        row, column = np.argwhere(y < lowest)[0]
        raise ValueError(
            f"{name} must be at least {lowest:g} for {spec.loss.name}, {name}[{row}, {column}] is {y[row, column]}"
        )
    if n_out > spec.n_targets:
        return spec.loss.for_outputs(y)
    return y.copy() if y.strides[1] == 0 and n_out > 1 else y


def _of_labels(spec: Spec) -> str:
    """The remedy for a y with labels and a network without classes for them."""
    if spec.multilabel:
        return "; of several labels give a column of 0 and 1 for each"
    return f"; labels are for classes: give the last layer a softmax, or one sigmoid; {TARGETS}"


def _shape_hint(y: np.ndarray, spec: Spec, name: str) -> str:
    """The remedy for a y of another shape."""
    if y.ndim == 2 and y.shape[1] == 1 and spec.one_of_many:
        return f"; give {name}.ravel()"
    if y.T.shape == (len(y), spec.n_targets):
        return f"; samples are rows: give {name}.T"
    if y.ndim == 2 and y.shape[1]:
        return f'; for {y.shape[1]} columns give the last layer {{"n": {y.shape[1] * spec.n_out // spec.n_targets}}}'
    if y.ndim == 1 and y.dtype.kind in "iu":
        return '; for class indices give the last layer {"act": "softmax"}'
    return ""


def plain_targets(y: Any, spec: Spec, n_samples: int) -> np.ndarray | None:
    """Return the targets of a few samples, class indices (n_samples,) or numbers (n_samples, n_out), if a quick look
    shows that they are right; else None, and `check_y` must decide. Numbers that are not finite pass if they make the
    loss not finite, too."""
    if not is_plain(y):
        return None
    n_out, shape = spec.n_out, y.shape
    choice = spec.one_of_many and n_out > 1
    if shape == (n_samples,):
        if choice:
            low, high = _bounds(y)
            return y if y.dtype.kind != "f" and low >= 0 and high < n_out else None
        y, shape = y[:, None], (n_samples, 1)
    if shape != (n_samples, n_out) or spec.n_targets != n_out:
        return None
    if spec.loss.any_target:
        return y
    low, high = _bounds(y)
    if spec.loss.classification:
        right = low >= 0 and high <= 1
    else:
        right = low >= spec.loss.lowest_target and -math.inf < low and high < math.inf
    if right and choice:
        right = np.abs(y.sum(axis=1, dtype=np.float64) - 1).max() <= 1e-3
    return y if right else None


def _bounds(numbers: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest of some numbers; NaN if one of them is NaN."""
    if numbers.size > 8:
        return numbers.min(), numbers.max()
    few = numbers.ravel().tolist()  # which is sooner read by Python
    return (min(few), max(few)) if sum(few) == sum(few) else (math.nan, math.nan)


def check_samples(
    x: Any,
    y: Any,
    spec: Spec,
    dtype: np.dtype,
    sample_weight: Any = None,
    class_weight: Any = None,
    name: str = "",
    names: Names = NO_NAMES,
    output_weight: Sequence[float] | None = None,
    *,
    of_many: bool = False,
    collocated: bool = False,
) -> Samples:
    """Check x, y and their weights together. ``name`` comes before "x" and "y" in messages: "validation ".

    y is copied, so that training sees what was checked, whatever callbacks and other threads do to the user's.
    ``output_weight`` is as `check_output_weight` returns it. Of some ``of_many`` none need count; ``collocated`` ones
    do where no output was measured, too.
    """
    x = check_x(x, spec.n_in, dtype, f"{name}x", names)
    y = check_y(y, spec, len(x), dtype, f"{name}y", names, may_be_missing=True).copy()
    missing = _missing(y)
    weights = _weights_of(
        sample_weight, class_weight, y, spec, f"{name}sample_weight", names, None if collocated else missing, of_many
    )
    partly = missing is not None and (collocated or bool((missing.any(axis=1) & ~missing.all(axis=1)).any()))
    if output_weight is None and not partly:
        return Samples(x, y, weights)
    return Samples(x, y, weights, np.ones(spec.n_out) if output_weight is None else np.array(output_weight))


def check_output_weight(output_weight: Any, spec: Spec, dtype: np.dtype) -> tuple[float, ...] | None:
    """How much each output counts in the loss, n_out numbers; None where all count 1."""
    if output_weight is None:
        return None
    if spec.one_of_many:
        raise ValueError(
            "output_weight is for outputs that are numbers, or labels of their own; this network's are classes of "
            "which one is right: give class_weight"
        )
    numbers = _numeric(only_column(output_weight), "output_weight")
    of_targets = spec.loss.gaussian  # a mean and the logarithm of a variance each
    n, of = (spec.n_targets, "a target") if of_targets else (spec.n_out, "an output")
    if numbers.shape != (n,):
        raise ValueError(f"output_weight must have shape ({n},), one number {of}, got {numbers.shape}")
    weights = np.tile(np.array(numbers, np.float64), 2 if of_targets else 1)
    bad = ~((weights >= 0) & (weights <= float(np.finfo(dtype).max)))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"output_weight must be finite and at least 0, output_weight[{first}] is {weights[first]}")
    if not weights.any():
        raise ValueError("output_weight is zero for all outputs, so that nothing is left to learn")
    return None if np.all(weights == 1) else tuple(weights.tolist())


def _missing(y: np.ndarray) -> np.ndarray | None:
    """Which numbers of checked y were not measured, bool (n_samples, n_out); None where all were."""
    if y.dtype.kind != "f" or _are_few_finite(y, y.dtype):
        return None
    missing = np.isnan(y)
    return missing if missing.any() else None


def check_slopes(dydx: Any, dydx_weight: Any, x: Any, spec: Spec, dtype: np.dtype) -> Slopes | None:
    """Target derivatives as an array (n_samples, n_out, n_in) of numbers or NaN, not copied where it is one, with the
    samples' weights, for a checked x; None where none are given."""
    if dydx is None:
        if getattr(dydx_weight, "ndim", 0) or dydx_weight != 1.0:
            raise ValueError("dydx_weight is given, but no dydx: give the derivatives that it weighs")
        return None
    if isinstance(x, SparseRows):
        raise ValueError("dydx needs derivatives by every input, and x is sparse; give x as a dense array: x.toarray()")
    array = _native(_numeric(dydx, "dydx"), dtype)
    shape = len(x), spec.n_out, spec.n_in
    if array.shape != shape and (array.ndim > 2 or _long_axes(array.shape) != _long_axes(shape)):
        hint = "; give dydx.transpose(0, 2, 1)" if array.shape == (shape[0], shape[2], shape[1]) else ""
        raise ValueError(f"dydx must have shape {shape}, (n_samples, n_out, n_in), got {array.shape}{hint}")
    array = array.reshape(shape)
    _check_finite(array, dtype, "dydx", may_be_missing=True, of_infinity="; NaN says that one is not known")
    return Slopes(array, _slope_weights(dydx_weight, len(x)))


def check_residual(residual: Residual | None, weight: Any, x: Any, y: np.ndarray, spec: Spec) -> Residuals | None:
    """The residual with a weight for each sample, of one number for those that have no y, for checked x and y; a
    ValueError where its derivatives are not those of its value. None where none is given."""
    if residual is None:
        if getattr(weight, "ndim", 0) or weight != 1.0:
            raise ValueError("residual_weight is given, but no residual: give the residual that it weighs")
        return None
    if isinstance(x, SparseRows):
        raise ValueError("a residual needs derivatives by every input, and x is sparse; give x.toarray()")
    if _is_one_a_sample(weight):
        weights = _checked_weights(weight, len(x), "residual_weight")
    else:
        missing = _missing(y)
        if missing is None or not missing.all(axis=1).any():
            raise ValueError(
                "residual: there are no collocation points, samples whose y is NaN; append rows to x, and as many of "
                "NaN to y, or give residual_weight as one number a sample"
            )
        weights = np.where(missing.all(axis=1), check_number(weight, "residual_weight", 0.0), 0.0)
    rows = np.flatnonzero(weights)
    residual.check(np.array(x[rows[:: max(1, len(rows) // 4)][:4]], np.float64), spec.n_out)
    return Residuals(residual, weights)


def _is_one_a_sample(weight: Any) -> bool:
    """Whether a weight is several numbers, not one that holds for all samples."""
    return isinstance(weight, (list, tuple)) or np.ndim(weight) > 0


def _long_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the axes of length 1 but the first."""
    return *shape[:1], *(n for n in shape[1:] if n > 1)


def _slope_weights(dydx_weight: Any, n: int) -> np.ndarray:
    """Each sample's weight of its derivatives, (n_samples,) float64; of one number, without any memory for each."""
    if not _is_one_a_sample(dydx_weight):
        return np.broadcast_to(np.float64(check_number(dydx_weight, "dydx_weight", 0.0)), n)
    return _checked_weights(dydx_weight, n, "dydx_weight")


def counted_rows(samples: Samples) -> np.ndarray:
    """The indices of the samples whose weight is not 0, int64, ascending."""
    return np.arange(len(samples.x)) if samples.weights is None else np.flatnonzero(samples.weights)


def check_weights(
    sample_weight: Any,
    class_weight: Any,
    y: np.ndarray,
    spec: Spec,
    name: str = "sample_weight",
    names: Names = NO_NAMES,
) -> np.ndarray | None:
    """The weight of each sample, (n_samples,) float64, for checked y: 0 where no output was measured. None where all
    count alike: neither argument is given."""
    return _weights_of(sample_weight, class_weight, y, spec, name, names, _missing(y))


def _weights_of(
    sample_weight: Any,
    class_weight: Any,
    y: np.ndarray,
    spec: Spec,
    name: str,
    names: Names,
    missing: np.ndarray | None,
    of_many: bool = False,
) -> np.ndarray | None:
    """Do `check_weights` where the numbers of y that were ``missing`` are known. Of some ``of_many`` samples none need
    count."""
    unmeasured = None if missing is None else missing.all(axis=1)
    some_lack = unmeasured is not None and bool(unmeasured.any())
    if sample_weight is None and class_weight is None and not some_lack:
        return None
    n = len(y)
    weights = np.ones(n)
    if sample_weight is not None:
        weights = _checked_weights(sample_weight, n, name)
    if not (weights.any() or of_many):
        raise ValueError(f"{name}: the weights of all samples are zero, so that none is left")
    if some_lack:
        weights[unmeasured] = 0.0
        if not (weights.any() or of_many):
            of = name.removesuffix("sample_weight")
            raise ValueError(f"{of}y is NaN, not measured, in all samples that count, so that none is left")
    if class_weight is not None:
        weights *= _class_weights(class_weight, y, spec, weights, names)
        if not weights.any():
            raise ValueError("class_weight: the weights of all samples are zero, so that none is left")
    with np.errstate(over="ignore"):
        if not np.isfinite(weights.sum()):
            raise ValueError(f"{name} is too large: its sum is infinite")
    return weights


def _checked_weights(given: Any, n: int, name: str) -> np.ndarray:
    """A copy of one number a sample, finite and at least 0, as float64."""
    numbers = _numeric(only_column(given), name)
    if numbers.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one number a sample, got {numbers.shape}")
    weights = np.array(numbers, np.float64)
    bad = ~((weights >= 0) & np.isfinite(weights))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"{name} must be finite and at least 0, {name}[{first}] is {weights[first]}")
    return weights


def class_indices(y: np.ndarray, spec: Spec) -> np.ndarray | None:
    """The class of each sample, (n_samples,), the likeliest if y has probabilities; None if the outputs are not classes
    but numbers or several labels."""
    if spec.multilabel and spec.n_out == 1:
        return (y[:, 0] > 0.5).astype(np.int64)
    if spec.one_of_many:
        return y if y.ndim == 1 else np.argmax(y, axis=1)
    return None


def balanced_weights(classes: np.ndarray, sample_weight: np.ndarray) -> np.ndarray:
    """Each sample's weight under "balanced": Σ w / (n_classes · Σ w of its class), so that weight 2 is two samples.

    scikit-learn's compute_class_weight does the same from version 1.9 on. Classes without weight do not count.
    """
    counts = np.bincount(classes, sample_weight)
    return sample_weight.sum() / (np.count_nonzero(counts) * np.where(counts > 0, counts, 1.0))[classes]


def _class_weights(class_weight: Any, y: np.ndarray, spec: Spec, sample_weight: np.ndarray, names: Names) -> np.ndarray:
    """Each sample's weight, (n_samples,): its own times that of its class."""
    classes, n_classes = class_indices(y, spec), max(2, spec.n_out)
    if classes is None:
        raise ValueError("class_weight needs classes; this network's outputs are labels or numbers")
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced' or a dict, got {class_weight!r}")
        return balanced_weights(classes, sample_weight)
    if not hasattr(class_weight, "items"):
        raise TypeError(f"class_weight must be 'balanced' or a dict, got {type(class_weight).__name__}")
    weights = np.ones(n_classes)
    for key, value in class_weight.items():
        place = class_place(key, names.labels, n_classes)
        if place is None:
            known = f"0 to {n_classes - 1}" if names.classes is None else ", ".join(map(repr, names.classes))
            raise ValueError(f"class_weight names class {key!r}; there are {known}")
        weights[place] = check_number(value, f"class_weight[{key!r}]", 0.0)
    return weights[classes]


def _columns_hint(frame: Any, name: str) -> str:
    """The remedy for a frame with too many columns."""
    names = list(map(repr, named_columns(frame)))
    if not names:
        return ""
    shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    return f"; its columns are {shown}: choose with {name}[[…]]"


def _of_frame(frame: Any, dtype: np.dtype, name: str, may_be_missing: bool = False) -> Any:
    """A frame's numbers, (n_samples, n_columns): its own array where it has one, else a copy by column; a matrix of
    SciPy's where all columns are sparse."""
    if hasattr(frame, "sparse") and all(type(kind).__name__ == "SparseDtype" for kind in frame.dtypes):
        try:
            return frame.sparse.to_coo()
        except ValueError:
            pass  # what is not stored is no zero: the columns are taken one by one
    try:
        array = np.asarray(frame, copy=False)  # an error where the columns do not stand in one array
    except (ValueError, TypeError, RuntimeError):
        array = np.empty(0, object)
    if array.dtype.kind in "fiub":
        return _numeric(array, name)
    columns = []
    for k, (label, column) in enumerate(columns_of(frame)):
        cells = _numeric(cells_of(column), name, f"column {label!r} of {name}")
        _check_finite(cells[:, None], dtype, name, [label], k, may_be_missing)
        columns.append(_native(cells, dtype) if cells.size else cells)
    kind = np.result_type(*columns) if columns else dtype
    result = np.empty(
        (len(columns[0]) if columns else 0, len(columns)), kind if kind.itemsize < dtype.itemsize else dtype
    )
    for k, cells in enumerate(columns):
        result[:, k] = cells
    return result


def _numeric(values: Any, name: str, where: str = "", text: str = "") -> np.ndarray:
    """Return the values as an array of numbers, not copied where possible; bool becomes uint8, objects float64.

    Messages name ``where`` instead of ``name``, with remedies for a column; ``text`` is a remedy for text.
    """
    who = where or name
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} is sparse ({type(values).__name__}); give a dense array: {name}.toarray()")
    if hasattr(values, "collect") and hasattr(values, "lazy"):
        raise TypeError(f"{name} is a lazy frame; give its rows: {name}.collect()")
    if isinstance(values, (str, os.PathLike)):
        raise TypeError(f"{name} must be numbers, not a file's name; fastmlp.tables.fit(path, target) reads tables")
    if hasattr(values, "__next__"):
        raise TypeError(f"{name} must be numbers, not what yields them one by one; give list({name})")
    try:
        array = cells_of(values)
    except (ValueError, RuntimeError) as error:  # RuntimeError: PyTorch's, of tensors with gradients
        raise ValueError(f"{name} is not a regular array: {error}") from None
    if array.dtype.kind == "O" and array.size and array.dtype.hasobject:
        array = _numbers(array, who, bool(where), text)
    if array.dtype.kind not in "fiub":
        remedy = _REMEDIES.get(array.dtype.kind, "") if where or array.dtype.kind in "mM" else ""
        remedy = text if text and array.dtype.kind in "UT" else remedy
        raise TypeError(f"{who} must be numeric, got dtype {array.dtype}{remedy}")
    if "numpy.ma" in sys.modules and np.ma.isMaskedArray(values):  # else there is no masked array
        raise TypeError(f"{name} is a masked array; fill it first: {name}.filled(...)")
    return array.view(np.uint8) if array.dtype.kind == "b" else array


_TEXT = "; encode it, by pandas.get_dummies(x) for example, or leave it out; fastmlp.tables.fit takes text as it is"
_REMEDIES = {  # of what columns hold that is no number
    "U": f"{_TEXT}; {TABLES}",
    "T": f"{_TEXT}; {TABLES}",
    "M": "; make numbers of the dates, (t - t.min()) / numpy.timedelta64(1, 'D') for example, or leave them out",
    "m": "; make numbers of the durations: t / numpy.timedelta64(1, 's')",
}


def _numbers(objects: np.ndarray, who: str, is_column: bool, text: str) -> np.ndarray:
    """Python objects as float64; a TypeError for the first that is no number."""
    for place, value in enumerate(objects.flat):
        if isinstance(value, (Real, Decimal, np.bool_)):
            continue
        if is_column and is_missing(value):
            raise ValueError(f"{who} has no number in row {place}, it is {value!r}; {_FILL}; {TABLES}")
        at = f"row {place}" if objects.ndim == 1 else str(tuple(map(int, np.unravel_index(place, objects.shape))))
        remedy = text if isinstance(value, str) else ""
        if is_column:
            dates = type(value).__name__ in ("date", "datetime", "Timestamp")
            remedy = "; make numbers of it, or leave it out"
            if dates or isinstance(value, str):
                remedy = _REMEDIES["M"] if dates else _NUMBERS if _is_number(value) else _REMEDIES["U"]
        raise TypeError(f"{who} must be numeric, got dtype object, {at} holds {value!r}{remedy}")
    return objects.astype(np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_NUMBERS = "; make numbers of the text: x.astype(float)"
_FILL = "fill it, x.fillna(x.median()) for example, or leave out such rows; fastmlp.tables.fit fills what is missing"
_FILL_ARRAY = (
    "fill it, numpy.nan_to_num(x) for example, or leave out such rows, of x and y; "
    "fastmlp.tables.fit fills what is missing"
)


def _native(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers in a usual dtype: float16, longdouble and foreign byte orders become the network's dtype."""
    if array.dtype.isnative and array.dtype.char in "bBhHiIlLqQfd":
        return array
    return array.astype(dtype if array.dtype.kind == "f" else array.dtype.newbyteorder("="))


def _check_finite(
    array: np.ndarray,
    dtype: np.dtype,
    name: str,
    columns: Sequence[Any] | None = None,
    first: int = 0,
    may_be_missing: bool = False,
    of_infinity: str = "",
) -> None:
    """Refuse NaN, unless numbers ``may_be_missing``, infinity, and what the network's dtype cannot hold, in an array of
    two axes or more. The columns, counted from ``first``, may have names; ``of_infinity`` is its remedy."""
    if array.dtype.kind != "f":
        return
    if _are_few_finite(array, dtype):
        return
    limit = np.finfo(dtype).max
    n_rows = max(1, _TOGETHER // max(1, array[:1].size))
    for start in range(0, len(array), n_rows):
        values = array[start : start + n_rows]
        if array.dtype == dtype:  # one pass instead of two; where the sum overflows, the second look decides
            with np.errstate(over="ignore", invalid="ignore"):
                total = np.add.reduce(values, axis=None)
            if np.isfinite(total):
                continue
        if np.min(values) >= -limit and np.max(values) <= limit:
            continue
        bad = np.abs(values) > limit if may_be_missing else ~(np.abs(values) <= limit)
        if not bad.any():
            continue
        row, column, *others = place = tuple(map(int, np.argwhere(bad)[0]))
        value = values[place]
        trouble = f"{value}, which {dtype} cannot hold" if np.isfinite(value) else str(value)
        label = "" if columns is None else f" (column {columns[column]!r})"
        remedy = f"; {_FILL_ARRAY if columns is None else _FILL}; {TABLES}" if np.isnan(value) else of_infinity
        index = ", ".join(map(str, (start + row, first + column, *others)))
        raise ValueError(f"{name} must be finite, {name}[{index}]{label} is {trouble}{remedy}")


def _are_few_finite(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether these are few floats which, as their squares' sum tells, a network of that dtype can hold; else nothing
    is known of them."""
    return array.size <= _FEW and float(np.vdot(array, array)) < _LARGEST_SQUARES[dtype.itemsize]


def _check_classes(y: np.ndarray, n_out: int, name: str) -> np.ndarray:
    """Return class indices (n_samples,) as contiguous int64, if they are whole numbers from 0 to n_out - 1."""
    if y.dtype.kind == "f":
        bad = ~(y == np.floor(y)) | np.isinf(y)
        if bad.any():
            first = int(np.argmax(bad))
            remedy = '; for numbers give the last layer {"n": 1, "act": "linear"}'
            remedy = "; leave out rows without a class, of x too" if np.isnan(y[first]) else remedy
            raise ValueError(f"{name} must hold class indices, {name}[{first}] is {y[first]}{remedy}; {TARGETS}")
    classes = np.ascontiguousarray(y, dtype=np.int64)
    largest = classes.view(np.uint64).argmax()  # negative numbers count as large
    if not 0 <= classes[largest] < n_out:
        first = int(np.argmax((y < 0) | (y >= n_out)))
        hint = f"{_labels_hint(y.min(), y.max(), n_out, name)}; {TARGETS}"
        raise ValueError(f"{name} must hold class indices 0 to {n_out - 1}, {name}[{first}] is {y[first]}{hint}")
    return classes


def _labels_hint(low: float, high: float, n_classes: int, name: str) -> str:
    """The remedy for a y of whole numbers that are not class indices."""
    if low == 1 and high == n_classes:
        return f"; classes count from 0: give {name} - 1"
    return f"; if these numbers are labels, give {name}.astype(str)"


def _check_probabilities(y: np.ndarray, spec: Spec, name: str) -> None:
    """Refuse y (n_samples, n_out) outside 0 to 1, and rows that do not sum to 1 where one class of many is right."""
    low, high = np.fmin.reduce(y, axis=None), np.fmax.reduce(y, axis=None)  # which pass over NaN
    if low < 0 or high > 1:
        row, column = np.argwhere((y < 0) | (y > 1))[0]
        are_whole = spec.n_out == 1 and bool((y == np.floor(y)).all())
        hint = _labels_hint(low, high, 2, name) if are_whole else ""
        raise ValueError(
            f"{name} must lie between 0 and 1 for {spec.loss.name}, {name}[{row}, {column}] is {y[row, column]}{hint}"
        )
    if spec.one_of_many and spec.n_out > 1:
        sums = y.sum(axis=1, dtype=np.float64)
        bad = np.abs(sums - 1) > 1e-3
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{name} must have rows that sum to 1 for {spec.loss.name}, row {row} sums to {sums[row]:g}"
            )
