"""Optional libraries: imported when they are needed; if one is missing, the error says how to install it."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]

_PACKAGES = {"sklearn": "scikit-learn"}  # packages by their modules, where the names differ


def require(module: str, extra: str | None, who: str) -> Any:
    """Import an optional module and return it.

    If that fails, an ImportError says that ``who`` needs it, and how to install it: by ``fastmlp[extra]``, or as a
    package if ``extra`` is None.
    """
    top = module.partition(".")[0]
    try:
        importlib.import_module(top)
        return importlib.import_module(module)
    except ImportError as error:
        package = _PACKAGES.get(top, top)
        if error.name and error.name.partition(".")[0] != top:  # Keras without its backend, for example
            raise ImportError(f"{who} needs {package}, which is installed but cannot be imported: {error}") from error
        install = package if extra is None else f"'fastmlp[{extra}]'"
        raise ImportError(f"{who} needs {package}: pip install {install}") from error
