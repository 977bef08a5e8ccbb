"""Files are written whole or not at all, keep their permissions and links, and leave nothing behind for good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import fastmlp
from fastmlp.base.atomic import remove_leftovers, write_whole

SPEC = [{"n": 7, "act": None}, {"n": 5, "act": "tanh"}, {"n": 3, "act": "softmax"}]


def saved(tmp_path):
    model = fastmlp.MLP(SPEC, seed=3)
    model.save(tmp_path / "net.safetensors")
    return model, tmp_path / "net.safetensors"


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    model, path = saved(tmp_path)
    before = path.read_bytes()

    def full_disk(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        fastmlp.MLP(SPEC, seed=9).save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    assert fastmlp.load(path) == model


def test_permissions_and_links_are_kept(tmp_path):
    if os.name != "posix":
        pytest.skip("permissions are POSIX's")
    model, path = saved(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask(tmp_path)
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    model.save(link)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o600


def _umask(folder: Path) -> int:
    probe = folder / "probe"
    probe.touch()
    return 0o666 & ~probe.stat().st_mode


def test_leftovers_of_killed_processes_are_found(tmp_path):
    path = tmp_path / "run [1]*.ckpt"
    write_whole(path, b"whole")
    mine = tmp_path / f"{path.name}.0123456789abcdef.part"
    others = [tmp_path / "run 1.ckpt.0123456789abcdef.part", tmp_path / f"{path.name}.part"]
    for file in (mine, *others):
        file.touch()
    remove_leftovers(path)
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])
