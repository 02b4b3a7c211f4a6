import json

import pyarrow
import pytest
from pyarrow import parquet

from metaxcr.data.file_formats import FORMATS, read_dream, read_xwinograd, unpacked_size
from metaxcr.data.rows import Defect, Repairs
from metaxcr.errors import UserError


def winograd(tmp_path, sentence, tokens, pronoun, candidates, more=()):
    path = tmp_path / "rows.tsv"
    cells = ["xx", "s", "1", sentence, *(json.dumps(part) for part in (tokens, pronoun, candidates)), *more]
    path.write_text("\t".join(cells) + "\n", encoding="utf-8")
    ((line, row),) = read_xwinograd(path, None, Repairs())
    assert line == 1
    return row


def two(right=(True, False)):
    return [["Ann", [0, 1], [], right[0]], ["Bob", [1, 2], [], right[1]]]


@pytest.mark.parametrize(
    ("sentence", "tokens", "at", "pronoun", "blanked"),
    [
        ("He saw Ann; he ran.", ["He", "saw", "Ann", ";", "he", "ran"], 4, "he", "He saw Ann; _ ran."),
        ("An he he?", ["An", "he", "he", "?"], 2, "he", "An he _?"),
        ("Ann hit it.", ["Ann", "hit", "it."], 2, "it.", "Ann hit _."),
        ("花子は彼を見た。", ["花子は", "彼を", "見た。"], 1, "彼を", "花子は_を見た。"),
        ("因为他累了", ["因", "为", "他", "累"], 1, "为", "因为_累了"),
        ("因为累了", ["因", "为", "累"], 1, "为", "因为_累了"),
    ],
)
def test_the_pronoun_becomes_a_blank(tmp_path, sentence, tokens, at, pronoun, blanked):
    row = winograd(tmp_path, sentence, tokens, [pronoun, [at, at + 1], []], two((False, True)))
    assert (row["sentence"], row["choices"], row["label"], row["lang"]) == (blanked, ["Ann", "Bob"], 1, "xx")


@pytest.mark.parametrize(
    ("pronoun", "candidates", "more", "what"),
    [
        (["it", [1, 2]], two(), (), "no 'it' in the sentence"),
        (["b", [1, 2]], two((True, True)), (), "2 candidates are right"),
        (["b", [1, 2]], two((False, False)), (), "0 candidates are right"),
        (["b", [1, 2]], [{"a": 1}], (), "not as they should be"),
        (["b"], two(), (), "not as they should be"),
        ({}, [], (), "not as they should be"),
        (["b", [1, 2]], two(), ("more",), "8 fields where 7 belong"),
    ],
)
def test_damaged_winograd_rows_are_defects(tmp_path, pronoun, candidates, more, what):
    row = winograd(tmp_path, "a b c", ["a", "b", "c"], pronoun, candidates, more)
    assert isinstance(row, Defect) and what in row.what


def dream(tmp_path, document):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return [
        (line, row.what if isinstance(row, Defect) else row)
        for line, row in read_dream(path, None, Repairs())
    ]


def test_dialogues_become_one_row_a_question(tmp_path):
    asked = [{"question": "q0", "choice": ["a", "b"], "answer": "a"}, {"question": "q1"}]
    rows = dream(tmp_path, [[["A: x", "B: y"], asked, "d1"], [["z"], [], "d2"], [["z"], asked[:1], "d3"]])
    assert [(line, row["id"], row["dialogue"], row["question"]) for line, row in rows] == [
        (2, "d1-0", "A: x B: y", "q0"),
        (2, "d1-1", "A: x B: y", "q1"),
        (29, "d3-0", "z", "q0"),
    ]


@pytest.mark.parametrize(
    "dialogue",
    [["text", [{}], "d"], [[1], [{}], "d"], [["a"], {"a": 1}, "d"], [["a"], ["q"], "d"], {"dialogue": ["a"]}],
)
def test_what_is_no_dialogue_is_a_defect(tmp_path, dialogue):
    ((_, found),) = dream(tmp_path, [dialogue])
    assert "no dialogue with its questions" in found


def test_a_dialogue_has_three_parts(tmp_path):
    assert dream(tmp_path, [[["a"], []]]) == [(2, "2 fields where 3 belong")]


def read(tmp_path, form, content, columns=None, steps=("byte-order-mark", "line-ends")):
    path = tmp_path / "rows"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = list(FORMATS[form](path, columns, Repairs(steps)))
    return [(line, row.what if isinstance(row, Defect) else row) for line, row in rows]


def row(identity, text):
    return {"id": identity, "text": text}


@pytest.mark.parametrize(("form", "by"), [("csv", ","), ("csv-semicolon", ";"), ("tsv-quoted", "\t")])
def test_quoted_cells(tmp_path, form, by):
    content = f'\ufeff id{by}text \n1{by}"a{by} ""b"""\n\n2{by}"two\n\nlines"\n3{by}c "d"\r\n4{by}"e\u2028"'
    assert read(tmp_path, form, content) == [
        (2, row("1", f'a{by} "b"')),
        (4, row("2", "two\n\nlines")),
        (7, row("3", 'c "d"')),
        (8, row("4", "e\u2028")),
    ]


def test_tsv_knows_no_quotes(tmp_path):
    assert read(tmp_path, "tsv", '1\tsay "go"\n2\t"a\n', ["id", "text"]) == [
        (1, row("1", 'say "go"')),
        (2, row("2", '"a')),
    ]
    assert read(tmp_path, "tsv", "id\ttext\r\n\r\n1\ta\r\n") == [(3, row("1", "a"))]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_old_line_ends(tmp_path, form):
    by = {"csv": ",", "tsv": "\t"}[form]
    assert read(tmp_path, form, f"id{by}text\r1{by}a\r2{by}b\r") == [(2, row("1", "a")), (3, row("2", "b"))]


@pytest.mark.parametrize("form", ["csv", "tsv-quoted", "tsv"])
def test_a_record_that_cannot_be_read_is_a_defect_and_the_rest_is_read(tmp_path, form):
    by = "," if form == "csv" else "\t"
    bad = ["1", f"1{by}2{by}3", f"id{by}text", f"\ufeff1{by}a", f"1{by}\0"]
    lines = [f"id{by}text", *bad, f"9{by}z"]
    content = "\n".join(lines).encode() + f"\n1{by}".encode() + b"\xe9\n"
    assert read(tmp_path, form, content) == [
        (2, "1 fields where 2 belong"),
        (3, "3 fields where 2 belong"),
        (4, "the line repeats the names of the columns"),
        (5, "a byte order mark in the middle of the file"),
        (6, "the line holds a NUL byte"),
        (7, row("9", "z")),
        (8, "the line is not UTF-8 text"),
    ]


@pytest.mark.parametrize(
    ("form", "content", "what", "line"),
    [
        ("csv", 'a,b\n"x\ny",1\n1,"2"x\n', "broken quoting", 4),
        ("csv", 'a,b\n1,"2\n3,4\n', "broken quoting", 2),
        ("csv", "a,a\n", "two columns are named 'a'", 1),
        ("csv", "\n\na\0,b\n", "NUL", 3),
        ("tsv", "\na\tb\tb\n", "two columns are named 'b'", 2),
        ("tsv", b"\xff\tb\n", "UTF-8", 1),
        ("copa-xml", "<copa>\n<item id='1'>\n</copa>", "not XML", 3),
        ("copa-xml", "<c>\n<item><p>a</p>\n<p>b</p></item></c>", "the item has 'p' twice", 3),
        ("copa-xml", "<!DOCTYPE a [\n<!ENTITY b 'c'>]><copa/>", "declares the entity 'b'", 2),
    ],
)
def test_behind_some_lines_nothing_can_be_read(tmp_path, form, content, what, line):
    with pytest.raises(UserError) as caught:
        read(tmp_path, form, content)
    assert what in caught.value.what and caught.value.where == f"{tmp_path / 'rows'}:{line}"
    assert caught.value.fix


def test_copa_xml(tmp_path):
    content = (
        '<?xml version="1.0" encoding="latin-1"?>\n<copa-corpus>\n <item id="7" asks-for="cause">\n'
        "  <p>A &amp; <i>b</i> é.</p>x\n  <a1>C.</a1>\n </item><p>out</p><item id='8'/>\n</copa-corpus>"
    )
    expected = {"id": "7", "asks-for": "cause", "p": "A & b é.", "a1": "C."}
    assert read(tmp_path, "copa-xml", content) == [(3, expected), (6, {"id": "8"})]


def test_parquet(tmp_path):
    rows = [
        {"id": n, "text": "a", "nested": {"list": ["x", None]}, "objects": [{"k": "A", "n": 1.5}]}
        for n in range(1000)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=300)
    assert list(FORMATS["parquet"](tmp_path / "rows.parquet", None, Repairs())) == list(enumerate(rows, 1))


def test_sizes_are_those_of_the_unpacked_texts():
    texts = pyarrow.array(["ab", None, "ab", "cde"])
    packed = texts.dictionary_encode()
    assert unpacked_size(packed) == 7
    assert unpacked_size(pyarrow.ListArray.from_arrays([0, 1, 4], packed)) == 7
    assert unpacked_size(pyarrow.StructArray.from_arrays([packed, packed], ["a", "b"])) == 14
    keyed = pyarrow.array([[("k", "ab")]], pyarrow.map_(pyarrow.string(), pyarrow.string()))
    assert unpacked_size(keyed) == unpacked_size(keyed.keys) + unpacked_size(keyed.items) > 0
    assert unpacked_size(pyarrow.array([1, 2])) == 16


def test_parquet_that_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"a": ["text"] * 5000}), path)
    assert sum(1 for _ in FORMATS["parquet"](path, None, Repairs())) == 5000
    monkeypatch.setattr("metaxcr.data.file_formats.FREE", 10)
    monkeypatch.setattr("metaxcr.data.file_formats.RATIO", 1)
    with pytest.raises(
        UserError, match=r"unpacks to 500,000 bytes or more, .* are allowed \(.*rows\.parquet\)"
    ):
        list(FORMATS["parquet"](path, None, Repairs()))
