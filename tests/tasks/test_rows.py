import pytest

from metaxcr.errors import UserError
from metaxcr.tasks.rows import FORMATS, Defect, read_copa_xml, read_csv, read_jsonl, read_tsv, value_of


def written(tmp_path, content):
    path = tmp_path / "rows.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_jsonl_keeps_line_numbers_and_unusual_line_separators(tmp_path):
    path = written(tmp_path, '\ufeff{"a": "x\u2028y"}\r\n\n{"a": "z"}')
    assert list(read_jsonl(path)) == [(1, {"a": "x\u2028y"}), (3, {"a": "z"})]


def test_csv_knows_quotes_and_tsv_does_not(tmp_path):
    csv_path = written(tmp_path, 'id,text\n1,"a, ""b"""\n')
    assert list(read_csv(csv_path)) == [(2, {"id": "1", "text": 'a, "b"'})]
    tsv_path = written(tmp_path, '1\tsay "go"\n')
    assert list(read_tsv(tsv_path, ["id", "text"])) == [(1, {"id": "1", "text": 'say "go"'})]


def test_copa_xml(tmp_path):
    content = (
        '<copa-corpus>\n <item id="7" asks-for="cause">\n  <p>A &amp; b.</p>\n  <a1>C.</a1>\n </item>\n'
        "</copa-corpus>"
    )
    expected = {"id": "7", "asks-for": "cause", "p": "A & b.", "a1": "C."}
    assert list(read_copa_xml(written(tmp_path, content))) == [(2, expected)]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("jsonl", '{"a": 1}\n{"a": \n', 2),
        ("jsonl", '{"a": 1}\n\n["a"]\n', 3),
        ("jsonl", '{"a": "\\uD83D"}\n', 1),
        ("jsonl", b'{"a": 1}\n{"a": "\xff"}\n', 2),
        ("csv", "a,b\n1,2\n1\n", 3),
        ("csv", 'a,b\n1,"2"x\n', 2),
        ("tsv", "a\tb\n1\t2\t3\n", 2),
        ("copa-xml", "<copa>\n<item id='1'>\n</copa>", 3),
    ],
)
def test_a_malformed_line_is_named(tmp_path, name, content, line):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as caught:
        list(FORMATS[name](path, None))
    assert caught.value.where == f"{path}:{line}" and caught.value.fix


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(UserError) as caught:
        list(read_jsonl(tmp_path))
    assert caught.value.where == str(tmp_path)


def test_dotted_names_reach_into_objects():
    assert value_of({"a": {"b": 3}}, "a.b") == 3
    for name in ("a.c", "b", "a.b.c"):
        with pytest.raises(Defect, match=f"no field '{name}'"):
            value_of({"a": {"b": 3}}, name)
