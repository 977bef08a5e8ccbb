"""CSR input: the numbers of its dense twin, in training and everything else, and refusals that name the trouble."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp

sparse = pytest.importorskip("scipy.sparse")

SPEC = [{"n": 30, "act": None, "scale": 0.5}, {"n": 10, "act": "relu"}, {"n": 3, "act": "softmax"}]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 30)) * (rng.random((50, 30)) < 0.15)
    x[3] = 0
    return x, rng.integers(0, 3, 50)


@pytest.mark.parametrize("batch_size", [1, 7, "full"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trains_like_its_dense_twin(data, dtype, batch_size):
    x, y = data
    options = {"lr": 0.1, "epochs": 3, "batch_size": batch_size, "seed": 0, "dtype": dtype, "validation_fraction": 0.2}
    dense, expected = fastmlp.train(x, y, SPEC, **options)
    model, history = fastmlp.train(sparse.csr_array(x), y, SPEC, **options)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(model.params, dense.params, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=tolerance)


@pytest.mark.parametrize("form", ["csr_array", "csr_matrix", "coo_array", "csc_matrix", "lil_array"])
@pytest.mark.parametrize("kind", ["float32", "float64", "int8", "bool"])
def test_every_form_and_dtype(data, form, kind):
    x, y = data
    x = (x * 10).astype(kind)
    given = getattr(sparse, form)(x)
    model = fastmlp.MLP(SPEC, seed=0, dtype="float64")
    np.testing.assert_allclose(model.predict(given), model.predict(x), rtol=1e-12)
    assert model.evaluate(given, y) == pytest.approx(model.evaluate(x, y), rel=1e-12)
    np.testing.assert_allclose(model.gradient(given, y)[1], model.gradient(x, y)[1], rtol=1e-10, atol=1e-14)
    for ours, dense in zip(model.forward(given), model.forward(x), strict=True):
        for p, q in zip(ours, dense, strict=True):
            np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-14)
    for wrt in ("params", "inputs"):
        np.testing.assert_allclose(model.jacobian(given, wrt), model.jacobian(x, wrt), rtol=1e-10, atol=1e-14)


def test_wide_indices_and_duplicates(data):
    x, _ = data
    csr = sparse.csr_array(x)
    model = fastmlp.MLP(SPEC, seed=0, dtype="float64")
    expected = model.predict(x)
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    np.testing.assert_allclose(model.predict(csr), expected, rtol=1e-12)
    twice = sparse.csr_array((np.repeat(csr.data / 2, 2), np.repeat(csr.indices, 2), csr.indptr * 2), csr.shape)
    np.testing.assert_allclose(model.predict(twice), expected, rtol=1e-12)


def test_a_hundred_thousand_columns_cost_what_is_there():
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, 100_000, (300, 20)), axis=1)
    x = sparse.csr_array((np.ones(6000, np.float32), columns.ravel(), np.arange(0, 6001, 20)), (300, 100_000))
    y = (columns.min(axis=1) < 3000).astype(int)
    spec = [{"n": 100_000, "act": None}, {"n": 4, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    model, history = fastmlp.train(x, y, spec, lr=0.5, epochs=20, seed=0)
    assert history["accuracy"][-1] == 1.0
    assert model.predict_class(x).tolist() == y.tolist()


def test_refusals(data):
    x, y = data
    csr = sparse.csr_array(x)
    shifted = [{"n": 30, "act": None, "shift": 1.0}, *SPEC[1:]]
    with pytest.raises(ValueError, match="x is sparse, but this network shifts its inputs"):
        fastmlp.train(csr, y, shifted)
    with pytest.raises(ValueError, match="x has 30 features, the network takes 4"):
        fastmlp.train(csr, y, [{"n": 4, "act": None}, *SPEC[1:]])
    with pytest.raises(TypeError, match=r"x\.data must be numeric, got dtype complex128"):
        fastmlp.train(csr * 1j, y, SPEC)
    broken = csr.copy()
    broken.data[5] = np.nan
    with pytest.raises(ValueError, match=r"x\.data must be finite"):
        fastmlp.train(broken, y, SPEC)
    broken = csr.copy()
    broken.indices[7] = 30
    with pytest.raises(ValueError, match="x is a broken sparse matrix"):
        fastmlp.train(broken, y, SPEC)
    broken = csr.copy()
    broken.indptr[4] = 10_000
    with pytest.raises(ValueError, match="x is a broken sparse matrix"):
        fastmlp.train(broken, y, SPEC)
    with pytest.raises(TypeError, match="y is sparse"):
        fastmlp.train(csr, sparse.csr_array(np.eye(3)[y]), SPEC)
