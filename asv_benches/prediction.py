"""How long does a call take: predictions of 1 to 1,000 samples, a loss, its gradient, a Jacobian, a step?"""

from __future__ import annotations

import numpy as np

import fastmlp

from .networks import microseconds_a_call, network, require, samples, short, sparse_samples


class Prediction:
    """A call of predict."""

    pretty_name = "A prediction, µs a call"
    params = (["4-16-2", "30-100-2", "8-64-64-2", "784-128-10"], [1, 2, 10, 100, 1000])
    param_names = ("size", "rows")

    def setup(self, size: str, rows: int) -> None:
        self.x, _ = samples(size, rows)
        self.model = fastmlp.MLP(network(size), seed=0)
        self.model.predict(self.x)

    def track_microseconds(self, size: str, rows: int) -> float:
        return microseconds_a_call(lambda: self.model.predict(self.x))

    track_microseconds.unit = "µs a call"


class SparsePrediction:
    """A call of predict on CSR rows, 20000-100-10."""

    pretty_name = "A prediction of sparse rows, µs a call"
    params = ([0.01, 0.002], [1, 1000])
    param_names = ("density", "rows")

    def setup(self, density: float, rows: int) -> None:
        self.x, _ = sparse_samples("20000-100-10", rows, density)
        self.model = fastmlp.MLP(network("20000-100-10"), seed=0)
        self.model.predict(self.x)

    def track_microseconds(self, density: float, rows: int) -> float:
        return microseconds_a_call(lambda: self.model.predict(self.x))

    track_microseconds.unit = "µs a call"


class Gradient:
    """A call of gradient: 24-8-2 tanh, 200 samples, float64."""

    pretty_name = "A gradient of 24-8-2 tanh, 200 samples, float64, µs a call"

    def setup(self) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(200, 24)), rng.normal(size=(200, 2))
        self.model = fastmlp.MLP(network("24-8-2", "tanh", "linear"), seed=0, dtype="float64")
        self.model.gradient(self.x, self.y)

    def track_microseconds(self) -> float:
        return microseconds_a_call(lambda: self.model.gradient(self.x, self.y))

    track_microseconds.unit = "µs a call"


class SpecializedGradient(Gradient):
    """The same call, of the network with kernels for its shape."""

    pretty_name = "A gradient of 24-8-2 tanh, 200 samples, float64, specialized, µs a call"

    def setup(self) -> None:
        require("specialize")
        super().setup()
        self.model = fastmlp.specialize(self.model)
        self.model.gradient(self.x, self.y)


class PartialFit:
    """A call of partial_fit with one sample, mse of one linear output."""

    pretty_name = "A step with one sample, µs a call"
    params = (["2-16-1", "8-64-64-1", "784-128-1"], ["sgd", "adam"])
    param_names = ("size", "optimizer")

    def setup(self, size: str, optimizer: str) -> None:
        x, _ = samples(size, 1)
        self.x, self.y = x, np.full(1, 0.5, np.float32)
        self.model = fastmlp.MLP(network(size, output="linear"), seed=0)
        if not hasattr(self.model, "partial_fit"):
            raise NotImplementedError
        self.model.partial_fit(self.x, self.y, lr=1e-4, optimizer=optimizer)

    def track_microseconds(self, size: str, optimizer: str) -> float:
        return microseconds_a_call(lambda: self.model.partial_fit(self.x, self.y, lr=1e-4))

    track_microseconds.unit = "µs a call"


class ShortTraining:
    """A call of train beyond its kernel: 64 samples, 1 epoch, 4-64-64-2, of a model and of a spec.

    The kernel's time is that of one more epoch.
    """

    pretty_name = "A call of train beyond its kernel, µs"
    params = (["model", "spec"],)
    param_names = ("of",)

    def setup(self, of: str) -> None:
        self.x, self.y = samples("4-64-64-2", 64)
        self.network = network("4-64-64-2") if of == "spec" else fastmlp.MLP(network("4-64-64-2"), seed=0)
        self.train(1)

    def train(self, epochs: int) -> None:
        fastmlp.train(self.x, self.y, self.network, epochs=epochs, lr=1e-4, seed=0)

    def track_microseconds(self, of: str) -> float:
        one, eleven = (microseconds_a_call(lambda epochs=epochs: self.train(epochs)) for epochs in (1, 11))
        return short(one - (eleven - one) / 10)

    track_microseconds.unit = "µs a call"


class Evaluate:
    """A call of evaluate with ten samples and with a thousand."""

    pretty_name = "An evaluation, µs a call"
    params = (["4-16-2", "784-128-10"], [10, 1000])
    param_names = ("size", "rows")

    def setup(self, size: str, rows: int) -> None:
        self.x, self.y = samples(size, rows)
        self.model = fastmlp.MLP(network(size), seed=0)
        self.model.evaluate(self.x, self.y)

    def track_microseconds(self, size: str, rows: int) -> float:
        return microseconds_a_call(lambda: self.model.evaluate(self.x, self.y))

    track_microseconds.unit = "µs a call"


class Jacobian:
    """A call of jacobian: tanh, linear outputs."""

    pretty_name = "A Jacobian, µs a call"
    params = (["24-8-2 × 200", "8-64-64-2 × 100", "784-128-10 × 10"], ["inputs", "params"], ["float32", "float64"])
    param_names = ("size", "wrt", "dtype")

    def setup(self, size: str, wrt: str, dtype: str) -> None:
        widths, rows = size.split(" × ")
        self.model = fastmlp.MLP(network(widths, "tanh", "linear"), seed=0, dtype=dtype)
        n_in = int(widths.partition("-")[0])
        self.x = np.random.default_rng(0).normal(size=(int(rows), n_in)).astype(dtype)
        self.model.jacobian(self.x, wrt)

    def track_microseconds(self, size: str, wrt: str, dtype: str) -> float:
        return microseconds_a_call(lambda: self.model.jacobian(self.x, wrt))

    track_microseconds.unit = "µs a call"
