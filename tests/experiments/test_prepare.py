"""What a run reads: shots, development items, caps and leaks."""

import pytest

from metaxcr.config_io import load_config
from metaxcr.errors import UserError
from metaxcr.experiments.prepare import read_data

TWO = ["target.languages=[sw, it]", "target.parallel.languages=[sw, it]", "run.seeds=[0, 1]"]


def test_shots_are_the_same_ids_in_all_languages_and_differ_between_seeds() -> None:
    loaded = read_data(load_config("starter", TWO), None)
    assert [len(ids) for ids in loaded.shots.values()] == [16, 16]
    assert set(loaded.shots[0]) != set(loaded.shots[1])
    used = set(loaded.shots[0]) | set(loaded.shots[1])
    assert all({e.id for e in split.examples} == used for split in loaded.shot_pool.values())


def test_development_leaves_out_the_shots_of_every_seed() -> None:
    loaded = read_data(load_config("starter", [*TWO, "evaluate.split=shots", "target.parallel=null"]), None)
    used = set(loaded.shots[0]) | set(loaded.shots[1])
    for split in loaded.evaluation.values():
        ids = {e.id for e in split.examples}
        assert len(ids) == 36 - len(used) and not ids & used


@pytest.mark.parametrize("split", ["shots", "test"])
def test_evaluated_texts_are_not_aligned_on(split: str) -> None:
    """Without its labels a test item is still that item."""
    config = load_config("starter", [*TWO, f"evaluate.split={split}", f"target.parallel.split={split}"])
    with pytest.raises(UserError, match="parallel text"):
        read_data(config, None)


def test_parts_of_the_english_target_data_never_overlap() -> None:
    parts = read_data(load_config("starter", TWO), None).parts
    ids = [e.id for examples in parts.values() for e in examples]
    assert set(parts) == {"source", "query", "reward"} and len(ids) == len(set(ids)) == 72


def test_a_cap_is_a_fixed_subset_in_file_order() -> None:
    config = load_config("starter", [*TWO, "sources=[{task: starter_facts, cap: 10}]"])
    (_, first), (_, second) = (read_data(config, None).sources[0] for _ in range(2))
    assert first == second and len(first) == 10
    assert [int(e.id) for e in first] == sorted(int(e.id) for e in first)


@pytest.mark.parametrize("part", ["source", "reward"])
def test_an_empty_part_is_refused(part: str) -> None:
    with pytest.raises(UserError, match=part):
        read_data(load_config("starter", [*TWO, f"target.english.{part}=0.0"]), None)


@pytest.mark.parametrize("tasks", ["starter_facts, starter_facts", "starter_facts, starter_causes"])
def test_a_source_named_twice_is_refused_instead_of_one_being_dropped(tasks: str) -> None:
    sources = ", ".join(f"{{task: {task}}}" for task in tasks.split(", "))
    with pytest.raises(UserError, match=r"named twice \(sources\)"):
        read_data(load_config("starter", [*TWO, f"sources=[{sources}]"]), None)
