"""Hostile data files: through the readers, and through the commands that take them."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import strategies as st
from pyarrow import parquet
from tests.damaged import ITEMS, TABLE, good, jsonl
from tests.fuzzing import TEXTS, VALUES, damaged, fuzz, only_user_errors, run_command

from metaxcr.compare.external import _read_choices
from metaxcr.data.example import read_shots
from metaxcr.data.file_formats import FORMATS
from metaxcr.data.infer.user_files import sniff
from metaxcr.data.infer.user_questions import read_questions
from metaxcr.data.labels import cut_cell
from metaxcr.data.rows import Defect, Repairs
from metaxcr.evaluation.predictions import Predictions

ROWS = [good(n, label=n % 2) for n in range(8)]
LISTED = [
    {"id": f"y{n}", "premise": f"Rain {n}.", "choices": "['It broke.', \"It sang.\"]", "label": n % 2}
    for n in range(8)
]
FILES = {
    "jsonl": jsonl(*ROWS),
    "json": json.dumps({"data": ROWS}).encode(),
    "csv": TABLE,
    "tsv": TABLE.replace(b",", b"\t"),
    "copa-xml": ITEMS.encode(),
    "csv-semicolon": TABLE.replace(b",", b";"),
}


def packed() -> bytes:
    stream = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), stream)
    return bytes(stream.getvalue())


@fuzz(0.12, quick=120, form=st.sampled_from(sorted(FILES)), data=st.data())
def test_readers(tmp_path: Path, form: str, data: st.DataObject) -> None:
    path = tmp_path / "rows"
    path.write_bytes(data.draw(damaged(st.just(FILES[form]))))
    with only_user_errors():
        for _ in FORMATS[form](path, None, Repairs()):
            pass
    with only_user_errors():
        list(FORMATS[sniff(path)](path, None, Repairs()))


@fuzz(0.02, quick=20, content=damaged(st.just(packed())))
def test_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    with only_user_errors():
        list(FORMATS["parquet"](path, None, Repairs()))


@fuzz(0.1, quick=120, cell=st.sampled_from(TEXTS) | st.text() | VALUES.map(repr) | VALUES.map(json.dumps))
def test_cells(cell: str) -> None:
    for how in ("json", "lines"):
        with contextlib.suppress(Defect):
            cut_cell(cell, how)


@fuzz(0.02, quick=20, content=damaged(st.sampled_from([b'["a", "b"]', b'{"0": ["a", "b"]}', b"a\nb\n"])))
def test_shots(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shots.json"
    path.write_bytes(content)
    with only_user_errors():
        read_shots(path, "mine", [0])


ANSWERS = b"".join(
    json.dumps({"id": f"x{n}", "probabilities": [0.25, 0.75], "choice": 1, "label": 0}).encode() + b"\n"
    for n in range(3)
)
META = {
    "task": "t", "lang": "sw", "split": "test", "data": "raw", "regime": "none", "method": "m", "seed": 0,
    "k": 0,
    "total_labels": 0,
}  # fmt: skip


@fuzz(0.03, quick=30, content=damaged(st.just(ANSWERS)), key=st.sampled_from(sorted(META)), value=VALUES)
def test_predictions(tmp_path: Path, content: bytes, key: str, value: Any) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    (tmp_path / "p.meta.json").write_text(json.dumps({**META, key: value}))
    with only_user_errors():
        Predictions.read(path)
    with only_user_errors():
        _read_choices(path, ["sw", "id"])


@fuzz(0.03, quick=30, content=damaged(st.sampled_from([jsonl(*ROWS), TABLE, jsonl(*LISTED)])))
def test_questions(tmp_path: Path, content: bytes) -> None:
    for name in ("q.jsonl", "q.csv"):
        (tmp_path / name).write_bytes(content)
        with only_user_errors():
            list(read_questions(tmp_path / name, "sw"))


@fuzz(
    0.02,
    quick=25,
    row=st.fixed_dictionaries(
        {k: VALUES for k in ("id", "premise", "label")}, optional={"a": VALUES, "choices": VALUES}
    ),
)
def test_adding_rows_of_any_values(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**good, **row}) + "\n" for good in ROWS))
    run_command("tasks", "add", path, "--name", "mine", "--language", "sw", "--dry-run")


@fuzz(0.01, quick=12, content=damaged(st.sampled_from([*FILES.values(), jsonl(*LISTED)])))
def test_adding_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    run_command("tasks", "add", path, "--name", "mine", "--language", "sw", "--dry-run")
    run_command("tasks", "check", path, "--language", "sw")


WORDS = [
    ("tasks", "add", "NAME", "--name", "mine", "--language", "sw", "--dry-run"),
    ("tasks", "add", "rows.jsonl", "--name", "NAME", "--language", "sw", "--dry-run"),
    ("tasks", "check", "NAME"),
    ("tasks", "show", "NAME"),
    ("configs", "show", "NAME"),
    ("adapt", "NAME", "--language", "sw", "--out", "out"),
    ("predict", "NAME", "NAME", "--language", "sw"),
    ("report", "NAME"),
    ("diagnose", "NAME"),
    ("run", "NAME", "--out", "out"),
    ("run", "starter", "--out", "NAME/x", "--dry-run"),
    ("compare", "NAME", "--dry-run"),
    ("adapters", "import", "NAME", "--out", "out"),
    ("encoders", "show", "NAME"),
]


@fuzz(
    0.005,
    quick=30,
    words=st.sampled_from(WORDS),
    name=st.sampled_from(
        [
            "x" * 300,
            "x/" * 3000,
            "a\nb",
            "loop",
            "folder",
            "~nobody/x",
            "\ud800",
            "-",
            ".",
            "/dev/null",
            "[b]x",
            "\x1b]0;t\x07",
        ]
    ),
)
def test_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], name: str) -> None:
    monkeypatch.chdir(tmp_path)
    if not (tmp_path / "loop").is_symlink():
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "folder").mkdir()
        (tmp_path / "rows.jsonl").write_bytes(jsonl(*ROWS))
    run_command(*(word.replace("NAME", name) for word in words))
