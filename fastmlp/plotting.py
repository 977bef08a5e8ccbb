"""Pictures of data, training and networks, with matplotlib: each function draws on one axes and returns it.

Without given axes it makes a new figure, without pyplot, so nothing is shown and nothing global changes:
``fastmlp.plotting.curves(history).figure.savefig("curves.png")``. Colours are from the palette of Okabe and Ito, which
colour-blind readers can tell apart, and can be seen on white and on black; lines and text follow the style in use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .base.checks import check_count
from .base.extras import require
from .model.data import check_x
from .model.mlp import MLP, check_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["confusion_matrix", "curves", "decision_boundary", "network", "pictures", "weights"]

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
_OTHERS = ["#56B4E9", "#F0E442", "#999999"]
_LINES = [(0, (4, 2)), (0, (1, 1.5)), (0, (4, 2, 1, 2)), (0, (8, 2))]  # of the second history and those after it
_MOST_NUMBERED = 20  # classes of a confusion matrix whose counts are still legible


def curves(history: Mapping[str, Any], names: str | Sequence[str] | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the values of a history over the epochs: the tutorial's plot of accuracy and loss.

    Parameters
    ----------
    history : History, or dict of them
        A dict such as ``{"fastmlp": history, "Keras": other}`` draws several histories, each with its own dashes.
    names : str or list of str, optional
        Names of the values to draw. When left out: accuracy, loss, val_accuracy and val_loss, as far as they are there;
        if none is, all values.
    ax : matplotlib axes, optional
        Where to draw; a new figure when left out.

    Returns
    -------
    matplotlib axes
        Those drawn on.

    Examples
    --------
    >>> from fastmlp import plotting
    >>> ax = plotting.curves({"loss": [0.9, 0.5, 0.4], "accuracy": [0.5, 0.8, 0.9]})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['accuracy', 'loss']
    """
    if not isinstance(history, Mapping):
        raise TypeError(f"history must be a History or a dict of them, got {type(history).__name__}")
    several = {str(name): of_one for name, of_one in history.items() if isinstance(of_one, Mapping)}
    runs = several or {"": history}
    available = list(dict.fromkeys(name for run in runs.values() for name in run))
    if not available:
        raise ValueError("history is empty: nothing was trained")
    curve_names = [names] if isinstance(names, str) else list(names or ())
    for name in curve_names:
        if name not in available:
            raise ValueError(f"names: {name!r} is not in the history, which has {', '.join(available)}")
    usual = ["accuracy", "val_accuracy", "loss", "val_loss"]
    curve_names = curve_names or [name for name in usual if name in available] or available
    colours = dict(zip(usual, (RED, ORANGE, BLUE, "#56B4E9"), strict=True))
    spare = iter([GREEN, PURPLE, *_OTHERS] * len(curve_names))
    beside = len(curve_names) * len(runs) > 4  # the legend
    ax = _axes(ax, (8.4 if beside else 6.4, 4.4))
    for name in curve_names:
        colour = colours.get(name) or next(spare)
        for (label, run), dash in zip(runs.items(), _dashes(len(runs)), strict=True):
            if name in run:
                values = run[name]
                ax.plot(
                    *(range(1, len(values) + 1), values),
                    color=colour,
                    linestyle=dash,
                    marker="." if len(values) == 1 else "",
                    label=f"{label} {name}".strip(),
                )
    ax.set_xlabel("epoch")
    ax.set_ylabel(" / ".join(dict.fromkeys(name.removeprefix("val_") for name in curve_names)))
    ax.locator_params(axis="x", integer=True)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.grid(alpha=0.25)
    if beside:
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    else:
        ax.legend()
    return ax


def pictures(
    x: Any,
    y: Any = None,
    predicted: Any = None,
    *,
    shape: tuple[int, int] | None = None,
    columns: int = 4,
    cmap: str = "gray",
    ax: Axes | None = None,
) -> Axes:
    """Draw samples as pictures in a grid, with true and predicted labels: the tutorial's 2 × 4 digits.

    A right prediction has a tick and is green, a wrong one has a cross and the true label and is orange-red.

    Parameters
    ----------
    x : array, (n_samples, n_in) or (n_samples, height, width)
        As many as you want to see: ``x_test[:8]``.
    y, predicted : array, (n_samples,), optional
        Labels: class indices, as `MLP.predict_class` gives them, or names.
    shape : (height, width), optional
        The size of a picture; when left out, it is a square of n_in pixels.
    columns : int
        The number of pictures in a row.
    cmap : str
        A matplotlib colour map.
    ax : matplotlib axes, optional
        Where to draw; a new figure when left out.

    Returns
    -------
    matplotlib axes
        Those drawn on.

    Examples
    --------
    >>> from fastmlp import datasets, plotting
    >>> (x, y), _ = datasets.load_digits()
    >>> ax = plotting.pictures(x[:8], y[:8])
    """
    x = np.asarray(x)
    n, columns = len(x), check_count(columns, "columns")
    height, width = _picture_shape(x, shape)
    tiles = x.reshape(n, height, width)
    for name, labels in (("y", y), ("predicted", predicted)):
        if labels is not None and np.shape(labels) != (n,):
            raise ValueError(f"{name} must be one label a picture, ({n},), got shape {np.shape(labels)}")
    labelled = y is not None or predicted is not None
    mosaic, corners = _mosaic(tiles, columns, 0.34 if labelled else 0.1)
    rows, across = mosaic.shape
    ax = _axes(ax, (across / width * 1.5, rows / height * 1.5))
    ax.imshow(mosaic, cmap=cmap, interpolation="nearest")
    ax.set_axis_off()
    for i, (top, left) in enumerate(corners if labelled else []):
        text, colour = _verdict(None if y is None else y[i], None if predicted is None else predicted[i])
        kwargs: dict[str, Any] = {} if colour is None else {"color": colour}
        ax.text(left + width / 2 - 0.5, top - 0.5 - 0.05 * height, text, ha="center", va="bottom", **kwargs)
    return ax


def confusion_matrix(
    y: Any, predicted: Any, *, names: Sequence[str] | None = None, normalize: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw how many samples of each true class (row) were predicted as which class (column).

    Colours are shares of the row.

    Parameters
    ----------
    y, predicted : array of int, (n_samples,)
        True and predicted class indices.
    names : list of str, optional
        Names of the classes.
    normalize : bool
        Write each row's percentages instead of counts.
    ax : matplotlib axes, optional
        Where to draw; a new figure when left out.

    Returns
    -------
    matplotlib axes
        Those drawn on.

    Examples
    --------
    >>> from fastmlp import plotting
    >>> ax = plotting.confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2], names=["cat", "dog", "rabbit"])
    >>> ax.get_title()
    '3 of 4 right (75.0 %)'
    """
    true, guess = (_class_indices(labels, name) for labels, name in ((y, "y"), (predicted, "predicted")))
    if true.shape != guess.shape or not true.size:
        raise ValueError(f"y and predicted must be equally long and not empty, got {true.shape} and {guess.shape}")
    n = max(true.max(), guess.max()) + 1
    if names is not None and len(names) < n:
        raise ValueError(f"names has {len(names)} entries, there are {n} classes")
    n = n if names is None else len(names)
    counts = np.bincount(true * n + guess, minlength=n * n).reshape(n, n)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = _axes(ax, (max(3.6, 1.2 + 0.45 * min(n, _MOST_NUMBERED)),) * 2)
    cmap = require("matplotlib", "plot", "plotting").colormaps["Blues"]
    ax.imshow(shares, cmap=cmap, vmin=0, vmax=1)
    if n <= _MOST_NUMBERED:
        texts = [f"{100 * share:.0f}" for share in shares.flat] if normalize else [str(count) for count in counts.flat]
        size = 10 if max(map(len, texts)) <= 3 else 8
        for (i, j), text in zip(np.ndindex(n, n), texts, strict=True):
            if counts[i, j]:
                dark = sum(cmap(shares[i, j])[:3]) < 1.7
                ax.text(j, i, text, ha="center", va="center", color="white" if dark else "black", fontsize=size)
        labels = [str(i) for i in range(n)] if names is None else list(names)
        slant: dict[str, Any] = (
            {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if max(map(len, labels)) > 3 else {}
        )
        ax.set_xticks(range(n), labels, **slant)
        ax.set_yticks(range(n), labels)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    right = int(np.trace(counts))
    ax.set_title(f"{right:,} of {true.size:,} right ({100 * right / true.size:.1f} %)")
    return ax


def weights(
    model: MLP, *, shape: tuple[int, int] | None = None, most: int = 32, columns: int = 8, ax: Axes | None = None
) -> Axes:
    """Draw the weights of each unit of the first layer as a picture, blue negative, red positive: what it looks for.

    Each picture has its own scale, in which white is 0. If there are more units than ``most``, those with the largest
    weights are drawn.

    Parameters
    ----------
    model : MLP
        The network whose weights are drawn.
    shape : (height, width), optional
        The size of the input as a picture; when left out, it is a square of n_in pixels.
    most : int
        The largest number of units that are drawn.
    columns : int
        The number of pictures in a row.
    ax : matplotlib axes, optional
        Where to draw; a new figure when left out.

    Returns
    -------
    matplotlib axes
        Those drawn on.

    Examples
    --------
    >>> import fastmlp
    >>> from fastmlp import plotting
    >>> model = fastmlp.MLP([{"n": 64, "act": None}, {"n": 12, "act": "relu"}, {"n": 10, "act": "softmax"}], seed=0)
    >>> ax = plotting.weights(model)
    """
    first = check_model(model).weights[0]
    most, columns = check_count(most, "most"), check_count(columns, "columns")
    height, width = _picture_shape(first, shape)
    units = np.arange(len(first))
    if len(first) > most:
        units = np.sort(np.argsort(-np.linalg.norm(first, axis=1))[:most])
    tiles = first[units].reshape(-1, height, width)
    largest = np.abs(tiles).max(axis=(1, 2), keepdims=True)
    mosaic, _ = _mosaic(tiles / np.where(largest > 0, largest, 1), min(columns, len(tiles)), 0.1)
    rows, across = mosaic.shape
    ax = _axes(ax, (across / width * 0.9, rows / height * 0.9 + 0.3))
    ax.imshow(mosaic, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    count = f"{len(units)} of {len(first)}" if len(units) < len(first) else f"{len(first)}"
    ax.set_title(f"weights of {count} units")
    return ax


def decision_boundary(model: MLP, x: Any, y: Any = None, *, points: int = 300, ax: Axes | None = None) -> Axes:
    """Draw which class a network of two inputs gives to each point of the plane, paler where it is less sure.

    Parameters
    ----------
    model : MLP
        With two inputs and classes: one sigmoid output, or one output a class.
    x : array, (n_samples, 2)
        Samples: they decide which part of the plane is drawn.
    y : array of int, (n_samples,), optional
        Their classes; each class has its own marker.
    points : int
        The number of points of the grid along each side.
    ax : matplotlib axes, optional
        Where to draw; a new figure when left out.

    Returns
    -------
    matplotlib axes
        Those drawn on.

    Examples
    --------
    >>> import fastmlp
    >>> from fastmlp import plotting
    >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}], seed=0)
    >>> ax = plotting.decision_boundary(model, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
    """
    spec = check_model(model).spec
    if spec.n_in != 2:
        raise ValueError(f"decision_boundary draws networks of 2 inputs, this one has {spec.n_in}")
    if not (spec.one_of_many and spec.n_out > 1) and not (spec.multilabel and spec.n_out == 1):
        raise ValueError(
            f"decision_boundary needs classes; this network has {spec.n_out} {spec.layers[-1].act.name} output(s)"
        )
    x = np.asarray(check_x(x, 2, model.dtype), np.float64)
    points = check_count(points, "points", 2)
    classes = None if y is None else _class_indices(y, "y")
    if classes is not None and classes.shape != (len(x),):
        raise ValueError(f"y must be one class a sample, ({len(x)},), got shape {classes.shape}")
    ax = _axes(ax)
    colors = require("matplotlib.colors", "plot", "plotting")
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.12 * np.where(high > low, high - low, 1.0)
    across, up = (np.linspace(a, b, points) for a, b in zip(low - margin, high + margin, strict=True))
    plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    outputs = model.predict(plane).astype(np.float64).reshape(points, points, -1)
    if spec.n_out == 1:
        outputs = np.concatenate([1 - outputs, outputs], axis=2)
    n = outputs.shape[2]
    if classes is not None and classes.max() >= n:
        raise ValueError(f"y must hold class indices 0 to {n - 1}, got {classes.max()}")
    palette = np.array([colors.to_rgb(colour) for colour in _class_colours(n)])
    ranked = np.sort(outputs, axis=2)
    lead = np.clip(ranked[:, :, -1] - ranked[:, :, -2], 0, 1)
    picture = np.concatenate([palette[outputs.argmax(axis=2)], 0.15 + 0.5 * lead[:, :, None]], axis=2)
    extent = (across[0], across[-1], up[0], up[-1])
    ax.imshow(picture, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    foreground = ax.xaxis.label.get_color()
    for k in range(1 if n == 2 else n):
        others = np.delete(outputs, k, axis=2).max(axis=2)
        if (outputs[:, :, k] > others).any() and (outputs[:, :, k] < others).any():
            ax.contour(across, up, outputs[:, :, k] - others, levels=[0.0], colors=[foreground], linewidths=1.2)
    style: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.8, "s": 34, "zorder": 3}
    if classes is None:
        ax.scatter(*x.T, color="0.5", **style)
    else:
        markers = "osD^vP*X"
        for k in np.unique(classes):
            samples = x[classes == k]
            ax.scatter(*samples.T, color=palette[k], marker=markers[k % len(markers)], label=str(k), **style)
        ax.legend(title="class", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    ax.set_xlim(*extent[:2])
    ax.set_ylim(*extent[2:])
    return ax


def network(model: MLP, *, most: int = 10, ax: Axes | None = None) -> Axes:
    """Draw units and weights: orange lines are positive, blue ones negative, thick ones large in their layer.

    Parameters
    ----------
    model : MLP
        The network that is drawn.
    most : int
        The largest number of units that are drawn of a layer; dots stand for those in the middle.
    ax : matplotlib axes, optional
        Where to draw; a new figure when left out.

    Returns
    -------
    matplotlib axes
        Those drawn on.

    Examples
    --------
    >>> import fastmlp
    >>> from fastmlp import plotting
    >>> model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 2, "act": "softmax"}], seed=0)
    >>> ax = plotting.network(model)
    """
    spec, most = check_model(model).spec, check_count(most, "most", 3)
    units, heights = zip(*(_shown_units(n, most) for n in spec.widths), strict=True)
    ax = _axes(ax, (1.2 + 1.7 * len(spec.widths), 1.6 + 0.42 * min(most, max(spec.widths))))
    collections = require("matplotlib.collections", "plot", "plotting")
    gap = max(3.0, 0.55 * max(map(max, heights)))
    for i, matrix in enumerate(model.weights):
        values = matrix[np.ix_(units[i + 1], units[i])]
        strength = np.abs(values) / max(np.abs(values).max(), 1e-30)
        ends = [[(gap * i, heights[i][j]), (gap * (i + 1), heights[i + 1][k])] for k, j in np.ndindex(*values.shape)]
        tint = [ORANGE if value > 0 else BLUE for value in values.flat]
        widths = 0.2 + 2.4 * strength.ravel()
        alphas = 0.12 + 0.8 * strength.ravel()
        ax.add_collection(collections.LineCollection(ends, colors=tint, linewidths=widths, alpha=alphas, zorder=1))
    foreground, background = ax.xaxis.label.get_color(), ax.get_facecolor()
    names = ["input", *(layer.act.name for layer in spec.layers)]
    floor = min(map(min, heights)) - 1.0
    for i, (n, name) in enumerate(zip(spec.widths, names, strict=True)):
        place = np.full(len(heights[i]), gap * i)
        ax.scatter(place, heights[i], s=130, color=background, edgecolors=foreground, linewidths=1.2, zorder=2)
        if n > most:
            ax.text(gap * i, 0.0, "⋮", ha="center", va="center", fontsize=16)
        ax.text(gap * i, floor, f"{n}\n{name}", ha="center", va="top")
    ax.set_xlim(-0.35 * gap, gap * (len(names) - 0.65))
    ax.set_ylim(floor - 1.6, -floor - 0.2)
    ax.set_axis_off()
    return ax


def _axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.4)) -> Axes:
    """Return the axes given, or those of a new figure of that many inches, (width, height)."""
    if ax is None:
        return require("matplotlib.figure", "plot", "plotting").Figure(size, layout="constrained").subplots()
    if not hasattr(ax, "add_collection"):
        raise TypeError(f"ax must be a matplotlib axes, got {type(ax).__name__}")
    return ax


def _dashes(n: int) -> list[Any]:
    return ["solid", *(_LINES[i % len(_LINES)] for i in range(n - 1))]


def _picture_shape(x: np.ndarray, shape: tuple[int, int] | None) -> tuple[int, int]:
    """Return (height, width) of the pictures in the rows of x."""
    if x.ndim not in (2, 3) or not x.size:
        raise ValueError(f"x must be pictures, (n_samples, n_in) or (n_samples, height, width), got shape {x.shape}")
    if x.ndim == 3:
        return x.shape[1], x.shape[2]
    n = x.shape[1]
    if shape is None:
        side = math.isqrt(n)
        if side * side != n:
            raise ValueError(f"{n} inputs are no square picture; give shape=(height, width)")
        return side, side
    height, width = (check_count(side, "shape") for side in shape)
    if height * width != n:
        raise ValueError(f"shape {height} × {width} is not the network's {n} inputs")
    return height, width


def _mosaic(tiles: np.ndarray, columns: int, gap: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Lay out pictures in a grid, with a gap of that share of their height above each.

    Returns the grid, NaN in the gaps, and the (top, left) corner of each picture.
    """
    n, height, width = tiles.shape
    columns = min(columns, n)
    above, beside = max(1, round(gap * height)), max(1, round(0.1 * width))
    corners = [(above + i // columns * (height + above), beside + i % columns * (width + beside)) for i in range(n)]
    shape = (corners[-1][0] + height, beside + columns * (width + beside))
    mosaic = np.full(shape, np.nan)
    for tile, (top, left) in zip(tiles, corners, strict=True):
        mosaic[top : top + height, left : left + width] = tile
    return mosaic, corners


def _verdict(true: Any, guess: Any) -> tuple[str, str | None]:
    """Return the text above a picture, and its colour, or None for the usual one."""
    if guess is None:
        return str(true), None
    if true is None:
        return str(guess), None
    return (f"✓ {guess}", GREEN) if guess == true else (f"✗ {guess}, true {true}", RED)


def _class_indices(labels: Any, name: str) -> np.ndarray:
    indices = np.asarray(labels)
    if indices.dtype.kind not in "iub" or indices.ndim != 1 or (indices.size and indices.min() < 0):
        raise ValueError(f"{name} must hold class indices, (n_samples,), got {indices.dtype} {indices.shape}")
    return indices.astype(np.int64)


def _class_colours(n: int) -> list[str]:
    palette = [BLUE, ORANGE, GREEN, RED, PURPLE, *_OTHERS]
    return [palette[k % len(palette)] for k in range(n)]


def _shown_units(n: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the units that are drawn, and their heights around 0; dots take the place in the middle."""
    if n <= most:
        return np.arange(n), (n - 1) / 2 - np.arange(n)
    half = most // 2
    units = np.concatenate([np.arange(half), np.arange(n - half, n)])
    heights = half + 0.0 - np.arange(2 * half + 1)
    return units, np.delete(heights, half)
