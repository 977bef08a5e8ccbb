"""Names that users write: case, aliases, the nearest name, and what an error says of anything that is no name."""

from __future__ import annotations

import pytest

from fastmlp.base.suggest import did_you_mean, lookup, unknown_name

COLOURS = {"red": 1, "green": 2, "blue": 3}
ALIASES = {"crimson": "red"}


def colour(value):
    return lookup(value, COLOURS, ALIASES, "spec[2]", "paint.Colour", "wrap it")


@pytest.mark.parametrize(("name", "entry"), [("red", 1), ("Green", 2), ("BLUE", 3), ("crimson", 1), ("Crimson", 1)])
def test_a_name_or_an_alias_in_either_case_is_found(name, entry):
    assert colour(name) == entry


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("bleu", ValueError, "spec[2]: unknown colour 'bleu'; did you mean 'blue'?"),
        ("CRIMSN", ValueError, "spec[2]: unknown colour 'CRIMSN'; did you mean 'crimson'?"),
        ("x", ValueError, "spec[2]: unknown colour 'x'; known are blue, crimson, green, red"),
        ("", ValueError, "spec[2]: unknown colour ''; known are blue, crimson, green, red"),
        (3, TypeError, "spec[2] must be a name or a paint.Colour, got int"),
        (None, TypeError, "spec[2] must be a name or a paint.Colour, got NoneType"),
        (
            max,
            TypeError,
            "spec[2] must be a name or a paint.Colour, got builtin_function_or_method; wrap it",
        ),
    ],
)
def test_anything_else_is_refused_in_words(value, error, message):
    with pytest.raises(error) as caught:
        colour(value)
    assert str(caught.value) == message


def test_an_error_without_a_kind():
    assert str(unknown_name("colr", ["color", "size"], "grid")) == "grid: unknown 'colr'; did you mean 'color'?"


def test_only_the_beginning_of_a_name_is_compared():
    """A name out of a file may be megabytes; difflib's time grows with the square of its length."""
    assert did_you_mean("a" * 100 + "b" * 10_000_000, ["a" * 100]) == f"; did you mean {'a' * 100!r}?"
