"""The store of cells: found by key in any folder, ids beside them, nothing half."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.experiments.compare.store import CellStore, stale
from metaxcr.tasks import task_spec
from metaxcr.tasks.roots import data_fingerprint, split_files

from .test_record import predictions, record


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
    with pytest.raises(UserError, match="under another's name"):
        store.get("4" * 16)
    (tmp_path / f"{'5' * 16}.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        store.get("5" * 16)


def test_stale_is_what_other_data_made() -> None:
    files = split_files(task_spec("starter_target"), "test", "es").all()
    now = data_fingerprint(files)
    places = {"starter_target/test/es": now, "shots": "?", "parallel": "?", "xcopa/test/xx": "?"}
    assert stale(record(predictions(5), checksums=places), None) == []
    places["starter_target/test/es"] = "other"
    assert stale(record(predictions(5), checksums=places), None) == ["starter_target/test/es"]
    json.dumps(places)
