"""The commands of ``fastmlp``, for people who write no Python: train on a table, predict, evaluate, look inside.

tables/schema.py decides what a table's columns mean; process.py is the process around the commands. Modules that take
long to import are imported in the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import inspect
import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from ..activations import ACTIVATIONS, get_activation
from ..base.cache import cache_folder
from ..base.checks import check_count, check_number, check_seed
from ..base.extras import require
from ..base.remedies import OF_TRAINING
from ..base.text import is_terminal, printable
from ..base.version import __version__
from ..engine.lbfgs import require_scipy
from ..model.loading import load_model
from ..optimizers import OPTIMIZERS
from .core import CORE

if TYPE_CHECKING:
    from ..tables import Reading

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

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A table: CSV, Excel, JSON, Parquet, NumPy's, also packed; - is standard input.",
        show_default=False,
    ),
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
Missing = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="A text or number that is a missing value: --missing=-999. May be repeated."),
]
Decimal = Annotated[
    str | None, typer.Option(metavar="MARK", help="The decimal mark, . or , [default: what the numbers say]")
]
NoHeader = Annotated[bool, typer.Option("--no-header", help="The first line is a row; columns are called 1, 2, ….")]
Separator = Annotated[
    str | None, typer.Option(metavar="CHAR", help="Between columns: a character, tab or blank. [default: found out]")
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Of text, as utf-8 or cp1252. [default: found out]")]
Sheet = Annotated[str | None, typer.Option(metavar="NAME", help="Of an Excel file. [default: the first]")]
Number = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL", help="A column of numbers that looks like an id, or of dates, taken as days. May be repeated."
    ),
]
Weight = Annotated[str | None, typer.Option(metavar="COL", help="The column that says how much each row counts.")]
Balanced = Annotated[
    bool,
    typer.Option("--balanced", help="Let rare classes count as much as common ones.", rich_help_panel="Training"),
]
Threshold = Annotated[
    float | None,
    typer.Option(metavar="P", help="Of two classes, predict the rarer from this probability on. [default: 0.5]"),
]
Validation = Annotated[
    float, typer.Option(metavar="SHARE", help="Of the rows, held out to stop in time and to measure on.")
]
Hidden = Annotated[str, _network("N,N,…", 'Widths of the hidden layers, "" for none.')]
Act = Annotated[str, _network("NAME", f"Their activation: {', '.join(ACTIVATIONS)}.")]
LossName = Annotated[
    str | None,
    _network(
        "NAME",
        "cross_entropy, hinge or mse for classes; mse, mae, huber, poisson, gaussian_nll, or quantile(0.1, 0.5, 0.9), "
        "for short quantile, for numbers. The first if left out.",
    ),
]
DType = Annotated[Literal["float32", "float64"], _network("NAME", "float32 or float64.")]
Epochs = Annotated[
    int | None, _training("N", "Passes over the training rows, at most. [default: 100; of few rows up to 1000]")
]
Patience = Annotated[
    int | None,
    _training("N", "Stop when N epochs have brought nothing, and keep the best; 0 never stops. [default: N/10 epochs]"),
]
OptimizerName = Annotated[str, _training("NAME", f"{', '.join(OPTIMIZERS)}.")]
Rate = Annotated[float | None, _training("RATE", "Learning rate. [default: 0.003; with sgd 0.01]")]
BatchSize = Annotated[str | None, _training("N", "Rows in a step, or full. [default: 16; with sgd 1]")]
L2 = Annotated[
    float | None, _training("X", "Penalty ½ l2 Σw² on the weights. [default: 10 / training rows, at most 0.1]")
]
Dropout = Annotated[float, _training("SHARE", "Of the hidden units, left out in training.")]
CheckpointFile = Annotated[
    Path | None, _training("FILE", "Keeps the run after each epoch; where it is there already, training goes on.")
]
Seed = Annotated[int, _training("N", "The same seed makes the same model.")]
Threads = Annotated[int, _training("N", "They share batches of more than 128 rows.")]


def run(arguments: list[str]) -> int:
    """Run a command and return the process's exit code; wrong arguments are a ValueError."""
    from ..tables import RefusedColumns

    try:
        return app(arguments, prog_name="fastmlp", standalone_mode=False) or 0
    except RefusedColumns as error:
        raise ValueError(_with_command(error.reason, error.cures, arguments)) from None
    except typer.TyperException as error:
        message, cure = error.format_message(), _cure_of_usage(error, arguments)
        message = message.rstrip(".") + cure if cure else message
        if not message:  # no arguments: the help has been printed
            return error.exit_code
        raise ValueError(message) from None


def _cure_of_usage(error: Any, arguments: list[str]) -> str:
    """The remedy for an option that does not exist, or that is missing."""
    given = str(getattr(error, "option_name", "")).lstrip("-").replace("-", "_")
    cure = OF_TRAINING.get(given, "")
    if cure in (inspect.signature(train).parameters):
        return f"; write --{cure.replace('_', '-')}"
    if "'--target'" in error.format_message() and arguments[:1] == ["train"]:
        named = [word for word in arguments[2:] if not word.startswith("-")][:1]
        return f": the column to predict, --target {shlex.quote(named[0]) if named else 'COL'}"
    return ""


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
    number: Number = None,
    missing: Missing = None,
    decimal: Decimal = None,
    no_header: NoHeader = False,
    separator: Separator = None,
    encoding: Encoding = None,
    sheet: Sheet = None,
    weight: Weight = None,
    threshold: Threshold = None,
    validation: Validation = 0.2,
    hidden: Hidden = "16,16",
    act: Act = "relu",
    loss: LossName = None,
    dtype: DType = "float32",
    epochs: Epochs = None,
    early_stopping: Patience = None,
    optimizer: OptimizerName = "adam",
    lr: Rate = None,
    batch_size: BatchSize = None,
    balanced: Balanced = False,
    l2: L2 = None,
    dropout: Dropout = 0.0,
    checkpoint: CheckpointFile = None,
    seed: Seed = 0,
    n_threads: Threads = 1,
) -> int:
    """Train a network on a table, and say how good it is on rows that it has not seen.

    Numbers are standardised, and a missing one is taken as the mean; categories become inputs of 0 and 1, and a missing
    one is a separate category. All of this is stored with the model: predict needs its file and a table with the same
    columns.
    """
    from .. import tables
    from ..tables.fitting import AUTO, TableRows, check_loss, fit_rows, training_options
    from .report import show, show_training

    check_number(validation, "--validation", 0.0, 1.0)
    if early_stopping is not None:
        check_count(early_stopping, "--early-stopping", 0)
    check_seed(seed)
    activation = get_activation(act, "--act")
    for path in (out, checkpoint):
        if path is not None:
            _check_folder(path)
            require("safetensors", "files", "a model's file")
    if optimizer == "lbfgs":
        require_scipy()
    reading = _reading(tables.Reading(tuple(missing or ())), decimal, no_header, separator, encoding, sheet)
    table = tables.read(data, reading)
    with _named(data):
        schema = tables.Schema.of(
            table, target, task, ignore=ignore or (), category=category or (), number=number or (),
            weight=weight or "", missing=missing or (), header=not no_header,
        )  # fmt: skip
    cost = check_loss(schema, loss, "--loss")
    with _named(data):
        rows = TableRows.of(table, schema, validation, seed, dtype)
    batch = batch_size if batch_size in (None, "full") else _whole("--batch-size", batch_size)
    patience = AUTO if early_stopping is None else early_stopping or None
    options = training_options(len(rows.training), optimizer, lr, batch, epochs, patience, l2)
    options |= {"dropout": dropout, "checkpoint": checkpoint, "seed": seed, "n_threads": n_threads}
    widths = _widths(hidden)
    _announce_compiling()
    begin = time.perf_counter()
    found = fit_rows(rows, widths, activation, cost, dtype, balanced=balanced, threshold=threshold, **options)
    seconds = time.perf_counter() - begin
    if not found.history:
        warnings.warn("interrupted in the first epoch, so that there is nothing to keep", stacklevel=1)
        return 130
    found = found.described(rows.schema.report(table))
    if out is not None:  # before anything is printed: a pipe may be closed
        found.save(out)
    show_training(found, len(rows.training), options, seconds)
    show(f"\nsaved to {out}" if out is not None else "\nnot saved; --out FILE.safetensors saves the model")
    return 130 if found.history.interrupted else 0


@app.command()
def predict(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A .csv or .parquet file; if left out, or -, standard output.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="A column to repeat beside the prediction. May be repeated.")
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also each class's probability.")] = False,
    sort: Annotated[bool, typer.Option("--sort", help="Put quantiles that cross in order.")] = False,
    threshold: Threshold = None,
    decimal: Decimal = None,
    no_header: NoHeader = False,
    separator: Separator = None,
    encoding: Encoding = None,
    sheet: Sheet = None,
) -> None:
    """Predict the target of each row of a table.

    The columns that the model was trained on may come in any order, and with others among them. A missing number is
    taken as the training rows' mean, and an unknown category as none of the known ones.
    """
    from .. import tables
    from ..tables.reading import check_writable
    from ..tables.schema import require_columns

    to_stdout = out is None or str(out) == "-"
    if out is not None and not to_stdout:
        _check_folder(out)
        check_writable(out)
    _check_order(model, data, "predict")
    found = tables.load(model)
    if sort and len(found.levels) < 2:
        raise ValueError("--sort needs a model of several quantiles, which this one is not")
    if probabilities and found.model.spec.layers[-1].act.name != "softmax":
        raise ValueError("--probabilities needs a model with softmax outputs, which this one has not")
    if threshold is not None:
        found = found.with_threshold(threshold)
    reading = _reading(found.reading, decimal, no_header, separator, encoding, sheet)
    table = tables.read(data, reading, may_be_empty=True)
    shown = printable if to_stdout and is_terminal(sys.stdout) else str
    columns: dict[str, np.ndarray] = {}
    with _named(data):
        if table:
            require_columns(table, keep or [])
        for name in keep or ():
            columns[shown(name)] = table[name].as_written() if table else np.array([], str)
        outputs = found.outputs(table) if table else np.zeros((0, found.model.spec.n_out))
    target, classes = shown(found.schema.target), [shown(name) for name in found.classes]
    target = f"predicted {target}" if target in columns else target
    columns[target] = (
        np.array(classes)[found.choose(outputs)] if classes else found.middle(outputs).astype(outputs.dtype)
    )
    quantiles = np.sort(outputs, axis=1) if sort else outputs
    columns.update((f"{target} q{level:g}", quantiles[:, k]) for k, level in enumerate(found.levels))
    if found.gaussian:
        columns[f"{target} deviation"] = found.deviation_of(outputs).astype(outputs.dtype)
    if probabilities:
        columns.update((f"P({name})", outputs[:, k]) for k, name in enumerate(classes))
    if to_stdout:
        tables.write_csv(columns, sys.stdout)
    elif out is not None:
        tables.write(columns, out)


@app.command()
def evaluate(
    model: Model,
    data: Data,
    threshold: Threshold = None,
    decimal: Decimal = None,
    no_header: NoHeader = False,
    separator: Separator = None,
    encoding: Encoding = None,
    sheet: Sheet = None,
) -> None:
    """Measure a model on a table that has the target, too."""
    from .. import tables
    from .report import show_scores

    _check_order(model, data, "evaluate")
    found = tables.load(model)
    if threshold is not None:
        found = found.with_threshold(threshold)
    table = tables.read(data, _reading(found.reading, decimal, no_header, separator, encoding, sheet))
    with _named(data):
        scores, constant = found.evaluate(table)
    show_scores(found, scores, "rows", {"constant": constant})


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
    from .report import show, show_layers, show_schema

    if kernels:
        show_kernels()
    if model is None:
        if not kernels:
            raise ValueError("info needs a MODEL, or --kernels")
        return
    network = load_model(model)
    show_layers(network)
    size = os.path.getsize(model)
    show(f"\n{network.spec.n_params} {network.dtype} parameters, {size} bytes; loss {network.spec.loss.name}")
    if "table" in network.metadata:
        show_schema(Schema.stored_in(network))
    if network.class_names:
        show(f"classes: {', '.join(network.class_names)}")


@app.command()
def export(
    model: Model,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="Where it goes: FILE.onnx or FILE.c.", show_default=False),
    ],
    to: Annotated[
        Literal["onnx", "c"] | None,
        typer.Option(metavar="FORMAT", help="onnx or c. [default: what FILE ends in]", show_default=False),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What the C function is called.", rich_help_panel="C")
    ] = "net_predict",
    dtype: Annotated[
        Literal["float32", "float64", "int8"] | None,
        typer.Option(
            metavar="TYPE",
            help="What it computes in: float32, float64, or int8, integers alone. [default: the model's]",
            rich_help_panel="C",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="For int8: a table of typical rows, by which the ranges of numbers are chosen.",
            rich_help_panel="C",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="A table on whose rows the file, compiled by cc, is compared with the model.",
            rich_help_panel="C",
        ),
    ] = None,
    jacobian: Annotated[
        bool,
        typer.Option(
            "--jacobian", help="Also a function for the outputs' derivatives by the inputs.", rich_help_panel="C"
        ),
    ] = False,
) -> None:
    """Write a model as an ONNX graph, or as one C99 file, with a header, that needs no library.

    The network takes the table's raw numbers and gives probabilities, or numbers in the target's units. Missing values
    and categories are left to the caller: the meaning of each input is printed, and written into the file.
    """
    from .. import interop
    from ..tables import Schema
    from .report import show

    if to is None:
        to = _format_of(out)
    _check_folder(out)
    for option, value in {"dtype": dtype, "calibrate": calibrate, "check": check, "jacobian": jacobian}.items():
        if to != "c" and value:
            raise ValueError(f"--{option} is for C, and {out} is to be written as {to}")
    if dtype == "int8" and calibrate is None and check is None:
        raise ValueError("--dtype int8 needs a table of typical rows: --calibrate DATA, or --check DATA")
    network = load_model(model)
    lines: list[str] = []
    if "table" in network.metadata:
        schema = Schema.stored_in(network)
        lines, network.metadata["columns"] = schema.caption(), schema.inputs
    if lines and network.spec.loss.name == "poisson":
        lines[-1] += ", its logarithm"
    if lines and network.spec.loss.gaussian:
        lines[-1] += ", its mean and the logarithm of its variance"
    if lines and network.spec.loss.levels:
        lines[-1] += f", its quantiles {', '.join(map(str, network.spec.loss.levels))}"
    if to == "onnx":
        interop.to_onnx(network, out, note="\n".join(lines))
    else:
        rows = {key: _encoded(model, path) for key, path in (("calibrate", calibrate), ("check", check)) if path}
        interop.to_c(network, out, name, dtype=dtype, jacobian=jacobian, note="\n".join(lines), **rows)
    found = "" if to != "c" else _what_was_found(out)
    show("\n".join([*lines, f"\n{found}written to {out}"]))


def _encoded(model: Path, data: Path) -> np.ndarray:
    """A table's rows as the inputs of a network that was trained on a table."""
    from .. import tables

    found = tables.load(model)
    with _named(data):
        return found.schema.encode(tables.read(data, found.reading), found.model.dtype)


def _what_was_found(source: Path) -> str:
    """The lines about errors in a C file's first comment."""
    head = source.read_text(encoding="utf-8").partition("*/")[0].splitlines()
    lines = [line.removeprefix(" * ") for line in head]
    starts = ("Checked", "Not checked", "Largest error", "that of its derivatives")
    return "".join(f"{line}\n" for line in lines if line.startswith(starts))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name into errors about a table's columns."""
    from ..tables import RefusedColumns

    try:
        yield
    except RefusedColumns as error:
        raise RefusedColumns(f"{path}: {error.reason}", error.cures) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _with_command(reason: str, cures: list[tuple[str, str]], arguments: list[str]) -> str:
    """Make an error that ends with the command that would work."""
    if not cures:
        return reason
    options = [
        part for name, value in cures for part in ([f"--{name}={value}"] if value[:1] == "-" else [f"--{name}", value])
    ]
    or_else = " (or --decimal ,)" if ("decimal", ".") in cures else ""
    return f"{reason}; this goes on: {shlex.join(['fastmlp', *arguments, *options])}{or_else}"


def _reading(
    reading: Reading,
    decimal: str | None,
    no_header: bool,
    separator: str | None,
    encoding: str | None,
    sheet: str | None,
) -> Reading:
    """Return how to read a table, changed by the options given."""
    header = reading.header and not no_header
    return replace(reading, decimal=decimal or "", header=header, separator=separator, encoding=encoding, sheet=sheet)


def _announce_compiling() -> None:
    """Tell users at a terminal why the first training on a machine takes longer."""
    if is_terminal(sys.stderr) and not cache_folder().exists():
        print("the kernels that this needs are being compiled, once on this machine …", file=sys.stderr, flush=True)


def _check_order(model: Path, data: Path, command: str) -> None:
    """Raise a ValueError if the model's file and the table's are exchanged."""
    if data.suffix == ".safetensors" and model.suffix != ".safetensors":
        order = shlex.join(["fastmlp", command, str(data), str(model)])
        raise ValueError(f"the model comes first, then the table: {order}")


def _check_folder(path: Path) -> None:
    """Raise a ValueError, before any work, when a file cannot be written at ``path``."""
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ValueError(f"{path}: no permission to write there")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is a folder or a device, not a file")


def _format_of(out: Path) -> Literal["onnx", "c"]:
    """The format of an export that its file's name ends in; a ValueError for another ending."""
    match out.suffix.lower():
        case ".onnx":
            return "onnx"
        case ".c" | ".h":
            return "c"
    raise ValueError(f"--out {out}: ends in neither .onnx nor .c; say --to onnx or --to c")


def _widths(hidden: str) -> list[int]:
    return [_whole("--hidden", n) for n in hidden.split(",")] if hidden.strip() else []


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        example = " such as 16,16" if option == "--hidden" else ""
        raise ValueError(f"{option} must be whole numbers{example}, got {text!r}") from None
