"""asv's results as series over the project's commits, and what became slower or faster in them."""

import itertools
import json
import math
import re
import statistics
import subprocess
from dataclasses import dataclass, field

BAR = 1.10  # a series is red when it is this many times what it was, beyond its noise
FOLDER_OF_A_MERGE = re.compile(r" of /\S+(?= into |$)")  # in a subject; it says nothing to others
LOOK_BACK = 10  # commits that a series' noise and level are taken from


@dataclass
class Series:
    """One row of one benchmark: its values by commits, the oldest first; a commit that has none is left out."""

    benchmark: dict
    row: str
    values: dict[str, float] = field(default_factory=dict)

    @property
    def suite(self):
        return self.benchmark["name"].rpartition(".")[0]

    @property
    def what(self):
        """What the benchmark's function tracks: "microseconds", "noise", "share_of_numpy"."""
        return self.benchmark["name"].rpartition(".track_")[2]


@dataclass
class Change:
    """By which factor a row's time changed between two commits that were measured one after the other."""

    suite: str
    row: str
    before: str
    after: str
    factor: float


class History:
    """The results of one machine, the commits in their order in the project's history."""

    def __init__(self, root, results, machine):
        order = git(root, "log", "--reverse", "--topo-order", "--format=%H%x09%as%x09%s", "HEAD").splitlines()
        lines = (line.split("\t", 2) for line in order)
        self.log = {commit: (date, FOLDER_OF_A_MERGE.sub("", subject)) for commit, date, subject in lines}
        benchmarks = json.loads((results / "benchmarks.json").read_text())
        files = {}
        for path in (results / machine).glob("*-*.json"):
            data = json.loads(path.read_text())
            files.setdefault(data["commit_hash"], []).append(data)
        self.commits = [commit for commit in self.log if commit in files]
        self.machine = json.loads((results / machine / "machine.json").read_text())
        self.series = {}
        for commit in self.commits:
            for data in files[commit]:
                for name, of_name in data["results"].items():
                    if name in benchmarks and of_name[0] is not None:
                        self._enter(benchmarks[name], commit, dict(zip(data["result_columns"], of_name, strict=False)))
        self.series = {key: series for key, series in self.series.items() if series.values}
        found = {commit for series in self.series.values() for commit in series.values}
        self.commits = [commit for commit in self.commits if commit in found]  # others could not be built

    def _enter(self, benchmark, commit, columns):
        rows = [", ".join(value.strip("'") for value in case) for case in itertools.product(*columns["params"])]
        for row, value in zip(rows, columns["result"], strict=True):
            series = self.series.setdefault((benchmark["name"], row), Series(benchmark, row))
            if isinstance(value, int | float) and math.isfinite(value):
                series.values[commit] = value

    def of(self, suite, what):
        """The series of a suite's function, by rows."""
        name = f"{suite}.track_{what}"
        return {series.row: series for (of, _), series in self.series.items() if of == name}

    def yardsticks(self):
        """The series that tell code from machine, by suite and row: shares of what peers and controls took beside it.
        What is learned in some epochs is its own."""
        groups = {}
        for series in self.series.values():
            if series.what.startswith("share_of_"):
                groups.setdefault((series.suite, series.row), []).append(series)
            elif series.what == "wrong_after_epochs":
                groups[series.suite, series.row] = [series]
        return groups

    def slower(self, commit):
        """The rows that this commit made slower, or learn less: changes against the level of the commits before.

        A row counts only as far as all its series agree: where one peer got a new release, or the machine's memory was
        busy, the others do not follow."""
        found = []
        before = self.commits[: self.commits.index(commit)][-LOOK_BACK:]
        for (suite, row), group in self.yardsticks().items():
            judged = [excess(series, before, commit) for series in group if commit in series.values]
            judged = [factors for factors in judged if factors is not None]
            if judged and min(beyond for _, beyond in judged) > BAR:
                factor = min(factor for factor, _ in judged)
                found.append(Change(suite, row, before[-1], commit, factor))
        return sorted(found, key=lambda change: -change.factor)

    def changes(self, least=1.15):
        """What became faster or slower from one measured commit to the next, by all yardsticks and the time itself."""
        found = []
        times = {(s.suite, s.row): s for s in self.series.values() if s.what == "microseconds"}
        for key, group in self.yardsticks().items():
            if key not in times:
                continue
            commits = list(times[key].values)
            for before, after in itertools.pairwise(commits):
                logs = [
                    math.log(series.values[after] / series.values[before])
                    for series in (*group, times[key])
                    if before in series.values and after in series.values
                ]
                least_log = min(logs, key=abs)
                if abs(least_log) > math.log(least) and all(log * least_log > 0 for log in logs):
                    found.append(Change(*key, before, after, math.exp(least_log)))
        return sorted(found, key=lambda change: -abs(math.log(change.factor)))


def excess(series, before, commit):
    """By which factor a series is above its level, and above that and its noise.

    The level is the median of the last three values, the noise a factor: the third quartile of the changes from each
    value to the next, which one step in the level leaves as it is. None where there are fewer than three values."""
    values = [series.values[known] for known in before if series.values.get(known, 0) > 0]
    if len(values) < 3:
        return None
    level = statistics.median(values[-3:])
    steps = [abs(math.log(b / a)) for a, b in itertools.pairwise(values)]
    noise = math.exp(statistics.quantiles(steps, n=4, method="inclusive")[2])
    factor = series.values[commit] / level
    return factor, factor / noise


def git(root, *arguments):
    return subprocess.run(["git", "-C", root, *arguments], check=True, capture_output=True, text=True).stdout
