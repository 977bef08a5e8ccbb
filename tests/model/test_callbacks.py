"""Callbacks: when they are called, with what, and how one ends the run."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.model.callbacks import check_callbacks

X, Y = np.linspace(-1, 1, 20)[:, None], np.linspace(-1, 1, 20) ** 2
SPEC = [{"n": 1, "act": None}, {"n": 4, "act": "tanh"}, {"n": 1, "act": "linear"}]


def train(callbacks, epochs=4, **options):
    return fastmlp.train(X, Y, SPEC, epochs=epochs, seed=0, callbacks=callbacks, **options)


def test_each_is_called_after_every_epoch_in_their_order():
    calls = []
    train([lambda state: calls.append(("first", state.epoch)), lambda state: calls.append(("second", state.epoch))])
    assert calls == [(name, epoch) for epoch in range(4) for name in ("first", "second")]


def test_the_state_is_that_after_the_epoch():
    """Each epoch's parameters and losses are those of a run that ends there."""
    states = []
    model, _ = train(lambda state: states.append((state.model, state.model.params.copy(), state.history["loss"][:])))
    assert len(states) == 4
    for epoch, (trained, params, losses) in enumerate(states):
        shorter = train((), epochs=epoch + 1)
        assert trained is model and losses == shorter.history["loss"]
        np.testing.assert_array_equal(params, shorter.model.params)


def test_what_a_callback_writes_to_the_parameters_stays():
    def clip(state):
        np.clip(state.model.params, -0.1, 0.1, out=state.model.params)

    assert np.abs(train(clip).model.params).max() <= 0.1 < np.abs(train(()).model.params).max()


@pytest.mark.parametrize("batch_size", [1, 8, "full"])
def test_stop_ends_the_run_after_all_have_been_called(batch_size):
    epochs = []

    def stop(state):
        if state.epoch == 1:
            state.stop()

    model, history = train([stop, lambda state: epochs.append(state.epoch)], batch_size=batch_size)
    assert epochs == [0, 1] and history.epochs == 2
    np.testing.assert_array_equal(model.params, train((), epochs=2, batch_size=batch_size).model.params)


def test_an_exception_passes_through_and_the_model_keeps_its_epochs():
    model = fastmlp.MLP(SPEC, seed=0)

    def fail(state):
        if state.epoch == 1:
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        fastmlp.train(X, Y, model, epochs=4, seed=0, callbacks=fail)
    expected = fastmlp.MLP(SPEC, seed=0)
    fastmlp.train(X, Y, expected, epochs=2, seed=0)
    np.testing.assert_array_equal(model.params, expected.params)


def test_one_function_or_a_sequence():
    assert check_callbacks(print) == [print] and check_callbacks((print, repr)) == [print, repr]
    assert check_callbacks([]) == []
    with pytest.raises(TypeError, match=r"callbacks\[1\] must be a function of the training state, got str"):
        check_callbacks([print, "repr"])
    with pytest.raises(TypeError, match=r"callbacks must be a function of the training state, .* got 5"):
        check_callbacks(5)
