"""Errors for the commonest mistakes name pages of the documentation, which are there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.base import pages

DOCS = Path(__file__).parents[2] / "docs"
X, Y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 1, 0])
CLASSES = [{"n": 3, "act": None}, {"n": 2, "act": "softmax"}]
NUMBERS = [{"n": 3, "act": None}, {"n": 2, "act": "linear"}]


@pytest.mark.parametrize("name", [name for name in pages.__all__ if name.isupper()])
def test_pages_and_headings_are_there(name):
    page = getattr(pages, name)
    text = (DOCS / page.file).read_text(encoding="utf-8")
    assert page.heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "x", "y", "spec", "options"),
    [
        (pages.DATA, X[0], Y, CLASSES, {}),
        (pages.TARGETS, X, Y, NUMBERS, {}),
        (pages.TARGETS, X, Y[:, None], CLASSES, {}),
        (pages.TARGETS, X, Y + 1, CLASSES, {}),
        (pages.TARGETS, X, Y / 3, CLASSES, {}),
        (pages.TARGETS, X, ["a", "b", "b", "a"], NUMBERS, {}),
        (pages.TABLES, X * np.nan, Y, CLASSES, {}),
        (pages.CHOOSE_A_LOSS, X, Y, CLASSES, {"loss": "hinge"}),
        (pages.DESCRIBE, X, Y, [CLASSES[0], {"units": 2, "activation": "softmax"}], {}),
        (pages.DESCRIBE, X, Y, [CLASSES[0], {"n": 4, "act": "relu", "dropout": 0.1}, CLASSES[1]], {}),
        (pages.WHERE_TO_START, X * 1e6, X[:, :2], NUMBERS, {"lr": 0.1, "epochs": 50}),
    ],
)
def test_mistakes_name_the_page_that_helps(page, x, y, spec, options):
    with pytest.raises((ValueError, TypeError, fastmlp.DivergenceError), match=re.escape(str(page))):
        fastmlp.train(x, y, spec, **options)


@pytest.mark.parametrize(
    ("page", "columns"),
    [(pages.TABLES, {"b": ["u", "v", "u", "v"]}), (pages.TABLES, {"b": [1.0, None, 2.0, 3.0]}), (pages.FRAMES, {})],
)
def test_mistakes_with_frames_name_the_page_that_helps(page, columns):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], **columns, "c": [1, 2, 3, 4]})
    with pytest.raises((ValueError, TypeError), match=re.escape(str(page))):
        fastmlp.train(frame, Y, CLASSES)
