"""The version, written once: pyproject.toml and all files that fastmlp writes take it from here."""

__version__ = "0.1.0"
