"""Many small networks at once, each on the same samples: by train_many, and by jax.vmap of a jitted scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...model.many import train_many
from ...model.mlp import MLP
from .calls import network

__all__ = ["NETWORKS", "Networks"]

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
        models = [MLP(self._spec, seed=seed) for seed in range(self.count)]
        params = [
            (jnp.stack([m.weights[i].T for m in models]), jnp.stack([m.biases[i] for m in models]))
            for i in range(len(self.widths) - 1)
        ]

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


NETWORKS = (
    Networks(1000, (2, 8, 1), 4, 500),
    Networks(200, (4, 16, 1), 200, 20),
    Networks(200, (8, 16, 16, 1), 200, 20),
    Networks(64, (8, 64, 64, 1), 200, 5),
    Networks(64, (64, 32, 1), 200, 20),
    Networks(64, (30, 64, 2), 320, 20, 32),
)
