"""The asv suites: they run, each once and small; the history's have every row of the README's table."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from fastmlp.cli.bench.table import WORKS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def suite(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"asv_benches.{name}")


def tracks(cls):
    return [getattr(cls, name) for name in dir(cls) if name.startswith("track_")]


def test_every_row_of_the_table_is_tracked(suite):
    assert [work.name for work in WORKS] == suite("history.training").Table.track_microseconds.params[0]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("accuracy", "Learned"),
        ("calls", "Calls"),
        ("control", "Control"),
        ("losses", "Losses"),
        ("memory", "Memory"),
        ("start", "Start"),
        ("training", "Table"),
    ],
)
def test_the_series_of_the_history_say_what_they_are(suite, module, name):
    for track in tracks(getattr(suite(f"history.{module}"), name)):
        assert track.pretty_name and track.unit and track.params[0], track


def test_a_row_of_the_table_is_measured_beside_its_peers_and_the_controls(suite, monkeypatch):
    measuring, training = suite("measuring"), suite("history.training")
    monkeypatch.setattr(measuring, "ROUNDS", 2)
    monkeypatch.setattr(measuring, "SECONDS", 0.001)
    work = next(work for work in WORKS if work.name == "8-64-64-2, batch 1")
    found = {work.name: measuring.skipping(lambda: measuring.of_point(training.point(work, ("numpy", "sklearn"))))}
    table = training.Table()
    for name in ("microseconds", "noise", "share_of_numpy", "share_of_sklearn", "share_of_sgemm", "share_of_copy"):
        assert getattr(table, f"track_{name}")(found, work.name) >= 0
    assert table.track_share_of_numpy(found, work.name) < 1
    with pytest.raises(NotImplementedError, match="jax is not installed"):
        table.track_share_of_jax(found, work.name)


@pytest.mark.parametrize("module", ["calls", "losses"])
def test_rows_are_points_of_the_map_with_these_peers(suite, module):
    rows = suite(f"history.{module}").ROWS
    for point in suite("measuring").of_the_map(rows):
        _, peers = point.make()
        assert {peer.partition(".")[0] for peer in peers} >= set(rows[point.name]), point.name


def test_what_a_commit_lacks_is_skipped_and_what_fails_is_raised(suite):
    measuring = suite("measuring")

    def lacking():
        raise AttributeError("no train_many")

    def failing():
        raise ZeroDivisionError

    found = {"old": measuring.skipping(lacking), "wrong": measuring.skipping(failing)}
    with pytest.raises(NotImplementedError, match="train_many"):
        measuring.value_of(found, "old", "microseconds")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        measuring.value_of(found, "wrong", "microseconds")


def test_error_after_a_time_and_after_epochs(suite):
    percent_wrong = suite("history.accuracy").percent_wrong
    assert percent_wrong("digits", 1, epochs=5) < 10
    assert percent_wrong("digits", 1, seconds=0.02) < 80


def test_memory_of_a_training(suite):
    memory = suite("history.memory")
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    assert 1 < memory.megabytes(*memory.ROWS["training 784-128-10 on 10,000 samples, batch 1"]) < 500


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
    value = tracks(benchmark)[0](*case)
    getattr(benchmark, "teardown", lambda *case: None)(*case)
    assert value is None or value > 0


@pytest.mark.parametrize("module", ["cluster", "estimators", "many", "prediction", "startup", "throughput"])
def test_every_benchmark_has_a_name_that_a_reader_understands_and_a_unit(suite, module):
    for cls in vars(suite(module)).values():
        if inspect.isclass(cls) and cls.__module__.endswith(f".{module}"):
            for track in tracks(cls):
                assert getattr(track, "pretty_name", "") or cls.pretty_name, track
                assert track.unit, track
