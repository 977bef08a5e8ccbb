"""Networks with a kernel for exactly their shape: the numbers of the general kernels, and everything else as it was."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from numba import njit

import fastmlp
from fastmlp import reference
from fastmlp.optimizers import SGD

TOLERANCE = {"float32": 3e-5, "float64": 1e-10}
N_SAMPLES = 37

# Between them: every activation, in rows of whole cache lines and not; every loss, fused and not; 1 to 4 layers; few
# outputs and many; a softmax in the middle; layers without biases.
NETWORKS = [
    ("3 relu16 relu16 softmax2", "cross_entropy", "float32"),
    ("3 relu16 relu16 softmax2", "cross_entropy", "float64"),
    ("5 tanh7 relu32 softmax5", "cross_entropy", "float32"),
    ("20 sigmoid100 leaky_relu16 sigmoid1", "bce", "float32"),
    ("6 swish16 elu5 selu16 linear16", "mse", "float64"),
    ("2 gelu_tanh8! gelu48 mish16 softplus2!", "huber", "float64"),
    ("3 relu16 softmax16 hard_tanh3 linear4", "hinge", "float64"),
    ("3 relu6_16 hard_sigmoid16! hard_swish2", "quantile(0.1, 0.9)", "float64"),
    ("1 sine16 softsign3 sigmoid3", "cross_entropy", "float64"),
    ("7 step4 sine5 softmax3", "mae", "float64"),
    ("3 linear2", "poisson", "float32"),
    ("3 tanh4 sigmoid2", "mbe", "float64"),
]


def network(text, loss="cross_entropy"):
    """The spec of "3 relu6_16 softmax2": a number of inputs, then layers; "!" is one without biases."""
    n_in, *layers = text.split()
    spec = [{"n": int(n_in), "act": None}]
    for layer in layers:
        name = layer.rstrip("!")
        act = name.rstrip("0123456789")
        spec.append({"n": int(name[len(act) :]), "act": act.rstrip("_"), "bias": name == layer})
    if loss.startswith("quantile"):
        spec[-1]["cost"] = fastmlp.losses.Quantile([0.1, 0.9])
    else:
        spec[-1]["cost"] = loss
    return fastmlp.Spec(spec)


def data(spec, n=N_SAMPLES):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, spec.n_in))
    x[rng.random(x.shape) < 0.2] = 0
    if spec.loss.name == "poisson" or not (spec.multilabel or spec.one_of_many):
        return x, rng.integers(0, 4, (n, spec.n_targets)).astype(float)
    if spec.multilabel:
        return x, rng.integers(0, 2, (n, spec.n_out))
    return x, rng.integers(0, spec.n_out, n)


def specialized(text="3 relu16 relu16 softmax2", dtype="float32"):
    """A network, its special copy, and data."""
    model = fastmlp.MLP(network(text), seed=1, dtype=dtype)
    return model, fastmlp.specialize(model), *data(model.spec)


@pytest.mark.filterwarnings("ignore:.*the derivative of step is zero")
@pytest.mark.parametrize(("text", "loss", "dtype"), NETWORKS)
def test_its_numbers_are_the_general_kernels_but_for_rounding(text, loss, dtype):
    model = fastmlp.MLP(network(text, loss), seed=1, dtype=dtype)
    x, y = data(model.spec)
    weight = np.where(np.arange(N_SAMPLES) % 5, 1.5, 0.0)
    for weights in (None, weight):
        special = fastmlp.specialize(model)
        general, options = model.copy(), dict(lr=0.003, epochs=2, seed=2, sample_weight=weights, metrics="mae")
        histories = [fastmlp.train(x, y, network, **options).history for network in (general, special)]
        np.testing.assert_allclose(special.params, general.params, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        assert not np.array_equal(special.params, model.params)
        for name, values in histories[0].items():
            np.testing.assert_allclose(histories[1][name], values, rtol=10 * TOLERANCE[dtype], err_msg=name)


@pytest.mark.filterwarnings("ignore:.*the derivative of step is zero")
@pytest.mark.parametrize(("text", "loss", "dtype"), NETWORKS)
def test_its_gradients_are_the_references(text, loss, dtype):
    """Of one sample, of less than a block and of several blocks; where x is copied, and where it must be read."""
    model = fastmlp.MLP(network(text, loss), seed=1, dtype=dtype)
    special = fastmlp.specialize(model)
    for n in (1, 37, 131):
        x, y = data(model.spec, n)
        for rows in (x.astype(dtype), x[::-1].astype(dtype)[::-1], (10 * x).astype(np.int8)):
            values = rows.astype("float64")
            targets = reference.targets(model.spec, y)
            expected, dw, db = reference.gradient(model.spec, model.weights, model.biases, values, targets)
            value, gradient = special.gradient(rows, y)
            assert value == pytest.approx(expected, rel=TOLERANCE[dtype], abs=TOLERANCE[dtype])
            weights, biases = special.unflatten(gradient)
            db = [b * layer.bias for b, layer in zip(db, model.spec.layers, strict=True)]
            for ours, theirs in zip([*weights, *biases], [*dw, *db], strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_gradients_after_samples_that_are_not_finite():
    _, special, x, y = specialized("5 tanh7 relu32 softmax5")
    expected = special.gradient(x, y)
    for bad in (np.nan, np.inf):
        broken = x.copy()
        broken[20, 1] = bad
        with pytest.raises(ValueError, match="x"):
            special.gradient(broken, y)
        value, gradient = special.gradient(x, y)
        assert value == expected[0] and np.array_equal(gradient, expected[1])


def test_gradients_with_frozen_layers_have_the_general_kernels_bits():
    hidden = [{"n": 16, "act": "relu", "trainable": trainable} for trainable in (False, True)]
    spec = [{"n": 3, "act": None}, *hidden, {"n": 2, "act": "softmax"}]
    model = fastmlp.MLP(spec, seed=1)
    x, y = data(model.spec)
    for ours, theirs in zip(fastmlp.specialize(model).gradient(x, y), model.gradient(x, y), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_is_sample_by_sample_sgd():
    model, special, x, y = specialized(dtype="float64")
    start = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
    fastmlp.train(x, y, special, lr=0.05, epochs=2, shuffle=False)
    weights, biases, _ = reference.train(model.spec, *start, x, reference.targets(model.spec, y), 0.05, 2, 1)
    for ours, theirs in zip([*special.weights, *special.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 8}, {"optimizer": SGD(momentum=0.9)}, {"optimizer": "adam"}, {"l2": 0.1}, {"dropout": 0.3}],
    ids=str,
)
def test_other_options_have_the_general_kernels_bits(options):
    model, special, x, y = specialized()
    for trained in (model, special):
        fastmlp.train(x, y, trained, lr=0.02, epochs=2, seed=2, **options)
    assert special == model


def test_sparse_samples_have_the_general_kernels_bits_even_between_dense_ones():
    model, special, x, y = specialized()
    rows = scipy.sparse.csr_array(x)
    special.partial_fit(x, y, lr=0.02)
    model.params = special.params
    for trained in (model, special):
        trained.partial_fit(rows, y, lr=0.02)
    assert special == model
    special.partial_fit(x, y, lr=0.02)
    model.partial_fit(x, y, lr=0.02)
    np.testing.assert_allclose(special.params, model.params, rtol=3e-5, atol=3e-5)


def test_all_kinds_of_samples():
    """What the input's and the outputs' affine maps, and dtypes, make of samples, they make of these."""
    spec = [
        {"n": 3, "act": None, "shift": [1, 2, 3], "scale": 0.1},
        {"n": 4, "act": "tanh"},
        {"n": 2, "act": "linear", "shift": 5.0, "scale": [2.0, 3.0]},
    ]
    model = fastmlp.MLP(spec, seed=1, dtype="float64")
    special, rng = fastmlp.specialize(model), np.random.default_rng(0)
    x, y = rng.integers(0, 255, (90, 6)).astype(np.uint8)[::2, ::2], rng.normal(5, 3, (45, 2)).astype(">f4")
    for trained in (model, special):
        fastmlp.train(x, y, trained, lr=0.02, epochs=3, seed=2)
    np.testing.assert_allclose(special.params, model.params, rtol=1e-10, atol=1e-10)


def test_its_bits_are_the_same_whatever_else_is_wanted(tmp_path):
    """Threads, callbacks, validation, and a checkpoint that training goes on from."""
    model, special, x, y = specialized()
    del model
    options = dict(lr=0.02, seed=2)
    models = [
        fastmlp.train(x, y, special.copy(), epochs=12, **options, **more).model
        for more in ({}, {"n_threads": 2}, {"callbacks": lambda state: None}, {"validation_data": (x, y)})
    ]
    for epochs in (5, 12):
        last = fastmlp.train(x, y, special.copy(), epochs=epochs, checkpoint=tmp_path / "run", **options).model
    assert models[0] == models[1] == models[2] == models[3] == last


def test_divergence_leaves_the_parameters_of_before():
    model, special, x, y = specialized()
    with pytest.raises(fastmlp.DivergenceError):
        fastmlp.train(x * 1e30, y, special, lr=1e30, epochs=3, seed=2)
    assert special == model
    fresh = fastmlp.specialize(model)
    for trained in (special, fresh):  # nor is there NaN in memory that is taken for zeros
        fastmlp.train(x, y, trained, lr=0.02, epochs=2, seed=2)
    assert special == fresh


def test_it_is_a_network_of_its_own(tmp_path):
    model, special, x, y = specialized()
    model.metadata["of"] = special.metadata["of"] = ["me"]
    before = model.params.copy()
    fastmlp.train(x, y, special, lr=0.02, epochs=1)
    np.testing.assert_array_equal(model.params, before)
    assert special.specialized and not model.specialized
    assert repr(special) == repr(model).replace(">", ", specialized>")
    assert special.copy().specialized and pickle.loads(pickle.dumps(special)).specialized
    assert not pickle.loads(pickle.dumps(model)).specialized
    pytest.importorskip("safetensors")
    special.save(tmp_path / "net")
    loaded = fastmlp.load(tmp_path / "net")
    assert loaded == special and not loaded.specialized
    for trained in (again := fastmlp.specialize(loaded), special):
        fastmlp.train(x, y, trained, lr=0.02, epochs=1, seed=2)
    assert again == special


SCRIPT = """
import fastmlp
from fastmlp.kernels import store
spec = [{"n": 1, "act": None}, {"n": 1, "act": "linear"}]
fastmlp.specialize(fastmlp.MLP(spec, seed=0))
print([origin for symbol, origin in store.origins().items() if "of_shape" in symbol])
"""


def test_the_kernels_are_compiled_once_for_all_processes(tmp_path):
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(tmp_path)}
    for origin in ("compiled", "cache"):
        run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
        assert run.stdout == f"{[origin] * 2}\n", run.stderr  # of training, and of gradients


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("65 tanh4 softmax2", "65 inputs; specialize takes up to 64"),
        ("3 tanh129 softmax2", "129 units in a layer; specialize takes up to 128"),
        ("3 " + "tanh4 " * 8 + "softmax2", "9 layers; specialize takes up to 8"),
        ("3 tanh128 tanh128 softmax2", "69,128 bytes of parameters; specialize takes up to 32,768"),
    ],
)
def test_larger_networks_are_refused(text, says):
    with pytest.raises(ValueError, match=says):
        fastmlp.specialize(fastmlp.MLP(network(text)))


def test_functions_of_yours_are_refused():
    twice = fastmlp.Activation("twice", njit(lambda z: 2 * z), njit(lambda z: 2.0))
    fourth = fastmlp.Loss("fourth", njit(lambda a, y: (a - y) ** 4), njit(lambda a, y: 4 * (a - y) ** 3))
    for act, loss, says in ((twice, "mse", "activation 'twice'"), ("tanh", fourth, "loss 'fourth'")):
        spec = [{"n": 3, "act": None}, {"n": 4, "act": act}, {"n": 1, "act": "linear", "cost": loss}]
        with pytest.raises(ValueError, match=f"{says}, a function of yours"):
            fastmlp.specialize(fastmlp.MLP(spec))


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match=r"model must be a fastmlp\.MLP, got list"):
        fastmlp.specialize([{"n": 3, "act": None}])
