"""Predictions: what they refuse, how they are named, and that files give back what was written."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions


def make(**changes: Any) -> Predictions:
    values: dict[str, Any] = {
        "task": "xcopa",
        "lang": "th",
        "split": "test",
        "data": "repaired",
        "regime": "few-shot",
        "method": "finetune",
        "seed": 1,
        "k": 16,
        "total_labels": 16,
        "ids": ["1", "2", "3"],
        "probabilities": [[0.2, 0.8], [0.5, 0.5], [0.1, 0.2, 0.7]],
        "labels": [1, 1, 2],
    }
    return Predictions(**values | changes)


def test_choices_take_the_most_probable_and_the_first_of_a_tie() -> None:
    found = make()
    assert found.choices == [1, 0, 2]
    assert found.correct.tolist() == [True, False, True]
    assert found.correct.dtype == bool


def test_names_follow_the_run_folder_and_are_unique() -> None:
    assert make().name == "xcopa.th.few-shot-finetune-k16.seed1"
    baseline = make(regime="none", method="similarity", seed=None, k=0)
    assert baseline.name == "xcopa.th.similarity.seedall"
    changes: list[dict[str, Any]] = [
        {},
        {"lang": "vi"},
        {"split": "validation"},
        {"data": "raw"},
        {"split": "validation", "data": "raw"},
        {"regime": "pooled-shots"},
        {"method": "clml"},
        {"seed": 0},
        {"seed": None},
        {"k": 4},
        {"task": "xstorycloze"},
    ]
    assert len({make(**change).name for change in changes}) == len(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regime": "oneshot"}, "unknown regime 'oneshot'"),
        ({"data": "mended"}, "unknown data 'mended'"),
        ({"ids": [], "probabilities": [], "labels": []}, "no predictions"),
        ({"labels": [1, 1]}, "lengths differ: 3 ids, 3 answers, 2 labels"),
        ({"ids": ["1", "2", "2"]}, "occurs twice"),
        ({"labels": [1, 2, 2]}, "item 2 has label 2 for 2 choices"),
        ({"labels": [-1, 1, 2]}, "item 1 has label -1"),
        ({"probabilities": [[0.2, float("nan")], [0.5, 0.5], [0.1, 0.9, 0.0]]}, "item 1 needs"),
        ({"probabilities": [[0.2, 0.8], [1.0], [0.1, 0.9, 0.0]]}, "item 2 needs two"),
    ],
)
def test_refuses_parts_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**changes)


@pytest.mark.parametrize("seed", [1, None])
def test_reads_what_it_wrote(tmp_path: Path, seed: int | None) -> None:
    original = make(
        seed=seed, ids=["a", "ü", "3"], probabilities=[[1 / 3, 2 / 3], [0.5, 0.5], [0.1, 0.2, 0.7]]
    )
    path = original.write(tmp_path / "predictions")
    assert path.name == f"{original.name}.jsonl"
    assert Predictions.read(path) == original


def test_files_have_the_documented_form_and_leave_nothing_behind(tmp_path: Path) -> None:
    path = make().write(tmp_path)
    first = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert first == {"id": "1", "probabilities": [0.2, 0.8], "choice": 1, "label": 1}
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {f"{make().name}.jsonl", f"{make().name}.meta.json"}
    make().write(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "2"', "not valid JSON"),
        ("[1, 2]", "missing id, probabilities, choice, label"),
        ('{"id": "2", "probabilities": [0.5, 0.5], "choice": 0}', "missing label"),
        ('{"id": "2", "probabilities": ["x", 0.5], "choice": 0, "label": 1}', "the file is damaged"),
        ('{"id": "2", "probabilities": [0.4, 0.6], "choice": 0, "label": 1}', "not the most probable"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = make().write(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = line
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        Predictions.read(path)
    assert caught.value.where == f"{path}:2"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = make().write(tmp_path)
    (tmp_path / f"{make().name}.meta.json").unlink()
    with pytest.raises(UserError, match=r"cannot read predictions: there is no such file .*\.meta\.json"):
        Predictions.read(path)


def test_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().seed = 2  # type: ignore[misc]
