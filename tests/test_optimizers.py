"""Every optimiser, penalty and limit, against the textbook in NumPy, and against PyTorch where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import reference
from fastmlp.engine import blocks
from fastmlp.optimizers import SGD, Adagrad, Adam, AdamHat, AdamW, AMSGrad, Lion, NAdam, RMSprop, get_optimizer

LR, L1, L2 = 0.02, 0.003, 0.01
OPTIMIZERS = [
    SGD(), SGD(momentum=0.9), SGD(momentum=0.9, nesterov=True), Adam(), Adam(betas=(0.7, 0.9), eps=1e-3), AdamW(),
    AdamW(weight_decay=0.3), AdamHat(eps=1e-3), RMSprop(), RMSprop(alpha=0.5), Adagrad(), Adagrad(lr_decay=0.1),
    AMSGrad(betas=(0.6, 0.8)), NAdam(), NAdam(betas=(0.7, 0.9), momentum_decay=0.2), Lion(), Lion(weight_decay=0.3),
]  # fmt: skip
NETWORKS = {
    "in place": [{"n": 7, "act": None}, {"n": 16, "act": "tanh"}, {"n": 3, "act": "softmax"}],
    "on a copy": [
        {"n": 7, "act": None},
        {"n": 9, "act": "tanh"},
        {"n": 5, "act": "softmax"},
        {"n": 2, "act": "linear"},
    ],
    "one layer": [{"n": 7, "act": None}, {"n": 3, "act": "softmax"}],
}


def rule(optimizer, w, g, state, t, lr=LR):
    """One step of an optimiser on an array, in the words of torch.optim's documentation."""
    if isinstance(optimizer, SGD):
        v = state["v"] = optimizer.momentum * state.get("v", 0) + g
        w -= lr * (g + optimizer.momentum * v if optimizer.nesterov else v)
    elif isinstance(optimizer, NAdam):
        b1, b2 = optimizer.betas
        mu, mu_next = (b1 * (1 - 0.5 * 0.96 ** (i * optimizer.momentum_decay)) for i in (t, t + 1))
        product = state["product"] = state.get("product", 1) * mu
        m = state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
        v = state["v"] = b2 * state.get("v", 0) + (1 - b2) * g**2
        root = np.sqrt(v / (1 - b2**t)) + optimizer.eps
        w -= lr * (1 - mu) / (1 - product) * g / root + lr * mu_next / (1 - product * mu_next) * m / root
    elif isinstance(optimizer, Lion):
        b1, b2 = optimizer.betas
        m = state.get("m", np.zeros_like(g))
        w -= lr * (np.sign(b1 * m + (1 - b1) * g) + optimizer.weight_decay * w)
        state["m"] = b2 * m + (1 - b2) * g
    elif isinstance(optimizer, Adam):
        if isinstance(optimizer, AdamW):
            w -= lr * optimizer.weight_decay * w
        b1, b2 = optimizer.betas
        m = state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
        v = state["v"] = b2 * state.get("v", 0) + (1 - b2) * g**2
        if isinstance(optimizer, AMSGrad):
            v = state["largest"] = np.maximum(state.get("largest", 0), v)
        eps = optimizer.eps / np.sqrt(1 - b2**t) if isinstance(optimizer, AdamHat) else optimizer.eps
        w -= lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    elif isinstance(optimizer, RMSprop):
        v = state["v"] = optimizer.alpha * state.get("v", 0) + (1 - optimizer.alpha) * g**2
        w -= lr * g / (np.sqrt(v) + optimizer.eps)
    else:
        total = state["sum"] = state.get("sum", 0) + g**2
        w -= lr / (1 + (t - 1) * optimizer.lr_decay) * g / (np.sqrt(total) + optimizer.eps)


def lazy_rule(optimizer, w, g, state, t, inputs):
    """`rule` for the columns of w that are those of some inputs; all else, of w and of its state, stays."""
    part = {name: whole[:, inputs] for name, whole in state.items()}
    columns = w[:, inputs]
    rule(optimizer, columns, g[:, inputs], part, t)
    w[:, inputs] = columns
    for name, value in part.items():
        whole = state.setdefault(name, np.full(w.shape, float(name == "product")))
        whole[:, inputs] = value


def train(model, x, y, optimizer, batch_size, epochs=1, l1=0.0, l2=0.0, clip_norm=np.inf, max_norm=np.inf):
    """Weights and biases after training from the model's, samples in their order."""
    weights, biases = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
    states = [{} for _ in range(2 * len(weights))]
    t = 0
    for _ in range(epochs):
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            _, dws, dbs = reference.gradient(model.spec, weights, biases, x[part], y[part])
            norm = np.sqrt(sum(np.sum(g**2) for g in dws + dbs))
            factor = min(1, clip_norm / norm)
            t += 1
            for i, (w, dw, state) in enumerate(zip(weights, dws, states, strict=False)):
                slope = factor * dw + l2 * w + l1 * np.sign(w)
                if optimizer.lazy and i == 0:
                    lazy_rule(optimizer, w, slope, state, t, np.flatnonzero(np.any(x[part] != 0, axis=0)))
                else:
                    rule(optimizer, w, slope, state, t)
                w *= np.minimum(1, max_norm / np.linalg.norm(w, axis=1, keepdims=True))
            for b, db, state in zip(biases, dbs, states[len(weights) :], strict=True):
                rule(optimizer, b, factor * db, state, t)
    return [*weights, *biases]


def data(spec, n=150, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 7)) * (rng.random((n, 7)) < 0.8)
    if spec[-1]["act"] == "softmax":
        return x, rng.integers(0, spec[-1]["n"], n)
    return x, rng.normal(size=(n, spec[-1]["n"]))


def compare(network, optimizer, batch_size, n=150, dtype="float64", tolerance=1e-10, **options):
    x, y = data(NETWORKS[network], n)
    model = fastmlp.MLP(NETWORKS[network], seed=1, dtype=dtype)
    wanted = train(model, x, reference.targets(model.spec, y), optimizer, batch_size, 2, **options)
    fastmlp.train(
        x, y, model, lr=LR, epochs=2, batch_size=batch_size, optimizer=optimizer, shuffle=False, n_threads=2, **options
    )
    for ours, theirs in zip([*model.weights, *model.biases], wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("batch_size", [1, 10, 70])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_optimiser_makes_the_textbooks_steps(optimizer, network, batch_size):
    compare(network, optimizer, batch_size)


@pytest.mark.parametrize("batch_size", [1, 10, 70])
@pytest.mark.parametrize("options", [{"l1": L1}, {"l2": L2}, {"clip_norm": 0.3}, {"max_norm": 1.1}], ids=str)
@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), Adam()], ids=str)
def test_penalties_and_limits(optimizer, options, batch_size):
    for network in NETWORKS:
        compare(network, optimizer, batch_size, **options)


@pytest.mark.parametrize("block", [1, 2, 7, 16, 64])
@pytest.mark.parametrize("options", [{}, {"l2": L2}, {"clip_norm": 0.3}, {"l2": L2, "clip_norm": 0.3}], ids=str)
@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), SGD(momentum=0.8, nesterov=True)], ids=str)
def test_every_block_size_is_sample_by_sample(optimizer, options, block, monkeypatch):
    monkeypatch.setattr(blocks, "sample_block", lambda width, itemsize: block)
    for network in NETWORKS:
        compare(network, optimizer, 1, n=40, **options)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (SGD(momentum=0.9999), {}),
        (SGD(momentum=0.05), {"clip_norm": 0.3}),
        (SGD(momentum=0.9, nesterov=True), {"l2": 2.0}),
        (SGD(momentum=0.99), {"l2": L2, "clip_norm": 0.3}),
        (SGD(), {"l2": 60.0}),
    ],
    ids=str,
)
def test_any_momentum_and_decay_sample_by_sample(optimizer, options):
    """With those whose modes are too near or too fast to be taken in blocks; few samples, since such steps diverge."""
    for network in NETWORKS:
        compare(network, optimizer, 1, n=40, **options)


def test_float32_follows_float64():
    for optimizer in OPTIMIZERS[:3]:
        compare("in place", optimizer, 1, dtype="float32", tolerance=2e-5)


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if not isinstance(o, AdamHat | Lion)], ids=str)
def test_pytorch_agrees(optimizer, batch_size):
    torch = pytest.importorskip("torch")
    x, y = data(NETWORKS["on a copy"], 400)
    model = fastmlp.MLP(NETWORKS["on a copy"], seed=1, dtype="float64")
    kind = {AMSGrad: "Adam"}.get(type(optimizer), type(optimizer).__name__)
    weights, biases = ([torch.tensor(p, requires_grad=True) for p in ps] for ps in (model.weights, model.biases))
    settings = {name: getattr(optimizer, name) for name in optimizer.__dataclass_fields__ if name != "lazy"}
    settings |= {"amsgrad": True} if isinstance(optimizer, AMSGrad) else {}
    theirs = getattr(torch.optim, kind)([*weights, *biases], lr=LR, **settings)
    inputs, targets = torch.tensor(x), torch.tensor(y)
    for start in range(0, 400, batch_size):
        a = inputs[start : start + batch_size]
        for w, b, f in zip(weights, biases, (torch.tanh, lambda z: z.softmax(1), lambda z: z), strict=True):
            a = f(a @ w.T + b)
        loss = 0.5 * ((a - targets[start : start + batch_size]) ** 2).sum(1).mean()
        theirs.zero_grad()
        loss.backward()
        theirs.step()
    fastmlp.train(x, y, model, lr=LR, epochs=1, batch_size=batch_size, optimizer=optimizer, shuffle=False)
    for ours, tensor in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(ours, tensor.detach().numpy(), rtol=1e-7, atol=1e-9)


LAZY = [
    SGD(momentum=0.9, lazy=True), SGD(momentum=0.9, nesterov=True, lazy=True), SGD(lazy=True), Adam(lazy=True),
    AdamHat(eps=1e-3, lazy=True), AdamW(lazy=True), AMSGrad(lazy=True), NAdam(lazy=True),
    Lion(weight_decay=0.3, lazy=True), RMSprop(lazy=True),
]  # fmt: skip


def compare_sparse(network, optimizer, batch_size, density=0.03, n_in=200, **options):
    """Training on CSR rows against the textbook on the dense ones; explicit zeros and columns that stand twice count as
    the numbers that they make."""
    spec = [{"n": n_in, "act": None, "scale": np.linspace(0.5, 2, n_in)}, *NETWORKS[network][1:]]
    rng = np.random.default_rng(5)
    n = 90
    x = rng.normal(size=(n, n_in)) * (rng.random((n, n_in)) < density)
    y = rng.integers(0, 3, n) if spec[-1]["act"] == "softmax" else rng.normal(size=(n, spec[-1]["n"]))
    coordinates = scipy.sparse.coo_array(x)
    rows, columns, values = *coordinates.coords, coordinates.data
    rows, columns = np.append(rows, [3, 3, 3, 8]), np.append(columns, [5, 5, 7, 9])  # a sum of two that is zero, zeros
    values = np.append(values, [0.7, -0.7, 0.0, 0.0])
    places = np.argsort(rows, kind="stable")
    indptr = np.searchsorted(rows[places], np.arange(n + 1))
    sparse = scipy.sparse.csr_array((values[places], columns[places], indptr), shape=x.shape)
    np.testing.assert_array_equal(sparse.toarray(), x)
    model = fastmlp.MLP(spec, seed=1, dtype="float64")
    wanted = train(model, x, reference.targets(model.spec, y), optimizer, batch_size, 2, **options)
    trained = []
    for n_threads in (1, 2, 3):
        trained.append(model.copy())
        fastmlp.train(
            sparse, y, trained[-1], lr=LR, epochs=2, batch_size=batch_size, optimizer=optimizer, shuffle=False,
            n_threads=n_threads, **options,
        )  # fmt: skip
        np.testing.assert_array_equal(trained[-1].params, trained[0].params)
    for ours, theirs in zip([*trained[0].weights, *trained[0].biases], wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 10, 70])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *LAZY], ids=str)
def test_steps_on_sparse_rows(optimizer, batch_size):
    for network in NETWORKS:
        compare_sparse(network, optimizer, batch_size)


@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize("options", [{"l1": L1}, {"l2": L2}, {"clip_norm": 0.3}, {"max_norm": 1.1}], ids=str)
@pytest.mark.parametrize("optimizer", [SGD(), Adagrad(), LAZY[0], LAZY[2], Adam(lazy=True)], ids=str)
def test_penalties_and_limits_on_sparse_rows(optimizer, options, batch_size):
    for network in NETWORKS:
        compare_sparse(network, optimizer, batch_size, **options)


def test_lazy_steps_of_rows_that_are_hardly_sparse():
    """How many values there are changes how x is read, but not what a lazy step is."""
    for batch_size in (1, 10):
        compare_sparse("on a copy", Adam(lazy=True), batch_size, density=0.3)


def test_lazy_steps_are_refused_where_x_is_dense():
    x, y = np.eye(4), np.arange(4) % 2
    spec = [{"n": 4, "act": None}, {"n": 2, "act": "softmax"}]
    model = fastmlp.MLP(spec, seed=0)
    for learn in (fastmlp.train, lambda x, y, spec, optimizer: model.partial_fit(x, y, optimizer=optimizer)):
        with pytest.raises(ValueError, match=r"Adam\(.*lazy=True\), whose lazy steps are for sparse x.* lazy=False"):
            learn(x, y, spec, optimizer=Adam(lazy=True))
    model.partial_fit(scipy.sparse.csr_array(x), y, optimizer=Adam(lazy=True))
    before = model.params.copy()
    with pytest.raises(ValueError, match="lazy steps are for sparse x"):
        model.partial_fit(x, y)
    np.testing.assert_array_equal(model.params, before)
    with pytest.raises(TypeError, match="lazy must be True or False"):
        Adam(lazy=1)


def test_names_and_errors():
    assert get_optimizer("Adam") == Adam()
    with pytest.raises(ValueError, match=r"unknown optimizer 'adamm'.*'adam'"):
        get_optimizer("adamm")
    with pytest.raises(TypeError, match="optimizer must be a name"):
        get_optimizer(3)
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        SGD(nesterov=True)
    with pytest.raises(ValueError, match="momentum"):
        SGD(momentum=1.5)
    with pytest.raises(ValueError, match=r"betas\[1\] must be .* below 1"):
        Adam(betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="clip_norm"):
        fastmlp.train([[0.0]], [0.0], [{"n": 1, "act": None}, {"n": 1, "act": None}], clip_norm=0)
