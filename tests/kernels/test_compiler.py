"""Kernels must neither allocate nor raise nor call the C library's mathematics: the compiler refuses those that could.
Functions of users may."""

from __future__ import annotations

import importlib
import math

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp.kernels import compiler
from fastmlp.kernels.catalog import KERNELS, Variant
from fastmlp.kernels.checked import checked


def test_kernels_that_allocate_or_raise_are_refused():
    def raises(x, n):
        if n < 0:
            raise ValueError("no")
        return x[0]

    def allocates(x, n):
        return np.zeros(n).sum() + numba.carray(x, n)[0]

    for function in (allocates,) if checked() else (raises, allocates):
        with pytest.raises(RuntimeError, match="must not"):
            compiler._object_code("probe", compiler.c_function(function, "x:T n", "float64"))


def test_kernels_that_call_the_c_library_are_refused():
    def powers(x, n):
        return x[0] ** x[1] + math.erf(x[2])

    with pytest.raises(RuntimeError, match=r"erf.*pow"):
        compiler._object_code("probe", compiler.c_function(powers, "x:T n", "float64"))


def test_a_users_function_may_allocate_and_the_loss_too():
    @numba.njit
    def square(z):
        parts = np.zeros(2)
        parts[:] = z
        return parts[0] * parts[1]

    @numba.njit
    def quartic(y_hat, y):
        return np.array([y_hat - y])[0] ** 4

    act = fastmlp.Activation("square", square, numba.njit(lambda z: 2.0 * z))
    loss = fastmlp.Loss("quartic", quartic, numba.njit(lambda y_hat, y: 4.0 * (y_hat - y) ** 3))
    spec = [{"n": 2, "act": None}, {"n": 3, "act": act}, {"n": 1, "act": "linear", "cost": loss}]
    model = fastmlp.MLP(spec, seed=0, dtype="float64")
    x, y = np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([0.3, 0.2])
    assert fastmlp.check_gradients(model, x, y)
    exact = (x @ model.weights[0].T + model.biases[0]) ** 2 @ model.weights[1].T + model.biases[1]
    np.testing.assert_allclose(model.predict(x), exact, rtol=1e-12)
    assert model.evaluate(x, y)["loss"] == pytest.approx(np.mean((exact[:, 0] - y) ** 4))


@pytest.mark.parametrize("variant", [Variant("forward", "", "float32"), Variant("activation", "tanh", "float64")])
def test_an_object_file_has_one_name_for_others(variant, elf_symbols):
    """Numba names inner functions by a count that begins anew in each process, so that files of two would mix."""
    kernel = KERNELS[variant.family]
    function = importlib.import_module(f"fastmlp.kernels.{kernel.file}").build(variant.name, variant.dtype)
    code = compiler.compile_kernel(variant.symbol, function, kernel.signature, variant.dtype)
    assert elf_symbols(code)[0] == {variant.symbol}
