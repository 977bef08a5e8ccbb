"""A sample of guards.py: every kind of dtype, order and place is in it."""

import os
import runpy
from pathlib import Path

import pytest

GUARDS = runpy.run_path(str(Path(__file__).with_name("guards.py")))


@pytest.mark.skipif(os.name != "posix", reason="no mprotect here")
def test_no_read_leaves_the_arrays_that_were_given():
    cases, every = GUARDS["CASES"], 37
    tried = cases[::every]
    for field in ("dtype", "order", "place"):
        assert {getattr(case, field) for case in tried} == {getattr(case, field) for case in cases}
    assert GUARDS["run"](range(0, len(cases), every)) == []
