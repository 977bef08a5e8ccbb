"""Loading: from a file to the model or ensemble that was saved in it."""

from __future__ import annotations

import os

from ..base.text import refusal
from . import files
from .ensemble import Ensemble
from .mlp import MLP, restored

__all__ = ["load", "load_model"]


def load(path: str | os.PathLike[str]) -> MLP | Ensemble:
    """Read what `MLP.save` or `Ensemble.save` wrote, of this version of fastmlp or an older one.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    MLP or Ensemble
        The model that was saved, bit for bit, with ``class_names`` and ``metadata``.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        For a file that is damaged or of another kind; the message names the file and the fault. Nothing in a file is
        executed, and no memory is allocated for what it only claims to have.
    ImportError
        When safetensors is missing: ``pip install 'fastmlp[files]'``.

    Examples
    --------
    >>> import fastmlp, tempfile
    >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": "tanh"}, {"n": 1, "act": "linear"}], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/net.safetensors")
    ...     again = fastmlp.load(f"{folder}/net.safetensors")
    >>> again == model
    True
    """
    contents = files.read(path)
    if isinstance(contents, files.Contents):
        return restored(contents)
    try:
        return Ensemble(map(restored, contents))
    except ValueError as error:
        raise refusal(path, error) from None


def load_model(path: str | os.PathLike[str]) -> MLP:
    """Read the file of a single model; a ValueError for an ensemble's, else as `load`."""
    model = load(path)
    if isinstance(model, Ensemble):
        raise refusal(path, "is an ensemble, not a model")
    return model
