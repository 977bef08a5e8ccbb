"""Many small networks at once, each on the same samples: by train_many and predict_many, and by jax.vmap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...model.many import train_many
from ...model.mlp import MLP
from ...model.populations import predict_many
from .calls import network

__all__ = ["NETWORKS", "POPULATION", "Networks", "Population"]

LR = 0.01


@dataclass(frozen=True)
class Networks:
    """Networks of tanh layers under a linear one, trained by plain SGD on squared losses, samples in their order."""

    count: int
    widths: tuple[int, ...]
    samples: int
    epochs: int
    batch: int = 1

    @property
    def name(self) -> str:
        of = f"{self.epochs} epochs of {self.samples} samples"
        batches = f", batch {self.batch}" if self.batch > 1 else ""
        return f"{self.count:,} × {'-'.join(map(str, self.widths))}, {of}{batches}"

    @property
    def _spec(self) -> list[dict[str, Any]]:
        return network(*self.widths, act="tanh", output="linear")

    def _data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(self.samples, self.widths[0])).astype(np.float32)
        return x, np.sin(x.sum(axis=1, keepdims=True)).repeat(self.widths[-1], 1)

    def fastmlp(self) -> Callable[[], Any]:
        """Set up and train all, on one thread."""
        (x, y), seeds = self._data(), range(self.count)
        options: dict[str, Any] = {"lr": LR, "epochs": self.epochs, "batch_size": self.batch, "shuffle": False}
        return lambda: train_many(x, y, self._spec, seeds=seeds, n_threads=1, progress=False, **options)

    def jax(self) -> Callable[[], Any]:
        """Train all from given parameters; compilation is not included."""
        import jax
        import jax.numpy as jnp

        x, y = (jnp.asarray(values).reshape(-1, self.batch, values.shape[1]) for values in self._data())
        params = _stacked([MLP(self._spec, seed=seed) for seed in range(self.count)])

        def loss(params: Any, x: Any, y: Any) -> Any:
            for w, b in params[:-1]:
                x = jnp.tanh(x @ w + b)
            w, b = params[-1]
            return 0.5 * jnp.mean(jnp.sum((x @ w + b - y) ** 2, axis=1))

        def step(params: Any, sample: Any) -> Any:
            grads = jax.grad(loss)(params, *sample)
            return jax.tree_util.tree_map(lambda p, g: p - LR * g, params, grads), None

        def epochs(params: Any) -> Any:
            def epoch(params: Any, _: Any) -> Any:
                return jax.lax.scan(step, params, (x, y))[0], None

            return jax.lax.scan(epoch, params, None, self.epochs)[0]

        train = jax.jit(jax.vmap(epochs))
        return lambda: jax.block_until_ready(train(params))


@dataclass(frozen=True)
class Population:
    """The outputs of networks of tanh layers under a linear one for one sample, the same for all."""

    count: int
    widths: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.count:,} × {'-'.join(map(str, self.widths))}, one sample for all"

    @property
    def _x(self) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(1, self.widths[0])).astype(np.float32)

    def _models(self) -> list[MLP]:
        spec = network(*self.widths, act="tanh", output="linear")
        return [MLP(spec, seed=seed) for seed in range(self.count)]

    def fastmlp(self) -> Callable[[], Any]:
        """Predict by all in one call."""
        models, x = self._models(), self._x
        spec, params = models[0].spec, np.array([model.params for model in models])
        return lambda: predict_many(spec, params, x)

    def one_by_one(self) -> Callable[[], Any]:
        """Predict by one after the other."""
        models, x = self._models(), self._x
        return lambda: [model.predict(x) for model in models]

    def jax(self) -> Callable[[], Any]:
        """Predict by all; compilation is not included."""
        import jax
        import jax.numpy as jnp

        def outputs(params: Any, x: Any) -> Any:
            for w, b in params[:-1]:
                x = jnp.tanh(x @ w + b)
            w, b = params[-1]
            return x @ w + b

        predict, params, x = jax.jit(jax.vmap(outputs, (0, None))), _stacked(self._models()), jnp.asarray(self._x)
        return lambda: jax.block_until_ready(predict(params, x))


def _stacked(models: list[MLP]) -> list[tuple[Any, Any]]:
    """The weights (n_models, n_in, n_out) and biases of each layer as JAX arrays."""
    import jax.numpy as jnp

    return [
        (jnp.stack([m.weights[i].T for m in models]), jnp.stack([m.biases[i] for m in models]))
        for i in range(len(models[0].weights))
    ]


POPULATION = Population(1024, (8, 32, 32, 2))
NETWORKS = (
    Networks(1000, (2, 8, 1), 4, 500),
    Networks(200, (4, 16, 1), 200, 20),
    Networks(200, (8, 16, 16, 1), 200, 20),
    Networks(64, (8, 64, 64, 1), 200, 5),
    Networks(64, (64, 32, 1), 200, 20),
    Networks(64, (30, 64, 2), 320, 20, 32),
)
