"""The version, written once: pyproject.toml and every file that fastmlp writes take it from here."""

__version__ = "0.1.0"
