"""What a process keeps is what it would have made anew, and is made anew where its input has changed."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metaxcr.data.contamination import find_leaks
from metaxcr.data.registry import load
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder, Text
from metaxcr.runs.process_cache import ProcessCache


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
