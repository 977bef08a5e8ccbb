"""The shape of a network as text, which names the kernels that were compiled for it (shaped.py)."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LayerShape", "Shape"]


class LayerShape(NamedTuple):
    """What is constant of a layer."""

    n: int
    activation: str
    has_biases: bool


class Shape(NamedTuple):
    """What is constant of a network; ``output`` is the activation that the loss is fused with, or "".

    Examples
    --------
    >>> from fastmlp.kernels.shape import LayerShape, Shape
    >>> layers = (LayerShape(16, "relu", False), LayerShape(2, "softmax", True))
    >>> text = str(Shape(4, layers, "cross_entropy", "softmax"))
    >>> text
    '4-16.relu.unbiased-2.softmax/cross_entropy.softmax'
    >>> Shape.of(text).layers == layers
    True
    """

    n_in: int
    layers: tuple[LayerShape, ...]
    loss: str
    output: str

    def __str__(self) -> str:
        layers = (f"{n}.{activation}{'' if has_biases else '.unbiased'}" for n, activation, has_biases in self.layers)
        return f"{'-'.join([str(self.n_in), *layers])}/{self.loss}.{self.output}"

    @classmethod
    def of(cls, text: str) -> Shape:
        """The shape that the text says."""
        widths, _, loss = text.partition("/")
        n_in, *layers = widths.split("-")
        parts = [layer.split(".") for layer in layers]
        name, _, output = loss.rpartition(".")
        return cls(int(n_in), tuple(LayerShape(int(n), act, not rest) for n, act, *rest in parts), name, output)
