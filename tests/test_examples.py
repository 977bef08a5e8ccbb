"""Every script of examples/ runs, without a warning; what it claims it asserts itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example(script, tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") >= 3


def test_first_lines_say_for_whom_an_example_is():
    assert len(EXAMPLES) >= 12
    assert [path.name for path in EXAMPLES if not path.read_text(encoding="utf-8").startswith('"""For ')] == []


def test_the_readme_lists_all():
    readme = (EXAMPLES[0].parent / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES if f"]({path.name})" not in readme] == []
