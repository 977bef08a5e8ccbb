"""tables.fit: what it makes of columns, its scores beside scikit-learn's, its answers in the user's words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets as sklearn_datasets
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    mean_absolute_error,
    precision_score,
    r2_score,
    recall_score,
)

import fastmlp
from fastmlp import tables
from fastmlp.tables.baseline import logistic, probabilities, ridge
from fastmlp.tables.fitting import training_options


@pytest.fixture(scope="module")
def people():
    """A table of all sorts: an index, a code, names, a date, a constant, weights, a rare class, missing values."""
    rng = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(
        {
            "Unnamed: 0": range(n),
            "patient_id": rng.permutation(n) + 70_000,
            "age": rng.integers(18, 90, n).astype(float),
            "town": rng.choice(["Rome", "Oslo", "Lima"], n),
            "when": pd.date_range("2020-01-01", periods=n).strftime("%d.%m.%Y"),
            "always": 1,
            "smoker": rng.choice([True, False], n),
            "count": rng.integers(1, 4, n),
        }
    )
    score = frame["age"] / 30 + 2 * frame["smoker"] + (frame["town"] == "Oslo") + rng.normal(size=n) / 2
    frame["ill"] = np.where(score > np.quantile(score, 0.92), "yes", "no")
    frame["cost"] = 200_000 + 3000 * score + rng.normal(size=n) * 500
    frame.loc[::9, "age"] = np.nan
    return frame


def fit(frame, target, **options):
    with pytest.warns(UserWarning, match="left out because nothing varies in it: 'always'"):
        return tables.fit(frame, target, **options)


def test_what_becomes_of_each_column(people):
    found = fit(people.drop(columns="cost"), "ill", number=["when"], weight="count")
    assert [(column.name, column.taken) for column in found.columns] == [
        ("Unnamed: 0", "left out: row numbers"), ("patient_id", "left out: row numbers"), ("age", "a number"),
        ("town", "3 categories"), ("when", "a date, in days"), ("always", "left out: nothing varies in it"),
        ("smoker", "true 1, false 0"), ("count", "the weight"), ("ill", "the target, 2 classes"),
    ]  # fmt: skip
    age, town, when = found.columns[2:5]
    assert (age.missing, age.range) == (int(people["age"].isna().sum()), "18 … 89")
    assert (town.missing, sorted(town.range.split(", "))) == (0, ["Lima", "Oslo", "Rome"])
    assert when.range == "2020-01-01 … 2021-05-14"
    assert found.model.spec.n_in == 1 + 3 + 1 + 1


def test_columns_that_are_refused_come_with_the_cure(people):
    frame = people.assign(
        name=[f"Mr {i} Smith" for i in range(len(people))],
        height=people["age"].map(lambda age: "-" if age > 80 else f"{age:.0f}"),
        income=["1.234", "2.345"] * (len(people) // 2),
    )
    with pytest.raises(tables.RefusedColumns) as refusal:
        tables.fit(frame, "ill", ignore=["cost"])
    assert sorted(refusal.value.cures) == [("decimal", "."), ("ignore", "name"), ("missing", "-"), ("number", "when")]
    text = str(refusal.value)
    for part in (
        "'name': free text, 500 different",
        "'height': numbers, but '-' in row",
        "'when': dates",
        "'1.234' may be",
    ):
        assert part in text
    options = {"ignore": ["cost", "name"], "missing": ["-"], "number": ["when"], "decimal": "."}
    assert "decimal='.'" in text and fit(frame, "ill", **options, epochs=2).scores["rows"] == 100


def test_scores_are_scikit_learn_s(people):
    found = fit(people.drop(columns=["cost", "when"]), "ill", weight="count", seed=3)
    x, y = found.schema.encode(tables.table_of(people)), (people["ill"] == "yes").to_numpy().astype(int)
    _, held_out = tables.split(y, 2, 0.2, 3)
    x, y, w = x[held_out], y[held_out], people["count"].to_numpy()[held_out]
    outputs, chosen = found.model.predict(x).astype(float), found.model.predict_class(x)
    scores = found.scores
    assert scores["rows"] == len(y) and scores["held_out"]
    assert scores["accuracy"] == pytest.approx(accuracy_score(y, chosen, sample_weight=w), rel=1e-12)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, chosen, sample_weight=w), rel=1e-12)
    assert scores["recall"]["yes"] == pytest.approx(recall_score(y, chosen, sample_weight=w), rel=1e-12)
    assert scores["precision"]["no"] == pytest.approx(
        precision_score(y, chosen, pos_label=0, sample_weight=w), rel=1e-12
    )
    assert scores["loss"] == pytest.approx(
        log_loss(y, outputs / outputs.sum(axis=1, keepdims=True), sample_weight=w), rel=1e-5
    )

    found = fit(people.drop(columns=["ill", "when"]), "cost", number=["patient_id"])
    y = people["cost"].to_numpy()
    _, held_out = tables.split(y, 0, 0.2, 0)
    said, y = found.predict(people)[held_out], y[held_out]
    # float32 predictions of a row may differ in the last bit with the rows beside it
    assert found.scores["r2"] == pytest.approx(r2_score(y, said), rel=1e-6) and found.scores["r2"] > 0.5
    assert found.scores["mae"] == pytest.approx(mean_absolute_error(y, said), rel=1e-6)
    assert found.baseline["constant"]["rmse"] == pytest.approx(np.std(y), rel=1e-9)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_logistic_regression_is_scikit_learn_s(name):
    x, y = getattr(sklearn_datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    w = np.random.default_rng(0).uniform(0.1, 2, len(x))
    theirs = LogisticRegression(tol=1e-9, max_iter=10_000).fit(x, y, w).predict_proba(x)
    ours = probabilities(x, logistic(x, y, y.max() + 1, w))
    np.testing.assert_allclose(ours, theirs, atol=0.01)
    assert np.mean(np.argmax(ours, axis=1) == np.argmax(theirs, axis=1)) > 0.995


def test_ridge_regression_is_scikit_learn_s():
    x, y = sklearn_datasets.load_diabetes(return_X_y=True)
    w = np.random.default_rng(0).uniform(0.1, 2, len(x))
    model = Ridge(alpha=1.0).fit(x, y, w)
    np.testing.assert_allclose(ridge(x, y, w), [*model.coef_, model.intercept_], rtol=1e-9)


def test_answers_are_of_the_target_s_own_kind(people):
    base = people[["age", "smoker", "town"]]
    for target, kind in (
        (pd.Series(np.where(people["smoker"], 7, 3)), np.int64), (people["ill"], np.str_),
        (people["smoker"].iloc[::-1].reset_index(drop=True), np.bool_),
        (pd.Series(np.where(people["smoker"], 2.5, 1.0)), np.float64),
    ):  # fmt: skip
        found = tables.fit(base.assign(y=target), "y", task="classification", epochs=3)
        said = found.predict(base)
        assert said.dtype.type is kind and set(said.tolist()) <= set(target.tolist())
        assert found.probabilities(base).sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_save_and_load(people, tmp_path):
    found = fit(people.drop(columns=["cost", "when"]), "ill", threshold=0.2, weight="count")
    found.save(tmp_path / "m.safetensors")
    again = tables.load(tmp_path / "m.safetensors")
    assert again.columns == found.columns and again.scores == found.scores and again.baseline == found.baseline
    assert dict(again.history) == dict(found.history) and again.threshold == ("yes", 0.2)
    assert again.schema.columns == tables.Schema.stored_in(fastmlp.load(tmp_path / "m.safetensors")).columns
    np.testing.assert_array_equal(again.predict(people), found.predict(people))
    assert repr(again) == repr(found) and "accuracy" in repr(found)


def test_a_threshold_and_balanced_classes_find_more_of_a_rare_class(people):
    frame = people[["age", "town", "smoker", "ill"]]
    recall = {}
    for name, options in {"plain": {}, "threshold": {"threshold": 0.1}, "balanced": {"balanced": True}}.items():
        found = tables.fit(frame, "ill", **options)
        recall[name] = found.scores["recall"]["yes"]
        if name == "threshold":
            probabilities_of_yes = found.probabilities(frame)[:, 1]
            np.testing.assert_array_equal(found.predict(frame) == "yes", probabilities_of_yes >= 0.1)
    assert recall["plain"] < recall["threshold"] and recall["plain"] < recall["balanced"]


def test_means_and_deviations(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.choice([1.0, 2.0], 1000)
    table = {"x": x, "y": 1e5 * (x + rng.normal(size=1000) * x / 10)}
    found = tables.fit(table, "y", number=["x"], loss="gaussian_nll", hidden=[], epochs=100, lr=0.01)
    found.save(tmp_path / "m")
    again = tables.load(tmp_path / "m")
    np.testing.assert_allclose(again.predict({"x": [1.0, 2.0]}), [1e5, 2e5], rtol=0.02)
    np.testing.assert_allclose(again.deviation({"x": [1.0, 2.0]}), [1e4, 2e4], rtol=0.2)
    assert found.scores["r2"] > 0.8 and "linear" in found.baseline
    with pytest.raises(ValueError, match="deviation needs a model"):
        tables.fit(table, "y", number=["x"], hidden=[], epochs=1).deviation(table)


def test_quantiles(tmp_path):
    rng = np.random.default_rng(0)
    table = {"x": rng.normal(size=800), "y": 1e5 * rng.exponential(size=800)}
    found = tables.fit(table, "y", number=["x"], loss="quantile", hidden=[], epochs=100, lr=0.01)
    assert found.levels == (0.1, 0.5, 0.9) and 0.7 < found.scores["within"] < 0.9
    found.save(tmp_path / "m")
    again = tables.load(tmp_path / "m")
    quantiles = again.quantiles(table)
    np.testing.assert_allclose((table["y"][:, None] < quantiles).mean(axis=0), found.levels, atol=0.05)
    np.testing.assert_array_equal(again.predict(table), quantiles[:, 1])
    sides = tables.fit(table, "y", number=["x"], loss="quantile(0.2, 0.6)", hidden=[], epochs=2)
    low, high = sides.quantiles(table).T
    np.testing.assert_allclose(sides.predict(table), low / 4 + high * 3 / 4, rtol=1e-6)
    above = tables.fit(table, "y", number=["x"], loss="quantile(0.9)", hidden=[], epochs=2)
    assert "linear" not in above.baseline and "within" not in above.scores
    again.model.params[...] = 0
    again.model.biases[-1][...] = 1, -1, 0
    np.testing.assert_array_equal(again.quantiles(table, sort=True), np.sort(again.quantiles(table), axis=1))
    with pytest.raises(ValueError, match="quantiles need a model"):
        tables.fit(table, "y", number=["x"], hidden=[], epochs=1).quantiles(table)
    with pytest.raises(ValueError, match="loss: unknown 'quantile'"):
        tables.fit(table | {"y": table["y"] > 1e5}, "y", number=["x"], loss="quantile")


def test_counts_under_poisson():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    y = rng.poisson(np.exp(0.5 + 0.8 * x[:, 0] - 0.4 * x[:, 1]))
    found = tables.fit(
        {"a": x[:, 0], "b": x[:, 1], "y": y}, "y", task="regression", loss="poisson", hidden=[],
        optimizer="lbfgs", epochs=1000, early_stopping=None, l2=0.0, validation_fraction=0.0, dtype="float64",
    )  # fmt: skip
    theirs = PoissonRegressor(alpha=0).fit(x, y)
    np.testing.assert_allclose(found.predict({"a": x[:, 0], "b": x[:, 1]}), theirs.predict(x), rtol=1e-3)
    with pytest.raises(ValueError, match="column 'y' has -1; poisson is for counts"):
        tables.fit({"a": x[:, 0], "y": y - 1}, "y", task="regression", loss="poisson")


def test_units_must_stay(people):
    frame = people[["age", "smoker", "ill"]].assign(weight=[f"{60 + i % 40} kg" for i in range(len(people))])
    found = tables.fit(frame, "ill", epochs=2)
    assert str(found.schema.columns[2]).endswith(" kg")
    with pytest.raises(ValueError, match="column 'weight' is in 'lb', and was learnt in 'kg'"):
        found.predict(frame.assign(weight="150 lb"))
    assert len(found.predict(frame.assign(weight=70))) == len(frame)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"ignore": "age"}, TypeError, r"ignore must be a list of names, got 'age': \['age'\]"),
        ({"target": 3}, ValueError, "there is no column '3'"),
        ({"target": ["ill"]}, TypeError, "target must be the name of a column"),
        ({"task": "classify"}, ValueError, "did you mean 'classification'"),
        ({"learning_rate": 1}, TypeError, r"fit\(\) has no option 'learning_rate'; write lr=…"),
        (
            {"sample_weight": [1]},
            TypeError,
            r"fit\(\) has no option 'sample_weight'; write weight, the name of a column",
        ),
        ({"loss": "bce"}, ValueError, "loss: unknown 'bce'"),
        (
            {"balanced": True, "target": "smoker", "task": "regression"},
            ValueError,
            "balanced needs classes, and 'smoker' is a number",
        ),
        ({"threshold": 0.2, "target": "town"}, ValueError, "threshold needs two classes, and 'town' has 3 classes"),
        ({"weight": "age"}, ValueError, "column 'age' must have a weight of at least 0 in each row, row 1 has none"),
        ({"decimal": ";"}, ValueError, "decimal must be '.' or ','"),
        ({"validation_fraction": 1}, ValueError, "validation_fraction must be a finite number"),
        ({"number": ["town"]}, ValueError, "column 'town' must hold numbers, row 1 has"),
    ],
)
def test_errors(people, options, error, said):
    frame = people[["age", "town", "smoker", "ill"]]
    with pytest.raises(error, match=said):
        tables.fit(frame, **{"target": "ill", **options})


def test_defaults_by_the_number_of_rows():
    assert training_options(40)["epochs"] == 1000 and training_options(40)["l2"] == 0.1
    assert training_options(100_000)["epochs"] == 100 and training_options(100_000)["l2"] == pytest.approx(1e-4)
    assert training_options(40, "lbfgs") == {"optimizer": "lbfgs", "epochs": 100, "early_stopping": 10, "l2": 0.1}
    assert training_options(40, "sgd", batch_size="full", epochs=7, early_stopping=None, l2=0.0) == {
        "optimizer": "sgd", "batch_size": "full", "epochs": 7, "early_stopping": None, "l2": 0.0,
    }  # fmt: skip
