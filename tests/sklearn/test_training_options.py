"""How the estimators train beyond scikit-learn: optimisers, schedules, clipping, standardisation, callbacks, names."""

from __future__ import annotations

import copy
import inspect
import pickle
import pickletools
import re

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import optimizers, schedules

pytest.importorskip("sklearn")

import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from fastmlp.interop import from_sklearn
from fastmlp.sklearn import EnsembleClassifier, EnsembleRegressor, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SCALED = StandardScaler().fit_transform(X)
X_NUMBERS, NUMBERS = load_diabetes(return_X_y=True)
OPTIONS = {"hidden_layer_sizes": (8,), "max_iter": 30, "learning_rate_init": 0.01, "random_state": 0}
STEPPERS = [name for name in optimizers.OPTIMIZERS if name not in ("sgd", "adam", "lbfgs", "lm")]


def same_parameters(one, other):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", STEPPERS)
def test_every_optimiser_is_a_solver_by_name_and_as_an_object(name):
    one = MLPClassifier(solver=name, **OPTIONS).fit(SCALED, Y)
    same_parameters(one, MLPClassifier(solver=optimizers.OPTIMIZERS[name](), **OPTIONS).fit(SCALED, Y))
    assert one.loss_curve_[-1] < one.loss_curve_[0]
    adam = MLPClassifier(**OPTIONS).fit(SCALED, Y)
    assert np.array_equal(one.coefs_[0], adam.coefs_[0]) == (name == "adam_hat")  # which scikit-learn's adam is
    one.partial_fit(SCALED[:1], Y[:1])


def test_settings_of_an_optimiser_count():
    still = MLPClassifier(solver=optimizers.SGD(momentum=0.0), **OPTIONS).fit(SCALED, Y)
    same_parameters(still, MLPClassifier(solver="sgd", momentum=0.0, **OPTIONS).fit(SCALED, Y))
    few = MLPRegressor(solver=optimizers.LBFGS(max_fun=3), **OPTIONS).fit(X_NUMBERS, NUMBERS)
    assert few.n_iter_ < MLPRegressor(solver="lbfgs", **OPTIONS).fit(X_NUMBERS, NUMBERS).n_iter_
    assert not hasattr(few, "partial_fit") and hasattr(still, "partial_fit")
    lazy = MLPClassifier(solver=optimizers.Adam(lazy=True), **OPTIONS)
    with pytest.raises(ValueError, match="lazy steps are for sparse x"):
        lazy.fit(SCALED, Y)
    assert lazy.fit(scipy.sparse.csr_array(X), Y).n_iter_ == 30


@pytest.mark.parametrize("solver", ["sgd", "adam", "lion"])
def test_a_schedule_is_the_rate_of_each_epoch(solver):
    asked = []

    def rate(epoch):
        asked.append(epoch)
        return 0.02

    scheduled = MLPClassifier(solver=solver, learning_rate=rate, **OPTIONS).fit(SCALED, Y)
    assert asked == list(range(scheduled.n_iter_))
    same_parameters(scheduled, MLPClassifier(solver=solver, **OPTIONS | {"learning_rate_init": 0.02}).fit(SCALED, Y))
    decayed = MLPClassifier(solver=solver, learning_rate=schedules.Cosine(0.02, 30), **OPTIONS).fit(SCALED, Y)
    assert not np.array_equal(decayed.coefs_[0], scheduled.coefs_[0])


def test_plain_sgd_by_a_schedule_is_train():
    """Full batches without momentum, shuffling and penalties: the steps are those of `fastmlp.train`."""
    schedule = schedules.Exponential(0.5, 0.9)
    options = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "batch_size": 150, "shuffle": False}
    begin = MLPClassifier(**options, **OPTIONS | {"max_iter": 1, "learning_rate_init": 1e-30}).fit(SCALED, Y)
    model = begin.network_.copy()
    fastmlp.train(SCALED, Y, model, lr=schedule, epochs=30, batch_size="full", shuffle=False)
    clf = MLPClassifier(**options, **OPTIONS, learning_rate=schedule).fit(SCALED, Y)
    np.testing.assert_allclose(clf.network_.params, model.params, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("monitor", [None, "val_loss"])
def test_a_plateau_follows_the_losses(monitor):
    plateau = schedules.ReduceOnPlateau(0.5, monitor=monitor, patience=0, factor=0.5)
    options = OPTIONS | {"learning_rate": plateau, "n_iter_no_change": 100, "max_iter": 40}
    clf = MLPClassifier(**options).fit(SCALED, Y, X_val=SCALED[::2], y_val=Y[::2])
    history = {"loss": clf.loss_curve_[:-1], "val_loss": clf.validation_loss_curve_[:-1]}
    assert clf._fit_state.learning_rate == plateau.after(history) < 0.5
    if monitor:
        with pytest.raises(ValueError, match="learning_rate looks at 'val_loss'"):
            MLPClassifier(**options).fit(SCALED, Y)


def test_a_schedule_goes_on_in_partial_fit():
    clf = MLPClassifier(solver="sgd", learning_rate=lambda epoch: 0.1 / (epoch + 1), hidden_layer_sizes=4)
    for i in range(5):
        clf.partial_fit(SCALED[i : i + 1], Y[i : i + 1], classes=[0, 1, 2])
        assert clf._fit_state.learning_rate == 0.1 / (i + 1)


def test_other_optimisers_follow_scikit_learns_schedules():
    adaptive = MLPClassifier(solver="rmsprop", learning_rate="adaptive", tol=1.0, **OPTIONS).fit(SCALED, Y)
    assert adaptive._fit_state.learning_rate < 0.01
    inverse = MLPClassifier(solver="rmsprop", learning_rate="invscaling", **OPTIONS).fit(SCALED, Y)
    assert inverse._fit_state.learning_rate == pytest.approx(0.01 / (inverse.t_ + 1) ** 0.5)


def test_long_gradients_are_clipped():
    options = OPTIONS | {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "batch_size": 150, "max_iter": 1}
    begin = MLPClassifier(**options | {"learning_rate_init": 1e-30}).fit(SCALED, Y)
    clipped = MLPClassifier(clip_norm=1e-3, **options).fit(SCALED, Y)
    step = clipped.network_.params - begin.network_.params
    assert np.linalg.norm(step) == pytest.approx(0.01 * 1e-3, rel=1e-6)
    same_parameters(MLPClassifier(clip_norm=1e6, **options).fit(SCALED, Y), MLPClassifier(**options).fit(SCALED, Y))
    for i in range(2):  # the short way too
        before = clipped.network_.params.copy()
        clipped.set_params(batch_size=1).partial_fit(SCALED[i : i + 1], Y[i : i + 1])
        assert np.linalg.norm(clipped.network_.params - before) == pytest.approx(0.01 * 1e-3, rel=1e-6)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_standardised_inputs_and_targets(solver):
    options = OPTIONS | {"solver": solver}
    large = 1e4 * X + 7
    own = MLPClassifier(standardize=True, **options).fit(large, Y)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**options)).fit(large, Y)
    np.testing.assert_allclose(own.predict_proba(large), pipeline.predict_proba(large), rtol=1e-6, atol=1e-9)
    reg = MLPRegressor(standardize=True, **options).fit(1e4 * X_NUMBERS, 1e6 * NUMBERS)
    assert reg.score(1e4 * X_NUMBERS, 1e6 * NUMBERS) > 0.3
    assert reg.network_.spec.layers[-1].shift == pytest.approx([1e6 * NUMBERS.mean()])
    np.testing.assert_allclose(from_sklearn(reg).predict(X_NUMBERS)[:, 0], reg.predict(X_NUMBERS), rtol=1e-9)
    counts = np.random.default_rng(0).poisson(1000, len(X_NUMBERS))
    poisson = MLPRegressor(standardize=True, loss="poisson", **options).fit(X_NUMBERS, counts)
    assert abs(poisson.predict(X_NUMBERS).mean() / 1000 - 1) < 0.2


def test_rows_held_out_are_no_part_of_the_means():
    clf = MLPClassifier(standardize=True, early_stopping=True, **OPTIONS).fit(X, Y)
    assert clf.t_ == clf.n_iter_ * 135
    assert not np.allclose(clf.network_.spec.shift, X.mean(axis=0), rtol=1e-9)
    given = MLPClassifier(standardize=True, early_stopping=True, **OPTIONS).fit(X, Y, X_val=X[:20], y_val=Y[:20])
    np.testing.assert_allclose(given.network_.spec.shift, X.mean(axis=0), rtol=1e-9)


def test_what_is_standardised_goes_on_and_is_kept():
    reg = MLPRegressor(standardize=True, warm_start=True, **OPTIONS).fit(X_NUMBERS, NUMBERS)
    scale, loss = reg.network_.spec.scale, reg.loss_
    for other in (pickle.loads(pickle.dumps(reg)), copy.deepcopy(reg), reg):
        np.testing.assert_array_equal(other.predict(X_NUMBERS), reg.predict(X_NUMBERS))
        other.fit(X_NUMBERS[::2], NUMBERS[::2]).partial_fit(X_NUMBERS[:5], NUMBERS[:5])
        assert other.network_.spec.scale == scale and other.loss_curve_[30] < loss * 1.5
    with pytest.raises(ValueError, match="standardize=False is for new networks"):
        reg.set_params(standardize=False).partial_fit(X_NUMBERS, NUMBERS)
    with pytest.raises(ValueError, match="standardize=True takes means and deviations"):
        MLPRegressor(standardize=True).partial_fit(X_NUMBERS[:1], NUMBERS[:1])
    part = MLPRegressor(standardize=True).partial_fit(X_NUMBERS[:99], NUMBERS[:99])
    np.testing.assert_allclose(part.network_.spec.shift, X_NUMBERS[:99].mean(axis=0), rtol=1e-9)
    assert MLPRegressor(standardize=True, **OPTIONS).fit(X_NUMBERS, NUMBERS).set_params(standardize=False).fit(
        X_NUMBERS, NUMBERS
    ).network_.spec.scale is None  # fmt: skip


class Recorder:
    """A callback of scikit-learn's protocol."""

    def __init__(self, stop_after=None):
        self.calls, self.scores, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(f"end {context.task_name}")
        self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


class TestCallbacks:
    pytest.importorskip("sklearn.callback")

    @pytest.mark.parametrize("solver", ["adam", "lbfgs"])
    def test_they_see_each_epoch_with_its_parameters_and_may_stop(self, solver):
        recorder = Recorder(stop_after=4)
        clf = MLPClassifier(solver=solver, **OPTIONS).set_callbacks(recorder).fit(SCALED, Y, np.ones(150))
        assert recorder.calls == ["setup", "begin fit", *["begin epoch", "end epoch"] * 4, "end fit", "teardown"]
        assert clf.n_iter_ == 4 and recorder.scores[-1] == recorder.scores[-2] == clf.score(SCALED, Y)
        few = MLPClassifier(solver=solver, **OPTIONS | {"max_iter": 2}).fit(SCALED, Y)
        assert recorder.scores[1] == few.score(SCALED, Y)

    def test_they_change_no_number_and_are_left_alone_by_partial_fit(self):
        recorder = Recorder()
        clf = MLPClassifier(early_stopping=True, **OPTIONS).set_callbacks(recorder).fit(SCALED, Y)
        same_parameters(clf, MLPClassifier(early_stopping=True, **OPTIONS).fit(SCALED, Y))
        n_calls = len(recorder.calls)
        clf.set_params(early_stopping=False).partial_fit(SCALED, Y)
        assert len(recorder.calls) == n_calls

    @pytest.mark.filterwarnings("error")
    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_they_are_given_what_fit_was_given(self):
        recorder = Recorder()
        MLPClassifier(**OPTIONS).set_callbacks(recorder).fit(pd.DataFrame(X, columns=list("abcd")), Y)
        assert len(recorder.scores) == 31

    def test_a_fit_that_fails_is_torn_down(self):
        recorder = Recorder()
        reg = MLPRegressor(solver="sgd", **OPTIONS | {"learning_rate_init": 1e12}).set_callbacks(recorder)
        with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
            reg.fit(X_NUMBERS, NUMBERS)
        assert recorder.calls[-1] == "teardown"

    def test_scikit_learns_own_in_a_search(self):
        from sklearn.callback import ScoringMonitor

        monitor = ScoringMonitor(scoring="accuracy")
        grid = {"mlpclassifier__alpha": [1e-4, 1.0]}
        pipeline = make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS | {"max_iter": 3}).set_callbacks(monitor))
        GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
        epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
        assert len(epochs) == 5 * 3  # two by two fits, and the best one again
        assert all(0 <= row["accuracy"] <= 1 for row in epochs)


def test_the_network_has_the_names_of_features_and_classes():
    frame = pd.DataFrame(X, columns=["sepal length", "sepal width", "petal length", "petal width"])
    labels = np.array(["setosa", "versicolor", "virginica"])[Y]
    for y, names in ((labels, ("setosa", "versicolor", "virginica")), (labels == "setosa", ("False", "True"))):
        clf = MLPClassifier(**OPTIONS).fit(frame, y)
        for one in (clf, pickle.loads(pickle.dumps(clf))):
            assert one.network_.class_names == names
            assert one.network_.feature_names == tuple(frame.columns)
    assert MLPRegressor(**OPTIONS).fit(X_NUMBERS, NUMBERS).network_.feature_names is None


FITTED = [
    MLPClassifier(**OPTIONS), MLPClassifier(solver="sgd", standardize=True, **OPTIONS), MLPClassifier(solver="lion"),
    MLPRegressor(solver="lbfgs"), MLPClassifier(loss="hinge", activation=["tanh"]), EnsembleClassifier(n_estimators=2),
    EnsembleRegressor(n_estimators=2),
]  # fmt: skip


@pytest.mark.parametrize("estimator", FITTED, ids=str)
def test_what_is_kept_has_public_names_alone(estimator):
    """Pickles, and skops' files, which ask whether their types are trusted, outlive what moves inside the package."""
    fitted = clone(estimator).fit(X, Y)
    strings: list[str] = []
    types = set()
    for opcode, argument, _ in pickletools.genops(pickle.dumps(fitted, protocol=5)):
        if opcode.name == "STACK_GLOBAL":
            types.add(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    ours = {name for name in types if name.startswith("fastmlp")}
    assert ours <= {f"fastmlp.sklearn.{kind.__name__}" for kind in (type(fitted), MLPClassifier, MLPRegressor)}
    assert type(fitted).__module__ == "fastmlp.sklearn"


@pytest.mark.parametrize("estimator", FITTED, ids=str)
def test_skops_trusts_what_is_public(estimator, tmp_path):
    io = pytest.importorskip("skops.io")
    fitted = clone(estimator).fit(X, Y)
    io.dump(fitted, tmp_path / "file.skops")
    types = io.get_untrusted_types(file=tmp_path / "file.skops")
    assert set(types) <= {f"fastmlp.sklearn.{kind.__name__}" for kind in (type(fitted), MLPClassifier, MLPRegressor)}
    again = io.load(tmp_path / "file.skops", trusted=types)
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor, EnsembleClassifier, EnsembleRegressor])
def test_every_parameter_and_attribute_is_documented(kind):
    text = inspect.getdoc(kind)
    parameters, rest = text.split("Attributes\n----------\n")
    named = {name for line in re.findall(r"^(\w[\w, ]*) :", parameters, re.MULTILINE) for name in line.split(", ")}
    assert named == set(inspect.signature(kind).parameters)
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = kind().fit(frame, Y)
    found = {name for name in dir(fitted) if name.endswith("_") and not name.startswith("_")}
    attributes = {name for line in re.findall(r"^(\w+_(?:, \w+_)*) :", rest, re.MULTILINE) for name in line.split(", ")}
    assert attributes == found


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor, EnsembleClassifier, EnsembleRegressor])
def test_the_html_view_links_to_the_documentation(kind):
    html = kind()._repr_html_()
    assert 'href="https://github.com/fastmlp/fastmlp/blob/main/docs/how-to/' in html


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "adamm"}, "solver: unknown 'adamm'; did you mean 'adam'"),
        ({"solver": optimizers.Adam}, "solver must be a name or a fastmlp.optimizers.Optimizer"),
        ({"learning_rate": 0.1}, "learning_rate must be one of constant, invscaling, adaptive"),
        ({"learning_rate": schedules.ReduceOnPlateau(0.1, monitor="accuracy")}, "monitor of learning_rate"),
        ({"clip_norm": 0}, "clip_norm must be a finite number above 0"),
        ({"standardize": "yes"}, "standardize must be"),
        ({"solver": "lbfgs", "clip_norm": 1.0}, "clip_norm are for the other solvers"),
        ({"solver": "lbfgs", "learning_rate": schedules.Constant(0.1)}, "a schedule is for the other solvers"),
    ],
    ids=str,
)
def test_bad_parameters(parameters, message):
    with pytest.raises(InvalidParameterError, match=message):
        MLPClassifier(**parameters).fit(X, Y)


def test_a_bad_rate_of_a_schedule_is_named():
    with pytest.raises(ValueError, match=r"learning_rate\(2\) must be a finite number above 0"):
        MLPClassifier(**OPTIONS, learning_rate=lambda epoch: 0.1 * (2 - epoch)).fit(SCALED, Y)
