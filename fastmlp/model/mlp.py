"""MLP: a network that predicts, and can be saved and loaded. Training is in training.py."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_flag,
    check_out,
    check_seed,
    dropout_shares,
)
from ..base.generators import new_generator
from ..base.ram import check_memory
from ..base.remedies import OF_TRAINING, attribute_error, check_options
from ..engine.epochs import Samples
from ..engine.lm import LeastSquares, check_squares, covariance
from ..engine.network import Network, evaluate_rows, is_plain, mean_values
from ..init import Uniform, check_init, draw
from ..metrics import named_metrics
from ..spec import Spec, spec_of
from . import files
from .data import check_direction, check_output_weight, check_samples, check_x, counted_rows, plain_targets
from .names import NO_NAMES, Names, check_feature_names, check_labels
from .online import Online

__all__ = ["MLP", "check_classes", "check_model", "classes_of", "labels_for", "restored"]

_TRAINED_BY = "train it: fastmlp.train(x, y, model, epochs=10), or model.partial_fit(x, y) piece by piece"
_ELSEWHERE = {  # what models of other libraries have, and what to write here
    **dict.fromkeys(("fit", "train", "train_on_batch", "fit_generator"), _TRAINED_BY),
    "compile": "nothing is compiled beforehand: loss, optimizer and metrics are options of fastmlp.train",
    "summary": "print(model.spec) shows the layers",
    "score": "model.evaluate(x, y) gives loss and accuracy, or metrics=['r2']",
    **dict.fromkeys(("predict_proba", "predict_on_batch", "__call__"), "model.predict(x) gives the outputs"),
    "predict_classes": "model.predict_class(x)",
    "classes_": "model.class_names; predict_label(x) gives y's own labels",
    "feature_names_in_": "model.feature_names",
    "parameters": "model.params is the vector of all; model.weights and model.biases are by layer",
    **dict.fromkeys(("coefs_", "get_weights", "state_dict"), "model.weights and model.biases are by layer"),
    **dict.fromkeys(("intercepts_", "set_weights", "load_state_dict"), "write to model.weights[i] and model.biases[i]"),
    "layers": "model.spec.layers",
    **dict.fromkeys(("eval", "to", "cuda", "zero_grad"), "nothing of the kind is needed here"),
    "backward": "model.gradient(x, y) gives the loss and its gradient",
    "history": "fastmlp.train returns it: model, history = fastmlp.train(...)",
    "loss": "model.spec.loss; model.evaluate(x, y)['loss'] measures it",
    "load": "fastmlp.load(path)",
    **{name: f"fastmlp.interop.{name}(model, …)" for name in ("to_onnx", "to_torch", "to_keras", "to_c")},
}


class MLP(Network):
    """A fully connected network.

    Parameters
    ----------
    spec : list of dict, or Spec
        The layers, as `Spec` describes them.
    init : str or fastmlp.init.Uniform, default "auto"
        The initial weights: "auto" is he_normal for the relu family and glorot_uniform for other activations.
    seed : int, optional
        The same seed gives the same initial weights.
    dtype : "float32" or "float64"
        The dtype of parameters, computations and results.

    Attributes
    ----------
    params : ndarray, (n_params,)
        All weights and biases in one vector, which may be written to.
    weights, biases : list of ndarray
        Views of ``params``: ``weights[i]`` is (n_out, n_in), ``biases[i]`` (n_out,). A layer without biases has
        read-only zeros, which are no part of ``params``.
    class_names : tuple of str, optional
        The names of the classes or labels: one for each output, or two (for 0 and 1) for a single sigmoid. Training on
        labels sets them, and you may set them, too; `predict_label` returns them.
    feature_names : tuple of str, optional
        The names of the columns of x, from the frame that the network was trained on, or set by you. Frames must then
        have these names in this order; arrays have no names and are taken as they are.
    metadata : dict
        Yours: whatever JSON can hold, kept by `save`, `copy` and pickling.
    specialized : bool
        Whether the network came from `fastmlp.specialize`; read-only, kept by `copy` and pickling, not by `save`.

    Raises
    ------
    TypeError, ValueError
        For a bad spec or option.
    MemoryError
        For a network that needs more memory than is available, before weights are drawn.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": "tanh"}, {"n": 1, "act": "linear"}], seed=0)
    >>> model.predict(np.zeros((4, 2))).shape
    (4, 1)
    """

    def __init__(
        self,
        spec: Sequence[Mapping[str, Any]] | Spec,
        *,
        init: str | Uniform = "auto",
        seed: int | None = None,
        dtype: Any = "float32",
    ) -> None:
        init = check_init(init)
        kind = check_dtype(dtype)
        seed = check_seed(seed)
        spec = spec_of(spec)
        largest = max([layer.n * n_below for layer, n_below in zip(spec.layers, spec.widths, strict=False)])
        drawn = largest * 8  # bytes: a layer's weights are drawn as float64
        check_memory(spec.n_params * kind.itemsize + drawn, "a network of {:,} parameters", spec.n_params)
        self._build(spec, kind)
        # A stream of its own, so that the order of samples, drawn from default_rng(seed), does not depend on the net.
        rng = new_generator(None if seed is None else (seed, 1))
        draw(init, rng, self.spec.layers, self.weights, self.biases)

    def _build(self, spec: Spec, dtype: np.dtype) -> None:
        """Make the network with all parameters zero, without names and metadata."""
        super()._build(spec, dtype)
        self._online: Online | None = None
        self._names = NO_NAMES
        self.metadata: dict[str, Any] = {}

    @property
    def specialized(self) -> bool:
        """Whether a kernel for exactly this shape of network is used: see `fastmlp.specialize`."""
        return bool(self._shape)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes or labels, in the order of the outputs."""
        return self._names.classes

    @class_names.setter
    def class_names(self, names: Sequence[Any] | np.ndarray | None) -> None:
        self._names = self._names._replace(labels=None if names is None else check_labels(names, self.spec))

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the columns of x, in their order."""
        return self._names.features

    @feature_names.setter
    def feature_names(self, names: Sequence[str] | None) -> None:
        self._names = self._names._replace(features=None if names is None else check_feature_names(names, self.spec))

    def predict(self, x: Any, *, out: np.ndarray | None = None, n_threads: int = 1) -> np.ndarray:
        """Predict the outputs for samples: probabilities under softmax and sigmoid, else numbers.

        If the last layer has shift and scale, the outputs are shift + scale · a, in the units of y.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        out : ndarray, (n_samples, n_out), optional
            An array of the network's dtype that the outputs are written to, unless x is refused.
        n_threads : int
            The number of threads, which share more than 1024 samples.

        Returns
        -------
        ndarray, (n_samples, n_out)
            A new array, or ``out``.

        Raises
        ------
        TypeError, ValueError
            For x or out of a wrong kind or shape, and for numbers in x that are not finite.

        Notes
        -----
        A sample's outputs may differ in the last bits (1e-16 of their size in float64, 1e-7 in float32) if it is
        predicted together with other samples, because sums are then taken in another order.

        Examples
        --------
        >>> import fastmlp
        >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": "softmax"}], seed=0)
        >>> model.predict([[0.0, 1.0], [2.0, 3.0]]).shape
        (2, 3)
        """
        if n_threads != 1:
            n_threads = check_count(n_threads, "n_threads")
        if out is None and is_plain(x) and x.shape == self._one_sample:
            outputs = self._engine.predict_one(x)
            if outputs is not None:
                return outputs
        elif self._are_few(x):
            if out is not None:
                check_out(out, (len(x), self.spec.n_out), self.dtype)
            outputs = self._engine.predict_few(x, out)
            if outputs is not None:
                return outputs
        x = check_x(x, self.spec.n_in, self.dtype, names=self._names)
        if out is not None:
            check_out(out, (len(x), self.spec.n_out), self.dtype)
        outputs = np.empty((len(x), self.spec.n_out), self.dtype)
        self._engine.forward(self._engine.binding.view(x), np.arange(len(x)), outputs, False, n_threads)
        if out is None:
            return outputs
        out[...] = outputs
        return out

    def predict_with_dropout(
        self,
        x: Any,
        dropout: float | Sequence[float],
        n: int = 100,
        *,
        seed: int | None = None,
        n_threads: int = 1,
    ) -> np.ndarray:
        """Predict n times, each time with other hidden units left out at random, as in training with dropout.

        The spread of the predictions says how unsure a network that was trained with dropout is of them (Gal and
        Ghahramani, "Dropout as a Bayesian approximation", ICML 2016): ``.mean(axis=0)`` is the prediction,
        ``.std(axis=0)`` the spread. The noise of y is not in it.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        dropout : float or list of float, in [0, 1)
            The share of units left out, as it was in training; one for all hidden layers or one each.
        n : int
            Number of predictions.
        seed : int, optional
            Makes them reproducible: the same bits for any n_threads. With a larger n, the first n predictions are the
            same.
        n_threads : int
            The number of threads, which share more than 1024 samples.

        Returns
        -------
        ndarray, (n, n_samples, n_out)

        Raises
        ------
        TypeError, ValueError
            For a dropout that leaves nothing out, as in a network without hidden layers, and as `predict`.
        MemoryError
            For more predictions than memory holds.

        Examples
        --------
        >>> import fastmlp, numpy as np
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> spec = [{"n": 1, "act": None}, {"n": 64, "act": "relu"}, {"n": 1, "act": "linear"}]
        >>> model, _ = fastmlp.train(x, x[:, 0], spec, lr=0.02, epochs=200, dropout=0.1, seed=0)
        >>> each = model.predict_with_dropout([[0.5], [8.0]], 0.1, n=200, seed=0)
        >>> each.shape
        (200, 2, 1)
        >>> near, far = each.std(axis=0)[:, 0]
        >>> bool(near < far)  # no data near 8
        True
        """
        shares = dropout_shares(dropout, len(self.spec.layers) - 1)
        if not shares:
            why = "the network has no hidden layer" if len(self.spec.layers) == 1 else f"dropout is {dropout!r}"
            raise ValueError(f"{why}, so that nothing is left out; predict(x) has the one answer")
        n, n_threads, seed = check_count(n, "n"), check_count(n_threads, "n_threads"), check_seed(seed)
        x = check_x(x, self.spec.n_in, self.dtype, names=self._names)
        shape = n, len(x), self.spec.n_out
        check_memory(math.prod(shape) * self.dtype.itemsize, f"an array of predictions of shape {shape}")
        outputs = np.empty(shape, self.dtype)
        keys = np.random.default_rng(seed).integers(1 << 62, size=n).tolist()
        kept = [1 - share for share in shares]
        self._engine.forward_with_dropout(self._engine.binding.view(x), outputs, kept, keys, n_threads)
        return outputs

    def quantiles(self, x: Any, *, sort: bool = False, n_threads: int = 1) -> np.ndarray:
        """Predict the quantiles of each target under the loss of `fastmlp.losses.Quantile`.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        sort : bool
            Whether quantiles that cross, one of a higher level being lower, are put in order. Sorted ones are never
            farther from the true quantiles (Chernozhukov, Fernández-Val and Galichon, "Quantile and probability curves
            without crossing", Econometrica 78, 2010).
        n_threads : int
            As in `predict`.

        Returns
        -------
        ndarray, (n_samples, n_targets, n_levels)
            The outputs of `predict`.

        Raises
        ------
        ValueError
            For a network with another loss, and as `predict`.

        Examples
        --------
        >>> import fastmlp
        >>> last = {"n": 4, "act": "linear", "cost": "quantile(0.1, 0.9)"}
        >>> model = fastmlp.MLP([{"n": 2, "act": None}, last], seed=0)
        >>> model.quantiles([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]).shape
        (3, 2, 2)
        """
        levels = self.spec.loss.levels
        if not levels:
            raise ValueError(f"quantiles need the loss quantile(…), this network's is {self.spec.loss.name}")
        check_flag(sort, "sort")
        values = self.predict(x, n_threads=n_threads).reshape(-1, self.spec.n_targets, len(levels))
        return np.sort(values, axis=2) if sort else values

    def predict_class(self, x: Any) -> np.ndarray:
        """Predict the index of each sample's class.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.

        Returns
        -------
        ndarray of int64
            (n_samples,), with 0 or 1 for a single sigmoid output. If every output is a label: (n_samples, n_out), of 0
            and 1.

        Raises
        ------
        ValueError
            For a network whose single output is not a sigmoid, and for samples whose outputs are NaN.

        Examples
        --------
        >>> import fastmlp
        >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": "softmax"}], seed=0)
        >>> model.predict_class([[0.0, 1.0], [2.0, 3.0]]).shape
        (2,)
        """
        check_classes(self.spec)
        return classes_of(self.predict(x), self.spec)

    def predict_label(self, x: Any) -> np.ndarray:
        """Predict the name of each sample's class.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.

        Returns
        -------
        ndarray, (n_samples,)
            Labels of the dtype that the network was trained on; text if ``class_names`` were given as text.

        Raises
        ------
        ValueError
            For a network without class names, or one whose outputs are several labels a sample, and as `predict_class`.

        Examples
        --------
        >>> import fastmlp
        >>> spec = [{"n": 1, "act": None}, {"n": 3, "act": "softmax"}]
        >>> x, y = [[-1.0], [0.0], [1.0]] * 20, ["low", "middle", "high"] * 20
        >>> model, history = fastmlp.train(x, y, spec, lr=0.1, epochs=100, seed=0)
        >>> model.class_names
        ('high', 'low', 'middle')
        >>> model.predict_label([[0.9], [-0.9]]).tolist()
        ['high', 'low']
        """
        labels = labels_for(self._names, self.spec)
        return labels[self.predict_class(x)]

    def forward(self, x: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Compute every layer's pre-activations z and activations a.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.

        Returns
        -------
        zs : list of ndarray
            One for each layer, (n_samples, n_out).
        activations : list of ndarray
            The shifted and scaled input, then one for each layer; that of the last layer without its shift and scale.
        """
        x = check_x(x, self.spec.n_in, self.dtype, names=self._names)
        return self._engine.layers(self._engine.binding.view(x))

    def evaluate(
        self,
        x: Any,
        y: Any,
        metrics: Any = None,
        *,
        sample_weight: Any = None,
        output_weight: Any = None,
        n_threads: int = 1,
    ) -> dict[str, float]:
        """Measure the network on samples whose targets are known.

        If the last layer has shift and scale, the loss is in the network's units, as in training; metrics are in those
        of y.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        y : array
            Classes, labels or numbers, as in `fastmlp.train`.
        metrics : str, function, or a list of them, optional
            Further measures, as in `fastmlp.train`.
        sample_weight : array, (n_samples,), optional
            Numbers w of at least 0: every value v becomes Σ w v / Σ w. A metric of your own gets the weights if it has
            a parameter of that name.
        output_weight : array, (n_out,), optional
            How much each output counts in the loss, as in `fastmlp.train`; not in metrics.
        n_threads : int
            The number of threads, which share more than 1024 samples.

        Returns
        -------
        dict
            "loss", the mean; "accuracy" if the outputs are classes or labels; and the metrics, by name.

        Raises
        ------
        TypeError, ValueError
            For bad input, and for a metric that does not fit the outputs.

        Examples
        --------
        >>> import fastmlp
        >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": "softmax"}], seed=0)
        >>> sorted(model.evaluate([[0.0, 1.0], [2.0, 3.0]], [0, 2], metrics="balanced_accuracy"))
        ['accuracy', 'balanced_accuracy', 'loss']
        """
        if n_threads != 1:
            n_threads = check_count(n_threads, "n_threads")
        if metrics is None and sample_weight is None and output_weight is None and self._are_few(x):
            targets = plain_targets(y, self.spec, len(x))
            sums = None if targets is None else self._engine.score_few(x, targets)
            if sums is not None and math.isfinite(sums[0]):
                return mean_values(self.spec, sums, len(x))
        metrics = named_metrics(metrics, self.spec)
        samples = self._checked(x, y, sample_weight, output_weight)
        data = samples.x, samples.y, samples.weights, counted_rows(samples)
        return evaluate_rows(self, *data, metrics, n_threads, samples.output_weights)

    def partial_fit(
        self,
        x: Any,
        y: Any,
        *,
        lr: float = 0.01,
        optimizer: Any = None,
        batch_size: int = 1,
        sample_weight: Any = None,
        output_weight: Any = None,
        **unknown: Any,
    ) -> dict[str, float]:
        """Learn from some samples, one row or many, in their order; call it again with the next ones.

        The optimiser's state is kept from call to call, but not in copies and pickles of the model. Several threads may
        call it on one model: the calls run one after another, while predictions go on.

        Parameters
        ----------
        x, y, sample_weight, output_weight
            As in `fastmlp.train`. Labels need ``class_names``, since a few samples may not have all; true and false do
            not. The column names of the first frame are remembered.
        lr : float
            Learning rate of these steps.
        optimizer : str or fastmlp.optimizers.Optimizer, optional
            When left out, the one of the last call, or "sgd" in the first call. A new one starts with a new state.
        batch_size : int
            The number of samples in a step.

        Returns
        -------
        dict
            Loss and accuracy of these samples, each measured before it was learnt from.

        Raises
        ------
        ValueError, TypeError
            For bad input, before anything is changed.
        DivergenceError
            When the loss or a parameter is no longer finite; the model is what it was before the call.
        RuntimeError
            When a signal handler calls it during another call on the same model; nothing is then done.

        Examples
        --------
        >>> import fastmlp
        >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "linear"}], seed=0)
        >>> for _ in range(200):
        ...     values = model.partial_fit([[1.0, 2.0]], [3.0], lr=0.1)
        >>> model.predict([[1.0, 2.0]]).round(3).tolist()
        [[3.0]]
        """
        if unknown:
            known = MLP.partial_fit.__kwdefaults__ or ()
            check_options(unknown, known, "partial_fit()", {**OF_TRAINING, "classes": "model.class_names = […] before"})
        with self._alone:
            if self._online is None:
                self._online = Online(self)
            values, self._names = self._online.fit(
                x, y, lr, optimizer, batch_size, sample_weight, output_weight, self._names
            )
            return values

    def gradient(self, x: Any, y: Any, *, output_weight: Any = None) -> tuple[float, np.ndarray]:
        """Compute the mean loss over the samples, and its gradient.

        If the last layer has shift and scale, the loss is in the network's units, as in training.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        y : array
            Classes, labels or numbers, as in `fastmlp.train`.
        output_weight : array, (n_out,), optional
            How much each output counts in the loss, as in `fastmlp.train`.

        Returns
        -------
        loss : float
            The mean loss.
        gradient : ndarray, (n_params,)
            In the order of ``params``; `unflatten` takes it apart. It is 0 for parameters of frozen layers.
        """
        if output_weight is None and self._are_few(x):
            targets = plain_targets(y, self.spec, len(x))
            if targets is not None:
                loss, gradient = self._engine.gradient_of_few(x, targets)
                if math.isfinite(loss):
                    return loss, gradient  # else the checks below say why
        samples = self._checked(x, y, None, output_weight)
        rows = counted_rows(samples)
        weight = samples.weight(rows)
        totals, gradient = self._engine.gradient(samples.view(self._engine.binding), rows, weight)
        return float(totals[0]) / weight, gradient

    def jacobian(self, x: Any, wrt: str = "params") -> np.ndarray:
        """Compute the derivatives of every output of every sample.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            Samples in rows.
        wrt : "params" or "inputs"
            What to take the derivatives by.

        Returns
        -------
        ndarray
            (n_samples, n_out, n_params) in the order of ``params``, or (n_samples, n_out, n_in) by the inputs: by x as
            given, before its shift and scale, of the outputs as `predict` returns them.
        """
        check_choice(wrt, "wrt", ("params", "inputs"))
        by_inputs = wrt == "inputs"
        if self._are_few(x):
            jacobian = self._engine.jacobian_of_few(x, by_inputs)
            if jacobian is not None:
                return jacobian
        x = check_x(x, self.spec.n_in, self.dtype, names=self._names)
        return self._engine.jacobian(self._engine.binding.view(x), by_inputs)

    def jvp(self, x: Any, v: Any, wrt: str = "inputs") -> np.ndarray:
        """Compute what the outputs change by along a direction: the Jacobian times v, without the Jacobian.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            Samples in rows.
        v : array
            Directions of the inputs as given, (n_samples, n_in), or one of the parameters, (n_params,).
        wrt : "inputs" or "params"
            What moves along v.

        Returns
        -------
        ndarray, (n_samples, n_out)
            The change of the outputs of `predict`.

        Raises
        ------
        TypeError, ValueError
            For a v of another shape, or with numbers that are not finite, and for a bad x.

        Examples
        --------
        >>> import fastmlp, numpy as np
        >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": "tanh"}, {"n": 1, "act": "linear"}], seed=0)
        >>> x, v = [[0.5, -1.0]], [[1.0, 0.0]]
        >>> bool(np.allclose(model.jvp(x, v), model.jacobian(x, wrt="inputs")[:, :, 0]))
        True
        """
        x, by_inputs = self._samples_along(x, wrt)
        v = check_direction(v, x.shape if by_inputs else self.params.shape, self.dtype, "v")
        with self._engine.tangents(curved=False) as tangents:
            return tangents.jvp(self._engine.binding.view(x), v, by_inputs)

    def vjp(self, x: Any, u: Any, wrt: str = "inputs") -> np.ndarray:
        """Compute the derivatives of a weighted sum of outputs: u times the Jacobian, without the Jacobian.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            Samples in rows.
        u : array, (n_samples, n_out)
            The outputs' weights.
        wrt : "inputs" or "params"
            What to take the derivatives by.

        Returns
        -------
        ndarray
            (n_samples, n_in), of each sample's sum by its inputs as given; or (n_params,), of the sum over all samples,
            in the order of ``params``.

        Raises
        ------
        TypeError, ValueError
            For a u of another shape, or with numbers that are not finite, and for a bad x.

        Examples
        --------
        >>> import fastmlp, numpy as np
        >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": "tanh"}, {"n": 2, "act": "linear"}], seed=0)
        >>> x, u = [[0.5, -1.0]], [[1.0, 0.0]]
        >>> bool(np.allclose(model.vjp(x, u), model.jacobian(x, wrt="inputs")[:, 0]))
        True
        """
        x, by_inputs = self._samples_along(x, wrt)
        u = check_direction(u, (x.shape[0], self.spec.n_out), self.dtype, "u")
        with self._engine.tangents(curved=False) as tangents:
            return tangents.vjp(self._engine.binding.view(x), u, by_inputs)

    def _samples_along(self, x: Any, wrt: Any) -> tuple[Any, bool]:
        """Checked x, and whether derivatives are by the inputs."""
        check_choice(wrt, "wrt", ("params", "inputs"))
        return check_x(x, self.spec.n_in, self.dtype, names=self._names), wrt == "inputs"

    def hvp(self, x: Any, y: Any, v: Any, *, sample_weight: Any = None, output_weight: Any = None) -> np.ndarray:
        """Compute the Hessian of the mean loss by the parameters, times v, in the time of two or three gradients.

        It is what `gradient` changes by along v (Pearlmutter, "Fast exact multiplication by the Hessian", Neural
        Computation 6, 1994), exact but for rounding; the Hessian itself is never made.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            Samples in rows.
        y : array
            Classes, labels or numbers, as in `fastmlp.train`.
        v : array, (n_params,)
            In the order of ``params``.
        sample_weight : array, (n_samples,), optional
            Numbers w of at least 0: the mean is Σ w loss / Σ w.
        output_weight : array, (n_out,), optional
            How much each output counts in the loss, as in `fastmlp.train`.

        Returns
        -------
        ndarray, (n_params,)

        Raises
        ------
        TypeError, ValueError
            For a v of another shape, or with numbers that are not finite, for bad samples, and for an activation or
            loss of your own without a second derivative.

        Notes
        -----
        relu, leaky_relu, hard_tanh, step and their like, and the losses mae, hinge and quantile, have kinks. Between
        them their second derivative is 0, and it counts as 0 at the kinks, too: the product is right except there.

        Examples
        --------
        >>> import fastmlp, numpy as np
        >>> model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": "linear"}])
        >>> x, y = [[1.0], [3.0]], [0.0, 0.0]  # the mean of ½ (w x + b)² has second derivatives mean x², mean x, 1
        >>> model.hvp(x, y, [1.0, 0.0]).tolist()
        [5.0, 2.0]
        """
        if sample_weight is None and output_weight is None and self._are_few(x):
            targets = plain_targets(y, self.spec, len(x))
            if targets is not None:
                v = check_direction(v, self.params.shape, self.dtype, "v")
                product = self._engine.hvp_of_few(x, targets, v)
                if product is not None:
                    return product  # else the checks below say why
        samples = self._checked(x, y, sample_weight, output_weight)
        v, rows = check_direction(v, self.params.shape, self.dtype, "v"), counted_rows(samples)
        with self._engine.tangents(curved=True) as tangents:
            view = samples.view(self._engine.binding, curved=True)
            return tangents.hvp(view, rows, samples.weight(rows), v)

    def hessian(
        self,
        x: Any,
        y: Any = None,
        wrt: str = "params",
        *,
        sample_weight: Any = None,
        output_weight: Any = None,
    ) -> np.ndarray:
        """Compute the second derivatives of the mean loss by the parameters, or of every output by the inputs.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            Samples in rows.
        y : array, optional
            By the parameters: classes, labels or numbers, as in `fastmlp.train`.
        wrt : "params" or "inputs"
            What to take the derivatives by.
        sample_weight : array, (n_samples,), optional
            By the parameters: numbers w of at least 0, the mean is Σ w loss / Σ w.
        output_weight : array, (n_out,), optional
            By the parameters: how much each output counts in the loss, as in `fastmlp.train`.

        Returns
        -------
        ndarray
            (n_params, n_params) in the order of ``params``, of the loss whose gradient `gradient` is, in the time of
            n_params products (`hvp`); or (n_samples, n_out, n_in, n_in) of the outputs of `predict` by the inputs as
            given. Symmetric to the last bit.

        Raises
        ------
        TypeError, ValueError
            For bad samples, for y or weights where derivatives are by the inputs, and for an activation or loss
            of your own without a second derivative.
        MemoryError
            Before any work, for one that takes more memory than is available.

        Notes
        -----
        For kinks see `hvp`.

        Examples
        --------
        >>> import fastmlp
        >>> model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": "linear"}])
        >>> model.hessian([[1.0], [3.0]], [0.0, 0.0]).tolist()
        [[5.0, 2.0], [2.0, 1.0]]
        >>> model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, {"n": 2, "act": "linear"}])
        >>> model.hessian([[1.0, 2.0, 3.0]], wrt="inputs").shape
        (1, 2, 3, 3)
        """
        check_choice(wrt, "wrt", ("params", "inputs"))
        if wrt == "inputs":
            for name, value in (("y", y), ("sample_weight", sample_weight), ("output_weight", output_weight)):
                if value is not None:
                    raise ValueError(
                        f"{name} is given, but the outputs' derivatives by the inputs know no loss: leave it out"
                    )
            x = check_x(x, self.spec.n_in, self.dtype, names=self._names)
            with self._engine.tangents(curved=True) as tangents:
                return tangents.input_hessians(self._engine.binding.view(x))
        if y is None:
            raise ValueError("y is missing: the Hessian by the parameters is the loss's; or give wrt='inputs'")
        samples = self._checked(x, y, sample_weight, output_weight)
        rows = counted_rows(samples)
        with self._engine.tangents(curved=True) as tangents:
            view = samples.view(self._engine.binding, curved=True)
            return tangents.hessian(view, rows, samples.weight(rows))

    def covariance(
        self, x: Any, y: Any, *, sample_weight: Any = None, output_weight: Any = None, n_threads: int = 1
    ) -> np.ndarray:
        """Compute the parameters' covariance at a minimum of squared errors, as after ``optimizer="lm"`` without l2.

        It is s² (JᵀJ)⁻¹, with the outputs' Jacobian J and s² = Σ w r² / (number of residuals r - n_params), as in
        ``scipy.optimize.curve_fit``. It is right if residuals are independent, and if the outputs are nearly linear in
        the parameters within their errors. ``np.sqrt(np.diag(…))`` are the standard errors.

        Parameters
        ----------
        x : array, (n_samples, n_in)
            The samples that the network was trained on.
        y : array, (n_samples, n_out), or (n_samples,)
            Their targets.
        sample_weight : array, (n_samples,), optional
            A sample of weight w has residuals of variance s² / w; those of weight 0 do not count.
        output_weight : array, (n_out,), optional
            The variance of an output of weight w is divided by w, too.
        n_threads : int
            The number of threads that share the samples.

        Returns
        -------
        ndarray of float64, (n_params, n_params)
            In the order of ``params``; 0 for those of frozen layers. It is infinite, with a warning, if the samples do
            not determine all others.

        Raises
        ------
        ValueError
            For a loss other than mse.

        Examples
        --------
        >>> import fastmlp, numpy as np
        >>> x = np.arange(20.0)[:, None]
        >>> y = 2 * x[:, 0] + np.random.default_rng(0).normal(size=20)
        >>> line, _ = fastmlp.train(x, y, [{"n": 1, "act": None}, {"n": 1, "act": "linear"}], optimizer="lm", seed=0)
        >>> [round(float(error), 2) for error in np.sqrt(np.diag(line.covariance(x, y)))]
        [0.03, 0.38]
        """
        check_squares(self.spec)
        samples = self._checked(x, y, sample_weight, output_weight)
        squares = LeastSquares(self, samples, counted_rows(samples), {}, check_count(n_threads, "n_threads"))
        result = covariance(squares, self.params)
        if result is None:
            message = "the samples do not determine all parameters: their covariance is infinite"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            return np.full((self.params.size, self.params.size), np.inf)
        return result

    def _checked(self, x: Any, y: Any, sample_weight: Any, output_weight: Any) -> Samples:
        """Check samples and their weights, given by the names of arguments."""
        output_weight = check_output_weight(output_weight, self.spec, self.dtype)
        return check_samples(x, y, self.spec, self.dtype, sample_weight, None, "", self._names, output_weight)

    def copy(self) -> MLP:
        """Return an independent network with the same spec, parameters, names and metadata."""
        other = MLP.__new__(MLP)
        other.__setstate__(self.__getstate__())
        other.metadata = deepcopy(self.metadata)
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file, completely or not at all; `fastmlp.load` reads it.

        It holds tensors ``weights.1`` (n_out, n_in), ``biases.1`` (n_out,) and so on, and as metadata the spec, with
        ``shift`` and ``scale`` of the input and of the last layer, the dtype, ``class_names`` with the dtype of the
        labels, ``feature_names`` and ``metadata``; not whether it is ``specialized``.

        Parameters
        ----------
        path : str or path
            The file; if it exists, it is replaced.

        Raises
        ------
        ValueError, TypeError
            When the network has an activation or loss of your own, parameters that are not finite, or metadata that
            JSON cannot hold; nothing is then written.
        FileNotFoundError, OSError
            When the folder does not exist, or cannot be written to.
        ImportError
            When safetensors is missing: ``pip install 'fastmlp[files]'``.

        Examples
        --------
        >>> import fastmlp, tempfile
        >>> model = fastmlp.MLP([{"n": 4, "act": None}, {"n": 3, "act": "softmax"}])
        >>> model.class_names = ["setosa", "versicolor", "virginica"]
        >>> model.metadata["columns"] = ["sepal length", "sepal width", "petal length", "petal width"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/iris.safetensors")
        ...     fastmlp.load(f"{folder}/iris.safetensors").class_names
        ('setosa', 'versicolor', 'virginica')
        """
        files.write(path, self._contents())

    def _contents(self) -> files.Contents:
        """Return what a file keeps of the network; the tensors are views of its parameters."""
        tensors = files.named_tensors(self.spec, self.weights, self.biases)
        return files.Contents(self.spec, self.dtype, tensors, self._names, self.metadata)

    if not TYPE_CHECKING:  # for which a model would have any attribute

        def __getattr__(self, name: str) -> Any:
            raise attribute_error(self, name, _ELSEWHERE)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MLP):
            return NotImplemented
        return self.spec == other.spec and self.dtype == other.dtype and np.array_equal(self._params, other._params)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        layers = [str(self.spec.n_in), *(f"{layer.n} {layer.act.name}" for layer in self.spec.layers)]
        size = f"{self._params.size} {self.dtype} parameters{', specialized' if self.specialized else ''}"
        return f"<fastmlp.MLP {' → '.join(layers)}, {self.spec.loss.name}, {size}>"

    def __getstate__(self) -> dict[str, Any]:
        return {
            "spec": self.spec, "dtype": self.dtype.name, "params": np.array(self._params),
            "names": tuple(self._names), "metadata": self.metadata, "specialized": self.specialized,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._build(state["spec"], np.dtype(state["dtype"]))
        self.params = state["params"]
        self._names = Names(*state["names"])
        self.metadata = state["metadata"]
        if state.get("specialized"):
            self._specialize()


def restored(contents: files.Contents) -> MLP:
    """Make the network whose contents a file has."""
    model = MLP.__new__(MLP)
    model._build(contents.spec, contents.dtype)
    for name, values in files.named_tensors(model.spec, model.weights, model.biases).items():
        values[...] = contents.tensors[name]
    model._names, model.metadata = contents.names, contents.metadata
    return model


def check_classes(spec: Spec) -> None:
    """Raise ValueError for a network without classes: one whose single output is not a sigmoid."""
    if spec.n_out == 1 and not spec.multilabel:
        raise ValueError(f"predict_class needs classes; this network has one {spec.layers[-1].act.name} output")


def classes_of(outputs: np.ndarray, spec: Spec) -> np.ndarray:
    """The classes that `MLP.predict_class` gives for outputs (n_samples, n_out); a ValueError if one is NaN."""
    if np.isnan(outputs).any():
        row = int(np.argmax(np.isnan(outputs).any(axis=1)))
        raise ValueError(f"sample {row} has no class: its outputs are NaN; are x and all parameters of usual size?")
    if not spec.multilabel:
        return np.argmax(outputs, axis=1)
    labels = (outputs > 0.5).astype(np.int64)
    return labels[:, 0] if spec.n_out == 1 else labels


def labels_for(names: Names, spec: Spec) -> np.ndarray:
    """The labels that `MLP.predict_label` returns, (n_classes,); a ValueError if the network has none."""
    check_classes(spec)
    if spec.multilabel and spec.n_out > 1:
        raise ValueError("predict_label needs one class a sample; predict_class(x) has a column each")
    if names.labels is None:
        raise ValueError(
            "predict_label needs class names; train on labels, or set model.class_names = […], one a class in the "
            "order of the outputs; predict_class(x) gives indices"
        )
    return names.labels


def check_model(model: Any, name: str = "model") -> MLP:
    """Return a ``model`` argument; a TypeError for anything but an MLP."""
    if not isinstance(model, MLP):
        hint = "; give its .model" if isinstance(getattr(model, "model", None), MLP) else ""
        raise TypeError(f"{name} must be a fastmlp.MLP, got {type(model).__name__}{hint}")
    return model
