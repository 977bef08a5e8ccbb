"""For surrogate models: where the networks of an ensemble disagree, there were no data to learn from.

Each network begins from weights of its own (Lakshminarayanan et al., "Simple and scalable predictive uncertainty
estimation using deep ensembles", 2017). All are trained at once, on threads.
"""

import numpy as np

import fastmlp

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-3, -1, 150), rng.uniform(1, 3, 150)])[:, None]  # nothing between -1 and 1
y = np.sin(2 * x[:, 0]) + 0.1 * rng.normal(size=len(x))

spec = [{"n": 1, "act": None}, {"n": 32, "act": "tanh"}, {"n": 32, "act": "tanh"}, {"n": 1, "act": "linear"}]
trained = fastmlp.train_many(
    x,
    y,
    spec,
    seeds=range(16),
    optimizer="adam",
    batch_size=32,
    epochs=300,
    lr=fastmlp.schedules.Cosine(0.01, epochs=300),
)
ensemble = fastmlp.Ensemble(one.model for one in trained)

grid = np.linspace(-4, 4, 17)[:, None]
mean, spread = (values[:, 0] for values in ensemble.predict(grid, return_std=True))
print("    x   truth    mean ± spread   of 16 networks")
for point, value, doubt in zip(grid[:, 0], mean, spread, strict=True):
    print(f"{point:5.1f}  {np.sin(2 * point):6.2f}  {value:6.2f} ± {doubt:.2f}  {'█' * round(40 * doubt)}")

known = (np.abs(grid[:, 0]) >= 1) & (np.abs(grid[:, 0]) <= 3)
error = np.abs(mean - np.sin(2 * grid[:, 0]))
print(f"where there were data: error {error[known].mean():.3f}, spread {spread[known].mean():.3f}")
print(f"where there were none: error {error[~known].mean():.3f}, spread {spread[~known].mean():.3f}")
assert error[known].mean() < 0.1 and spread[~known].mean() > 3 * spread[known].mean()
