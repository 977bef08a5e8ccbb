"""The asv suites: they run, each once and small; the history's have every row of the README's table."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
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
    point = training.point(work, ("numpy", "sklearn"))
    timed = json.loads(json.dumps(measuring.timed([point])))
    found = {work.name: measuring.summary([timed[work.name]] * 2)}
    table = training.Table()
    for name in ("microseconds", "noise", "share_of_numpy", "share_of_sklearn", "share_of_sgemm", "share_of_copy"):
        assert getattr(table, f"track_{name}")(found, work.name) >= 0
    assert table.track_share_of_numpy(found, work.name) < 1
    assert math.isnan(table.track_share_of_jax(found, work.name))


def test_a_suite_is_measured_in_fresh_processes_and_the_best_round_of_all_counts(suite, monkeypatch):
    measuring, control = suite("measuring"), suite("history.control")
    of_processes, in_one = [], measuring.in_a_process

    def in_a_process(name):
        of_processes.append(in_one(name))
        return of_processes[-1]

    monkeypatch.setattr(measuring, "in_a_process", in_a_process)
    monkeypatch.setattr(measuring, "PROCESSES", 2)
    found = control.Control().setup_cache()
    for row in control.ROWS:
        rounds = [timed[row]["rounds"]["fastmlp"] for timed in of_processes]
        assert len(rounds) == 2 and rounds[0] != rounds[1]
        assert found[row]["microseconds"] == pytest.approx(min(map(min, rounds)) * 1e6, rel=1e-2)


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
    assert math.isnan(measuring.value_of(found, "old", "microseconds"))
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
        ("estimators", "FewAtATime"),
        ("prediction", "Evaluate"),
        ("prediction", "Gradient"),
        ("prediction", "Jacobian"),
        ("prediction", "PartialFit"),
        ("prediction", "Prediction"),
        ("prediction", "SparsePrediction"),
        ("prediction", "SpecializedGradient"),
        ("throughput", "Optimizers"),
        ("throughput", "Residuals"),
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


def git(folder, *arguments):
    named = ["-c", "user.name=x", "-c", "user.email=x@y"]
    return subprocess.run(["git", "-C", folder, *named, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module


@pytest.fixture
def results(tmp_path, scripts):
    """A function that writes results of asv, a commit for each value of a row's time, and reads them."""

    def write(times, numpy=10.0, noise=0.02, learned=5.0):
        rng = np.random.default_rng(0)
        git(tmp_path, "init", "-q")
        names = {
            "track_microseconds": "µs a sample",
            "track_share_of_numpy": "of its time",
            "track_share_of_sgemm": "of its time",
        }
        benchmarks = {f"history.training.Table.{name}": {"unit": unit} for name, unit in names.items()}
        benchmarks["history.accuracy.Learned.track_wrong_after_epochs"] = {"unit": "% wrong"}
        folder = tmp_path / "results" / "machine"
        folder.mkdir(parents=True)
        (folder / "machine.json").write_text('{"machine": "machine", "cpu": "a core"}')
        benchmarks = {name: of | {"name": name, "pretty_name": name} for name, of in benchmarks.items()}
        (tmp_path / "results" / "benchmarks.json").write_text(json.dumps(benchmarks | {"version": 2}))
        for number, value in enumerate(times):
            git(tmp_path, "commit", "-q", "--allow-empty", "-m", f"number {number}")
            commit = git(tmp_path, "rev-parse", "HEAD").strip()
            ours, theirs, product = (of * math.exp(rng.normal(0, noise)) for of in (value, numpy, 1.0))
            found = {
                "history.training.Table.track_microseconds": ours,
                "history.training.Table.track_share_of_numpy": ours / theirs,
                "history.training.Table.track_share_of_sgemm": ours / product,
                "history.accuracy.Learned.track_wrong_after_epochs": learned if number == len(times) - 1 else 5.0,
            }
            columns = {name: [[result], [["'8-64-64-2, batch 1'"]]] for name, result in found.items()}
            data = {"commit_hash": commit, "result_columns": ["result", "params"], "results": columns}
            (folder / f"{commit[:8]}-env.json").write_text(json.dumps(data))
        return scripts("bench_results").History(tmp_path, tmp_path / "results", "machine")

    return write


def test_the_check_finds_a_loop_of_1_3_times_the_time(results):
    history = results([1.0] * 10 + [1.3])
    (found,) = history.slower(history.commits[-1])
    assert (found.suite, found.row) == ("history.training.Table", "8-64-64-2, batch 1")
    assert 1.2 < found.factor < 1.4


def test_the_check_lets_noise_pass_and_an_earlier_speed_up_hides_nothing(results):
    history = results([2.0] * 5 + [1.0] * 5 + [1.02, 1.3])
    assert history.slower(history.commits[-2]) == []
    assert len(history.slower(history.commits[-1])) == 1


@pytest.mark.parametrize("times", [[1.0, 1.3], [1.0] * 3])
def test_the_check_does_not_judge_by_fewer_than_three_commits(results, times):
    history = results(times)
    assert history.slower(history.commits[-1]) == []


def test_learning_less_is_a_regression(results):
    history = results([1.0] * 11, learned=6.0)
    (found,) = history.slower(history.commits[-1])
    assert found.suite == "history.accuracy.Learned"


def test_a_slower_machine_and_a_faster_peer_are_no_regressions(results):
    history = results([1.0] * 11)
    newest = history.commits[-1]
    for name, factor in (("track_microseconds", 1.5), ("track_share_of_numpy", 1.5)):
        history.series[f"history.training.Table.{name}", "8-64-64-2, batch 1"].values[newest] *= factor
    assert history.slower(newest) == []
    assert history.changes() == []


def test_the_largest_change_is_found_with_its_commit(results):
    history = results([4.0] * 4 + [2.0] * 4)
    (change,) = history.changes()
    assert history.log[change.after][1] == "number 4"
    assert 0.45 < change.factor < 0.55


class Loads(HTMLParser):
    """What a page loads."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.found += [given[name] for name in ("src", "href") if name in given and tag != "a"]


def test_the_summary_tells_what_changed_and_loads_nothing_from_elsewhere(results, scripts):
    history = results([4.0] * 4 + [2.0] * 4)
    machines = {"machine": "index.html", "another": "another.html"}
    index = {"show_commit_url": "https://example.org/", "benchmarks": ["history.training.Table.track_microseconds"]}
    page = scripts("bench_pages").summary(history, index, machines)
    assert page.count('<h3><a href="all.html#') == 1
    assert '<a href="another.html">another</a>' in page and '"index.html"' not in page
    assert "× faster" in page and "number 4" in page and "8-64-64-2, batch 1" in page
    assert page.count("<circle") == 3 * 8
    assert sorted(Loads(page).found) == ["summary.css", "swallow.ico"]


def test_asvs_page_loads_from_its_folder_and_an_unknown_library_is_refused(scripts):
    pages = scripts("bench_pages")
    known = """<head>
    <script src="https://code.jquery.com/jquery-3.3.1.min.js" integrity="sha256-x" onerror="f()"></script>
    <link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/bootstrap@3.1.1/dist/css/bootstrap.min.css">
    <script language="javascript" src="asv.js"></script></head>"""
    loads = Loads(pages.without_the_net(known)).found
    assert loads[:4] == ["libraries/jquery-3.3.1.min.js", "libraries/bootstrap.min.css", "data.js", "offline.js"]
    assert not any(name.startswith("http") for name in loads)
    with pytest.raises(SystemExit, match=r"vue\.js, which"):
        pages.without_the_net('<script src="https://cdn.example.org/vue.js"></script>')


def test_marks_of_a_logarithmic_axis(scripts):
    ticks = scripts("bench_pages").ticks
    assert ticks(0.09, 120) == [0.1, 1, 10, 100]
    assert ticks(0.8, 3.2) == [1, 1.5, 2, 3]
