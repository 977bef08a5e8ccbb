"""base/generators.py: NumPy's generators, with seeds of their own where none is given."""

import copy
import pickle

import numpy as np
import pytest

from fastmlp.base.generators import new_generator


@pytest.mark.parametrize("seed", [0, 2**80 + 7, (3, 1)])
def test_a_seed_gives_numpys_generator(seed):
    for _ in range(2):  # the second time what was mixed is known
        assert new_generator(seed).bit_generator.state == np.random.default_rng(seed).bit_generator.state
        assert new_generator(seed).random(5).tolist() == np.random.default_rng(seed).random(5).tolist()


def test_without_a_seed_no_two_are_alike():
    states = {new_generator(None).bit_generator.state["state"][key] for key in ("state", "inc") for _ in range(100)}
    assert len(states) == 200


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda rng: pickle.loads(pickle.dumps(rng))])
def test_a_copy_goes_on_alike(again, seed):
    rng = new_generator(seed)
    assert again(rng).random(5).tolist() == rng.random(5).tolist()
