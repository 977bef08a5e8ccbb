"""How near fastmlp is to what the processor can do, at rows of the map where others are near::

    python docs/peers/limits.py mnist | one-row | products | momentum | jacobian [ROUNDS]

``mnist`` is per-sample SGD of 784-10-10 on MNIST, beside programs in C for just that work (limits.c, which ``cc``
compiles); ``one-row`` is `partial_fit` of one row, step by step; ``products`` are predictions and trainings that are
mostly products of matrices, in shares of what the core can multiply and add; ``momentum`` is per-sample SGD with and
without momentum, and the least that momentum's second set of products adds; ``jacobian`` are Jacobians by the inputs,
part by part. Processor time of one thread on one core, the best of interleaved rounds. `docs/performance.md` says what
follows from the numbers.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import ctypes
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp
from fastmlp.cli.bench import calls
from fastmlp.cli.bench.clock import Run, figures, per_unit, repeated
from fastmlp.cli.bench.command import machine
from fastmlp.cli.bench.trainings import EPOCHS, LR, TRAINERS, Training
from fastmlp.cli.bench.trainings import _order as order_of
from fastmlp.kernels.layout import aligned
from fastmlp.kernels.layout import padded as padded_size

SECONDS = 0.1  # a round of one run


def best(runs: Mapping[str, Run], rounds: int, most: int | None = None) -> dict[str, float]:
    """The microseconds a unit of each run in its best round."""
    return {name: min(times) * 1e6 for name, times in per_unit(runs, rounds, SECONDS, most=most).items()}


def table(title: str, rows: Mapping[str, float]) -> None:
    print(f"\n| {title} | µs |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {figures(value)} |")


def in_c() -> ctypes.CDLL:
    """limits.c, compiled for this processor."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "limits.so"
        options = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-Wno-psabi"]
        subprocess.run(["cc", *options, Path(__file__).with_name("limits.c"), "-o", library, "-lm"], check=True)
        return ctypes.CDLL(str(library))


def padded(rows: np.ndarray) -> np.ndarray:
    """Rows of up to 16 numbers with zeros behind."""
    return np.pad(rows, ((0, 0), (0, 16 - rows.shape[1])))


def address_of(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def mnist(rounds: int) -> None:
    import scipy.sparse

    work, c = Training((784, 10, 10), 1, "MNIST"), in_c()
    x, y = work.samples(10_000)
    (w1, w2), (b1, b2) = work.weights()
    begin = np.concatenate([padded(rows).ravel() for rows in (w1.T, b1[None], w2.T, b2[None])])
    network = aligned(len(begin), np.dtype(np.float32))
    network[:], right = begin, ctypes.c_int64()
    c.skip_zeros.restype = ctypes.c_double

    def skip_zeros(order: np.ndarray) -> float:
        pointers = map(address_of, (network, x, y, order))
        return c.skip_zeros(*pointers, ctypes.c_int64(len(order)), ctypes.c_float(LR), ctypes.byref(right))

    def look(function: Any, order: np.ndarray) -> None:
        function(address_of(x), address_of(order), ctypes.c_int64(len(order)))

    _, history = fastmlp.train(x, y, fastmlp.MLP(work.spec, seed=0), lr=LR, epochs=1, shuffle=False, progress=False)
    np.testing.assert_allclose(skip_zeros(np.arange(len(x))) / len(x), history["loss"][0], rtol=1e-5)
    np.testing.assert_allclose(right.value / len(x), history["accuracy"][0], atol=1e-3)
    network[:] = begin

    def in_order(function: Callable[[np.ndarray], Any]) -> Run:
        return lambda n: function(order_of(n))

    def ours(x: Any, **of_inputs: float) -> Run:
        model = fastmlp.MLP([{**work.spec[0], **of_inputs}, *work.spec[1:]], seed=0)
        return lambda n: fastmlp.train(x[:n], y[:n], model, lr=LR, epochs=EPOCHS, seed=0, progress=False)

    runs = {
        "fastmlp": ours(x),
        "fastmlp, x as uint8": ours(np.rint(x * 255).astype(np.uint8), scale=1 / 255),
        "fastmlp, x in rows of CSR": ours(scipy.sparse.csr_array(x)),
        "plain Numba loops": TRAINERS["numba"](work, x, y),
        "C for this network, zeros skipped, sample by sample": in_order(skip_zeros),
        "C, only listing the numbers that are not zero": in_order(partial(look, c.list_samples)),
        "C, only reading x": in_order(partial(look, c.read_samples)),
    }
    found = {name: value / EPOCHS for name, value in best(runs, rounds, len(x)).items()}
    table("784-10-10, batch 1, MNIST, a sample", found)
    seconds = found["plain Numba loops"] / 1e6
    flops, bytes_of_w = 4 * 784 * 10 + 6 * 10 * 10, 3 * 4 * 784 * 10  # w is read for z, read and written for the step
    print(
        f"\nPlain loops: {flops / seconds / 1e9:.0f} GFLOP/s, {bytes_of_w / seconds / 1e9:.0f} GB/s of weights; ",
        end="",
    )
    print(f"NumPy's sgemm: {sgemm():.0f} GFLOP/s.")
    in_blocks = (x.reshape(-1, 4, 784) != 0).any(axis=1)
    print(f"Not zero: {np.mean(x != 0):.0%} of x, {np.mean(in_blocks):.0%} of the columns of four neighbours.")


def one_row(rounds: int) -> None:
    c = in_c()
    c.one_step.restype = c.nothing.restype = ctypes.c_double
    model, x, y, of_each = learning(20, 32, 1)
    params = model.params.copy()
    in_one = partial(c.one_step, *map(address_of, (params, x, y)), ctypes.c_double(1e-4))
    empty = partial(c.nothing, *map(ctypes.c_int64, (1, 2, 3)))
    of_each |= {"C for this network, called": in_one, "an empty function in C, called": empty}
    if importlib.util.find_spec("vowpalwabbit"):
        of_each |= vowpal_wabbit()
    table("one row, 20-32-1, a call", best({name: repeated(call) for name, call in of_each.items()}, rounds))

    model, _, _, of_each = learning(784, 128, 1)
    flat = model.params.copy()
    other = flat.copy()
    of_each |= {
        "only reading the parameters: NumPy's dot": partial(np.dot, flat, flat),
        "copying them": partial(np.copyto, other, flat),
    }
    table("one row, 784-128-1, a call", best({name: repeated(call) for name, call in of_each.items()}, rounds))


def learning(*widths: int) -> tuple[fastmlp.MLP, np.ndarray, np.ndarray, dict[str, Callable[[], Any]]]:
    """A model, one sample, and what learns from it: `partial_fit`, its parts, and NumPy by hand."""
    rng, model = np.random.default_rng(0), fastmlp.MLP(calls.network(*widths, output="linear"), seed=0)
    x, y = rng.random((1, widths[0]), dtype=np.float32), rng.random(1, dtype=np.float32)
    model.partial_fit(x, y, lr=1e-4)
    (step,) = model._online._steps.values()
    return (
        model,
        x,
        y,
        {
            "partial_fit": partial(model.partial_fit, x, y, lr=1e-4),
            "its step: samples copied, the kernel, the sums read": partial(step, x, y[:, None], 1e-4),
            "its kernel, called": step._run,
            "NumPy by hand": calls.numpy_step(model, x[0], y, 1e-4),
        },
    )


def vowpal_wabbit() -> dict[str, Callable[[], Any]]:
    """Vowpal Wabbit's learning from examples that are parsed already, and from lines of text, which it parses."""
    import vowpalwabbit

    rng, workspace = np.random.default_rng(0), vowpalwabbit.Workspace("--nn 32 --quiet -l 0.01")
    features = (" ".join(f"f{i}:{value:.6f}" for i, value in enumerate(row)) for row in rng.random((1000, 20)))
    lines = cycle([f"{rng.random():.6f} | {row}" for row in features])
    return {
        "Vowpal Wabbit, parsed examples": calls.vowpal_wabbit_step(20, 32),
        "Vowpal Wabbit, lines of text": lambda: workspace.learn(next(lines)),
    }


def sgemm() -> float:
    """The GFLOP/s of NumPy's product of two large matrices, in the best of ten."""
    a = np.ones((1536, 1536), np.float32)
    out = a @ a
    return 2 * 1536**3 / best({"": repeated(lambda: np.matmul(a, a, out=out))}, 10)[""] / 1e3


PREDICTIONS = ((10, 784, 128, 10), (100, 784, 128, 10), (1000, 784, 128, 10), (10, 784, 512, 512, 10),
               (100, 784, 512, 512, 10), (1000, 784, 512, 512, 10), (100_000, 4, 16, 2))  # fmt: skip
TRAININGS = ((784, 512, 512, 10), 128), ((784, 512, 512, 10), 512), ((4096, 1024, 100), 512), ((2, 8, 2), 200)


def products(rounds: int) -> None:
    alone = MultiplyAdds(in_c())
    print("\n| | fastmlp, GFLOP/s | multiply-adds alone | fastmlp's share | others' |\n|---|---|---|---|---|")
    for n, *widths in PREDICTIONS:
        model = fastmlp.MLP(calls.network(*widths), seed=0)
        x = np.random.default_rng(0).random((n, widths[0]), dtype=np.float32)
        runs = {"fastmlp": repeated(partial(model.predict, x))}
        for name, make in (("onnxruntime", calls.onnxruntime_prediction), ("NumPy", calls.numpy_prediction)):
            if importlib.util.find_spec(name.lower()):
                runs[name] = repeated(make(model, x))
        flops = 2 * n * sum(k * m for k, m in pairwise(widths))
        share(f"predict {n:,} rows of {'-'.join(map(str, widths))}", runs, flops, rounds, alone)
    for widths, batch in TRAININGS:
        work = Training(widths, batch)
        x, y = work.samples(1024 // batch * batch)
        names = {"fastmlp": "fastmlp", "JAX": "jax", "PyTorch": "torch"}
        runs = {
            name: repeated(partial(TRAINERS[module](work, x, y), len(y)))
            for name, module in names.items()
            if importlib.util.find_spec(module)
        }
        share(f"training {work.name}", runs, EPOCHS * len(y) * operations(widths), rounds, alone)


def momentum(rounds: int) -> None:
    peak = MultiplyAdds(in_c()).gflops(rounds)
    print(f"\nMultiply-adds alone: {peak:.0f} GFLOP/s.")
    head = "plain, µs a sample | momentum | ÷ plain | plain and its products once more at that speed"
    print(f"\n| batch 1, dense | {head} |\n|---|---|---|---|---|")
    for widths in ((784, 128, 10), (8, 64, 64, 2), (784, 512, 512, 10)):
        work = Training(widths, 1, "dense")
        x, y = work.samples(512)  # before many units are dead, whose weights are skipped
        runs = {
            optimizer: repeated(partial(TRAINERS["fastmlp"](replace(work, optimizer=optimizer), x, y), len(y)))
            for optimizer in ("SGD", "momentum")
        }
        plain, with_momentum = (value / len(y) / EPOCHS for value in best(runs, rounds).values())
        least = plain + operations(widths) / peak / 1e3
        times = f"{figures(plain)} | {figures(with_momentum)}"
        ratios = f"{with_momentum / plain:.2f}× | {least / plain:.2f}×"
        print(f"| {'-'.join(map(str, widths))} | {times} | {ratios} |", flush=True)


def operations(widths: tuple[int, ...]) -> int:
    """Multiplications and additions for a sample in the products of a step: all layers' forward and their gradients,
    and back through the deeper ones."""
    return 4 * widths[0] * widths[1] + 6 * sum(k * m for k, m in pairwise(widths[1:]))


def share(name: str, runs: Mapping[str, Any], flops: float, rounds: int, alone: MultiplyAdds) -> None:
    """Print the speeds of runs, each of so many operations, as shares of multiply-adds' in the same rounds."""
    a = np.ones((1536, 1536), np.float32)
    out = a @ a
    found = best({**runs, "sgemm": repeated(lambda: np.matmul(a, a, out=out)), "": repeated(alone.run)}, rounds)
    peak = alone.operations / found.pop("") / 1e3
    rates = {"NumPy's sgemm": 2 * 1536**3 / found.pop("sgemm") / 1e3}
    rates |= {name: flops / value / 1e3 for name, value in found.items()}
    own = rates.pop("fastmlp")
    others = ", ".join(f"{peer} {rate / peak:.0%}" for peer, rate in rates.items())
    print(f"| {name} | {own:.0f} | {peak:.0f} | {own / peak:.0%} | {others} |", flush=True)


class MultiplyAdds:
    """Multiply-adds of vectors that stay in registers: as fast as a core can; ``run`` makes so many ``operations``."""

    def __init__(self, c: ctypes.CDLL, times: int = 10_000) -> None:
        c.multiply_adds.restype, c.lanes.restype = ctypes.c_float, ctypes.c_int64
        self.run = partial(c.multiply_adds, ctypes.c_int64(times), ctypes.c_float(0.125))
        self.operations = 2 * 12 * times * c.lanes()

    def gflops(self, rounds: int) -> float:
        """The billions of operations a second in the best round."""
        return self.operations / best({"": repeated(self.run)}, rounds)[""] / 1e3


JACOBIANS = (200, 24, 8, 2), (100, 8, 64, 64, 2), (10, 784, 128, 10)


def jacobian(rounds: int) -> None:
    alone = MultiplyAdds(in_c())
    for n, *widths in JACOBIANS:
        model, bound = (fastmlp.MLP(calls.network(*widths, act="tanh", output="linear"), seed=0) for _ in range(2))
        x = np.random.default_rng(0).normal(size=(n, widths[0])).astype(np.float32)
        kept = bound.jacobian(x, wrt="inputs")  # to which its kernel, called again, writes
        ((kernel,),) = bound._engine._idle_kernels.values()
        names = {name: f"jax.{name}" for name in ("jacrev", "jacfwd") if importlib.util.find_spec("jax")}
        found = best(
            {
                "jacobian": repeated(partial(model.jacobian, x, wrt="inputs")),
                "its kernel, called": repeated(kernel._run),
                "of which activations and their derivatives, called": repeated(activations(bound, n)),
                **{full: repeated(calls.jax_jacobian(model, x, name == "jacfwd")) for name, full in names.items()},
                "peak": repeated(alone.run),
            },
            rounds,
        )
        hidden = sum(k * m for k, m in pairwise(widths[:-1]))
        flops = 2 * n * (1 + widths[-1]) * hidden  # forward to the last hidden layer, and back from there
        peak = alone.operations / found.pop("peak") / 1e3
        found["its products, at the speed of multiply-adds"] = flops / peak / 1e3
        table(f"{'-'.join(map(str, widths))}, {n} rows, a call", found)
        speed = flops / found["its kernel, called"] / 1e3
        print(f"\nThe kernel: {speed:.0f} GFLOP/s of products; multiply-adds alone: {peak:.0f} GFLOP/s.", flush=True)
        assert kept.shape == (n, widths[-1], widths[0])


def activations(model: fastmlp.MLP, n: int) -> Callable[[], None]:
    """What calls the kernels of the hidden layers' activations, with derivatives, for n rows."""
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_int64] * 6, ctypes.c_double)
    kernels = []
    for width, function in zip(model.spec.widths[1:-1], model._engine.binding._functions.activations, strict=False):
        row = padded_size(width, 4)
        rows = aligned(3 * n * row, np.dtype(np.float32))
        numbers = *(rows.ctypes.data + 4 * i * n * row for i in range(3)), n, width, row
        arguments = *map(ctypes.c_int64, numbers), ctypes.c_double(0.0)
        kernels.append((rows, partial(prototype(function), *arguments)))

    def call() -> None:
        for _, kernel in kernels:
            kernel()

    return call


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["", ""]
    parts = {"mnist": mnist, "one-row": one_row, "products": products, "momentum": momentum, "jacobian": jacobian}
    if what not in parts:
        sys.exit(f"which part? one of {', '.join(parts)}")
    print(machine())
    parts[what](int(rest[0]) if rest else 5)
