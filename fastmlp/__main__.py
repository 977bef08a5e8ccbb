"""The command line: ``python -m fastmlp`` or ``fastmlp``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it went well, 2 after one line about what did not."""
    parser = argparse.ArgumentParser(
        prog="fastmlp", description="Small fully connected networks, trained fast on a CPU."
    )
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train on handwritten digits")
    demo.add_argument("--data", choices=("digits", "mnist"), default="digits")
    demo.add_argument("--folder", help="where the MNIST files are")
    demo.add_argument("--epochs", type=int)
    demo.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        from .demo import run

        run(options.data, options.folder, options.epochs, options.seed)
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"fastmlp: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
