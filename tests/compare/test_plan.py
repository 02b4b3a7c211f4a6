"""Cells: what their keys depend on, and the commands that give them."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from metaxcr.compare.grid import Grid
from metaxcr.compare.plan import GridCell, expand
from metaxcr.config.io import load_config

Build = Callable[..., Grid]


def cells(grid: Grid) -> dict[str, GridCell]:
    return {cell.label: cell for cell in expand(grid)}


def test_every_combination_is_a_cell_and_what_has_no_chance_is_one_for_all_seeds(grid: Build) -> None:
    methods = {"plain": {}, "similarity": {"kind": "similarity"}, "majority": {"kind": "majority"}}
    found = cells(grid("seeds=[0,1]", methods=methods))
    assert len([c for c in found.values() if c.method == "plain"]) == 2 * 2 * 2
    assert {label for label in found if "similarity" in label} == {"similarity: es", "similarity: sw"}
    majority = {label for label in found if "majority" in label and " es" in label}
    assert majority == {"majority: es", "majority: es, k=8, seed 0", "majority: es, k=8, seed 1"}


def test_a_language_gives_no_labels_to_itself(grid: Build) -> None:
    auxiliary = {"task": "starter_target", "split": "shots", "languages": ["{from}"]}
    method = {
        "regime": "zero-shot-aux",
        "vary": {"from": ["es", "sw"]},
        "settings": {"target": {"auxiliary": auxiliary}},
    }
    found = cells(grid(methods={"labels in {from}": method}, baseline=None))
    assert list(found) == ["labels in es: sw, seed 3", "labels in sw: es, seed 3"]


def test_the_command_gives_the_settings_of_the_cell(grid: Build) -> None:
    cell = cells(grid())["plain: sw, k=8, seed 3"]
    words = shlex.split(cell.command)
    assert words[:3] == ["metaxcr", "run", "starter"] and words[3::2] == ["--set"] * len(words[3::2])
    assert load_config("starter", words[4::2]) == cell.config
    assert (cell.config.target.languages, cell.config.target.k, cell.config.run.seeds) == (["sw"], 8, [3])


@pytest.mark.parametrize(
    ("change", "same", "other"),
    [
        ("settings.finetune.steps=9", ["plain: es, seed 3"], ["plain: es, k=8, seed 3"]),
        ("settings.clml.few_shot_steps=9", ["plain: es, seed 3"], ["plain: es, k=8, seed 3"]),
        ("settings.ctml.steps=9", [], ["plain: es, seed 3", "plain: es, k=8, seed 3"]),
        ("settings.run.threads=2", ["plain: es, seed 3", "plain: es, k=8, seed 3"], []),
        ("settings.encoder.cache_gb=1", ["plain: es, seed 3", "similarity: es"], []),
        ("settings.encoder.prefix=x", [], ["plain: es, seed 3", "similarity: es"]),
        ("settings.sampler.lr=0.1", ["similarity: es", "majority: es"], ["reinforced: es, seed 3"]),
        ("settings.evaluate.split=shots", [], ["similarity: es", "majority: es", "plain: es, seed 3"]),
    ],
)
def test_keys_change_where_results_may(grid: Build, change: str, same: list[str], other: list[str]) -> None:
    methods = {"plain": {"settings": {"ctml": {"learner": "multi-task"}}}, "reinforced": {}}
    methods |= {"similarity": {"kind": "similarity"}, "majority": {"kind": "majority"}}
    if "sampler" in change:
        methods["plain"] = {}
    before, after = cells(grid(methods=methods)), cells(grid(change, methods=methods))
    assert all(before[label].key == after[label].key for label in same)
    assert all(before[label].key != after[label].key for label in other)


def test_keys_differ_between_all_cells_of_a_grid_and_agree_across_grids(grid: Build) -> None:
    found = cells(grid())
    assert len({cell.key for cell in found.values()}) == len(found)
    alone = cells(grid(methods={"another name": {}}, baseline=None, languages=["sw"]))
    assert alone["another name: sw, seed 3"].key == found["reinforced: sw, seed 3"].key


def test_given_shots_replace_the_axis_and_their_ids_are_the_identity(grid: Build, tmp_path: Path) -> None:
    file, copy = tmp_path / "a.json", tmp_path / "b.json"
    for path in (file, copy):
        path.write_text(json.dumps([f"item-{n}" for n in range(5)]), encoding="utf-8")
    one, two = (cells(grid(f"shots_file={path}")) for path in (file, copy))
    assert {cell.k for cell in one.values()} == {0, 5}
    label = "plain: es, k=5, seed 3"
    assert one[label].key == two[label].key and one[label].config != two[label].config
    copy.write_text(json.dumps([f"item-{n}" for n in range(1, 6)]), encoding="utf-8")
    assert cells(grid(f"shots_file={copy}"))[label].key != one[label].key


def test_a_method_waits_for_what_it_needs(grid: Build) -> None:
    methods = {"plain": {}, "mad-x": {"needs": "adapters.language", "about": "train them first"}}
    waiting = [cell for cell in expand(grid(methods=methods)) if cell.waits]
    assert {cell.method for cell in waiting} == {"mad-x"}
    assert {cell.key for cell in waiting} == {""}  # without the setting it would be the key of "plain"
    assert "adapters.language" in waiting[0].waits and "train them first" in waiting[0].waits
    given = "methods.mad-x.settings.adapters.language={es: /some/folder}"
    assert not any(cell.waits for cell in expand(grid(given, methods=methods)))


def test_sources_are_kept_and_left_out(grid: Build) -> None:
    methods = {"plain": {}, "one": {"only": ["starter_social"]}, "rest": {"without": ["starter_social"]}}
    found = {cell.method: [s.task for s in cell.config.sources] for cell in expand(grid(methods=methods))}
    assert found["one"] == ["starter_social"]
    assert found["rest"] == [name for name in found["plain"] if name != "starter_social"]
