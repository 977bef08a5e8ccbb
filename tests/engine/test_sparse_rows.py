"""Rows of CSR with few values, each of which is taken with its own columns."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import reference
from fastmlp.base.sparse import SparseRows
from fastmlp.engine.blocks import taken_by_row
from fastmlp.engine.epochs import EpochRunner, Samples
from fastmlp.engine.steps import OptimizerState
from fastmlp.optimizers import SGD

NETWORKS = {
    "in place": [{"n": 500, "act": None}, {"n": 32, "act": "tanh"}, {"n": 3, "act": "softmax"}],
    "on a copy": [{"n": 500, "act": None, "scale": 0.7}, {"n": 21, "act": "relu"}, {"n": 3, "act": "softmax"}],
    "one layer": [{"n": 500, "act": None}, {"n": 3, "act": "softmax", "bias": False}],
}


def sparse_samples(n=300, density=0.02, n_in=500):
    rng = np.random.default_rng(n)
    return scipy.sparse.random_array((n, n_in), density=density, format="csr", rng=rng), rng.integers(0, 3, n)


def test_which_rows_are_taken_one_by_one():
    """Those of less than a 16th of the columns on average: what the matrix has decides, not who asks."""
    values, ends = np.ones(40), np.array([0, 10, 20, 30, 40])
    for n_columns, by_row in ((160, False), (161, True), (500, True)):
        rows = SparseRows(values, np.tile(np.arange(10), 4), ends, (4, n_columns))
        assert taken_by_row(rows) == by_row
    assert not taken_by_row(np.zeros((4, 500)))


@pytest.mark.parametrize("network", NETWORKS)
def test_what_does_not_train_equals_the_reference(network):
    """`predict` reads the weights where they are, although their rows are not whole lines; so nothing may be left of
    what stands behind a row."""
    x, y = sparse_samples()
    model = fastmlp.MLP(NETWORKS[network], seed=0, dtype="float64")
    model.params[...] = np.random.default_rng(1).normal(size=model.params.size)
    arguments = model.spec, model.weights, model.biases, x.toarray()
    zs, activations = reference.forward(*arguments)
    outputs = model.predict(x)
    np.testing.assert_allclose(outputs, activations[-1], rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(model.forward(x)[0], zs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    value, slopes = model.gradient(x, y)
    expected, dws, dbs = reference.gradient(*arguments, reference.targets(model.spec, y))
    assert value == pytest.approx(expected, rel=1e-12)
    assert model.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-12)
    weights, biases = model.unflatten(slopes)
    for ours, theirs in zip([*weights, *biases], [*dws, *dbs], strict=True):
        np.testing.assert_allclose(ours, theirs if ours.any() else 0, rtol=1e-10, atol=1e-12)
    for n in (1, 2, 65):  # a block of one row, and one whose last block is of one
        part = np.arange(n) + 7
        np.testing.assert_allclose(model.predict(x[part]), outputs[part], rtol=1e-10, atol=1e-12)
        jacobian = model.jacobian(x[part[:3]])
        np.testing.assert_allclose(jacobian, model.jacobian(x[part[:3]].toarray()), rtol=1e-10, atol=1e-12)
    many = scipy.sparse.vstack([x] * 8).tocsr()
    np.testing.assert_array_equal(model.predict(many, n_threads=2), model.predict(many))
    many_params = np.stack([model.params, 2 * model.params])
    np.testing.assert_array_equal(fastmlp.predict_many(model.spec, many_params, x)[0], outputs)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), "adam"], ids=str)
@pytest.mark.parametrize("batch", [1, 16])
def test_a_runner_reads_each_x_as_that_is(optimizer, batch):
    """Samples come piece by piece, and the next ones may have more values than the last."""
    few, many = (sparse_samples(density=density)[0] for density in (0.02, 0.4))
    y = sparse_samples()[1]
    models = [fastmlp.MLP(NETWORKS["on a copy"], seed=0, dtype="float64") for _ in range(3)]
    for part in (few, many, few):
        models[0].partial_fit(part, y, batch_size=batch, optimizer=optimizer)
        models[1].partial_fit(part.toarray(), y, batch_size=batch, optimizer=optimizer)
    np.testing.assert_allclose(models[0].params, models[1].params, rtol=1e-9, atol=1e-11)


def test_per_sample_steps_are_taken_one_at_a_time():
    for density, block in ((0.02, 1), (0.4, 12)):
        x, y = sparse_samples(density=density)
        network = fastmlp.MLP(NETWORKS["in place"], seed=0)
        samples = Samples(SparseRows.of(x, "x"), y)
        runner = EpochRunner(network, samples, 1, {}, OptimizerState.begin(SGD(), network.params), [], 1)
        assert runner._call(np.arange(300), 0.1)[1].block == block


def test_values_that_are_not_finite_are_seen():
    x, y = sparse_samples()
    model = fastmlp.MLP(NETWORKS["on a copy"], seed=0)
    x.data[7] = np.nan
    for call in (model.predict, lambda x: model.evaluate(x, y), lambda x: fastmlp.train(x, y, model)):
        with pytest.raises(ValueError, match=r"x\.data"):
            call(x)
