"""skl2onnx converts fastmlp.sklearn's estimators, alone and inside of others, whatever was imported first."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skl2onnx")
pytest.importorskip("onnxruntime")

import onnxruntime
import skl2onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.ensemble import StackingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp.interop import from_onnx
from fastmlp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32)
TEXT = np.array(["setosa", "versicolor", "virginica"])[Y]
OPTIONS = {"max_iter": 20, "random_state": 0, "learning_rate_init": 0.01}


def run(estimator, x=X, options=None, **given):
    """The outputs of an estimator's ONNX file by name, and the file."""
    options = {id(estimator): options} if options else None
    types = given.pop("initial_types", None)
    proto = skl2onnx.to_onnx(estimator, None if types else x[:1], initial_types=types, options=options, **given)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True)), proto


@pytest.mark.parametrize("y", [Y, TEXT, Y == 1, Y.astype(float) + 2], ids=["integers", "text", "bool", "floats"])
@pytest.mark.parametrize("options", [None, {"standardize": True, "activation": ["swish", "gelu"]}], ids=str)
def test_labels_and_probabilities(y, options):
    layers = {"hidden_layer_sizes": (9, 5)} if options else {}
    clf = MLPClassifier(**OPTIONS, **layers, **(options or {})).fit(X, y)
    outputs, _ = run(clf)
    np.testing.assert_array_equal(outputs["output_label"], clf.predict(X))
    dicts = outputs["output_probability"]
    np.testing.assert_allclose([list(row.values()) for row in dicts], clf.predict_proba(X), atol=2e-6)
    assert list(dicts[0]) == clf.classes_.tolist()
    outputs, _ = run(clf, options={"zipmap": False})
    np.testing.assert_allclose(outputs["probabilities"], clf.predict_proba(X), atol=2e-6)
    columns, _ = run(clf, options={"zipmap": "columns"})
    assert len(columns) == 1 + len(clf.classes_)


@pytest.mark.filterwarnings("ignore:.*the derivative of step is zero")
@pytest.mark.parametrize("activation", fastmlp.activations.ACTIVATIONS)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_every_activation(activation, real):
    reg = MLPRegressor(hidden_layer_sizes=(6,), activation=activation, **OPTIONS).fit(X, Y)
    outputs, _ = run(reg, X.astype(real))
    np.testing.assert_allclose(outputs["variable"][:, 0], reg.predict(X.astype(real)), atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", [FloatTensorType, DoubleTensorType, Int64TensorType])
def test_inputs_of_every_kind(kind):
    x = np.round(X * 10).astype({FloatTensorType: "f4", DoubleTensorType: "f8", Int64TensorType: "i8"}[kind])
    clf = MLPClassifier(**OPTIONS).fit(x.astype(float), Y)
    outputs, _ = run(clf, x, {"zipmap": False}, initial_types=[("X", kind([None, 4]))])
    np.testing.assert_allclose(outputs["probabilities"], clf.predict_proba(x), atol=2e-6)


def test_scores_numbers_counts_and_labels_in_columns():
    scores = MLPClassifier(loss="hinge", **OPTIONS).fit(X, Y)
    outputs, _ = run(scores, options={"zipmap": False})
    np.testing.assert_allclose(outputs["probabilities"], scores.decision_function(X), atol=1e-5)
    for reg in (MLPRegressor(standardize=True, **OPTIONS).fit(X, np.c_[Y, 3 * Y]), MLPRegressor("poisson").fit(X, Y)):
        outputs, proto = run(reg)
        np.testing.assert_allclose(outputs["variable"].squeeze(), reg.predict(X), rtol=1e-5, atol=1e-5)
        assert proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value == reg.n_outputs_
    x, y = make_multilabel_classification(n_samples=200, random_state=0)
    many = MLPClassifier(**OPTIONS).fit(x, y)
    outputs, _ = run(many, x.astype("f4"), {"zipmap": False})
    np.testing.assert_array_equal(outputs["label"], many.predict(x))
    np.testing.assert_allclose(outputs["probabilities"], many.predict_proba(x), atol=2e-6)


@pytest.mark.parametrize(
    "around",
    [
        lambda clf: make_pipeline(StandardScaler(), clf),
        lambda clf: GridSearchCV(clf, {"alpha": [1e-4, 1.0]}, cv=2),
        lambda clf: make_pipeline(StandardScaler(), GridSearchCV(clf, {"alpha": [1e-4, 1.0]}, cv=2)),
        lambda clf: CalibratedClassifierCV(clf, cv=2),
        lambda clf: StackingClassifier([("a", clf), ("b", clf)], cv=2),
    ],
    ids=["pipeline", "search", "both", "calibrated", "stacked"],
)
def test_estimators_inside_of_others(around):
    estimator = around(MLPClassifier(**OPTIONS)).fit(X, TEXT)
    outputs, _ = run(estimator, options={"zipmap": False})
    np.testing.assert_array_equal(next(iter(outputs.values())), estimator.predict(X))
    np.testing.assert_allclose(outputs["probabilities"], estimator.predict_proba(X), atol=5e-6)


def test_a_subclass_is_its_base_and_what_comes_out_goes_in():
    class Mine(MLPClassifier):
        pass

    clf = Mine(**OPTIONS).fit(X, TEXT)
    _, proto = run(clf)
    path = Path(pytest.importorskip("tempfile").mkdtemp()) / "file.onnx"
    path.write_bytes(proto.SerializeToString())
    model = from_onnx(path)
    assert model.class_names == ("setosa", "versicolor", "virginica")
    np.testing.assert_allclose(model.predict(X), clf.predict_proba(X), atol=2e-6)


def test_converters_that_users_registered_go_on_working():
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
    from skl2onnx.operator_converters.multilayer_perceptron import convert_sklearn_mlp_classifier

    class Mine(MLPClassifier):
        pass

    skl2onnx.update_registered_converter(
        Mine, "UsersMLPClassifier", calculate_linear_classifier_output_shapes, convert_sklearn_mlp_classifier,
        options={"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]},
    )  # fmt: skip
    clf = Mine(**OPTIONS).fit(X, Y)
    assert skl2onnx.get_model_alias(Mine) == "UsersMLPClassifier"
    outputs, _ = run(clf, options={"zipmap": False})
    np.testing.assert_allclose(outputs["probabilities"], clf.predict_proba(X), atol=2e-6)


LATE = """
import pickle, sys, numpy as np, onnxruntime
estimator = pickle.load(open(sys.argv[1], "rb"))
x, zipmap = np.load(sys.argv[2]), {"True": True, "False": False, "columns": "columns"}[sys.argv[3]]
assert "skl2onnx" not in sys.modules
import skl2onnx
options = None if zipmap is True else {id(estimator): {"zipmap": zipmap}}
for _ in range(2):  # the second time skl2onnx knows it
    proto = skl2onnx.to_onnx(estimator, x[:1], options=options)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    label, first, *more = session.run(None, {"X": x})
    assert (label == estimator.predict(x)).all()
    expected = estimator.predict_proba(x)
    found = np.c_[first, *more] if more else first if zipmap is False else [list(row.values()) for row in first]
    assert np.abs(found - expected).max() < 5e-6
"""


@pytest.mark.parametrize("zipmap", ["True", "False", "columns"])
@pytest.mark.parametrize("around", [lambda clf: clf, lambda clf: GridSearchCV(clf, {"alpha": [1.0]}, cv=2)])
def test_skl2onnx_may_be_imported_last(tmp_path, around, zipmap):
    estimator = around(MLPClassifier(**OPTIONS)).fit(X, Y)
    (tmp_path / "estimator").write_bytes(pickle.dumps(estimator))
    np.save(tmp_path / "x.npy", X)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", LATE, tmp_path / "estimator", tmp_path / "x.npy", zipmap], check=True
    )


SOURCE = Path(os.environ.get("FASTMLP_SKL2ONNX", ""), "tests", "test_sklearn_mlp_converter.py")


@pytest.mark.skipif(not SOURCE.exists(), reason="FASTMLP_SKL2ONNX names no folder with skl2onnx's sources")
def test_their_own_tests_with_the_import_changed(tmp_path):
    theirs = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
    text = SOURCE.read_text(encoding="utf-8")
    assert text.count(theirs) == 1
    ours = "from fastmlp.sklearn import MLPClassifier, MLPRegressor\n"
    (tmp_path / "test_mlp.py").write_text(text.replace(theirs, ours))
    # Their helper takes regressors that have a transform for clusterings, whose graphs have two outputs.
    (tmp_path / "conftest.py").write_text(
        "from test_utils import tests_helper\ntests_helper._has_transform_model = lambda model: False\n"
    )
    paths = [str(SOURCE.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_mlp.py"], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:]
