"""The README's Python runs and says what it says."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_examples():
    failures, tried = doctest.testfile(str(README), module_relative=False)
    assert tried > 4 and failures == 0


def test_ten_lines():
    code = re.search(r"```python\n(import fastmlp\nfrom.*?)```", README.read_text(), re.DOTALL)[1]
    names: dict = {}
    exec(code, names)
    assert names["model"].evaluate(names["x_test"], names["y_test"])["accuracy"] > 0.95
