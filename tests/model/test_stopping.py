"""Schedules, early stopping and callbacks."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import EarlyStopping, schedules

SPEC = [{"n": 3, "act": None}, {"n": 6, "act": "tanh"}, {"n": 1, "act": "linear"}]


def data(n=80):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    return x, x @ [1.0, -2.0, 0.5] + rng.normal(size=n)


def test_a_schedule_is_a_rate_for_each_epoch():
    x, y = data()
    for schedule in (
        schedules.Constant(0.01), schedules.Step(0.01, every=2), schedules.Exponential(0.01),
        schedules.InverseScaling(0.01), schedules.Cosine(0.01, epochs=5, warmup=2), schedules.OneCycle(0.01, epochs=5),
    ):  # fmt: skip
        rates = [schedule(epoch) for epoch in range(5)]
        assert all(0 < rate <= 0.01 for rate in rates)
        model, _ = fastmlp.train(x, y, SPEC, lr=schedule, epochs=5, seed=0)
        again, _ = fastmlp.train(x, y, SPEC, lr=lambda epoch, rates=rates: rates[epoch], epochs=5, seed=0)
        assert model == again


def test_pytorch_agrees_on_one_cycle_and_cosine():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=20, cycle_momentum=False)
    ours = schedules.OneCycle(0.1, epochs=20)
    for epoch in range(20):
        assert ours(epoch) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        if epoch < 19:
            theirs.step()


def test_a_plateau_lowers_the_rate():
    x, y = data()
    plateau = schedules.ReduceOnPlateau(0.05, factor=0.5, patience=1, min_delta=1e9, monitor="val_loss", low=0.01)
    options = {"epochs": 8, "seed": 0, "validation_fraction": 0.2}
    model, history = fastmlp.train(x, y, SPEC, lr=plateau, **options)
    rates = [0.05, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125, 0.01]
    again, its_history = fastmlp.train(x, y, SPEC, lr=rates.__getitem__, **options)
    assert model == again
    assert history == its_history


def test_training_ends_when_nothing_gets_better_and_the_best_is_restored():
    x, y = data()
    seen = []
    model, history = fastmlp.train(
        x, y, SPEC, lr=0.05, epochs=200, seed=0, validation_fraction=0.3, early_stopping=4,
        callbacks=lambda state: seen.append(state.model.params.copy()),
    )  # fmt: skip
    values = history["val_loss"]
    best = int(np.argmin(values))
    assert len(values) == best + 5 < 200
    np.testing.assert_array_equal(model.params, seen[best])
    rule = EarlyStopping(patience=4, restore_best=False)
    last, its_history = fastmlp.train(
        x, y, SPEC, lr=0.05, epochs=200, seed=0, validation_fraction=0.3, early_stopping=rule
    )
    assert its_history == history
    np.testing.assert_array_equal(last.params, seen[-1])


def test_higher_is_better_for_r2():
    x, y = data()
    rule = EarlyStopping(monitor="r2", patience=2, min_delta=0.01)
    _, history = fastmlp.train(x, y, SPEC, epochs=100, seed=0, metrics="r2", early_stopping=rule)
    assert 2 < len(history["r2"]) < 100
    assert max(history["r2"]) > history["r2"][0]


def test_without_validation_data_the_loss_is_watched():
    x, y = data()
    _, history = fastmlp.train(x, y, SPEC, epochs=100, seed=0, early_stopping=EarlyStopping(patience=1, min_delta=0.05))
    assert len(history["loss"]) < 100


def test_a_callback_sees_the_run_and_can_end_it():
    x, y = data()
    epochs = []

    def stop_at_two(state):
        epochs.append((state.epoch, len(state.history["loss"])))
        if state.epoch == 2:
            state.stop()

    _, history = fastmlp.train(x, y, SPEC, epochs=10, seed=0, callbacks=[stop_at_two])
    assert epochs == [(0, 1), (1, 2), (2, 3)]
    assert len(history["loss"]) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"early_stopping": EarlyStopping(monitor="val_loss")}, ValueError, "monitor: unknown 'val_loss'"),
        ({"lr": schedules.ReduceOnPlateau(0.1, monitor="los")}, ValueError, "unknown 'los'.*'loss'"),
        ({"early_stopping": 0}, ValueError, "early_stopping must be at least 1"),
        ({"early_stopping": "yes"}, TypeError, "early_stopping must be an integer"),
        ({"callbacks": [3]}, TypeError, r"callbacks\[0\] must be a function"),
    ],
    ids=str,
)
def test_refusals(options, error, message):
    x, y = data()
    with pytest.raises(error, match=message):
        fastmlp.train(x, y, SPEC, **options)


def test_settings_are_checked():
    for make, message in [
        (lambda: schedules.Step(0.1, every=0), "every"),
        (lambda: schedules.Cosine(0.1, epochs=3, warmup=3), "warmup"),
        (lambda: schedules.Cosine(0.1, epochs=3, low=0.2), "low"),
        (lambda: schedules.OneCycle(0.1, epochs=1), "epochs"),
        (lambda: schedules.Exponential(-1.0), "lr"),
        (lambda: EarlyStopping(patience=0), "patience"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
