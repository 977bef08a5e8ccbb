"""Records as Python fills them in: no field is forgotten or misspelt, and words are the record's own memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from fastmlp.engine.memory import Parameters, fields, record_of, words
from fastmlp.kernels.layout import JOB, LAYER, NUMBERS, TOTALS, aligned, parameter_places


@pytest.mark.parametrize("layout", [TOTALS, LAYER, *(JOB[name] for name in JOB.names)])
def test_fields_lie_as_the_record_says_whatever_order_they_are_given_in(layout):
    values = {name: float(i) for i, name in enumerate(layout.names)}
    record = np.array(fields(layout, **dict(reversed(values.items()))), layout)
    assert {name: record[name] for name in layout.names} == values


def test_a_field_that_is_missing_or_unknown_is_refused():
    with pytest.raises(KeyError, match="right"):
        fields(TOTALS, loss=1.0, slopes=0.0)
    with pytest.raises(TypeError, match="no such fields: wrong, more"):
        fields(TOTALS, loss=1.0, right=2.0, slopes=0.0, wrong=3.0, more=4.0)


def test_words_are_the_memory_of_a_record():
    job = np.zeros((), JOB)
    memory = words(job)
    assert memory.shape == (JOB.itemsize // 8,) and memory.ctypes.data == job.ctypes.data
    memory[:] = range(len(memory))
    call = words(job["call"])
    assert call[0] == job["call"]["order"] == memory[JOB.fields["call"][1] // 8]
    same = record_of(memory, JOB)
    same["step"]["key"] = -5
    assert job["step"]["key"] == -5


def test_words_keep_their_record_alive_and_a_record_its_words():
    numbers = np.zeros((), NUMBERS)
    memory = words(numbers)
    gone = weakref.ref(numbers)
    del numbers
    gc.collect()
    assert gone() is not None
    record = record_of(memory, NUMBERS)
    del memory
    gc.collect()
    record["rate"] = 0.5
    assert gone()["rate"] == 0.5


@pytest.mark.parametrize("widths", [[5, 16, 16], [5, 3, 2]], ids=["in place", "padded"])
def test_what_parameters_give_addresses_of_stays_alive(widths):
    places, size = parameter_places(widths, [True, True])
    params, states = aligned(size, np.dtype(np.float32)), [aligned(size, np.dtype(np.float32)) for _ in range(2)]
    references = [weakref.ref(array) for array in (params, *states)]
    parameters = Parameters(places, params, states)
    states.clear()
    del params
    gc.collect()
    assert all(reference() is not None for reference in references)
    assert parameters.flat_states.tolist() == [reference().ctypes.data for reference in references[1:]]
