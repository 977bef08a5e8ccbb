"""The asv suites: they run, each once and small, and have every row of the README's table."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from fastmlp.cli.bench.table import WORKS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def suite(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"asv_benches.{name}")


def test_every_row_of_the_table_is_tracked(suite):
    assert [work.name for work in WORKS] == suite("table").ROWS


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("cluster", "Tasks"),
        ("estimators", "Estimators"),
        ("estimators", "OneByOne"),
        ("prediction", "Evaluate"),
        ("prediction", "Gradient"),
        ("prediction", "Jacobian"),
        ("prediction", "PartialFit"),
        ("prediction", "Prediction"),
        ("prediction", "SparsePrediction"),
        ("table", "ShareOfPlainNumba"),
        ("table", "Rows"),
        ("throughput", "Optimizers"),
        ("throughput", "Sparse"),
        ("throughput", "Threads"),
        ("throughput", "ThreadsBySample"),
        ("throughput", "Training"),
    ],
)
def test_the_last_case_of_a_benchmark_runs(suite, module, name):
    benchmark = getattr(suite(module), name)()
    params = getattr(benchmark, "params", ())
    case = [group[-1] for group in params] if isinstance(params, tuple) else params[-1:]
    benchmark.setup(*case)
    method = next(key for key in dir(benchmark) if key.startswith(("track_", "time_")))
    value = getattr(benchmark, method)(*case)
    getattr(benchmark, "teardown", lambda *case: None)(*case)
    assert value is None or value > 0
