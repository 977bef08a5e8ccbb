"""What many networks begin with is what each one's seed gives it alone, whoever draws it."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.engine import random
from fastmlp.init import INITS, Uniform

SEEDS = [*range(150), 2**32, 2**64 + 1, 2**200]
LAYERS = {
    "2-8-1 tanh": [{"n": 2}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}],
    "3-16-5-2 relu": [{"n": 3}, {"n": 16, "act": "relu"}, {"n": 5, "act": "elu", "bias": False}, {"n": 2}],
}
DISAGREEMENTS = {
    "agreeing": {},
    "no orders": {"orders": False, "normal": False, "fused": None},
    "no normal": {"normal": False},
    "no even": {"fused": None},
}


@pytest.fixture(params=DISAGREEMENTS)
def agreement(request, monkeypatch):
    """What is known of NumPy here, or of another that has other numbers."""
    known = random._agreement()._replace(**DISAGREEMENTS[request.param])
    monkeypatch.setattr(random, "_agreement", lambda: known)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("init", [*INITS, Uniform(-0.2, 0.9)], ids=str)
@pytest.mark.parametrize("layers", LAYERS)
def test_params_are_those_of_each_alone(agreement, layers, init, dtype):
    spec = fastmlp.Spec(LAYERS[layers])
    params = random.draw_params(spec, init, SEEDS, np.dtype(dtype))
    alone = [fastmlp.MLP(spec, init=init, seed=seed, dtype=dtype).params for seed in SEEDS]
    np.testing.assert_array_equal(params, alone)


@pytest.mark.parametrize("own", [False, True])
def test_orders_are_those_of_each_alone(agreement, own):
    rows = np.arange(20) * 3
    all_rows = np.stack([rows + i for i in range(len(SEEDS))]) if own else rows
    orders = random.Orders(SEEDS, all_rows)
    parts = np.concatenate([orders.draw(epochs) for epochs in (1, 3, 2)], axis=1)
    for i, (seed, ours) in enumerate(zip(SEEDS, parts, strict=True)):
        rng = np.random.default_rng(seed)
        np.testing.assert_array_equal(ours, [rng.permutation(all_rows[i] if own else rows) for _ in range(6)])


def test_orders_of_some_of_other_rows_and_handed_on(agreement):
    rows, less = np.arange(20), np.arange(0, 20, 2)
    orders = random.Orders(SEEDS[:6], rows)
    drawn = orders.draw(1)
    own = np.stack([less + i for i in range(6)])
    others = orders.among(own)
    room = others.room(2)
    room.put(0, others, 4)
    room.put(1, others, 1)
    for i, ours in zip((4, 1), room.draw(2), strict=True):
        rng = np.random.default_rng(SEEDS[i])
        np.testing.assert_array_equal(drawn[i, 0], rng.permutation(rows))
        np.testing.assert_array_equal(ours, [rng.permutation(own[i]) for _ in range(2)])
    rng = np.random.default_rng(SEEDS[2])
    rng.permutation(rows)
    np.testing.assert_array_equal(others.of(slice(2, 4)).draw(1)[0, 0], rng.permutation(own[2]))


@pytest.mark.parametrize("n", [1, 2, 37, 1000, 4097])
@pytest.mark.parametrize("words", [0, 1])
def test_a_generator_that_permutes_by_kernel_goes_on_as_it_would(monkeypatch, n, words):
    monkeypatch.setattr(random, "_WORTH", 0)
    monkeypatch.setattr(random, "_kernel_permutes", lambda: True)
    ours, theirs = (np.random.default_rng(5) for _ in range(2))
    for rng in (ours, theirs):
        rng.integers(7, size=words, dtype=np.uint32)  # half of 64 bits are left
    rows = np.arange(2 * n)[::2] + 3
    for epochs in (1, 3):
        np.testing.assert_array_equal(
            random.permutations(ours, rows, epochs), [theirs.permutation(rows) for _ in range(epochs)]
        )
        assert ours.bit_generator.state == theirs.bit_generator.state


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.PCG64DXSM, np.random.PCG64])
def test_other_generators_permute_by_numpy(monkeypatch, kind):
    monkeypatch.setattr(random, "_kernel_permutes", lambda: kind is not np.random.PCG64)
    ours, theirs = (np.random.Generator(kind(5)) for _ in range(2))
    rows = np.arange(3000)
    np.testing.assert_array_equal(random.permutations(ours, rows, 2), [theirs.permutation(rows) for _ in range(2)])


def test_this_numpy_is_known():
    """Where this fails, NumPy draws other numbers than it did: the kernels are to follow, meanwhile it draws alone."""
    assert random._agreement().orders
    assert random._agreement().normal
    assert random._agreement().fused is not None


def test_a_numpy_of_other_numbers_is_noticed(monkeypatch):
    class Other(np.random.Generator):
        def normal(self, *arguments):
            return np.nextafter(super().normal(*arguments), 9)

        def uniform(self, *arguments):
            return np.nextafter(super().uniform(*arguments), 9)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Other(np.random.PCG64(seed)))
    assert random._agreement.__wrapped__() == (True, False, None)


def test_seeds_that_are_left_out_are_all_different():
    seeds = random.known_seeds([None, 3, None, None])
    assert seeds[1] == 3 and len(set(seeds)) == 4
