"""Optional libraries: imported where they are entered, and named, with what installs them, where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]

_PACKAGES = {"sklearn": "scikit-learn"}  # whose module has another name


def require(module: str, extra: str | None, who: str) -> Any:
    """Import ``module``; where that fails, an ImportError says that ``who`` needs it and which extra brings it.

    Without an extra it says to install the package itself.
    """
    top = module.partition(".")[0]
    try:
        importlib.import_module(top)
        return importlib.import_module(module)
    except ImportError as error:
        package = _PACKAGES.get(top, top)
        wanted = package if extra is None else f"'fastmlp[{extra}]'"
        raise ImportError(f"{who} needs {package}: pip install {wanted}") from error
