"""Draw the pictures of docs/how-to/plots.md and of the README: ``python docs/figures.py``, with MNIST where
FASTMLP_DATA says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import fastmlp
from fastmlp import plotting, schedules
from fastmlp.datasets import load_digits, load_mnist, make_spirals

IMAGES = Path(__file__).parent / "img"


def wind() -> tuple[fastmlp.MLP, np.ndarray, np.ndarray]:
    """A network that tells the arms apart, and their points."""
    x, y = make_spirals(400, noise=0.025, seed=0)
    spec = [{"n": 2, "act": None}, *[{"n": 32, "act": "tanh"}] * 2, {"n": 3, "act": "softmax"}]
    options = {"optimizer": "adam", "lr": schedules.Cosine(0.01, epochs=300), "batch_size": 16}
    model = fastmlp.train(x, y, spec, epochs=300, seed=0, **options).model
    return model, x, y


def how_to() -> None:
    """One picture for each function of fastmlp.plotting."""
    (x, y), (x_test, y_test) = load_digits()
    spec = [{"n": 64, "act": None, "scale": 1 / 16}, {"n": 32, "act": "relu"}, {"n": 10, "act": "softmax"}]
    model, history = fastmlp.train(x, y, spec, lr=0.02, epochs=30, seed=0, validation_data=(x_test, y_test))
    predicted = model.predict_class(x_test)
    some = [*range(6), *np.flatnonzero(predicted != y_test)[:2]]
    winder, points, arms = wind()
    small = [{"n": 4, "act": None}, {"n": 16, "act": "tanh"}, {"n": 3, "act": "softmax"}]
    flowers = fastmlp.train(*iris(), small, lr=0.05, epochs=50, seed=0).model
    pictures = {
        "curves": plotting.curves(history),
        "pictures": plotting.pictures(x_test[some], y_test[some], predicted[some]),
        "confusion": plotting.confusion_matrix(y_test, predicted),
        "weights": plotting.weights(model),
        "boundary": plotting.decision_boundary(winder, points, arms),
        "network": plotting.network(flowers),
    }
    for name, ax in pictures.items():
        save(ax.figure, name)


def readme() -> None:
    """All of MNIST on one core, what the first layer became, and a plane divided among three spirals."""
    (x, y), test = load_mnist()
    spec = [{"n": 784, "act": None, "scale": 1 / 255}, {"n": 128, "act": "relu"}, {"n": 10, "act": "softmax"}]
    model, history = fastmlp.train(
        x, y, spec, lr=schedules.Exponential(0.03, 0.7), epochs=8, seed=0, l2=1e-5, validation_data=test
    )
    figure = Figure((13, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.05, 1.25, 1])
    plotting.curves(history, ax=left)
    left.set_title(f"MNIST, 784-128-10: {100 * history['val_accuracy'][-1]:.1f} % on unseen digits")
    plotting.weights(model, most=24, columns=6, ax=middle)
    middle.set_title("what 24 of its hidden units look for")
    winder, points, arms = wind()
    plotting.decision_boundary(winder, points, arms, ax=right)
    right.get_legend().remove()
    right.set_aspect("equal")
    right.set_xticks([])
    right.set_yticks([])
    right.set_title("three spirals, 2-32-32-3")
    save(figure, "readme")


def iris() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's flowers, standardised."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    return (x - x.mean(axis=0)) / x.std(axis=0), y


def save(figure: Figure, name: str) -> None:
    """As a PNG of few colours, which is small."""
    from PIL import Image

    path = IMAGES / f"{name}.png"
    figure.savefig(path, dpi=100)
    with Image.open(path) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    how_to()
    readme()
