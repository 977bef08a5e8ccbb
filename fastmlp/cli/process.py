"""The process around the commands: its exit codes, and one line on standard error for what goes wrong.

The commands themselves are in commands.py, which needs the extra ``cli``; without it only the commands of core.py
exist.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..base.text import printable
from ..base.version import __version__
from .core import CORE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 after an error, 130 after Ctrl-C, 141 when output is cut off."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: _say(message)
        try:
            code = _run(arguments)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            _end_output()
            return 141  # as a shell has it of a process that SIGPIPE ended
        except OSError as error:
            _end_output()
            _say(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error)
        except (ValueError, TypeError, ImportError, ArithmeticError, NotImplementedError) as error:
            _say(error)
        except MemoryError:
            _say("there is not enough memory")
    return 2


def _run(arguments: list[str]) -> int:
    """Run a command and return its exit code: with typer if it is installed, else one of `CORE` with argparse."""
    if arguments == ["--version"]:
        print(f"fastmlp {__version__}")
        return 0
    try:
        from .commands import run
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
    else:
        return run(arguments)
    parser = argparse.ArgumentParser(prog="fastmlp", epilog="There are more: pip install 'fastmlp[cli]'")
    if arguments and arguments[0] not in ("--help", "-h", *(command.__name__ for command in CORE)):
        raise ImportError(f"{arguments[0]} needs typer: pip install 'fastmlp[cli]'")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in CORE:
        about = inspect.getdoc(command) or ""
        options = commands.add_parser(command.__name__, description=about, help=about.partition("\n")[0])
        options.set_defaults(command=command)
        hints = get_type_hints(command)
        for name, parameter in inspect.signature(command).parameters.items():
            options.add_argument(f"--{name}", default=parameter.default, **_reading(hints[name]))
    if not arguments:
        parser.print_help()
        return 2
    options_by_name = vars(parser.parse_args(arguments))
    return options_by_name.pop("command")(**options_by_name) or 0


def _reading(hint: Any) -> dict[str, Any]:
    """Return how argparse reads an option of that type: one of its choices, a value or None, or values of a list."""
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    kind = next((kind for kind in get_args(hint) if kind is not type(None)), hint)
    return {"type": get_args(kind)[0], "action": "append"} if get_origin(kind) is list else {"type": kind}


def _open_streams() -> None:
    """Replace standard streams that are closed, which Python has as None, by empty ones."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _say(message: object) -> None:
    print(f"fastmlp: {printable(' '.join(str(message).split()))}", file=sys.stderr)


def _end_output() -> None:
    """Flush the output; if that fails, redirect it so that the interpreter is quiet at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
