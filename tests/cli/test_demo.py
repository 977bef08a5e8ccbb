"""The demo: its report, its pictures, and Keras beside it."""

from __future__ import annotations

import os
import re
import signal
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


def test_ctrl_c_counts_what_was_trained():
    command = [sys.executable, "-m", "fastmlp", "demo", "--epochs", "10000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        said = [training.stderr.readline()]
        while not said[-1].startswith("epoch 10/"):
            said.append(training.stderr.readline())
        training.send_signal(signal.SIGINT)
        out, rest = training.communicate()
    assert training.returncode == 130
    last = re.findall(r"^epoch (\d+)/10000000 ", "".join(said) + rest, re.MULTILINE)[-1]
    epochs = int(re.search(r"interrupted after ([\d,]+) of 10,000,000 epochs", out)[1].replace(",", ""))
    samples, seconds, speed = re.search(r"trained on ([\d,]+) samples in ([\d.]+) s: ([\d,]+) samples/s", out).groups()
    assert int(samples.replace(",", "")) == 1438 * epochs
    assert int(last) <= epochs < 10_000  # the lines of the last few epochs may have been cut off
    assert int(speed.replace(",", "")) == pytest.approx(1438 * epochs / float(seconds), rel=0.2)
    assert "unseen images" in out


@pytest.mark.parametrize("ready", [False, True])
def test_ctrl_c_before_an_epoch_has_ended(ready, monkeypatch, capsys):
    """Whether the kernels are being made ready, by four short epochs, or the training itself has begun."""
    from fastmlp.model.run import TrainingRun

    run = TrainingRun._run_epochs

    def interrupted(self):
        if self._options.epochs != 4 or not ready:
            raise KeyboardInterrupt
        run(self)

    monkeypatch.setattr(TrainingRun, "_run_epochs", interrupted)
    with pytest.warns(RuntimeWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        demo.run(epochs=100)
    assert "samples" not in capsys.readouterr().out


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


def test_demo_goes_on_where_keras_has_no_backend(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not demo._choose_backend()


def test_demo_takes_a_backend_that_is_there(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name == "jax" else None)
    assert demo._choose_backend() and os.environ["KERAS_BACKEND"] == "jax"


def test_demo_draws_into_a_folder(tmp_path, command):
    code, out, _ = command("demo", "--epochs", 1, "--plots", tmp_path / "pictures")
    assert code == 0 and "unseen images" in out
    assert all(path.suffix == ".png" for path in (tmp_path / "pictures").iterdir())
