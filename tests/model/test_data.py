"""What users get wrong, one row each: the call, the error, words of its message. Below: all that x and y may be."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import fastmlp

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 1, 0])
IN = {"n": 3, "act": None}
SPEC = [IN, {"n": 4, "act": "tanh"}, {"n": 2, "act": "softmax"}]
REGRESSION = [IN, {"n": 2, "act": "linear"}]
LABELS = [IN, {"n": 2, "act": "sigmoid"}]


def with_value(array, index, value):
    array = np.array(array, dtype=float)
    array[index] = value
    return array


def train(x=X, y=Y, spec=SPEC, **options):
    return partial(fastmlp.train, x, y, spec, **options)


def spec(*layers):
    return lambda: fastmlp.Spec([*layers])


BAD = {
    # x
    "x one-dimensional": (train(x=X[0]), ValueError, ["x must be two-dimensional", "(1, -1)"]),
    "x of one feature one-dimensional": (
        train(x=Y, spec=[{"n": 1, "act": None}, {"n": 2, "act": "softmax"}]), ValueError, ["reshape(-1, 1)"],
    ),
    "x images": (train(x=np.zeros((4, 3, 1))), ValueError, ["flatten"]),
    "x transposed": (train(x=np.zeros((3, 5))), ValueError, ["x has 5 features", "takes 3", "x.T"]),
    "x wrong width": (train(x=np.zeros((4, 7))), ValueError, ["x has 7 features", "takes 3"]),
    "x empty": (train(x=np.zeros((0, 3)), y=[]), ValueError, ["x is empty"]),
    "x NaN": (train(x=with_value(X, (2, 1), math.nan)), ValueError, ["x[2, 1] is nan"]),
    "x infinite": (train(x=with_value(X, (3, 0), -math.inf)), ValueError, ["x[3, 0] is -inf"]),
    "x too large for float32": (train(x=with_value(X, (0, 0), 1e300)), ValueError, ["1e+300", "float32"]),
    "x strings": (train(x=[["a", "b", "c"]] * 4), TypeError, ["x must be numeric"]),
    "x objects": (train(x=np.array([[None] * 3] * 4)), TypeError, ["x must be numeric", "object"]),
    "x complex": (train(x=X + 1j), TypeError, ["x must be numeric", "complex"]),
    "x ragged": (train(x=[[1, 2, 3], [1, 2]]), ValueError, ["x is not a regular array"]),
    "x None": (train(x=None), TypeError, ["x must be numeric"]),
    "x masked": (train(x=np.ma.masked_array(X, X > 3)), TypeError, ["masked"]),
    # y
    "y other length": (train(y=[0, 1, 1]), ValueError, ["y has 3 rows", "x has 4 samples"]),
    "y scalar": (train(y=1), ValueError, ["y has a single number"]),
    "y class too high": (train(y=[0, 1, 2, 0]), ValueError, ["class indices 0 to 1", "y[2] is 2"]),
    "y classes from one": (train(y=[1, 2, 2, 1]), ValueError, ["count from 0", "y - 1"]),
    "y class negative": (train(y=[0, -1, 1, 0]), ValueError, ["y[1] is -1"]),
    "y class fractional": (train(y=[0, 0.5, 1, 0]), ValueError, ["class indices", "0.5"]),
    "y class NaN": (train(y=[0, math.nan, 1, 0]), ValueError, ["y[1] is nan"]),
    "y labels of one class": (train(y=list("aaaa")), ValueError, ["only the labels 'a'", "class_names"]),
    "y labels of three classes": (train(y=list("abca")), ValueError, ["'a', 'b', 'c'", "2 classes", '"n": 3']),
    "y label missing": (train(y=["a", None, "b", "a"]), ValueError, ["no label in row 1", "None", "leave out"]),
    "y labels of two types": (train(y=["a", 1, "b", "a"]), TypeError, ["several types", "astype(str)"]),
    "y labels unknown": (train(y=list("abca"), class_names=["a", "b"]), ValueError, ["'c' in row 2", "'a', 'b'"]),
    "y labels of numbers": (train(y=list("abba"), spec=REGRESSION), TypeError, ["y must be numeric"]),
    "y numbers that are labels": (train(y=[7, 9, 9, 7]), ValueError, ["y[0] is 7", "y.astype(str)"]),
    "y column of classes": (train(y=Y[:, None]), ValueError, ["y must have shape", "ravel"]),
    "y transposed": (train(y=np.eye(2)[Y].T[:, :], x=X), ValueError, ["y has 2 rows"]),
    "y rows do not sum to one": (train(y=np.full((4, 2), 0.7)), ValueError, ["sum to 1", "row 0"]),
    "y probability above one": (train(y=[[2, -1]] * 4), ValueError, ["between 0 and 1"]),
    "y infinite": (
        train(y=with_value(np.zeros((4, 2)), (1, 1), math.inf), spec=REGRESSION), ValueError, ["y[1, 1] is inf"],
    ),
    "y infinite beside NaN": (
        train(y=with_value(np.full((4, 2), math.nan), (1, 1), -math.inf), spec=REGRESSION),
        ValueError, ["[1, 1] is -inf"],
    ),
    "y all NaN": (train(y=np.full((4, 2), math.nan), spec=REGRESSION), ValueError, ["y is NaN", "not measured"]),
    "y probabilities NaN": (
        train(y=with_value(np.eye(2)[Y], (1, 1), math.nan)), ValueError, ["y[1, 1] is nan", "leave out such rows"],
    ),
    "y label above one beside NaN": (
        train(y=with_value([[0, 1]] * 4, (1, slice(2)), (math.nan, 2)), spec=LABELS),
        ValueError, ["between", "y[1, 1]"],
    ),
    "y negative count beside NaN": (
        train(y=with_value(np.zeros((4, 2)), (1, slice(2)), (math.nan, -1)), spec=REGRESSION, loss="poisson"),
        ValueError, ["at least 0", "y[1, 1]"],
    ),
    "evaluate_many NaN": (
        lambda: fastmlp.evaluate_many(REGRESSION, np.zeros((1, 8)), X, np.full((4, 2), math.nan)),
        ValueError, ["y[0, 0] is nan"],
    ),
    "output_weight too short": (train(spec=LABELS, y=np.eye(2)[Y], output_weight=[1]), ValueError, ["shape (2,)"]),
    "output_weight negative": (
        train(spec=LABELS, y=np.eye(2)[Y], output_weight=[1, -1]), ValueError, ["output_weight[1] is -1"],
    ),
    "output_weight zero": (train(spec=LABELS, y=np.eye(2)[Y], output_weight=[0, 0]), ValueError, ["zero for all"]),
    "output_weight text": (train(spec=LABELS, y=np.eye(2)[Y], output_weight="a"), TypeError, ["output_weight"]),
    "output_weight of classes": (train(output_weight=[1, 2]), ValueError, ["output_weight", "class_weight"]),
    "y one-dimensional for two outputs": (train(spec=REGRESSION), ValueError, ["y must have shape (4, 2)"]),
    "y label above one": (train(y=[[0, 2]] * 4, spec=LABELS), ValueError, ["between 0 and 1", "y[0, 1]"]),
    # spec
    "spec not a list": (train(spec="784-10-10"), TypeError, ["spec must be a list"]),
    "spec one dict": (train(spec=IN), TypeError, ["spec must be a list"]),
    "spec None": (train(spec=None), TypeError, ["spec must be a list", "NoneType"]),
    "spec empty": (spec(), ValueError, ["at least one more", "0 layers"]),
    "spec input only": (spec(IN), ValueError, ["at least one more"]),
    "spec of numbers": (lambda: fastmlp.Spec([3, 4, 2]), TypeError, ["spec[0] must be a dict"]),
    "layer without n": (spec(IN, {"act": "relu"}), ValueError, ["spec[1] has no 'n'"]),
    "layer of zero units": (spec(IN, {"n": 0, "act": "relu"}), ValueError, ["spec[1]['n']", "positive", "0"]),
    "layer of negative units": (spec(IN, {"n": -3, "act": "relu"}), ValueError, ["-3"]),
    "layer of half a unit": (spec(IN, {"n": 2.5, "act": "relu"}), TypeError, ["positive integer", "2.5"]),
    "layer of True units": (spec(IN, {"n": True, "act": "relu"}), TypeError, ["True"]),
    "misspelt key": (spec(IN, {"n": 2, "activation": "relu"}), ValueError, ["spec[1]", "'activation'", "'act'"]),
    "misspelt activation": (spec(IN, {"n": 2, "act": "sigmod"}), ValueError, ["'sigmod'", "'sigmoid'"]),
    "activation a number": (spec(IN, {"n": 2, "act": 3}), TypeError, ["spec[1]['act']", "int"]),
    "activation a plain function": (spec(IN, {"n": 2, "act": np.tanh}), TypeError, ["fastmlp.Activation"]),
    "activation on the input": (spec({"n": 3, "act": "relu"}, {"n": 2}), ValueError, ["input layer"]),
    "slope of relu": (spec(IN, {"n": 2, "act": "relu", "slope": 0.2}), ValueError, ["slope", "leaky_relu"]),
    "alpha of leaky_relu": (spec(IN, {"n": 2, "act": "leaky_relu", "alpha": 2}), ValueError, ["alpha", "elu"]),
    "slope NaN": (spec(IN, {"n": 2, "act": "leaky_relu", "slope": math.nan}), ValueError, ["slope", "finite"]),
    "bias a string": (spec(IN, {"n": 2, "bias": "no"}), TypeError, ["bias", "'no'"]),
    "scale of wrong length": (spec({"n": 3, "scale": [1, 2]}, {"n": 2}), ValueError, ["scale", "3 numbers"]),
    "shift infinite": (spec({"n": 3, "shift": math.inf}, {"n": 2}), ValueError, ["shift", "finite"]),
    "cost of a hidden layer": (spec(IN, {"n": 2, "cost": "mse"}, {"n": 2}), ValueError, ["last layer"]),
    "misspelt cost": (spec(IN, {"n": 2, "cost": "msee"}), ValueError, ["'msee'", "'mse'"]),
    "cross_entropy on linear": (spec(IN, {"n": 2, "cost": "CE"}), ValueError, ["cross_entropy", "linear", "softmax"]),
    "bce on softmax": (spec(IN, {"n": 2, "act": "softmax", "cost": "bce"}), ValueError, ["bce", "cross_entropy"]),
    "bce on tanh": (spec(IN, {"n": 2, "act": "tanh", "cost": "bce"}), ValueError, ["bce", "sigmoid"]),
    "hinge on sigmoid": (spec(IN, {"n": 2, "act": "sigmoid", "cost": "hinge"}), ValueError, ["hinge", "linear"]),
    "units of another library": (spec(IN, {"units": 2}), ValueError, ["spec[1]", "'units'", "write 'n'"]),
    "no input layer": (spec({"n": 8, "act": "relu"}, {"n": 2}), ValueError, ["begin with one", "'act': None"]),
    "x is y": (train(x=np.arange(4.0)), ValueError, ["shape (4,)", "all 3 columns"]),
    "x a file's name": (train(x="data.csv"), TypeError, ["not a file's name", "fastmlp.tables.fit"]),
    "x a generator": (train(x=(row for row in X)), TypeError, ["give list(x)"]),
    "y of more columns": (train(y=np.ones((4, 3)), spec=REGRESSION), ValueError, ["(4, 3)", 'last layer {"n": 3}']),
    "y classes of a network of numbers": (train(y=Y, spec=REGRESSION), ValueError, ["class indices", "softmax"]),
    "y labels of a network of numbers": (train(y=list("abba"), spec=REGRESSION), TypeError, ["labels are for classes"]),
    "y several labels": (train(y=[["a", "b"]] * 4, spec=LABELS), TypeError, ["a column of 0 and 1 for each"]),
    "y between classes": (train(y=[0, 1.5, 0, 1]), ValueError, ["y[1] is 1.5", "for numbers give the last layer"]),
    "options of other libraries": (train(device="cuda"), TypeError, ["'device'", "everything runs on the CPU"]),
    "monitor without validation": (
        train(early_stopping=fastmlp.EarlyStopping(monitor="val_loss")), ValueError, ["validation_fraction=0.2"],
    ),
    # options
    "several lr": (train(lr=[0.1, 0.2]), TypeError, ["lr must be a number", "[0.1, 0.2]", "train_many", "grid="]),
    "lr zero": (train(lr=0), ValueError, ["lr", "above 0", "0"]),
    "lr negative": (train(lr=-0.1), ValueError, ["lr", "-0.1"]),
    "lr NaN": (train(lr=math.nan), ValueError, ["lr", "nan"]),
    "lr a string": (train(lr="fast"), TypeError, ["lr must be a number", "'fast'"]),
    "lr function that ends at zero": (train(lr=lambda epoch: 0.1 - 0.1 * epoch), ValueError, ["lr(1)"]),
    "lr None": (train(lr=None), TypeError, ["lr must be a number"]),
    "epochs zero": (train(epochs=0), ValueError, ["epochs", "at least 1"]),
    "epochs fractional": (train(epochs=1.5), TypeError, ["epochs", "integer", "1.5"]),
    "batch_size zero": (train(batch_size=0), ValueError, ["batch_size", "at least 1"]),
    "batch_size word": (train(batch_size="all"), ValueError, ["batch_size", "'full'"]),
    "seed negative": (train(seed=-1), ValueError, ["seed", "-1"]),
    "seed a float": (train(seed=0.5), TypeError, ["seed", "0.5"]),
    "shuffle a string": (train(shuffle="yes"), TypeError, ["shuffle", "'yes'"]),
    "dtype int": (train(dtype="int32"), ValueError, ["dtype", "float32", "int32"]),
    "dtype nonsense": (train(dtype="real"), ValueError, ["dtype", "'real'"]),
    "misspelt init": (train(init="he_norml"), ValueError, ["init", "'he_normal'"]),
    "loss against cost": (train(spec=fastmlp.Spec(SPEC), loss="mse"), ValueError, ["loss is mse", "cross_entropy"]),
    "loss that does not fit": (train(loss="bce"), ValueError, ["bce", "softmax"]),
    "misspelt loss": (train(loss="cross_entrpy"), ValueError, ["'cross_entropy'"]),
    "misspelt metric": (train(metrics=["acuracy"]), ValueError, ["metrics", "'accuracy'"]),
    "metric a number": (train(metrics=3), TypeError, ["metrics", "int"]),
    "validation_fraction one": (train(validation_fraction=1.0), ValueError, ["validation_fraction"]),
    "validation_fraction too small": (train(validation_fraction=0.01), ValueError, ["fraction 0.01 of 4 samples"]),
    "validation twice": (train(validation_fraction=0.5, validation_data=(X, Y)), ValueError, ["both given"]),
    "validation_data not a pair": (train(validation_data=X), TypeError, ["validation_data", "pair"]),
    "validation x of wrong width": (train(validation_data=(X[:, :2], Y)), ValueError, ["validation x", "2 features"]),
    "progress a word": (train(progress="bar"), TypeError, ["progress", "'bar'"]),
    "unknown option": (train(learning_rate=0.1), TypeError, ["learning_rate"]),
    # the rest
    "wrt nonsense": (lambda: fastmlp.MLP(SPEC).jacobian(X, wrt="param"), ValueError, ["wrt", "'params'"]),
    "params of wrong shape": (lambda: setattr(fastmlp.MLP(SPEC), "params", [0, 0]), ValueError, ["params", "(26,)"]),
    "predict NaN": (lambda: fastmlp.MLP(SPEC).predict(with_value(X, (0, 2), math.nan)), ValueError, ["x[0, 2] is nan"]),
    "predict_class of regression": (
        lambda: fastmlp.MLP([IN, {"n": 1}]).predict_class(X), ValueError, ["predict_class needs classes"],
    ),
    "activation without njit": (lambda: fastmlp.Activation("id", abs, abs), TypeError, ["numba.njit"]),
    "loss without njit": (lambda: fastmlp.Loss("l", min, min), TypeError, ["numba.njit"]),
    "Uniform upside down": (lambda: fastmlp.init.Uniform(1, 0), ValueError, ["high"]),
    "check_gradients of a list": (lambda: fastmlp.check_gradients(SPEC, X, Y), TypeError, ["fastmlp.MLP"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_answered_in_words(case):
    call, error, words = BAD[case]
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


ON_A_MODEL = [case for case, (call, *_) in BAD.items() if isinstance(call, partial) and call.args[2] is SPEC]


@pytest.mark.parametrize("case", ON_A_MODEL)
def test_model_is_untouched(case):
    """Mistakes while an existing model goes on training."""
    call, error, _ = BAD[case]
    model = fastmlp.MLP(SPEC, seed=0)
    before = model.params.copy()
    x, y, _ = call.args
    with pytest.raises(error):
        fastmlp.train(x, y, model, **call.keywords)
    np.testing.assert_array_equal(model.params, before)


def blobs(n=30):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + 2 * y[:, None], y


def same(model, other):
    np.testing.assert_array_equal(model.params, other.params)


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
    x, y = blobs()
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
    x, y = blobs()
    before = x.copy()
    model, _ = fastmlp.train(x, y, SPEC)
    model.predict(x), model.jacobian(x), model.gradient(x, y), model.forward(x)
    np.testing.assert_array_equal(x, before)


def test_anything_with_array_protocol():
    pandas = pytest.importorskip("pandas")
    x, y = blobs()
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
