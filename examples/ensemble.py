"""For those who need to know how sure a prediction is: an ensemble's spread beside its errors, on two real tables.

Deep ensembles (Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using
deep ensembles", 2017): the same network, trained from several seeds. Their spread is what the networks do not know; the
noise of y, which no network can know, is measured beside it, on rows that a bootstrap left out.
"""

import numpy as np
from sklearn.datasets import load_diabetes

import fastmlp
from fastmlp.datasets import load_digits

# Handwritten digits: where the networks disagree, they err.
(x, y), (x_test, y_test) = load_digits(test_fraction=0.5)
spec = [{"n": 64, "act": None, "scale": 1 / 16}, {"n": 32, "act": "relu"}, {"n": 10, "act": "softmax"}]
digits = fastmlp.Ensemble(one.model for one in fastmlp.train_many(x, y, spec, seeds=range(10), lr=0.02, epochs=20))
wrong = digits.predict_class(x_test) != y_test
alone = np.mean([model.predict_class(x_test) != y_test for model in digits])
print(f"digits: {wrong.mean():.1%} of {len(y_test)} are wrong, {alone:.1%} of the networks' own answers")
most_votes = digits.votes(x_test).max(axis=1)
for low, high in (10, 10), (8, 9), (1, 7):
    rows = (most_votes >= low) & (most_votes <= high)
    print(f"  {low:2} to {high:2} of 10 votes for the class: {rows.sum():3} digits, {wrong[rows].mean():5.1%} wrong")
assert wrong.mean() < alone
assert wrong[most_votes < 8].mean() > 10 * wrong[most_votes == 10].mean()

# Diabetes: a number that ten measurements hardly tell. Noise is most of the error, and the spread knows nothing of it.
x, y = load_diabetes(return_X_y=True, scaled=False)
rng = np.random.default_rng(0)
rows = rng.permutation(len(x))
rows, held_out = rows[:300], rows[300:]
mean, scale = y[rows].mean(), y[rows].std()
shifts = {"shift": x[rows].mean(axis=0), "scale": 1 / x[rows].std(axis=0)}
spec = [{"n": 10, "act": None, **shifts}, {"n": 16, "act": "tanh"}, {"n": 1, "act": "linear"}]
drawn = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=50)  # bootstraps, as weights
trained = fastmlp.train_many(
    x[rows], (y[rows] - mean) / scale, spec, grid={"sample_weight": list(drawn)}, seed=0,
    optimizer="adam", lr=0.003, batch_size=32, epochs=100, l2=1e-3,
)  # fmt: skip
ensemble = fastmlp.Ensemble(one.model for one in trained)

left_out = drawn == 0
errors = ensemble.predict_each(x[rows])[:, :, 0] - (y[rows] - mean) / scale
_, spread = ensemble.predict(x[rows], return_std=True)
noise = np.sqrt(np.mean(errors[left_out] ** 2) - np.mean(spread**2))  # of one network: noise² + spread²

prediction, spread = (values[:, 0] for values in ensemble.predict(x[held_out], return_std=True))
error = np.abs(prediction - (y[held_out] - mean) / scale)
whole = np.sqrt(spread**2 + noise**2)
print(f"diabetes: held-out error {scale * np.sqrt(np.mean(error**2)):.0f}, spread {scale * spread.mean():.0f}")
print(f"  spread and noise together, √(spread² + noise²): {scale * np.sqrt(np.mean(whole**2)):.0f}")
for name, std in ("spread alone", spread), ("both", whole):
    print(f"  90 % intervals of {name}: {np.mean(error < 1.645 * std):.0%} of {len(held_out)} held-out rows are inside")
assert 0.84 < np.mean(error < 1.645 * whole) < 0.96
assert np.mean(error < 1.645 * spread) < 0.6
