"""The kernels' exp, expm1, tanh, log and log1p: against NumPy's long double, over the whole range."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from fastmlp.activations import ACTIVATIONS
from fastmlp.kernels.formulas import specialised
from fastmlp.kernels.math import functions

extended = pytest.mark.skipif(
    np.finfo(np.longdouble).precision <= np.finfo(np.float64).precision, reason="no long double to compare with"
)


def over(function, x):
    @njit(error_model="numpy")
    def loop(x, y):
        for i in range(len(x)):
            y[i] = function(x[i])

    y = np.empty_like(x)
    loop(x, y)
    return y


def everywhere(real, seed=0):
    """Numbers of every exponent and either sign, and many where the functions bend."""
    info = np.finfo(real)
    rng = np.random.default_rng(seed)
    exponents = rng.integers(info.minexp - info.nmant, info.maxexp, 200_000)
    sizes = np.ldexp(rng.uniform(1, 2, exponents.size), exponents).astype(real)
    near = rng.uniform(-1, 1, 200_000), rng.uniform(-20, 20, 200_000), rng.uniform(-750, 750, 100_000)
    return np.concatenate([sizes, -sizes, *near]).astype(real)


def ulps(ours, exact, real):
    """Distance in units of the exact value's last place, which below the normal numbers is that of the least one."""
    info = np.finfo(real)
    representable = np.isfinite(exact) & (np.abs(exact) <= np.longdouble(info.max))
    rounded = np.abs(exact[representable].astype(real))
    place = np.maximum(np.spacing(rounded), info.smallest_subnormal).astype(np.longdouble)
    return np.max(np.abs(ours[representable].astype(np.longdouble) - exact[representable]) / place)


@extended
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log", "log1p"])
def test_within_four_ulp_everywhere(name, real):
    x = everywhere(real)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.longdouble))
    ours = over(getattr(functions(real), name), x)
    assert ulps(ours, exact, real) <= 4
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(exact))


@extended
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "elu"])
def test_activations_within_a_few_ulp(name, real):
    x = everywhere(real, 1)
    ours = over(specialised(ACTIVATIONS[name].function, real), x)
    with np.errstate(all="ignore"):
        exact = ACTIVATIONS[name].function(x.astype(np.longdouble))
    assert ulps(ours, exact, real) <= (4 if name in ("sigmoid", "tanh") else 6)


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log", "log1p"])
def test_special_values(name, real):
    info = np.finfo(real)
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, info.tiny, info.smallest_subnormal, info.max, -info.max], real)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x)
    np.testing.assert_allclose(over(getattr(functions(real), name), x), exact, rtol=4 * info.eps)


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_sign_of_zero_is_kept_where_the_function_is_odd(real):
    for name in ("expm1", "tanh", "log1p"):
        assert np.signbit(over(getattr(functions(real), name), np.array([-0.0], real)))[0], name
