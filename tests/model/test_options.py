"""Options: the arguments of train as a run takes them, their refusals, and those that a checkpoint compares."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from inspect import signature

import numpy as np
import pytest

import fastmlp
from fastmlp import optimizers, schedules
from fastmlp.base.checks import dropout_shares
from fastmlp.model.options import Options, TrainingData

SPEC = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 4, "act": "relu"}, {"n": 2, "act": "softmax"}]
X, Y = np.arange(30.0).reshape(10, 3), np.arange(10) % 2


def checked(spec=SPEC, **options):
    return Options.checked(spec, **{**fastmlp.train.__kwdefaults__, **options})


def data(options, x=X, y=Y):
    return TrainingData.checked(x, y, options)


def test_every_option_of_train_is_a_field_under_its_name():
    """Two are more: what the spec may be, and each epoch's rate; one becomes part of the spec."""
    names = {name for name in signature(fastmlp.train).parameters if name not in ("x", "y", "unknown")}
    assert {field.name for field in fields(Options)} == names - {"loss", "class_names"} | {"model", "rates", "names"}


def test_defaults():
    options = checked()
    assert options.spec == fastmlp.Spec(SPEC) and options.model is None
    assert options.optimizer == optimizers.SGD() and [options.rates(epoch) for epoch in range(10)] == [0.01] * 10
    assert options.dtype == np.float32 and options.metrics == {} and options.dropout == [] and options.callbacks == []
    assert options.early_stopping is None and options.checkpoint is None
    with pytest.raises(FrozenInstanceError):
        options.epochs = 3


def test_what_is_given_becomes_what_a_run_takes():
    options = checked(
        optimizer="adam",
        metrics=["top_3", "mse"],
        dropout=0.5,
        early_stopping=3,
        checkpoint="run.ckpt",
        dtype="float64",
    )
    assert options.optimizer == optimizers.Adam() and list(options.metrics) == ["top_3", "mse"]
    assert options.dropout == [0.5, 0.5] and options.early_stopping == fastmlp.EarlyStopping(patience=3)
    assert options.checkpoint == fastmlp.Checkpoint("run.ckpt") and options.dtype == np.float64


def test_a_loss_beside_a_spec_and_in_it():
    assert checked(loss="mse").spec.loss.name == "mse"
    with_cost = [*SPEC[:-1], {**SPEC[-1], "cost": "mse"}]
    assert checked(with_cost, loss="mse").spec.loss.name == "mse"
    for spec in (with_cost, fastmlp.Spec(with_cost), fastmlp.MLP(with_cost)):
        with pytest.raises(ValueError, match="loss is cross_entropy, but the spec has cost mse; give one of them"):
            checked(spec, loss="cross_entropy")
    assert "cost" not in SPEC[-1]


def test_a_model_brings_its_spec_and_dtype():
    model = fastmlp.MLP(SPEC, dtype="float64")
    options = checked(model)
    assert options.model is model and options.spec is model.spec and options.dtype == np.float64
    assert checked(model, dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match="dtype is 'float32', but the given model is float64"):
        checked(model, dtype="float32")
    with pytest.raises(ValueError, match="init is for new networks"):
        checked(model, init="he_normal")


def test_a_batch_is_a_number_of_samples():
    assert [checked(batch_size=size).batch(10) for size in (1, 32, "full")] == [1, 32, 10]


def test_rates_follow_the_epoch_or_the_history():
    constant = checked(lr=0.5, epochs=2).rates
    assert constant.constant and [constant(0), constant(1)] == [0.5, 0.5]
    step = checked(lr=lambda epoch: 0.1 / (epoch + 1), epochs=3)
    assert [step.rate(epoch, fastmlp.History()) for epoch in range(3)] == [0.1, 0.05, 0.1 / 3]
    plateau = checked(lr=schedules.ReduceOnPlateau(0.4, factor=0.5, patience=1), epochs=5)
    assert plateau.rate(2, fastmlp.History(loss=[1.0, 0.5])) == 0.4
    assert plateau.rate(3, fastmlp.History(loss=[1.0, 1.0, 1.0])) == 0.2


LBFGS = {"optimizer": "lbfgs"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"lr": 0}, ValueError, "lr must be a finite number above 0, got 0"),
        ({"lr": lambda epoch: 0.1 - 0.1 * epoch, "epochs": 3}, ValueError, r"lr\(1\) must be a finite number above 0"),
        ({"batch_size": "all"}, ValueError, "batch_size must be a positive integer or 'full', got 'all'"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"shuffle": 1}, TypeError, "shuffle must be True or False, got 1"),
        ({"progress": "yes"}, TypeError, "progress must be True, False or None, got 'yes'"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be a finite number above 0"),
        ({"l2": -1}, ValueError, "l2 must be a finite number at least 0"),
        ({"dropout": [0.5]}, ValueError, "dropout has 1 entries, the network has 2 hidden layers"),
        ({"dropout": 1.0}, ValueError, "dropout must be a finite number at least 0 and below 1"),
        ({"init": "he_norml"}, ValueError, "init: unknown 'he_norml'; did you mean 'he_normal'"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a file's name or a Checkpoint, got int"),
        ({"validation_data": (X, Y), "validation_fraction": 0.5}, ValueError, "are both given; give one of them"),
        (
            {"early_stopping": fastmlp.EarlyStopping("val_loss")},
            ValueError,
            "monitor is 'val_loss', and there is nothing to validate with",
        ),
        ({"lr": schedules.ReduceOnPlateau(0.1, "r2")}, ValueError, "monitor: unknown 'r2'"),
        ({**LBFGS, "lr": 0.1}, ValueError, "lr is 0.1, but lbfgs finds the length of each step itself; leave lr out"),
        ({**LBFGS, "batch_size": 8}, ValueError, "batch_size is 8, but lbfgs takes all samples at once"),
        ({**LBFGS, "l1": 0.1}, ValueError, "l1 is 0.1, but lbfgs needs a smooth loss"),
        ({**LBFGS, "dropout": [0.0, 0.1]}, ValueError, r"dropout is \[0.0, 0.1\], but lbfgs needs a smooth loss"),
        ({**LBFGS, "checkpoint": "run.ckpt"}, ValueError, "lbfgs cannot go on from a checkpoint"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        checked(**options)


def test_lbfgs_takes_what_it_ignores_anyway():
    assert checked(**LBFGS, batch_size="full", dropout=[0.0, 0.0], l1=0.0, lr=0.01).optimizer == optimizers.LBFGS()


def test_a_monitor_that_will_be_in_the_history():
    rule = fastmlp.EarlyStopping("val_top_3")
    assert checked(early_stopping=rule, metrics="top_3", validation_fraction=0.2).early_stopping is rule


def test_a_checkpoint_compares_what_changes_the_bits():
    """Neither how long a run is, nor who watches it, nor on how many threads: a run may go on with others of these."""
    options = checked(batch_size="full", metrics="mse", epochs=3, callbacks=print, n_threads=2, checkpoint="run.ckpt")
    compared = options.for_checkpoint(10)
    assert compared["batch_size"] == 10 and compared["metrics"] == ["mse"] and compared["dtype"] == "float32"
    other = checked(batch_size=10, metrics="mse", epochs=7, progress=True, lr=0.01)
    assert other.for_checkpoint(10) == compared
    assert checked(batch_size=10, metrics="mse", l2=0.1).for_checkpoint(10) != compared


def test_dropout_is_one_share_for_all_hidden_layers_or_one_each():
    assert dropout_shares(0.25, 2) == [0.25, 0.25] and dropout_shares((0.0, 0.5), 2) == [0.0, 0.5]
    assert dropout_shares([0.0, 0.0], 2) == [] and dropout_shares(0.5, 0) == []


def test_samples_of_weight_0_are_no_rows():
    training = data(checked(sample_weight=[1, 0] * 5, validation_fraction=0.4))
    assert training.rows.tolist() == [0, 2, 4, 6, 8] and training.n_held_out == 2


@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_held_out_and_the_others_are_all_rows(shuffle):
    numbers = [*SPEC[:-1], {"n": 2, "act": "linear"}]
    training = data(checked(numbers, validation_fraction=0.3, shuffle=shuffle), y=X[:, :2])
    rows, held_out = training.split(shuffle, np.random.default_rng(5))
    assert sorted([*rows, *held_out]) == list(range(10)) and len(held_out) == 3
    assert (np.diff(rows) > 0).all() and (np.diff(held_out) > 0).all()
    drawn = np.random.default_rng(5).permutation(10)[-3:]
    assert held_out.tolist() == (sorted(drawn) if shuffle else [7, 8, 9])


def held_out(y, fraction, seed=0, spec=SPEC, **options):
    options = checked(spec, validation_fraction=fraction, **options)
    training = data(options, np.zeros((len(y), 3)), y)
    rows, held = training.split(options.shuffle, np.random.default_rng(seed))
    assert sorted([*rows, *held]) == training.rows.tolist()
    assert (np.diff(rows) > 0).all() and (np.diff(held) > 0).all()
    return rows, held


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5, 0.9])
def test_each_class_of_two_rows_or_more_is_on_both_sides(fraction, seed):
    y = np.random.default_rng(seed).permutation(np.repeat([0, 1], [197, 3]))
    rows, held = held_out(y, fraction, seed)
    assert set(y[rows]) == set(y[held]) == {0, 1}
    assert len(held) == max(2, round(200 * fraction))
    for label in (0, 1):  # its share, to a row, but for the one that it must have
        assert abs(np.sum(y[held] == label) - fraction * np.sum(y == label)) <= 1
    sigmoid = [*SPEC[:-1], {"n": 1, "act": "sigmoid"}]
    for labels, spec in (
        (np.eye(2)[y], SPEC),
        (y.astype(bool), sigmoid),
    ):
        np.testing.assert_array_equal(held_out(labels, fraction, seed, spec)[1], held)


def test_shares_are_scikit_learns_where_no_class_is_too_small():
    model_selection = pytest.importorskip("sklearn.model_selection")
    y = np.repeat([0, 1, 2], [100, 60, 40])
    splitter = model_selection.StratifiedShuffleSplit(1, test_size=0.15, random_state=0)
    (_, theirs), *_ = splitter.split(y[:, None], y)
    spec = [*SPEC[:-1], {"n": 3, "act": "softmax"}]
    np.testing.assert_array_equal(np.bincount(y[held_out(y, 0.15, spec=spec)[1]]), np.bincount(y[theirs]))


def test_classes_of_one_row_and_more_classes_than_rows_to_hold_out():
    spec = [*SPEC[:-1], {"n": 12, "act": "softmax"}]
    y = np.array([0] * 20 + [1] * 2 + [2])
    for seed in range(20):
        assert 2 in y[held_out(y, 0.2, seed, spec)[0]]
    pairs = np.repeat(np.arange(12), 2)
    for fraction in (0.05, 0.95):
        rows, held = held_out(pairs, fraction, spec=spec)
        assert pairs[rows].tolist() == pairs[held].tolist() == list(range(12))
    rows, held = held_out(np.arange(12), 0.25, spec=spec)
    assert len(held) == 3


def test_a_seed_draws_the_same_rows_everywhere():
    """Written down from one machine; what decides is whole numbers and NumPy's own permutation."""
    y = np.repeat([0, 1], [15, 5])
    assert held_out(y, 0.2, seed=7)[1].tolist() == [3, 8, 12, 16]
    labels = np.stack([y, 1 - y], axis=1)
    spec = [*SPEC[:-1], {"n": 2, "act": "sigmoid"}]
    drawn = np.random.default_rng(7).permutation(20)[-4:]
    assert held_out(labels, 0.2, 7, spec)[1].tolist() == sorted(drawn)  # labels are not stratified
    assert held_out(y, 0.2, 7, shuffle=False)[1].tolist() == [16, 17, 18, 19]


def test_nothing_is_held_out_and_nothing_drawn_without_a_fraction():
    rng = np.random.default_rng(5)
    rows, held_out = data(checked()).split(True, rng)
    assert rows.tolist() == list(range(10)) and held_out is None
    assert rng.bit_generator.state == np.random.default_rng(5).bit_generator.state


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"validation_fraction": 0.01}, ValueError, "validation_fraction 0.01 of 10 samples leaves nothing"),
        ({"validation_fraction": 0.99}, ValueError, "validation_fraction 0.99 of 10 samples leaves nothing"),
        (
            {"validation_data": X},
            TypeError,
            r"validation_data must be a pair \(x, y\), or \(x, y, sample_weight\), got ndarray",
        ),
        ({"validation_data": (X, Y, Y, Y)}, TypeError, r"\(x, y, sample_weight\), got 4 of them"),
        ({"validation_data": (X, Y, Y - 1)}, ValueError, r"validation sample_weight must be finite and at least 0"),
        (
            {"validation_data": (X, Y, 0 * Y)},
            ValueError,
            r"validation sample_weight: the weights of all samples are zero",
        ),
        ({"sample_weight": np.full(10, 1e308)}, ValueError, "sample_weight is too large: its sum is infinite"),
        ({"validation_data": (X[:, :2], Y)}, ValueError, "validation x has 2 features, the network takes 3"),
        ({"validation_data": (X, Y + 1)}, ValueError, "validation y must hold class indices 0 to 1"),
        ({"sample_weight": [1.0]}, ValueError, r"sample_weight must have shape \(10,\)"),
    ],
)
def test_refusals_of_data(options, error, message):
    with pytest.raises(error, match=message):
        data(checked(**options))


def test_arrays_by_name_for_fingerprints():
    arrays = data(checked(validation_data=(X[:4], Y[:4]), class_weight={1: 3.0})).arrays()
    assert arrays["x"] is X and arrays["validation x"].shape == (4, 3)
    np.testing.assert_array_equal(arrays["sample_weight times class_weight"], 1 + 2.0 * Y)
    assert arrays["validation sample_weight"] is arrays["sample_weight of rows held out"] is None
    weighted = data(checked(validation_fraction=0.2, sample_weight=1 + Y, class_weight={1: 3.0})).arrays()
    np.testing.assert_array_equal(weighted["sample_weight of rows held out"], 1 + Y)
    assert data(checked()).arrays()["validation y"] is None
