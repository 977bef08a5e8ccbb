"""The kernels' mathematics: against NumPy's long double and mpmath, over the whole range."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numba import njit

from fastmlp.activations import ACTIVATIONS
from fastmlp.kernels.formulas import specialised
from fastmlp.kernels.math import FAR, NORMAL_TAIL, functions

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


def with_multiples_of_pi(x, real):
    """x, and numbers next to which sines or cosines are zero."""
    half_pi = np.longdouble("1.57079632679489661923132169163975144")
    hardest = [6381956970095103 * 2.0**797, 16367173 * 2.0**72]  # the nearest in float64 and float32
    near, far = half_pi * np.arange(1, 100_000), half_pi * np.arange(1, int(FAR), 997)
    with np.errstate(over="ignore"):
        return np.concatenate([x, near.astype(real), far.astype(real), np.array(hardest).astype(real)])


@extended
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log", "log1p", "sin", "cos"])
def test_within_four_ulp_everywhere(name, real):
    x = with_multiples_of_pi(everywhere(real), real)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.longdouble))
    ours = over(getattr(functions(real), name), x)
    assert ulps(ours, exact, real) <= 4
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(exact))


@extended
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "elu"])
def test_activations_within_a_few_ulp(name, real):
    x, activation = everywhere(real, 1), ACTIVATIONS[name]
    setting = () if activation.slope is None else (real(activation.slope),)
    function = specialised(activation.function, real)
    ours = over(njit(lambda z: function(z, *setting)), x)
    with np.errstate(all="ignore"):
        exact = activation.function(x.astype(np.longdouble), *setting)
    assert ulps(ours, exact, real) <= (4 if name in ("sigmoid", "tanh") else 6)


def longdouble(x):
    """A number of mpmath's; what is less than the least long double becomes 0."""
    mantissa, exponent = mpmath.frexp(x)
    high = float(mantissa)
    with np.errstate(under="ignore"):
        return np.ldexp(np.longdouble(high) + np.longdouble(float(mantissa - high)), int(exponent))


@extended
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["normal_cdf", "normal_density"])
def test_normal_distribution_within_four_ulp_down_to_the_least_number(name, real):
    end = NORMAL_TAIL[real][0] + 1
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-end, end, 2000), rng.uniform(-2, 2, 2000), rng.uniform(-end, 0, 2000)]).astype(
        real
    )
    with mpmath.workdps(40):
        exact = {"normal_cdf": mpmath.ncdf, "normal_density": mpmath.npdf}[name]
        exact = np.array([longdouble(exact(float(z))) for z in x])
    assert ulps(over(getattr(functions(real), name), x), exact, real) <= 4


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_coefficients_of_the_normal_tail(real):
    end, coefficients = NORMAL_TAIL[real]
    count = len(coefficients)
    with mpmath.workdps(60):

        def tail(t):
            a = 4 * (1 + t) / (1 - t)
            return mpmath.exp(a * a / 2) * mpmath.ncdf(-a) * (a + 4)

        last = mpmath.mpf(end - 4) / (end + 4)
        nodes = [(last - 1 + (last + 1) * mpmath.cospi((k + 0.5) / mpmath.mpf(count))) / 2 for k in range(count)]
        powers = mpmath.matrix([[t**j for j in range(count)] for t in nodes])
        anew = mpmath.lu_solve(powers, mpmath.matrix([tail(t) for t in nodes]))
        np.testing.assert_array_equal(np.array(coefficients, real), np.array([float(c) for c in anew]).astype(real))


@extended
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log", "log1p", "normal_cdf", "normal_density", "sin", "cos"])
def test_same_bits_alone_and_in_vectors(name, real):
    """A loop of sines with those of far numbers is not made vector code, one of near numbers is."""
    x = everywhere(real)[::20]
    x = x[np.abs(x) <= FAR]
    function, near = (getattr(functions(real, only_near), name) for only_near in (False, True))

    @njit(error_model="numpy")
    def one(x, y):
        y[0] = function(x[0])

    y = np.empty_like(x)
    for k in range(len(x)):
        one(x[k : k + 1], y[k : k + 1])
    np.testing.assert_array_equal(over(near, x), y)


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log", "log1p", "sin", "cos"])
def test_special_values(name, real):
    info = np.finfo(real)
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, info.tiny, info.smallest_subnormal, info.max, -info.max], real)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x)
    np.testing.assert_allclose(over(getattr(functions(real), name), x), exact, rtol=4 * info.eps)


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_special_values_of_the_normal_distribution(real):
    x = np.array([-np.inf, np.finfo(real).min, -0.0, 0.0, np.finfo(real).max, np.inf, np.nan], real)
    cdf, density = (over(getattr(functions(real), name), x) for name in ("normal_cdf", "normal_density"))
    np.testing.assert_array_equal(cdf, np.array([0, 0, 0.5, 0.5, 1, 1, np.nan], real))
    peak = real(0.3989422804014327)
    np.testing.assert_array_equal(density, np.array([0, 0, peak, peak, 0, 0, np.nan], real))


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_sign_of_zero_is_kept_where_the_function_is_odd(real):
    for name in ("expm1", "tanh", "log1p", "sin"):
        assert np.signbit(over(getattr(functions(real), name), np.array([-0.0], real)))[0], name
