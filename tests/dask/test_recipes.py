"""The recipes of docs/how-to/beyond-one-machine.md for other libraries run as they stand there, where these are."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.datasets import load_digits

pytestmark = pytest.mark.filterwarnings("default")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "beyond-one-machine.md"
SPEC = [{"n": 64, "act": None, "scale": 1 / 16}, {"n": 16, "act": "relu"}, {"n": 10, "act": "softmax"}]


def recipe(word):
    """The block of code that has the word."""
    (block,) = [block for block in re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL) if word in block]
    return block


@pytest.fixture(scope="module")
def names():
    """What the recipes count on."""
    (x, y), _ = load_digits()
    model = fastmlp.train(x, y, SPEC, lr=0.02, epochs=3, seed=0).model
    return {"fastmlp": fastmlp, "np": np, "x": x, "y": y, "spec": SPEC, "model": model}


def run(word, names):
    """What a recipe leaves."""
    names = dict(names)
    exec(compile(recipe(word), str(PAGE), "exec", dont_inherit=True), names)
    return names


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason="ray is not installed: its recipes are not tried")
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    yield ray
    ray.shutdown()


def test_ray_predicts(ray, names):
    classes = run("map_batches", names)["classes"]
    assert classes.tolist() == names["model"].predict_class(names["x"]).tolist()


def test_ray_tunes(ray, names):
    assert run("tune.Tuner", names)["best"] == {"lr": 0.02}


def test_dask_ml_searches(names):
    pytest.importorskip("dask_ml", reason="dask-ml is not installed: its recipe is not tried")
    from distributed import Client

    from fastmlp.sklearn import MLPClassifier

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0"):
        known = {"MLPClassifier": MLPClassifier, "images": names["x"] / 16, "labels": names["y"]}
        search = run("DaskSearch", known)["search"]
    assert search.best_score_ > 0.8


def test_spark_predicts(names, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    pytest.importorskip("pyspark", reason="pyspark is not installed: its recipe is not tried")
    import pandas as pd
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        table = spark.createDataFrame(pd.DataFrame(names["x"], columns=[f"x{i}" for i in range(64)]))
        classes = run("pandas_udf", names | {"spark": spark, "table": table})["classes"]
    finally:
        spark.stop()
    assert classes.tolist() == names["model"].predict_class(names["x"]).tolist()
