"""Networks side by side against networks alone: all activations, losses and optimisers."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.engine.lanes import LaneRunner, lanes_refusal
from fastmlp.losses import LOSSES
from fastmlp.optimizers import LBFGS, OPTIMIZERS, SGD, Adam

TOLERANCE = {"float32": 3e-5, "float64": 1e-10}
N_IN, N_SAMPLES, EPOCHS = 5, 40, 2


def network(hidden, output, n_out, loss=None):
    last = {"n": n_out, "act": output, **({"cost": loss} if loss else {})}
    return fastmlp.Spec([{"n": N_IN, "act": None}, *({"n": n, "act": act} for n, act in hidden), last])


def samples(spec, seed=0):
    """x, y as `train` takes it, and y as rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_SAMPLES, spec.n_in))
    if spec.one_of_many and spec.n_out > 1:
        y = rng.integers(0, spec.n_out, N_SAMPLES)
        return x, y, np.eye(spec.n_out)[y]
    shape = N_SAMPLES, spec.n_targets
    y = rng.integers(0, 3, shape) if spec.loss.lowest_target == 0 else rng.normal(size=shape)
    y = (y > 0).astype(float) if spec.multilabel else y.astype(float)
    return x, y, spec.loss.for_outputs(y)


def side_by_side(spec, dtype, rates, optimizer, batch=1, l1=0.0, l2=0.0, epochs=EPOCHS):
    """Networks of seeds 0, 1, … trained in lanes: parameters, mean losses, shares right."""
    n, dtype = len(rates), np.dtype(dtype)
    x, _, rows = samples(spec)
    runner = LaneRunner(
        spec, dtype, np.ascontiguousarray(x, dtype), np.ascontiguousarray(rows, dtype), batch, optimizer
    )
    assert n <= runner.width
    runner.begin(np.array([fastmlp.MLP(spec, seed=i, dtype=dtype).params for i in range(n)]), [l1] * n, [l2] * n)
    index = np.tile(np.arange(N_SAMPLES), (epochs, 1))
    orders = runner.orders(epochs, N_SAMPLES)
    for i in range(n):
        orders[i] = np.random.default_rng(i).permuted(index, axis=1)
    losses, right = runner.run(orders, np.repeat(np.array(rates)[:, None], epochs, axis=1))
    return runner.params, losses / N_SAMPLES, right / N_SAMPLES


def assert_as_alone(spec, dtype, optimizer, batch=1, rates=(0.01, 0.03), **penalties):
    params, losses, right = side_by_side(spec, dtype, rates, optimizer, batch, **penalties)
    x, y, _ = samples(spec)
    for i, lr in enumerate(rates):
        model, history = fastmlp.train(
            x, y, spec, seed=i, dtype=dtype, lr=lr, epochs=EPOCHS, batch_size=batch, optimizer=optimizer, **penalties
        )
        tolerance = TOLERANCE[dtype]
        np.testing.assert_allclose(params[i], model.params, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(losses[i], history["loss"], rtol=tolerance, atol=tolerance)
        if "accuracy" in history:
            np.testing.assert_allclose(right[i], history["accuracy"], atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*the derivative of step is zero")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_activations(act, dtype):
    assert_as_alone(network([(7, act), (4, "tanh")], "linear", 2), dtype, SGD(), rates=(0.001, 0.003))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("loss", "output", "n_out"),
    [
        *((name, "softmax", 3) for name in ("cross_entropy", "mse")),
        *(
            (name, "sigmoid", n)
            for name in ("cross_entropy", "bce", "mse")
            for n in (1, 3)
            if (name, n) != ("cross_entropy", 1)
        ),
        *((name, "linear", 3) for name in ("mse", "mae", "huber", "hinge", "mbe", "poisson", "quantile(0.5)")),
        ("gaussian_nll", "linear", 4),
    ],
)
def test_losses(loss, output, n_out, dtype):
    assert loss in LOSSES
    assert_as_alone(network([(6, "tanh")], output, n_out, loss), dtype, SGD(), rates=(0.001, 0.003))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if kind.rule] + ["momentum"])
def test_optimisers(name, batch, dtype):
    optimizer = SGD(0.9) if name == "momentum" else OPTIMIZERS[name]()
    spec = network([(6, "tanh"), (17, "sigmoid")], "softmax", 3)
    assert_as_alone(spec, dtype, optimizer, batch, rates=(0.001, 0.003), l1=1e-4, l2=1e-3)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_network_does_not_depend_on_its_neighbours(dtype):
    """The same bits alone, in another lane, and beside one that diverges."""
    spec, width = network([(6, "relu")], "linear", 2), 4  # as many as there are at least: vectors of 128 bits, float64
    alone = side_by_side(spec, dtype, [0.01], Adam(), 8)[0][0]
    rates = [0.01, *np.geomspace(1e-3, 0.1, width - 2), 1e30]
    np.testing.assert_array_equal(side_by_side(spec, dtype, rates, Adam(), 8)[0][0], alone)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_network_that_diverges_keeps_its_last_finite_epoch(dtype):
    spec = network([(6, "relu")], "linear", 2)
    x, y, _ = samples(spec)
    params, losses, _ = side_by_side(spec, dtype, [0.01, 50.0], SGD(), epochs=30)
    with pytest.raises(fastmlp.DivergenceError) as trouble:
        fastmlp.train(x, y, spec, seed=1, dtype=dtype, lr=50.0, epochs=30)
    assert np.isfinite(params).all() and np.isfinite(losses[0]).all()
    finite = trouble.value.history.epochs
    assert np.isfinite(losses[1, :finite]).all() and not np.isfinite(losses[1, finite])
    np.testing.assert_allclose(params[1], trouble.value.model.params, rtol=1e-3 if dtype == "float32" else 1e-9)


def test_going_on_is_the_same_as_going_at_once():
    spec = network([(6, "tanh")], "softmax", 3)
    x, _, rows = samples(spec)
    runs = []
    for parts in ([4], [1, 3]):
        runner = LaneRunner(spec, np.dtype("float64"), x, rows, 8, Adam())
        runner.begin(np.array([fastmlp.MLP(spec, seed=i, dtype="float64").params for i in range(3)]), [0] * 3, [0] * 3)
        all_orders = np.random.default_rng(0).permuted(np.tile(np.arange(N_SAMPLES), (3, 4, 1)), axis=2)
        done = 0
        for count in parts:
            orders = runner.orders(count, N_SAMPLES)
            orders[:3] = all_orders[:, done : done + count]
            runner.run(orders, np.full((3, count), 0.01))
            done += count
        runs.append(runner.params)
    np.testing.assert_array_equal(*runs)


def test_what_cannot_lie_in_lanes_says_why():
    spec = network([(6, "tanh")], "softmax", 3)
    assert lanes_refusal(spec, SGD()) == ""
    assert "all samples at once" in lanes_refusal(spec, LBFGS())


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_evaluation_is_that_of_a_model_and_changes_nothing(dtype):
    spec = network([(6, "tanh")], "softmax", 3)
    x, y, rows = samples(spec)
    runner = LaneRunner(spec, np.dtype(dtype), np.asarray(x, dtype), np.asarray(rows, dtype), 4, Adam())
    models = [fastmlp.MLP(spec, seed=i, dtype=dtype) for i in range(3)]
    runner.begin(np.array([model.params for model in models]), [0] * 3, [0] * 3)
    chosen = np.array([[[3, 5, 5, 8]]])
    losses, right = runner.evaluate(np.asarray(x, dtype), np.asarray(rows, dtype), chosen)
    for model, loss, count in zip(models, losses, right, strict=True):
        values = model.evaluate(x[chosen[0, 0]], y[chosen[0, 0]])
        assert loss / 4 == pytest.approx(values["loss"], rel=TOLERANCE[dtype]) and count / 4 == values["accuracy"]
    np.testing.assert_array_equal(runner.params, [model.params for model in models])


def test_a_lane_is_given_to_another_network():
    """Which has the numbers that it would have had from the beginning, Adam's count of steps too."""
    spec = network([(6, "tanh")], "softmax", 3)
    x, _, rows = samples(spec)
    params = np.array([fastmlp.MLP(spec, seed=i, dtype="float64").params for i in range(4)])
    order = np.arange(N_SAMPLES)[None, None]

    def runner(count):
        made = LaneRunner(spec, np.dtype("float64"), x, rows, 8, Adam())
        made.begin(params[:count], [0.0] * count, [0.01] * count)
        return made

    handed_on, alone = runner(3), runner(4)
    handed_on.run(order, np.full((3, 1), 0.01))
    handed_on.keep(np.array([True, True, False]))
    first = handed_on.params
    handed_on.put(np.array([1]), params[3:], [0.0], [0.01])
    losses, _ = handed_on.run(order, np.full((3, 1), 0.02))
    expected, _ = alone.run(order, np.full((4, 1), 0.02))
    assert losses[1] == expected[3] and losses[0] != expected[0]
    np.testing.assert_array_equal(handed_on.params[1], alone.params[3])
    np.testing.assert_array_equal(handed_on.taken([0, 1], best=True), first[:2])
    np.testing.assert_array_equal(handed_on.taken([2]), handed_on.params[2:])


def test_slices_of_an_epoch_are_the_epoch(monkeypatch):
    """And each is reported, in whole batches: Ctrl-C is heard between them."""
    spec = network([(6, "tanh")], "softmax", 3)
    x, _, rows = samples(spec)
    results, reports = [], []
    for seconds in (1e-9, 1e9):
        monkeypatch.setattr("fastmlp.engine.call._SLICE_SECONDS", seconds)
        runner = LaneRunner(spec, np.dtype("float64"), x, rows, 7, Adam())
        runner.begin(fastmlp.MLP(spec, seed=1, dtype="float64").params[None], [0.0], [0.0])
        report = []
        sums = runner.run(np.arange(N_SAMPLES)[None, None], np.full((1, 1), 0.01), report.append)
        reports.append(report)
        results.append((*sums, runner.params))
    assert reports[0] == [7, 14, 21, 28, 35, 40] and len(reports[1]) < 6
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
