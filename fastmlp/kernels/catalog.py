"""The one list of kernels: the file of each, and its arguments.

Importing this does not import Numba: a kernel that an earlier process compiled is loaded from its object file
(store.py). A signature (signature.py) is compared with its function when that is compiled, and with every call from
another kernel (decorators.call_kernel).
"""

from __future__ import annotations

from typing import NamedTuple

from . import store

__all__ = [
    "KERNELS",
    "LANES",
    "LINEAR",
    "NETWORK",
    "Variant",
    "activation",
    "draws",
    "dropout",
    "higher_derivative",
    "is_ready",
    "lane_loss",
    "lane_softmax",
    "lane_step",
    "lanes",
    "linear",
    "load",
    "loss",
    "loss_curvature",
    "network",
    "orders",
    "predict_networks",
    "prepare",
    "run_epochs",
    "run_networks",
    "slope_deltas",
    "softmax_backward",
    "softmax_tangent",
    "step",
    "streams",
]


class Kernel(NamedTuple):
    """The file of a family of kernels, and their arguments; all return a float64."""

    file: str
    signature: str


_OF_NETWORK = "params job numbers"
_BACKWARD = "delta scaled w w_row x dx vectors"
KERNELS = {
    # What Python calls; params, job and numbers are addresses (layout.py).
    "forward": Kernel("outputs", _OF_NETWORK),
    "jacobian": Kernel("jacobians", _OF_NETWORK),
    "normal_equations": Kernel("least_squares", _OF_NETWORK),
    "jvp": Kernel("tangents", _OF_NETWORK),
    "vjp": Kernel("tangents", _OF_NETWORK),
    "hvp": Kernel("tangents", _OF_NETWORK),
    "input_hessians": Kernel("tangents", _OF_NETWORK),
    "samples": Kernel("samples", _OF_NETWORK),
    "samples_with_memory": Kernel("samples", _OF_NETWORK),
    "batches": Kernel("batches", _OF_NETWORK),
    "samples_of_shape": Kernel("shaped", _OF_NETWORK),
    "gradient_of_shape": Kernel("shaped_gradient", _OF_NETWORK),
    "run_epochs": Kernel("many_epochs", "params job numbers finite kernel epochs"),
    "run_networks": Kernel(
        "populations", "params job numbers kernel first networks ends base params_row x_row y_row result_row"
    ),
    "predict_networks": Kernel("populations", "params job first networks ends base params_row x_row"),
    "streams": Kernel("random", "words width lengths count second streams"),
    "orders": Kernel("random", "streams count rows row_stride n epochs orders stride"),
    "draws": Kernel("random", "streams count draws n_draws params stride ziggurat fused certain"),
    "lanes": Kernel("lanes", "job"),
    # What those call, by addresses in the job.
    "product": Kernel(
        "linear", "a a_row a_step b b_row b_index start start_row c c_row c_index rows vectors depth room"
    ),
    "inner_products": Kernel("linear", "a a_row w w_row start c c_row rows n_rows vectors"),
    "weighted_rows": Kernel("linear", "count x x_index w w_row w_index start z vectors"),
    "backward_and_update": Kernel("linear", f"n_out {_BACKWARD}"),
    "backward_and_update_by_inputs": Kernel("linear", f"count index n_in {_BACKWARD}"),
    "list_nonzero_columns": Kernel("linear", "x x_row rows n index"),
    "reader": Kernel("readers", "data row_stride column_stride index:I rows following n shift scale out out_row"),
    "sparse_reader": Kernel("readers", "data indptr indices n_values n order:I rows scale out out_row index slots"),
    "activation": Kernel("activations", "z:T a:T d rows n stride slope:d"),
    "higher_derivative": Kernel("activations", "z:T rows n stride slope:d"),
    "softmax_backward": Kernel("activations", "a delta rows n stride"),
    "softmax_tangent": Kernel("activations", "a moved da delta rows n stride"),
    "loss": Kernel("losses", "z:T a:T y:T delta:T weights rows n stride"),
    "loss_curvature": Kernel("losses", "a:T y:T weights rows n stride"),
    "slope_deltas": Kernel("slopes", "job start rows n_columns"),
    "residual_deltas": Kernel("residuals", "job start rows n_columns"),
    "residual": Kernel("residuals", "x:T a:T delta:T weights:D samples n_in n_out columns stride shift scale"),
    "prepare": Kernel("steps", "numbers:D options constants:D lr:d"),
    "step": Kernel("steps", "w x g states:I rows n for_weights options numbers:D factor:d"),
    "lane_softmax": Kernel("lanes", "z a n scratch"),
    "lane_softmax_backward": Kernel("lanes", "a delta n scratch"),
    "lane_loss": Kernel("lanes", "z a y delta losses n scratch"),
    "lane_step": Kernel("lanes", "w gradient states rows penalised penalties numbers factor:d scratch"),
    "dropout": Kernel("dropout", "a:T d whole rows stride key row row_step kept:d"),
}
SHAPED = tuple(name for name in KERNELS if name.endswith("_of_shape"))  # one a shape of network
NETWORK = tuple(name for name, kernel in KERNELS.items() if kernel.signature == _OF_NETWORK and name not in SHAPED)
LANES = "lanes", "lane_softmax", "lane_softmax_backward"
LINEAR = tuple(name for name, kernel in KERNELS.items() if kernel.file == "linear")


class Variant(NamedTuple):
    """One kernel of a family: which of its activations, losses, readers, … (or "" if there is only one)."""

    family: str
    variant: str
    dtype: str

    @property
    def name(self) -> str:
        """Its name for the family's ``build``."""
        return f"{self.family}.{self.variant}" if self.variant else self.family

    @property
    def symbol(self) -> str:
        """Its name in object files and libraries."""
        return store.symbol_of(KERNELS[self.family].file, self.name, self.dtype)


def load(variant: Variant) -> store.Function:
    """That kernel, as a C function."""
    kernel = KERNELS[variant.family]
    return store.load(kernel.file, variant.name, kernel.signature, variant.dtype)


def is_ready(variant: Variant) -> bool:
    """Whether loading that kernel will not compile it."""
    return store.is_ready(KERNELS[variant.family].file, variant.name, variant.dtype)


def network(name: str, dtype: str) -> store.Function:
    """A kernel of `NETWORK`, which Python calls, or one of `SHAPED` with its shape behind a dot, for networks of that
    dtype."""
    family, _, shape = name.partition(".")
    return load(Variant(family, shape, dtype))


def run_epochs(dtype: str) -> store.Function:
    """The kernel that runs a training kernel several times (many_epochs.py)."""
    return load(Variant("run_epochs", "", dtype))


def run_networks(dtype: str) -> store.Function:
    """The kernel that runs another one for many vectors of parameters (populations.py)."""
    return load(Variant("run_networks", "", dtype))


def predict_networks(dtype: str) -> store.Function:
    """The kernel that predicts a block of samples by many networks (populations.py)."""
    return load(Variant("predict_networks", "", dtype))


def linear(name: str, dtype: str) -> store.Function:
    """A function of `LINEAR`."""
    return load(Variant(name, "", dtype))


def activation(name: str, dtype: str) -> store.Function:
    """The rows function of an entry of the registry of activations."""
    return load(Variant("activation", name, dtype))


def higher_derivative(order: int, name: str, dtype: str) -> store.Function:
    """What writes the derivative of that order, 2 or 3, of an entry of the registry of activations."""
    return load(Variant("higher_derivative", f"{order}.{name}", dtype))


def loss(name: str, output: str, dtype: str) -> store.Function:
    """The rows function of a loss; ``output`` is the activation it is fused with or ''."""
    return load(Variant("loss", f"{name}.{output}", dtype))


def loss_curvature(name: str, output: str, dtype: str) -> store.Function:
    """What writes the second derivative of a `loss`."""
    return load(Variant("loss_curvature", f"{name}.{output}", dtype))


def slope_deltas(family: str, dtype: str) -> store.Function:
    """The way back of blocks whose derivatives by the inputs are trained: "slope_deltas" (slopes.py) or
    "residual_deltas" (residuals.py)."""
    return load(Variant(family, "", dtype))


def prepare(optimizer: str) -> store.Function:
    """The function that makes the numbers of an optimiser's step, which are float64 for networks of any dtype."""
    return load(Variant("prepare", optimizer, "float64"))


def step(optimizer: str, states: int, dtype: str) -> store.Function:
    """The step of an optimiser of the registry, with that number of vectors of state."""
    return load(Variant("step", f"{optimizer}.{states}", dtype))


def dropout(dtype: str) -> store.Function:
    """The function that leaves out units of a hidden layer."""
    return load(Variant("dropout", "", dtype))


def streams() -> store.Function:
    """The kernel that begins streams of random numbers, which are the same for networks of any dtype."""
    return load(Variant("streams", "", "float64"))


def orders() -> store.Function:
    """The kernel that draws permutations from streams."""
    return load(Variant("orders", "", "float64"))


def draws(dtype: str) -> store.Function:
    """The kernel that draws initial parameters from streams."""
    return load(Variant("draws", "", dtype))


def lanes(dtype: str) -> store.Function:
    """The kernel that trains networks side by side (lanes.py)."""
    return load(Variant("lanes", "", dtype))


def lane_softmax(dtype: str) -> tuple[store.Function, store.Function]:
    """The softmax of networks side by side, and the way back through it."""
    return load(Variant("lane_softmax", "", dtype)), load(Variant("lane_softmax_backward", "", dtype))


def lane_loss(name: str, output: str, dtype: str) -> store.Function:
    """`loss` of networks side by side."""
    return load(Variant("lane_loss", f"{name}.{output}", dtype))


def lane_step(optimizer: str, states: int, dtype: str) -> store.Function:
    """`step` of networks side by side."""
    return load(Variant("lane_step", f"{optimizer}.{states}", dtype))


def softmax_backward(dtype: str) -> store.Function:
    """The way back through a softmax."""
    return load(Variant("softmax_backward", "", dtype))


def softmax_tangent(dtype: str) -> store.Function:
    """How the way back through a softmax changes."""
    return load(Variant("softmax_tangent", "", dtype))
