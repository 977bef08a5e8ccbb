"""Single calls, in every library's best form; the peers' results are compared with fastmlp's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from ...model.mlp import MLP

__all__ = [
    "jax_gradient",
    "jax_jacobian",
    "jax_prediction",
    "network",
    "numpy_prediction",
    "numpy_step",
    "onnxruntime_prediction",
    "torch_prediction",
    "vowpal_wabbit_step",
]

Call = Callable[[], Any]


def network(*widths: int, act: str = "relu", output: str = "softmax") -> list[dict[str, Any]]:
    """The spec of hidden layers of one activation under an output layer."""
    layers = [{"n": n, "act": act} for n in widths[1:-1]]
    return [{"n": widths[0], "act": None}, *layers, {"n": widths[-1], "act": output}]


def _checked(call: Call, model: MLP, x: np.ndarray) -> Call:
    np.testing.assert_allclose(call(), model.predict(x), rtol=1e-3, atol=1e-5)
    return call


def numpy_prediction(model: MLP, x: np.ndarray) -> Call:
    """Predict x with NumPy: relu layers under softmax."""
    *hidden, (w_out, b_out) = [(np.ascontiguousarray(w.T), b) for w, b in zip(model.weights, model.biases, strict=True)]

    def predict() -> np.ndarray:
        a = x
        for w, b in hidden:
            a = np.maximum(a @ w + b, 0)
        z = a @ w_out + b_out
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    return _checked(predict, model, x)


def onnxruntime_prediction(model: MLP, x: np.ndarray) -> Call:
    """Predict x with onnxruntime on one thread."""
    import onnxruntime

    from ...interop import to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        to_onnx(model, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return _checked(lambda: session.run(None, {"x": x})[0], model, x)


def torch_prediction(model: MLP, x: np.ndarray) -> Call:
    """Predict x with PyTorch, from NumPy's array to NumPy's array."""
    import torch

    from ...interop import to_torch

    torch.set_num_threads(1)
    net = to_torch(model).eval()

    def predict() -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(x)).numpy()

    return _checked(predict, model, x)


def _jax_network(model: MLP) -> tuple[Any, Callable[[Any, Any], Any]]:
    """The parameters, (n_in, n_out) and (n_out,) a layer, and the function of them and of one sample."""
    import jax
    import jax.numpy as jnp

    functions = {"relu": jax.nn.relu, "tanh": jnp.tanh, "softmax": jax.nn.softmax, "linear": lambda z: z}
    if model.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    params = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in zip(model.weights, model.biases, strict=True)]
    acts = [functions[layer.act.name] for layer in model.spec.layers]

    def apply(params: Any, x: Any) -> Any:
        for (w, b), act in zip(params, acts, strict=True):
            x = act(x @ w + b)
        return x

    return params, apply


def jax_prediction(model: MLP, x: np.ndarray) -> Call:
    """Predict x with a jitted JAX function, from NumPy's array to NumPy's array."""
    import jax

    params, apply = _jax_network(model)
    predict = jax.jit(apply)
    return _checked(lambda: np.asarray(predict(params, x)), model, x)


def jax_gradient(model: MLP, x: np.ndarray, y: np.ndarray) -> Call:
    """The mean squared error, halved, and its gradient by a jitted JAX function."""
    import jax
    import jax.numpy as jnp

    params, apply = _jax_network(model)
    function = jax.jit(jax.value_and_grad(lambda params, x, y: 0.5 * jnp.mean(jnp.sum((apply(params, x) - y) ** 2, 1))))
    x, y = jnp.asarray(x), jnp.asarray(y)
    np.testing.assert_allclose(function(params, x, y)[0], model.gradient(x, y)[0], rtol=1e-4)
    return lambda: jax.block_until_ready(function(params, x, y))


def jax_jacobian(model: MLP, x: np.ndarray, forward: bool) -> Call:
    """The Jacobians by the inputs, (n_samples, n_out, n_in), by jax.jacfwd or jax.jacrev under vmap and jit."""
    import jax
    import jax.numpy as jnp

    params, apply = _jax_network(model)
    derive = jax.jacfwd if forward else jax.jacrev
    function = jax.jit(jax.vmap(derive(apply, argnums=1), (None, 0)))
    x = jnp.asarray(x)
    np.testing.assert_allclose(function(params, x), model.jacobian(x, wrt="inputs"), rtol=1e-3, atol=1e-5)
    return lambda: jax.block_until_ready(function(params, x))


def numpy_step(model: MLP, x: np.ndarray, y: np.ndarray, lr: float) -> Call:
    """Make a step of plain SGD on one sample in NumPy: relu layers under a linear output, squared loss."""
    weights = [np.array(w, order="C") for w in model.weights]
    biases = [np.array(b) for b in model.biases]
    changes = [np.empty_like(w) for w in weights]  # a new one in every step would take longer
    rate = model.dtype.type(lr)

    def step() -> float:
        inputs = [x]
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(np.maximum(w @ inputs[-1] + b, 0))
        error = weights[-1] @ inputs[-1] + biases[-1] - y
        delta = error
        for i in range(len(weights) - 1, -1, -1):
            below = (weights[i].T @ delta) * (inputs[i] > 0) if i else None
            np.multiply((rate * delta)[:, None], inputs[i], out=changes[i])
            np.subtract(weights[i], changes[i], out=weights[i])
            np.subtract(biases[i], rate * delta, out=biases[i])
            delta = below
        return float(error @ error) / 2

    return step


def vowpal_wabbit_step(n_in: int, hidden: int) -> Call:
    """Let Vowpal Wabbit's ``--nn`` learn from a thousand parsed samples, one after the other, since a single one that
    it has already learnt costs nothing."""
    import vowpalwabbit

    rng, workspace = np.random.default_rng(0), vowpalwabbit.Workspace(f"--nn {hidden} --quiet -l 0.01")
    lines = (" ".join(f"f{i}:{value:.6f}" for i, value in enumerate(row)) for row in rng.random((1000, n_in)))
    examples = cycle([workspace.example(f"{rng.random():.6f} | {line}") for line in lines])
    return lambda: workspace.learn(next(examples))
