import json

import pytest

from metaxcr.data.json_rows import read_json, read_jsonl
from metaxcr.data.rows import Defect, Repairs
from metaxcr.errors import UserError

ROWS = [{"id": n, "text": f"ガラス {n}", "in": {"list": [n, "]"]}} for n in range(3)]
LIST = [[row["id"], row["text"]] for row in ROWS]


def read(tmp_path, content, reader=read_json, columns=None, steps=("repeated-keys", "line-ends")):
    path = tmp_path / "rows.json"
    path.write_text(content, encoding="utf-8", newline="")
    repairs = Repairs(steps)
    rows = list(reader(path, columns, repairs))
    return [(line, row.what if isinstance(row, Defect) else row) for line, row in rows], repairs.counts


def by_line(*lines):
    return list(zip(lines, ROWS, strict=True))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (json.dumps(ROWS), (1, 1, 1)),
        (json.dumps(ROWS, indent=1, ensure_ascii=False), (2, 12, 22)),
        ("".join(json.dumps(row) + "\n" for row in ROWS), (1, 2, 3)),
        ("\n\n".join(json.dumps(row) for row in ROWS), (1, 3, 5)),
        ("\n".join(json.dumps(row, indent=1) for row in ROWS), (1, 11, 21)),
        ("".join(json.dumps(row) for row in ROWS), (1, 1, 1)),
        (",\n".join(json.dumps(row) for row in ROWS), (1, 2, 3)),
        ("\n[\n" + ",\n".join(json.dumps(row) for row in ROWS) + "\n]\n", (3, 4, 5)),
        ("[\r\n" + ",\r\n".join(json.dumps(row) for row in ROWS) + "]\r\n", (2, 3, 4)),
        ("[\r" + ",\r".join(json.dumps(row) for row in ROWS) + "]", (2, 3, 4)),
        ('{"version": 1,\n"data":\n[' + ",\n".join(map(json.dumps, ROWS)) + '],\n"x": []}', (3, 4, 5)),
        (json.dumps({"data": ROWS}, indent=1), (3, 13, 23)),
        ('{"x": ["data"], "d\\u0061ta": [\n' + ",\n".join(map(json.dumps, ROWS)) + "]}", (2, 3, 4)),
        ('{"x": {"data": [1]}, "data": [\n' + ",\n".join(map(json.dumps, ROWS)) + "]}", (2, 3, 4)),
    ],
)
def test_documents_of_every_shape(tmp_path, content, lines):
    assert read(tmp_path, content) == (by_line(*lines), {})


def test_lists_of_lists(tmp_path):
    rows = [{"id": row["id"], "text": row["text"]} for row in ROWS]
    content = "[" + ",\n".join(map(json.dumps, [["id", " text "], *LIST])) + "]"
    assert read(tmp_path, content)[0] == list(zip((2, 3, 4), rows, strict=True))
    content = "[" + ",\n".join(map(json.dumps, LIST)) + "]"
    assert read(tmp_path, content, columns=["id", "text"])[0] == list(zip((1, 2, 3), rows, strict=True))


def test_one_object_is_one_row(tmp_path):
    row = {"question": "q", "choices": ["a", "b"], "label": 0}
    assert read(tmp_path, json.dumps(row, indent=1))[0] == [(1, row)]
    many = {"a": [{}], "b": 1, "c": 2, "d": 3}
    assert read(tmp_path, json.dumps(many))[0] == [(1, many)]


def test_nothing_is_no_row(tmp_path):
    for content in ("", "\n \n", "[]", "[\n]\n"):
        assert read(tmp_path, content)[0] == []


@pytest.mark.parametrize("reader", [read_json, read_jsonl])
def test_repeated_keys(tmp_path, reader):
    content = '{"a": 1, "a": 2}\n{"a": 3}\n{"b": {"a": 4, "a": 5}}\n'
    rows, counts = read(tmp_path, content, reader)
    assert rows == [(1, {"a": 2}), (2, {"a": 3}), (3, {"b": {"a": 5}})] and counts == {"repeated-keys": 2}
    rows, counts = read(tmp_path, content, reader, steps=())
    assert rows == [(1, "a key occurs twice"), (2, {"a": 3}), (3, "a key occurs twice")] and not counts


def test_jsonl_keeps_line_numbers_and_unusual_line_separators(tmp_path):
    content = '\ufeff{"a": "x\u2028y"}\r\n\n  {"a": "z"} \n'
    path = tmp_path / "rows.jsonl"
    path.write_text(content, encoding="utf-8", newline="")
    assert list(read_jsonl(path, None, Repairs())) == [(1, {"a": "x\u2028y"}), (3, {"a": "z"})]


def test_what_stands_against_a_line_is_a_defect(tmp_path):
    deep, digits = "[" * 10**5, "1" * 5000
    content = (
        f'{{}}\n{{"a": \n["a"]\n{{"a": "\\ud83d"}}\n{deep}\n{{"a": {digits}}}\n{{"a": "\\ud83d\\ude00"}}\n'
    )
    rows, _ = read(tmp_path, content, read_jsonl)
    assert rows == [
        (1, {}),
        (2, "the line is not JSON (Expecting value at column 6)"),
        (3, "the line is JSON, but not an object"),
        (4, "half a surrogate pair (\\ud...)"),
        (5, "the line is nested too deeply"),
        (6, "a number has too many digits"),
        (7, {"a": "😀"}),
    ]


@pytest.mark.parametrize(
    ("content", "what", "line"),
    [
        ("[\n{},\n{}", "the list does not end", 3),
        ("[{}]\n{}", "something follows the list", 2),
        ("[{}]\n[{}]", "something follows the list", 2),
        ("{}\n]", "Expecting value", 2),
        ('[{},\n{"a": "b\n"}]', "Invalid control character", 2),
        ("[{},\n" + "[" * 10**5, "nested too deeply", 2),
        ("[{},\n" + "1" * 5000 + "]", "too many digits", 2),
    ],
)
def test_from_where_a_document_is_no_json_nothing_is_read(tmp_path, content, what, line):
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    assert what in caught.value.what and caught.value.where == f"{tmp_path / 'rows.json'}:{line}"


def test_rows_of_a_document_that_are_no_objects_are_defects(tmp_path):
    rows, _ = read(tmp_path, '[{},\n1, "a", NaN,\n{"a": "\\ud83d"}]')
    no = "the line is JSON, but not an object"
    assert rows == [(1, {}), (2, no), (2, no), (2, no), (3, "half a surrogate pair (\\ud...)")]
