"""The cache folder: what the user says, else the platform's own place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fastmlp.base.cache import cache_folder


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home folder, and an environment that says nothing of caches."""
    for name in ("FASTMLP_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_the_user_s_word_comes_first(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("FASTMLP_CACHE_DIR", "/opt/kernels")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/opt/kernels")  # itself, not a folder within


@pytest.mark.parametrize(
    ("platform", "folder"),
    [("linux", ".cache"), ("freebsd14", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")],
)
def test_the_platform_s_own_place(monkeypatch, home, platform, folder):
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == home / folder / "fastmlp"
    assert not cache_folder().exists()


@pytest.mark.parametrize(
    ("platform", "variable", "obeyed"),
    [
        ("linux", "XDG_CACHE_HOME", True),
        ("win32", "LOCALAPPDATA", True),
        ("darwin", "XDG_CACHE_HOME", False),
        ("linux", "LOCALAPPDATA", False),
    ],
)
def test_variables_of_the_platform(monkeypatch, platform, variable, obeyed):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, "/caches")
    assert (cache_folder() == Path("/caches/fastmlp")) is obeyed


@pytest.mark.parametrize("variable", ["FASTMLP_CACHE_DIR", "XDG_CACHE_HOME"])
def test_an_empty_variable_says_nothing(monkeypatch, home, variable):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv(variable, "")
    assert cache_folder() == home / ".cache" / "fastmlp"
