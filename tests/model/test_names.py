"""Labels in place of class indices, and frames with named columns, of every library that has them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp.model.data import check_x

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


@pytest.mark.parametrize("dtype", ["f2", "g", ">f2", ">f4", ">f8", ">i4", ">g"])
def test_numbers_of_other_dtypes(dtype):
    x = (X * 8).astype(np.float16).astype(dtype)
    model = fastmlp.train(x, Y, SPEC, seed=0).model
    assert model == fastmlp.train(x.astype(float), Y, SPEC, seed=0).model
    np.testing.assert_array_equal(model.predict(x[::-2, ::-1]), model.predict(x.astype(float)[::-2, ::-1]))


@pytest.mark.parametrize("dtype", ["f2", "g", ">f4"])
def test_large_arrays_of_other_dtypes_are_not_copied(dtype):
    x = np.broadcast_to(np.ones(1, dtype), (1 << 20, 400))  # a copy of which would take gigabytes
    data = check_x(x, 400, np.dtype("float32"))
    assert data is x


def test_values_of_sparse_matrices_may_be_of_other_dtypes():
    sparse = pytest.importorskip("scipy.sparse").csr_array(X)
    model = fastmlp.train(sparse, Y, SPEC, seed=0, dtype="float64").model
    sparse.data = sparse.data.astype(">f8")
    assert fastmlp.train(sparse, Y, SPEC, seed=0, dtype="float64").model == model


@pytest.mark.parametrize("lanes", [True, False])
@pytest.mark.parametrize("kind", ["text", "list", "categories of numbers", "Arrow"])
def test_many_networks_have_the_names(kind, lanes):
    options = {"seeds": range(3), "grid": {"lr": [1e-4, 1e-3], "dtype": ["float32", "float64"]}, "lanes": lanes}
    networks = fastmlp.train_many(MIXED, LABELS[kind], SPEC, **options)
    for one in networks:
        settings = {name: one.settings[name] for name in ("seed", "lr", "dtype")}
        alone = fastmlp.train(MIXED, LABELS[kind], SPEC, **settings).model
        assert one.model.feature_names == ("a", "b", "c") and one.model.class_names == alone.class_names
        assert one.model.predict_label(MIXED).dtype == alone.predict_label(MIXED).dtype
        np.testing.assert_allclose(one.model.params, alone.params, rtol=1e-4, atol=1e-5)
        assert lanes or one.model == alone
    ensemble = fastmlp.Ensemble(one.model for one in networks)
    assert ensemble.feature_names == ("a", "b", "c")
    np.testing.assert_array_equal(ensemble.predict_each(MIXED), [one.model.predict(MIXED) for one in networks])
    with pytest.raises(ValueError, match="in the same order"):
        ensemble.predict(MIXED[["b", "a", "c"]])


def test_many_vectors_of_parameters_take_labels():
    params = np.array([fastmlp.MLP(SPEC, seed=seed).params for seed in range(4)])
    for y in (TEXT, LABELS["polars"]):
        assert fastmlp.evaluate_many(SPEC, params, FRAME, y)["loss"].tolist() == (
            fastmlp.evaluate_many(SPEC, params, X, Y)["loss"].tolist()
        )
    with pytest.raises(ValueError, match=r"only the labels .a., .*class_names="):
        fastmlp.gradient_many(SPEC, params, X[:2], ["a", "a"])
    losses, gradients = fastmlp.gradient_many(SPEC, params, X[:2], ["a", "b"], class_names=["b", "a", "c"])
    expected = fastmlp.gradient_many(SPEC, params, X[:2], [1, 0])
    np.testing.assert_array_equal(losses, expected[0])
    np.testing.assert_array_equal(gradients, expected[1])


def test_a_model_that_is_trained_again_keeps_its_names():
    model = fastmlp.MLP(SPEC, seed=0)
    fastmlp.train(FRAME, TEXT, model)
    names = model.class_names, model.feature_names
    assert names == (("a", "b", "c"), ("a", "b", "c"))
    before = model.copy()
    for x, y, words in ((FRAME[["c", "a", "b"]], TEXT, "same order"), (FRAME, np.roll(["z", *TEXT[1:]], 1), "'z' in")):
        with pytest.raises(ValueError, match=words):
            fastmlp.train(x, y, model)
    assert model == before and (model.class_names, model.feature_names) == names
    fastmlp.train(X, Y, model)
    assert (model.class_names, model.feature_names) == names


def test_columns_that_are_no_text_have_no_names():
    levels = FRAME.set_axis(pandas.MultiIndex.from_tuples([("a", "x"), ("a", "y"), ("b", "z")]), axis=1)
    for frame in (levels, FRAME.set_axis([0, 1, 2], axis=1)):
        model = fastmlp.train(frame, Y, SPEC).model
        assert model.feature_names is None and model.predict(frame).shape == (60, 3)
    with pytest.raises(TypeError, match=r"columns.astype\(str\)"):
        fastmlp.train(FRAME.set_axis([0, "b", 2], axis=1), Y, SPEC)


def test_columns_of_one_name():
    twice = FRAME.set_axis(["a", "b", "a"], axis=1)
    model = fastmlp.train(twice, Y, SPEC).model
    assert model.feature_names == ("a", "b", "a") and model.predict(twice).shape == (60, 3)
    with pytest.raises(ValueError, match="Several columns have one name") as refused:
        model.predict(twice.iloc[:, [0, 2, 1]])
    assert "list(model.feature_names)" not in str(refused.value)  # which would give four columns


@pytest.mark.parametrize("kind", ["text", "categories of numbers"])
def test_names_go_into_other_formats(kind, tmp_path):
    onnx = pytest.importorskip("onnx") and pytest.importorskip("fastmlp.interop")
    model = fastmlp.train(FRAME, LABELS[kind], SPEC, seed=0).model
    onnx.to_onnx(model, tmp_path / "net.onnx")
    again = onnx.from_onnx(tmp_path / "net.onnx")
    assert again.feature_names == model.feature_names
    np.testing.assert_array_equal(again.predict_label(X), model.predict_label(X))
    onnx.to_c(model, tmp_path / "net.c")
    assert 'INPUTS {"a", "b", "c"}' in (tmp_path / "net.c").read_text()


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
