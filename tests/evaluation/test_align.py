"""The alignment check of a stack, on a corpus of its own."""

from pathlib import Path

import pytest
import torch

from metaxcr.adapters.base import LayerAdapter
from metaxcr.adapters.language import LanguageAdapter
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.evaluation.align import XCOPA, check_alignment
from metaxcr.tasks.text import corpus

CODES = ("en", "sw", "qu")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """FLORES in which Swahili is English, and Quechua has its sentences in another order."""
    lines = [f"word{n} other{n % 3} more{n % 5}" for n in range(12)]
    folder = tmp_path / "flores200" / "devtest"
    folder.mkdir(parents=True)
    for code in CODES:
        text = lines if code != "qu" else [*lines[1:], lines[0]]
        name = corpus("flores200").languages[code]
        (folder / f"{name}.devtest").write_text("\n".join(text) + "\n", encoding="utf-8")
    return tmp_path


def language_adapter(encoder: FrozenEncoder, seed: int) -> LanguageAdapter:
    adapter = LanguageAdapter.create(encoder, torch.Generator(), layers=[1, 2])
    for n, parameter in enumerate(adapter.parameters()):
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(seed + n))
    return adapter


def test_the_stacks_and_who_is_in_them(toy_encoder: FrozenEncoder, root: Path) -> None:
    labels: list[str] = []
    adapters = {"sw": language_adapter(toy_encoder, 0)}
    task: dict[int, LayerAdapter] = {2: language_adapter(toy_encoder, 50).at(2)}  # type: ignore[dict-item]
    rows = check_alignment(
        toy_encoder,
        ["sw", "qu"],
        adapters=adapters,
        task=task,
        dtype=torch.float32,
        root=root,
        progress=lambda label, done, total: labels.append(label),
    )
    last = {(r["language"], r["stack"]): r for r in rows if r["layer"] == 3}
    assert set(last) == {
        ("sw", "encoder"),
        ("qu", "encoder"),
        ("sw", "language"),
        ("sw", "task"),
        ("qu", "task"),
    }
    assert last["sw", "encoder"]["retrieval"] == 1 and last["qu", "encoder"]["retrieval"] == 0
    # the adapter moves Swahili away from English, which has none
    assert last["sw", "language"]["translations"] < 0.99 < last["sw", "encoder"]["translations"]
    assert last["sw", "language"]["translations"] != last["sw", "task"]["translations"]
    assert last["qu", "encoder"]["others"] != last["qu", "task"]["others"]
    assert {r["layer"] for r in rows} == {0, 1, 2, 3} and len(rows) == 20
    assert labels[:2] == ["encoder en", "encoder sw"] and labels[-1] == "task qu"


def test_the_same_adapter_on_both_sides_keeps_equal_sentences_together(
    toy_encoder: FrozenEncoder, root: Path
) -> None:
    adapter = language_adapter(toy_encoder, 0)
    rows = check_alignment(
        toy_encoder, ["sw"], adapters={"en": adapter, "sw": adapter}, dtype=torch.float32, root=root
    )
    assert all(row["translations"] > 0.9999 for row in rows)


def test_bad_requests(toy_encoder: FrozenEncoder, root: Path) -> None:
    for languages in ([], ["en"], ["sw", "sw"]):
        with pytest.raises(UserError, match="at least one language besides English"):
            check_alignment(toy_encoder, languages, root=root)
    with pytest.raises(UserError, match="has no language 'xx'"):
        check_alignment(toy_encoder, ["xx"], root=root)
    with pytest.raises(UserError, match="two sentences"):
        check_alignment(toy_encoder, ["sw"], sentences=1, root=root)


def test_the_default_languages_are_those_of_xcopa() -> None:
    from metaxcr.tasks.registry import task_spec

    assert sorted(XCOPA) == sorted(task_spec("xcopa").split_languages("test"))
