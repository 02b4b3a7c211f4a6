"""Whatever stands in a file: it is read, or one UserError says why not; what was written is read back."""

import csv
import io
import json
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from metaxcr.data.file_formats import FORMATS
from metaxcr.data.readers import read_examples
from metaxcr.data.spec import TaskSpec
from metaxcr.errors import UserError

KEYS = ("id", "premise", "a", "b", "label")
quick = settings(
    max_examples=40, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
text = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
).filter(lambda value: value.strip() == value and value.strip())
line = text.filter(lambda value: not set(value) & set("\t\n\r") and value[0] != "\ufeff")
rows = st.lists(st.tuples(line, line, line, st.sampled_from([0, 1])), min_size=1, max_size=8)
scraps = st.sampled_from(
    [
        *(bytes([byte]) for byte in b'{}[]",:;\t\n\r\0\xff\\'),
        *(
            b"\xef\xbb\xbf",
            b"\\ud83d",
            b"NaN",
            b"1e999",
            b"PAR1",
            b"<item>",
            b"<p>",
            b"</p>",
            b"<!DOCTYPE a [",
        ),
        *(b"id,premise,a,b,label", b"id\tpremise\ta\tb\tlabel", b'["id", "premise"]'),
        b'{"id": "1", "premise": "p", "a": "b", "b": "c", "label": 0}',
    ]
)
content = st.one_of(st.binary(max_size=300), st.lists(scraps, max_size=40).map(b"".join))


def numbered(found):
    return [dict(zip(KEYS, (f"x{n}", *row), strict=True)) for n, row in enumerate(found)]


def delimited(found, by, **more):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=by, lineterminator="\n", **more)
    writer.writerows([KEYS, *(row.values() for row in found)])
    return stream.getvalue().encode()


def as_parquet(found):
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(found), stream)
    return stream.getvalue()


WRITERS = {
    "jsonl": lambda found: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found).encode(),
    "json": lambda found: json.dumps(found, indent=1).encode(),
    "csv": lambda found: delimited(found, ","),
    "csv-semicolon": lambda found: delimited(found, ";"),
    "tsv-quoted": lambda found: delimited(found, "\t"),
    "tsv": lambda found: "\n".join(
        "\t".join(map(str, r)) for r in (KEYS, *(r.values() for r in found))
    ).encode(),
    "parquet": as_parquet,
}


@pytest.fixture
def read(tmp_path: Path, make_spec):
    """Read the content of a file."""

    def examples(form: str, raw: bytes, **changes):
        path = tmp_path / "data"
        path.write_bytes(raw)
        spec: TaskSpec = make_spec(format=form, **changes)
        return read_examples(spec, "train", "en", path)

    return examples


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("form", FORMATS)
@quick
@given(raw=content)
def test_any_bytes_are_read_or_refused(read, form, skip_bad, raw):
    try:
        found = read(form, raw, skip_bad=skip_bad)
    except UserError as error:
        assert error.where and error.fix and str(error).isprintable()
    else:
        assert found.examples and len(found.examples) == len(found.lines)


@pytest.mark.parametrize("form", WRITERS)
@quick
@given(found=rows)
def test_what_was_written_is_read_back(read, form, found):
    written = numbered(found)
    loaded = read(form, WRITERS[form](written))
    assert [
        dict(zip(KEYS, (e.id, e.context, *e.choices, e.label), strict=True)) for e in loaded.examples
    ] == written
    assert loaded.skipped == [] and loaded.repairs == {}


@quick
@given(found=st.lists(st.tuples(text, text, text), min_size=1, max_size=8))
def test_quoted_texts_may_hold_anything(read, found):
    written = numbered([(*texts, 0) for texts in found])
    for form in ("csv", "csv-semicolon", "tsv-quoted"):
        by = {"csv": ",", "csv-semicolon": ";", "tsv-quoted": "\t"}[form]
        loaded = read(form, delimited(written, by, quoting=csv.QUOTE_ALL))
        assert [(e.context, *e.choices) for e in loaded.examples] == found


@quick
@given(
    gaps=st.lists(st.integers(0, 3), min_size=2, max_size=8), text=st.sampled_from(["a", "a\nb", "a\n\n\nb"])
)
def test_line_numbers_point_at_the_row(read, gaps, text):
    for form in ("jsonl", "json", "csv"):
        raw, lines = ("" if form != "csv" else ",".join(KEYS) + "\n"), []
        for n, gap in enumerate(gaps):
            raw += "\n" * gap
            lines.append(raw.count("\n") + 1)
            row = {"id": f"x{n}", "premise": text, "a": "a", "b": "b", "label": 0}
            quoted = ",".join(f'"{value}"' for value in row.values())
            indent = 1 if form == "json" else None
            raw += (quoted if form == "csv" else json.dumps(row, indent=indent)) + "\n"
        assert read(form, raw.encode()).lines == lines


@pytest.mark.parametrize("form", WRITERS)
@quick
@given(damaged=st.lists(st.booleans(), min_size=1, max_size=10).filter(lambda flags: not all(flags)))
def test_only_damaged_rows_are_left_out(read, form, damaged):
    written = [
        {**row, "label": 7 if bad else 1}
        for bad, row in zip(damaged, numbered([("p", "a", "b", 0)] * len(damaged)), strict=True)
    ]
    loaded = read(form, WRITERS[form](written), skip_bad=True)
    assert [e.id for e in loaded.examples] == [row["id"] for row in written if row["label"] == 1]
    assert len(loaded.skipped) == sum(damaged)
    assert all(": label " in reason and "is out of range" in reason for reason in loaded.skipped)
    if any(damaged):
        with pytest.raises(UserError, match="is out of range"):
            read(form, WRITERS[form](written))


@quick
@given(st.data())
def test_damaged_parquet_is_read_or_refused(read, data):
    raw = bytearray(as_parquet(numbered([("p", "a", "b", 0)] * 50)))
    for place in data.draw(st.lists(st.integers(4, len(raw) - 9), min_size=1, max_size=5)):
        raw[place] = data.draw(st.integers(0, 255))
    try:
        read("parquet", bytes(raw), skip_bad=True)
    except UserError as error:
        assert error.where and error.fix
