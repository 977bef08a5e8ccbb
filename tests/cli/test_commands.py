"""The commands on tables, as a user runs them: as processes, or in this one where a process would add nothing."""

from __future__ import annotations

import csv
import ctypes
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn import datasets as sklearn_datasets
from sklearn.metrics import mean_absolute_error, precision_recall_fscore_support, r2_score

import fastmlp
from fastmlp import tables
from fastmlp.tables import Schema

WORD = "fastmlp: compiling kernels for this machine, once; it takes some seconds\n"
COMMAND = [sys.executable, "-m", "fastmlp"]


@pytest.fixture
def mixed(tmp_path):
    """A table of everything: quoted and Unicode names, categories, missing values, blanks, constants, row numbers."""
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame(
        {
            "größe, cm": rng.normal(170, 10, n).round(1),
            "città": rng.choice(["Roma", 'Milano "MI"', "Nāpoli, NA"], n),
            "smoker": rng.choice([True, False], n),
            "always": "same",
            "visits": rng.integers(0, 9, n),
        }
    )
    frame["verdict"] = np.where((frame["città"] == "Roma") ^ (frame["größe, cm"] > 170), "да", "nein, danke")
    frame.loc[::17, "größe, cm"] = np.nan
    frame.loc[::13, "città"] = np.nan
    frame.loc[5, "verdict"] = np.nan
    path = tmp_path / "mixed.csv"
    frame.to_csv(path)
    return frame, path


def printed(text, name):
    """The network's number in that row of a report."""
    return float(re.search(rf"^{re.escape(name)}\s+(-?[\d.]+)", text, re.MULTILINE)[1])


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "wine"])
def test_classes_from_training_to_evaluation(name, csv_folder, tmp_path, command, process):
    data, model, out = csv_folder / f"{name}.csv", tmp_path / "m.safetensors", tmp_path / "out.csv"
    start = process if name == "iris" else command
    trained = start("train", data, "--target", "target", "--out", model)
    if name == "iris":
        assert trained.returncode == 0, trained.stderr
        assert trained.stderr in ("", WORD) and "\x1b" not in trained.stdout
    else:
        assert trained[0] == 0 and trained[2] == ""
    assert command("predict", model, data, "--out", out, "--probabilities")[0] == 0
    code, report, _ = command("evaluate", model, data)
    assert code == 0

    bunch = getattr(sklearn_datasets, f"load_{name}")()
    said = pd.read_csv(out)
    network = fastmlp.load(model)
    assert set(network.class_names) == set(bunch.target_names)
    np.testing.assert_allclose(said.iloc[:, 1:], network.predict(bunch.data), rtol=1e-6)
    assert list(said.columns) == ["target", *(f"P({label})" for label in network.class_names)]
    assert list(said["target"]) == [network.class_names[k] for k in network.predict_class(bunch.data)]
    truth = np.array(bunch.target_names)[bunch.target]
    assert printed(report, "accuracy") == pytest.approx(np.mean(truth == said["target"]), abs=6e-5)
    assert printed(report, "accuracy") > 0.93
    precision, recall, _, counts = precision_recall_fscore_support(truth, said["target"])
    for label, *numbers in zip(sorted(bunch.target_names), counts, precision, recall, strict=True):
        found = re.search(rf"^{label}\s+(\d+)\s+([\d.]+)\s+([\d.]+)", report, re.MULTILINE).groups()
        assert [float(number) for number in found] == pytest.approx(numbers, abs=6e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_from_training_to_evaluation(dtype, csv_folder, tmp_path, command):
    data, model, out = csv_folder / "diabetes.csv", tmp_path / "m.safetensors", tmp_path / "out.csv"
    code, report, _ = command("train", data, "-t", "target", "-o", model, "--dtype", dtype, "--act", "tanh")
    assert code == 0 and 0.3 < printed(report, "r²") < 0.7  # a linear model reaches 0.45 on average
    assert command("predict", model, data, "--out", out)[0] == 0
    said = pd.read_csv(out)["target"]
    x, y = sklearn_datasets.load_diabetes(return_X_y=True)
    np.testing.assert_allclose(said, fastmlp.load(model).predict(x)[:, 0], rtol=1e-6)
    report = command("evaluate", model, data)[1]
    assert printed(report, "r²") == pytest.approx(r2_score(y, said), abs=6e-5)
    assert printed(report, "mean absolute error") == pytest.approx(mean_absolute_error(y, said), rel=1e-4)
    assert re.search(r"absolute error.* (\S+)\n", report)[1] == f"{np.mean(np.abs(y - y.mean())):.5g}"


def test_the_loss_learns_standardised_targets(csv_folder, tmp_path, command):
    """The last layer undoes what training saw: a linear network comes out where least squares in raw units is."""
    data, model = csv_folder / "diabetes.csv", tmp_path / "m.safetensors"
    options = ["--hidden", "", "--validation", 0, "--optimizer", "sgd", "--batch-size", "full", "--lr", 0.3]
    code, report, _ = command(
        "train", data, "-t", "target", "-o", model, *options, "--epochs", 20000, "--dtype", "float64",
        "--early-stopping", 0, "--l2", 0,
    )  # fmt: skip
    assert code == 0 and "442 training rows" in report
    x, y = sklearn_datasets.load_diabetes(return_X_y=True)
    least = np.column_stack([x, np.ones(len(x))])
    fitted = least @ np.linalg.lstsq(least, y, rcond=None)[0]
    np.testing.assert_allclose(fastmlp.load(model).predict(x)[:, 0], fitted, rtol=1e-3)


def test_mixed_columns(mixed, tmp_path, command):
    frame, path = mixed
    model = tmp_path / "m.safetensors"
    code, report, said = command(
        "train", path, "--target", "verdict", "--out", model, "--optimizer", "sgd", "--lr", 0.03, "--validation", 0
    )
    assert code == 0
    assert said.splitlines() == [
        "fastmlp: 1 of 300 rows have no 'verdict', and are left out",
        "fastmlp: left out because nothing varies in it: 'always'",
    ]
    assert "да" in report and printed(report, "accuracy") > 0.9
    network = fastmlp.load(model)
    assert network.class_names == ("nein, danke", "да")
    assert network.spec.n_in == 1 + 4 + 1 + 1

    known = frame["verdict"].notna()
    heights = frame["größe, cm"].fillna(frame.loc[known, "größe, cm"].mean())
    cities = pd.get_dummies(frame["città"], dummy_na=True)
    x = np.column_stack([heights, cities, frame["smoker"], frame["visits"]]).astype(float)
    shuffled = frame[["visits", "smoker", "always", "città", "größe, cm"]].assign(more="ignored")
    shuffled.to_csv(tmp_path / "again.csv", sep=";", index=False)
    code, out, said = command("predict", model, tmp_path / "again.csv")
    assert code == 0 and said == ""
    labels = [row["verdict"] for row in csv.DictReader(io.StringIO(out))]
    assert labels == [network.class_names[k] for k in network.predict_class(x)]

    shuffled.loc[3, "città"] = "Torino"
    shuffled.to_csv(tmp_path / "again.csv", sep="\t", index=False)
    code, out, said = command("predict", model, tmp_path / "again.csv")
    assert said == (
        "fastmlp: column 'città' has 'Torino', which the model has never seen; in 1 of 300 rows it is taken as none of "
        "the categories\n"
    )
    x[3, 1:5] = 0
    labels[3] = network.class_names[int(network.predict_class(x[3:4])[0])]
    assert [row["verdict"] for row in csv.DictReader(io.StringIO(out))] == labels


def test_info(mixed, tmp_path, command):
    assert command("train", mixed[1], "-t", "verdict", "-o", tmp_path / "m.safetensors", "--epochs", 1)[0] == 0
    code, out, _ = command("info", tmp_path / "m.safetensors")
    assert code == 0
    for part in ("relu", "16 × 7", "größe, cm", 'one of Milano "MI", Nāpoli, NA, Roma, (missing)', "target: verdict"):
        assert part in out


def test_info_of_a_model_from_python(tmp_path, command):
    fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "linear"}]).save(tmp_path / "m.safetensors")
    code, out, _ = command("info", tmp_path / "m.safetensors")
    assert code == 0 and "3 float32 parameters" in out


def test_the_seed_decides(csv_folder, tmp_path, command):
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        command("train", csv_folder / "iris.csv", "-t", "target", "--seed", seed, "-o", tmp_path / name, "--epochs", 2)
    first, again, other = (fastmlp.load(tmp_path / name) for name in "abc")
    assert first == again and first != other


def test_the_optimizer_decides_steps_left_out(csv_folder, tmp_path, command):
    """sgd and lbfgs as in Python; lbfgs refuses what it has no use for."""
    x, y = sklearn_datasets.load_iris(return_X_y=True)
    for optimizer in ("sgd", "lbfgs"):
        options = ["--optimizer", optimizer, "--epochs", 5, "--validation", 0, "--early-stopping", 0, "--l2", 0]
        assert command("train", csv_folder / "iris.csv", "-t", "target", *options, "-o", tmp_path / "m")[0] == 0
        model = fastmlp.load(tmp_path / "m")
        assert model == fastmlp.train(x, y, model.spec, epochs=5, optimizer=optimizer, seed=0)[0]
    code, _, error = command("train", csv_folder / "iris.csv", "-t", "target", "--optimizer", "lbfgs", "--lr", 0.1)
    assert code == 2 and "lr is 0.1, but lbfgs finds the length of each step itself" in error


def test_levenberg_marquardt_fits_a_column_of_numbers(csv_folder, tmp_path, command):
    x, y = sklearn_datasets.load_diabetes(return_X_y=True)
    start = ["train", csv_folder / "diabetes.csv", "-t", "target", "--optimizer", "lm", "--hidden", 4, "--l2", 0]
    all_rows = ["--validation", 0, "--early-stopping", 0]
    assert command(*start, *all_rows, "--epochs", 10, "-o", tmp_path / "m")[0] == 0
    model = fastmlp.load(tmp_path / "m")
    expected, history = fastmlp.train(x, y, model.spec, epochs=10, optimizer="lm", seed=0)
    np.testing.assert_allclose(model.predict(x), expected.predict(x), rtol=1e-3)
    assert history["loss"][-1] < 0.3  # half the variance is 0.5
    code, _, error = command(*start, "--lr", 0.1)
    assert code == 2 and "lr is 0.1, but lm finds the length of each step itself" in error
    code, _, error = command("train", csv_folder / "iris.csv", "-t", "target", "--optimizer", "lm")
    assert code == 2 and "the loss is cross_entropy, but least squares are those of loss='mse'" in error


def test_a_checkpoint_goes_on(csv_folder, tmp_path, command):
    """Stopped and taken up again, training in standardised units ends with the same model in the target's."""
    start = ("train", csv_folder / "diabetes.csv", "-t", "target", "--early-stopping", 0)
    assert command(*start, "--epochs", 6, "-o", tmp_path / "whole")[0] == 0
    for epochs, name in ((3, "half"), (6, "again")):
        options = ("--checkpoint", tmp_path / "run.ckpt", "--epochs", epochs, "-o", tmp_path / name)
        assert command(*start, *options)[0] == 0
    whole, half, again = (fastmlp.load(tmp_path / name) for name in ("whole", "half", "again"))
    assert whole == again and whole != half
    code, _, error = command(*start, "--checkpoint", tmp_path / "run.ckpt", "--seed", 1)
    assert code == 2 and error.startswith(f"fastmlp: {tmp_path / 'run.ckpt'}: ")


def test_options_reach_training(csv_folder, tmp_path, command):
    options = [
        *("--hidden", "5,4", "--act", "tanh", "--loss", "hinge", "--optimizer", "adam", "--batch-size", 16),
        *("--lr", 0.005, "--l2", 0.001, "--dropout", 0.1, "--n-threads", 2, "--early-stopping", 3),
    ]
    code, report, _ = command("train", csv_folder / "iris.csv", "-t", "target", *options, "-o", tmp_path / "m")
    assert code == 0 and "4 → 5 → 4 → 3" in report and "loss (hinge)" in report
    spec = fastmlp.load(tmp_path / "m").spec
    assert [layer.act.name for layer in spec.layers] == ["tanh", "tanh", "linear"]
    assert command("predict", tmp_path / "m", csv_folder / "iris.csv", "--probabilities")[::2] == (
        2, "fastmlp: --probabilities needs a model with softmax outputs, which this one has not\n"
    )  # fmt: skip


IRIS = ("train", "iris.csv", "--target", "target")


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (None, ("train", "no.csv", "--target", "y"), "no.csv: No such file or directory"),
        (None, ("train", ".", "--target", "y"), ".: Is a directory"),
        ("", ("train", "t.csv", "--target", "y"), "t.csv: has nothing in it"),
        ("x,y\n", ("train", "t.csv", "--target", "y"), "t.csv: has no rows"),
        ("x,y\n1,2\n3\n", ("train", "t.csv", "--target", "y"), "t.csv: line 3 has 1 cell, there are 2 columns: 3"),
        ("x,x,y\n1,2,3\n", ("train", "t.csv", "--target", "y"), "t.csv: two columns are named 'x'"),
        (b"x,y\n\xff\0,1\n", ("train", "t.csv", "--target", "y"), "t.csv: is no text: it has bytes that no table"),
        (b"\x89PNG\r\n\x1a\n\0\0", ("train", "t.csv", "--target", "y"), "t.csv: is a picture"),
        (b"x,y\n\xff,1\n", ("train", "t.csv", "--target", "y", "--encoding", "utf-8"), "t.csv: is no text in utf-8"),
        ("x,y\n1,2\n", ("train", "t.csv", "--target", "y", "--encoding", "utf-77"), "Python knows none called"),
        ("x,y\n1,a\n", ("train", "t.csv.gz", "--target", "y"), "t.csv.gz: is no sound gzip file"),
        (b"PAR1junkPAR1", ("train", "t.parquet", "--target", "y"), "t.parquet: "),
        (b"junk", ("train", "t.npy", "--target", "y"), "t.npy: "),
        (b"junk", ("train", "t.npz", "--target", "y"), "t.npz: "),
        (None, ("train", "iris.csv", "--target", "tarjet"), "there is no column 'tarjet'; did you mean 'target'?"),
        ("x,y\n1,a\n2,a\n", ("train", "t.csv", "--target", "y"), "column 'y' has one value only, 'a'"),
        ("x,y\n1,\n2,\n", ("train", "t.csv", "--target", "y"), "column 'y' has no values"),
        ("x,y\n1,2\n1,3\n", ("train", "t.csv", "--target", "y"), "every column is constant"),
        ("y\n1\n3\n", ("train", "t.csv", "--target", "y"), "there is no column besides 'y'"),
        (
            "when,y\n2020-01-02,1\n2021-01-03 10:00,2\n", ("train", "t.csv", "--target", "y"),
            "column 'when': dates or times; this goes on: fastmlp train t.csv --target y --number when",
        ),
        (
            "who,y\n" + "".join(f"person {i},{i % 2}\n" for i in range(200)), ("train", "t.csv", "--target", "y"),
            "column 'who': free text, 200 different values in 200 rows",
        ),
        (
            "x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(50)) + "abc,1\n", ("train", "t.csv", "--target", "y"),
            "column 'x': numbers, but 'abc' in row 51",
        ),
        ("x,y\n1,1\ninf,2\n", ("train", "t.csv", "--target", "y"), "must hold finite numbers, row 2 has inf"),
        (
            "x,y\n1,a\n2,b\n", ("train", "t.csv", "--target", "y", "--task", "regression"),
            "column 'y' must hold numbers, row 1 has 'a'",
        ),
        (
            "x,y\n" + "".join(f"{i % 7},name {i}\n" for i in range(50)), ("train", "t.csv", "--target", "y"),
            "column 'y' has 50 different values in 50 rows, too many for classes",
        ),
        (None, (*IRIS, "--act", "rulu"), "--act: unknown activation 'rulu'; did you mean 'relu'?"),
        (None, (*IRIS, "--optimizer", "adamm"), "unknown optimizer 'adamm'; did you mean 'adam'?"),
        (None, (*IRIS, "--loss", "bce"), "--loss: unknown 'bce'"),
        ("x,y\n1,1.5\n2,2\n", ("train", "t.csv", "--target", "y", "--loss", "poison"), "did you mean 'poisson'?"),
        (None, (*IRIS, "--hidden", "16,x"), "--hidden must be whole numbers such as 16,16, got 'x'"),
        (None, (*IRIS, "--batch-size", "x"), "--batch-size must be whole numbers, got 'x'"),
        (None, (*IRIS, "--lr", "0"), "lr must be a finite number above 0, got 0.0"),
        (None, (*IRIS, "--lr", "1e9"), "lr of 1e+09 (try a smaller one)"),
        (None, (*IRIS, "--validation", "1"), "--validation must be a finite number at least 0 and below 1"),
        (None, (*IRIS, "--validation", "0.999"), "leaves no rows to train on"),
        (None, (*IRIS, "--seed", "-1"), "seed must be at least 0"),
        (None, (*IRIS, "--ignore", "sepal"), "there is no column 'sepal'; did you mean 'sepal width (cm)'?"),
        (None, (*IRIS, "--task", "magic"), "'magic' is not one of"),
        (None, (*IRIS, "--out", "no/m.safetensors"), "no/m.safetensors: there is no folder no"),
        (None, (*IRIS, "--checkpoint", "no/run.ckpt"), "no/run.ckpt: there is no folder no"),
        (None, (*IRIS, "--out", "."), ".: is a folder or a device, not a file"),
        (None, ("train", "iris.csv"), "Missing option '--target' / '-t': the column to predict, --target COL"),
        (None, ("train", "iris.csv", "target"), "the column to predict, --target target"),
        (None, (*IRIS, "--learning-rate", "1"), "No such option: --learning-rate; write --lr"),
        (None, ("predict", "iris.csv", "iris.safetensors"), "fastmlp predict iris.safetensors iris.csv"),
        (None, ("predict", "iris.safetensors", "iris.csv", "-o", "t.xlsx"), "as .csv or .parquet, not as Excel's"),
        (None, ("trian",), "No such command 'trian'"),
        (None, ("info", "no.safetensors"), "no.safetensors: No such file or directory"),
        (b"", ("info", "t.safetensors"), "t.safetensors: is empty"),
        (b"\x10\0\0\0\0\0\0\0garbage", ("predict", "t.safetensors", "iris.csv"), "t.safetensors: "),
        (None, ("predict", "iris.csv", "iris.csv"), "iris.csv: "),
        (None, ("predict", "plain.safetensors", "iris.csv"), "was not trained on a table"),
        ("a,target\n1,setosa\n", ("predict", "iris.safetensors", "t.csv"), "there are no columns 'sepal length"),
        (
            "sepal length (cm),sepal_width (cm),petal length (cm),petal width (cm)\n1,2,3,4\n",
            ("predict", "iris.safetensors", "t.csv"),
            "there is no column 'sepal width (cm)'; did you mean 'sepal_width (cm)'?",
        ),
        (
            "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n1,2,3,4\n1,2,wide,4\n",
            ("predict", "iris.safetensors", "t.csv"),
            "column 'petal length (cm)' must hold numbers, row 2 has 'wide'",
        ),
        (
            "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm),target\n1,2,3,4,tulip\n",
            ("evaluate", "iris.safetensors", "t.csv"),
            "column 'target' has 'tulip', which is none of the classes setosa, versicolor, virginica",
        ),
        (
            "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm),target\n1,2,3,4,\n",
            ("evaluate", "iris.safetensors", "t.csv"),
            "t.csv: no row has a value in column 'target'",
        ),
        (None, ("predict", "iris.safetensors", "iris.csv", "--out", "no/p.csv"), "no/p.csv: there is no folder no"),
    ],
)  # fmt: skip
def test_errors_are_one_line(content, arguments, said, csv_folder, command, monkeypatch):
    monkeypatch.chdir(csv_folder)
    if not os.path.exists("iris.safetensors"):
        assert command(*IRIS, "--out", "iris.safetensors", "--epochs", 1)[0] == 0
        fastmlp.MLP([{"n": 4, "act": None}, {"n": 3, "act": "softmax"}]).save("plain.safetensors")
    if content is not None:
        file = next(argument for argument in arguments if argument.startswith("t."))
        with open(file, "wb") as stream:
            stream.write(content if isinstance(content, bytes) else content.encode())
    code, out, error = command(*arguments)
    assert code == 2 and out == "", (out, error)
    assert error.startswith("fastmlp: ") and error.count("\n") == 1 and said in error


def test_export_to_onnx(csv_folder, tmp_path, command):
    model, out = tmp_path / "m.safetensors", tmp_path / "m.onnx"
    assert command(*IRIS[:1], csv_folder / "iris.csv", *IRIS[2:], "--out", model)[0] == 0
    code, said, _ = command("export", model, "--out", out)
    assert code == 0 and "  sepal length (cm) (where it is missing: 5.8" in said and "  target is 'setosa'\n" in said
    assert said.startswith(onnx.load(out).doc_string)
    x = sklearn_datasets.load_iris().data.astype("float32")
    (probabilities,) = onnxruntime.InferenceSession(out).run(None, {"x": x})
    command("predict", model, csv_folder / "iris.csv", "--out", tmp_path / "p.csv", "--probabilities")
    np.testing.assert_allclose(probabilities, pd.read_csv(tmp_path / "p.csv").iloc[:, 1:], atol=2e-6)


def test_the_format_of_an_export_is_what_the_file_ends_in_or_what_is_said(tmp_path, command):
    model = tmp_path / "m.safetensors"
    fastmlp.MLP([{"n": 4, "act": None}, {"n": 1, "act": "linear"}]).save(model)
    for name in ("m.c", "m.C", "m.ONNX"):
        assert command("export", model, "--out", tmp_path / name)[0] == 0
        is_c = b"void net_predict(" in (tmp_path / name).read_bytes()
        assert is_c == name.lower().endswith(".c")
    assert command("export", model, "--out", tmp_path / "other.txt", "--to", "c")[0] == 0
    assert "void net_predict(" in (tmp_path / "other.txt").read_text()
    for options, complaint in [
        (["new.tflite"], "new.tflite: ends in neither .onnx nor .c; say --to onnx or --to c"),
        (["new"], "new: ends in neither .onnx nor .c"),
        (["new.h"], "give 'new.c', which gets a header"),
        (["new.onnx", "--jacobian"], "--jacobian is for C, and new.onnx is to be written as onnx"),
    ]:
        code, said, error = command("export", model, "--out", *options)
        assert code == 2 and said == "" and complaint in error, error
        assert not Path(options[0]).exists()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("target", ["verdict", "größe, cm"])
def test_export_to_c(target, mixed, tmp_path, command):
    """Whatever the columns are called, and a number in its own units."""
    frame, path = mixed
    frame.rename(columns={"visits": "/*vis*/its??/"}).to_csv(path)
    model, source, library = tmp_path / "m.safetensors", tmp_path / "m.c", tmp_path / "m.so"
    assert command("train", path, "--target", target, "--out", model)[0] == 0
    code, said, _ = command("export", model, "--to", "c", "--out", source, "--name", "guess")
    assert code == 0 and "  1 where città is missing, else 0\n" in said
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run(["gcc", *strict, source, "-o", library, "-lm"], check=True)
    network = fastmlp.load(model)
    x = Schema.stored_in(network).encode(tables.read(path))
    out = np.empty((len(x), network.spec.n_out), np.float32)
    guess = ctypes.CDLL(library).guess
    guess.argtypes = 2 * [np.ctypeslib.ndpointer(np.float32, 1)]
    for row, place in zip(x, out, strict=True):
        guess(row, place)
    np.testing.assert_allclose(out, network.predict(x), rtol=2e-5, atol=5e-6)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_export_to_c_in_integers_with_derivatives_and_checked(csv_folder, tmp_path, command):
    data, model, source = csv_folder / "iris.csv", tmp_path / "m.safetensors", tmp_path / "m.c"
    assert command(*IRIS[:1], data, *IRIS[2:], "--out", model)[0] == 0
    export = ["export", model, "--to", "c", "--out", source]
    code, said, _ = command(*export, "--dtype", "float64", "--jacobian", "--check", data)
    assert code == 0 and "Checked: compiled by " in said and "that of its derivatives " in said
    assert "void net_jacobian(const double *x" in source.read_text()
    code, said, _ = command(*export, "--dtype", "int8", "--calibrate", data)
    assert code == 0 and re.search(r"^Largest error on the 150 samples it was calibrated on: \d", said, re.MULTILINE)
    assert "float" not in source.read_text().partition("*/")[2].replace("INPUTS", "")
    for options, complaint in [
        (["--dtype", "int8"], "--dtype int8 needs a table of typical rows: --calibrate DATA, or --check DATA"),
        (["--check", tmp_path / "none.csv"], "none.csv"),
        (["--to", "onnx", "--jacobian"], "--jacobian is for C"),
        (["--to", "onnx", "--check", data], "--check is for C"),
        (["--calibrate", data], 'calibrate is for dtype="int8"'),
    ]:
        before = source.read_bytes()
        code, said, error = command(*export, *options)
        assert code == 2 and complaint in error, error
        assert source.read_bytes() == before
    plain = tmp_path / "plain.safetensors"
    fastmlp.MLP([{"n": 4, "act": None}, {"n": 1, "act": "linear"}]).save(plain)
    code, _, error = command("export", plain, "--to", "c", "--out", source, "--check", data)
    assert code == 2 and "the model was not trained on a table" in error


def test_ctrl_c_keeps_the_model_so_far(csv_folder, tmp_path):
    model = tmp_path / "m.safetensors"
    arguments = ["train", str(csv_folder / "wine.csv"), "-t", "target", "-o", str(model)]
    command = [*COMMAND, *arguments, "--epochs", "1000000", "--early-stopping", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        time.sleep(4)
        training.send_signal(signal.SIGINT)
        out, error = training.communicate()
    assert training.returncode == 130 and error in ("", WORD)
    assert ", interrupted" in out and fastmlp.load(model).class_names == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize(
    ("step", "said", "shown"),
    [
        (
            "_linear_outputs",
            "interrupted while a linear model was fitted to compare with; the network is trained",
            True,
        ),
        ("constant_scores", "interrupted while the network was measured; the network is trained, and kept", False),
    ],
)
def test_ctrl_c_after_training_keeps_the_model(step, said, shown, csv_folder, tmp_path, command, monkeypatch):
    monkeypatch.setattr(f"fastmlp.tables.fitting.{step}", lambda *arguments: signal.raise_signal(signal.SIGINT))
    model = tmp_path / "m.safetensors"
    code, out, error = command("train", csv_folder / "wine.csv", "-t", "target", "-o", model, "--epochs", "5")
    assert code == 130 and said in error
    assert "5 of 5 epochs" in out and ", interrupted" in out and ("accuracy" in out) == shown
    assert command("predict", model, csv_folder / "wine.csv")[0] == 0


def test_quantiles_and_deviations_have_columns_of_their_own(tmp_path, command):
    rng = np.random.default_rng(0)
    table, path, out = tmp_path / "t.csv", tmp_path / "m", tmp_path / "p.csv"
    pd.DataFrame({"x": rng.normal(size=200), "y": rng.normal(size=200)}).to_csv(table, index=False)
    train = ("train", table, "-t", "y", "--number", "x", "--hidden", "", "--epochs", 1, "-o", path)
    assert command(*train, "--loss", "quantile(0.45, 0.5, 0.55)")[0] == 0
    found = tables.load(path)
    found.model.params[...] = 0
    found.model.biases[-1][...] = 1, 0, -1  # they cross
    found.save(path)
    for option, ordered in ((), False), (("--sort",), True):
        assert command("predict", path, table, "-o", out, *option)[0] == 0
        quantiles = pd.read_csv(out)[["y q0.45", "y q0.5", "y q0.55"]].to_numpy()
        np.testing.assert_allclose(quantiles, found.quantiles(table, sort=ordered), rtol=1e-5)
        assert (np.diff(quantiles) > 0).all() == ordered
    assert command(*train, "--loss", "gaussian_nll")[0] == 0
    assert command("predict", path, table, "-o", out)[0] == 0
    np.testing.assert_allclose(pd.read_csv(out)["y deviation"], tables.load(path).deviation(table), rtol=1e-5)
    code, _, said = command("predict", path, table, "--sort")
    assert code and "--sort needs a model of several quantiles" in said
    code, report, _ = command("export", path, "--to", "c", "--out", tmp_path / "net.c")
    assert code == 0 and "its mean and the logarithm of its variance" in report


def test_predictions_beside_other_columns_and_through_pipes(csv_folder, tmp_path, process):
    data, model = csv_folder / "wine.csv", tmp_path / "m.safetensors"
    frame = pd.read_csv(data).assign(bottle=[f"B-{i:03}" for i in range(178)])
    frame.to_csv(tmp_path / "bottles.csv", index=False)
    train = process("train", tmp_path / "bottles.csv", "-t", "target", "-o", model, "--epochs", 2)
    assert train.returncode == 0 and re.search(r"^bottle +left out: all different, an id", train.stdout, re.MULTILINE)
    start = [*COMMAND, "predict", str(model), "-", "--keep", "bottle", "--keep", "target", "-o", "-"]
    text = (tmp_path / "bottles.csv").read_bytes()
    done = subprocess.run(start, input=text, capture_output=True)
    assert done.returncode == 0, done.stderr
    said = pd.read_csv(io.BytesIO(done.stdout))
    assert list(said) == ["bottle", "target", "predicted target"]
    assert said["bottle"].tolist() == frame["bottle"].tolist() and said["target"].tolist() == frame["target"].tolist()
    assert said["predicted target"].tolist() == tables.load(model).predict(frame).tolist()
    for empty in (text.partition(b"\n")[0] + b"\n", b""):
        done = subprocess.run(start, input=empty, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"bottle,target,predicted target\n", b"")


def test_a_closed_pipe_loses_no_model(csv_folder, tmp_path):
    model = tmp_path / "m.safetensors"
    arguments = ["train", str(csv_folder / "iris.csv"), "-t", "target", "-o", str(model), "--epochs", "2"]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as training:
        training.stdout.close()
        error = training.stderr.read()
    assert training.returncode == 141 and error in ("", WORD)
    assert tables.load(model).scores["rows"] == 30


def test_without_a_header_from_training_to_prediction(csv_folder, tmp_path, command):
    pd.read_csv(csv_folder / "iris.csv").to_csv(tmp_path / "t.csv", index=False, header=False)
    code, report, said = command("train", tmp_path / "t.csv", "-t", 5, "--no-header", "-o", tmp_path / "m")
    assert (code, said) == (0, "") and re.search(r"^5 +the target, 3 classes", report, re.MULTILINE)
    code, out, _ = command("predict", tmp_path / "m", tmp_path / "t.csv")  # the model knows
    assert code == 0 and out.count("\n") == 151 and out.startswith("5\nsetosa\n")
    code, _, said = command("train", tmp_path / "t.csv", "-t", 5)
    assert code == 2 and "if it is a row: --no-header" in said


def test_how_a_file_is_read_can_be_said(csv_folder, tmp_path, command):
    frame = pd.read_csv(csv_folder / "iris.csv")
    (tmp_path / "t.txt").write_bytes(
        frame.assign(target="é" + frame["target"]).to_csv(index=False, sep="!").encode("cp850")
    )
    options = ("--encoding", "cp850", "--separator", "!", "--decimal", ".")
    assert command("train", tmp_path / "t.txt", "-t", "target", "-o", tmp_path / "m", *options)[::2] == (0, "")
    code, out, _ = command("predict", tmp_path / "m", tmp_path / "t.txt", *options)
    assert code == 0 and out.splitlines()[1] == "ésetosa"
    code, report, _ = command("evaluate", tmp_path / "m", tmp_path / "t.txt", *options)
    assert code == 0 and printed(report, "accuracy") > 0.9


def test_info_lists_all_columns(tmp_path, command):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40, 80)), columns=[f"c{i}" for i in range(80)])
    frame.assign(kg=[f"{i % 7 + 60} kg" for i in range(40)], y=np.arange(40) % 2).to_csv(
        tmp_path / "t.csv", index=False
    )
    assert command("train", tmp_path / "t.csv", "-t", "y", "-o", tmp_path / "m", "--epochs", 1)[0] == 0
    code, out, _ = command("info", tmp_path / "m")
    assert code == 0 and all(
        re.search(rf"^c{i} +1 +a number, -?[\d.e-]+ ± [\d.]+ *$", out, re.MULTILINE) for i in range(80)
    )
    assert re.search(r"^kg +1 +a number, 6\d\.?\d* ± \d\.?\d* kg *$", out, re.MULTILINE)
