"""The error that a missing optional library gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import fastmlp
from fastmlp import plotting
from fastmlp.base.extras import require
from fastmlp.tables.reading import check_writable

SPEC = [{"n": 2, "act": None}, {"n": 3, "act": "tanh"}, {"n": 2, "act": "softmax"}]


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


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("scipy", "lbfgs", lambda: fastmlp.train(None, None, SPEC, optimizer="lbfgs")),
        ("scipy", "lbfgs", lambda: fastmlp.train_many(None, None, SPEC, optimizer="lbfgs", seeds=[0, 1])),
        ("safetensors", "files", lambda: fastmlp.train(None, None, SPEC, checkpoint="run")),
        ("pyarrow", "tables", lambda: check_writable(Path("predictions.parquet"))),
        ("matplotlib", "plot", lambda: plotting.decision_boundary(Unasked(SPEC), [[0, 0]])),
    ],
)
def test_what_is_missing_is_named_before_any_work(monkeypatch, module, extra, call):
    """Before samples are looked at, which are no samples here, and before kernels are compiled or outputs computed."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {module}: pip install 'fastmlp\[{extra}\]'"):
        call()


class Unasked(fastmlp.MLP):
    def predict(self, x, **options):
        raise AssertionError("a prediction is work")
