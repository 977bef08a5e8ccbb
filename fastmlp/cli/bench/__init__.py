"""The command ``python -m fastmlp bench``: fastmlp beside other libraries that are installed."""

from .command import main

__all__ = ["main"]
