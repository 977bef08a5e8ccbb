"""The commonest mistakes of users of other libraries, each with what to write here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .suggest import did_you_mean

__all__ = ["OF_TRAINING", "attribute_error", "check_options"]

OF_TRAINING: Mapping[str, str] = {
    "activation": "the layers of the spec have it: {'n': 16, 'act': 'relu'}",
    "alpha": "l2",
    "batch": "batch_size",
    "class_weights": "class_weight",
    "criterion": "loss",
    "cost": "loss",
    "device": "n_threads=2, for everything runs on the CPU",
    "epoch": "epochs",
    "eta": "lr",
    "hidden_layer_sizes": "the spec has the layers: [{'n': n_in, 'act': None}, {'n': 16, 'act': 'relu'}, …]",
    "iterations": "epochs",
    "layers": "spec, the third argument",
    "learning_rate": "lr",
    "learning_rate_init": "lr",
    "loss_fn": "loss",
    "loss_function": "loss",
    "loss_weights": "output_weight",
    "max_iter": "epochs",
    "model": "spec, the third argument, takes a model too, whose training goes on",
    "momentum": "optimizer=fastmlp.optimizers.SGD(momentum=0.9)",
    "n_epochs": "epochs",
    "n_iter": "epochs",
    "nb_epoch": "epochs",
    "normalise": "standardize",
    "normalize": "standardize",
    "num_epochs": "epochs",
    "opt": "optimizer",
    "patience": "early_stopping=10, or fastmlp.EarlyStopping(patience=10)",
    "random_state": "seed",
    "sample_weights": "sample_weight",
    "scaler": "standardize",
    "solver": "optimizer",
    "step_size": "lr",
    "test_size": "validation_fraction",
    "threads": "n_threads",
    "tol": "fastmlp.EarlyStopping(min_delta=…)",
    "validation": "validation_data=(x, y)",
    "validation_split": "validation_fraction",
    "verbose": "progress",
    "weight_decay": "l2",
    "weights": "sample_weight",
}
"""Names that training's options have elsewhere, and what to write instead."""


def check_options(given: Iterable[str], known: Iterable[str], who: str, elsewhere: Mapping[str, str] = {}) -> None:
    """Raise a TypeError for the first option that is not known, which says what to write instead."""
    known = list(known)
    for name in given:
        if name not in known:
            remedy = elsewhere.get(name)
            value = "=…" if remedy in known else ""
            advice = did_you_mean(name, known) if remedy is None else f"; write {remedy}{value}"
            raise TypeError(f"{who} has no option {name!r}{advice}")


def attribute_error(owner: Any, name: str, remedies: Mapping[str, str]) -> AttributeError:
    """Make the error for a missing attribute, which says what to write if other libraries have it."""
    what = owner if isinstance(owner, str) else type(owner).__name__
    advice = f"; {remedies[name]}" if name in remedies else ""
    if not advice and not name.startswith("_"):
        advice = did_you_mean(name, (known for known in dir(type(owner)) if not known.startswith("_")), "")
    return AttributeError(f"{what!r} object has no attribute {name!r}{advice}")
