"""scikit-learn's fitted networks against their own predictions."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.interop import from_sklearn

pytest.importorskip("sklearn")
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import fastmlp.sklearn as ours

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, size=(60, 4))
NAMES = np.array(["ant", "bee", "cow"])
OPTIONS = {"hidden_layer_sizes": (6, 5), "solver": "lbfgs", "max_iter": 30, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classes(activation, dtype):
    x = X.astype(dtype)
    options = OPTIONS | {"solver": "adam", "max_iter": 200}  # lbfgs makes parameters float64
    theirs = MLPClassifier(activation=activation, **options).fit(x, NAMES[np.arange(60) % 3])
    model = from_sklearn(theirs)
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(model.predict(x), theirs.predict_proba(x), atol=tolerance)
    assert model.class_names == ("ant", "bee", "cow") and model.dtype == dtype
    assert (theirs.classes_[model.predict_class(x)] == theirs.predict(x)).all()


def test_two_classes():
    theirs = MLPClassifier(**OPTIONS).fit(X, NAMES[np.arange(60) % 2])
    model = from_sklearn(theirs)
    np.testing.assert_allclose(model.predict(X), theirs.predict_proba(X)[:, 1:], atol=1e-13)
    assert (theirs.classes_[model.predict_class(X)] == theirs.predict(X)).all()
    assert model.class_names == ("ant", "bee") and model.spec.loss.name == "bce"


def test_labels():
    y = (RNG.random((60, 3)) > 0.5).astype(int)
    theirs = MLPClassifier(**OPTIONS).fit(X, y)
    model = from_sklearn(theirs)
    np.testing.assert_allclose(model.predict(X), theirs.predict_proba(X), atol=1e-13)
    assert (model.predict_class(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("n_out", [1, 2])
def test_regression(n_out):
    y = X[:, 0] if n_out == 1 else X[:, :2]
    theirs = MLPRegressor(**OPTIONS).fit(X, y)
    model = from_sklearn(theirs)
    np.testing.assert_allclose(model.predict(X), theirs.predict(X).reshape(60, n_out), atol=1e-12)
    assert model.spec.loss.name == "mse" and model.class_names is None


@pytest.mark.parametrize(
    "scalers",
    [
        [StandardScaler()],
        [StandardScaler(with_mean=False)],
        [StandardScaler(with_std=False)],
        [MinMaxScaler((-1, 1))],
        [MaxAbsScaler()],
        [RobustScaler()],
        [RobustScaler(with_centering=False), "passthrough", MinMaxScaler(), StandardScaler()],
    ],
)
def test_pipelines(scalers):
    theirs = make_pipeline(*scalers, MLPRegressor(**OPTIONS)).fit(X, X[:, 0] * X[:, 1])
    np.testing.assert_allclose(from_sklearn(theirs).predict(X)[:, 0], theirs.predict(X), atol=1e-11)


def test_our_own_estimators(custom_network):
    """Estimators of `fastmlp.sklearn` with what scikit-learn lacks: activations of each layer, the hinge loss."""
    acts = ["sine", custom_network.spec.layers[0].act]
    theirs = ours.MLPClassifier((6, 5), acts, loss="hinge", max_iter=3, random_state=0)
    theirs = make_pipeline(StandardScaler(), theirs).fit(X, NAMES[np.arange(60) % 3])
    model = from_sklearn(theirs)
    spec = theirs[-1].network_.spec
    assert model.class_names == ("ant", "bee", "cow") and (model.spec.layers, model.spec.loss) == (
        spec.layers,
        spec.loss,
    )
    assert (theirs.classes_[model.predict_class(X)] == theirs.predict(X)).all()
    with pytest.raises(NotFittedError):
        from_sklearn(ours.MLPRegressor())


def test_refusals():
    with pytest.raises(NotFittedError, match="MLPRegressor instance is not fitted"):
        from_sklearn(MLPRegressor())
    with pytest.raises(NotFittedError, match="StandardScaler instance is not fitted"):
        from_sklearn(make_pipeline(StandardScaler(), MLPRegressor()))
    for theirs, trouble in (
        (MLPRegressor(loss="poisson", **OPTIONS), "MLPRegressor has the output activation 'exp'"),
        (make_pipeline(PCA(), MLPRegressor(**OPTIONS)), r"step 'pca' \(PCA\) cannot be part of a network; scalers can"),
        (make_pipeline(MinMaxScaler(clip=True), MLPRegressor(**OPTIONS)), "'minmaxscaler' .* clips"),
        (LinearRegression(), "LinearRegression is no MLPClassifier, no MLPRegressor"),
        (TransformedTargetRegressor(MLPRegressor(**OPTIONS)), "TransformedTargetRegressor is no MLPClassifier"),
    ):
        with pytest.raises(ValueError, match=trouble):
            from_sklearn(theirs.fit(X, np.abs(X[:, 0])))
    with pytest.raises(ValueError, match="int is no MLPClassifier"):
        from_sklearn(3)
