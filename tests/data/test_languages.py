"""Language tags and scripts."""

import pytest

from metaxcr.data.languages import (
    language_groups,
    language_named,
    language_tag,
    script_warning,
)
from metaxcr.data.registry import task_spec
from metaxcr.errors import UserError


@pytest.mark.parametrize(
    ("given", "code"),
    [("sw", "sw"), ("swh", "sw"), ("SWH", "sw"), ("eng", "en"), ("cmn", "zh"), ("zh-Hant", "zh"),
     ("pt_BR", "pt"), ("sr-Latn", "sr"), ("hr-ckm", "hr"), ("quz", "qu"), ("gom", "gom"), ("mai", "mai"),
     ("arb", "ar"), ("iw", "he")],
)  # fmt: skip
def test_tags_become_the_code_of_the_language(given, code):
    tag = language_tag(given)
    assert tag.code == code
    assert (tag.note is None) == (given.casefold() == code)


def test_what_is_dropped_is_said():
    assert "only the language counts" in (language_tag("sr-Latn").note or "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("jp", "write 'ja'"),
        ("cn", "write 'zh'"),
        ("kr", "write 'ko'"),
        ("Swahili", "write 'sw'"),
        ("xx", "ISO 639"),
        ("und", "ISO 639"),
        ("", "ISO 639"),
        ("no such language", "ISO 639"),
    ],
)
def test_mistakes_are_explained(given, told):
    with pytest.raises(UserError, match="--language") as caught:
        language_tag(given)
    assert told in str(caught.value)


def test_kanuri_has_a_way_in():
    assert language_tag("kau").code == "kr"


def test_values_of_a_column():
    named = {value: language_named(value) for value in ("swh", "jp", "pt-BR", "hrvatski jezik", 3, "news")}
    assert named == {
        "swh": ("sw", "swh"),
        "jp": ("ja", ""),
        "pt-BR": ("pt", "pt-br"),
        "hrvatski jezik": ("hr", ""),
        3: None,
        "news": None,
    }


@pytest.mark.parametrize(
    ("text", "code", "fits"),
    [
        ("Mtu alikwenda.", "sw", True),
        ("Mtu alikwenda.", "th", False),
        ("ผู้ชายเปิดก๊อกน้ำ", "th", True),
        ("ผู้ชายเปิดก๊อกน้ำ", "sw", False),
        ("Предмет је спакован.", "sr", True),
        ("Predmet je spakovan.", "sr", True),
        ("田んぼの風景", "ja", True),
        ("パソコン", "zh", False),
        ("전쟁이 시작되었다.", "ko", True),
        ("123 !", "th", True),
        ("VISA 사증", "ko", True),
    ],
)
def test_a_script_that_does_not_fit_is_told(text, code, fits):
    assert (script_warning([text], code) is None) == fits


@pytest.mark.parametrize("task", ["xcopa", "xstorycloze", "xwinograd", "starter_target"])
def test_every_tested_language_has_a_family_and_a_script(task: str) -> None:
    for language in task_spec(task).languages:
        groups = language_groups(language, "embedded")
        assert "unknown" not in groups.values(), language


@pytest.mark.parametrize(
    ("language", "encoder", "seen"),
    [
        ("qu", "embedded", "not seen"),
        ("ht", "xlm-roberta-base", "not seen"),
        ("sw", "embedded", "seen"),
        ("ht", "bert-base-multilingual-cased", "seen"),
        ("qu", "bert-base-multilingual-cased", "not seen"),
        ("sw", "some/other", "unknown"),
        ("sw", "random-tiny:bert-base-multilingual-cased", "unknown"),
    ],
)
def test_what_encoders_have_seen(language: str, encoder: str, seen: str) -> None:
    assert language_groups(language, encoder)["seen"] == seen


def test_the_groups_of_a_language() -> None:
    assert language_groups("th", "embedded") == {"family": "Tai-Kadai", "script": "Thai", "seen": "seen"}
