"""Labels in place of class indices, and frames with named columns, of every library that has them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastmlp

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.argmax(X, axis=1)
TEXT = np.array(["a", "b", "c"])[Y]
SPEC = [{"n": 3, "act": None}, {"n": 3, "act": "softmax"}]
FRAME = pandas.DataFrame(X, columns=list("abc"))
MIXED = FRAME.assign(b=FRAME.b > 0, c=pandas.array(np.arange(60), dtype="Int64"))
LABELS = {
    "text": TEXT,
    "list": TEXT.tolist(),
    "objects": TEXT.astype(object),
    "StringDType": TEXT.astype("T"),
    "pandas": pandas.Series(TEXT),
    "categories": pandas.Categorical(TEXT),
    "categories of numbers": pandas.Categorical(np.array([3, 5, 8])[Y]),
    "a frame of one column": pandas.DataFrame({"kind": TEXT}),
    "polars": polars.Series(TEXT.tolist()),
    "Arrow": pyarrow.array(TEXT.tolist()),
}
FRAMES = {
    "pandas": MIXED,
    "objects": MIXED.astype(object),
    "pyarrow columns": MIXED.convert_dtypes(dtype_backend="pyarrow"),
    "polars": polars.from_pandas(MIXED),
    "Arrow": pyarrow.Table.from_pandas(MIXED),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_train_as_indices_do_and_come_back(kind, tmp_path):
    y = LABELS[kind]
    model = fastmlp.train(X, y, SPEC, seed=0).model
    assert model == fastmlp.train(X, Y, SPEC, seed=0).model
    expected = np.array([3, 5, 8] if "numbers" in kind else ["a", "b", "c"])[model.predict_class(X)]
    assert model.evaluate(X, y) == model.evaluate(X, Y)
    model.save(tmp_path / "net")
    for again in (model, fastmlp.load(tmp_path / "net"), model.copy(), pickle.loads(pickle.dumps(model))):
        found = again.predict_label(X)
        assert found.tolist() == expected.tolist() and found.dtype == model.predict_label(X).dtype


def test_true_and_false_are_labels_of_one_sigmoid():
    model = fastmlp.train(X, X[:, 0] > 0, [SPEC[0], {"n": 1, "act": "sigmoid"}], class_weight={True: 2.0}).model
    assert model.class_names == ("False", "True") and model.predict_label(X).dtype == bool


def test_partial_fit_needs_names():
    model = fastmlp.MLP(SPEC)
    with pytest.raises(ValueError, match="no names for its classes"):
        model.partial_fit(X[:1], ["a"])
    model.class_names = ["c", "b", "a"]
    other = model.copy()
    model.partial_fit(X[:1], ["c"])
    other.partial_fit(X[:1], [0])
    assert model == other


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_train_as_their_numbers_do(kind):
    model = fastmlp.train(FRAMES[kind], Y, SPEC, seed=0, lr=0.001).model
    assert model == fastmlp.train(MIXED.to_numpy(float), Y, SPEC, seed=0, lr=0.001).model
    assert model.feature_names == ("a", "b", "c")


@pytest.mark.parametrize("dtype", ["f2", "g", ">f4", ">f8", ">i4"])
def test_numbers_of_other_dtypes(dtype):
    x = (X * 8).astype(np.float16).astype(dtype)
    assert fastmlp.train(x, Y, SPEC, seed=0).model == fastmlp.train(x.astype(float), Y, SPEC, seed=0).model


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (FRAME[["b", "a", "c"]], "in the same order"),
        (
            FRAME.rename(columns={"a": "z"}),
            "unseen at fit time:\n- z\nFeature names seen at fit time, yet now missing",
        ),
        (FRAME.assign(z=1), "unseen at fit time:\n- z"),
    ],
)
def test_other_columns_are_refused(frame, words):
    model = fastmlp.train(FRAME, Y, SPEC).model
    for call in (model.predict, model.forward, model.jacobian, lambda x: model.evaluate(x, Y)):
        with pytest.raises(ValueError, match=words):
            call(frame)
    model.predict(X)


@pytest.mark.parametrize(
    ("column", "error", "words"),
    [
        (["a", "b"] * 30, TypeError, "column 'c' of x .*get_dummies"),
        (pandas.date_range("2020", periods=60), TypeError, "column 'c' of x .*dates"),
        (pandas.array([1, None] * 30, dtype="Int64"), ValueError, r"x\[1, 2\] \(column 'c'\) is nan; fill it"),
    ],
)
def test_columns_that_are_no_numbers_are_named(column, error, words):
    with pytest.raises(error, match=words):
        fastmlp.train(FRAME.assign(c=column), Y, SPEC)
