"""Nearest source examples: the right ones, after a round trip through 8 bits, with texts where they are."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from metaxcr.data.registry import load
from metaxcr.errors import UserError
from metaxcr.fewshot.adaptation import Start, encode_examples
from metaxcr.fewshot.nearest_examples import NAMES, VECTORS, decision_vectors, read_index, write_index
from metaxcr.fewshot.user_examples import UserExamples
from metaxcr.model.build import memory_store


@pytest.fixture
def vectors() -> torch.Tensor:
    return F.normalize(torch.randn(20, 16, generator=torch.Generator().manual_seed(0)), dim=-1)


def starter_names(n: int) -> list[tuple[str, str, str]]:
    return [("starter_facts", "train", e.id) for e in load("starter_facts", "train").examples[:n]]


def test_eight_bits_find_the_same_neighbours(tmp_path: Path, vectors: torch.Tensor) -> None:
    write_index(tmp_path, vectors, starter_names(20))
    index = read_index(tmp_path)
    assert torch.allclose(index.vectors, vectors, atol=0.02)
    found = index.nearest(vectors[[3, 7]], 2)
    assert [row[0].id for row in found] == [starter_names(20)[n][2] for n in (3, 7)]
    assert all(row[0].similarity > 0.999 > row[1].similarity for row in found)
    assert len(index.nearest(vectors[:1], 99)[0]) == 20


def test_texts_are_those_of_the_task(tmp_path: Path, vectors: torch.Tensor) -> None:
    write_index(tmp_path, vectors, [*starter_names(19), ("ecare", "train", "train-1")])
    found = read_index(tmp_path).nearest(vectors[[0, 19]], 1, root=tmp_path)
    first = load("starter_facts", "train").examples[0]
    assert found[0][0].text is not None
    assert first.context in found[0][0].text and found[0][0].text.endswith(first.choices[first.label or 0])


def test_a_task_whose_files_are_missing_gives_no_text(
    tmp_path: Path, vectors: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METAXCR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_index(tmp_path, vectors[:1], [("ecare", "train", "train-1")])
    assert read_index(tmp_path).nearest(vectors[:1], 1)[0][0].text is None


def test_vectors_join_context_and_answer(own: UserExamples, start: Start) -> None:
    store = memory_store(start.model, start.config)
    data = encode_examples(own, "dual", store, lambda done, total: None)
    labels = data.questions.labels.tolist()
    right = decision_vectors(start.model, start.phi, data, labels, store)
    wrong = decision_vectors(start.model, start.phi, data, [1 - y for y in labels], store)
    assert right.shape == (36, 16) and torch.allclose(right.norm(dim=1), torch.ones(36), atol=1e-5)
    assert not torch.allclose(right, wrong, atol=1e-2)
    part = data.subset(data.ids[5:7])
    again = decision_vectors(start.model, start.phi, part, labels[5:7], store)
    assert torch.allclose(again, right[5:7], atol=1e-5)


@pytest.mark.parametrize("damage", ["no vectors", "no names", "names", "bytes"])
def test_damage_is_one_line(tmp_path: Path, vectors: torch.Tensor, damage: str) -> None:
    write_index(tmp_path, vectors, starter_names(20))
    if damage == "no vectors":
        (tmp_path / VECTORS).unlink()
    elif damage == "no names":
        (tmp_path / NAMES).unlink()
    elif damage == "names":
        (tmp_path / NAMES).write_text(json.dumps([["a", "b", "c"]]))
    else:
        (tmp_path / VECTORS).write_bytes(b"nothing")
    with pytest.raises(UserError, match="index of source examples"):
        read_index(tmp_path)
