"""Text out of files: what is shown of it, and the one line in which a file is refused."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from fastmlp.base.text import printable, refusal

COMMANDING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's controls, marks of direction, half characters, line ends


def test_no_character_that_commands_a_terminal_is_left():
    everything = [chr(code) for code in range(sys.maxunicode + 1)]
    for letter in everything:
        shown = printable(letter)
        assert not any(unicodedata.category(part) in COMMANDING for part in shown), ascii(letter)
        assert shown == letter or shown.isascii()
    assert printable("".join(everything[:256])).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe in m²", "Größe in m²"), ("a\x1b[31mb", r"a\x1b[31mb"), ("a\nb\t", r"a\nb\t"), ("\x9b2J", r"\x9b2J"),
        ("\u202egnp.exe", r"\u202egnp.exe"), ("\ud800", r"\ud800"), ("it's \\ \"", "it's \\ \""),
        ("", ""), ("日本", "日本"),
    ],
)  # fmt: skip
def test_text_is_shown_as_it_is_but_for_those(text, shown):
    assert printable(text) == shown and printable(shown) == shown


def test_a_refusal_is_one_short_line_that_names_the_file(tmp_path):
    error = refusal(tmp_path / "x", ValueError("a\n  b\x1b[0m " + "c" * 5000))
    assert type(error) is ValueError and str(error).startswith(f"{tmp_path / 'x'}: a b\\x1b[0m ccc")
    assert len(str(error)) < len(str(tmp_path)) + 420
    assert str(refusal("x", KeyError())) == "x: KeyError"
