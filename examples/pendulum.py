"""For engineers who know Levenberg-Marquardt: how long a pendulum swings, from how far out it begins, to six digits."""

import numpy as np

import fastmlp


def period(amplitude):
    """The period beside that of small swings: 1 / agm(1, cos(amplitude / 2)), by Gauss."""
    a, b = np.ones_like(amplitude), np.cos(amplitude / 2)
    for _ in range(10):
        a, b = (a + b) / 2, np.sqrt(a * b)
    return 1 / a


degrees = np.linspace(0, 150, 200)[:, None]
x, y = np.radians(degrees), period(np.radians(degrees))
spec = [{"n": 1, "act": None}, {"n": 12, "act": "tanh"}, {"n": 1, "act": "linear"}]
options = {"standardize": True, "dtype": "float64", "seed": 0}

adam, _ = fastmlp.train(x, y, spec, optimizer="adam", lr=0.01, batch_size=20, epochs=300, **options)
lm, history = fastmlp.train(x, y, spec, optimizer="lm", epochs=1000, **options)

between = np.radians(np.linspace(0.3, 149.7, 1000))[:, None]  # amplitudes that were not trained on
errors = {name: np.abs(model.predict(between) - period(between)).max() for name, model in (("Adam", adam), ("lm", lm))}
print(f"a swing out to 90 degrees takes {period(np.radians(90.0)):.9f} times as long as a small one")
print(f"the network says                {lm.predict([[np.pi / 2]])[0, 0]:.9f}, after {history.epochs} steps")
for name, error in errors.items():
    print(f"{name:5} is wrong by {error:.0e} at most")
assert errors["lm"] < 1e-5 < 100 * errors["lm"] < errors["Adam"]
