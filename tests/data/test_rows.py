import json
import os

import pytest

from metaxcr.data.readers import read_examples
from metaxcr.data.registry import load, task_spec
from metaxcr.data.rows import (
    GENERAL,
    STEPS,
    Defect,
    Repairs,
    check_columns,
    flaw,
    lines_of,
    open_text,
    paired,
    read_text,
    shown,
    strict,
    unfold_rows,
    value_at,
    value_of,
)
from metaxcr.errors import UserError
from metaxcr.parse import check_file


def written(tmp_path, content):
    path = tmp_path / "rows.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def told(lines):
    return [(number, line.what if isinstance(line, Defect) else line) for number, line in lines]


def test_dotted_names_reach_into_objects():
    assert value_of({"a": {"b": 3}}, "a.b") == 3
    assert value_of({"a.b": 4, "a": {"b": 3}}, "a.b") == 4
    for name in ("a.c", "b", "a.b.c"):
        with pytest.raises(Defect, match=f"no field '{name}'"):
            value_of({"a": {"b": 3}}, name)


def test_lines_are_numbered_and_cut_at_line_feeds_only(tmp_path):
    path = written(tmp_path, "\ufeffa\u2028b\x85c\r\n\n \r\nd")
    repairs = Repairs()
    assert told(lines_of(path, repairs)) == [(1, "a\u2028b\x85c"), (4, "d")]
    assert repairs.counts == {"byte-order-mark": 1, "line-ends": 1}


def test_line_ends_may_be_mixed_or_those_of_an_old_macintosh(tmp_path):
    assert told(lines_of(written(tmp_path, "a\nb\r\nc"))) == [(1, "a"), (2, "b"), (3, "c")]
    repairs = Repairs()
    assert told(lines_of(written(tmp_path, "a\rb\r\rc\r"), repairs)) == [(1, "a"), (2, "b"), (4, "c")]
    assert repairs.counts == {"line-ends": 3}


def test_steps_that_are_off_leave_the_defect(tmp_path):
    off = Repairs(())
    assert told(lines_of(written(tmp_path, "a\nb\r\n"), off)) == [
        (1, "a"),
        (2, "the line does not end with LF"),
    ]
    with pytest.raises(UserError, match=r"a byte order mark \(.*rows\.txt:1\)"):
        list(lines_of(written(tmp_path, "\ufeffa"), off))


def test_lines_that_are_no_text_are_defects_and_the_rest_is_read(tmp_path):
    path = written(tmp_path, b"a\n\xff\n\0\n\xef\xbb\xbfb\nc\n")
    assert told(lines_of(path)) == [
        (1, "a"),
        (2, "the line is not UTF-8 text"),
        (3, "the line holds a NUL byte"),
        (4, "a byte order mark in the middle of the file"),
        (5, "c"),
    ]


def test_a_text_is_read_whole_or_bit_by_bit(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbfa\r\n\xff")
    with pytest.raises(UserError, match=r"not UTF-8 text \(.*rows\.txt:2\)"):
        read_text(path)
    with open_text(path, Repairs()) as stream:
        text = stream.read()
    assert text == "a\r\n\udcff"
    defect = flaw(text)
    assert defect is not None and "UTF-8" in defect.what and flaw("a\r\n") is None


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x1f\x8b\x08", "packed (gzip)"),
        (b"PK\x03\x04", "packed (zip)"),
        (b"\xfd7zXZ\0", "packed (xz)"),
        (b"BZh91AY", "packed (bzip2)"),
        (b"(\xb5/\xfd", "packed (zstandard)"),
        (b"PAR1", "Parquet"),
        (b"\x80\x04\x95", "perhaps a pickle"),
        (b"\n <!DOCTYPE HTML>", "a web page"),
        (b"<HTML>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"\xfe\xff\0a", "UTF-16"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, start, kind):
    with pytest.raises(UserError) as caught:
        read_text(written(tmp_path, start + b"...\n"))
    assert kind in caught.value.what and caught.value.where == str(tmp_path / "rows.txt") and caught.value.fix


def test_only_plain_files_are_read(tmp_path, monkeypatch):
    path = written(tmp_path, "abc")
    check_file(path)
    monkeypatch.setattr("metaxcr.parse.MAX_BYTES", 2)
    with pytest.raises(UserError, match="more than 2 bytes"):
        check_file(path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name, what in (
        ("pipe", "not a plain file"),
        ("link", "leads nowhere: nowhere"),
        ("loop", "leads nowhere"),
        (".", "a folder"),
        ("rows.txt/x", "no such file"),
        ("x" * 300, "File name too long"),
    ):
        with pytest.raises(UserError, match=what):
            check_file(tmp_path / name)


def test_fields_are_named_after_the_columns():
    assert paired(["1", "x"], ["id", "text"]) == {"id": "1", "text": "x"}
    for record, what in (
        (["1"], "1 fields where 2 belong"),
        (["id", "text"], "repeats the names"),
        (["\ufeff1", "x"], "a byte order mark"),
    ):
        found = paired(record, ["id", "text"])
        assert isinstance(found, Defect) and what in found.what
    check_columns(["a", "b"], "here")
    with pytest.raises(UserError, match=r"two columns are named 'a' \(here\)"):
        check_columns(["a", "b", "a"], "here")


def test_strict_readers_stop_at_the_first_defect(tmp_path):
    rows = iter([(1, {"a": 1}), (3, Defect("broken", "mend it"))])
    found = strict(tmp_path, rows)
    assert next(found) == (1, {"a": 1})
    with pytest.raises(UserError) as caught:
        next(found)
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("broken", f"{tmp_path}:3", "mend it")


def test_what_is_quoted_stays_one_short_line():
    assert shown("ガラス") == "'ガラス'" and shown("a\nb\x1b") == r"'a\nb\x1b'"
    assert len(shown("x" * 10**6)) == 60


# ---- repairs

QUESTIONS = ["effect", "effect", "cause"]
WRONG = {  # rows of XCOPA whose question the shipped list repairs
    "val": {"th": 52, "tr": 52, "sw": 6, "id": 5, "it": 5},
    "test": {"th": 250, "tr": 51, "sw": 37, "id": 4, "it": 4},
}


def declared(make_spec):
    step = {"step": "question", "to": "cause", "ids": {"train": {"en": ["1", "3"]}}}
    return make_spec(repairs=[{"step": "repeated-ids"}, step])


def test_only_listed_rows_change_and_only_when_wrong(make_spec, tmp_path):
    step = {"step": "question", "to": "cause", "ids": {"train": {"en": ["1", "3"]}}}
    files = {"files": {"data": "toy/{language}.jsonl"}}
    fields = {"id": "{id}", "context": "p", "question": "q", "choices": ["a", "b"], "label": "label"}
    layout = {"languages": ["en", "th"], "splits": {"train": files, "test": files}, "fields": fields}
    path = tmp_path / "rows.jsonl"
    rows = [{"id": n, "p": "p", "q": q, "a": "a", "b": "b", "label": 0} for n, q in enumerate(QUESTIONS, 1)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def questions(split="train", language="en", repairs=(step,), off=()):
        spec = make_spec(repairs=list(repairs), **layout)
        loaded = read_examples(spec, split, language, path, off=off)
        return [example.question for example in loaded.examples], loaded.repairs

    assert questions() == (["cause", "effect", "cause"], {"question": 1})
    for as_they_are in ({"split": "test"}, {"language": "th"}, {"off": ["question"]}, {"repairs": ()}):
        assert questions(**as_they_are) == (QUESTIONS, {})


def test_steps_that_are_on(make_spec):
    assert {step for step in STEPS if Repairs().take(step)} == set(GENERAL)
    spec = declared(make_spec)
    assert {step for step in STEPS if Repairs.of([step.step for step in spec.repairs]).take(step)} == {
        *GENERAL,
        "question",
        "repeated-ids",
    }
    off = Repairs.of([step.step for step in spec.repairs], ["digits", "question"])
    assert not off.take("digits") and not off.take("question") and off.take("repeated-ids")
    assert off.take("repeated-ids") and off.counts == {"repeated-ids": 2}


def test_a_step_that_does_not_exist_is_refused(make_spec):
    with pytest.raises(UserError, match="unknown repair step 'questions'") as caught:
        Repairs.of([step.step for step in make_spec().repairs], ["questions"])
    assert caught.value.fix is not None and all(step in caught.value.fix for step in STEPS)


def test_the_shipped_lists_have_the_known_lengths():
    (step,) = (step for step in task_spec("xcopa").repairs if step.step == "question")
    assert {
        split: {language: len(ids) for language, ids in listed.items()} for split, listed in step.ids.items()
    } == {split: dict(sorted(counts.items())) for split, counts in WRONG.items()}


@pytest.mark.real
@pytest.mark.parametrize("split", ["val", "test"])
def test_repaired_xcopa_asks_what_english_asks(data_root, split):
    english = {example.id: example.question for example in load("xcopa_en", split, root=data_root).examples}
    for language in task_spec("xcopa").languages:
        loaded = load("xcopa", split, language=language, root=data_root)
        assert loaded.repaired == WRONG[split].get(language, 0)
        assert {example.id: example.question for example in loaded.examples} == english


@pytest.mark.real
def test_raw_leaves_the_official_file_alone(data_root):
    raw = load("xcopa", "test", language="th", root=data_root, raw=True)
    assert raw.repaired == 0 and {example.question for example in raw.examples} == {"effect"}


# ---- rows inside rows


def unfolded(row, steps, **more):
    return [found for _, found in unfold_rows([(7, row)], steps, **more)]


@pytest.mark.parametrize(
    ("row", "steps", "rows"),
    [
        ({"p": 1, "q": [{"a": 1}, {"a": 2}]}, [["q"]], [{"p": 1, "q": {"a": 1}}, {"p": 1, "q": {"a": 2}}]),
        ({"a": [1, 2], "b": [3, 4]}, [["a", "b"]], [{"a": 1, "b": 3}, {"a": 2, "b": 4}]),
        ({"a": {"0": 1, "1": 2}}, [["a"]], [{"a": 1}, {"a": 2}]),
        ({"x": {"a": 1}, "y": {"a": 2}}, [["*"]], [{"key": "x", "a": 1}, {"key": "y", "a": 2}]),
        ({"head": ["a", "b"], "body": [[1, 2]]}, [["head=body"]], [{"a": 1, "b": 2}]),
        ({"d": {"q": [1]}}, [["d.q"]], [{"d": {"q": 1}}]),
    ],
)
def test_steps(row, steps, rows):
    assert unfolded(row, steps) == rows


def test_a_part_may_hold_objects_or_lists_under_a_header():
    assert unfolded({"train": [{"a": 1}]}, [], part="train") == [{"a": 1}]
    assert unfolded({"train": [["a"], [1]]}, [], part="train") == [{"a": 1}]
    assert unfolded({"train": [[1]]}, [], part="train", columns=["a"]) == [{"a": 1}]


@pytest.mark.parametrize(
    ("row", "steps", "what"),
    [
        ({"a": [1], "b": [1, 2]}, [["a", "b"]], "lists of different lengths: a 1, b 2"),
        ({"a": 1}, [["a"]], "'a' is no list"),
        ({"a": 1}, [["*"]], "'a' is no object"),
    ],
)
def test_what_cannot_be_unfolded_is_a_defect_of_the_row(row, steps, what):
    (defect,) = unfolded(row, steps)
    assert isinstance(defect, Defect) and defect.what == what


def test_a_value_may_be_nested():
    assert value_at({"a": {"b": 1}}, "a.b") == 1
    assert value_at({"a": 1}, "b") is None
