"""Small fully connected networks, trained fast on a CPU. The public names, and nothing else.

Every activation of the registry is here by its name: ``fastmlp.relu``.
"""

from __future__ import annotations

from . import init, interop, optimizers, schedules
from .activations import ACTIVATIONS, Activation, get_activation
from .base.version import __version__ as __version__
from .kernels.report import show_kernels
from .losses import LOSSES, Loss
from .model.callbacks import TrainingState
from .model.checkpoints import Checkpoint
from .model.ensemble import Ensemble
from .model.gradcheck import GradientCheck, check_gradients
from .model.history import DivergenceError, History
from .model.loading import load
from .model.many import Trained, train_many
from .model.mlp import MLP, load
from .model.populations import evaluate_many, gradient_many, predict_many
from .model.mlp import MLP
from .model.stopping import EarlyStopping
from .model.training import TrainResult, train
from .spec import Spec

__all__ = [
    "ACTIVATIONS", "LOSSES", "MLP", "Activation", "Checkpoint", "DivergenceError", "EarlyStopping", "Ensemble",
    "GradientCheck", "History", "Loss", "Spec", "TrainResult", "Trained", "TrainingState", "check_gradients",
    "evaluate_many", "gradient_many", "init", "interop", "load", "optimizers", "predict_many", "schedules",
    "show_kernels", "train", "train_many",
]  # fmt: skip


def __getattr__(name: str) -> Activation:
    if name.startswith("_"):
        raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
    try:
        return get_activation(name)
    except ValueError as error:
        raise AttributeError(f"module 'fastmlp' has no attribute {name!r} ({error})") from None


def __dir__() -> list[str]:
    return [*globals(), *ACTIVATIONS]
