"""Early stopping and callbacks."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import EarlyStopping, schedules

SPEC = [{"n": 3, "act": None}, {"n": 6, "act": "tanh"}, {"n": 1, "act": "linear"}]


def test_training_ends_when_nothing_gets_better_and_the_best_is_restored(noisy_plane):
    x, y = noisy_plane
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


def test_higher_is_better_for_r2(noisy_plane):
    x, y = noisy_plane
    rule = EarlyStopping(monitor="r2", patience=2, min_delta=0.01)
    _, history = fastmlp.train(x, y, SPEC, epochs=100, seed=0, metrics="r2", early_stopping=rule)
    assert 2 < len(history["r2"]) < 100
    assert max(history["r2"]) > history["r2"][0]


def test_without_validation_data_the_loss_is_watched(noisy_plane):
    x, y = noisy_plane
    _, history = fastmlp.train(x, y, SPEC, epochs=100, seed=0, early_stopping=EarlyStopping(patience=1, min_delta=0.05))
    assert len(history["loss"]) < 100


def test_a_callback_sees_the_run_and_can_end_it(noisy_plane):
    x, y = noisy_plane
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
        (
            {"early_stopping": EarlyStopping(monitor="val_loss")},
            ValueError,
            "monitor is 'val_loss', and there is nothing to validate with",
        ),
        ({"lr": schedules.ReduceOnPlateau(0.1, monitor="los")}, ValueError, "unknown 'los'.*'loss'"),
        ({"early_stopping": 0}, ValueError, "early_stopping must be at least 1"),
        ({"early_stopping": "yes"}, TypeError, "early_stopping must be an integer"),
        ({"callbacks": [3]}, TypeError, r"callbacks\[0\] must be a function"),
    ],
    ids=str,
)
def test_refusals(options, error, message, noisy_plane):
    x, y = noisy_plane
    with pytest.raises(error, match=message):
        fastmlp.train(x, y, SPEC, **options)


def test_patience_is_checked():
    with pytest.raises(ValueError, match="patience"):
        EarlyStopping(patience=0)
