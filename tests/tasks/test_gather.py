"""Texts by task, by language and from files."""

from pathlib import Path

import pytest

from metaxcr.errors import UserError
from metaxcr.tasks import load, phrase, task_spec
from metaxcr.tasks.gather import gather


def test_all_splits_of_a_task_as_the_encoder_reads_them() -> None:
    found = gather(["starter_target"], ["sw"])
    assert {g.place for g in found} == {
        f"starter_target {split} sw" for split in task_spec("starter_target").splits
    }
    spec, example = task_spec("starter_target"), load("starter_target", "test", language="sw").examples[0]
    phrased = phrase(example, spec)
    texts = {text for g in found for text in g.texts}
    assert {phrased.context, *phrased.choices} <= texts
    assert "" not in texts


def test_all_languages_of_a_task_unless_some_are_named() -> None:
    every = {g.place.split()[-1] for g in gather(["starter_target"], [])}
    assert every == set(task_spec("starter_target").languages)
    assert {g.place.split()[-1] for g in gather(["starter_target"], ["sw", "et"])} == {"sw", "et"}


def test_everything_that_is_there_in_a_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    (tmp_path / "flores200" / "dev").mkdir(parents=True)
    (tmp_path / "flores200" / "dev" / "est_Latn.dev").write_text("esimene\n\nkolmas\n", encoding="utf-8")
    found = {g.place: g.texts for g in gather([], ["et"], root=tmp_path)}
    assert any(place.startswith("starter_target") for place in found)
    assert found["flores200 dev et"] == ["esimene", "kolmas"]
    assert {place.split()[-1] for place in found} == {"et"}


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("one\n \ntwo\n", encoding="utf-8")
    assert [g.texts for g in gather([], [], [file])] == [["one", "two"]]
    with pytest.raises(UserError, match=r"no such file.*missing\.txt"):
        gather([], [], [tmp_path / "missing.txt"])


@pytest.mark.parametrize(
    ("tasks", "languages", "words"),
    [
        (["starter_target"], ["ka"], "no text of 'ka'"),
        ([], ["xx"], "no text of 'xx'"),
        (["no_such_task"], [], "no_such_task"),
    ],
)
def test_what_is_not_there_is_one_clear_line(tasks: list[str], languages: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        gather(tasks, languages)


@pytest.mark.real
def test_corpora_count(data_root: Path) -> None:
    places = {g.place for g in gather([], ["qu"], root=data_root)}
    assert {"flores200 dev qu", "flores200 devtest qu", "udhr all qu", "xcopa test qu"} <= places
