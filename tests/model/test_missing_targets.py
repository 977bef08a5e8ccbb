"""NaN in y was not measured: such outputs add nothing. And outputs that count by ``output_weight``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fastmlp
from fastmlp import optimizers, reference
from fastmlp.losses import LOSSES, Quantile

N_IN = 4
OUTPUT = {"bce": "sigmoid", "cross_entropy": "sigmoid"}
SINGLE = [
    loss
    for loss in (*LOSSES.values(), Quantile([0.2, 0.5, 0.9]))
    if not loss.rowwise and loss != LOSSES["cross_entropy"]
]


def quartic():
    numba = pytest.importorskip("numba")
    function, derivative = (
        numba.njit(f)
        for f in (lambda p, y: (p - y) ** 2 * (p - y) ** 2, lambda p, y: 4.0 * (p - y) * (p - y) * (p - y))
    )
    return fastmlp.Loss("quartic", function, derivative)


def spec_of(loss, n_targets=3, hidden=6):
    n_out = n_targets * (2 if loss.gaussian else max(1, len(loss.levels)))
    output = {"n": n_out, "act": OUTPUT.get(loss.name, "linear"), "cost": loss}
    return fastmlp.Spec([{"n": N_IN, "act": None}, {"n": hidden, "act": "tanh"}, output])


def data(loss=LOSSES["mse"], n=70, n_targets=3, seed=0):
    """Samples of which a third of the numbers are missing, and all of some."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, N_IN)), rng.normal(size=(n, n_targets))
    if loss.lowest_target == 0:
        y = rng.poisson(1.5, y.shape).astype(float)
    if loss.classification:
        y = (y > 0).astype(float)
    y[rng.random(y.shape) < 0.33] = np.nan
    y[:3] = np.nan
    return x, y


def copied(model):
    return [w.copy() for w in model.weights], [b.copy() for b in model.biases]


def flat(model, weights, biases):
    vector = np.zeros_like(model.params)
    for views, arrays in zip(model.unflatten(vector), (weights, biases), strict=True):
        for view, array in zip(views, arrays, strict=True):
            view[...] = array
    return vector


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("loss", [*SINGLE, LOSSES["gaussian_nll"], "custom"], ids=str)
def test_training_is_the_references(loss, batch_size, weighted):
    loss = quartic() if loss == "custom" else loss
    x, y = data(loss)
    spec = spec_of(loss)
    weight = np.linspace(0, 2, spec.n_targets if loss.gaussian else spec.n_out) if weighted else None
    of_outputs = np.tile(weight, 2) if weighted and loss.gaussian else weight
    model = fastmlp.MLP(spec, seed=1, dtype="float64")
    targets = reference.targets(spec, y)
    lr = 0.02 if loss.builtin else 0.001
    begin = copied(model)
    weights, biases, losses = reference.train(spec, *begin, x, targets, lr, 2, batch_size, output_weight=of_outputs)
    options = {"lr": lr, "epochs": 2, "batch_size": batch_size, "shuffle": False, "output_weight": weight}
    model, history = fastmlp.train(x, y, model, **options)
    np.testing.assert_allclose(model.params, flat(model, weights, biases), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)
    value, dws, dbs = reference.gradient(spec, *copied(model), x, targets, of_outputs)
    ours, gradient = model.gradient(x, y, output_weight=weight)
    assert ours == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(gradient, flat(model, dws, dbs), rtol=1e-9, atol=1e-12)
    assert model.evaluate(x, y, output_weight=weight)["loss"] == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("optimizer", ["adam", optimizers.SGD(momentum=0.9)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 16])
def test_training_is_torchs(optimizer, batch_size):
    """Masked squares by automatic differentiation, by torch's own optimisers."""
    x, y = data(n=40)
    measured, weight = ~np.isnan(y), np.array([0.5, 1.0, 3.0])
    model = fastmlp.MLP(spec_of(LOSSES["mse"]), seed=2, dtype="float64")
    net = fastmlp.interop.to_torch(model).double()
    parameters = net.parameters()
    if optimizer == "adam":
        theirs = torch.optim.Adam(parameters, lr=0.01)
    else:
        theirs = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
    rows = np.flatnonzero(measured.any(axis=1))
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        theirs.zero_grad()
        outputs = net(torch.tensor(x[batch]))
        errors = torch.where(torch.tensor(measured[batch]), outputs - torch.tensor(np.nan_to_num(y[batch])), 0.0)
        (0.5 * errors**2 * torch.tensor(weight)).sum(dim=1).mean().backward()
        theirs.step()
    model, _ = fastmlp.train(
        x, y, model, lr=0.01, epochs=1, batch_size=batch_size, shuffle=False, optimizer=optimizer, output_weight=weight
    )
    with torch.no_grad():
        np.testing.assert_allclose(model.predict(x), net(torch.tensor(x)).numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 8}, {"optimizer": "adam"}, {"sample_weight": np.arange(70.0)}], ids=str
)
def test_samples_without_a_number_are_absent(options):
    """One output: a missing number is a missing sample, to the bit."""
    x, y = data(n_targets=1)
    spec, kept = spec_of(LOSSES["mse"], 1), ~np.isnan(y[:, 0])
    options = {"seed": 0, "epochs": 3, "lr": 0.01, **options}
    model, history = fastmlp.train(x, y[:, 0], spec, **options)
    weights = np.asarray(options.pop("sample_weight", np.ones(70)))[kept]
    absent, its_history = fastmlp.train(x[kept], y[kept], spec, sample_weight=weights, **options)
    np.testing.assert_array_equal(model.params, absent.params)
    assert history == its_history


def test_all_measured_and_weights_of_one_change_no_bit():
    x, _ = data()
    y, spec = np.sin(x[:, :3]), spec_of(LOSSES["mse"])
    for options in ({}, {"batch_size": 8, "optimizer": "adam"}):
        plain, history = fastmlp.train(x, y, spec, seed=0, epochs=2, **options)
        model, its_history = fastmlp.train(x, y, spec, seed=0, epochs=2, output_weight=[1, 1, 1], **options)
        np.testing.assert_array_equal(model.params, plain.params)
        assert history == its_history


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads_and_sparse_samples_see_the_same(n_threads):
    sparse = pytest.importorskip("scipy.sparse")
    x, y = data(n=600)
    x[np.abs(x) < 1] = 0
    spec = spec_of(LOSSES["huber"], hidden=80)
    options = {"seed": 0, "epochs": 2, "lr": 0.01, "dtype": "float64", "n_threads": n_threads}
    for batch_size in (1, 200):
        dense, history = fastmlp.train(x, y, spec, batch_size=batch_size, **options)
        model, _ = fastmlp.train(sparse.csr_array(x), y, spec, batch_size=batch_size, **options)
        np.testing.assert_allclose(model.params, dense.params, rtol=1e-9, atol=1e-12)
        assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("weight", [None, [2.0, 0.0, 0.5]], ids=str)
def test_least_squares_are_those_of_what_was_measured(weight):
    """A linear network: each output's weights are those of its own ordinary least squares, whatever it counts."""
    x, y = data(n=60)
    spec = [{"n": N_IN, "act": None}, {"n": 3, "act": "linear"}]
    columns = np.hstack([x, np.ones((60, 1))])
    for optimizer, options in (("lm", {}), ("lbfgs", {"epochs": 200})):
        begin = fastmlp.MLP(spec, seed=0, dtype="float64")
        before = begin.weights[0].copy()
        model, history = fastmlp.train(x, y, begin, optimizer=optimizer, output_weight=weight, **options)
        for k in range(3):
            rows = ~np.isnan(y[:, k])
            solution = np.linalg.lstsq(columns[rows], y[rows, k], rcond=None)[0]
            wanted = before[k] if weight is not None and weight[k] == 0 else solution[:N_IN]
            np.testing.assert_allclose(model.weights[0][k], wanted, atol=1e-8 if optimizer == "lm" else 1e-3)
        assert history["loss"][-1] == pytest.approx(model.evaluate(x, y, output_weight=weight)["loss"], rel=1e-6)


def test_covariance_counts_what_was_measured():
    x, y = data(n=60, n_targets=1)
    line, kept = [{"n": N_IN, "act": None}, {"n": 2, "act": "linear"}], ~np.isnan(y[:, 0])
    both = np.hstack([y, np.nan * y])
    both[kept, 1] = y[kept, 0]
    model, _ = fastmlp.train(x, both, line, optimizer="lm", dtype="float64", seed=0)
    whole = model.covariance(x[kept], both[kept])
    both[kept, 1] = np.where(np.arange(kept.sum()) % 2, both[kept, 1], np.nan)
    model, _ = fastmlp.train(x, both, line, optimizer="lm", dtype="float64", seed=0)
    ours, columns = model.covariance(x, both), np.hstack([x, np.ones((60, 1))])
    residuals = (both - model.predict(x))[~np.isnan(both)]
    variance = np.sum(residuals**2) / (len(residuals) - 10)
    for k in range(2):
        rows = ~np.isnan(both[:, k])
        wanted = variance * np.linalg.inv(columns[rows].T @ columns[rows])
        places = [*(k + 2 * np.arange(N_IN)), 2 * N_IN + k]
        np.testing.assert_allclose(ours[np.ix_(places, places)], wanted, rtol=1e-6)
    assert np.isfinite(whole).all()


def test_learning_piece_by_piece():
    x, y = data()
    spec = spec_of(LOSSES["mse"])
    whole, _ = fastmlp.train(x, y, spec, seed=0, lr=0.02, epochs=1, shuffle=False, dtype="float64")
    model = fastmlp.MLP(spec, seed=0, dtype="float64")
    for row in np.flatnonzero(~np.isnan(y).all(axis=1)):
        seen = model.partial_fit(x[row : row + 1], y[row : row + 1], lr=0.02)
        assert np.isfinite(seen["loss"])
    np.testing.assert_allclose(model.params, whole.params, rtol=1e-10)
    with pytest.raises(ValueError, match="y is NaN, not measured"):
        model.partial_fit(x[:1], y[:1])
    before = model.params.copy()
    model.partial_fit(x[5:9], np.ones((4, 3)), output_weight=[0, 1, 1], batch_size=4)
    moved = model.unflatten(model.params - before)[0][-1]
    assert not moved[0].any() and moved[1].any()


def test_labels_that_were_not_measured():
    x, y = data(LOSSES["bce"])
    spec = spec_of(LOSSES["bce"])
    model, history = fastmlp.train(x, y, spec, seed=0, epochs=3, lr=0.1, metrics=["f1", "roc_auc", "accuracy"])
    values = model.evaluate(x, y, metrics=["f1_micro", "roc_auc", "average_precision", "accuracy"])
    found, measured = model.predict(x) > 0.5, ~np.isnan(y)
    rows = measured.any(axis=1)
    shares = ((found == (y > 0.5)) & measured)[rows].sum(axis=1) / measured[rows].sum(axis=1)
    assert values["accuracy"] == pytest.approx(shares.mean())
    hits = (found & (y > 0.5))[measured].sum()
    assert values["f1_micro"] == pytest.approx(2 * hits / (found[measured].sum() + (y[measured] > 0.5).sum()))
    from sklearn.metrics import average_precision_score, roc_auc_score

    for name, score in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
        each = [score(y[m, k], model.predict(x)[m, k]) for k, m in enumerate(measured.T)]
        assert values[name] == pytest.approx(np.mean(each), rel=1e-6)
    assert set(history) == {"loss", "accuracy", "f1", "roc_auc"}


def test_metrics_of_numbers_count_what_was_measured():
    x, y = data()
    model = fastmlp.MLP(spec_of(LOSSES["mse"]), seed=0)
    values = model.evaluate(x, y, metrics=["mse", "mae", "mbe", "mape", "rmse", "r2"])
    errors = y - model.predict(x)
    with np.errstate(all="ignore"):
        rows = errors[~np.isnan(errors).all(axis=1)]
        assert values["mse"] == pytest.approx(np.nanmean(rows**2, axis=1).mean(), rel=1e-5)
        assert values["mae"] == pytest.approx(np.nanmean(np.abs(rows), axis=1).mean(), rel=1e-5)
        assert values["rmse"] == pytest.approx(np.sqrt(np.nanmean(errors**2, axis=0)).mean(), rel=1e-5)
    r2 = 1 - np.nansum(errors**2, axis=0) / np.nansum((y - np.nanmean(y, axis=0)) ** 2, axis=0)
    assert values["r2"] == pytest.approx(r2.mean(), rel=1e-5)
    assert np.isnan(fastmlp.metrics.mse(y, np.full_like(y, np.nan)))


def test_validation_standardising_and_checkpoints(tmp_path):
    x, y = data(n=90)
    y = 1e4 + 100 * y
    options = {"seed": 0, "lr": 0.02, "standardize": True, "output_weight": [1, 2, 3], "validation_fraction": 0.3}
    model, history = fastmlp.train(x, y, spec_of(LOSSES["mse"]), epochs=20, **options)
    held_out = np.nanmean(y, axis=0)
    np.testing.assert_allclose(model.spec.layers[-1].shift, held_out, rtol=0.01)
    with_data = {**options, "validation_fraction": 0.0, "validation_data": (x[:50], y[:50])}
    other, its_history = fastmlp.train(x, y, spec_of(LOSSES["mse"]), epochs=2, **with_data)
    value = other.evaluate(x[:50], y[:50], output_weight=[1, 2, 3])["loss"]
    assert its_history["val_loss"][-1] == pytest.approx(value)
    path = tmp_path / "run.ckpt"
    fastmlp.train(x, y, spec_of(LOSSES["mse"]), epochs=10, checkpoint=path, **options)
    again, its_history = fastmlp.train(x, y, spec_of(LOSSES["mse"]), epochs=20, checkpoint=path, **options)
    np.testing.assert_array_equal(again.params, model.params)
    assert its_history == history
    with pytest.raises(ValueError, match="output_weight"):
        fastmlp.train(x, y, spec_of(LOSSES["mse"]), epochs=20, checkpoint=path, **{**options, "output_weight": None})


def test_many_networks_are_trained_as_one():
    x, y = data(n_targets=2)
    spec = spec_of(LOSSES["mse"], 2)
    grid = {"output_weight": [None, [1, 2]]}
    for one in fastmlp.train_many(x, y, spec, seeds=range(2), grid=grid, epochs=2, n_threads=1):
        settings = {name: value for name, value in one.settings.items() if name != "spec"}
        alone, history = fastmlp.train(x, y, spec, epochs=2, **settings)
        np.testing.assert_array_equal(one.model.params, alone.params)
        assert one.history == history
    some = ~np.isnan(y).all(axis=1)
    with pytest.raises(ValueError, match=r"lanes=True.*not all measured"):
        fastmlp.train_many(x[some], y[some], spec, lanes=True, epochs=1)


def test_gradients_agree_with_differences():
    x, y = data()
    assert fastmlp.check_gradients(fastmlp.MLP(spec_of(LOSSES["mse"]), seed=0), x, y)


def test_estimators_refuse_missing_targets_as_theirs_do():
    x, y = data()
    with pytest.raises(ValueError, match="NaN"):
        fastmlp.sklearn.MLPRegressor().fit(x, y)


def test_frames_may_have_gaps():
    pandas = pytest.importorskip("pandas")
    x, y = data()
    frame = pandas.DataFrame({"a": y[:, 0], "b": pandas.array(np.arange(70), "Int64"), "c": y[:, 2]})
    frame.loc[5, "b"] = pandas.NA
    model, history = fastmlp.train(x, frame, spec_of(LOSSES["mse"]), lr=1e-4, epochs=1, seed=0, shuffle=False)
    numbers = frame.to_numpy(float, na_value=np.nan)
    same, its_history = fastmlp.train(x, numbers, spec_of(LOSSES["mse"]), lr=1e-4, epochs=1, seed=0, shuffle=False)
    np.testing.assert_array_equal(model.params, same.params)
    assert history == its_history


@pytest.mark.parametrize("name", ["mse", "bce", "poisson"])
def test_products_of_the_hessian_are_of_what_was_measured(name):
    """Beside differences of gradients."""
    loss = LOSSES[name]
    x, y = data(loss)
    model = fastmlp.MLP(spec_of(loss), seed=3, dtype="float64")
    weight, v = np.array([0.5, 0.0, 2.0]), np.random.default_rng(4).normal(size=model.params.size)
    start, ends = model.params.copy(), []
    for step in (1e-5, -1e-5):
        model.params = start + step * v
        ends.append(model.gradient(x, y, output_weight=weight)[1])
    model.params = start
    product = model.hvp(x, y, v, output_weight=weight)
    np.testing.assert_allclose(product, (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(model.hessian(x, y, output_weight=weight) @ v, product, rtol=1e-10, atol=1e-12)
