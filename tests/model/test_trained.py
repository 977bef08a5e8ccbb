"""What train_many returns is used as a list of networks is, and made of arrays when it is asked for."""

from __future__ import annotations

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

import fastmlp
from fastmlp.engine.lanes import lanes_of

X, Y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])
SPEC = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]


@pytest.fixture(params=[True, False], ids=["lanes", "alone"])
def trained(request):
    grid = {"lr": [0.1, 0.2], "l2": [0.0, 0.01]}
    return fastmlp.train_many(X, Y, SPEC, seeds=range(20), grid=grid, epochs=3, lanes=request.param)


def test_a_sequence_like_a_list(trained):
    listed = list(trained)
    assert len(trained) == len(listed) == 80 and trained and trained == listed and listed == trained
    assert (trained[0], trained[-1], trained[np.int64(7)]) == (listed[0], listed[-1], listed[7])
    for part in (slice(5), slice(None, None, -3), slice(70, 200), slice(90, 95)):
        assert trained[part] == listed[part]
        assert [one.settings for one in trained[part]] == [one.settings for one in listed[part]]
    assert trained[10:40][5:8][-1] == listed[17]
    assert listed[3] in trained and trained.index(listed[3]) == 3 and list(reversed(trained)) == listed[::-1]
    assert trained + listed[:2] == listed + listed[:2] and listed[:2] + trained[:1] == [*listed[:2], listed[0]]
    assert trained != listed[1:] and trained != listed[::-1] and trained != tuple(listed)
    assert sorted(trained, key=lambda one: one.settings["seed"])[0].settings["seed"] == 0
    for index in (80, -81):
        with pytest.raises(IndexError, match=f"there are 80 networks, got index {index}"):
            trained[index]
    with pytest.raises(TypeError):
        trained["loss"]
    assert repr(trained) == "<fastmlp.TrainedNetworks: 80 networks>"
    assert repr(trained[:1]) == "<fastmlp.TrainedNetworks: 1 network>"


def test_settings_are_in_order(trained):
    expected = [(lr, l2, seed) for lr in (0.1, 0.2) for l2 in (0.0, 0.01) for seed in range(20)]
    assert [tuple(one.settings.values())[1:] for one in trained] == expected
    for one in (trained[0], trained[45]):
        model, history = fastmlp.train(X, Y, SPEC, epochs=3, **{k: v for k, v in one.settings.items() if k != "spec"})
        np.testing.assert_allclose(one.model.params, model.params, atol=1e-5)
        assert one.history.keys() == history.keys() and one.history.epochs == 3 and one.error is None


def test_what_is_done_to_a_model_is_kept(trained):
    model = trained[4].model
    assert trained[4].model is model and trained[:10][4].model is model
    model.params[:] = 0
    model.metadata["mine"] = 1
    assert trained[4].model.metadata == {"mine": 1} and not trained[4].model.params.any()
    assert trained[3].model.params.any() and trained[5].model.params.any()


def test_one_of_them_is_read_only_and_can_be_pickled(trained):
    one = trained[7]
    for name in ("model", "history", "settings", "error"):
        with pytest.raises(AttributeError):
            setattr(one, name, None)
    other = pickle.loads(pickle.dumps(one))
    assert other == one and other.model is not one.model and copy.deepcopy(one) == one
    assert len(pickle.dumps(one)) < 4000  # without its neighbours
    assert repr(one).startswith(
        "Trained(model=<fastmlp.MLP 2 → 8 tanh → 1 sigmoid, bce, 33 float32 parameters>, settings="
    )
    assert pickle.loads(pickle.dumps(trained[5:9])) == trained[5:9]


def test_networks_side_by_side_take_little_more_than_their_numbers():
    n, epochs = 20_000, 4
    fastmlp.train_many(X, Y, SPEC, seeds=range(100), epochs=1)
    tracemalloc.start()
    trained = fastmlp.train_many(X, Y, SPEC, seeds=range(n), epochs=epochs)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(trained) == n
    shared = 1900 / lanes_of(np.dtype("float32"))  # what the networks that lie side by side have together
    assert held / n < 4 * 33 + 16 * epochs + shared
