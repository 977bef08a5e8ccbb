"""Learning rates by the epoch: in training, and beside PyTorch's."""

from __future__ import annotations

import pytest

import fastmlp
from fastmlp import schedules

SPEC = [{"n": 3, "act": None}, {"n": 6, "act": "tanh"}, {"n": 1, "act": "linear"}]


def test_a_schedule_is_a_rate_for_each_epoch(noisy_plane):
    x, y = noisy_plane
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


def test_a_plateau_lowers_the_rate(noisy_plane):
    x, y = noisy_plane
    plateau = schedules.ReduceOnPlateau(0.05, factor=0.5, patience=1, min_delta=1e9, monitor="val_loss", low=0.01)
    options = {"epochs": 8, "seed": 0, "validation_fraction": 0.2}
    model, history = fastmlp.train(x, y, SPEC, lr=plateau, **options)
    rates = [0.05, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125, 0.01]
    again, its_history = fastmlp.train(x, y, SPEC, lr=rates.__getitem__, **options)
    assert model == again
    assert history == its_history


def test_settings_are_checked():
    for make, message in [
        (lambda: schedules.Step(0.1, every=0), "every"),
        (lambda: schedules.Cosine(0.1, epochs=3, warmup=3), "warmup"),
        (lambda: schedules.Cosine(0.1, epochs=3, low=0.2), "low"),
        (lambda: schedules.OneCycle(0.1, epochs=1), "epochs"),
        (lambda: schedules.Exponential(-1.0), "lr"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
