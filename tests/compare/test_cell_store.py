"""Folders of cells: single and packed files, damage, data that have changed."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.compare.test_cell_record import predictions, record

from metaxcr.compare.cell_store import CellStore, changed_data
from metaxcr.data.registry import data_fingerprint, split_files, task_spec
from metaxcr.errors import UserError


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
