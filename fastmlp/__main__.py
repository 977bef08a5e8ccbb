"""The command line: ``python -m fastmlp`` or ``fastmlp``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

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
    bench = commands.add_parser("bench", help="measure fastmlp beside the libraries that are installed")
    bench.add_argument("--rounds", type=int, default=5)
    bench.add_argument("--seconds", type=float, default=0.3, help="about so long a round")
    bench.add_argument(
        "--out", type=Path, action="append", default=[], help="a Markdown file to renew as well (docs/performance.md)"
    )
    commands.add_parser("warmup", help="compile all kernels now, for an image or a cluster")
    options = parser.parse_args(arguments)
    try:
        if options.command == "demo":
            from .demo import run

            run(options.data, options.folder, options.epochs, options.seed)
        elif options.command == "bench":
            from .bench import main as measure_all

            return measure_all(options.rounds, options.seconds, options.out)
        else:
            from .warmup import warm_up

            count, seconds, folder = warm_up()
            print(f"{count} kernels ready after {seconds:.1f} s, stored in {folder}")
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"fastmlp: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
