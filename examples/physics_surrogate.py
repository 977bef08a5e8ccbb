"""For simulations: a potential learnt from samples, and the force as its gradient, the Jacobian by the inputs.

The network sees only energies of a particle in a double well, V(x, y) = (x² - 1)² + ½ y² + ¼ x y. Its derivative by the
inputs is compared with the analytic force, which it was never shown, and a trajectory is integrated with it.
"""

import numpy as np

import fastmlp


def energy(r: np.ndarray) -> np.ndarray:
    """V of points (n, 2)."""
    x, y = r.T
    return (x**2 - 1) ** 2 + y**2 / 2 + x * y / 4


def force(r: np.ndarray) -> np.ndarray:
    """-∇V, (n, 2)."""
    x, y = r.T
    return -np.stack([4 * x * (x**2 - 1) + y / 4, y + x / 4], axis=1)


rng = np.random.default_rng(0)
points, unseen = rng.uniform(-1.6, 1.6, (4000, 2)), rng.uniform(-1.5, 1.5, (1000, 2))
spec = [{"n": 2, "act": None}, {"n": 32, "act": "swish"}, {"n": 32, "act": "swish"}, {"n": 1, "act": "linear"}]
model, history = fastmlp.train(
    *(points, energy(points), spec),
    optimizer="adam", batch_size=32, epochs=60, lr=fastmlp.schedules.Cosine(0.01, epochs=60), dtype="float64", seed=0,
)  # fmt: skip


def learnt_force(r: np.ndarray) -> np.ndarray:
    """The network's force, (n, 2): minus the derivatives of its one output by the inputs."""
    return -model.jacobian(r, wrt="inputs")[:, 0]


def rms(values: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


of_energy = rms(model.predict(unseen)[:, 0] - energy(unseen)) / rms(energy(unseen))
of_force = rms(learnt_force(unseen) - force(unseen)) / rms(force(unseen))
print(f"energies of unseen points: {100 * of_energy:.2f} % off;  forces, never shown: {100 * of_force:.2f} % off")


def roll(forces, steps: int = 600, dt: float = 0.01) -> np.ndarray:
    """The path of a particle that starts at rest, by the velocity Verlet method."""
    r, v = np.array([[1.4, 0.8]]), np.zeros((1, 2))
    path = [r[0]]
    for _ in range(steps):
        v = v + dt / 2 * forces(r)
        r = r + dt * v
        v = v + dt / 2 * forces(r)
        path.append(r[0])
    return np.array(path)


true, learnt = roll(force), roll(learnt_force)
print("time    true path         learnt path")
for step in range(0, 601, 150):
    (x, y), (u, v) = true[step], learnt[step]
    print(f"{step / 100:4.1f}   ({x:5.2f}, {y:5.2f})    ({u:5.2f}, {v:5.2f})")
assert of_force < 0.03 and np.abs(true - learnt).max() < 0.25
