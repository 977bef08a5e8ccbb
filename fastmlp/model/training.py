"""`train`: from arguments to a trained model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Never

from ..base.remedies import OF_TRAINING, attribute_error, check_options
from ..init import Uniform
from ..losses import Loss
from ..optimizers import Optimizer
from ..residuals import Residual
from ..schedules import Schedule
from ..spec import Spec
from .callbacks import Callback
from .checkpoints import Checkpoint
from .history import History
from .mlp import MLP
from .options import Options, TrainingData
from .run import TrainingRun
from .stopping import EarlyStopping

__all__ = ["TrainResult", "train"]


class TrainResult(NamedTuple):
    """The result of `train`: ``model, history = fastmlp.train(...)``, or ``fastmlp.train(...).model``.

    Attributes
    ----------
    model : MLP
        The trained network.
    history : History
        ``history["loss"]`` and so on, with one number for each epoch.
    """

    model: MLP
    history: History


def _no_attribute(result: TrainResult, name: str) -> Any:
    """Raise AttributeError; for an attribute of the model, say that the result is a pair with it."""
    remedy = "train returns two: model, history = fastmlp.train(...), or fastmlp.train(...).model"
    raise attribute_error(result, name, {name: remedy} if hasattr(MLP, name) else {})


if not TYPE_CHECKING:  # for which a result would have any attribute
    TrainResult.__getattr__ = _no_attribute


def train(
    x: Any,
    y: Any,
    spec: Sequence[Mapping[str, Any]] | Spec | MLP,
    *,
    lr: float | Schedule | Callable[[int], float] = 0.01,
    epochs: int = 10,
    batch_size: int | str = 1,
    optimizer: str | Optimizer = "sgd",
    loss: str | Loss | None = None,
    metrics: Any = None,
    shuffle: bool = True,
    standardize: bool = False,
    seed: int | None = None,
    init: str | Uniform = "auto",
    dtype: Any = None,
    validation_data: tuple[Any, Any] | tuple[Any, Any, Any] | None = None,
    validation_fraction: float = 0.0,
    early_stopping: bool | int | EarlyStopping | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    output_weight: Any = None,
    class_names: Sequence[Any] | None = None,
    dydx: Any = None,
    dydx_weight: Any = 1.0,
    residual: Residual | None = None,
    residual_weight: Any = 1.0,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float | Sequence[float] = 0.0,
    clip_norm: float | None = None,
    max_norm: float | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    n_threads: int = 1,
    **unknown: Never,
) -> TrainResult:
    """Train a network by stochastic gradient descent.

    Parameters
    ----------
    x : array or frame, (n_samples, n_in)
        Samples in rows, of any real dtype and any strides, read-only or memory-mapped: an array is neither copied nor
        written to. A frame of pandas, polars or Arrow whose columns are not one array is copied, column by column; the
        model remembers their names.
    y : array
        For softmax, cross_entropy and hinge: class indices (n_samples,) or rows of probabilities (n_samples, n_out).
        For sigmoid: 0 or 1 for each label. For regression: numbers (n_samples,) or (n_samples, n_out). Instead of class
        indices, also for one sigmoid, there may be labels (n_samples,): text, booleans, categories or objects; integers
        are always indices. The labels, sorted as `numpy.unique` does, become the model's ``class_names``, unless it has
        some. NaN, in numbers and in several labels, means "not measured": a sample's loss is the sum over its measured
        outputs, and a sample without any has weight 0. y is read once, at the start: to train on other values, train
        the model again, or use `MLP.partial_fit`.
    spec : list of dict, Spec, or MLP
        The network (see `Spec`). The training of a model goes on, in place.
    lr : float, schedule, or function of the epoch (counted from 0)
        Learning rate; see `fastmlp.schedules`. A function is called for the first 10,000 epochs before training begins,
        and for later ones when they begin.
    epochs : int
        The number of passes over all samples.
    batch_size : int or "full"
        1 is per-sample SGD: each sample makes a step, and the next one uses the new weights. A larger batch makes one
        step along the gradient of its mean loss.
    optimizer : str or fastmlp.optimizers.Optimizer
        "sgd", "adam", "adamw", "adam_hat", "amsgrad", "nadam", "lion", "rmsprop", "adagrad", or an object with other
        settings. "lbfgs" and, for small networks under mse, "lm" (Levenberg-Marquardt) are other methods: an epoch is
        one iteration over all samples, and options that they do not have (lr, batch_size, l1, dropout, clip_norm,
        max_norm) are refused.
    loss : str or Loss, optional
        Used instead of the spec's ``cost``; both given and different is an error.
    metrics : name, function of (y, y_hat), or list of either, optional
        "f1", "roc_auc", "rmse" and others of `fastmlp.metrics`, or your own functions. They are added to the
        history, next to loss and accuracy, each under its name. They need the epoch's outputs, (n_samples, n_out), in
        memory. A function with a parameter ``sample_weight`` gets the samples' weights, or None.
    shuffle : bool
        Whether each epoch takes the samples in a new random order, the next
        ``numpy.random.default_rng(seed).permutation(n_samples)``; otherwise they are taken in their own order.
    standardize : bool
        Give a new network's input layer the ``shift`` and ``scale`` that bring the training rows (without held-out
        ones, weighted as in training) to mean 0 and standard deviation 1. In a regression, do so for y and the last
        layer, too: y may then have any size, losses are those of standardised targets, and metrics, predictions and
        Jacobians are in y's units. Sparse x is scaled, but not shifted; a constant column has scale 1. Outputs of a
        rectifier are scaled by y's root mean square and not shifted; under poisson the shift is the logarithm of y's
        mean.
    seed : int, optional
        Makes training reproducible: the same seed gives the same bits.
    init : str or fastmlp.init.Uniform
        A new network's initial weights: "auto" (He for the relu family, Glorot else), "he_normal", "he_uniform",
        "glorot_…", "lecun_…", "orthogonal".
    dtype : "float32" or "float64", optional
        The dtype of a new network; float32 when left out.
    validation_data : (x, y) or (x, y, sample_weight), optional
        Samples that are evaluated after each epoch: "val_loss", "val_accuracy" and so on, which are Σ w v / Σ w with
        weights.
    validation_fraction : float
        The share of the samples to hold out for this instead, drawn at random. The same share of each class is held
        out, and at least one row of a class with two or more; without ``shuffle`` the last rows are. Held-out rows keep
        their ``sample_weight``.
    class_names : list of str, optional
        Names of the classes in the order of the outputs; an array for labels that are not text. When left out, labels
        in y become the names, if each class occurs.
    l1, l2 : float
        Penalties on weights, not on biases: l1 Σ|w| + ½ l2 Σw² is added to each batch's loss, but not in the history.
    early_stopping : bool, int, or EarlyStopping, optional
        End training when the validation loss (without validation data, the loss) has not got better for 10 epochs, or
        for the number given. The model then gets the parameters of its best epoch back.
    sample_weight : array, (n_samples,), optional
        How much each sample counts, 0 or more. A batch's loss is Σ w·loss / Σ w, so that a sample of weight 2 counts
        like two copies; with ``batch_size=1`` a sample's gradient is w times as large. Samples of weight 0 are left out
        from the beginning. Loss, accuracy and metrics in the history are Σ w v / Σ w.
    class_weight : "balanced" or dict, optional
        A weight for each class, by its label or index; a class that is not in the dict has 1. It is multiplied with the
        samples' weights w in training, not in validation. "balanced" is Σ w / (n_classes · Σ w of the class).
    output_weight : array, (n_out,), optional
        How much each output counts, 0 or more: a sample's loss is the weighted sum over its outputs, in training and in
        validation, but not in metrics. Outputs that are classes of which one is right cannot have it.
    dydx : array, (n_samples, n_out, n_in), optional
        What ``model.jacobian(x, wrt="inputs")`` should become: the derivatives of `predict`'s outputs by x. NaN means
        that one is not known; an axis of length 1 may be left out. Like x it is neither copied nor written to.
        ½ w Σ (∂ŷ/∂x - dydx)² is added to each sample's loss: Sobolev training (Czarnecki et al., 2017,
        arXiv:1706.04859). If layers have a shift and scale, both derivatives are first put into the network's units.
        ``history["dydx_loss"]`` has this part of the loss; validation uses y only. See docs/how-to/derivatives.md.
    dydx_weight : float or array, (n_samples,)
        The w of ``dydx``, 0 or more; it is multiplied with ``sample_weight``.
    residual : Residual, optional
        A differential equation, as a function r that should become 0: of x, of `predict`'s outputs and of their first
        and second derivatives by x. ½ w r² is the loss of collocation points, the samples whose y is all NaN. This is
        a physics-informed network (Raissi, Perdikaris and Karniadakis, 2019). ``history["residual_loss"]`` has this
        part of the loss; validation uses y only, of ``validation_data``. See docs/how-to/physics.md.
    residual_weight : float or array, (n_samples,)
        The w of ``residual``, 0 or more; it is multiplied with ``sample_weight``. An array is for all samples, also for
        those with a y.
    dropout : float or list of float, in [0, 1)
        The share of a hidden layer's units that are left out in training, drawn for each sample, while the others are
        multiplied by 1 / (1 - dropout); one number for all hidden layers, or a list with one for each.
    clip_norm : float, optional
        The largest length of a batch's gradient, over all parameters and before penalties; a longer one is shortened.
    max_norm : float, optional
        The largest length of a unit's incoming weights; after each step, longer ones are shortened to it.
    callbacks : function or list of functions
        Each is called after every epoch with a state that has ``epoch``, ``model``, ``history`` and ``stop()``.
    progress : bool, optional
        None shows a live line if standard error is a terminal or a Jupyter notebook's. True also prints a line for each
        epoch elsewhere; False shows nothing.
    checkpoint : path or Checkpoint, optional
        A file that keeps the run after each epoch. If it exists already, training goes on from it, however it was
        ended, and ends with the same bits as without an interruption. A run that has ended is returned at once; more
        ``epochs`` continue it. Needs ``pip install 'fastmlp[files]'``.
    n_threads : int
        The number of threads that share each batch, if it has enough work for them (docs/how-to/speed.md), and the
        evaluation of validation data. In per-sample SGD, plain or with momentum, it is the largest number that is used;
        there the first layer must have more than 64 units in float32, or 32 in float64. Any number gives the same bits.

    Returns
    -------
    TrainResult
        A named tuple of ``model`` and ``history``; ``history["loss"]`` and so on have one number for each epoch.

    Raises
    ------
    ValueError, TypeError
        For bad input, before anything is changed: also for a checkpoint that is damaged or another run's, and for
        unknown options, with what to write instead.
    MemoryError
        If network and optimiser need more memory than is available, before anything is drawn.
    DivergenceError
        If the loss is no longer finite. The error says what is probably at fault, and the model has the weights of the
        last finite epoch.
    RuntimeError
        If a callback trains the model that is being trained. Another thread that does so waits.

    Notes
    -----
    Ctrl-C ends training and returns the model and the history so far, with a warning.

    Examples
    --------
    >>> import fastmlp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> model, history = fastmlp.train(x, y, spec, lr=0.5, epochs=500, seed=1)
    >>> model.predict_class(x).tolist()
    [0, 1, 1, 0]
    """
    if unknown:
        check_options(unknown, train.__kwdefaults__ or (), "train()", OF_TRAINING)
    options = Options.checked(
        spec, lr=lr, epochs=epochs, batch_size=batch_size, optimizer=optimizer, loss=loss, metrics=metrics,
        shuffle=shuffle, standardize=standardize, seed=seed, init=init, dtype=dtype, validation_data=validation_data,
        validation_fraction=validation_fraction, early_stopping=early_stopping, sample_weight=sample_weight,
        class_weight=class_weight, output_weight=output_weight, class_names=class_names, dydx=dydx,
        dydx_weight=dydx_weight, residual=residual, residual_weight=residual_weight, l1=l1, l2=l2, dropout=dropout,
        clip_norm=clip_norm, max_norm=max_norm, callbacks=callbacks, progress=progress, checkpoint=checkpoint,
        n_threads=n_threads,
    )  # fmt: skip
    run = TrainingRun(options, TrainingData.checked(x, y, options))
    run.train()
    return TrainResult(run.model, run.history)
