"""How many samples are taken together, and by how many threads: rules of shapes alone."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import reference
from fastmlp.engine.blocks import BLOCK, GROUPED, part_of_batch, sharers, wide_block


@pytest.mark.parametrize(
    ("n_params", "itemsize", "block"),
    [(1, 4, 64), (2**18 - 1, 4, 64), (2**18, 4, 256), (2**17, 8, 256), (10**8, 4, 256)],
)
def test_more_samples_are_taken_together_from_a_mebibyte_on(n_params, itemsize, block):
    assert wide_block(n_params, itemsize) == block


@pytest.mark.parametrize("block", [64, 256])
def test_a_part_is_two_to_many_whole_blocks(block):
    sizes = [part_of_batch(batch, block) for batch in range(1, 40_000, 37)]
    assert sizes == sorted(sizes) and sizes[0] == 2 * block and sizes[-1] == 1024
    assert not any(size % block for size in sizes)


@pytest.mark.parametrize(
    ("batch", "n_params", "n_threads", "expected"),
    [
        (128, 669_706, 1, (1, False)),
        (128, 669_706, 2, (2, True)),  # 784-512-512-10
        (64, 669_706, 16, (4, True)),  # 16 samples each
        (15, 669_706, 2, (1, False)),
        (32, 101_770, 16, (2, True)),  # 784-128-10
        (32, GROUPED, 2, (1, False)),  # too little for two
        (128, GROUPED - 1, 2, (1, False)),
        (900, GROUPED - 1, 16, (8, False)),  # parts of 128
        (900, 101_770, 4, (4, False)),
        (900, 669_706, 4, (2, False)),  # parts of 512
    ],
)
def test_threads_of_a_batch(batch, n_params, n_threads, expected):
    assert sharers(batch, wide_block(n_params, 4), n_params, n_threads) == expected


@pytest.mark.parametrize("batch", [100, 256, 300, 900])
@pytest.mark.parametrize("zeros", [0.0, 0.9])
def test_large_blocks_train_like_the_reference(batch, zeros):
    """Up to three blocks of 256 of a batch, or several parts; columns of zeros, which the first block's gradient leaves
    out, and other ones in the next."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 200)) * (rng.random((900, 200)) > zeros)
    x[:, rng.random(200) < zeros / 2] = 0
    x[:256, :50], x[256:, 50:100] = 0, 0
    y = rng.integers(0, 10, 900)
    spec = [{"n": 200, "act": None}, *({"n": n, "act": "tanh"} for n in (420, 120)), {"n": 10, "act": "softmax"}]
    model = fastmlp.MLP(spec, seed=0, dtype="float64")
    assert model._engine.binding.block > BLOCK
    start = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
    options = {"lr": 0.3, "epochs": 2, "batch_size": batch, "shuffle": False}
    history = fastmlp.train(x, y, model, **options).history
    orders = [np.arange(900)] * 2
    weights, biases, losses = reference.train(
        model.spec, *start, x, reference.targets(model.spec, y), 0.3, 2, batch, orders
    )
    for ours, theirs in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)
