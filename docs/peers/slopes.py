"""Microseconds a sample of training 2-32-32-1 on y and on its derivatives by both inputs: fastmlp beside a jitted scan
of JAX that makes the same steps, and fastmlp on y alone. Processor time, the best of 30 interleaved rounds; JAX takes
one core if taskset leaves it one.

The scan is measured in two forms, derivatives by the inputs forward and back, and the faster one counts.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

import fastmlp

LR = 0.01
N = 4096
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (N, 2)).astype("float32")
y = np.sin(2 * x[:, :1]) * x[:, 1:]
dydx = np.stack([2 * np.cos(2 * x[:, 0]) * x[:, 1], np.sin(2 * x[:, 0])], axis=1)[:, None]
hidden = {"n": 32, "act": "tanh"}
start = fastmlp.MLP([{"n": 2, "act": None}, hidden, hidden, {"n": 1, "act": "linear"}], seed=0)


def output(params, x):
    for w, b in params[:-1]:
        x = jnp.tanh(x @ w + b)
    w, b = params[-1]
    return (x @ w + b)[0]


def scan(derivative, batch):
    """A jitted epoch of plain SGD, rows in their order; samples are vectors for batches of 1."""

    def of_sample(params, x):
        return output(params, x), derivative(output, 1)(params, x)

    def loss(params, x, y, dydx):
        value, slope = (of_sample if batch == 1 else jax.vmap(of_sample, (None, 0)))(params, x)
        return 0.5 * (jnp.sum((value - y) ** 2) + jnp.sum((slope - dydx) ** 2)) / batch

    def step(params, rows):
        gradient = jax.grad(loss)(params, *rows)
        return jax.tree_util.tree_map(lambda p, g: p - LR * g, params, gradient), None

    return jax.jit(lambda params, *rows: jax.lax.scan(step, params, rows)[0])


def seconds(call):
    begin = time.process_time()
    call()
    return time.process_time() - begin


for batch in (1, 32):
    of_slopes, of_y = start.copy(), start.copy()
    options = {"lr": LR, "epochs": 1, "batch_size": batch, "shuffle": False}
    rows = [jnp.asarray(a if batch == 1 else a.reshape(-1, batch, *a.shape[1:])) for a in (x, y[:, 0], dydx[:, 0])]
    params = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in zip(start.weights, start.biases, strict=True)]
    calls = [
        lambda model=of_slopes: fastmlp.train(x, y, model, dydx=dydx, **options),
        lambda model=of_y: fastmlp.train(x, y, model, **options),
    ]
    for derivative in (jax.jacfwd, jax.jacrev):
        epoch = scan(derivative, batch)
        calls.append(lambda epoch=epoch: jax.block_until_ready(epoch(params, *rows)))
        fastmlp.train(x, y, one := start.copy(), dydx=dydx, **options)
        np.testing.assert_allclose(epoch(params, *rows)[0][0].T, one.weights[0], rtol=1e-3, atol=1e-4)
    best = np.full(len(calls), np.inf)
    for _ in range(30):
        best = np.minimum(best, [seconds(call) for call in calls])
    slopes, alone, *jaxes = best / N * 1e6
    print(
        f"batch {batch}: fastmlp {slopes:.2f} µs a sample, JAX {min(jaxes):.2f}, {min(jaxes) / slopes:.2f} times; "
        f"fastmlp on y alone {alone:.2f}"
    )
