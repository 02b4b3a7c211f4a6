"""What a run reads: sources and their labels, shots, development items, caps and leaks.

What a process keeps is what it would have made anew, and is made anew where its input has changed.
"""

import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metaxcr.config.io import load_config, shipped
from metaxcr.data.contamination import find_leaks
from metaxcr.data.example import Example
from metaxcr.data.registry import load
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder, Text
from metaxcr.errors import UserError
from metaxcr.runs.raw_data import ProcessCache, mislabel, read_data


def make(n: int, choices: int, label: int | None) -> Example:
    return Example(str(n), "context", "", tuple(map(str, range(choices))), label, "en", "toy")


EXAMPLES = [make(n, 2 + n % 2, n // 2 % (2 + n % 2)) for n in range(400)] + [make(400, 2, None)]


def test_true_labels_stay() -> None:
    assert mislabel(EXAMPLES, "true") == EXAMPLES


def test_flipped_labels_are_always_wrong_and_always_the_same() -> None:
    flipped = mislabel(EXAMPLES, "flipped")
    wrong = [e.label != old.label for e, old in zip(flipped, EXAMPLES, strict=True) if old.label is not None]
    assert all(wrong)
    assert [e.label for e in mislabel([make(0, 3, 0), make(1, 3, 1), make(2, 3, 2)], "flipped")] == [1, 2, 0]


def test_shuffled_labels_keep_how_often_each_is_right() -> None:
    shuffled = mislabel(EXAMPLES, "shuffled")
    assert shuffled == mislabel(EXAMPLES, "shuffled")
    for choices in (2, 3):
        group = [(e, old) for e, old in zip(shuffled, EXAMPLES, strict=True) if len(e.choices) == choices]
        assert Counter(e.label for e, _ in group) == Counter(old.label for _, old in group)
        kept = sum(e.label == old.label for e, old in group if old.label is not None) / len(group)
        assert kept == pytest.approx(1 / choices, abs=0.1)


@pytest.mark.parametrize("labels", ["shuffled", "flipped"])
def test_nothing_but_the_label_changes(labels: str) -> None:
    for e, old in zip(mislabel(EXAMPLES, labels), EXAMPLES, strict=True):  # type: ignore[arg-type]
        assert (e.id, e.context, e.choices, e.label is None) == (
            old.id,
            old.context,
            old.choices,
            old.label is None,
        )


TWO = ["target.languages=[sw, it]", "target.parallel.languages=[sw, it]", "run.seeds=[0, 1]"]


def test_shots_are_the_same_ids_in_all_languages_and_differ_between_seeds() -> None:
    raw = read_data(load_config("starter", TWO), None)
    assert [len(ids) for ids in raw.shots.values()] == [16, 16]
    assert set(raw.shots[0]) != set(raw.shots[1])
    used = set(raw.shots[0]) | set(raw.shots[1])
    assert all({e.id for e in split.examples} == used for split in raw.shot_pool.values())


def test_development_leaves_out_the_shots_of_every_seed() -> None:
    raw = read_data(load_config("starter", [*TWO, "evaluate.split=shots", "target.parallel=null"]), None)
    used = set(raw.shots[0]) | set(raw.shots[1])
    for split in raw.evaluation.values():
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


def test_a_split_that_nothing_needs_is_not_read() -> None:
    settings = [*TWO, "run.regimes=[zero-shot]", "target.shots_split=nowhere"]
    raw = read_data(load_config("starter", settings), None)
    assert (raw.shots, raw.shot_pool, raw.development) == ({}, {}, {})
    with pytest.raises(UserError, match="nowhere"):
        read_data(load_config("starter", [*TWO, "target.shots_split=nowhere"]), None)


def test_without_a_split_for_shots_all_items_are_evaluated_and_shots_are_refused() -> None:
    only = ["target.shots_split=null", "evaluate.split=shots", "target.parallel=null"]
    raw = read_data(load_config("starter", [*TWO, "run.regimes=[zero-shot]", *only]), None)
    assert raw.shots == {}
    assert {len(split.examples) for split in raw.evaluation.values()} == {36}
    with pytest.raises(UserError, match="regime few-shot has no shots"):
        load_config("starter", [*TWO, *only])


# --- leaks ---

ITEM = {"premise": "", "choice1": "", "choice2": "", "question": "cause", "label": 0}
ROWS = [
    ("The man turned on the faucet.", "The toilet filled with water.", "Water flowed from the spout."),
    ("The girl found a bug in her cereal.", "She lost her appetite.", "She poured milk in the bowl."),
    ("The woman retired from her job.", "She received her pension.", "She paid off her mortgage."),
    ("I wanted to conserve energy at home.", "I swept the floor.", "I shut off the light."),
    ("The hamburger meat browned in the pan.", "The cook froze it.", "The cook grilled it."),
]
SWAHILI = {
    "val": (
        "Mwalimu aliwapa wanafunzi kazi ya nyumbani.",
        "Wanafunzi walilalamika.",
        "Wanafunzi waliandika.",
    ),
    "test": (
        "Msichana alipata mdudu katika nafaka yake.",
        "Alimwaga maziwa bakulini.",
        "Alipoteza hamu ya kula.",
    ),
}
OTHERS = {
    "val": ("Nilizima taa zote.", "Nilitaka kuhifadhi nishati.", "Nilifagia sakafu."),
    "test": ("Mbwa alibweka.", "Mgeni alibisha hodi mlangoni.", "Paka alilala."),
}


def row(texts: tuple[str, ...]) -> dict:
    return dict(zip(ITEM, texts, strict=False))


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({**ITEM, "idx": n, **row}) + "\n" for n, row in enumerate(rows)))


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """XCOPA with two items a split, and COPA's train split with five others; no other data root."""
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("METAXCR_CACHE", str(tmp_path / "no-cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))
    write(tmp_path / "copa/train.jsonl", list(map(row, ROWS)))
    for split, texts in SWAHILI.items():
        write(tmp_path / f"xcopa/data/sw/{split}.sw.jsonl", [row(texts), row(OTHERS[split])])
    return tmp_path


def planting(*more: str) -> list[str]:
    target = ["target.task=xcopa", "target.languages=[sw]", "target.shots_split=val", "target.k=2"]
    english = ["target.english={task: copa}", "target.parallel=null", "sources=[{task: starter_facts}]"]
    return [*target, *english, "run.seeds=[0]", *more]


def add(path: Path, row: dict) -> None:
    with path.open("a") as file:
        file.write(json.dumps({**ITEM, "idx": 90, **row}) + "\n")


def test_planted_data_are_clean(planted: Path) -> None:
    raw = read_data(load_config("starter", planting()), planted)
    assert raw.leaks == [] and len(raw.development["sw"].examples) == 2


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("edit", ["", "chekechea"])
def test_a_planted_wording_stops_the_run_and_can_be_allowed(planted: Path, split: str, edit: str) -> None:
    """Development items that are no shots count too."""
    premise, *choices = SWAHILI[split]
    first, rest = premise.split(" ", 1)
    add(planted / "copa/train.jsonl", row((f"{edit or first.upper()} {rest}", *choices)))
    kind = "near-duplicate 0" if edit else "same wording"
    with pytest.raises(UserError, match=rf"copa/en/train-90 = xcopa/sw/{split}-0 \({kind}"):
        read_data(load_config("starter", planting()), planted)
    raw = read_data(load_config("starter", planting("run.allow_leaks=true")), planted)
    assert [leak.held_out.id for leak in raw.leaks] == [f"{split}-0"]


@pytest.mark.parametrize(
    ("path", "source", "split"),
    [
        ("copa/val.jsonl", "{task: copa, split: val}", "val"),
        ("xcopa_en/test.en.jsonl", "{task: xcopa_en, split: test}", "test"),
    ],
)
def test_the_english_side_of_held_out_items_is_known_by_its_id(
    planted: Path, path: str, source: str, split: str
) -> None:
    write(planted / path, list(map(row, ROWS)))
    english = "target.english={task: starter_causes}"
    with pytest.raises(UserError, match=rf"en/{split}-0 = xcopa/sw/{split}-0 \(same item id\)"):
        read_data(load_config("starter", [*planting(), english, f"sources=[{source}]"]), planted)


@pytest.mark.parametrize(("premise", "kind"), [("{}", "same wording"), ("Yesterday {}", "near-duplicate 0")])
def test_the_english_side_of_held_out_items_is_known_by_its_words_under_another_name(
    planted: Path, premise: str, kind: str
) -> None:
    """A source of other ids shares no word with the Swahili test; COPA's own files tell."""
    english = (
        "The girl found a bug in her cereal this morning.",
        "She lost her appetite.",
        "She poured milk.",
    )
    write(planted / "copa/test.jsonl", [row(ROWS[4]), row(english)])
    write(planted / "xcopa/data/sw/test.sw.jsonl", [row(SWAHILI["test"]), row(OTHERS["test"])])
    text, *choices = english
    add(planted / "copa/train.jsonl", row((premise.format(text), *choices)))
    with pytest.raises(UserError, match=rf"copa/en/train-90 = copa/en/test-1 \({kind}"):
        read_data(load_config("starter", planting()), planted)
    (planted / "copa/test.jsonl").unlink()  # without it nobody can tell
    assert read_data(load_config("starter", planting()), planted).leaks == []


def test_a_machine_translation_of_the_test_items_is_known_by_its_id(planted: Path) -> None:
    """Also as auxiliary data, whatever language it came from."""
    for split in ("val", "test"):
        rows = list(map(row, ROWS))
        write(planted / f"xcopa/data-gmt/th/{split}.th.jsonl", rows)
    auxiliary = ["run.regimes=[zero-shot, zero-shot-aux]", "evaluate.split=test"]
    auxiliary += ["target.auxiliary={task: xcopa_gmt, split: test, languages: [th]}"]
    with pytest.raises(UserError, match=r"xcopa_gmt/th/test-0 = xcopa/sw/test-0 \(same item id\)"):
        read_data(load_config("starter", planting(*auxiliary)), planted)


def test_auxiliary_translations_of_english_test_items_are_known_by_their_ids() -> None:
    auxiliary = ["run.regimes=[zero-shot-aux]", "target.parallel=null"]
    auxiliary += ["target.auxiliary={task: starter_target, split: test, languages: [fr]}"]
    with pytest.raises(UserError, match=r"starter_target/fr/\d+ = starter_target/sw/\d+ \(same item id\)"):
        read_data(load_config("starter", [*TWO, *auxiliary]), None)


@pytest.mark.real
@pytest.mark.parametrize("name", shipped())
def test_the_shipped_configurations_are_clean(data_root: Path, name: str) -> None:
    assert read_data(load_config(name), data_root).leaks == []


# --- shots from a file ---


def test_shots_from_a_file_are_out_of_development_in_every_language(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    ids = [e.id for e in load("starter_target", "shots", language="it").examples][:5]
    file.write_text("\n".join(ids))
    settings = [*TWO, f"target.shots_file={file}", "evaluate.split=shots", "target.parallel=null"]
    raw = read_data(load_config("starter", settings), None)
    assert raw.shots == {0: ids, 1: ids}
    assert {e.id for e in raw.shot_pool["sw"].examples} == set(ids)
    for split in raw.evaluation.values():
        assert len(split.examples) == 31 and not {e.id for e in split.examples} & set(ids)


def test_unknown_shots_are_named_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("1\nnone such\n")
    with pytest.raises(
        UserError, match=r"not in the split: 'none such' \(.*ids.txt, for starter_target shots"
    ):
        read_data(load_config("starter", [*TWO, f"target.shots_file={file}"]), None)


def test_an_encoder_is_loaded_once_and_another_takes_its_place() -> None:
    kept, loaded = ProcessCache(), []

    def load_one(name: str, **how: object) -> str:
        loaded.append((name, how["revision"]))
        return f"{name} {len(loaded)}"

    asked = [("a", None), ("a", None), ("a", "v2"), ("a", None)]
    got = [kept.encoder(load_one, name, prefix=None, revision=revision) for name, revision in asked]
    assert got == ["a 1", "a 1", "a 2", "a 3"]


def test_a_split_is_read_again_where_its_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ProcessCache()
    first = kept.split("starter_social", "train")
    assert first.examples == load("starter_social", "train").examples
    assert kept.split("starter_social", "train") is first
    assert kept.split("starter_social", "train", off=["digits"]) is not first
    folder = tmp_path / "xcopa"
    file = folder / "data" / "sw" / "val.sw.jsonl"
    file.parent.mkdir(parents=True)
    row = {"premise": "p.", "choice1": "a", "choice2": "b", "question": "cause", "label": 0, "idx": 3}
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    for changed in (False, True):
        file.write_text(json.dumps(row | {"changed": changed, "premise": f"p {changed}."}) + "\n")
        how = {"language": "sw", "root": tmp_path, "off": ["question"]}
        assert kept.split("xcopa", "val", **how).examples == load("xcopa", "val", **how).examples


def test_leaks_are_those_of_the_guard() -> None:
    kept, examples = ProcessCache(), load("starter_social", "train").examples
    found = find_leaks(examples[:20], examples[10:30])
    assert len(found) == 10
    for _ in range(2):
        assert kept.leaks(examples[:20], examples[10:30]) == found
    assert kept.leaks(examples[:20], examples[15:30]) == found[5:]


def test_sources_are_encoded_once_and_what_follows_stays_apart(
    toy_encoder: FrozenEncoder, toy_task: Callable, tmp_path: Path
) -> None:
    kept, encoded = ProcessCache(), []
    words = [Text(f"word{n} common") for n in range(40)]
    later = [Text("word3 common"), Text("new one"), Text("and another")]
    alone = _store(toy_encoder, tmp_path)
    expected = alone.gather([*alone.ensure(words), *alone.ensure(later)])
    alone.flush(0)

    for turn in range(3):
        store = _store(toy_encoder, tmp_path)

        def encode(store=store):
            encoded.append(store.ensure(words))
            return {"a": toy_task()}, {}

        sources, _ = kept.base("words", store, encode)
        numbers = [*range(40), *store.ensure(later)]
        assert torch.equal(store.gather(numbers).hidden, expected.hidden)
        assert sources["a"].task == "toy" and store.stats.texts == alone.stats.texts
        assert store.stats.bytes == alone.stats.bytes and store.stats.computed_tokens == 0
        store.ensure([Text(f"only in turn {turn}")])
    assert len(encoded) == 1
    other = ActivationCache(toy_encoder, 2, torch.float32, tmp_path, max_tokens=32)
    kept.base("words", other, lambda: (encoded.append(other.ensure(words)) or {}, {}))
    assert len(encoded) == 2  # another trunk


def test_what_one_run_computes_serves_the_next_although_its_texts_are_others(
    toy_encoder: FrozenEncoder,
) -> None:
    kept, words = ProcessCache(), [Text(f"word{n} common") for n in range(40)]
    computed = []
    for key, first in (("a", 0), ("a", 0), ("b", 10)):  # the last run has other sources
        store = _store(toy_encoder, Path())
        stats = store.stats
        kept.base(key, store, lambda s=store, at=first: (s.register(words[at:]) and {}, {}))
        store.gather(store.register(words[first + 5 : first + 15]))
        assert store.stats is stats  # which the run's account follows
        computed.append(stats.computed_texts)
    assert computed == [10, 0, 10]
    other = ActivationCache(toy_encoder, 2, torch.float32, Path(), max_tokens=32)
    kept.base("a", other, lambda: (other.register(words) and {}, {}))
    other.gather([5])
    assert other.stats.computed_texts == 1


def _store(encoder: FrozenEncoder, folder: Path) -> ActivationCache:
    return ActivationCache(encoder, 1, torch.float32, folder, max_tokens=32)


def test_another_process_begins_with_nothing() -> None:
    kept = ProcessCache(splits=3)
    kept.split("starter_social", "train")
    again = pickle.loads(pickle.dumps(kept))
    assert again.__reduce__() == (ProcessCache, (3, 2)) and not again._splits
