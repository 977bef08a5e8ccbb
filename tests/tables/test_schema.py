"""What columns mean: classes or numbers, columns left out or taken, descriptions in a model's file that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import tables
from fastmlp.tables import Schema, split


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
def test_a_description_of_columns_that_cannot_be(stored, tmp_path, command):
    model = fastmlp.MLP([{"n": 2, "act": None, "shift": [1, 2], "scale": [3, 4]}, {"n": 1, "act": "linear"}])
    model.metadata["table"] = stored
    model.save(tmp_path / "m.safetensors")
    (tmp_path / "t.csv").write_text("a,b,y\n1,2,3\n")
    for arguments in (
        ("info", tmp_path / "m.safetensors"),
        ("predict", tmp_path / "m.safetensors", tmp_path / "t.csv"),
    ):
        code, _, error = command(*arguments)
        assert code == 2 and error.startswith("fastmlp: the model's description of its columns ")


def test_columns_that_were_refused_can_be_left_out_or_taken(tmp_path, command):
    rows = "".join(f"person {i},2020-01-0{i % 7 + 1},{i % 10},{i % 3}\n" for i in range(200))
    (tmp_path / "t.csv").write_text("who,when,zone,y\n" + rows)
    code, report, _ = command(
        "train", tmp_path / "t.csv", "-t", "y", "--ignore", "who", "--category", "when", "--category", "zone"
    )
    assert code == 0 and "17 inputs from 2 columns" in report
