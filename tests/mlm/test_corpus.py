"""Text and its held-out parts."""

from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.mlm.corpus import DOCUMENT_LINES, cut, documents, read_corpus, read_file


def test_blank_lines_separate_documents_and_otherwise_every_ten_lines() -> None:
    assert [d.lines for d in documents("f", ["a", "b ", "", "", " c", ""])] == [["a", "b"], ["c"]]
    sizes = [len(d.lines) for d in documents("f", [str(n) for n in range(25)])]
    assert sizes == [DOCUMENT_LINES, DOCUMENT_LINES, 5]
    assert documents("f", ["", " "]) == []


def test_documents_stay_whole_and_the_seed_alone_decides() -> None:
    docs = documents("f", [str(n) for n in range(200)])
    parts, again, other = cut(docs, 0.1, 0), cut(docs, 0.1, 0), cut(docs, 0.1, 1)
    assert parts == again and parts.test != other.test
    everything = [*parts.train, *parts.stop, *parts.test]
    assert sorted(everything, key=int) == [str(n) for n in range(200)] and parts.dropped == 0
    assert len(parts.stop) == len(parts.test) == 20
    for doc in docs:
        assert sum(set(doc.lines) <= set(part) for part in (parts.train, parts.stop, parts.test)) == 1


def test_a_held_out_line_is_never_trained_on() -> None:
    docs = documents("f", [f"own {n}" if n % 2 else "the same" for n in range(100)])
    parts = cut(docs, 0.1, 0)
    assert not set(parts.train) & {*parts.stop, *parts.test} and not set(parts.stop) & set(parts.test)
    assert parts.dropped == 40


@pytest.mark.parametrize("lines", [["one"] * 29, ["one"] * 200])
def test_too_little_text_is_refused(lines: list[str]) -> None:
    with pytest.raises(UserError, match="too little text"):
        cut(documents("f", lines), 0.1, 0)


def test_files(tmp_path: Path) -> None:
    good, empty, wrong = tmp_path / "good.txt", tmp_path / "empty.txt", tmp_path / "wrong.txt"
    good.write_bytes("\ufeffeins\r\n\r\nzwei\u2028drei\n".encode())
    empty.write_text(" \n\n", encoding="utf-8")
    wrong.write_bytes(b"fine\nnot \xff fine\n")
    assert [d.lines for d in read_file(good)] == [["eins"], ["zwei\u2028drei"]]
    with pytest.raises(UserError, match="the file is empty"):
        read_file(empty)
    with pytest.raises(UserError, match=r"not UTF-8 text \(.*wrong\.txt:2\)"):
        read_file(wrong)
    with pytest.raises(UserError, match="no such file"):
        read_file(tmp_path / "none.txt")


def test_corpora_that_cannot_be_trained_on() -> None:
    with pytest.raises(UserError, match="is not a text to train on"):
        read_corpus("bli", "de")
    with pytest.raises(UserError, match="unknown corpus 'x'"):
        read_corpus("x", "de")


@pytest.mark.real
def test_flores_gives_its_development_split(data_root: Path) -> None:
    declared, docs = read_corpus("flores200", "sw", data_root)
    assert declared.licence and docs[0].source == "flores200 dev"
    assert sum(len(d.lines) for d in docs) == 997
