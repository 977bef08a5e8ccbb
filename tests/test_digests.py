"""No result changes by a bit, unless a commit says so: tests/digests.py makes the numbers, this holds them still."""

import json
import runpy
from pathlib import Path

import pytest

from fastmlp.kernels.checked import checked

DIGESTS = runpy.run_path(str(Path(__file__).with_name("digests.py")))
KNOWN = json.loads(DIGESTS["FILE"].read_text()).get(DIGESTS["made_by"](), {})


@pytest.mark.parametrize("name", DIGESTS["TRAININGS"])
def test_training_makes_the_bits_of_before(name):
    if checked():
        pytest.skip("the checked build makes other bits")
    if name not in KNOWN:
        pytest.skip(f"no digest is known of {DIGESTS['made_by']()}; scripts/digests makes them")
    assert DIGESTS["digest"](name) == KNOWN[name]
