"""Every kernel that a network of built-in parts can need: what is compiled ahead of time."""

from __future__ import annotations

from collections.abc import Iterator

from ..activations import ACTIVATIONS
from ..losses import LOSSES
from ..optimizers import OPTIMIZERS, SGD
from .catalog import LANES, LINEAR, NETWORK, Variant

__all__ = ["built_in"]

_SOURCES = ("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


def built_in() -> Iterator[Variant]:
    """All families of the catalog for both dtypes, each in all variants of the registries."""
    for dtype in ("float32", "float64"):
        for family in (
            *NETWORK,
            "run_epochs",
            "run_networks",
            "predict_networks",
            "draws",
            *LINEAR,
            "dropout",
            "slope_deltas",
            "residual_deltas",
            "softmax_backward",
            "softmax_tangent",
            *LANES,
        ):
            yield Variant(family, "", dtype)
        for source in _SOURCES:
            yield Variant("reader", source, dtype)
        for data in ("float32", "float64"):
            for index in ("int32", "int64"):
                yield Variant("sparse_reader", f"{data}.{index}", dtype)
        for name, activation in ACTIVATIONS.items():
            yield Variant("activation", name, dtype)
            for order in (2, 3):
                if activation.elementwise and not activation.vanishes(order):
                    yield Variant("higher_derivative", f"{order}.{name}", dtype)
        for loss in LOSSES.values():
            for output in (*loss.fused, ""):
                for family in ("loss", "lane_loss", *(["loss_curvature"] if loss.second_derivative else [])):
                    yield Variant(family, f"{loss.name}.{output}", dtype)
        for optimizer in (*(kind() for kind in OPTIMIZERS.values() if kind.rule), SGD(momentum=0.9)):
            for family in ("step", "lane_step"):
                yield Variant(family, f"{optimizer.name}.{optimizer.states}", dtype)
    for family in ("streams", "orders"):
        yield Variant(family, "", "float64")
    for kind in OPTIMIZERS.values():
        if kind.rule:
            yield Variant("prepare", kind.name, "float64")
