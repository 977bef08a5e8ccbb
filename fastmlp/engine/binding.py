"""A spec and a vector of parameters bound to their kernels: every array and function as an address."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..base.sparse import SparseRows
from ..kernels import catalog, store
from ..kernels.catalog import Variant
from ..kernels.layout import DATA, LINEAR, Place, aligned, padded
from ..losses import Loss
from ..optimizers import Optimizer
from ..residuals import Residual
from ..spec import Affine, Spec
from .blocks import taken_by_row, wide_block
from .call import KernelCall
from .memory import Functions, Parameters, Workspace, address, fields, free_params, record_of, word_places, words
from .slopes import Residuals, Slopes, slope_units

__all__ = [
    "Binding", "DataView", "address_of", "fused_output", "loss_flags", "pin", "prepare_kernels", "prepare_variants",
    "reader_of", "vectors_of",
]  # fmt: skip

_AT = word_places(DATA)


class DataView(NamedTuple):
    """x, y, the weights of samples and of outputs, and the input's shift and scale as kernels see them.

    It holds the arrays, because the record has only addresses. ``words`` is the memory of a DATA record. While ``pins``
    live, nobody can resize the arrays that own the memory of x, y, weights and slopes.

    ``block`` is how many samples of a batch are taken together. Each has ``tangents`` rows of derivatives more, whose
    units, or whose residual's function, are ``of_slopes``.
    """

    words: np.ndarray
    x: np.ndarray | SparseRows
    y: np.ndarray | None
    weights: np.ndarray | None
    output_weights: np.ndarray | None
    slopes: Slopes | Residuals | None
    affine: tuple[np.ndarray, np.ndarray] | None
    of_slopes: Any
    pins: list[ref[np.ndarray]]
    block: int
    tangents: int

    def rows(self, samples: int) -> int:
        """How many rows the matrices of a workspace need for so many samples: with derivatives, and what these should
        be."""
        return samples * (1 + 2 * self.tangents)


class Binding:
    """The kernels of one spec, bound to a vector of parameters.

    Attributes
    ----------
    spec : Spec
    params : ndarray, (n_params,)
    params_at : int
        Their address.
    block : int
        The number of samples of a batch that are taken together.
    real : str
        The parameters' dtype by name.
    form : tuple
        Equal for networks whose workspaces and parameters look the same to kernels.
    affine : pair of ndarray, (n_in,), or None
        The input's shift and scale; kernels may read a cache line beyond them.
    free : slice or ndarray
        The indices of the parameters of layers that are not frozen.
    target_affine : pair of ndarray, (n_out,), or None
        Converts targets to the network's units: (y - shift) · scale.
    """

    def __init__(self, spec: Spec, places: Sequence[Place], params: np.ndarray) -> None:
        self.spec, self.params = spec, params
        self._places, self._dtype = places, params.dtype
        self.block = wide_block(params.size, params.itemsize)
        self.real = "float32" if params.itemsize == 4 else "float64"  # which NumPy takes microseconds to say
        self.params_at = address(params)
        self.free = free_params(places, params.size)
        self._private: list[Any] = []  # kernels of users' functions, which must outlive their addresses
        self._higher: dict[int, tuple[int, ...]] = {}
        scaled = any((spec.input_affine, spec.target_affine, spec.output_affine))
        if spec.builtin and not scaled:
            found = _found(spec, self.real, str([layer.act.slope for layer in spec.layers]))
        else:
            found = _find(spec, self.real, self._keep)
        self._functions, self._loss, self.affine, self.target_affine, self._output_affine = found
        self.form = tuple(places), self._functions, self.real

    def view(
        self,
        x: np.ndarray | SparseRows,
        y: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        slopes: Slopes | Residuals | None = None,
        *,
        output_weights: np.ndarray | None = None,
        by_row: bool = False,
        curved: bool = False,
    ) -> DataView:
        """Describe checked x and y (model/data.py), contiguous float64 weights and slopes to the kernels. Nothing is
        copied but output_weights (n_out,), without which all outputs count alike and y has no NaN.

        With ``by_row`` the rows of a sparse x are taken one by one, however many values they have. Where it is
        ``curved`` the loss has its second derivative, or the ValueError that it has none.
        """
        data = self._loss.copy()
        arrays = self._describe_x(data, x, by_row)
        if y is not None:
            self._describe_y(data, y)
            arrays.append(y)
        if weights is not None:
            data[_AT["weights"]] = address(weights)
            arrays.append(weights)
        if curved:
            data[_AT["loss_curvature"]] = self._loss_curvature
        if output_weights is not None:
            output_weights = output_weights.astype(self._dtype)
            data[_AT["output_weights"]] = output_weights.ctypes.data
        block, tangents, of_slopes = self.block, 0, None
        if slopes is not None:
            record = record_of(data, DATA)
            tangents = slopes.tangents(self.spec)
            block = max(1, block // (1 + tangents))
            record["tangents"] = tangents
            record["slope_deltas"] = _address(catalog.slope_deltas, slopes.kernel, self.real)
            record["slope_weights"], (record["slope_weights_row"],) = slopes.weights.ctypes.data, slopes.weights.strides
            arrays.append(slopes.weights)
            if isinstance(slopes, Residuals):
                of_slopes = self._residual(slopes.residual)
                record["residual"] = address_of(of_slopes.function)
            else:
                of_slopes = self._units_of_slopes
                self._describe_slopes(record, slopes)
                arrays.append(slopes.dydx)
        pins = list(map(pin, arrays))
        return DataView(data, x, y, weights, output_weights, slopes, self.affine, of_slopes, pins, block, tangents)

    def _describe_x(self, data: np.ndarray, x: np.ndarray | SparseRows, by_row: bool) -> list[np.ndarray]:
        """Write the fields of a DATA record that begin with ``x``, and return the arrays that they point to; a
        ValueError if sparse rows would be shifted."""
        if self.affine is not None:
            data[_AT["x_shift"]], data[_AT["x_scale"]] = map(address, self.affine)
        if not isinstance(x, SparseRows):
            data[_AT["x"]], (data[_AT["x_row"]], data[_AT["x_column"]]) = address(x), x.strides
            data[_AT["x_reader"]] = _dense_reader_at(x.dtype, self.real)
            data[_AT["x_ready"]] = self.affine is None and self._takes_as_it_is(x)
            return [x]
        if self.spec.shift is not None and any(self.spec.shift):
            raise ValueError("x is sparse, but this network shifts its inputs, which leaves no zeros; use scale only")
        parts = [x.data, x.indptr, x.indices]
        data[_AT["x"]], data[_AT["x_row"]], data[_AT["x_column"]] = map(address, parts)
        data[_AT["x_sparse"]], data[_AT["x_values"]] = True, min(len(x.data), len(x.indices))
        data[_AT["x_reader"]] = _address(catalog.load, reader_of(x, self.real))
        data[_AT["x_by_row"]] = by_row or taken_by_row(x)
        return parts

    def _takes_as_it_is(self, numbers: np.ndarray) -> bool:
        """Whether these are numbers of the network's dtype, one after the other."""
        flags = numbers.flags
        return flags.c_contiguous and flags.aligned and numbers.dtype == self._dtype

    def _describe_y(self, data: np.ndarray, y: np.ndarray) -> None:
        data[_AT["y"]], data[_AT["y_classes"]] = address(y), y.ndim == 1
        if y.ndim == 2:
            data[_AT["y_row"]], data[_AT["y_column"]] = y.strides
            data[_AT["y_reader"]] = _dense_reader_at(y.dtype, self.real)
            data[_AT["y_ready"]] = self.target_affine is None and self._takes_as_it_is(y)

    def _describe_slopes(self, record: np.ndarray, slopes: Slopes) -> None:
        """Write the fields of a DATA record for the derivatives that are trained: by as few rows a sample as make them
        all, one for each output, or for each input where these are fewer."""
        of_sample, of_output, of_input = slopes.dydx.strides
        along, across = (of_input, of_output) if self.spec.n_in < self.spec.n_out else (of_output, of_input)
        record["slopes"], record["slopes_row"] = slopes.dydx.ctypes.data, of_sample
        record["slopes_tangent"], record["slopes_column"] = along, across
        record["slopes_reader"] = _dense_reader_at(slopes.dydx.dtype, self.real)
        if self._units_of_slopes is not None:
            zeros, scales = self._units_of_slopes
            record["slopes_shift"], record["slopes_scale"] = zeros.ctypes.data, scales.ctypes.data
            record["slopes_scale_row"] = scales.strides[0]

    @cached_property
    def _units_of_slopes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """`slope_units` as readers take them: zeros, and a row of factors for each row of a sample."""
        factors = slope_units(self.spec)
        if factors is None:
            return None
        factors = factors.T if self.spec.n_in < self.spec.n_out else factors
        n, width = len(factors), padded(factors.shape[1], self._dtype.itemsize)
        scales = aligned(n * width, self._dtype).reshape(n, width)
        scales[:, : factors.shape[1]] = factors
        return aligned(width, self._dtype), scales

    def parameters(self, vectors: Sequence[np.ndarray] = (), copied: bool = False) -> Parameters:
        """Describe the parameters, their gradient, and an optimiser's vectors of state to the kernels."""
        return Parameters(self._places, self.params, vectors, copied)

    def workspace(
        self, block: int, parameters: Parameters, leader: Workspace | None = None, curved: int = 0
    ) -> Workspace:
        """Make the memory that one running kernel needs for ``block`` samples, which it shares with a leader's; with
        ``curved`` of the activations' derivatives beside the first, or the ValueError that one has none."""
        workspace = Workspace(self._places, block, parameters, self._dtype, self._functions, leader)
        for order, field in enumerate(("curvature", "third_derivative")[:curved], 2):
            workspace.layers[field] = self._derivatives(order)
        return workspace

    def run(self, workspace: Workspace, kernel: str, view: DataView, call: KernelCall, start: int, count: int) -> None:
        """Run a kernel over ``call.order[start:start + count]``."""
        workspace.take(view.words, call.words_for(start, count), call.step)
        _network(kernel, self.real)(self.params_at, workspace.address, address(call.numbers))

    def run_epochs(
        self, workspace: Workspace, kernel: str, view: DataView, call: KernelCall, finite: np.ndarray
    ) -> int:
        """Run a training kernel once for each of the call's epochs, each of which takes an equal share of
        ``call.order``. Returns how many epochs stayed finite; ``finite`` gets the parameters of the last of them."""
        epochs = len(call.numbers)
        workspace.take(view.words, call.words_for(0, len(call.order) // epochs), call.step)
        addresses = self.params_at, workspace.address, address(call.numbers), address(finite)
        return int(_run_epochs(self.real)(*addresses, _address(catalog.network, kernel, self.real), epochs))

    def step(self, optimizer: Optimizer) -> tuple[int, int]:
        """The addresses of the functions that prepare and make an optimiser's step."""
        step = _address(catalog.step, optimizer.name, optimizer.states, self.real)
        return _address(catalog.prepare, optimizer.name), step

    def dropout(self) -> int:
        """The address of the function that leaves out units of a hidden layer."""
        return _address(catalog.dropout, self.real)

    def _derivatives(self, order: int) -> tuple[int, ...]:
        """The address of what each layer's derivative of that order, 2 or 3, is computed by, or 0 where that is 0."""
        if order not in self._higher:
            self._higher[order] = tuple(self._derivative(layer.act, order) for layer in self.spec.layers)
        return self._higher[order]

    def _derivative(self, activation: Activation, order: int) -> int:
        formula = activation.formula(order)
        if activation.vanishes(order):
            return 0
        if not activation.elementwise:
            return _address(catalog.softmax_tangent, self.real)
        if activation.builtin:
            return _address(catalog.higher_derivative, order, activation.name, self.real)
        return self._keep(_private().higher_derivative(formula, self.real))

    @cached_property
    def _loss_curvature(self) -> int:
        """The address of what the loss's second derivative is computed by."""
        loss, formula = self.spec.loss, self.spec.loss.required_second_derivative
        if loss.builtin:
            return _address(catalog.loss_curvature, loss.name, fused_output(self.spec), self.real)
        return self._keep(_private().loss_curvature(formula, self.real))

    def _residual(self, residual: Residual) -> Any:
        return _private().residual(*residual.bounded, self.real, self.spec.n_in, self.spec.n_out)

    def _keep(self, private: Any) -> int:
        self._private.append(private)
        return address_of(private.function)

    def complaints(self, residual: Residual | None = None) -> list[str]:
        """What users' functions raised in kernels, whose value was NaN there, since this was last asked."""
        kernels = self._private if residual is None else [*self._private, self._residual(residual)]
        return [text for kernel in kernels for note in kernel.notes if (text := note.complaint())]


class _Found(NamedTuple):
    """What networks of one spec and dtype have in common: functions' addresses, the words of a DATA record without
    samples, and the vectors that these point to."""

    functions: Functions
    data: np.ndarray
    affine: tuple[np.ndarray, np.ndarray] | None
    target_affine: tuple[np.ndarray, np.ndarray] | None
    output_affine: tuple[np.ndarray, np.ndarray] | None


def _find(spec: Spec, real: str, keep: Callable[[Any], int]) -> _Found:
    """Find a spec's kernels, or compile them. ``keep`` takes those of users' functions and returns their addresses."""
    prepare_kernels(spec, real)
    functions = Functions(
        tuple(_activation(layer.act, real, keep) for layer in spec.layers),
        tuple(layer.act.slope or 0.0 for layer in spec.layers),
        tuple(0 if layer.act.elementwise else _address(catalog.softmax_backward, real) for layer in spec.layers),
        _linear_fields(real),
    )
    data = np.zeros((), DATA)
    data["loss"] = _loss_rows(spec.loss, fused_output(spec), real, keep)
    for name, holds in loss_flags(spec).items():
        data[name] = holds
    data["out_linear"] = spec.layers[-1].act == ACTIVATIONS["linear"]
    affine, target_affine, output_affine = (
        vectors_of(affine, np.dtype(real)) for affine in (spec.input_affine, spec.target_affine, spec.output_affine)
    )
    for name, vectors in (("y", target_affine), ("out", output_affine)):
        if vectors is not None:
            data[f"{name}_shift"], data[f"{name}_scale"] = map(address, vectors)
    return _Found(functions, words(data), affine, target_affine, output_affine)


@lru_cache(maxsize=64)
def _found(spec: Spec, real: str, slopes: str) -> _Found:
    """`_find` for specs without users' functions, shift and scale, which all their networks share. The text of their
    slopes keeps those apart that differ in a zero's sign: to Python, such specs are equal."""
    return _find(spec, real, address_of)


def _activation(activation: Activation, real: str, keep: Callable[[Any], int]) -> int:
    if activation.builtin:
        return _address(catalog.activation, activation.name, real)
    return keep(_private().activation(activation.function, activation.derivative_function, real))


def _loss_rows(loss: Loss, output: str, real: str, keep: Callable[[Any], int]) -> int:
    if loss.builtin:
        return _address(catalog.loss, loss.name, output, real)
    return keep(_private().loss(loss.function, loss.derivative, real))


def reader_of(array: np.ndarray | SparseRows, real: str) -> Variant:
    """The kernel that reads the rows of x, or of y (n_samples, n_out)."""
    if isinstance(array, SparseRows):
        return Variant("sparse_reader", f"{_source_of(array.data.dtype)}.{array.indices.dtype.name}", real)
    return _dense_reader(array.dtype, real)


@cache
def _dense_reader(dtype: np.dtype, real: str) -> Variant:
    """The reader of a dtype; kept, because NumPy takes microseconds to make a dtype's name."""
    return Variant("reader", _source_of(dtype), real)


@cache
def _dense_reader_at(dtype: np.dtype, real: str) -> int:
    """The address of that."""
    return _address(catalog.load, _dense_reader(dtype, real))


def _source_of(dtype: np.dtype) -> str:
    """The name of a dtype in kernels/foreign.py."""
    return dtype.name if dtype.isnative else f"swapped_{dtype.name}"


def prepare_kernels(spec: Spec, real: str, *more: Variant) -> None:
    """Do `prepare_variants` for a spec's kernels and these."""
    names = tuple(layer.act.name for layer in spec.layers if layer.act.builtin)
    loss = f"{spec.loss.name}.{fused_output(spec)}" if spec.loss.builtin else None
    _prepare(names, all(layer.act.elementwise for layer in spec.layers), loss, real, more)


@cache
def _prepare(
    activations: tuple[str, ...], elementwise: bool, loss: str | None, real: str, more: tuple[Variant, ...]
) -> None:
    """Do this once for each kind of network, because it takes longer than to make a network."""
    variants = [*more, *(Variant(name, "", real) for name in catalog.LINEAR)]
    variants += [Variant("activation", name, real) for name in activations]
    if not elementwise:
        variants.append(Variant("softmax_backward", "", real))
    if loss is not None:
        variants.append(Variant("loss", loss, real))
    prepare_variants(variants)


def prepare_variants(variants: Sequence[Variant]) -> None:
    """Compile those of these kernels that have to be compiled, at the same time."""
    if not all(map(catalog.is_ready, variants)):
        from ..kernels.workers import prepare

        prepare(variants)


def fused_output(spec: Spec) -> str:
    """The output's activation if it is computed together with the loss, else ''."""
    output = spec.layers[-1].act
    return output.name if output.builtin and output.name in spec.loss.fused else ""


def loss_flags(spec: Spec) -> dict[str, bool]:
    """What kernels must know about a spec's loss and its right answers, by the names of a record's fields."""
    output = bool(fused_output(spec))
    return {
        "fused": output,
        "loss_activates": output and not spec.layers[-1].act.elementwise,
        "score_classes": spec.one_of_many and not spec.multilabel,
        "score_labels": spec.multilabel,
    }


def _private() -> Any:
    """The module that compiles users' functions, which imports Numba."""
    with store.COMPILER.held():
        store.COMPILER.go_first()
        from ..kernels import private

    return private


def address_of(function: store.Function) -> int:
    """The address of a C function."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


_network, _run_epochs = cache(catalog.network), cache(catalog.run_epochs)


@cache
def _address(find: Callable[..., store.Function], *arguments: Any) -> int:
    """The address of the kernel that a function of the catalog finds."""
    return address_of(find(*arguments))


def pin(array: np.ndarray) -> ref[np.ndarray]:
    """A weak reference to the array that owns an array's memory, which NumPy then does not resize."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return ref(array)


@cache
def _linear_fields(real: str) -> tuple[float, ...]:
    """The fields of the LINEAR record for reals of that dtype."""
    return fields(LINEAR, **{name: address_of(catalog.linear(name, real)) for name in catalog.LINEAR})


def vectors_of(affine: Affine | None, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
    """A shift and a scale of a `Spec` as kernels read them: of that dtype, with a cache line of room at the end."""
    if affine is None:
        return None
    shift, scale = (aligned(len(vector), dtype) for vector in affine)
    shift[:], scale[:] = affine
    return shift, scale
