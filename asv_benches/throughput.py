"""How long does training take a sample? Kernels are compiled and loaded in setup."""

from __future__ import annotations

from time import perf_counter, process_time
from typing import Any

import numpy as np

import fastmlp

from .networks import SIZES, microseconds, network, require, require_option, samples, short, sparse_samples


class Training:
    """Microseconds a sample by size, batch and dtype."""

    pretty_name = "Training by size, batch and dtype, µs a sample"
    params = (SIZES, [1, 32], ["float32", "float64"])
    param_names = ("size", "batch", "dtype")

    def setup(self, size: str, batch: int, dtype: str) -> None:
        self.x, self.y = samples(size, 4000, dtype)
        self.model = fastmlp.MLP(network(size), seed=0, dtype=dtype)
        fastmlp.train(self.x[:64], self.y[:64], self.model, epochs=1, batch_size=batch)

    def track_microseconds(self, size: str, batch: int, dtype: str) -> float:
        return microseconds(self.x, self.y, self.model, batch_size=batch)

    track_microseconds.unit = "µs a sample"


class Specialized:
    """Microseconds a sample of batch 1 by size, with a kernel for that shape."""

    pretty_name = "Per-sample training of specialized networks, µs a sample"
    params = (["8-64-64-2", "24-8-2", "4-16-2"],)
    param_names = ("size",)

    def setup(self, size: str) -> None:
        require("specialize")
        self.x, self.y = samples(size, 4000)
        self.model = fastmlp.specialize(fastmlp.MLP(network(size), seed=0))
        fastmlp.train(self.x[:64], self.y[:64], self.model, epochs=1)

    def track_microseconds(self, size: str) -> float:
        return microseconds(self.x, self.y, self.model)

    track_microseconds.unit = "µs a sample"


class Optimizers:
    """Microseconds a sample of 784-128-10 by optimiser and batch."""

    pretty_name = "Training 784-128-10 by optimiser and batch, µs a sample"
    params = (["sgd", "momentum", "adam", "rmsprop"], [1, 32])
    param_names = ("optimizer", "batch")

    def setup(self, optimizer: str, batch: int) -> None:
        require("optimizers")
        self.x, self.y = samples("784-128-10", 4000)
        self.model = fastmlp.MLP(network("784-128-10"), seed=0)
        self.optimizer = fastmlp.optimizers.SGD(momentum=0.9) if optimizer == "momentum" else optimizer
        fastmlp.train(self.x[:64], self.y[:64], self.model, epochs=1, batch_size=batch, optimizer=self.optimizer)

    def track_microseconds(self, optimizer: str, batch: int) -> float:
        return microseconds(self.x, self.y, self.model, batch_size=batch, optimizer=self.optimizer)

    track_microseconds.unit = "µs a sample"


class Sparse:
    """Microseconds a sample of 20000-100-10 on CSR rows, by density, optimiser and batch."""

    pretty_name = "Training 20000-100-10 on sparse rows, µs a sample"
    params = ([0.01, 0.002], ["sgd", "momentum", "adam", "lazy adam"], [1, 32, 200])
    param_names = ("density", "optimizer", "batch")

    def setup(self, density: float, optimizer: str, batch: int) -> None:
        require("optimizers")
        n = 2000 if batch > 1 or optimizer == "sgd" else 100
        self.x, self.y = sparse_samples("20000-100-10", n, density)
        self.model = fastmlp.MLP(network("20000-100-10"), seed=0)
        self.optimizer = fastmlp.optimizers.SGD(momentum=0.9) if optimizer == "momentum" else optimizer
        if optimizer == "lazy adam":
            if not hasattr(fastmlp.optimizers.Adam(), "lazy"):
                raise NotImplementedError
            self.optimizer = fastmlp.optimizers.Adam(lazy=True)
        fastmlp.train(self.x, self.y, self.model, epochs=1, batch_size=batch, optimizer=self.optimizer)

    def track_microseconds(self, density: float, optimizer: str, batch: int) -> float:
        return microseconds(self.x, self.y, self.model, batch_size=batch, optimizer=self.optimizer)

    track_microseconds.unit = "µs a sample"


class OptimizersBySize:
    """Microseconds a sample of batch 1 by optimiser and size."""

    pretty_name = "Per-sample training by optimiser and size, µs a sample"
    params = (["sgd", "momentum", "adam"], ["64-100-10", "8-64-64-2", "784-512-512-10"])
    param_names = ("optimizer", "size")

    def setup(self, optimizer: str, size: str) -> None:
        require("optimizers")
        self.x, self.y = samples(size, 1000)
        self.model = fastmlp.MLP(network(size), seed=0)
        self.optimizer = fastmlp.optimizers.SGD(momentum=0.9) if optimizer == "momentum" else optimizer
        fastmlp.train(self.x[:64], self.y[:64], self.model, epochs=1, optimizer=self.optimizer)

    def track_microseconds(self, optimizer: str, size: str) -> float:
        return microseconds(self.x, self.y, self.model, optimizer=self.optimizer)

    track_microseconds.unit = "µs a sample"


class Wide:
    """Microseconds a sample of networks whose weights exceed the L2 cache, and of one with many outputs, by batch."""

    pretty_name = "Training wide networks in batches, µs a sample"
    params = (["784-512-512-10", "784-1024-1024-1024-10", "4096-1024-100", "100-128-1000"], [128, 512])
    param_names = ("size", "batch")

    def setup(self, size: str, batch: int) -> None:
        self.x, self.y = samples(size, 2048)
        self.model = fastmlp.MLP(network(size), seed=0)
        fastmlp.train(self.x[:batch], self.y[:batch], self.model, epochs=1, batch_size=batch)

    def track_microseconds(self, size: str, batch: int) -> float:
        return microseconds(self.x, self.y, self.model, batch_size=batch)

    track_microseconds.unit = "µs a sample"


class ThreadsOfSmallBatches:
    """Two threads' time as a share of one's, in batches that they share block by block."""

    pretty_name = "Two threads on small batches, as a share of one thread's time"
    params = (["784-128-10", "784-512-512-10"], [32, 64, 128])
    param_names = ("size", "batch")

    def setup(self, size: str, batch: int) -> None:
        require_option("n_threads")
        self.x, self.y = samples(size, 4096)
        self.model = fastmlp.MLP(network(size), seed=0)
        fastmlp.train(self.x, self.y, self.model, epochs=1, batch_size=batch, n_threads=2, lr=1e-3)

    def track_share_of_two_threads(self, size: str, batch: int) -> float:
        options = {"clock": perf_counter, "batch_size": batch}
        one, two = (microseconds(self.x, self.y, self.model, n_threads=n, **options) for n in (1, 2))
        return short(two / one)

    track_share_of_two_threads.unit = "of one thread's time"


class Threads:
    """Two threads' time as a share of one's, in batches of 256."""

    pretty_name = "Two threads on batches of 256, as a share of one thread's time"
    params = (SIZES,)
    param_names = ("size",)

    def setup(self, size: str) -> None:
        require_option("n_threads")
        self.x, self.y = samples(size, 20_480)
        self.model = fastmlp.MLP(network(size), seed=0)
        fastmlp.train(self.x, self.y, self.model, epochs=1, batch_size=256, n_threads=2, lr=1e-3)

    def track_share_of_two_threads(self, size: str) -> float:
        one, two = (microseconds(self.x, self.y, self.model, perf_counter, batch_size=256, n_threads=n) for n in (1, 2))
        return short(two / one)

    track_share_of_two_threads.unit = "of one thread's time"


class ThreadsBySample:
    """Two threads' time as a share of one's, sample by sample."""

    pretty_name = "Two threads sample by sample, as a share of one thread's time"
    params = (["784-128-10", "784-512-10", "768-1024-10"], ["sgd", "momentum"])
    param_names = ("size", "optimizer")

    def setup(self, size: str, optimizer: str) -> None:
        require_option("n_threads")
        require("optimizers")
        self.x, self.y = samples(size, 20_000)
        self.model = fastmlp.MLP(network(size), seed=0)
        self.optimizer = fastmlp.optimizers.SGD(momentum=0.9) if optimizer == "momentum" else optimizer
        fastmlp.train(self.x[:64], self.y[:64], self.model, epochs=1, optimizer=self.optimizer)

    def track_share_of_two_threads(self, size: str, optimizer: str) -> float:
        one, two = (
            microseconds(self.x, self.y, self.model, perf_counter, optimizer=self.optimizer, n_threads=n)
            for n in (1, 2)
        )
        return short(two / one)

    track_share_of_two_threads.unit = "of one thread's time"


class Slopes:
    """Microseconds a sample of training 2-32-32-1 on y and its derivatives by both inputs, by batch."""

    pretty_name = "Training 2-32-32-1 on derivatives too, µs a sample"
    params = ([1, 32, 256], ["sgd", "adam"])
    param_names = ("batch", "optimizer")

    def setup(self, batch: int, optimizer: str) -> None:
        require_option("dydx")
        x = np.random.default_rng(0).uniform(-1, 1, (4096, 2)).astype(np.float32)
        self.x, self.y = x, np.sin(2 * x[:, :1]) * x[:, 1:]
        self.dydx = np.stack([2 * np.cos(2 * x[:, 0]) * x[:, 1], np.sin(2 * x[:, 0])], axis=1)[:, None]
        self.model = fastmlp.MLP(network("2-32-32-1", "tanh", "linear"), seed=0)
        self.track_microseconds(batch, optimizer)

    def track_microseconds(self, batch: int, optimizer: str) -> float:
        return microseconds(self.x, self.y, self.model, dydx=self.dydx, batch_size=batch, optimizer=optimizer)

    track_microseconds.unit = "µs a sample"


class Residuals:
    """Microseconds a point of training 2-32-32-1 on Poisson's equation, by batch."""

    pretty_name = "Training 2-32-32-1 on Poisson's equation, µs a point"
    params = ([1, 32, 256], ["sgd", "adam"])
    param_names = ("batch", "optimizer")

    def setup(self, batch: int, optimizer: str) -> None:
        require_option("residual")
        import numba

        @numba.njit  # type: ignore[untyped-decorator]
        def r(x: Any, u: Any, du: Any, d2u: Any) -> Any:
            return d2u[0, 0, 0] + d2u[0, 1, 1] - x[0] * x[1]

        @numba.njit  # type: ignore[untyped-decorator]
        def dr(x: Any, u: Any, du: Any, d2u: Any, g_u: Any, g_du: Any, g_d2u: Any) -> None:
            g_d2u[0, 0, 0] = g_d2u[0, 1, 1] = 1.0

        self.residual = fastmlp.Residual(r, dr)
        self.x = np.random.default_rng(0).uniform(-1, 1, (4096, 2)).astype(np.float32)
        self.y = np.full((4096, 1), np.nan, np.float32)
        self.model = fastmlp.MLP(network("2-32-32-1", "tanh", "linear"), seed=0)
        self.track_microseconds(batch, optimizer)

    def track_microseconds(self, batch: int, optimizer: str) -> float:
        return microseconds(self.x, self.y, self.model, residual=self.residual, batch_size=batch, optimizer=optimizer)

    track_microseconds.unit = "µs a point"


class LeastSquares:
    """Milliseconds a step of Levenberg-Marquardt, on 500 samples in float64, by size."""

    pretty_name = "A step of Levenberg-Marquardt on 500 samples, ms"
    params = (["1-10-1", "4-20-3", "8-64-1"],)
    param_names = ("size",)

    def setup(self, size: str) -> None:
        if "lm" not in fastmlp.optimizers.OPTIMIZERS:
            raise NotImplementedError
        n_in, _, n_out = map(int, size.split("-"))
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(500, n_in)), rng.normal(size=(500, n_out))
        self.spec = network(size, "tanh", "linear")
        self.track_milliseconds(size)

    def track_milliseconds(self, size: str) -> float:
        begin = perf_counter()
        options = {"optimizer": "lm", "epochs": 30, "dtype": "float64", "seed": 0}
        _, history = fastmlp.train(self.x, self.y, self.spec, **options)
        return (perf_counter() - begin) / history.epochs * 1e3

    track_milliseconds.unit = "ms a step"


class HessianProducts:
    """Processor time of the Hessian times a vector, on 500 samples in float64, in gradients' time."""

    pretty_name = "The Hessian times a vector on 500 samples, in gradients' time"
    params = (["4-16-2", "8-64-64-2", "784-128-10"],)
    param_names = ("size",)

    def setup(self, size: str) -> None:
        if not hasattr(fastmlp.MLP, "hvp"):
            raise NotImplementedError
        n_in, *_, n_out = map(int, size.split("-"))
        spec, rng = network(size, "tanh", "linear"), np.random.default_rng(0)
        self.model = fastmlp.MLP(spec, seed=0, dtype="float64")
        self.x, self.y = rng.normal(size=(500, n_in)), rng.normal(size=(500, n_out))
        self.v = rng.normal(size=self.model.params.size)
        self.track_gradients(size)

    def track_gradients(self, size: str) -> float:
        calls = lambda: self.model.gradient(self.x, self.y), lambda: self.model.hvp(self.x, self.y, self.v)
        best = [float("inf")] * 2
        for _ in range(20):
            for i, call in enumerate(calls):
                begin = process_time()
                for _ in range(20):
                    call()
                best[i] = min(best[i], process_time() - begin)
        return best[1] / best[0]

    track_gradients.unit = "gradients' time"
