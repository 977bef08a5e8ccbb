"""What a release says of itself stands in several files, and agrees."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from fastmlp import __version__

ROOT = Path(__file__).parent.parent


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere():
    assert re.search(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[1] == __version__
    assert f"\nversion: {__version__}\n" in text("CITATION.cff")
    assert f">{__version__}<" in text("docs/img/badge-version.svg")


def test_badges_are_files_and_say_what_is_so():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert project["requires-python"].removeprefix(">=") + " or newer<" in text("docs/img/badge-python.svg")
    assert f">{project['license'].split()[0]}<" in text("docs/img/badge-licence.svg")
    badges = re.findall(r"!\[[^]]*\]\(([^)]*badge[^)]*)\)", text("README.md"))
    assert sorted(badges) == sorted(f"docs/img/{path.name}" for path in ROOT.glob("docs/img/badge-*.svg"))


@pytest.mark.parametrize("form", ["bug.yml", "speed.yml"])
def test_issue_forms_ask_for_the_kernels(form):
    assert "fastmlp info --kernels" in text(f".github/ISSUE_TEMPLATE/{form}")
