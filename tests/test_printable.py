"""What a terminal would obey is shown; what scripts need is left as it is."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaxcr.errors import UserError
from metaxcr.printable import printable, printable_json, shorten, shorten_all

OBEYED = {chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in ("Cc", "Cs", "Zl", "Zp")}
OBEYED |= {chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
OBEYED -= {"\n", "\t"}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb\x7f", r"a\x0db\x7f"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u202egpj.exe\u2069", r"\u202egpj.exe\u2069"),
        ("\ud83d", r"\ud83d"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian: a joiner within the word
        ("क्\u200dष", "क्\u200dष"),
        ("\u200fשלום\u200e (abc)", "\u200fשלום\u200e (abc)"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
    ],
)
def test_examples(raw: str, shown: str) -> None:
    assert printable(raw) == shown
    assert str(UserError(raw, raw, raw)) == f"{shown} ({shown}): {shown}"


def test_every_character_that_is_obeyed_is_escaped_and_no_letter_is() -> None:
    for code in range(0x110000):
        character = chr(code)
        if character in OBEYED:
            assert printable(character).isascii() and len(printable(character)) > 1, hex(code)
        elif unicodedata.category(character)[0] in "LMNPS":
            assert printable(character) is character, hex(code)


@given(st.text(alphabet=st.characters(codec=None) | st.sampled_from(sorted(OBEYED))))
def test_nothing_that_is_obeyed_is_left(text: str) -> None:
    assert not OBEYED & set(printable(text))
    assert printable(printable(text)) == printable(text)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(alphabet=st.characters() | st.sampled_from(sorted(OBEYED))),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_printable_json_has_the_same_value(value: object) -> None:
    text = printable_json(json.dumps(value, indent=1, ensure_ascii=False))
    assert not OBEYED & set(text)
    assert json.loads(text) == json.loads(json.dumps(value))


@given(st.lists(st.text(max_size=70), unique=True, max_size=12), st.integers(6, 30))
def test_short_names_fit_and_differ(names: list[str], limit: int) -> None:
    short = shorten_all(names, limit)
    assert list(short) == names
    assert len(set(short.values())) == len(names)
    assert all(len(name) <= limit for name in short.values())
    assert all(short[name] == name for name in names if name.isalnum() and len(name) <= limit)


def test_a_short_name_has_both_ends() -> None:
    assert shorten("commonsenseqa_in_estonian", 12) == "common…onian"
    assert shorten("copa", 12) == "copa"
