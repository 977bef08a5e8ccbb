"""Spec: printing, round trips through lists, JSON and pickles, and its warning."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmlp
from fastmlp.spec import spec_of

SPEC = [
    {"n": 7, "act": None},
    {"n": 5, "act": fastmlp.leaky_relu, "slope": 0.2},
    {"n": 3, "act": "softmax", "cost": "CE"},
]


def test_spec_prints_a_table():
    lines = str(fastmlp.Spec(SPEC)).splitlines()
    assert lines[0].split() == ["layer", "activation", "weights", "biases", "parameters"]
    assert lines[2].split() == ["1", "leaky_relu", "(5,", "7)", "5", "40"]
    assert lines[-1] == "loss: cross_entropy, 58 parameters"


layer = st.fixed_dictionaries(
    {"n": st.integers(1, 9), "act": st.sampled_from(["relu", "tanh", "softmax", "leaky_relu", "sine", "linear"])},
    optional={"bias": st.booleans(), "trainable": st.booleans()},
)


numbers = st.floats(-10, 10, allow_nan=False)


@given(st.integers(1, 4), st.lists(layer, min_size=1, max_size=4), st.none() | numbers, st.none() | numbers)
@settings(max_examples=50, deadline=None)
def test_spec_round_trips(n_in, layers, shift, scale):
    if layers[-1]["act"] == "softmax":
        layers[-1]["n"] += 1  # one output is refused
    spec = fastmlp.Spec([{"n": n_in, "act": None, "shift": shift, "scale": scale}, *layers])
    assert fastmlp.Spec(spec.to_list()) == spec == fastmlp.Spec.from_json(spec.to_json())
    assert pickle.loads(pickle.dumps(spec)) == spec == fastmlp.Spec(spec)
    assert hash(spec) == hash(fastmlp.Spec(spec.to_list()))
    assert spec.n_params == fastmlp.MLP(spec).params.size


def test_frozen_layers_are_seen():
    spec = fastmlp.Spec([SPEC[0], {**SPEC[1], "trainable": False}, SPEC[2]])
    assert str(spec).splitlines()[2].split() == ["1", "leaky_relu", "(frozen)", "(5,", "7)", "5", "40"]
    assert "'trainable': False" in repr(spec) and "trainable" not in fastmlp.Spec(SPEC).to_json()
    assert [layer.trainable for layer in spec.layers] == [False, True]
    with pytest.raises(TypeError, match=r"spec\[1\]\['trainable'\] must be True or False, got 'no'"):
        fastmlp.Spec([SPEC[0], {**SPEC[1], "trainable": "no"}, SPEC[2]])


def test_spec_is_frozen():
    spec = fastmlp.Spec(SPEC)
    with pytest.raises(AttributeError):
        spec.n_in = 3
    assert len(spec) == 3 and spec.widths == (7, 5, 3) and spec.n_out == 3


def test_step_warns():
    with pytest.warns(UserWarning, match=r"spec\[2\].*layers 1 to 2 do not train"):
        fastmlp.Spec([{"n": 2}, {"n": 3, "act": "relu"}, {"n": 2, "act": "step"}, {"n": 1}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastmlp.Spec([{"n": 2}, {"n": 1}])


def test_equal_lists_have_one_spec():
    again = [dict(entry) for entry in SPEC]
    assert spec_of(SPEC) is spec_of(again) is spec_of(spec_of(SPEC))
    assert spec_of(SPEC) == fastmlp.Spec(SPEC)


@pytest.mark.parametrize(
    ("known", "other"),
    [({"slope": 0.0}, {"slope": -0.0}), ({"trainable": True}, {"trainable": np.True_}), ({"n": 1}, {"n": np.int64(1)})],
)
def test_a_spec_is_not_that_of_another_list(known, other):
    layer = {"n": 1, "act": "leaky_relu"}
    one, another = (spec_of([{"n": 2}, layer | more]) for more in (known, other))
    assert one is not another and repr(another) == repr(fastmlp.Spec([{"n": 2}, layer | other]))


@pytest.mark.parametrize("kind", [np.array, list, bytearray, lambda values: memoryview(np.array(values))])
def test_numbers_that_may_be_written_to_are_read_anew(kind):
    shift = kind([1, 2, 3])
    layers = [{"n": 3, "shift": shift}, {"n": 1}]
    assert spec_of(layers).shift == (1, 2, 3)
    shift[0] = 7
    assert spec_of(layers).shift == (7, 2, 3)


def test_a_number_that_changes_is_read_anew():
    class Number:
        value = 0.1

        def __float__(self):
            return self.value

    number = Number()
    layers = [{"n": 3}, {"n": 1, "act": "leaky_relu", "slope": number}]
    first = spec_of(layers)
    number.value = 0.9
    assert [first.layers[0].act.slope, spec_of(layers).layers[0].act.slope] == [0.1, 0.9]


def test_the_sign_of_a_zero_is_that_of_its_own_network():
    def negative(zero):
        model = fastmlp.MLP([{"n": 1}, {"n": 1, "act": "linear", "shift": zero}], seed=0)
        model.params[:] = -0.0
        return bool(np.signbit(model.predict(np.ones((1, 1)))[0, 0]))

    assert [negative(zero) for zero in (0.0, -0.0, 0.0)] == [False, True, False]


def test_a_known_spec_makes_no_bad_list_good():
    spec_of([{"n": 2}, {"n": 1}])
    with pytest.raises(TypeError, match=r"spec\[1\]\['n'\] must be a positive integer, got True") as raised:
        spec_of([{"n": 2}, {"n": True}])
    assert raised.value.__context__ is None


def test_numbers_in_lists_are_parsed_each_time():
    spec = [{"n": 2, "shift": [1.0, 2.0]}, {"n": 1, "act": "tanh"}]
    assert spec_of(spec) == spec_of(spec) == fastmlp.Spec(spec)


def test_step_warns_again():
    for _ in range(2):
        with pytest.warns(UserWarning, match="do not train") as caught:
            spec_of([{"n": 2}, {"n": 2, "act": "step"}])
        assert caught[0].filename == __file__
