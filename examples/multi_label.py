"""For several answers at once: which animals are in a scene? One sigmoid output a label, each a yes or no of its own.

The scenes are noisy sums of patterns, as in the tutorial's "cat, rabbit and pig in one picture".
"""

import numpy as np

import fastmlp

LABELS = ["cat", "dog", "rabbit", "pig"]
rng = np.random.default_rng(0)
patterns = rng.normal(size=(len(LABELS), 30))


def scenes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the patterns of the animals that are there, and which they are, (n, 4) of 0 and 1."""
    there = rng.random((n, len(LABELS))) < [0.5, 0.4, 0.3, 0.1]
    return there @ patterns + 1.2 * rng.normal(size=(n, 30)), there.astype(int)


x, y = scenes(4000)
x_test, y_test = scenes(2000)
spec = [{"n": 30, "act": None}, {"n": 24, "act": "relu"}, {"n": len(LABELS), "act": "sigmoid"}]
model, history = fastmlp.train(
    x, y, spec, lr=0.003, epochs=30, optimizer="adam", batch_size=32, validation_fraction=0.1, early_stopping=5, seed=0
)
predicted = model.predict_class(x_test)  # (2000, 4) of 0 and 1

accuracy = model.evaluate(x_test, y_test)["accuracy"]
print(f"stopped after {history.epochs} epochs; {100 * accuracy:.1f} % of the labels right")
print("label   in scenes  precision  recall")
for k, name in enumerate(LABELS):
    hits = np.sum(predicted[:, k] & y_test[:, k])
    precision, recall = hits / predicted[:, k].sum(), hits / y_test[:, k].sum()
    print(f"{name:7s} {100 * y_test[:, k].mean():7.0f} %  {precision:9.2f}  {recall:6.2f}")
    assert precision > 0.75 and recall > 0.7
for outputs, truth in zip(model.predict(x_test[:3]), y_test[:3], strict=True):
    shown = ", ".join(f"{name} {100 * p:.0f} %" for name, p in zip(LABELS, outputs, strict=True))
    print(f"{shown}   (there: {', '.join(name for name, t in zip(LABELS, truth, strict=True) if t) or 'none'})")
