"""Ensemble: several networks for the same task, in one object."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Literal, overload

import numpy as np

from ..base.checks import check_flag
from ..base.frames import is_frame
from ..spec import Spec
from . import files
from .data import check_x
from .mlp import MLP, check_classes, check_model, classes_of, labels_for
from .names import Names

__all__ = ["Ensemble", "check_levels", "mean_of", "quantiles_of", "votes_of"]

_OF_NUMBERS = ("mse", "mae", "mbe", "huber")  # losses whose outputs are the target itself


class Ensemble:
    """Networks for the same task: their mean usually predicts better than each one, their spread shows the doubt.

    Deep ensembles (Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using
    deep ensembles", 2017) are networks that differ only in their seeds; `fastmlp.train_many` trains them.

    Parameters
    ----------
    models : iterable of MLP
        At least one network. They are not copied. They must agree in the numbers of inputs and outputs, the activation
        of the last layer, the kind of its outputs (classes, labels, numbers, logarithms of counts), the class names,
        and the feature names, if they have some. Hidden layers, losses of one kind and dtypes may differ.

    Attributes
    ----------
    models : tuple of MLP
        The networks.
    class_names, feature_names : tuple of str, optional
        The models' names of classes and inputs.

    Raises
    ------
    TypeError, ValueError
        For objects that are not models, and for models that do not agree; the message names the first of them.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> spec = [{"n": 1, "act": None}, {"n": 16, "act": "tanh"}, {"n": 1, "act": "linear"}]
    >>> trained = fastmlp.train_many(x, x[:, 0] ** 2, spec, seeds=range(5), lr=0.05, epochs=200)
    >>> ensemble = fastmlp.Ensemble(one.model for one in trained)
    >>> mean, std = ensemble.predict([[0.5], [3.0]], return_std=True)
    >>> bool(abs(mean[0, 0] - 0.25) < 0.05), bool(std[1, 0] > 5 * std[0, 0])  # no data near 3
    (True, True)
    """

    def __init__(self, models: Iterable[MLP]) -> None:
        if isinstance(models, (MLP, str, bytes)) or not isinstance(models, Iterable):
            raise TypeError(f"models must be a list of fastmlp.MLP, got {type(models).__name__}")
        self._models = tuple(models)
        if not self._models:
            raise ValueError("models is empty: an ensemble has at least one network")
        for i, model in enumerate(self._models):
            _check_agreement(check_model(model, f"models[{i}]"), i, self._models[0])
        for i, model in enumerate(self._models):
            if model.feature_names not in (None, self.feature_names):
                raise ValueError(
                    f"models[{i}] has the feature names {model.feature_names}, the others have {self.feature_names}; "
                    "the networks of an ensemble answer one question"
                )

    @property
    def models(self) -> tuple[MLP, ...]:
        """The networks."""
        return self._models

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes or labels, in the order of the outputs."""
        return self._names.classes

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the columns of x, in their order."""
        return self._names.features

    def predict_each(self, x: Any, *, n_threads: int = 1) -> np.ndarray:
        """Predict by every network.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        n_threads : int, default 1
            As in `MLP.predict`.

        Returns
        -------
        ndarray, (n_models, n_samples, n_out)
            Each network's outputs.
        """
        if is_frame(x):  # which is made an array once for all
            widest = max((model.dtype for model in self._models), key=lambda dtype: dtype.itemsize)
            x = check_x(x, self._spec.n_in, widest, names=self._names)
        return np.stack([model.predict(x, n_threads=n_threads) for model in self._models])

    def predict(
        self, x: Any, return_std: bool = False, *, n_threads: int = 1
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the mean of the networks' outputs, and how far they spread.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            Samples in rows.
        return_std : bool, default False
            Whether to return the spread, too.
        n_threads : int, default 1
            As in `MLP.predict`.

        Returns
        -------
        mean : ndarray, (n_samples, n_out)
            The mean over the networks.
        std : ndarray, (n_samples, n_out)
            With ``return_std``: the standard deviation over the networks, √(Σ (output − mean)² / n_models), in the
            output's units. It shows how much they disagree, and does not contain the noise of y.

        Raises
        ------
        TypeError, ValueError
            As `MLP.predict`.
        """
        check_flag(return_std, "return_std")
        return mean_of(self.predict_each(x, n_threads=n_threads), return_std)

    def quantiles(self, x: Any, q: Any, *, n_threads: int = 1) -> np.ndarray:
        """Return quantiles of the networks' outputs, interpolated linearly as by `numpy.quantile`.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            Samples in rows.
        q : float, or list of them
            0 is the smallest output, 0.5 the median, 1 the largest.
        n_threads : int, default 1
            As in `MLP.predict`.

        Returns
        -------
        ndarray
            (n_samples, n_out) for one number q, (len(q), n_samples, n_out) for a list.

        Raises
        ------
        TypeError, ValueError
            For q that are not numbers from 0 to 1, and as `MLP.predict`.

        Examples
        --------
        >>> import fastmlp
        >>> spec = [{"n": 2, "act": None}, {"n": 1, "act": "linear"}]
        >>> ensemble = fastmlp.Ensemble(fastmlp.MLP(spec, seed=seed) for seed in range(9))
        >>> ensemble.quantiles([[1.0, 2.0], [0.0, 1.0]], [0.05, 0.5, 0.95]).shape
        (3, 2, 1)
        """
        levels = check_levels(q)
        return quantiles_of(self.predict_each(x, n_threads=n_threads), levels)

    def votes(self, x: Any, *, n_threads: int = 1) -> np.ndarray:
        """Count the networks that vote for each class.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            Samples in rows.
        n_threads : int, default 1
            As in `MLP.predict`.

        Returns
        -------
        ndarray of int64
            (n_samples, n_classes), in the order of ``class_names``; one sigmoid output has two classes, 0 and 1. If
            every output is a label: (n_samples, n_out), the number of networks that say yes to it.

        Raises
        ------
        ValueError
            For networks without classes, and as `MLP.predict_class`.

        Examples
        --------
        >>> import fastmlp
        >>> spec = [{"n": 2, "act": None}, {"n": 3, "act": "softmax"}]
        >>> ensemble = fastmlp.Ensemble(fastmlp.MLP(spec, seed=seed) for seed in range(9))
        >>> ensemble.votes([[1.0, 2.0], [0.0, 1.0]]).sum(axis=1).tolist()
        [9, 9]
        """
        check_classes(self._spec)
        return votes_of(self.predict_each(x, n_threads=n_threads), self._spec)

    def predict_class(self, x: Any, *, n_threads: int = 1) -> np.ndarray:
        """Predict the index of each sample's class, from the mean of the outputs.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        n_threads : int, default 1
            As in `MLP.predict`.

        Returns
        -------
        ndarray of int64
            In the shape of `MLP.predict_class`.
        """
        check_classes(self._spec)
        return classes_of(mean_of(self.predict_each(x, n_threads=n_threads)), self._spec)

    def predict_label(self, x: Any, *, n_threads: int = 1) -> np.ndarray:
        """Predict the name of each sample's class.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        n_threads : int, default 1
            As in `MLP.predict`.

        Returns
        -------
        ndarray, (n_samples,)
            As `MLP.predict_label` returns them.
        """
        labels = labels_for(self._names, self._spec)
        return labels[self.predict_class(x, n_threads=n_threads)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all networks to one safetensors file, completely or not at all; `fastmlp.load` reads it.

        It is like a file of `MLP.save`, but its tensors are called ``models.1.weights.1`` and so on. Each network has
        its own spec, dtype, class names and metadata.

        Parameters
        ----------
        path : str or path
            The file; if it exists, it is replaced.

        Raises
        ------
        ValueError, TypeError, FileNotFoundError, OSError, ImportError
            As `MLP.save`; the message names the network.

        Examples
        --------
        >>> import fastmlp, tempfile
        >>> spec = [{"n": 2, "act": None}, {"n": 3, "act": "softmax"}]
        >>> ensemble = fastmlp.Ensemble(fastmlp.MLP(spec, seed=seed) for seed in range(3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ensemble.save(f"{folder}/three.safetensors")
        ...     again = fastmlp.load(f"{folder}/three.safetensors")
        >>> again == ensemble
        True
        """
        files.write_ensemble(path, [model._contents() for model in self._models])

    @property
    def _names(self) -> Names:
        """The names of classes, which all models have, and of columns, which some may lack."""
        features = (model.feature_names for model in self._models)
        return self._models[0]._names._replace(features=next(filter(None, features), None))

    @property
    def _spec(self) -> Spec:
        """A spec that shares with all models the numbers of inputs and outputs and the last layer's meaning."""
        return self._models[0].spec

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[MLP]:
        return iter(self._models)

    def __getitem__(self, i: int) -> MLP:
        return self._models[i]

    def __eq__(self, other: object) -> bool:
        return self._models == other._models if isinstance(other, Ensemble) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        spec = self._spec
        output = f"{spec.n_out} {spec.layers[-1].act.name}"
        return f"<fastmlp.Ensemble of {len(self)} networks, {spec.n_in} → {output}>"


@overload
def mean_of(each: np.ndarray, return_std: Literal[False] = False) -> np.ndarray: ...


@overload
def mean_of(each: np.ndarray, return_std: bool) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...


def mean_of(each: np.ndarray, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The mean over the first axis, and with ``return_std`` the standard deviation, summed in float64."""
    mean = each.mean(axis=0, dtype=np.float64).astype(each.dtype)
    return (mean, each.std(axis=0, dtype=np.float64).astype(each.dtype)) if return_std else mean


def quantiles_of(each: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The quantiles over the first axis, at levels that `check_levels` returned."""
    return np.quantile(each, levels, axis=0).astype(each.dtype)


def votes_of(each: np.ndarray, spec: Spec) -> np.ndarray:
    """Count votes as `Ensemble.votes` does, from outputs (n_models, n_samples, n_out) of networks with that spec."""
    rows = np.arange(each.shape[1])
    votes = np.zeros((len(rows), max(2, spec.n_out)), np.int64)
    for outputs in each:
        classes = classes_of(outputs, spec)
        if classes.ndim == 2:
            votes += classes
        else:
            votes[rows, classes] += 1
    return votes


def _check_agreement(model: MLP, i: int, first: MLP) -> None:
    """Raise ValueError if the outputs of network i do not mean the same as those of the first."""
    trouble = ""
    if model.spec.n_in != first.spec.n_in:
        trouble = f"takes {model.spec.n_in} features, models[0] takes {first.spec.n_in}"
    elif model.spec.n_out != first.spec.n_out:
        trouble = f"has {model.spec.n_out} outputs, models[0] has {first.spec.n_out}"
    elif _meaning(model.spec) != _meaning(first.spec):
        trouble = f"has outputs that are {_meaning(model.spec)}, those of models[0] are {_meaning(first.spec)}"
    elif model.class_names != first.class_names:
        trouble = f"has the class names {model.class_names}, models[0] has {first.class_names}"
    if trouble:
        raise ValueError(f"models[{i}] {trouble}; the networks of an ensemble answer one question")


def _meaning(spec: Spec) -> str:
    """The meaning of outputs: their activation, and classes, labels, numbers, or what a special loss makes them."""
    act, loss = spec.layers[-1].act, spec.loss
    what = "labels" if spec.multilabel else "classes" if spec.one_of_many else "numbers"
    if what == "numbers" and not (loss.builtin and loss.name in _OF_NUMBERS):
        what = f"those of the loss {loss.name}"
    slope = "" if act.slope is None else f" of {act.traits.setting} {act.slope:g}"
    return f"{act.name}{slope}, {what}"


def check_levels(q: Any) -> np.ndarray:
    """Return q as float64: one number, or a list of numbers, from 0 to 1."""
    try:
        levels = np.asarray(q)
    except ValueError as error:
        raise ValueError(f"q is not a regular array: {error}") from None
    if levels.dtype.kind not in "fiu":
        raise TypeError(f"q must be a number from 0 to 1 or a list of such, got {q!r}")
    if levels.ndim > 1 or levels.size == 0:
        raise ValueError(f"q must be a number or a list of at least one, got shape {levels.shape}")
    if not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError(f"q must lie between 0 and 1, got {q!r}")
    return levels.astype(np.float64)
