"""python -m fastmlp bench, as a user runs it."""

from __future__ import annotations

from fastmlp.cli.bench import map as points
from fastmlp.cli.bench.table import WORKS


def test_bench_prints_the_table_with_every_row_and_renews_it_in_a_page(process, tmp_path):
    new, page = tmp_path / "new.md", tmp_path / "page.md"
    page.write_text("# Speed\n\n<!-- bench -->\nof yesterday\n<!-- end of bench -->\n\nThat is fast.\n")
    result = process("bench", "--rounds", "1", "--seconds", "0.01", "--out", str(new), "--out", str(page))
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(WORKS)
    assert len({row.count("|") for row in rows}) == 1
    dense = next(row for row in rows if "768-128-10" in row).split("|")
    assert float(dense[2]) > 0 and "plain Numba loops" in rows[0]
    region = f"<!-- bench -->\n\n{result.stdout}\n<!-- end of bench -->\n"
    assert new.read_text() == region
    assert page.read_text() == f"# Speed\n\n{region}\nThat is fast.\n"


def test_bench_wants_to_know_where_in_a_page(process, tmp_path):
    (tmp_path / "page.md").write_text("# Speed\n")
    result = process("bench", "--out", str(tmp_path / "page.md"))
    assert result.returncode == 2 and result.stdout == ""
    assert "lacks the lines <!-- bench --> and" in result.stderr and len(result.stderr.splitlines()) == 1


def test_the_map_is_measured_and_renewed_in_a_page(command, monkeypatch, tmp_path):
    monkeypatch.setattr(points, "GROUPS", {"float64": points.GROUPS["float64"]})
    page = tmp_path / "map.md"
    code, out, progress = command("bench", "--map", "--rounds", "2", "--seconds", "0.001", "--out", page)
    assert code == 0, progress
    assert page.read_text() == f"<!-- map -->\n\n{out}\n<!-- end of map -->\n"
    names = [point.name for point in points.GROUPS["float64"].points]
    assert sorted(row.split(" | ")[0].strip("| ") for row in out.splitlines() if " µs " in row) == sorted(names)
    assert [line.split(" | ")[0].strip("| ") for line in progress.splitlines()] == names
    row = next(row for row in out.splitlines() if "64-100-10, batch 32, float64" in row)
    assert "PyTorch" in row and "scikit-learn" in row


def test_the_map_begins_with_what_is_nearest():
    found = [
        points.Measured("a", "a call", 2.0, {"JAX": 3.0, "NumPy": 2.0}, 0.01),
        points.Measured("b", "a sample", 1.0, {"JAX": 1.1}, 0.02),
        points.Measured("c", "a call", 5.0, {"PyTorch": 7.0, "JAX": 0.9}, 0.0),
        points.Measured("d", "a call", 5.0, {}, 0.0),
    ]
    lines = list(points.page(found))
    assert lines[0].startswith("4 points. At 1 a peer is ahead, at 1 more one is within 1.2×; ")
    assert lines[0].endswith("the nearest peer's time is 1.1 times ours in the median.")
    assert [line.split(" | ")[0].strip("| ") for line in lines if " µs " in line] == ["c", "b", "a", "d"]
    assert "| c | 5 µs a call | JAX 0.9×, PyTorch 7× | 0% |" in lines
    near = lines.index("| elsewhere | fastmlp | peers ÷ fastmlp | noise |")
    assert [line[2] for line in lines[:near] if " µs " in line] == ["c", "b"]
