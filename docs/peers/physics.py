"""Microseconds a point of training 2-32-32-1 on Poisson's equation: fastmlp's residual, and a jitted scan of JAX that
takes the second derivatives forward over forward, or as a Hessian. The best of 20 rounds in turns, on one core::

    python docs/peers/physics.py
"""

import os
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numba
import numpy as np

import fastmlp

N, LR = 4096, 1e-3
WIDTHS = 2, 32, 32, 1


@numba.njit
def r(x, u, du, d2u):
    return d2u[0, 0, 0] + d2u[0, 1, 1] - x[0] * x[1]


@numba.njit
def dr(x, u, du, d2u, g_u, g_du, g_d2u):
    g_d2u[0, 0, 0] = g_d2u[0, 1, 1] = 1.0


def output(params, x):
    for w, b in params[:-1]:
        x = jnp.tanh(x @ w + b)
    w, b = params[-1]
    return (x @ w + b)[0]


def forward_over_forward(params, x):
    def second(e):
        return jax.jvp(lambda x: jax.jvp(lambda x: output(params, x), (x,), (e,))[1], (x,), (e,))[1]

    return jnp.sum(jax.vmap(second)(jnp.eye(2)))


def hessian(params, x):
    return jnp.trace(jax.hessian(output, 1)(params, x))


def jax_epoch(laplacian, batch):
    def loss(params, x):
        def of_point(x):
            return (laplacian(params, x) - x[0] * x[1]) ** 2 / 2

        return of_point(x[0]) if batch == 1 else jnp.mean(jax.vmap(of_point)(x))

    def step(params, x):
        return jax.tree.map(lambda p, g: p - LR * g, params, jax.grad(loss)(params, x)), None

    return jax.jit(lambda params, x: jax.lax.scan(step, params, x.reshape(-1, batch, 2))[0])


x = np.random.default_rng(0).uniform(-1, 1, (N, 2)).astype(np.float32)
y = np.full((N, 1), np.nan, np.float32)
layers = [{"n": n, "act": "tanh"} for n in WIDTHS[1:-1]]
spec = [{"n": 2, "act": None}, *layers, {"n": 1, "act": "linear"}]
for batch in (1, 32):
    model, options = fastmlp.MLP(spec, seed=0), {"lr": LR, "epochs": 1, "batch_size": batch, "shuffle": False}
    options["residual"] = fastmlp.Residual(r, dr)
    begin = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in zip(model.weights, model.biases, strict=True)]
    runs = {"fastmlp": lambda: fastmlp.train(x, y, model, **options)}
    for laplacian in (forward_over_forward, hessian):
        epoch = jax_epoch(laplacian, batch)
        runs[f"JAX, {laplacian.__name__}"] = lambda epoch=epoch: jax.block_until_ready(epoch(begin, x))
    best = dict.fromkeys(runs, np.inf)
    results = {name: run() for name, run in runs.items()}  # and compile
    for name in list(runs)[1:]:
        for (w, b), ours, own in zip(results[name], model.weights, model.biases, strict=True):
            np.testing.assert_allclose(w.T, ours, atol=1e-4)
            np.testing.assert_allclose(b, own, atol=1e-4)
    for _ in range(20):
        for name, run in runs.items():
            before = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - before)
    for name, seconds in best.items():
        print(f"batch {batch:2}, {name:25} {seconds / N * 1e6:7.3f} µs, {seconds / best['fastmlp']:.2f} ×")
