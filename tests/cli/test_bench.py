"""python -m fastmlp bench, as a user runs it."""

from __future__ import annotations

from fastmlp.cli import bench


def test_bench_prints_the_table_with_every_row_and_renews_it_in_a_page(process, tmp_path):
    new, page = tmp_path / "new.md", tmp_path / "page.md"
    page.write_text("# Speed\n\n<!-- bench -->\nof yesterday\n<!-- end of bench -->\n\nThat is fast.\n")
    result = process("bench", "--rounds", "1", "--seconds", "0.01", "--out", str(new), "--out", str(page))
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(bench.WORKS)
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
