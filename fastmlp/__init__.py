"""Small fully connected networks, trained fast on a CPU. The public names, and nothing else.

Every activation of the registry is here by its name: ``fastmlp.relu``.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import init, interop, optimizers, schedules
from .activations import ACTIVATIONS, Activation, get_activation
from .base.suggest import did_you_mean
from .base.version import __version__ as __version__
from .kernels.report import show_kernels
from .losses import LOSSES, Loss
from .model.callbacks import TrainingState
from .model.checkpoints import Checkpoint
from .model.ensemble import Ensemble
from .model.gradcheck import GradientCheck, check_gradients
from .model.history import DivergenceError, History
from .model.loading import load
from .model.many import train_many, train_many_iter
from .model.mlp import MLP
from .model.populations import evaluate_many, gradient_many, predict_many
from .model.specialized import specialize
from .model.stopping import EarlyStopping
from .model.trained import Trained, TrainedNetworks
from .model.training import TrainResult, train
from .residuals import Residual
from .spec import Spec

__all__ = [
    "ACTIVATIONS", "LOSSES", "MLP", "Activation", "Checkpoint", "DivergenceError", "EarlyStopping", "Ensemble",
    "GradientCheck", "History", "Loss", "Residual", "Spec", "TrainResult", "Trained", "TrainedNetworks",
    "TrainingState", "check_gradients", "evaluate_many", "gradient_many", "init", "interop", "load", "optimizers",
    "predict_many", "schedules", "show_kernels", "specialize", "train", "train_many", "train_many_iter",
]  # fmt: skip


_MODULES = (
    "activations", "dask", "datasets", "intervals", "losses", "metrics", "nn2", "plotting", "reference", "sklearn",
    "spec", "tables",
)  # fmt: skip
_ELSEWHERE = {
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), "fastmlp.sklearn.{}"),
    **dict.fromkeys(optimizers.__all__, "fastmlp.optimizers.{}"),
    **dict.fromkeys(schedules.__all__, "fastmlp.schedules.{}"),
    **dict.fromkeys(("to_onnx", "to_torch", "to_keras", "to_c", "from_torch", "from_keras"), "fastmlp.interop.{}"),
    **dict.fromkeys(("Sequential", "Model", "Network", "NeuralNetwork"), "fastmlp.MLP, or fastmlp.train with a spec"),
    **dict.fromkeys(("Dense", "Linear", "Layer"), "an entry of the spec: {{'n': 16, 'act': 'relu'}}"),
    **dict.fromkeys(("fit", "compile"), "fastmlp.train"),
    **dict.fromkeys(("read_csv", "read", "TableModel"), "fastmlp.tables"),
}  # what is looked for here, and where it is


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # imported when it is asked for
        return importlib.import_module(f"fastmlp.{name}")
    if name in _ELSEWHERE:
        place = _ELSEWHERE[name].format(name)
        raise AttributeError(f"module 'fastmlp' has no attribute {name!r}: it is {place}")
    if name.startswith("_"):
        raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
    try:
        return get_activation(name)
    except ValueError:
        advice = did_you_mean(name, [*__all__, *_MODULES, *ACTIVATIONS], "")
        raise AttributeError(f"module 'fastmlp' has no attribute {name!r}{advice}") from None


def __dir__() -> list[str]:
    return [*globals(), *ACTIVATIONS]
