"""Every failure of parsing is one clear line; depth, digits and sizes are bounded before a value is built."""

import json
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from metaxcr.errors import UserError
from metaxcr.parse import (
    DEPTH,
    digits_value,
    dump_yaml,
    json_value,
    lines_of_text,
    literal_value,
    number,
    parse_json,
    parse_yaml,
    read_json,
    read_json_object,
    read_pickled_tensors,
    read_tensors,
    read_text,
    read_yaml,
    too_deep_at,
    yaml_value,
)

SEPARATORS = "\u2028\u2029\x85\x1c\x1d\x1e\x0b\x0c"


def aliases(first: str, many: int, levels: int) -> str:
    """A few lines that repeat one another."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * many)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_lines_end_at_line_feeds_alone() -> None:
    assert lines_of_text(f"a{SEPARATORS}b\r\nc\n") == [f"a{SEPARATORS}b\r", "c"]
    assert lines_of_text("") == [] and lines_of_text("\n\n") == ["", ""] and lines_of_text("a") == ["a"]


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), max_size=5))
def test_json_lines_come_back_whatever_the_texts_hold(rows: list[Any]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert [json_value(line) for line in lines_of_text(text)] == rows


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 101, "nested too deeply"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "nested too deeply"),
        ("9" * 5000, "too many digits"),
        ('{"a": -' + "9" * 401 + "}", "too many digits"),
        (r'["\ud800"]', "half a surrogate pair"),
        ("", "Expecting value"),
        ("\0", "Expecting value"),
        ('{"a": 1,}', "double quotes"),
    ],
)
def test_json_that_cannot_be_read_is_one_line(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        parse_json(text, "f.json")
    assert str(caught.value).isprintable() and caught.value.where == "f.json" and caught.value.fix


def test_depth_is_counted_outside_of_texts() -> None:
    assert json_value("[" * DEPTH + "]" * DEPTH) is not None
    brackets = json.dumps(["[" * 500, '\\"[{' * 500, "]"])
    assert too_deep_at(brackets) == -1 and json_value(brackets)
    assert too_deep_at("[]" * 500) == -1
    assert too_deep_at("ab" + "[" * 200) == 2 + DEPTH


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: " + "9" * 5000, "too many digits"),
        ("a: !!int x", "not a value of the type int"),
        ("a: !!bool x", "not a value of the type bool"),
        ("a: !!float ''", "not a value of the type float"),
        ("a: 0b_", "not a value of the type int"),
        ("a: !!timestamp x", "'timestamp' is not allowed"),
        ("a: !!binary aGk=", "'binary' is not allowed"),
        ("a: !!python/object/apply:os.getcwd []", "is not allowed in settings"),
        ("a: " + "[" * 3000, "nested too deeply"),
        ("- " * 3000, "nested too deeply"),
        ("? " * 3000, "nested too deeply"),
        ('a: "\\ud800"', "half a surrogate pair"),
        ('a: "\\U00110000"', "not valid YAML"),
        ("&a [*a]", "an alias is inside"),
        ("&a {b: [*a]}", "an alias is inside"),
        ("<<: *x", "undefined alias"),
        ("<<: 1", "expected a mapping"),
        ("? [1]\n: 2", "unhashable"),
        (aliases("[x, x]", 9, 12), "its aliases make it too large"),
        (aliases("[x]", 1, 3000), "its aliases make it too large"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: \x00", "special characters"),
        ("a: [1", "expected ',' or ']'"),
    ],
)
def test_yaml_that_cannot_be_read_is_one_line(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value).isprintable() and (caught.value.where or "").startswith("f.yaml")


def test_merged_aliases_are_counted_before_they_are_merged() -> None:
    lines = ["m0: &m0 {k: 1}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    with pytest.raises(yaml.YAMLError, match="too large"):
        yaml_value("\n".join(lines))


def test_yaml_keeps_what_settings_need() -> None:
    assert yaml_value("2024-13-45") == "2024-13-45"  # dates are texts: real ones, and such as are none
    assert yaml_value("[2024-01-31, 1:60:3, =, 0x1f, 1_000, .inf, ~, yes, 'a']") == [
        "2024-01-31", "1:60:3", "=", 31, 1000, math.inf, None, True, "a",
    ]  # fmt: skip
    assert yaml_value("a: &x {b: 1}\nc: {<<: *x, d: *x}") == {"a": {"b": 1}, "c": {"b": 1, "d": {"b": 1}}}


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_yaml_that_we_write_is_read_back(value: Any) -> None:
    assert yaml_value(dump_yaml(value)) == value
    assert yaml.safe_load(dump_yaml(value)) == value


@pytest.mark.parametrize(
    "text",
    ["{[]}", "(" * 1000, "-" * 100_000 + "1", "[" * 5000, "9" * 5000, "\0", r"'\ud800'", "1if 2 else 3",
     "f'x'", "{**1}", "[*1]", r"'\N{foo}'", "", "a b", "{{}: 1}", "1" + "+1j" * 50_000, "'a",
     "__import__('os')"],
)  # fmt: skip
def test_what_is_no_literal_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="literal"):
        literal_value(text)


def test_literals() -> None:
    assert literal_value(" ['a', \"b's\", None, True] ") == ["a", "b's", None, True]
    assert literal_value(r"['a\d\u2028']") == ["a\\d\u2028"]


@pytest.mark.parametrize(
    "value",
    [0, -1, 10**400, 10**7, math.nan, math.inf, -math.inf, 1.5, "16", True, None, [16], {}, 1e308],
)
def test_numbers_out_of_bounds_are_named(value: object) -> None:
    with pytest.raises(UserError, match=r"r is .*, not a whole number from 1 to 1000") as caught:
        number(value, "r", "f.json", low=1, high=1000, whole=True)
    assert len(str(caught.value)) < 200


def test_texts_of_digits() -> None:
    assert [digits_value(t) for t in ("012", "9" * 18, "9" * 19, "9" * 5000, "", "-1", "1.0", "\u00b2")] == [
        12, 10**18 - 1, None, None, None, None, None, None,
    ]  # fmt: skip


def test_numbers() -> None:
    assert number(16.0, "r", "f", low=1, high=16, whole=True) == 16
    assert number(1.5, "r", "f") == 1.5


@pytest.mark.parametrize("read", [read_text, read_json, read_yaml, read_tensors, read_pickled_tensors])
def test_files_that_are_none_are_one_line(tmp_path: Path, read: Any) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "file").write_text("x")
    for name, told in (
        ("x" * 300, "File name too long"), ("x/" * 3000, "File name too long"), ("a\0b", "null byte"),
        ("loop", "leads nowhere: loop"), ("broken", "leads nowhere: nowhere"), ("no", "no such file"),
        ("file/x", "no such file"), (".", "a folder"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=told) as caught:
            read(tmp_path / name)
        assert len(str(caught.value)) < 500


def test_text_that_is_not_utf_8_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa\r\nb\xff\n")
    with pytest.raises(UserError, match="not UTF-8") as caught:
        read_text(tmp_path / "f")
    assert caught.value.where == f"{tmp_path / 'f'}:2"
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa\r\nb")
    assert read_text(tmp_path / "f") == "a\r\nb"


def test_json_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("[1]")
    with pytest.raises(UserError, match="not an object"):
        read_json_object(tmp_path / "f")


def test_tensors_come_back(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "f")
    assert read_pickled_tensors(tmp_path / "f")["a"].tolist() == [1, 1]


def test_a_tensor_that_claims_to_be_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1).expand(10**9)}, tmp_path / "f")
    with pytest.raises(UserError, match="not a plain one"):
        read_pickled_tensors(tmp_path / "f")
    torch.save({"a": torch.ones(2, device="meta")}, tmp_path / "f")
    with pytest.raises(UserError, match="not a plain one"):
        read_pickled_tensors(tmp_path / "f")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"\x80\x02.", b"\x80\x02]q\x00.", b"\x80\x02h\x05.", b"\x80\x02}R.", b"x" * 100,
     pickle.dumps([1]), pickle.dumps({"a": 1}), b"PK\x05\x06" + bytes(18)],
)  # fmt: skip
def test_damaged_pickles_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_pickled_tensors(tmp_path / "f")
    assert "\n" not in str(caught.value)


def test_a_packed_pickle_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", bytes(10**8))
    with pytest.raises(UserError, match="far more than its size"):
        read_pickled_tensors(tmp_path / "f")
