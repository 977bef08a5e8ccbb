"""The demonstration: training on real digits with a live bar, then accuracy on unseen ones, throughput and pictures."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.extras import require
from ..datasets import load_digits, load_mnist
from ..init import Uniform
from ..kernels.report import level
from ..model.history import History
from ..model.mlp import MLP
from ..model.training import train

__all__ = ["run"]

Images = tuple[np.ndarray, np.ndarray]


def run(
    data: str = "digits",
    folder: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    plots: str | os.PathLike[str] | None = None,
) -> None:
    """Train on small digits or, with ``data="mnist"``, the tutorial's net beside Keras, then all of MNIST.

    Parameters
    ----------
    data : "digits" or "mnist"
    folder : str, optional
        Where MNIST's files are; see `fastmlp.datasets.load_mnist`.
    epochs : int, optional
        The number of epochs, instead of the experiments' own.
    seed : int
    plots : path, optional
        A folder that gets pictures as PNG files: curves, digits with their labels, confusion matrix, weights. Needs
        ``pip install 'fastmlp[plot]'``.

    Examples
    --------
    >>> from fastmlp.cli import demo
    >>> demo.run(epochs=1)  # doctest: +ELLIPSIS
    digits, 64-32-10
    ...
    """
    album = Album(plots)
    if data == "digits":
        train_data, test = load_digits()
        model, history = _experiment("digits, 64-32-10", train_data, test, 32, 1 / 16, epochs or 30, 0.02, seed)
        album.add_all("digits", model, {"": history}, test)
        return
    (x, y), test = load_mnist(folder)
    first_1000 = x[:1000], y[:1000]
    # The tutorial's α of 0.00001 took the sum over all 1,000 samples, 1,000 times an epoch; one by one, 0.01 is alike.
    title = "the tutorial's net, 784-10-10, on the first 1,000 images of MNIST"
    init = Uniform(0, 0.001)
    model, history = _experiment(title, first_1000, test, 10, 1 / 255, epochs or 20, 0.01, seed, init=init)
    histories: dict[str, Mapping[str, Sequence[float]]] = {"fastmlp": history}
    album.add_pictures("mnist-1000-fastmlp", model.predict_class, test)
    if importlib.util.find_spec("keras") and _choose_backend():
        predict, histories["Keras"] = _keras(first_1000, test, epochs or 50, seed)
        album.add_pictures("mnist-1000-keras", predict, test)
    else:
        print("Keras, or its backend, is not installed: pip install keras torch trains the tutorial's other half\n")
    album.add_curves("mnist-1000", histories)
    model, history = _experiment(
        "784-128-10 on all 60,000 images of MNIST",
        *((x, y), test, 128, 1 / 255, epochs or 4, lambda epoch: 0.03 * 0.5**epoch, seed),
    )
    album.add_all("mnist", model, {"": history}, test)


class Album:
    """A folder that pictures are drawn into; without a folder nothing is drawn."""

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = None if folder is None else Path(folder)
        if self._folder is not None:
            require("matplotlib", "plot", "plots")
            self._folder.mkdir(parents=True, exist_ok=True)

    def add_all(
        self, name: str, model: MLP, histories: Mapping[str, Mapping[str, Sequence[float]]], test: Images
    ) -> None:
        """Draw four pictures of a trained model."""
        from .. import plotting

        self.add_curves(name, histories)
        self.add_pictures(f"{name}-pictures", model.predict_class, test)
        self._add(f"{name}-confusion", lambda: plotting.confusion_matrix(test[1], model.predict_class(test[0])))
        self._add(f"{name}-weights", lambda: plotting.weights(model))

    def add_curves(self, name: str, histories: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
        """Draw the tutorial's plot of accuracy and loss, all histories in one."""
        from .. import plotting

        self._add(f"{name}-curves", lambda: plotting.curves(histories))

    def add_pictures(self, name: str, predict_class: Callable[[np.ndarray], np.ndarray], test: Images) -> None:
        """Draw the tutorial's grid of the first eight unseen digits."""
        from .. import plotting

        x, y = (values[:8] for values in test)
        self._add(name, lambda: plotting.pictures(x, y, predict_class(x)))

    def _add(self, name: str, draw: Callable[[], Any]) -> None:
        if self._folder is not None:
            path = self._folder / f"{name}.png"
            draw().figure.savefig(path, dpi=120)
            print(f"drawn: {path}")


def _experiment(
    title: str,
    data: Images,
    test: Images,
    hidden: int,
    scale: float,
    epochs: int,
    lr: Any,
    seed: int,
    **options: Any,
) -> tuple[MLP, History]:
    """Train one hidden layer of relu units on images, print its time and accuracy, and return model and history.

    Ctrl-C ends the training: its result so far is reported, and the KeyboardInterrupt is raised again.
    """
    x, y = data
    spec: list[dict[str, Any]] = [
        {"n": x.shape[1], "act": None, "scale": scale},
        {"n": hidden, "act": "relu"},
        {"n": 10, "act": "softmax"},
    ]
    print(title, flush=True)
    begin = time.perf_counter()
    if train(x[:1000], y[:1000], spec, epochs=4, progress=False).history.interrupted:
        raise KeyboardInterrupt
    ready = time.perf_counter()
    model, history = train(x, y, spec, lr=lr, epochs=epochs, seed=seed, progress=True, **options)
    seconds = time.perf_counter() - ready
    print(model.spec)
    print(f"kernels ready in {ready - begin:.2f} s ({level()})")
    if history.interrupted:
        print(f"interrupted after {history.epochs:,} of {epochs:,} epochs")
    if history:
        _report(len(x) * history.epochs, seconds, model.evaluate(*test)["accuracy"], test)
    if history.interrupted:
        raise KeyboardInterrupt
    return model, history


def _choose_backend() -> bool:
    """Let Keras use a backend that is installed, TensorFlow first, as Keras does; False if there is none."""
    backends = [name for name in ("tensorflow", "torch", "jax") if importlib.util.find_spec(name)]
    if backends:
        os.environ.setdefault("KERAS_BACKEND", backends[0])
    return "KERAS_BACKEND" in os.environ


def _keras(data: Images, test: Images, epochs: int, seed: int) -> tuple[Callable[..., np.ndarray], dict[str, Any]]:
    """Train the tutorial's net in Keras with lr 0.1 on batches of 32, and return its predict_class and its history."""
    import keras

    x, y = data
    print(f"the same in Keras on {keras.backend.backend()}: lr 0.1, {epochs} epochs, batches of 32", flush=True)
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Dense(10, "relu"), keras.layers.Dense(10, "softmax")]
    net = keras.Sequential([keras.Input((784,)), *layers])
    net.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    net.evaluate(x[:2], y[:2], verbose=0)  # what it makes ready is not counted, as above
    begin = time.perf_counter()
    history = net.fit(x, y, batch_size=32, epochs=epochs, verbose=0).history
    seconds = time.perf_counter() - begin

    def predict_class(images: np.ndarray) -> np.ndarray:
        return np.argmax(net.predict(images, verbose=0), axis=1)

    _report(len(x) * epochs, seconds, float(np.mean(predict_class(test[0]) == test[1])), test)
    return predict_class, history


def _report(samples: int, seconds: float, accuracy: float, test: Images) -> None:
    print(f"trained on {samples:,} samples in {seconds:.2f} s: {samples / seconds:,.0f} samples/s,", end=" ")
    print(f"{1e6 * seconds / samples:.2f} µs a sample")
    print(f"accuracy on {len(test[0]):,} unseen images: {100 * accuracy:.2f} %\n")
