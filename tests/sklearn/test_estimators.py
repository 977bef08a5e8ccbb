"""fastmlp.sklearn beside scikit-learn: the same numbers, in the same places, and what only ours can do.

scikit-learn's own tests are run by test_their_tests.py, its checks of estimators by test_their_checks.py.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

import fastmlp

neural_network = pytest.importorskip("sklearn.neural_network")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits, make_multilabel_classification, make_regression  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler  # noqa: E402
from sklearn.utils.validation import has_fit_parameter, validate_data  # noqa: E402

from fastmlp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = X[:500] / 16, Y[:500]
WEIGHTS = np.random.default_rng(0).uniform(0.1, 2, len(X))
X_NUMBERS, NUMBERS = make_regression(n_samples=300, n_features=8, n_targets=2, random_state=0)
NUMBERS /= 100
LABELS = make_multilabel_classification(n_samples=300, random_state=0)


CLASSES, TWO, MANY = (X, Y), (X, np.array(["odd", "even"])[Y % 2]), LABELS
ONE_NUMBER, TWO_NUMBERS = (X_NUMBERS, NUMBERS[:, 0]), (X_NUMBERS, NUMBERS)
COUNTS = X_NUMBERS, np.round(np.abs(3 * NUMBERS[:, 0]))
SAME = [
    ("MLPClassifier", CLASSES, {}),
    ("MLPClassifier", CLASSES, {"batch_size": 150, "alpha": 1.0, "activation": "tanh", "hidden_layer_sizes": (20, 10)}),
    ("MLPClassifier", CLASSES, {"solver": "sgd", "learning_rate_init": 0.1}),
    ("MLPClassifier", CLASSES, {"solver": "sgd", "batch_size": 1, "momentum": 0.5, "shuffle": False}),
    ("MLPClassifier", CLASSES, {"solver": "sgd", "batch_size": 1, "momentum": 0.0, "alpha": 0.1}),
    ("MLPClassifier", CLASSES, {"solver": "lbfgs", "alpha": 0.1, "max_iter": 20}),
    ("MLPClassifier", CLASSES, {"early_stopping": True}),
    ("MLPClassifier", TWO, {"early_stopping": True, "activation": "logistic"}),
    ("MLPClassifier", TWO, {"solver": "lbfgs", "max_iter": 15}),
    ("MLPClassifier", MANY, {"early_stopping": True, "solver": "sgd", "nesterovs_momentum": False}),
    ("MLPClassifier", MANY, {"solver": "lbfgs", "max_iter": 15, "activation": "identity"}),
    ("MLPRegressor", ONE_NUMBER, {"solver": "sgd", "early_stopping": True, "learning_rate_init": 0.01}),
    ("MLPRegressor", ONE_NUMBER, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}),
    ("MLPRegressor", ONE_NUMBER, {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "max_iter": 80}),
    ("MLPRegressor", TWO_NUMBERS, {"alpha": 0.3}),
    ("MLPRegressor", ONE_NUMBER, {"solver": "lbfgs", "max_iter": 15, "alpha": 0.1}),
    ("MLPRegressor", COUNTS, {"loss": "poisson"}),
    ("MLPRegressor", COUNTS, {"loss": "poisson", "solver": "lbfgs", "max_iter": 10}),
]


def pair(kind, **options):
    """Theirs and ours."""
    options = {"max_iter": 12, "random_state": 3, **options}
    theirs = getattr(neural_network, kind)
    if not options.keys() <= theirs().get_params().keys():
        pytest.skip(f"this scikit-learn's {kind} does not take all of {', '.join(options)}")
    return theirs(**options), globals()[kind](**options)


def assert_same(theirs, ours, x, atol=1e-8):
    for a, b in zip([*theirs.coefs_, *theirs.intercepts_], [*ours.coefs_, *ours.intercepts_], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=atol)
    for name in ("classes_", "n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_"):
        assert hasattr(theirs, name) == hasattr(ours, name)
        assert np.all(getattr(theirs, name, 0) == getattr(ours, name, 0)), name
    for name in ("loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_"):
        assert hasattr(theirs, name) == hasattr(ours, name)
        a, b = getattr(theirs, name, None), getattr(ours, name, None)
        assert type(a) is type(b) or {type(a), type(b)} <= {float, np.float64}, name
        if a is not None:  # the penalty in the loss is interpolated within an epoch
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(ours.predict(x[:3]).shape, theirs.predict(x[:3]).shape)
    for name in ("predict_proba", "predict"):
        if hasattr(theirs, name) and getattr(theirs, name)(x).dtype.kind == "f":
            np.testing.assert_allclose(getattr(ours, name)(x), getattr(theirs, name)(x), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("kind", "data", "options"), SAME, ids=lambda value: str(value) if len(value) != 2 else "")
def test_same_numbers(kind, data, options):
    theirs, ours = pair(kind, **options)
    for estimator in (theirs, ours):
        estimator.fit(*data)
    assert_same(theirs, ours, data[0])
    assert ours.score(*data) == pytest.approx(theirs.score(*data), abs=1e-7)


@pytest.mark.parametrize("options", [{"alpha": 1.0}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_same_numbers_with_sample_weights(kind, options):
    if not has_fit_parameter(neural_network.MLPClassifier(), "sample_weight"):
        pytest.skip("this scikit-learn's MLPs take no weights")
    theirs, ours = pair(kind, batch_size=60, **options)
    for estimator in (theirs, ours):
        estimator.fit(X, Y % 2, sample_weight=WEIGHTS)
    assert_same(theirs, ours, X)


@pytest.mark.parametrize("options", [{"solver": "sgd", "learning_rate": "invscaling"}, {"solver": "adam"}], ids=str)
def test_same_numbers_piece_by_piece_and_warm(options):
    theirs, ours = pair("MLPClassifier", batch_size=20, **options)
    for start in range(0, 450, 50):
        for estimator in (theirs, ours):
            part = slice(start, start + 50)
            estimator.partial_fit(X[part], Y[part], classes=range(10) if start == 0 else None)
    assert_same(theirs, ours, X)
    theirs, ours = pair("MLPClassifier", batch_size=100, warm_start=True, **options)
    for epochs in (3, 5):
        for estimator in (theirs, ours):
            estimator.set_params(max_iter=epochs).fit(X, Y)
    assert len(ours.loss_curve_) == 8
    assert_same(theirs, ours, X)


def test_warm_starts_may_change_what_they_watch_and_the_solver():
    clf = MLPClassifier(12, solver="lbfgs", warm_start=True, max_iter=4, random_state=0).fit(X, Y)
    loss = clf.loss_
    clf.set_params(solver="adam").fit(X, Y)
    assert clf.loss_curve_[0] < 1.5 * loss and clf.validation_scores_ is None
    clf.set_params(early_stopping=True).fit(X, Y)
    assert len(clf.validation_scores_) == 4 and clf.best_loss_ is None


def test_bad_data_leaves_what_was_learnt():
    clf = MLPClassifier(12, max_iter=4, random_state=0).fit(X, Y)
    before = clf.predict_proba(X)
    with pytest.raises(ValueError, match="sample_weight must have shape"):
        clf.fit(X, Y, sample_weight=[1.0])
    np.testing.assert_array_equal(clf.predict_proba(X), before)


@pytest.mark.parametrize(
    ("kind", "method"), [(MLPClassifier, "predict"), (MLPClassifier, "predict_proba"), (MLPRegressor, "predict")]
)
def test_plain_arrays_are_predicted_without_scikit_learns_checks_and_others_have_its_words(kind, method, monkeypatch):
    checked = []
    monkeypatch.setattr(
        "fastmlp.sklearn.estimators.validate_data",
        lambda *arguments, **options: checked.append(1) or validate_data(*arguments, **options),
    )
    predict = getattr(kind(hidden_layer_sizes=(5,), max_iter=2, random_state=0).fit(X, Y), method)
    theirs = getattr(getattr(neural_network, kind.__name__)(max_iter=2).fit(X, Y), method)
    checked.clear()
    expected = predict(X.tolist())
    assert checked.pop() and not checked
    for rows in (X, X.astype(np.float32), X[:, ::-1][:, ::-1], np.asfortranarray(X)):
        np.testing.assert_allclose(predict(rows), expected, rtol=1e-4, atol=1e-5)
    assert not checked
    without, infinite = X.copy(), X.copy()
    without[1, 2], infinite[1, 2] = np.nan, np.inf
    for bad in (X[0], X[:, 1:], X[:0], without, infinite, None):
        with pytest.raises(ValueError, match=r".") as their:
            theirs(bad)
        with pytest.raises(ValueError, match=re.escape(str(their.value).split("\n")[0])):
            predict(bad)
    assert len(checked) == 6


def test_same_words(capsys):
    options = {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2, "verbose": True}
    for early_stopping in (False, True):
        texts = []
        for estimator in pair("MLPClassifier", batch_size=400, max_iter=100, early_stopping=early_stopping, **options):
            estimator.fit(X, Y)
            texts.append(capsys.readouterr().out)
        assert "Setting learning rate to" in texts[0] and "Learning rate too small. Stopping." in texts[0]
        assert texts[0] == texts[1]


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_it_says_that_it_has_not_converged(solver):
    with pytest.warns(ConvergenceWarning, match="iteration") as caught:
        MLPRegressor(solver=solver, max_iter=3).fit(X, Y)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows_and_small_integers_are_read_as_they_are(solver):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    pixels = (16 * X).astype(np.uint8)
    options = {"solver": solver, "max_iter": 5, "random_state": 0}
    dense = MLPClassifier(**options).fit(pixels.astype(float), Y)
    for x in (pixels, scipy_sparse.csr_matrix(pixels), scipy_sparse.csc_array(pixels), np.asfortranarray(pixels)):
        other = MLPClassifier(**options).fit(x, Y)
        assert other.network_.dtype == np.float64
        np.testing.assert_allclose(other.predict_proba(x), dense.predict_proba(pixels), rtol=1e-8, atol=1e-10)
    single = MLPClassifier(dtype="float32", **options).fit(pixels, Y)
    assert {array.dtype.name for array in (*single.coefs_, *single.intercepts_)} == {"float32"}
    assert single.score(pixels, Y) == pytest.approx(dense.score(pixels, Y), abs=0.01)


def test_coefs_are_the_network():
    clf = MLPClassifier((7, 6), max_iter=3, random_state=0).fit(X, Y)
    before = clf.predict_proba(X)
    network = clf.network_
    assert [c.shape for c in clf.coefs_] == [(64, 7), (7, 6), (6, 10)]
    assert isinstance(network, fastmlp.MLP) and np.shares_memory(clf.coefs_[1], network.params)
    np.testing.assert_array_equal(network.predict(X), before)
    clf.coefs_[0][:, 2] = 0
    changed = clf.predict_proba(X)
    assert not np.array_equal(changed, before)
    clf.coefs_ = [c.copy() for c in clf.coefs_]  # as one does with scikit-learn's
    clf.coefs_[2] += 1
    clf.intercepts_[0] = clf.intercepts_[0] + 0.1
    theirs = neural_network.MLPClassifier((7, 6), max_iter=3, random_state=0).fit(X, Y)
    theirs.coefs_, theirs.intercepts_ = [c.copy() for c in clf.coefs_], [b.copy() for b in clf.intercepts_]
    np.testing.assert_allclose(clf.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)
    assert np.shares_memory(clf.coefs_[1], clf.network_.params)


def test_estimators_that_are_only_looked_at_can_be_pickled():
    """As dask-ml does before it sends them to workers."""
    clf = MLPClassifier(4)
    for name in dir(clf):
        getattr(clf, name, None)
    assert pickle.loads(pickle.dumps(clf)).get_params() == clf.get_params()


def test_pickles_go_on_where_they_were():
    for solver in ("sgd", "adam"):
        clf = MLPClassifier(19, solver=solver, random_state=0)
        for _ in range(3):
            clf.partial_fit(X, Y, classes=range(10))
        other = pickle.loads(pickle.dumps(clf))
        np.testing.assert_array_equal(other.predict_proba(X), clf.predict_proba(X))
        for _ in range(3):
            clf.partial_fit(X, Y)
            other.partial_fit(X, Y)
        np.testing.assert_array_equal(other.coefs_[0], clf.coefs_[0])
        assert not hasattr(clone(clf), "coefs_") and clone(clf).get_params() == clf.get_params()


def test_pipelines_grids_and_processes():
    pipeline = make_pipeline(MinMaxScaler(), MLPClassifier(12, max_iter=8, random_state=0))
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__activation": ["relu", ["swish"]]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(16 * X, Y)
    alone = GridSearchCV(pipeline, grid, cv=2).fit(16 * X, Y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(search.predict(16 * X), alone.predict(16 * X))
    reg = MLPRegressor(hidden_layer_sizes=9, max_iter=8, random_state=0)
    np.testing.assert_array_equal(cross_val_score(reg, X, Y, n_jobs=2), cross_val_score(reg, X, Y))


def test_activations_by_layer_name_and_object():
    x, y = X_NUMBERS, NUMBERS
    reg = MLPRegressor(hidden_layer_sizes=(6, 5), activation=["sine", fastmlp.leaky_relu.with_slope(0.3)], max_iter=5)
    reg.fit(x, y)
    assert [layer.act.name for layer in reg.network_.spec.layers] == ["sine", "leaky_relu", "linear"]
    hidden = np.sin(x @ reg.coefs_[0] + reg.intercepts_[0]) @ reg.coefs_[1] + reg.intercepts_[1]
    outputs = np.where(hidden > 0, hidden, 0.3 * hidden) @ reg.coefs_[2] + reg.intercepts_[2]
    np.testing.assert_allclose(reg.predict(x), outputs, rtol=1e-10)
    with pytest.raises(ValueError, match="activation has 1 entries, there are 2 hidden layers"):
        reg.set_params(activation=["relu"]).fit(x, y)


@pytest.mark.parametrize("loss", ["mse", "huber", "hinge"])
@pytest.mark.parametrize("data", [CLASSES, TWO], ids=["ten", "two"])
def test_losses_of_classifiers(loss, data):
    clf = MLPClassifier(32, loss=loss, random_state=0, max_iter=100).fit(*data)
    assert clf.score(*data) > 0.95
    assert hasattr(clf, "predict_proba") == (loss != "hinge")
    assert clf.network_.spec.loss.name == loss
    if loss == "hinge":
        assert clf.out_activation_ == "identity" and clf.n_outputs_ == len(clf.classes_)


def test_hinge_takes_no_labels_in_columns():
    with pytest.raises(ValueError, match="loss is hinge, which needs one class a sample"):
        MLPClassifier(loss="hinge").fit(*MANY)


def test_losses_of_regressors():
    """One outlier draws the mean, not the median."""
    y = np.r_[np.zeros(98), 1000, 1000]
    x = np.ones((100, 1))
    options = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0, "max_iter": 300}
    assert MLPRegressor(**options).fit(x, y).predict(x[:1]) == pytest.approx(20, rel=1e-4)
    assert MLPRegressor(loss="huber", **options).fit(x, y).predict(x[:1]) == pytest.approx(2 / 98, rel=1e-3)
    assert MLPRegressor(loss="poisson", **options).fit(x, y).predict(x[:1]) == pytest.approx(20, rel=1e-3)
    absolute = MLPRegressor(loss="absolute_error", hidden_layer_sizes=(), alpha=0, max_iter=500, random_state=0)
    assert abs(absolute.fit(x, y).predict(x[:1])[0]) < 0.1
    with pytest.raises(ValueError, match="y must be at least 0 for poisson"):
        MLPRegressor(loss="poisson").fit(x, y - 1)


def test_class_weights_are_sample_weights():
    labels = np.array(["odd", "even"])[Y % 2]
    options = {"max_iter": 5, "random_state": 0, "batch_size": 50}
    weighted = MLPClassifier(class_weight={"odd": 3.0}, **options).fit(X, labels)
    copied = MLPClassifier(**options).fit(X, labels, sample_weight=np.where(labels == "odd", 3.0, 1.0))
    np.testing.assert_array_equal(weighted.coefs_[0], copied.coefs_[0])
    balanced = MLPClassifier(class_weight="balanced", **options).fit(X, labels, sample_weight=WEIGHTS)
    counts = {label: np.sum(WEIGHTS[labels == label]) for label in ("odd", "even")}
    weights = [np.sum(WEIGHTS) / 2 / counts[label] * w for label, w in zip(labels, WEIGHTS, strict=True)]
    np.testing.assert_allclose(balanced.coefs_[0], MLPClassifier(**options).fit(X, labels, weights).coefs_[0])
    with pytest.raises(ValueError, match="'balanced' needs all samples"):
        balanced.partial_fit(X, labels)


def test_l1_pulls_every_weight_by_as_much():
    options = {"solver": "sgd", "momentum": 0, "max_iter": 1, "batch_size": 500, "learning_rate_init": 0.1}
    options |= {"random_state": 0, "alpha": 0}
    free, pulled = (MLPClassifier(l1=l1, **options).fit(X, Y) for l1 in (0.0, 0.5))
    begin = MLPClassifier(**options | {"learning_rate_init": 1e-12}).fit(X, Y)  # as good as the first weights
    for a, b, w in zip(free.coefs_, pulled.coefs_, begin.coefs_, strict=True):
        np.testing.assert_allclose(a - b, 0.1 * 0.5 / 500 * np.sign(w), rtol=1e-9)
    np.testing.assert_array_equal(free.intercepts_[0], pulled.intercepts_[0])
    penalty = 0.5 / 500 * sum(np.abs(c).sum() for c in begin.coefs_)
    assert pulled.loss_ == pytest.approx(free.loss_ + penalty, rel=1e-9)


def test_dropout_and_threads():
    options = {"random_state": 0, "max_iter": 20, "hidden_layer_sizes": (40, 20), "batch_size": 256}
    options["learning_rate_init"] = 0.01
    plain, dropped = (MLPClassifier(dropout=dropout, **options).fit(X, Y) for dropout in (0.0, [0.5, 0.2]))
    assert dropped.loss_ > plain.loss_ and dropped.score(X, Y) > 0.8
    again = MLPClassifier(dropout=[0.5, 0.2], n_threads=2, **options).fit(X, Y)
    np.testing.assert_array_equal(again.coefs_[1], dropped.coefs_[1])


def test_ctrl_c_keeps_what_was_learnt():
    class Impatient(np.random.RandomState):
        shuffles = 0

        def shuffle(self, x):
            self.shuffles += 1
            if self.shuffles == 4:
                raise KeyboardInterrupt
            super().shuffle(x)

    with pytest.warns(UserWarning, match="interrupted"):
        clf = MLPClassifier(random_state=Impatient(0)).fit(X, Y)
    assert clf.n_iter_ == 3 and clf.score(X, Y) > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "adamm"}, "solver: unknown 'adamm'"),
        ({"activation": "rellu"}, "activation: unknown activation 'rellu'; did you mean 'relu'"),
        ({"loss": "bce"}, "does not fit"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be at least 1"),
        ({"alpha": -1}, "alpha must be a finite number at least 0"),
        ({"momentum": 1}, "momentum must be .* below 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"learning_rate": "fast"}, "learning_rate: unknown 'fast'"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64'"),
        ({"solver": "lbfgs", "l1": 0.1}, "l1, dropout and clip_norm are for the other solvers"),
        ({"dropout": 1.0}, "dropout must be"),
    ],
    ids=str,
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**options).fit(X, Y)


def test_what_goes_on_must_be_the_same_network():
    clf = MLPClassifier(5, max_iter=2, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="network to go on with"):
        clf.set_params(hidden_layer_sizes=6).fit(X, Y)
    with pytest.raises(AttributeError, match="network_"):
        MLPClassifier().network_  # noqa: B018


def test_without_scikit_learn():
    script = "import sys; sys.modules['sklearn'] = None; import fastmlp.sklearn"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "ImportError: fastmlp.sklearn needs scikit-learn: pip install 'fastmlp[sklearn]'" in done.stderr
