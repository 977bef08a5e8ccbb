"""For physics: Poisson's equation on a square, by a network that knows the equation and the boundary only.

u_xx + u_yy = -2 π² sin(πx) sin(πy) on the unit square, with u = 0 at its sides, has the solution sin(πx) sin(πy). The
rows of x inside have no y: there `residual` makes small what the equation leaves over. L-BFGS finds the minimum.
"""

import numba
import numpy as np

import fastmlp


@numba.njit
def r(x, u, du, d2u):
    source = -2 * np.pi**2 * np.sin(np.pi * x[0]) * np.sin(np.pi * x[1])
    return d2u[0, 0, 0] + d2u[0, 1, 1] - source


@numba.njit
def dr(x, u, du, d2u, g_u, g_du, g_d2u):
    g_d2u[0, 0, 0] = g_d2u[0, 1, 1] = 1.0


def solution(x: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * x[:, 0]) * np.sin(np.pi * x[:, 1])


rng = np.random.default_rng(0)
inside, sides = rng.random((300, 2)), rng.random((100, 2))
sides[np.arange(100), np.arange(100) % 2] = np.arange(100) // 2 % 2
x, y = np.vstack([inside, sides]), np.concatenate([np.full(300, np.nan), np.zeros(100)])
spec = [{"n": 2, "act": None}, {"n": 20, "act": "tanh"}, {"n": 20, "act": "tanh"}, {"n": 1, "act": None}]
model, history = fastmlp.train(
    x, y, spec, residual=fastmlp.Residual(r, dr), residual_weight=0.005, optimizer="lbfgs", epochs=1200, seed=0,
    dtype="float64",
)  # fmt: skip

unseen = rng.random((1000, 2))
error = float(np.abs(model.predict(unseen)[:, 0] - solution(unseen)).max())
print(f"{history.epochs} iterations of L-BFGS")
print(f"residual loss {history['residual_loss'][0]:.3g} -> {history['residual_loss'][-1]:.3g}")
print(f"largest error {error:.2g}, where the solution reaches 1")
assert error < 0.02, error
