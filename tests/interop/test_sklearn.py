"""scikit-learn's fitted networks against their own predictions."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.interop import from_sklearn

pytest.importorskip("sklearn")
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
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


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), RobustScaler(with_centering=False), None])
@pytest.mark.parametrize("estimator", [MLPRegressor, ours.MLPRegressor])
def test_targets_that_are_scaled(estimator, scaler):
    y = X[:, :2] * 1000 + 5000
    inside = make_pipeline(StandardScaler(), estimator(**OPTIONS))
    theirs = TransformedTargetRegressor(inside, transformer=scaler).fit(X, y)
    np.testing.assert_allclose(from_sklearn(theirs).predict(X), theirs.predict(X), rtol=1e-10)
    one = TransformedTargetRegressor(inside, transformer=scaler).fit(X, y[:, 0])
    np.testing.assert_allclose(from_sklearn(one).predict(X)[:, 0], one.predict(X), rtol=1e-10)


def named(**columns):
    return pytest.importorskip("pandas").DataFrame(columns)


@pytest.mark.parametrize(
    "transformers",
    [
        [("a", StandardScaler(), [2, 0]), ("b", MinMaxScaler(), slice(3, None))],
        [("a", StandardScaler(), ["c", "a"]), ("b", MinMaxScaler(), ["d"]), ("c", "passthrough", ["b"])],
        [("a", make_pipeline(StandardScaler(), MaxAbsScaler()), slice("b", "c")), ("b", "drop", [0])],
        [("a", RobustScaler(), [True, False, True, True])],
        [("a", RobustScaler(), lambda frame: ["a", "d"])],
    ],
)
@pytest.mark.parametrize("remainder", ["drop", "passthrough", StandardScaler()])
def test_scalers_of_columns(transformers, remainder):
    frame = named(**dict(zip("abcd", X.T, strict=True)))
    columns = ColumnTransformer(transformers, remainder=remainder, transformer_weights={"b": 0.5})
    theirs = make_pipeline(columns, MinMaxScaler(), MLPRegressor(**OPTIONS)).fit(frame, X[:, 0] * X[:, 1])
    model = from_sklearn(theirs)
    assert model.spec.n_in == 4
    np.testing.assert_allclose(model.predict(X)[:, 0], theirs.predict(frame), rtol=1e-9, atol=1e-9)


def test_counts_and_searches():
    y = np.round(np.abs(X[:, 0]))
    for estimator in (MLPRegressor(loss="poisson", **OPTIONS), ours.MLPRegressor(loss="poisson", **OPTIONS)):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), estimator), {f"{type(estimator).__name__.lower()}__alpha": [1e-4, 1]}
        )
        model = from_sklearn(search.fit(X, y))
        assert model.spec.loss.name == "poisson"
        np.testing.assert_allclose(np.exp(model.predict(X)[:, 0]), search.predict(X), rtol=1e-11)


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
        (make_pipeline(PCA(), MLPRegressor(**OPTIONS)), r"step 'pca' \(PCA\) cannot be part of a network; scalers can"),
        (make_pipeline(MinMaxScaler(clip=True), MLPRegressor(**OPTIONS)), "'minmaxscaler' .* clips"),
        (LinearRegression(), "LinearRegression is no MLPClassifier, no MLPRegressor"),
        (TransformedTargetRegressor(LinearRegression()), "LinearRegression is no MLPClassifier"),
        (
            TransformedTargetRegressor(MLPRegressor(**OPTIONS), func=np.log, inverse_func=np.exp),
            "the target's FunctionTransformer cannot be part of a network",
        ),
        (
            TransformedTargetRegressor(MLPRegressor(loss="poisson", **OPTIONS), transformer=MaxAbsScaler()),
            "the target's MaxAbsScaler scales what the network predicts the logarithm of",
        ),
        (
            TransformedTargetRegressor(
                ours.MLPRegressor(loss="mae", **OPTIONS | {"solver": "adam"}), transformer=PCA()
            ),
            "the target's PCA cannot be part",
        ),
        (
            make_pipeline(
                ColumnTransformer([("a", StandardScaler(), [0]), ("b", PCA(1), [1, 2])]), MLPRegressor(**OPTIONS)
            ),
            r"step 'columntransformer' \(ColumnTransformer\), transformer 'b' \(PCA\) cannot be part",
        ),
        (
            make_pipeline(
                ColumnTransformer([("a", StandardScaler(), [0]), ("b", MaxAbsScaler(), [0])]), MLPRegressor(**OPTIONS)
            ),
            "takes a column twice",
        ),
        (
            GridSearchCV(MLPRegressor(**OPTIONS), {"alpha": [1.0]}, cv=2, refit=False),
            "has no best_estimator_: call fit, with refit",
        ),
    ):
        with pytest.raises(ValueError, match=trouble):
            from_sklearn(theirs.fit(X, np.abs(X[:, 0]) + 0.1))
    with pytest.raises(ValueError, match="int is no MLPClassifier"):
        from_sklearn(3)
