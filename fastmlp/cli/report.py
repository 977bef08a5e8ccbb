"""What the commands print: tables in plain text, and reports of columns, of training and of scores."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..base.text import is_terminal, printable
from ..model.mlp import MLP
from ..tables import ColumnReport, Schema, TableModel

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["show", "show_columns", "show_layers", "show_schema", "show_scores", "show_training"]

_MOST_CLASSES = 20  # that a report shows one by one
_MOST_COLUMNS = 60
_WIDTH_OF_FILES = 200  # columns: what is read by programs is not wrapped
_TOO_FEW = 30  # rows to tell by
_CLEARLY = 2.0  # standard errors, by which a network must be ahead of a linear model for nothing to be said


def show(what: str | Table) -> None:
    """Print to standard output, in colours only on a terminal; text from files is not interpreted as markup or
    control."""
    from rich.console import Console

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:  # which ends the process with 1 otherwise; process.py knows better
            raise BrokenPipeError

    width = None if is_terminal(sys.stdout) else _WIDTH_OF_FILES
    console = PlainConsole(markup=False, highlight=False, emoji=False, width=width)
    if isinstance(what, str):
        console.print("\n".join(map(printable, what.split("\n"))), soft_wrap=True)
    else:
        console.print("", what, sep="\n")


def show_columns(columns: Iterable[ColumnReport]) -> None:
    """Print what became of each column."""
    shown = [*columns]
    table = _table("column", "taken as", "missing", "values", text=(0, 1, 3))
    for column in shown[:_MOST_COLUMNS]:
        table.add_row(printable(column.name), column.taken, str(column.missing or ""), printable(column.range))
    show(table)
    if len(shown) > _MOST_COLUMNS:
        show(f"… and {len(shown) - _MOST_COLUMNS} columns more")


def show_training(found: TableModel, n_rows: int, options: Mapping[str, Any], seconds: float) -> None:
    """Print what the columns were taken as, the size and time of the training, and how good the model is."""
    show_columns(found.columns)
    schema, history = found.schema, found.history
    show(
        f"\n{n_rows} rows, {len(schema.inputs)} inputs from {len(schema.columns)} columns; "
        f"{' → '.join(map(str, found.model.spec.widths))}, {found.model.spec.n_params} parameters"
    )
    interrupted = ", interrupted" if history.interrupted else ""
    show(f"{history.epochs} of {options['epochs']} epochs in {seconds:.2f} s{interrupted}; l2 {options['l2']:.2g}")
    scores, baseline = found.scores or {}, found.baseline or {}
    if not scores:  # Ctrl-C came before
        return
    show_scores(found, scores, "held-out rows" if scores.get("held_out") else "training rows", baseline)
    _show_advice(found, scores, baseline)


def show_scores(found: TableModel, scores: dict[str, Any], what: str, baseline: dict[str, dict[str, Any]]) -> None:
    """Print how good predictions are, next to those of simpler models."""
    constant, linear = baseline.get("constant", {}), baseline.get("linear")
    classes = found.classes
    always = f"always {max(scores['counts'], key=scores['counts'].get)!r}" if classes else "always the mean"
    loss = f"loss ({found.model.spec.loss.name})"
    names = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "loss": loss}
    names |= {"r2": "r²", "mae": "mean absolute error", "rmse": "root mean squared error"}
    if found.levels:
        names["within"] = f"between the {found.levels[0]:g} and {found.levels[-1]:g} quantiles"
    titles = ["network", *(["linear"] if linear else []), *([always] if constant else [])]
    table = _table(f"{scores['rows']} {what}", *titles)
    for key, name in names.items():
        if key in scores and not (key == "balanced_accuracy" and len(classes) < 2):
            simpler = [*([linear] if linear else []), *([constant] if constant else [])]
            table.add_row(
                name,
                *(_number(values.get(key), bool(classes) or key in ("r2", "within")) for values in (scores, *simpler)),
            )
    show(table)
    if classes and len(classes) <= _MOST_CLASSES:
        table = _table("class", "rows", "precision", "recall")
        for name in classes:
            shares = (scores[key][name] for key in ("precision", "recall"))
            table.add_row(
                printable(name), str(scores["counts"][name]), *("–" if s is None else f"{s:.3f}" for s in shares)
            )
        show(table)


def _show_advice(found: TableModel, scores: dict[str, Any], baseline: dict[str, dict[str, Any]]) -> None:
    """Print advice from the scores: about a rare class that is not found, or a linear model that is as good."""
    rare = [
        (name, recall, scores["counts"][name])
        for name, recall in scores.get("recall", {}).items()
        if recall is not None and recall < 0.5 and scores["counts"][name] * len(found.classes) < scores["rows"]
    ]
    for name, recall, count in rare if len(found.classes) <= _MOST_CLASSES else ():
        more = "--balanced or --threshold 0.2 finds" if len(found.classes) == 2 else "--balanced finds"
        show(
            f"\n{name!r} is found in {recall * count:.0f} of its {count} rows only; {more} more, with more false alarms"
        )
    if "ahead_of_linear" not in scores:
        return
    key = "accuracy" if found.classes else "r2"
    mine, theirs = scores.get(key) or 0.0, baseline["linear"].get(key) or 0.0
    if mine < theirs:
        show(
            '\nA linear model does better here: --hidden "" makes the network one. Smaller hidden layers, another --l2 '
            "or more rows may help, too"
        )
    elif scores["ahead_of_linear"] < _CLEARLY or scores["rows"] < _TOO_FEW:
        show(f'\nA linear model (--hidden "") is as good, as far as {_rows(scores["rows"])} can tell')


def show_layers(model: MLP) -> None:
    """Print a network's layers."""
    spec = model.spec
    layers = _table("layer", "units", "activation", "weights", "parameters", text=(0, 2))
    layers.add_row("input", str(spec.n_in), "", "", "")
    for i, layer in enumerate(spec.layers):
        n_below = spec.widths[i]
        layers.add_row(
            str(i + 1), str(layer.n), layer.act.name, f"{layer.n} × {n_below}", str(layer.n * (n_below + layer.bias))
        )
    show(layers)


def show_schema(schema: Schema) -> None:
    """Print each column that a model takes."""
    columns = _table("column", "inputs", "what it takes", text=(0, 2))
    for column in schema.columns:
        columns.add_row(printable(column.name), str(len(column.inputs)), str(column))
    show(columns)
    show(f"\ntarget: {schema.target}")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _number(value: float | None, is_share: bool) -> str:
    return "" if value is None else f"{value:.4f}" if is_share else f"{value:.5g}"


def _table(*titles: str, text: tuple[int, ...] = (0,)) -> Table:
    """Make an empty table to print: the columns numbered in ``text`` are flush left, the others flush right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, title in enumerate(titles):
        table.add_column(title, overflow="fold", justify="left" if i in text else "right")
    return table
