"""For molecular dynamics: a potential learnt from few energies, with the forces beside them and without.

The Lennard-Jones potential of two atoms, V(r) = 4 (r⁻¹² - r⁻⁶), is known at a dozen distances. A program that computes
an energy gives the force F = -dV/dr along with it, and `dydx` trains on both. Two networks, the same but for that, are
compared with the potential, its force, and the time of a vibration of the two atoms.
"""

import numpy as np

import fastmlp


def energy(r: np.ndarray) -> np.ndarray:
    """V at distances r."""
    return 4 * (r**-12.0 - r**-6.0)


def slope(r: np.ndarray) -> np.ndarray:
    """dV/dr at distances r: minus the force."""
    return 4 * (-12 * r**-13.0 + 6 * r**-7.0)


few, unseen = np.linspace(0.95, 2.5, 12)[:, None], np.linspace(0.95, 2.5, 1000)[:, None]
spec = [{"n": 1, "act": None}, {"n": 16, "act": "tanh"}, {"n": 16, "act": "tanh"}, {"n": 1, "act": "linear"}]


def learnt(**slopes):
    """A network trained on the twelve energies, and on what else is given."""
    options = {"optimizer": "lbfgs", "epochs": 2000, "standardize": True, "dtype": "float64", "seed": 0}
    return fastmlp.train(few, energy(few), spec, **options, **slopes).model


def period(forces, r: float = 1.25, dt: float = 0.002) -> float:
    """The time of one vibration of two atoms of reduced mass 1 that begins at rest, by the velocity Verlet method."""
    v, f, t, was_moving_in = 0.0, forces(r), 0.0, False
    while True:
        v += dt / 2 * f
        r += dt * v
        f = forces(r)
        v += dt / 2 * f
        t += dt
        if was_moving_in and v < 0:  # back where it began
            return t
        was_moving_in = was_moving_in or v > 0


def percent(values: np.ndarray, true: np.ndarray) -> float:
    """The root mean square of what values are off by, in percent of that of the true ones."""
    return 100 * float(np.sqrt(np.mean((values - true) ** 2) / np.mean(true**2)))


without, with_slopes = learnt(), learnt(dydx=slope(few))
exact = period(lambda r: -slope(np.array(r)))
print(f"trained on {len(few)} distances            energies     forces   period of a vibration")
results = {}
for name, model in {"energies": without, "energies and forces": with_slopes}.items():
    of_energy = percent(model.predict(unseen), energy(unseen))
    of_force = percent(model.jacobian(unseen, wrt="inputs")[:, 0], slope(unseen))
    time = period(lambda r: -float(model.jacobian(np.array([[r]]), wrt="inputs")[0, 0, 0]))
    results[name] = of_energy, of_force, abs(time / exact - 1)
    print(f"{name:28s} {of_energy:9.3f} % off {of_force:6.3f} % off   {time:.3f} (exact: {exact:.3f})")
(energy_off, force_off, period_off), better = results["energies"], results["energies and forces"]
assert better[0] < energy_off / 5 and better[1] < force_off / 5 and better[2] < 0.02
