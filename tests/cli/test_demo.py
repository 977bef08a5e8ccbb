"""The demo: its report, its pictures, and Keras beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from fastmlp.cli import demo


def test_demo_on_digits(process):
    result = process("demo")
    assert result.returncode == 0, result.stderr
    assert "epoch 30/30" in result.stderr
    assert "cross_entropy, 2410 parameters" in result.stdout
    assert "samples/s" in result.stdout
    assert float(re.search(r"unseen images: ([\d.]+) %", result.stdout)[1]) > 95


def test_demo_draws(tmp_path):
    demo.run(epochs=2, plots=tmp_path / "new" / "folder")
    names = ["digits-confusion", "digits-curves", "digits-pictures", "digits-weights"]
    files = sorted((tmp_path / "new" / "folder").iterdir())
    assert [path.stem for path in files] == names
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 3000 for path in files)


def test_demo_draws_only_with_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"plots needs matplotlib: pip install 'fastmlp\[plot\]'"):
        demo.run(plots=tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()


def test_demo_beside_keras(mnist, tmp_path):
    """In a process of its own: Keras chooses its backend when it is imported."""
    script = "import sys; from fastmlp.cli import demo; demo.run('mnist', epochs=2, plots=sys.argv[1])"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    assert out.count("unseen images: ") == 3 and "the same in Keras on " in out
    names = "1000-curves 1000-fastmlp 1000-keras confusion curves pictures weights"
    assert sorted(path.stem for path in tmp_path.iterdir()) == [f"mnist-{name}" for name in names.split()]


def test_demo_draws_into_a_folder(tmp_path, command):
    code, out, _ = command("demo", "--epochs", 1, "--plots", tmp_path / "pictures")
    assert code == 0 and "unseen images" in out
    assert all(path.suffix == ".png" for path in (tmp_path / "pictures").iterdir())
