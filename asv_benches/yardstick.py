"""The trainings and calls of `python -m fastmlp bench`, of this checkout, on whatever commit of fastmlp is installed.

What peers do must not change from commit to commit, and is written in `fastmlp/cli/bench` already. Its files are loaded
from there into a package of their own, where what they import of fastmlp is the installed commit's, as far as it goes.
"""

from __future__ import annotations

import importlib
import sys
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import fastmlp

BENCH = Path(__file__).resolve().parent.parent / "fastmlp" / "cli" / "bench"
PLAIN_SGD = object()  # before there were others


def train(x: Any, y: Any, model: Any, **options: Any) -> Any:
    """`fastmlp.train`, without the options that say what a commit from before them does anyway."""
    known = signature(fastmlp.train).parameters
    if options.get("n_threads") == 1 and "n_threads" not in known:
        del options["n_threads"]
    if options.get("optimizer") is PLAIN_SGD:
        del options["optimizer"]
    return fastmlp.train(x, y, model, **options)


def train_many(*args: Any, **options: Any) -> Any:
    return fastmlp.train_many(*args, **options)


def predict_many(*args: Any, **options: Any) -> Any:
    return fastmlp.predict_many(*args, **options)


def load_mnist() -> Any:
    return importlib.import_module("fastmlp.datasets").load_mnist()


def sgd(momentum: float = 0.0) -> Any:
    """SGD; before there were optimisers, what stands for the plain one, or None, which `fastmlp.train` refuses."""
    if hasattr(fastmlp, "optimizers"):
        return fastmlp.optimizers.SGD(momentum=momentum)
    return None if momentum else PLAIN_SGD


def adam() -> Any:
    return fastmlp.optimizers.Adam() if hasattr(fastmlp, "optimizers") else None


def to_onnx(model: Any, path: Path) -> None:
    importlib.import_module("fastmlp.interop").to_onnx(model, path)


def to_torch(model: Any) -> Any:
    return importlib.import_module("fastmlp.interop").to_torch(model)


def enter(name: str, **content: Any) -> ModuleType:
    """Make a module of the package that stands for fastmlp."""
    module = ModuleType(name)
    module.__path__ = []
    module.__dict__.update(content)
    sys.modules[name] = module
    return module


def load(name: str) -> Any:
    """A module of `fastmlp/cli/bench`."""
    if "yardstick" not in sys.modules:
        for package in ("yardstick", "yardstick.cli", "yardstick.model"):
            enter(package)
        enter("yardstick.cli.bench").__path__ = [str(BENCH)]
        enter("yardstick.datasets", load_mnist=load_mnist)
        enter("yardstick.interop", to_onnx=to_onnx, to_torch=to_torch)
        enter("yardstick.model.mlp", MLP=fastmlp.MLP)
        enter("yardstick.model.training", train=train)
        enter("yardstick.model.many", train_many=train_many)
        enter("yardstick.model.populations", predict_many=predict_many)
        enter("yardstick.optimizers", SGD=sgd, Adam=adam, Optimizer=object)
    return importlib.import_module(f"yardstick.cli.bench.{name}")
