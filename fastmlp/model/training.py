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
        Any real dtype, any strides, read-only or memory-mapped: it is neither copied nor written to. A frame of pandas,
        polars or Arrow whose columns are not one array is copied, column by column; the model remembers their names.
    y : array
        Class indices (n_samples,) or rows of probabilities for softmax, cross_entropy and hinge; 0/1 a label for
        sigmoid; numbers (n_samples,) or (n_samples, n_out) for regression. A number, or one of several labels, that is
        NaN was not measured: a sample's loss is the sum over its measured outputs, and one without any has weight 0. In
        place of class indices, also for one
        sigmoid, there may be labels (n_samples,): text, booleans, categories or objects; integers are always indices.
        The labels, sorted as `numpy.unique` does, become the model's ``class_names``, unless it has some. y is read
        once, at the start: to train on other labels, train the model again, or use `MLP.partial_fit`.
    spec : list of dict, Spec, or MLP
        The network (see `Spec`). A model goes on training in place.
    lr : float, schedule, or function of the epoch (counted from 0)
        Learning rate; see `fastmlp.schedules`. A function is asked for the first 10,000 epochs' rates before training
        begins, and for later ones as these epochs come.
    epochs : int
        The number of passes over all samples.
    batch_size : int or "full"
        1 is per-sample SGD: each sample makes a step, and the next one uses the new weights. A larger batch makes one
        step along the gradient of its mean loss.
    optimizer : str or fastmlp.optimizers.Optimizer
        "sgd", "adam", "adamw", "adam_hat", "amsgrad", "nadam", "lion", "rmsprop", "adagrad", or an object with other
        settings. "lbfgs" is another kind of method: an epoch is one iteration over all samples, and what has no place
        there (lr, batch_size, l1, dropout, clip_norm, max_norm) is refused.
    loss : str or Loss, optional
        Used instead of the spec's ``cost``; both given and different is an error.
    metrics : name, function of (y, y_hat), or list of either, optional
        "f1", "roc_auc", "rmse" and others of `fastmlp.metrics`, or your own functions. They are added to the
        history, next to loss and accuracy, each under its name. They need the epoch's outputs, (n_samples, n_out), in
        memory. A function with a parameter ``sample_weight`` gets the samples' weights, or None.
    shuffle : bool
        A new random permutation each epoch, ``numpy.random.default_rng(seed).permutation(n_samples)``, or rows as
        they come.
    standardize : bool
        Give a new network's input layer the ``shift`` and ``scale`` that bring the rows trained on (not those held out)
        to mean 0 and standard deviation 1, weighted as training weighs them; for a regression the last layer, too, so
        that y may have any size: losses are then those of standardised targets, while metrics, predictions and
        Jacobians are in y's units. Sparse x is scaled alone; a constant column has scale 1. Outputs of a rectifier are
        scaled by y's root mean square and not shifted; under poisson the shift is the logarithm of y's mean.
    seed : int, optional
        Same seed, same bits.
    init : str or fastmlp.init.Uniform
        A new network's initial weights: "auto" (He for the relu family, Glorot else), "he_normal", "he_uniform",
        "glorot_…", "lecun_…", "orthogonal".
    dtype : "float32" or "float64", optional
        The dtype of a new network; float32 when left out.
    validation_data : (x, y) or (x, y, sample_weight), optional
        Evaluated after each epoch: "val_loss", "val_accuracy", …, with weights Σ w v / Σ w.
    validation_fraction : float
        The share of the samples to hold out for that instead: drawn at random, the same share of each class, and at
        least one of two or more rows; without ``shuffle`` the last ones. They count by their ``sample_weight``.
    class_names : list of str, optional
        Names of the classes in the order of the outputs; an array for labels that are not text. When left out, labels
        in y become the names, if each class occurs.
    l1, l2 : float
        Penalties on weights, not on biases: l1 Σ|w| + ½ l2 Σw² is added to each batch's loss, but not in the history.
    early_stopping : bool, int, or EarlyStopping, optional
        End training when the validation loss (without validation data, the loss) gets no better for 10 epochs, or for
        the number given; the best epoch's parameters are put back.
    sample_weight : array, (n_samples,), optional
        How much each sample counts, 0 or more: a batch's loss is Σ w·loss / Σ w, so that weight 2 in it is two copies;
        with ``batch_size=1`` a sample's step is w times as long. Samples of weight 0 are left out from the beginning.
        Loss, accuracy and metrics in the history are Σ w v / Σ w.
    class_weight : "balanced" or dict, optional
        A weight for each class, by its label or index, which multiplies the samples' in training, not in validation;
        "balanced" is Σ w / (n_classes · Σ w of the class), with w the samples' own. A class that the dict lacks has 1.
    output_weight : array, (n_out,), optional
        How much each output counts, 0 or more: a sample's loss is the sum over the outputs, each times its weight, in
        training and validation alike, but not in metrics. Not where the outputs are classes of which one is right.
    dydx : array, (n_samples, n_out, n_in), optional
        What the derivatives of `predict`'s outputs by x should be, as ``model.jacobian(x, wrt="inputs")`` has them; NaN
        where one is not known; without an axis of length 1, if you like. Like x it is neither copied nor written to.
        Each sample's loss gains ½ w Σ (∂ŷ/∂x - dydx)², which is Sobolev training (Czarnecki et al., 2017,
        arXiv:1706.04859); where layers have a shift and scale, both derivatives are put into the network's units first.
        ``history["dydx_loss"]`` has that part of the loss. Validation is of y alone. See docs/how-to/derivatives.md.
    dydx_weight : float or array, (n_samples,)
        That w, 0 or more; ``sample_weight`` multiplies it, too.
    residual : Residual, optional
        What should become 0 at collocation points, the samples whose y is all NaN: a function r of x, of `predict`'s
        outputs and of their first and second derivatives by x. Each of these samples' loss gains ½ w r², which is a
        physics-informed network (Raissi, Perdikaris and Karniadakis, 2019). ``history["residual_loss"]`` has that part
        of the loss. Validation is of y alone, by ``validation_data``. See docs/how-to/physics.md.
    residual_weight : float or array, (n_samples,)
        That w, 0 or more; ``sample_weight`` multiplies it, too. An array says it for all samples, whatever their y is.
    dropout : float or list of float, in [0, 1)
        The share of a hidden layer's units that are left out in training, drawn for each sample, while the others are
        scaled up by 1 / (1 - dropout); one for all hidden layers or one each.
    clip_norm : float, optional
        A batch's gradient (before penalties) that is longer than this, over all parameters, is shortened to it.
    max_norm : float, optional
        After each step every unit's incoming weights that are longer than this are shortened to it.
    callbacks : function or list of functions
        Each is called after every epoch with a state that has ``epoch``, ``model``, ``history`` and ``stop()``.
    progress : bool, optional
        None shows a live line when standard error is a terminal or a Jupyter notebook's; True also prints a line an
        epoch elsewhere; False shows nothing.
    checkpoint : path or Checkpoint, optional
        A file that keeps the run after each epoch. Where it is there already, training goes on from it, whatever ended
        it, and ends with the same bits as without an interruption. A run that ended is returned at once; more
        ``epochs`` continue it. Needs ``pip install 'fastmlp[files]'``.
    n_threads : int
        Threads that share each batch, where it has enough work for them (docs/how-to/speed.md), and the evaluation of
        validation data; in per-sample SGD, plain or with momentum, the most that share its blocks, where the first
        layer has more than 64 units in float32, 32 in float64, and where that is faster. Any number of them makes the
        same bits.

    Returns
    -------
    TrainResult
        A named tuple, to be unpacked or not: ``model``, and ``history``, whose ``history["loss"]`` and so on have one
        number an epoch.

    Raises
    ------
    ValueError, TypeError
        For bad input, before anything is changed; among it a checkpoint that is damaged or another run's, and options
        that it has not, for which the error says what to write.
    MemoryError
        Before anything is drawn, when network and optimiser would take more memory than is available.
    DivergenceError
        When the loss is no longer finite, saying what looks at fault; the model keeps the weights of the last finite
        epoch.
    RuntimeError
        When a callback trains the model that is being trained. Another thread that does so waits.

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
