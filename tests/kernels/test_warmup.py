"""python -m fastmlp warmup and bench, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys

from fastmlp.cli import bench


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastmlp", *arguments]
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=600
    )


def test_after_warmup_nothing_is_compiled():
    warm = run("warmup")
    assert warm.returncode == 0, warm.stderr
    assert " kernels ready after " in warm.stdout
    again = run("warmup")
    assert float(again.stdout.split(" after ")[1].split()[0]) < 5
    script = "import sys; from fastmlp.kernels.warmup import warm_up; warm_up(); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_warmup_says_so_when_nothing_can_be_stored(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run("warmup", FASTMLP_CACHE_DIR=str(tmp_path / "file"))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1 and str(tmp_path) in result.stderr


def test_bench_prints_the_table_with_every_row_and_renews_it_in_a_page(tmp_path):
    new, page = tmp_path / "new.md", tmp_path / "page.md"
    page.write_text("# Speed\n\n<!-- bench -->\nof yesterday\n<!-- end of bench -->\n\nThat is fast.\n")
    result = run("bench", "--rounds", "1", "--seconds", "0.01", "--out", str(new), "--out", str(page))
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(bench.WORKS)
    assert len({row.count("|") for row in rows}) == 1
    dense = next(row for row in rows if "768-128-10" in row).split("|")
    assert float(dense[2]) > 0 and "plain Numba loops" in rows[0]
    region = f"<!-- bench -->\n\n{result.stdout}\n<!-- end of bench -->\n"
    assert new.read_text() == region
    assert page.read_text() == f"# Speed\n\n{region}\nThat is fast.\n"


def test_bench_wants_to_know_where_in_a_page(tmp_path):
    (tmp_path / "page.md").write_text("# Speed\n")
    result = run("bench", "--out", str(tmp_path / "page.md"))
    assert result.returncode == 2 and result.stdout == ""
    assert "lacks the lines <!-- bench --> and" in result.stderr and len(result.stderr.splitlines()) == 1
