"""The commands on tables, as a user runs them: as processes, or in this one where a process would add nothing."""

from __future__ import annotations

import csv
import ctypes
import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn import datasets as sklearn_datasets
from sklearn.metrics import mean_absolute_error, precision_recall_fscore_support, r2_score

import fastmlp
from fastmlp import tables
from fastmlp.__main__ import main
from fastmlp.tables import Schema, split

COMMAND = [sys.executable, "-m", "fastmlp"]


def process(*arguments, **variables):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, encoding="utf-8", env={**os.environ, **variables}
    )


@pytest.fixture
def run(capsys):
    """A command in this process: its exit code, what it printed, and what it said on standard error."""

    def command(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """scikit-learn's tables as CSV, their classes by name."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("iris", "breast_cancer", "wine", "diabetes"):
        bunch = getattr(sklearn_datasets, f"load_{name}")(as_frame=True)
        frame = bunch.frame
        if name != "diabetes":
            frame = frame.assign(target=np.array(bunch.target_names)[bunch.target])
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


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
def test_classes_from_training_to_evaluation(name, folder, tmp_path, run):
    data, model, out = folder / f"{name}.csv", tmp_path / "m.safetensors", tmp_path / "out.csv"
    start = process if name == "iris" else run
    trained = start("train", data, "--target", "target", "--out", model)
    if name == "iris":
        assert trained.returncode == 0, trained.stderr
        assert trained.stderr == "" and "\x1b" not in trained.stdout
    else:
        assert trained[0] == 0 and trained[2] == ""
    assert run("predict", model, data, "--out", out, "--probabilities")[0] == 0
    code, report, _ = run("evaluate", model, data)
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
def test_numbers_from_training_to_evaluation(dtype, folder, tmp_path, run):
    data, model, out = folder / "diabetes.csv", tmp_path / "m.safetensors", tmp_path / "out.csv"
    code, report, _ = run("train", data, "-t", "target", "-o", model, "--dtype", dtype, "--act", "tanh")
    assert code == 0 and 0.3 < printed(report, "r²") < 0.7  # a linear model reaches 0.45 on average
    assert run("predict", model, data, "--out", out)[0] == 0
    said = pd.read_csv(out)["target"]
    x, y = sklearn_datasets.load_diabetes(return_X_y=True)
    np.testing.assert_allclose(said, fastmlp.load(model).predict(x)[:, 0], rtol=1e-6)
    report = run("evaluate", model, data)[1]
    assert printed(report, "r²") == pytest.approx(r2_score(y, said), abs=6e-5)
    assert printed(report, "mean absolute error") == pytest.approx(mean_absolute_error(y, said), rel=1e-4)
    assert re.search(r"absolute error.* (\S+)\n", report)[1] == f"{np.mean(np.abs(y - y.mean())):.5g}"


def test_the_loss_learns_standardised_targets(folder, tmp_path, run):
    """The last layer undoes what training saw: a linear network comes out where least squares in raw units is."""
    data, model = folder / "diabetes.csv", tmp_path / "m.safetensors"
    options = ["--hidden", "", "--validation", 0, "--optimizer", "sgd", "--batch-size", "full", "--lr", 0.3]
    code, report, _ = run(
        "train", data, "-t", "target", "-o", model, *options, "--epochs", 20000, "--dtype", "float64",
        "--early-stopping", 0,
    )  # fmt: skip
    assert code == 0 and "442 training rows" in report
    x, y = sklearn_datasets.load_diabetes(return_X_y=True)
    least = np.column_stack([x, np.ones(len(x))])
    fitted = least @ np.linalg.lstsq(least, y, rcond=None)[0]
    np.testing.assert_allclose(fastmlp.load(model).predict(x)[:, 0], fitted, rtol=1e-3)


def test_mixed_columns(mixed, tmp_path, run):
    frame, path = mixed
    model = tmp_path / "m.safetensors"
    code, report, said = run(
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
    code, out, said = run("predict", model, tmp_path / "again.csv")
    assert code == 0 and said == ""
    labels = [row["verdict"] for row in csv.DictReader(io.StringIO(out))]
    assert labels == [network.class_names[k] for k in network.predict_class(x)]

    shuffled.loc[3, "città"] = "Torino"
    shuffled.to_csv(tmp_path / "again.csv", sep="\t", index=False)
    code, out, said = run("predict", model, tmp_path / "again.csv")
    assert said == (
        "fastmlp: column 'città' has 'Torino', which the model has never seen; in 1 of 300 rows it is taken as none of "
        "the categories\n"
    )
    x[3, 1:5] = 0
    labels[3] = network.class_names[int(network.predict_class(x[3:4])[0])]
    assert [row["verdict"] for row in csv.DictReader(io.StringIO(out))] == labels


def test_info(mixed, tmp_path, run):
    assert run("train", mixed[1], "-t", "verdict", "-o", tmp_path / "m.safetensors", "--epochs", 1)[0] == 0
    code, out, _ = run("info", tmp_path / "m.safetensors")
    assert code == 0
    for part in ("relu", "16 × 7", "größe, cm", 'one of Milano "MI", Nāpoli, NA, Roma, (missing)', "target: verdict"):
        assert part in out


def test_info_of_a_model_from_python(tmp_path, run):
    fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "linear"}]).save(tmp_path / "m.safetensors")
    code, out, _ = run("info", tmp_path / "m.safetensors")
    assert code == 0 and "3 float32 parameters" in out


def test_formats_of_tables(folder, tmp_path, run):
    """The same numbers make the same model, whatever file they come from."""
    frame = pd.read_csv(folder / "iris.csv")
    frame.columns = ["a", "b", "c", "d", "kind"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "t.csv").read_bytes().replace(b"\n", b"\r\n"))
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.astype({"kind": "category"}).to_parquet(tmp_path / "category.parquet")
    np.savez(tmp_path / "t.npz", **{name: frame[name].to_numpy(str if name == "kind" else float) for name in frame})
    models = []
    for file in ("t.csv", "t.csv.gz", "bom.csv", "t.tsv", "comma.csv", "t.parquet", "category.parquet", "t.npz"):
        code, _, said = run("train", tmp_path / file, "-t", "kind", "-o", tmp_path / "m", "--epochs", 3)
        assert (code, said) == (0, ""), file
        models.append(fastmlp.load(tmp_path / "m"))
    assert all(model == models[0] and model.metadata == models[0].metadata for model in models)

    np.save(tmp_path / "t.npy", frame.iloc[:, :4].to_numpy())
    assert run("train", tmp_path / "t.npy", "-t", "3", "-o", tmp_path / "m")[0] == 0
    out = tmp_path / "out.parquet"
    assert run("predict", tmp_path / "m", tmp_path / "t.npy", "--out", out)[0] == 0
    assert pd.read_parquet(out)["3"].to_numpy() == pytest.approx(
        fastmlp.load(tmp_path / "m").predict(frame.iloc[:, :3].to_numpy())[:, 0], rel=1e-6
    )
    np.savez(tmp_path / "matrix.npz", x=frame.iloc[:, :4].to_numpy().reshape(-1, 2, 2), y=np.arange(150) % 2)
    assert tables.read(tmp_path / "matrix.npz").keys() == {"x[0]", "x[1]", "x[2]", "x[3]", "y"}


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a", "10"], ("10", "a", "b")),
        (["True", "False"], ("False", "True")),
        (["01", "02", "10"], ("01", "02", "10")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["0", "1"], ("0", "1")),
        (["0.5", "1", "2"], ()),
        ([str(i) for i in range(20)], tuple(str(i) for i in range(20))),
        ([str(i) for i in range(21)], ()),
        ([f"class {i}" for i in range(30)], tuple(sorted(f"class {i}" for i in range(30)))),
    ],
)
def test_what_the_target_decides(values, classes, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values * 10)))
    assert Schema.of(tables.read(path), "y").classes == classes


def test_few_rows_of_whole_numbers_are_numbers_and_task_overrides(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,2\n2,4\n3,6\n4,7\n")
    table = tables.read(path)
    assert Schema.of(table, "y").classes == ()
    assert Schema.of(table, "y", "classification").classes == ("2", "4", "6", "7")
    path.write_text("x,y\n1,0\n2,1\n3,1\n")
    assert Schema.of(tables.read(path), "y", "regression").classes == ()


def test_a_split_keeps_the_shares_of_classes():
    y = np.repeat([0, 1, 2], [100, 50, 10])
    kept, held = split(y, 3, 0.2, 0)
    assert np.bincount(y[held]).tolist() == [20, 10, 2]
    assert sorted([*kept, *held]) == list(range(160))


def test_the_seed_decides(folder, tmp_path, run):
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        run("train", folder / "iris.csv", "-t", "target", "--seed", seed, "-o", tmp_path / name, "--epochs", 2)
    first, again, other = (fastmlp.load(tmp_path / name) for name in "abc")
    assert first == again and first != other


def test_the_optimizer_decides_steps_left_out(folder, tmp_path, run):
    """sgd and lbfgs as in Python; lbfgs refuses what it has no use for."""
    x, y = sklearn_datasets.load_iris(return_X_y=True)
    for optimizer in ("sgd", "lbfgs"):
        options = ["--optimizer", optimizer, "--epochs", 5, "--validation", 0, "--early-stopping", 0]
        assert run("train", folder / "iris.csv", "-t", "target", *options, "-o", tmp_path / "m")[0] == 0
        model = fastmlp.load(tmp_path / "m")
        assert model == fastmlp.train(x, y, model.spec, epochs=5, optimizer=optimizer, seed=0)[0]
    code, _, error = run("train", folder / "iris.csv", "-t", "target", "--optimizer", "lbfgs", "--lr", 0.1)
    assert code == 2 and "lr is 0.1, but lbfgs finds the length of each step itself" in error


def test_a_checkpoint_goes_on(folder, tmp_path, run):
    """Stopped and taken up again, training in standardised units ends with the same model in the target's."""
    start = ("train", folder / "diabetes.csv", "-t", "target", "--early-stopping", 0)
    assert run(*start, "--epochs", 6, "-o", tmp_path / "whole")[0] == 0
    for epochs, name in ((3, "half"), (6, "again")):
        options = ("--checkpoint", tmp_path / "run.ckpt", "--epochs", epochs, "-o", tmp_path / name)
        assert run(*start, *options)[0] == 0
    whole, half, again = (fastmlp.load(tmp_path / name) for name in ("whole", "half", "again"))
    assert whole == again and whole != half
    code, _, error = run(*start, "--checkpoint", tmp_path / "run.ckpt", "--seed", 1)
    assert code == 2 and error.startswith(f"fastmlp: {tmp_path / 'run.ckpt'}: ")


def test_options_reach_training(folder, tmp_path, run):
    options = [
        *("--hidden", "5,4", "--act", "tanh", "--loss", "hinge", "--optimizer", "adam", "--batch-size", 16),
        *("--lr", 0.005, "--l2", 0.001, "--dropout", 0.1, "--n-threads", 2, "--early-stopping", 3),
    ]
    code, report, _ = run("train", folder / "iris.csv", "-t", "target", *options, "-o", tmp_path / "m")
    assert code == 0 and "4 → 5 → 4 → 3" in report and "loss (hinge)" in report
    spec = fastmlp.load(tmp_path / "m").spec
    assert [layer.act.name for layer in spec.layers] == ["tanh", "tanh", "linear"]
    assert run("predict", tmp_path / "m", folder / "iris.csv", "--probabilities")[::2] == (
        2, "fastmlp: --probabilities needs a model with softmax outputs, which this one has not\n"
    )  # fmt: skip


IRIS = ("train", "iris.csv", "--target", "target")


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (None, ("train", "no.csv", "--target", "y"), "no.csv: No such file or directory"),
        (None, ("train", ".", "--target", "y"), ".: Is a directory"),
        ("", ("train", "t.csv", "--target", "y"), "t.csv: Empty CSV file"),
        ("x,y\n", ("train", "t.csv", "--target", "y"), "t.csv: has no rows"),
        ("x,y\n1,2\n3\n", ("train", "t.csv", "--target", "y"), "Expected 2 columns, got 1: 3"),
        ("x,x,y\n1,2,3\n", ("train", "t.csv", "--target", "y"), "t.csv: two columns are named 'x'"),
        (b"x,y\n\xff,1\n", ("train", "t.csv", "--target", "y"), "t.csv: is not a CSV in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", ("train", "t.csv", "--target", "y"), "t.csv: is not a CSV in UTF-8"),
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
            "cannot learn from column 'when': dates or times (leave columns out with --ignore COL",
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
        ("x,y\n1,1.5\n2,2\n", ("train", "t.csv", "--target", "y", "--loss", "poisson"), "mae, mse"),
        (None, (*IRIS, "--hidden", "16,x"), "--hidden must be whole numbers, got 'x'"),
        (None, (*IRIS, "--batch-size", "x"), "--batch-size must be whole numbers, got 'x'"),
        (None, (*IRIS, "--lr", "0"), "lr must be a finite number above 0, got 0.0"),
        (None, (*IRIS, "--lr", "1e9"), "Try a smaller lr"),
        (None, (*IRIS, "--validation", "1"), "--validation must be a finite number at least 0 and below 1"),
        (None, (*IRIS, "--validation", "0.999"), "leaves no rows to train on"),
        (None, (*IRIS, "--seed", "-1"), "seed must be at least 0"),
        (None, (*IRIS, "--ignore", "sepal"), "there is no column 'sepal'; did you mean 'sepal width (cm)'?"),
        (None, (*IRIS, "--task", "magic"), "'magic' is not one of"),
        (None, (*IRIS, "--out", "no/m.safetensors"), "no/m.safetensors: there is no folder no"),
        (None, (*IRIS, "--checkpoint", "no/run.ckpt"), "no/run.ckpt: there is no folder no"),
        (None, (*IRIS, "--out", "."), ".: is a folder or a device, not a file"),
        (None, ("train", "iris.csv"), "Missing option '--target'"),
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
def test_errors_are_one_line(content, arguments, said, folder, run, monkeypatch):
    monkeypatch.chdir(folder)
    if not os.path.exists("iris.safetensors"):
        assert run(*IRIS, "--out", "iris.safetensors", "--epochs", 1)[0] == 0
        fastmlp.MLP([{"n": 4, "act": None}, {"n": 3, "act": "softmax"}]).save("plain.safetensors")
    if content is not None:
        file = next(argument for argument in arguments if argument.startswith("t."))
        with open(file, "wb") as stream:
            stream.write(content if isinstance(content, bytes) else content.encode())
    code, out, error = run(*arguments)
    assert code == 2 and out == "", (out, error)
    assert error.startswith("fastmlp: ") and error.count("\n") == 1 and said in error


def test_export_to_onnx(folder, tmp_path, run):
    model, out = tmp_path / "m.safetensors", tmp_path / "m.onnx"
    assert run(*IRIS[:1], folder / "iris.csv", *IRIS[2:], "--out", model)[0] == 0
    code, said, _ = run("export", model, "--to", "onnx", "--out", out)
    assert code == 0 and "  sepal length (cm) (where it is missing: 5.8" in said and "  target is 'setosa'\n" in said
    assert said.startswith(onnx.load(out).doc_string)
    x = sklearn_datasets.load_iris().data.astype("float32")
    (probabilities,) = onnxruntime.InferenceSession(out).run(None, {"x": x})
    run("predict", model, folder / "iris.csv", "--out", tmp_path / "p.csv", "--probabilities")
    np.testing.assert_allclose(probabilities, pd.read_csv(tmp_path / "p.csv").iloc[:, 1:], atol=2e-6)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("target", ["verdict", "größe, cm"])
def test_export_to_c(target, mixed, tmp_path, run):
    """Whatever the columns are called, and a number in its own units."""
    frame, path = mixed
    frame.rename(columns={"visits": "/*vis*/its??/"}).to_csv(path)
    model, source, library = tmp_path / "m.safetensors", tmp_path / "m.c", tmp_path / "m.so"
    assert run("train", path, "--target", target, "--out", model)[0] == 0
    code, said, _ = run("export", model, "--to", "c", "--out", source, "--name", "guess")
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


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {"target": "y"},
        {"target": "y", "columns": 3},
        {"target": "y", "columns": [{"name": "a", "categories": 1}, {"name": "b", "categories": []}]},
        {"target": "y", "columns": [{"name": "a", "categories": []}]},
        {"target": "y", "columns": [{"name": "a", "categories": list("xyz")}]},
        {"target": "y", "columns": [{"name": name, "categories": []} for name in "abc"]},
    ],
)
def test_a_description_of_columns_that_cannot_be(stored, tmp_path, run):
    model = fastmlp.MLP([{"n": 2, "act": None, "shift": [1, 2], "scale": [3, 4]}, {"n": 1, "act": "linear"}])
    model.metadata["table"] = stored
    model.save(tmp_path / "m.safetensors")
    (tmp_path / "t.csv").write_text("a,b,y\n1,2,3\n")
    for command in (("info", tmp_path / "m.safetensors"), ("predict", tmp_path / "m.safetensors", tmp_path / "t.csv")):
        code, _, error = run(*command)
        assert code == 2 and error.startswith("fastmlp: the model's description of its columns ")


def test_columns_that_were_refused_can_be_left_out_or_taken(tmp_path, run):
    rows = "".join(f"person {i},2020-01-0{i % 7 + 1},{i % 10},{i % 3}\n" for i in range(200))
    (tmp_path / "t.csv").write_text("who,when,zone,y\n" + rows)
    code, report, _ = run(
        "train", tmp_path / "t.csv", "-t", "y", "--ignore", "who", "--category", "when", "--category", "zone"
    )
    assert code == 0 and "17 inputs from 2 columns" in report


def test_a_full_disk_and_a_closed_pipe(folder, tmp_path, run):
    model = tmp_path / "m.safetensors"
    assert run(*IRIS[:1], folder / "iris.csv", *IRIS[2:], "--out", model, "--epochs", 1)[0] == 0
    predict = [*COMMAND, "predict", str(model), str(folder / "iris.csv")]
    with open("/dev/full", "w") as full:
        result = subprocess.run(predict, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (2, "fastmlp: [Errno 28] No space left on device\n")
    for command in (predict, [*COMMAND, "train", "--help"]):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as pipe:
            pipe.stdout.close()
            assert pipe.stderr.read() == b""


def test_ctrl_c_keeps_the_model_so_far(folder, tmp_path):
    model = tmp_path / "m.safetensors"
    arguments = ["train", str(folder / "wine.csv"), "-t", "target", "-o", str(model)]
    command = [*COMMAND, *arguments, "--epochs", "1000000", "--early-stopping", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        time.sleep(4)
        training.send_signal(signal.SIGINT)
        out, error = training.communicate()
    assert training.returncode == 130 and error == ""
    assert ", interrupted" in out and fastmlp.load(model).class_names == ("class_0", "class_1", "class_2")


WITHOUT = """
import sys
sys.modules["typer"] = None
from fastmlp.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "code", "out", "error"),
    [
        (("--version",), 0, f"fastmlp {fastmlp.__version__}\n", ""),
        (("warmup",), 2, "", f"fastmlp: {__file__}"),
        (("warmup", "--help"), 0, "Compile all kernels now", ""),
        (("train", "t.csv"), 2, "", "fastmlp: train needs typer: pip install 'fastmlp[cli]'\n"),
        ((), 2, "", "fastmlp: the command line needs typer: pip install 'fastmlp[cli]'\n"),
    ],
)
def test_without_the_extra_the_core_s_commands_are_left(arguments, code, out, error):
    variables = {**os.environ, "FASTMLP_CACHE_DIR": __file__}
    result = subprocess.run([sys.executable, "-c", WITHOUT, *arguments], capture_output=True, text=True, env=variables)
    assert result.returncode == code and out in result.stdout and result.stderr.startswith(error)


def test_without_pyarrow_the_extra_is_named(folder):
    script = WITHOUT.replace("typer", "pyarrow")
    arguments = ["train", str(folder / "iris.csv"), "--target", "target"]
    result = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "fastmlp: fastmlp.tables needs pyarrow: pip install 'fastmlp[cli]'\n"


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_help_imports_nothing_heavy(argument):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fastmlp", argument], capture_output=True, text=True
    )
    assert result.returncode == 0 and "\x1b" not in result.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "numpy" in imported and not imported & {"numba", "pandas", "pyarrow", "torch", "safetensors", "sklearn"}


def test_demo_draws_into_a_folder(tmp_path, run):
    code, out, _ = run("demo", "--epochs", 1, "--plots", tmp_path / "pictures")
    assert code == 0 and "unseen images" in out
    assert all(path.suffix == ".png" for path in (tmp_path / "pictures").iterdir())
