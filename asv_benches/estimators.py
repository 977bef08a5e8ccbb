"""How much sooner is fastmlp.sklearn's classifier done than scikit-learn's? The same work, to the same numbers."""

from __future__ import annotations

import importlib
import time
import warnings
from typing import Any

import numpy as np

from .networks import microseconds_a_call, short

ROUNDS = 3


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits as they come, float64; or the first 10,000 of MNIST, float32."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return x / 16, y
    from fastmlp.datasets import load_mnist

    try:
        (x, y), _ = load_mnist()
    except ConnectionError as error:
        raise NotImplementedError from error
    return (x[:10_000] / 255).astype("float32"), y[:10_000]


def both_modules() -> list[Any]:
    """Scikit-learn's module of networks, and ours."""
    try:
        return [importlib.import_module(module) for module in ("sklearn.neural_network", "fastmlp.sklearn")]
    except ImportError as error:
        raise NotImplementedError from error


def seconds(estimator: Any, x: np.ndarray, y: np.ndarray) -> float:
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        estimator.fit(x, y)
    return time.process_time() - begin


class Estimators:
    """`MLPClassifier`, 100 hidden units, by data, solver and batch ("auto" is 200); one thread for both."""

    pretty_name = "scikit-learn's fit: our MLPClassifier's time as a share of theirs"
    params = (["MNIST", "digits"], ["sgd", "adam"], ["auto", 1])
    param_names = ("data", "solver", "batch")
    timeout = 300

    def setup(self, name: str, solver: str, batch: Any) -> None:
        modules = both_modules()
        self.x, self.y = data(name)
        if batch == 1:
            self.x, self.y = self.x[:1500], self.y[:1500]
        options = {"solver": solver, "batch_size": batch, "random_state": 0, "max_iter": 10 if name == "digits" else 3}
        options["max_iter"] = 2 if batch == 1 else options["max_iter"]
        self.estimators = [module.MLPClassifier(**options) for module in modules]
        seconds(self.estimators[1], self.x, self.y)  # kernels are loaded

    def track_share_of_scikit_learn(self, name: str, solver: str, batch: Any) -> float:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            rounds = [[seconds(e, self.x, self.y) for e in self.estimators] for _ in range(ROUNDS)]
        theirs, ours = np.min(rounds, axis=0)
        return short(ours / theirs)

    track_share_of_scikit_learn.unit = "of their time"


class OneByOne:
    """`partial_fit` of one sample, 20 inputs, 32 hidden units, two classes; one thread for both."""

    pretty_name = "scikit-learn's partial_fit of one sample: our time as a share of theirs"
    params = ["sgd", "adam"]  # noqa: RUF012
    param_names = ("solver",)

    def setup(self, solver: str) -> None:
        modules = both_modules()
        self.x, self.y = np.random.default_rng(0).normal(size=(1, 20)), np.array([1])
        self.estimators = [
            module.MLPClassifier(hidden_layer_sizes=(32,), solver=solver, random_state=0) for module in modules
        ]
        for estimator in self.estimators:
            estimator.partial_fit(self.x, self.y, classes=[0, 1])

    def track_share_of_scikit_learn(self, solver: str) -> float:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            theirs, ours = (microseconds_a_call(lambda e=e: e.partial_fit(self.x, self.y)) for e in self.estimators)
        return short(ours / theirs)

    track_share_of_scikit_learn.unit = "of their time"


class FewAtATime(OneByOne):
    """`partial_fit` of a few samples, in the same way."""

    pretty_name = "scikit-learn's partial_fit of a few samples: our time as a share of theirs"
    params = (["sgd", "adam"], [8, 64])
    param_names = ("solver", "samples")

    def setup(self, solver: str, n: int) -> None:
        super().setup(solver)
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(n, 20)), rng.integers(0, 2, n)

    def track_share_of_scikit_learn(self, solver: str, n: int) -> float:
        return super().track_share_of_scikit_learn(solver)

    track_share_of_scikit_learn.unit = "of their time"


class Predictions:
    """`predict` of a fitted classifier, 20 inputs, 100 hidden units, three classes; one thread for both."""

    pretty_name = "scikit-learn's predict: our MLPClassifier's time as a share of theirs"
    params = [1, 10, 100]  # noqa: RUF012
    param_names = ("rows",)

    def setup(self, rows: int) -> None:
        rng, modules = np.random.default_rng(0), both_modules()
        x, y = rng.normal(size=(300, 20)), rng.integers(0, 3, 300)
        self.x, self.estimators = (
            x[:rows],
            [module.MLPClassifier(max_iter=3, random_state=0) for module in modules],
        )
        for estimator in self.estimators:
            seconds(estimator, x, y)

    def track_share_of_scikit_learn(self, rows: int) -> float:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            theirs, ours = (microseconds_a_call(lambda e=e: e.predict(self.x)) for e in self.estimators)
        return short(ours / theirs)

    track_share_of_scikit_learn.unit = "of their time"
