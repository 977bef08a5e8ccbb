"""Networks with kernels for exactly their shape."""

from __future__ import annotations

from ..spec import Spec
from .mlp import MLP, check_model

__all__ = ["specialize"]

# Larger networks compile longer, and their weights leave the L1 cache: then blocks of samples are faster.
_MOST_INPUTS, _MOST_UNITS, _MOST_LAYERS, _MOST_BYTES = 64, 128, 8, 1 << 15


def specialize(model: MLP) -> MLP:
    """Copy a small network, and give the copy kernels for exactly its shape: plain per-sample SGD, and gradients.

    The special kernels are used by `fastmlp.train` and `MLP.partial_fit` (of several samples) with ``batch_size=1`` and
    plain SGD, on dense x, without momentum, penalties, clipping and dropout; and by `MLP.gradient` of up to 1,024
    samples in plain arrays, without frozen layers and ``output_weight``. All other calls use the same kernels as any
    network. The special kernels run on one thread, whatever ``n_threads`` says. They add in another order, and so round
    differently; with them the same seed gives the same bits again.

    The first network of a shape (its widths, activations, biases, loss and dtype) is compiled by Numba, which takes
    some seconds, and up to a minute for eight different layers. The kernels are kept in the user's cache, for all
    processes. docs/how-to/speed.md has the time of several networks beside that of the general kernels.

    Parameters
    ----------
    model : MLP
        With up to 64 inputs, eight layers of up to 128 units, 32 KiB of parameters (8,192 in float32), and activations
        and a loss of fastmlp's own. It stays as it is.

    Returns
    -------
    MLP
        A network of its own, with the same parameters, names and metadata, whose ``specialized`` is true. Its copies
        and pickles are specialized too; a file that it saves has the plain network: `specialize` what
        `fastmlp.load` returns.

    Raises
    ------
    TypeError
        For anything but an MLP.
    ValueError
        For a network that is too large, or has an activation or loss of your own.
    ImportError
        A kernel has to be compiled, and Numba is missing: ``pip install numba``.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> model = fastmlp.specialize(fastmlp.MLP(spec, seed=0))
    >>> model
    <fastmlp.MLP 2 → 8 tanh → 1 sigmoid, bce, 33 float32 parameters, specialized>
    >>> x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), [0, 1, 1, 0]
    >>> model, history = fastmlp.train(x, y, model, lr=0.5, epochs=2000, seed=0)
    >>> model.predict_class(x).tolist()
    [0, 1, 1, 0]
    """
    check_model(model)
    _check_size(model.spec, model.params.nbytes)
    special = model.copy()
    special._specialize()
    special._load_shaped()
    return special


def _check_size(spec: Spec, size: int) -> None:
    """Raise ValueError for a network that has no kernel of its own; ``size`` is that of its parameters in bytes."""
    for what, count, most in (
        ("inputs", spec.n_in, _MOST_INPUTS),
        ("layers", len(spec.layers), _MOST_LAYERS),
        ("units in a layer", max(layer.n for layer in spec.layers), _MOST_UNITS),
        ("bytes of parameters", size, _MOST_BYTES),
    ):
        if count > most:
            raise ValueError(
                f"model has {count:,} {what}; specialize takes up to {most:,}: larger networks are fast without it"
            )
    for layer in spec.layers:
        if not layer.act.builtin:
            raise ValueError(
                f"model has the activation {layer.act.name!r}, a function of yours; specialize takes fastmlp's own"
            )
    if not spec.loss.builtin:
        raise ValueError(f"model has the loss {spec.loss.name!r}, a function of yours; specialize takes fastmlp's own")
