"""train(): seeds, schedules, validation, history, interruption, divergence, and the promises about data."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import time

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp.optimizers import OPTIMIZERS

SPEC = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 2, "act": "softmax"}]


def blobs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + 2 * y[:, None], y


def same(model, other):
    np.testing.assert_array_equal(model.params, other.params)


def test_same_seed_same_bits():
    x, y = blobs()
    first, second, third = (fastmlp.train(x, y, SPEC, seed=seed, epochs=3)[0] for seed in (1, 1, 2))
    same(first, second)
    assert (first.params != third.params).any()


def test_order_is_that_of_default_rng():
    x, y = blobs()
    shuffled, _ = fastmlp.train(x, y, SPEC, seed=5, epochs=2)
    model = fastmlp.MLP(SPEC, seed=5)
    rng = np.random.default_rng(5)
    for _ in range(2):
        order = rng.permutation(len(x))
        fastmlp.train(x[order], y[order], model, epochs=1, shuffle=False)
    same(shuffled, model)


def test_learning_rate_function_counts_from_zero():
    x, y = blobs()
    seen = []
    model, _ = fastmlp.train(x, y, SPEC, seed=0, shuffle=False, epochs=3, lr=lambda e: seen.append(e) or 0.1 * 0.5**e)
    assert seen == [0, 1, 2]
    other = fastmlp.MLP(SPEC, seed=0)
    for epoch in range(3):
        fastmlp.train(x, y, other, epochs=1, lr=0.1 * 0.5**epoch, shuffle=False)
    same(model, other)


def test_continues_an_existing_model_in_place():
    x, y = blobs()
    model = fastmlp.MLP(SPEC, seed=0)
    before = model.params.copy()
    again, _ = fastmlp.train(x, y, model, seed=0)
    assert again is model
    assert (model.params != before).any()


def test_full_batch_is_the_gradient():
    x, y = blobs(500)
    model = fastmlp.MLP(SPEC, seed=0, dtype="float64")
    _, grad = model.gradient(x, y)
    expected = model.params - 0.5 * grad
    fastmlp.train(x, y, model, lr=0.5, epochs=1, batch_size="full")
    np.testing.assert_allclose(model.params, expected, rtol=1e-12, atol=1e-14)


def test_history_and_validation():
    x, y = blobs(200)
    model, history = fastmlp.train(
        x, y, SPEC, epochs=4, seed=0, lr=0.1, validation_data=blobs(50, seed=9), metrics=["mse", "top_1", "r2"]
    )
    names = ["loss", "accuracy", "mse", "top_1", "r2"]
    assert list(history) == names + [f"val_{name}" for name in names]
    assert all(len(values) == 4 for values in history.values())
    assert history["loss"][-1] < history["loss"][0]
    assert history["top_1"] == pytest.approx(history["accuracy"])
    report = model.evaluate(*blobs(50, seed=9), metrics=["mse"])
    assert history["val_loss"][-1] == report["loss"]
    assert history["val_mse"][-1] == report["mse"]


def test_history_loss_is_that_of_each_sample_as_it_was_seen():
    x, y = blobs(20)
    model = fastmlp.MLP(SPEC, seed=0, dtype="float64")
    _, history = fastmlp.train(x, y, model.copy(), epochs=1, shuffle=False, lr=0.1)
    seen = []
    for i in range(len(x)):
        report = model.evaluate(x[i : i + 1], y[i : i + 1])
        seen.append((report["loss"], report["accuracy"]))
        fastmlp.train(x[i : i + 1], y[i : i + 1], model, epochs=1, lr=0.1)
    assert history["loss"][0] == pytest.approx(np.mean(seen, axis=0)[0], rel=1e-12)
    assert history["accuracy"][0] == pytest.approx(np.mean(seen, axis=0)[1])


@pytest.mark.parametrize("shuffle", [True, False])
def test_validation_fraction_holds_samples_out(shuffle):
    """Held-out samples are never trained on: a class that only they have stays unknown."""
    x, y = blobs(100)
    _, history = fastmlp.train(x, y, SPEC, validation_fraction=0.25, shuffle=shuffle, seed=0, epochs=2)
    assert len(history["val_loss"]) == 2
    if not shuffle:
        model, _ = fastmlp.train(x[:75], y[:75], SPEC, shuffle=False, seed=0, epochs=2)
        assert history["val_loss"][-1] == pytest.approx(model.evaluate(x[75:], y[75:])["loss"], rel=1e-6)


def test_metric_functions_see_outputs_as_each_sample_was_seen():
    x, y = blobs(40)

    def mean_output(y, y_hat):
        assert y.shape == y_hat.shape == (40, 2)
        return y_hat[:, 1].mean()

    _, history = fastmlp.train(x, y, SPEC, metrics=mean_output, epochs=1, seed=0)
    assert 0 < history["mean_output"][0] < 1


@pytest.mark.parametrize(
    "optimizer", [*sorted(OPTIMIZERS.keys() - {"lbfgs"}), fastmlp.optimizers.SGD(momentum=0.9)], ids=str
)
@pytest.mark.parametrize("batch", [1, 8, "full"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lr", [0.02, fastmlp.schedules.Cosine(0.02, epochs=100)], ids=["constant", "cosine"])
def test_short_epochs_run_together_with_the_same_bits(optimizer, batch, weighted, lr):
    """A callback makes each epoch a call of its own."""
    x, y = blobs()
    weight = np.where(np.arange(len(x)) % 5, 1.5, 0.0) if weighted else None
    options = dict(lr=lr, epochs=100, seed=3, optimizer=optimizer, batch_size=batch, sample_weight=weight)
    together = fastmlp.train(x, y, SPEC, **options)
    assert together == fastmlp.train(x, y, SPEC, callbacks=lambda state: None, **options)


@pytest.mark.parametrize("n_good", [0, 1, 4, 70])
def test_divergence_among_epochs_run_together(n_good):
    x, y = blobs()
    spec = [{"n": 3, "act": None}, {"n": 5, "act": "relu"}, {"n": 1, "act": "linear"}]

    def rate(epoch):
        return 0.01 if epoch < n_good else 1e30

    seen = []
    for callbacks in ((), lambda state: None):
        with pytest.raises(fastmlp.DivergenceError) as caught:
            fastmlp.train(x, y, spec, lr=rate, epochs=200, seed=0, callbacks=callbacks)
        seen.append((caught.value.epoch, caught.value.model, caught.value.history))
    assert seen[0] == seen[1] and seen[0][0] == n_good + 1
    assert len(seen[0][2].get("loss", [])) == n_good


def test_divergence_restores_the_last_finite_epoch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    spec = [{"n": 3, "act": None}, {"n": 4, "act": "linear"}, {"n": 1, "act": "linear"}]
    lr = [0.01, 0.01, 1e6].__getitem__
    with pytest.raises(fastmlp.DivergenceError, match="epoch 3") as caught:
        fastmlp.train(x, y, spec, lr=lr, epochs=3, seed=0)
    assert caught.value.epoch == 3
    assert len(caught.value.history["loss"]) == 2
    assert pickle.loads(pickle.dumps(caught.value)).epoch == 3
    same(caught.value.model, fastmlp.train(x, y, spec, lr=0.01, epochs=2, seed=0)[0])


@pytest.mark.parametrize("size", [1e15, -1e15])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_inputs_give_the_closed_form_loss(size, dtype):
    x = np.array([[size]])
    softmax = fastmlp.MLP([{"n": 1, "act": None}, {"n": 3, "act": "softmax"}], dtype=dtype)
    softmax.weights[0][:, 0] = [1, 2, 4]
    top = max(4 * size, size)
    for label, weight in enumerate((1, 2, 4)):
        assert softmax.evaluate(x, [label])["loss"] == pytest.approx(top - weight * size, rel=1e-6)
        assert np.isfinite(softmax.gradient(x, [label])[1]).all()
    sigmoid = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": "sigmoid"}], dtype=dtype)
    sigmoid.weights[0][:] = 3
    for label in (0, 1):
        expected = max(3 * size, 0) - label * 3 * size
        assert sigmoid.evaluate(x, [label])["loss"] == pytest.approx(expected, rel=1e-6)
        assert np.isfinite(sigmoid.gradient(x, [label])[1]).all()


KINDS = [np.float32, np.float64, np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, bool]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_dtype_of_x(kind, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (30, 3)).astype(kind)
    y = rng.integers(0, 2, 30)
    expected, _ = fastmlp.train(x.astype(np.float64), y, SPEC, seed=0, epochs=2, dtype=dtype)
    model, _ = fastmlp.train(x, y, SPEC, seed=0, epochs=2, dtype=dtype)
    same(model, expected)


def test_every_order_of_x():
    x, y = blobs(30)
    expected, _ = fastmlp.train(x, y, SPEC, seed=0)
    wide = np.zeros((60, 9))
    wide[::2, 1::3] = x
    record = np.zeros(30, dtype=[("a", "u1"), ("x", "f8", 3)])
    record["x"] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (np.asfortranarray(x), wide[::2, 1::3], x[::-1][::-1], record["x"], frozen, x.tolist()):
        model, _ = fastmlp.train(other, y, SPEC, seed=0)
        same(model, expected)
    for labels in (y.tolist(), y.astype(np.uint8), y.astype(float), y[::-1][::-1]):
        same(fastmlp.train(x, labels, SPEC, seed=0)[0], expected)
    rows = np.eye(2)[y]
    for one_hot in (
        rows,
        np.asfortranarray(rows),
        rows.astype(bool),
        rows.astype(np.int32),
        np.repeat(rows, 2, 1)[:, ::2],
    ):
        same(fastmlp.train(x, one_hot, SPEC, seed=0)[0], expected)


def test_x_is_never_written_to():
    x, y = blobs(30)
    before = x.copy()
    model, _ = fastmlp.train(x, y, SPEC)
    model.predict(x), model.jacobian(x), model.gradient(x, y), model.forward(x)
    np.testing.assert_array_equal(x, before)


def test_anything_with_array_protocol():
    pandas = pytest.importorskip("pandas")
    x, y = blobs(30)
    expected, _ = fastmlp.train(x, y, SPEC, seed=0)
    model, _ = fastmlp.train(pandas.DataFrame(x, columns=list("abc")), pandas.Series(y), SPEC, seed=0)
    same(model, expected)


MEMORY = """
import resource, sys
import numpy as np
import fastmlp

spec = [{"n": 784, "act": None, "scale": 1 / 255}, {"n": 8, "act": "relu"}, {"n": 10, "act": "softmax"}]
x = np.memmap(sys.argv[1], np.uint8, "r", shape=(400_000, 784))
y = np.arange(len(x)) % 10
fastmlp.train(x[:100], y[:100], spec, epochs=1)

def own():
    status = open("/proc/self/status").read()
    return int(status.split("RssAnon:")[1].split()[0])

before = own()
peak = []
fastmlp.train(x, y, spec, epochs=1, seed=0, progress=False, validation_fraction=0.1)
print((own() - before) / 1024)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_map_trains_in_constant_memory(tmp_path):
    path = tmp_path / "x.bin"
    with open(path, "wb") as file:
        file.truncate(400_000 * 784)
    result = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True)
    assert float(result.stdout.split()[0]) < 40


INTERRUPTED = """
import sys, warnings
import numpy as np
import fastmlp

rng = np.random.default_rng(0)
x, y = rng.normal(size=(20_000, 200)), rng.integers(0, 10, 20_000)
spec = [{"n": 200, "act": None}, {"n": 100, "act": "tanh"}, {"n": 10, "act": "softmax"}]
fastmlp.train(x[:100], y[:100], spec, epochs=1, batch_size={batch})
print("ready", flush=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model, history = fastmlp.train(x, y, spec, epochs=100_000, seed=0, batch_size={batch})
print("stopped", history.interrupted, len(history["loss"]) < 100_000, np.isfinite(model.params).all(), flush=True)
print(str(caught[0].message), model.predict(x[:5]).shape)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("batch", ["1", "'full'"])
def test_ctrl_c_stops_at_once_and_keeps_the_model(batch):
    script = INTERRUPTED.replace("{batch}", batch)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.0)
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopped True True True\n"
    assert time.perf_counter() - begin < 1.0  # 0.03 s when the machine is quiet
    rest, _ = process.communicate()
    assert "interrupted" in rest
    assert "(5, 10)" in rest


@numba.njit
def cube(z):
    return z * z * z


@numba.njit
def d_cube(z):
    return 3.0 * z * z


@numba.njit
def half_square(y_hat, y):
    return 0.5 * (y_hat - y) ** 2


@numba.njit
def d_half_square(y_hat, y):
    return y_hat - y


def test_custom_activation_and_loss():
    x, _ = blobs(40)
    y = np.tanh(x[:, :2])
    act = fastmlp.Activation("cube", cube, d_cube)
    loss = fastmlp.Loss("half_square", half_square, d_half_square)
    spec = [{"n": 3, "act": None}, {"n": 4, "act": act}, {"n": 2, "act": act, "cost": loss}]
    model = fastmlp.MLP(spec, seed=0)
    assert fastmlp.check_gradients(model, x[:5], y[:5])
    np.testing.assert_allclose(act(np.array([2.0, -1.0])), [8, -1])
    same(model, pickle.loads(pickle.dumps(model)))
    ours, _ = fastmlp.train(x, y, [*spec[:-1], {"n": 2, "act": None, "cost": loss}], seed=0, lr=1e-4)
    builtin, _ = fastmlp.train(x, y, [*spec[:-1], {"n": 2, "act": None, "cost": "mse"}], seed=0, lr=1e-4)
    np.testing.assert_allclose(ours.params, builtin.params, rtol=1e-5, atol=1e-7)


def test_progress_lines(capsys):
    x, y = blobs()
    fastmlp.train(x, y, SPEC, epochs=3, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("epoch 3/3  loss ")
    assert "accuracy" in lines[2] and "samples/s" in lines[2]
    fastmlp.train(x, y, SPEC, epochs=3)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [50, 120])
def test_live_bar_on_a_terminal(columns):
    import pty
    import termios

    script = (
        "import numpy as np, fastmlp\nrng = np.random.default_rng(0)\n"
        "fastmlp.train(rng.normal(size=(20000, 50)), rng.integers(0, 2, 20000),"
        " [{'n': 50, 'act': None}, {'n': 64, 'act': 'tanh'}, {'n': 2, 'act': 'softmax'}], epochs=8)\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=theirs, stdin=theirs, stdout=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    assert process.wait() == 0
    os.close(ours)
    text = seen.decode()
    assert "epoch 8/8" in text and "left" in text and "loss" in text
    assert columns < 100 or ("accuracy" in text and "samples/s" in text)
    drawn = text.replace("\x1b[K", "").split("\r")
    assert len(drawn) > 2 and max(map(len, drawn)) < columns


def test_xor_regression_and_multilabel_learn():
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    model, history = fastmlp.train(x, y, spec, lr=0.5, epochs=1000, seed=0)
    assert model.predict_class(x).tolist() == [0, 1, 1, 0]
    assert history["accuracy"][-1] == 1
    labels = np.stack([y, 1 - y, x[:, 0]], axis=1)
    model, _ = fastmlp.train(x, labels, [*spec[:-1], {"n": 3, "act": "sigmoid"}], lr=0.5, epochs=1000, seed=0)
    np.testing.assert_array_equal(model.predict_class(x), labels)
    grid = np.linspace(-3, 3, 200)[:, None]
    spec = [{"n": 1, "act": None}, {"n": 32, "act": "tanh"}, {"n": 1, "act": "linear"}]
    model, _ = fastmlp.train(grid, np.sin(grid[:, 0]), spec, lr=0.02, epochs=300, seed=0)
    assert model.evaluate(grid, np.sin(grid), metrics="r2")["r2"] > 0.99
    assert math.isclose(
        model.evaluate(grid, np.sin(grid), metrics="mse")["mse"],
        2 * model.evaluate(grid, np.sin(grid))["loss"],
        rel_tol=1e-4,
    )
