"""The commands of ``fastmlp``, for people who write no Python: train on a table, predict, evaluate, look inside.

What a table's columns mean is decided in tables/schema.py; the process around the commands is process.py's. What takes
long to import is imported in the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from ..activations import ACTIVATIONS, get_activation
from ..base.cache import cache_folder
from ..base.checks import check_choice, check_count, check_number, check_seed
from ..base.text import printable
from ..base.version import __version__
from ..model.history import History
from ..model.loading import load_model
from ..model.mlp import MLP
from ..optimizers import OPTIMIZERS
from .core import CORE

if TYPE_CHECKING:
    from rich.table import Table

    from ..tables import Schema
    from ..tables.fitting import TableRows

__all__ = ["app", "run"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Small fully connected networks, trained fast on a CPU.",
)
for _command in CORE:
    app.command(rich_help_panel="About fastmlp")(_command)

_CLASS_LOSSES = ("cross_entropy", "hinge", "mse")
_NUMBER_LOSSES = ("mse", "mae", "huber")  # those that make sense of standardised targets
_MOST_CLASSES = 20  # that a report shows one by one
_MOST_COLUMNS = 50  # that info shows

Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="A table: CSV (also .gz), .parquet, .npy or .npz.", show_default=False)
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="What train wrote.", show_default=False)]


def _network(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel="Network")


def _training(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel="Training")


Target = Annotated[
    str, typer.Option("--target", "-t", metavar="COL", help="The column to predict.", show_default=False)
]
ModelOut = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Where the model goes, FILE.safetensors.", show_default=False),
]
Task = Annotated[
    Literal["auto", "classification", "regression"],
    typer.Option(
        metavar="TASK",
        help="classification, regression, or auto: classification for text, true and false, or whole numbers of "
        "few different values, regression for other numbers.",
    ),
]
Ignore = Annotated[list[str] | None, typer.Option(metavar="COL", help="A column to leave out. May be repeated.")]
Category = Annotated[
    list[str] | None,
    typer.Option(metavar="COL", help="A column of categories, whatever it looks like. May be repeated."),
]
Validation = Annotated[
    float, typer.Option(metavar="SHARE", help="Of the rows, held out to stop in time and to measure on.")
]
Hidden = Annotated[str, _network("N,N,…", 'Widths of the hidden layers, "" for none.')]
Act = Annotated[str, _network("NAME", f"Their activation: {', '.join(ACTIVATIONS)}.")]
LossName = Annotated[
    str | None,
    _network("NAME", "cross_entropy, hinge or mse for classes; mse, mae or huber for numbers. The first if left out."),
]
DType = Annotated[Literal["float32", "float64"], _network("NAME", "float32 or float64.")]
Epochs = Annotated[int, _training("N", "Passes over the training rows, at most.")]
Patience = Annotated[int, _training("N", "Stop when N epochs have brought nothing, and keep the best; 0 never stops.")]
OptimizerName = Annotated[str, _training("NAME", f"{', '.join(OPTIMIZERS)}.")]
Rate = Annotated[float | None, _training("RATE", "Learning rate. [default: 0.003; with sgd 0.01]")]
BatchSize = Annotated[str | None, _training("N", "Rows in a step, or full. [default: 16; with sgd 1]")]
L2 = Annotated[float, _training("X", "Penalty ½ l2 Σw² on the weights.")]
Dropout = Annotated[float, _training("SHARE", "Of the hidden units, left out in training.")]
CheckpointFile = Annotated[
    Path | None, _training("FILE", "Keeps the run after each epoch; where it is there already, training goes on.")
]
Seed = Annotated[int, _training("N", "The same seed makes the same model.")]
Threads = Annotated[int, _training("N", "They share batches of more than 128 rows.")]


def run(arguments: list[str]) -> int:
    """Run a command and return the process's exit code; trouble with the arguments is a ValueError."""
    try:
        return app(arguments, prog_name="fastmlp", standalone_mode=False) or 0
    except typer.TyperException as error:
        message = error.format_message()
        if not message:  # no arguments: the help has been printed
            return error.exit_code
        raise ValueError(message) from None


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"fastmlp {__version__}")
        raise typer.Exit


@app.command()
def train(
    data: Data,
    target: Target,
    out: ModelOut = None,
    task: Task = "auto",
    ignore: Ignore = None,
    category: Category = None,
    validation: Validation = 0.2,
    hidden: Hidden = "16,16",
    act: Act = "relu",
    loss: LossName = None,
    dtype: DType = "float32",
    epochs: Epochs = 100,
    early_stopping: Patience = 10,
    optimizer: OptimizerName = "adam",
    lr: Rate = None,
    batch_size: BatchSize = None,
    l2: L2 = 0.0,
    dropout: Dropout = 0.0,
    checkpoint: CheckpointFile = None,
    seed: Seed = 0,
    n_threads: Threads = 1,
) -> int:
    """Train a network on a table, and say how good it is on rows that it has not seen.

    Numbers are standardised, and a missing one is the mean; categories become inputs of 0 and 1, and a missing one is a
    category of its own. All of it is stored with the model: predict needs its file and a table with the same columns.
    """
    from .. import tables
    from ..tables.fitting import TableRows, fit

    check_number(validation, "--validation", 0.0, 1.0)
    check_count(early_stopping, "--early-stopping", 0)
    check_seed(seed)
    activation = get_activation(act, "--act")
    for path in (out, checkpoint):
        if path is not None:
            _check_folder(path)
    table = tables.read(data)
    with _named(data):
        schema = tables.Schema.of(table, target, task, ignore=ignore or (), category=category or ())
    if loss is not None:
        check_choice(loss, "--loss", _CLASS_LOSSES if schema.classes else _NUMBER_LOSSES)
    with _named(data):
        rows = TableRows.of(table, schema, validation, seed, dtype)
    options = {
        **_step_options(optimizer, lr, batch_size),
        **{"epochs": epochs, "early_stopping": early_stopping or None, "l2": l2, "dropout": dropout},
        **{"checkpoint": checkpoint, "seed": seed, "n_threads": n_threads},
    }
    widths = _widths(hidden)
    _announce_compiling()
    begin = time.perf_counter()
    model, history = fit(rows, widths, activation, loss, dtype, **options)
    seconds = time.perf_counter() - begin
    if not history:
        warnings.warn("interrupted in the first epoch, so that there is nothing to keep", stacklevel=1)
        return 130
    _report_training(rows, model, history, epochs, seconds)
    if out is not None:
        model.save(out)
        _print(f"\nsaved to {out}")
    else:
        _print("\nnot saved; --out FILE.safetensors saves the model")
    return 130 if history.interrupted else 0


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let errors about a table's columns name its file, too."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _step_options(optimizer: str, lr: float | None, batch_size: str | None) -> dict[str, Any]:
    """Return `fastmlp.train`'s options that say how steps are made, with this command's own defaults."""
    options: dict[str, Any] = {"optimizer": optimizer}
    if optimizer not in ("sgd", "lbfgs"):
        options.update(lr=0.003, batch_size=16)
    if lr is not None:
        options["lr"] = lr
    if batch_size is not None:
        options["batch_size"] = batch_size if batch_size == "full" else _whole("--batch-size", batch_size)
    return options


def _announce_compiling() -> None:
    """Tell users at a terminal why the first training on a machine takes longer."""
    if sys.stderr.isatty() and not cache_folder().exists():
        print("the kernels that this needs are being compiled, once on this machine …", file=sys.stderr, flush=True)


@app.command()
def predict(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .csv or .parquet file; if left out, standard output.", show_default=False),
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also each class's probability.")] = False,
) -> None:
    """Predict the target of each row of a table.

    The columns that the model was trained on may come in any order, and others with them. A missing number is taken as
    the training rows' mean, and an unknown category as none of the known ones.
    """
    from .. import tables
    from ..tables import Schema

    if out is not None:
        _check_folder(out)
    network = load_model(model)
    schema = Schema.stored_in(network)
    if probabilities and network.spec.layers[-1].act.name != "softmax":
        raise ValueError("--probabilities needs a model with softmax outputs, which this one has not")
    table = tables.read(data)
    with _named(data):
        x = schema.encode(table, network.dtype)
    outputs = network.predict(x)
    shown = printable if out is None and sys.stdout.isatty() else str
    target, classes = shown(schema.target), [shown(name) for name in schema.classes]
    columns: dict[str, np.ndarray] = {target: outputs[:, 0]}
    if classes:
        columns = {target: np.array(classes)[np.argmax(outputs, axis=1)]}
    if probabilities:
        columns.update((f"P({name})", outputs[:, k]) for k, name in enumerate(classes))
    if out is None:
        tables.write_csv(columns, sys.stdout)
    else:
        tables.write(columns, out)


@app.command()
def evaluate(model: Model, data: Data) -> None:
    """Measure a model on a table that has the target, too."""
    from .. import tables
    from ..tables import Schema

    network = load_model(model)
    schema = Schema.stored_in(network)
    table = tables.read(data)
    with _named(data):
        rows, y = schema.encode_target(table, network.dtype)
        if not len(rows):
            raise ValueError(f"no row has a value in column {schema.target!r}")
        x = schema.encode(table, network.dtype)[rows]
    _report(network, schema, x, y, "rows")


@app.command()
def info(
    model: Annotated[
        Path | None, typer.Argument(metavar="[MODEL]", help="What train wrote.", show_default=False)
    ] = None,
    kernels: Annotated[bool, typer.Option("--kernels", help="Show which kernels are in use, and why.")] = False,
) -> None:
    """Show what is in a model's file: its layers, columns and classes; or which kernels are in use."""
    from ..kernels.report import show_kernels
    from ..tables import Schema

    if kernels:
        show_kernels()
    if model is None:
        if not kernels:
            raise ValueError("info needs a MODEL, or --kernels")
        return
    network = load_model(model)
    spec = network.spec
    layers = _table("layer", "units", "activation", "weights", "parameters", text=(0, 2))
    layers.add_row("input", str(spec.n_in), "", "", "")
    for i, layer in enumerate(spec.layers):
        n_below = spec.widths[i]
        layers.add_row(
            str(i + 1), str(layer.n), layer.act.name, f"{layer.n} × {n_below}", str(layer.n * (n_below + layer.bias))
        )
    _print(layers)
    _print(f"\n{spec.n_params} {network.dtype} parameters, {os.path.getsize(model)} bytes; loss {spec.loss.name}")
    if "table" in network.metadata:
        schema = Schema.stored_in(network)
        columns = _table("column", "inputs", "what it takes", text=(0, 2))
        for column in schema.columns[:_MOST_COLUMNS]:
            columns.add_row(printable(column.name), str(len(column.inputs)), str(column))
        _print(columns)
        if len(schema.columns) > _MOST_COLUMNS:
            _print(f"… and {len(schema.columns) - _MOST_COLUMNS} columns more")
        _print(f"\ntarget: {schema.target}")
    if network.class_names:
        _print(f"classes: {', '.join(network.class_names)}")


@app.command()
def export(
    model: Model,
    to: Annotated[Literal["onnx", "c"], typer.Option(metavar="FORMAT", help="onnx or c.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where it goes.", show_default=False)],
    name: Annotated[str, typer.Option(metavar="NAME", help="What the C function is called.")] = "net_predict",
) -> None:
    """Write a model as an ONNX graph, or as one C99 file that needs no library.

    The network takes the table's raw numbers and gives probabilities, or numbers in the target's units. Missing values
    and categories are the caller's part: what each input is, is said here and in the file.
    """
    from .. import interop
    from ..tables import Schema

    _check_folder(out)
    network = load_model(model)
    lines = Schema.stored_in(network).caption() if "table" in network.metadata else []
    if to == "onnx":
        interop.to_onnx(network, out, note="\n".join(lines))
    else:
        interop.to_c(network, out, name, note="\n".join(lines))
    _print("\n".join([*lines, f"\nwritten to {out}"]))


def _report_training(rows: TableRows, model: MLP, history: History, epochs: int, seconds: float) -> None:
    """Print how much was trained on, how long it took, and how good the model is on held-out rows if there are any."""
    schema, training, validation = rows.schema, rows.training, rows.validation
    _print(
        f"{len(training)} rows, {len(schema.inputs)} inputs from {len(schema.columns)} columns; "
        f"{' → '.join(map(str, model.spec.widths))}, {model.spec.n_params} parameters"
    )
    n_epochs = len(history["loss"])
    _print(f"{n_epochs} of {epochs} epochs in {seconds:.2f} s{', interrupted' if history.interrupted else ''}")
    indices, what = (validation, "held-out") if len(validation) else (training, "training")
    _report(model, schema, rows.x[indices], rows.y[indices], f"{what} rows")


def _report(model: MLP, schema: Schema, x: np.ndarray, y: np.ndarray, what: str) -> None:
    """Print how good the model is on rows, beside the best answer that does not look at their columns."""
    if not schema.classes:
        values = model.evaluate(x, y, ["r2", "mae", "mse"])
        numbers = _table(f"{len(y)} {what}", "network", "always the mean")
        numbers.add_row("r²", f"{values['r2']:.4f}", "0")
        numbers.add_row("mean absolute error", f"{values['mae']:.5g}", f"{np.mean(np.abs(y - np.mean(y))):.5g}")
        numbers.add_row("root mean squared error", f"{np.sqrt(values['mse']):.5g}", f"{np.std(y):.5g}")
        _print(numbers)
        return
    values = model.evaluate(x, y)
    counts = np.bincount(y, minlength=len(schema.classes))
    shares = counts[counts > 0] / len(y)
    numbers = _table(f"{len(y)} {what}", "network", f"always {schema.classes[int(np.argmax(counts))]!r}")
    numbers.add_row("accuracy", f"{values['accuracy']:.4f}", f"{np.max(shares):.4f}")
    constant = f"{-np.sum(shares * np.log(shares)):.4f}" if model.spec.loss.name == "cross_entropy" else ""
    numbers.add_row(f"loss ({model.spec.loss.name})", f"{values['loss']:.4f}", constant)
    _print(numbers)
    if len(schema.classes) <= _MOST_CLASSES:
        predicted = model.predict_class(x)
        classes = _table("class", "rows", "precision", "recall")
        for k, name in enumerate(schema.classes):
            right = np.count_nonzero((predicted == k) & (y == k))
            precision, recall = _ratio(right, np.count_nonzero(predicted == k)), _ratio(right, counts[k])
            classes.add_row(printable(name), str(counts[k]), precision, recall)
        _print(classes)


def _ratio(count: Any, total: Any) -> str:
    return f"{count / total:.3f}" if total else "–"


def _table(*titles: str, text: tuple[int, ...] = (0,)) -> Table:
    """Make an empty table to print: the columns numbered in ``text`` are flush left, the others flush right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, title in enumerate(titles):
        table.add_column(title, overflow="fold", justify="left" if i in text else "right")
    return table


def _print(what: str | Table) -> None:
    """Print to standard output, in colours on a terminal only; nothing out of a file is taken as markup or control."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if isinstance(what, str):
        console.print("\n".join(map(printable, what.split("\n"))), soft_wrap=True)
    else:
        console.print("", what, sep="\n")


def _check_folder(path: Path) -> None:
    """Raise a ValueError, before any work, when a file cannot be written at ``path``."""
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ValueError(f"{path}: no permission to write there")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is a folder or a device, not a file")


def _widths(hidden: str) -> list[int]:
    return [_whole("--hidden", n) for n in hidden.split(",")] if hidden.strip() else []


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{option} must be whole numbers, got {text!r}") from None
