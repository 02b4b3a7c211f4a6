"""Alignment: retrieval and distance, and who is too weak."""

import pytest
import torch

from metaxcr.evaluation.alignment import WEAK, alignment, alignment_table, weak_languages

E = torch.eye(4)


def test_perfect_and_no_alignment() -> None:
    perfect = alignment(E, 3 * E)
    assert (perfect["forward"], perfect["backward"], perfect["retrieval"]) == (1, 1, 1)
    assert (perfect["translations"], perfect["others"], perfect["distance"], perfect["n"]) == (1, 0, 1, 4)
    shifted = alignment(E, E.roll(1, 0))
    assert (shifted["retrieval"], shifted["ci95"]) == (0, [0, 0])
    assert shifted["distance"] == pytest.approx(-1 / 3, abs=1e-4)


def test_the_directions_differ_and_the_mean_is_of_both() -> None:
    # of four sentences the last one's translation lies where the first one's does, only less so
    other = torch.stack([E[0], E[1], E[2], E[0] + 0.1 * E[3]])
    found = alignment(E, other)
    assert found["forward"] == 1.0  # the fourth finds it: it is the only one with a share of the fourth axis
    assert found["backward"] == 0.75 and found["retrieval"] == 0.875


def test_it_equals_a_loop_over_pairs() -> None:
    one, other = (torch.randn(30, 8, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    other = one + 1.5 * other
    cosines = [[float(torch.cosine_similarity(a, b, dim=0)) for b in other] for a in one]
    found = alignment(one, other)
    hits = [max(range(30), key=lambda j: row[j]) == i for i, row in enumerate(cosines)]
    back = [max(range(30), key=lambda i: cosines[i][j]) == j for j in range(30)]
    assert 0 < sum(hits) < 30
    assert found["forward"] == pytest.approx(sum(hits) / 30, abs=1e-4)
    assert found["backward"] == pytest.approx(sum(back) / 30, abs=1e-4)
    off = [cosines[i][j] for i in range(30) for j in range(30) if i != j]
    assert found["others"] == pytest.approx(sum(off) / len(off), abs=1e-4)
    assert found["ci95"][0] < found["retrieval"] < found["ci95"][1]


def table(share: float, language: str = "qu") -> list[dict[str, object]]:
    """Two layers and 100 sentences; after the last layer ``share`` of them find their translation."""
    eye = torch.eye(100)
    right = round(100 * share)
    moved = torch.cat([eye[:right], eye[right:].roll(1, 0)])
    return alignment_table(torch.stack([eye, eye]), {language: torch.stack([eye, moved])}, stack="encoder")


def test_weak_is_who_is_surely_below_the_limit_after_the_last_layer() -> None:
    rows = [*table(0.3), *table(0.45, "ht"), *table(0.2, "sw"), *table(0.9, "et")]
    assert [(row["language"], row["layer"]) for row in weak_languages(rows)] == [("sw", 1), ("qu", 1)]
    assert [row["language"] for row in weak_languages(rows, 0.6)] == ["sw", "qu", "ht"]
    assert weak_languages([]) == [] and WEAK == 0.5
    assert [row["retrieval"] for row in table(0.3)] == [1.0, 0.3]
    assert {row["stack"] for row in rows} == {"encoder"} and rows[0]["pivot"] == "en"
