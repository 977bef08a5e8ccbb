"""Pictures say what the numbers say, and leave matplotlib as it was."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

import fastmlp
from fastmlp import plotting

XOR = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
CLASSES = [{"n": 2, "act": None}, {"n": 6, "act": "tanh"}, {"n": 3, "act": "softmax"}]
HISTORY = {"loss": [3.0, 2.0, 1.5], "accuracy": [0.2, 0.5, 0.6], "mse": [1.0, 0.5, 0.4]}


def drawn(ax):
    """The picture, for what only drawing can find out."""
    file = io.BytesIO()
    ax.figure.savefig(file)
    return file.getvalue()


def labels(ax):
    return [text.get_text() for text in ax.texts]


def test_curves_are_the_history():
    ax = plotting.curves(HISTORY)
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["accuracy", "loss"] and ax.get_ylabel() == "accuracy / loss"
    for name, line in lines.items():
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(line.get_ydata(), HISTORY[name])
    assert lines["loss"].get_color() != lines["accuracy"].get_color()
    assert drawn(ax)


def test_curves_of_two_histories_share_colours_and_differ_in_dashes():
    ax = plotting.curves({"ours": HISTORY, "theirs": {"loss": [2.5]}}, "loss")
    ours, theirs = ax.lines
    assert (ours.get_label(), theirs.get_label()) == ("ours loss", "theirs loss")
    assert ours.get_color() == theirs.get_color() and ours.get_linestyle() != theirs.get_linestyle()


def test_pictures_show_the_samples_and_the_verdicts():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(5, 12))
    ax = plotting.pictures(x, [1, 2, 3, 4, 5], [1, 2, 0, 4, 5], shape=(3, 4), columns=2)
    assert labels(ax) == ["✓ 1", "✓ 2", "✗ 0, true 3", "✓ 4", "✓ 5"]
    mosaic = ax.images[0].get_array()
    for i, text in enumerate(ax.texts):
        left, below = text.get_position()
        top, left = round(below + 0.5 + 0.15), round(left + 0.5 - 2)
        np.testing.assert_array_equal(mosaic[top : top + 3, left : left + 4], x[i].reshape(3, 4))
    right, wrong = ax.texts[0].get_color(), ax.texts[2].get_color()
    assert right != wrong
    assert labels(plotting.pictures(x, ["a"] * 5, shape=(3, 4))) == ["a"] * 5
    assert labels(plotting.pictures(x.reshape(5, 3, 4))) == []
    assert drawn(ax)


@pytest.mark.parametrize("normalize", [False, True])
def test_confusion_matrix_is_that_of_scikit_learn(normalize):
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, 4, 90), rng.integers(0, 4, 90)
    ax = plotting.confusion_matrix(y, predicted, normalize=normalize, names=["a", "b", "c", "long name"])
    counts = confusion_matrix(y, predicted)
    shares = confusion_matrix(y, predicted, normalize="true")
    np.testing.assert_allclose(ax.images[0].get_array(), shares)
    shown = np.array([int(text) for text in labels(ax)]).reshape(4, 4)
    np.testing.assert_array_equal(shown, np.round(100 * shares) if normalize else counts)
    assert f"{(y == predicted).sum()} of 90 right" in ax.get_title()
    assert drawn(ax)


def test_weights_are_the_first_layers():
    model = fastmlp.MLP([{"n": 9, "act": None}, {"n": 5, "act": "relu"}, {"n": 2, "act": "softmax"}], seed=0)
    mosaic = plotting.weights(model, columns=5).images[0].get_array()
    first = model.weights[0].reshape(5, 3, 3)
    shown = mosaic.compressed().reshape(3, 5, 3).transpose(1, 0, 2)
    np.testing.assert_allclose(shown, first / np.abs(first).max(axis=(1, 2), keepdims=True), rtol=1e-6)
    assert plotting.weights(model, most=2).get_title() == "weights of 2 of 5 units"
    model.weights[0][...] = 0
    assert drawn(plotting.weights(model))


@pytest.mark.parametrize("spec", [XOR, CLASSES], ids=["binary", "classes"])
def test_decision_boundary_lies_where_two_classes_are_equal(spec):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int) + (spec is CLASSES) * (x[:, 0] > 0.8)
    model, _ = fastmlp.train(x, y, spec, lr=0.1, epochs=50, seed=0)
    ax = plotting.decision_boundary(model, x, y, points=200)
    image = ax.images[0].get_array()
    rows, columns = rng.integers(0, 200, (2, 500))
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    points = np.stack([x0 + (x1 - x0) * columns / 199, y0 + (y1 - y0) * rows / 199], axis=1)
    palette = [colors.to_rgb(colour) for colour in (plotting.BLUE, plotting.ORANGE, plotting.GREEN)]
    np.testing.assert_allclose(image[rows, columns, :3], np.array(palette)[model.predict_class(points)])
    n_lines = 0
    for contour in ax.collections:
        for path in contour.get_paths():
            if contour.get_label().isdigit() or not len(path.vertices):
                continue  # the samples' markers
            outputs = np.sort(model.predict(path.vertices), axis=1)
            lead = 2 * outputs[:, 0] - 1 if spec is XOR else outputs[:, -1] - outputs[:, -2]
            assert np.abs(lead).max() < 0.1
            n_lines += 1
    assert n_lines >= 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [str(k) for k in np.unique(y)]
    assert drawn(ax)


def test_network_draws_each_weight_and_elides_large_layers():
    model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 40, "act": "relu"}, {"n": 2, "act": "softmax"}], seed=0)
    ax = plotting.network(model, most=6)
    below, above = ax.collections[:2]
    assert len(below.get_segments()) == 3 * 6 and len(above.get_segments()) == 6 * 2
    shown = model.weights[1][:, [0, 1, 2, 37, 38, 39]]
    positive = [colors.to_hex(colour).upper() == plotting.ORANGE for colour in above.get_colors()]
    np.testing.assert_array_equal(np.reshape(positive, (2, 6)), shown > 0)
    np.testing.assert_allclose(np.argmax(above.get_linewidths()), np.argmax(np.abs(shown)))
    assert labels(ax) == ["3\ninput", "⋮", "40\nrelu", "2\nsoftmax"]
    assert drawn(ax)


def test_axes_given_are_the_axes_drawn_on_and_returned():
    ax = Figure().subplots()
    model = fastmlp.MLP(XOR, seed=0)
    for draw, *given in (
        (plotting.curves, HISTORY),
        (plotting.pictures, np.zeros((2, 4))),
        (plotting.confusion_matrix, [0, 1], [1, 1]),
        (plotting.weights, model, (1, 2)),
        (plotting.decision_boundary, model, np.eye(2)),
        (plotting.network, model),
    ):
        options = {"shape": given.pop()} if draw is plotting.weights else {}
        assert draw(*given, ax=ax, **options) is ax
        with pytest.raises(TypeError, match="ax must be a matplotlib axes, got str"):
            draw(*given, ax="axes", **options)


UNTOUCHED = """
import sys
from fastmlp import plotting
assert "matplotlib" not in sys.modules
import matplotlib
before = matplotlib.rcParams.copy()
plotting.curves({"loss": [1.0, 2.0]}).figure.savefig(sys.argv[1])
print("matplotlib.pyplot" in sys.modules)
print(all(matplotlib.rcParams[key] == before[key] for key in before if key != "backend"))
"""
MISSING = """
import sys
sys.modules["matplotlib"] = None
from fastmlp import plotting
try:
    plotting.curves({"loss": [1.0, 2.0]})
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("script", "says"),
    [(UNTOUCHED, "False\nTrue\n"), (MISSING, "plotting needs matplotlib: pip install 'fastmlp[plot]'\n")],
)
def test_process(script, says, tmp_path):
    command = [sys.executable, "-c", script, str(tmp_path / "curves.png")]
    assert subprocess.check_output(command, text=True) == says


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.curves([1, 2]), "history must be a History or a dict of them, got list"),
        (lambda: plotting.curves({}), "history is empty"),
        (lambda: plotting.curves(HISTORY, "los"), "names: 'los' is not in the history, which has loss, accuracy, mse"),
        (lambda: plotting.pictures(np.zeros((2, 5))), "5 inputs are no square picture; give shape="),
        (lambda: plotting.pictures(np.zeros((2, 4)), shape=(1, 3)), "shape 1 × 3 is not"),
        (lambda: plotting.pictures(np.zeros(4)), "x must be pictures"),
        (lambda: plotting.pictures(np.zeros((2, 4)), [1]), "y must be one label a picture"),
        (lambda: plotting.confusion_matrix([0, 1], [0]), "equally long"),
        (lambda: plotting.confusion_matrix([0.5], [0]), "y must hold class indices"),
        (lambda: plotting.confusion_matrix([0, 2], [0, 1], names=["a", "b"]), "names has 2 entries, there are 3"),
        (lambda: plotting.weights("model"), "model must be a fastmlp.MLP, got str"),
        (lambda: plotting.decision_boundary(fastmlp.MLP([{"n": 3}, {"n": 2, "act": "softmax"}]), []), "3"),
        (lambda: plotting.decision_boundary(fastmlp.MLP([{"n": 2}, {"n": 1}]), np.eye(2)), "needs classes"),
        (lambda: plotting.decision_boundary(fastmlp.MLP(XOR), np.eye(2), [0, 7]), "class indices 0 to 1, got 7"),
        (lambda: plotting.decision_boundary(fastmlp.MLP(XOR), np.eye(3)), "x has 3 features"),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
