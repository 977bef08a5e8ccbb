"""The error that a missing optional library gives."""

from __future__ import annotations

import sys

import pytest

from fastmlp.base.extras import require


def test_a_library_that_is_there():
    assert require("os.path", "nothing", "this test").join


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"^fastmlp.sklearn needs scikit-learn: pip install 'fastmlp\[sklearn\]'$"):
        require("sklearn.base", "sklearn", "fastmlp.sklearn")


def test_a_library_that_lacks_another_one_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "framework.py").write_text("import its_backend\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"needs framework, which is installed but .*No module named 'its_backend'$"):
        require("framework", None, "this test")
