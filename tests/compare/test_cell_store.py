"""Cells: records come back as they were encoded; folders of single and packed ones; damage; changed data."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metaxcr.compare.cell_store import CellRecord, CellStore, changed_data, encode_predictions, ids_digest
from metaxcr.data.registry import data_fingerprint, split_files, task_spec
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions


def predictions(n: int = 501, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    rows = [generator.dirichlet(np.ones(2 + i % 3)).tolist() for i in range(n)]
    labels = [int(generator.integers(len(row))) for row in rows]
    ids = [f"test-{i}" for i in range(n)]
    return Predictions(
        "xcopa", "sw", "test", "repaired", "few-shot", "finetune", 3, 16, 16, ids, rows, labels
    )


def record(found: Predictions, **changes: object) -> CellRecord:
    costs = {"ctml": {"seconds": 1.0, "token_passes": 5, "shared": True}}
    costs["trunk"] = {"seconds": 2.0, "token_passes": 9, "shared": True}
    about = {"key": "k" * 16, "config_hash": "c" * 16, "kind": "trained", "regime": found.regime}
    about |= {"k": found.k, "seed": found.seed, "costs": costs, "parameters": {"trained": 4}}
    about |= {"checksums": {"xcopa/test/sw": "0"}, "command": "metaxcr run", "environment": {}}
    return CellRecord(**{**about, **encode_predictions(found), **changes})


def test_what_is_packed_comes_back_small() -> None:
    found = predictions()
    made = record(found)
    again = CellRecord.from_dict(made.as_dict(), "file")
    assert again == made
    assert again.right.tolist() == found.correct.tolist() and again.label.tolist() == found.labels
    for row, mine in zip(found.probabilities, again.probability, strict=True):
        assert mine[: len(row)] == pytest.approx(row, abs=1e-5) and not mine[len(row) :].any()
    assert len(made.correct) + len(made.probabilities) + len(made.labels) < 7000
    assert (made.token_passes, made.seconds) == (5, 3.0)
    assert made.items == ids_digest(found.ids) != ids_digest(found.ids[::-1])


@pytest.mark.parametrize(
    "change",
    [{"schema": 9}, {"correct": "AAAA"}, {"labels": "?"}, {"n": 7}, {"accuracy": 0.1}, {"probabilities": ""}],
)
def test_damage_is_refused(change: dict) -> None:
    with pytest.raises(UserError, match=r"\(file\): remove the file"):
        CellRecord.from_dict(record(predictions()).as_dict() | change, "file")
    value = record(predictions()).as_dict()
    value.pop("costs")
    with pytest.raises(UserError, match="damaged"):
        CellRecord.from_dict(value, "file")


def test_cells_are_found_in_all_folders(tmp_path: Path) -> None:
    found = predictions(20)
    one, two = record(found, key="1" * 16), record(found, key="2" * 16)
    CellStore(tmp_path / "committed").put(one, found.ids)
    store = CellStore(tmp_path / "own", [tmp_path / "committed"])
    store.put(two, found.ids)
    assert (store.get(one.key), store.get(two.key), store.get("3" * 16)) == (one, two, None)
    assert store.ids(one) == store.ids(two) == found.ids
    assert sorted(p.name for p in (tmp_path / "own").rglob("*")) == [
        two.key + ".json",
        f"{two.items}.txt",
        "items",
    ]


def test_packed_cells_replace_single_ones(tmp_path: Path) -> None:
    found, other = predictions(20), replace(predictions(20, seed=1), ids=["a\nb", *map(str, range(19))])
    cells = [record(found, key="1" * 16), record(found, key="2" * 16), record(other, key="3" * 16)]
    store = CellStore(tmp_path)
    for cell, ids in zip(cells, (found.ids, found.ids, other.ids), strict=True):
        store.put(cell, ids)
    own = store.pack(cells[:2], tmp_path, "one")
    assert own == tmp_path / "one.jsonl.gz"
    names = {path.name for path in tmp_path.glob("[!.]*")}
    assert names == {"one.jsonl.gz", f"{'3' * 16}.json", "items"}
    store.pack(cells, tmp_path, "two")  # a cell that is packed already stays where it is
    assert not [*tmp_path.glob("*.json"), *tmp_path.glob("items/*")]
    again = CellStore(tmp_path / "elsewhere", [tmp_path])
    for cell, ids in zip(cells, (found.ids, found.ids, other.ids), strict=True):
        assert again.get(cell.key) == cell and again.ids(cell) == ids
    assert gzip.decompress((tmp_path / "two.jsonl.gz").read_bytes()).count(b"\n") == 2
    before = own.read_bytes()
    again.pack(reversed(cells), tmp_path, "one")
    assert own.read_bytes() == before
    newer = replace(cells[0], command="later")
    again.put(newer, found.ids)
    assert again.get(newer.key) == newer
    again.pack([newer], tmp_path, "two")  # a cell that was computed again replaces the packed one
    assert CellStore(tmp_path).get(newer.key) == newer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-40], "damaged file of cells.*one.jsonl.gz.*restore the file"),
        (lambda content: content[:90] + b"?" + content[91:], "damaged file of cells"),
        (lambda _: b"{}", "damaged file of cells"),
        (lambda _: gzip.compress(b"{"), r"not valid JSON.*one.jsonl.gz:1"),
        (lambda _: gzip.compress(b"[]"), r"neither a cell nor item ids.*one.jsonl.gz:1"),
        (lambda _: gzip.compress(b'{"key": 1}'), r"damaged.*one.jsonl.gz:1"),
        (
            lambda content: gzip.compress(gzip.decompress(content).replace(b'"n":20', b'"n":21')),
            r"damaged cell.*one.jsonl.gz:2",
        ),
    ],
)
def test_a_damaged_packed_file_is_named(tmp_path: Path, change: Callable, message: str) -> None:
    found, store = predictions(20), CellStore(tmp_path)
    one = record(found)
    store.put(one, found.ids)
    path = store.pack([one], tmp_path, "one")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        CellStore(tmp_path).get(one.key)
    assert "\n" not in str(caught.value)


def test_ids_come_back_whatever_they_hold(tmp_path: Path) -> None:
    for ids in (["a\u2028b\x85", "c\r"], ["a\nb", "c\r\n"], ['"1"', "2"]):
        found = replace(predictions(2), ids=ids)
        one = record(found)
        CellStore(tmp_path).put(one, ids)
        assert CellStore(tmp_path).ids(one) == ids


def test_damage_is_named(tmp_path: Path) -> None:
    found, store = predictions(20), CellStore(tmp_path)
    one = record(found)
    store.put(one, found.ids)
    (tmp_path / "items" / f"{one.items}.txt").write_text("other\n")
    with pytest.raises(UserError, match=r"ids of a cell are damaged.*items"):
        store.ids(one)
    (tmp_path / "items" / f"{one.items}.txt").unlink()
    with pytest.raises(UserError, match="ids of a cell are missing"):
        store.ids(one)
    path = tmp_path / f"{one.key}.json"
    path.rename(tmp_path / f"{'4' * 16}.json")
    with pytest.raises(UserError, match="named after another cell"):
        store.get("4" * 16)
    (tmp_path / f"{'5' * 16}.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        store.get("5" * 16)


def test_changed_data_are_named() -> None:
    files = split_files(task_spec("starter_target"), "test", "es")
    now = data_fingerprint(files)
    places = {"starter_target/test/es": now, "shots": "?", "parallel": "?", "xcopa/test/xx": "?"}
    assert changed_data(record(predictions(5), checksums=places), None) == []
    places["starter_target/test/es"] = "other"
    assert changed_data(record(predictions(5), checksums=places), None) == ["starter_target/test/es"]
