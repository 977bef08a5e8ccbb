"""The process around the commands: exit codes, last words, what it imports, and what is left without the extra."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile

import pytest

import fastmlp

COMMAND = [sys.executable, "-m", "fastmlp"]


def test_errors_are_one_line(process, tmp_path):
    result = process("demo", "--data", "mnist", "--folder", str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "train-images" in result.stderr
    assert process("demmo").returncode == 2
    assert process("--version").stdout == f"fastmlp {fastmlp.__version__}\n"


def test_a_full_disk_and_a_closed_pipe(csv_folder, tmp_path, command):
    model = tmp_path / "m.safetensors"
    assert command("train", csv_folder / "iris.csv", "--target", "target", "--out", model, "--epochs", 1)[0] == 0
    predict = [*COMMAND, "predict", str(model), str(csv_folder / "iris.csv")]
    with open("/dev/full", "w") as full:
        result = subprocess.run(predict, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (2, "fastmlp: [Errno 28] No space left on device\n")
    for arguments in (predict, [*COMMAND, "train", "--help"]):
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as pipe:
            pipe.stdout.close()
            assert pipe.stderr.read() == b""


WITHOUT = """
import sys
for name in ("matplotlib", "pyarrow", "rich", "safetensors", "scipy", "sklearn", "typer"):
    sys.modules[name] = None
from fastmlp.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "code", "out", "error"),
    [
        (("--version",), 0, f"fastmlp {fastmlp.__version__}\n", ""),
        (("warmup",), 2, "", f"fastmlp: {__file__}"),
        (("warmup", "--help"), 0, "Compile all kernels now", ""),
        (("demo", "--epochs", "2"), 0, "trained on 2,876 samples", "epoch 1/2"),
        (("demo", "--data", "digit"), 2, "", "usage: fastmlp demo"),
        (("demo", "--plots", __file__), 2, "", "fastmlp: plots needs matplotlib: pip install 'fastmlp[plot]'\n"),
        (("train", "t.csv"), 2, "", "fastmlp: train needs typer: pip install 'fastmlp[cli]'\n"),
        ((), 2, "warmup    Compile all kernels now", ""),
        (("--help",), 0, "There are more: pip install 'fastmlp[cli]'", ""),
    ],
)
def test_without_the_extra_the_core_s_commands_are_left(arguments, code, out, error):
    variables = {
        **os.environ,
        **({"FASTMLP_CACHE_DIR": __file__, "FASTMLP_PREBUILT": "0"} if "warmup" in arguments else {}),
    }
    result = subprocess.run([sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True, env=variables)
    said = result.stderr.removeprefix("fastmlp: compiling kernels for this machine, once; it takes some seconds\n")
    assert result.returncode == code and out in result.stdout and said.startswith(error)


def test_without_the_tables_extra_csv_is_read_and_what_needs_it_names_it(csv_folder, tmp_path):
    names = "('pyarrow', 'openpyxl', 'pandas')"
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({names})); from fastmlp.__main__ import main; sys.exit(main())"
    )
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    for path, said in (
        (csv_folder / "iris.csv", ""),
        (tmp_path / "t.parquet", "fastmlp: reading Parquet needs pyarrow: pip install 'fastmlp[tables]'\n"),
        (tmp_path / "t.xlsx", "fastmlp: reading Excel's files needs openpyxl: pip install 'fastmlp[tables]'\n"),
    ):
        arguments = ["train", str(path), "--target", "target"]
        result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (2 if said else 0, said)


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_help_imports_nothing_heavy(argument):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fastmlp", argument], capture_output=True, text=True
    )
    assert result.returncode == 0 and "\x1b" not in result.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "numpy" in imported and not imported & {"numba", "pandas", "pyarrow", "torch", "safetensors", "sklearn"}


@pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_streams_that_are_closed(closed, csv_folder, tmp_path):
    out = tmp_path / "m.safetensors"
    train = f"train {shlex.quote(str(csv_folder / 'iris.csv'))} -t target --epochs 1 -o {shlex.quote(str(out))}"
    result = subprocess.run(
        f"{shlex.quote(sys.executable)} -m fastmlp {train} {closed}", shell=True, capture_output=True, text=True
    )
    assert result.returncode == 0 and out.exists() and "Traceback" not in result.stderr
