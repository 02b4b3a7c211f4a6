"""Sentence vectors layer by layer, with and without the adapters of a stack."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch.testing import assert_close

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import AdapterShape, LayerAdapter
from metaxcr.data.corpora import corpus_spec
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text
from metaxcr.errors import UserError
from metaxcr.evaluation import predictions
from metaxcr.evaluation.alignment import (
    WEAK,
    XCOPA,
    alignment,
    alignment_table,
    check_alignment,
    layer_vectors,
    weak_languages,
)
from metaxcr.model.choice_model import mean_pool

SENTENCES = ["one two three four five six", "seven", "eight nine ten", "one eight"]


def stack(encoder: FrozenEncoder) -> tuple[LanguageAdapter, AdaptedEncoder]:
    language = LanguageAdapter.create(encoder, torch.Generator().manual_seed(0), layers=[1, 2])
    adapted = AdaptedEncoder(
        encoder, [2], AdapterShape("pfeiffer", 4), torch.Generator().manual_seed(0), {"sw": language}
    )
    for n, parameter in enumerate([*language.parameters(), *adapted.task.parameters()]):
        torch.nn.init.normal_(parameter, std=0.4, generator=torch.Generator().manual_seed(n))
    return language, adapted


def test_without_adapters_it_is_the_encoder_in_the_order_given(toy_encoder: FrozenEncoder) -> None:
    found = layer_vectors(toy_encoder, SENTENCES, dtype=torch.float32)
    assert found.shape == (1, 4, 4, 16)
    embedded = toy_encoder.embed(toy_encoder.tokenize([Text(s) for s in SENTENCES], 64))
    for stop in range(4):
        hidden = toy_encoder.run(embedded, 0, stop, torch.float32)
        assert_close(found[0, stop], mean_pool(hidden, embedded.lengths))


def test_levels_of_a_stack(toy_encoder: FrozenEncoder) -> None:
    language, adapted = stack(toy_encoder)
    levels = [language.by_layer.get, lambda i: {2: adapted.task["2"]}.get(i)]  # type: ignore
    seen: list[int] = []
    found = layer_vectors(
        toy_encoder,
        SENTENCES,
        levels,
        invertible=language.invertible,
        dtype=torch.float32,
        progress=lambda done, total: seen.append(done),
    )
    embedded = toy_encoder.embed(toy_encoder.tokenize([Text(s) for s in SENTENCES], 64))
    # the whole stack after the last layer
    context = toy_encoder.context(embedded.lengths)
    hidden = language.trunk(toy_encoder, embedded.hidden, context, torch.float32, 2)
    trunk = Ragged(hidden, embedded.lengths)
    assert_close(found[2, 3], mean_pool(adapted(trunk, torch.float32, "sw"), embedded.lengths))
    # layer 2 has the language adapter alone: its output is what layer 3 gets
    assert_close(found[1, 2], mean_pool(trunk.hidden, embedded.lengths))
    assert_close(found[1, 2], found[2, 2])
    assert not torch.allclose(found[0, 2], found[1, 2], atol=1e-3)
    assert not torch.allclose(found[1, 3], found[2, 3], atol=1e-3)
    # layer 1 has no adapter, and the embeddings differ by the invertible part
    assert_close(found[0, 1], found[2, 1])
    assert not torch.allclose(found[0, 0], found[1, 0], atol=1e-3)
    assert seen == [4]


def test_batches_are_put_back_in_order(toy_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = layer_vectors(toy_encoder, SENTENCES, dtype=torch.float32)
    monkeypatch.setattr(predictions, "FORWARD_TOKENS", 3)
    assert_close(layer_vectors(toy_encoder, SENTENCES, dtype=torch.float32), whole)


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


CODES = ("en", "sw", "qu")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """FLORES in which Swahili is English, and Quechua has its sentences in another order."""
    lines = [f"word{n} other{n % 3} more{n % 5}" for n in range(12)]
    folder = tmp_path / "flores200" / "devtest"
    folder.mkdir(parents=True)
    for code in CODES:
        text = lines if code != "qu" else [*lines[1:], lines[0]]
        name = corpus_spec("flores200").languages[code]
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
    task: dict[int, LayerAdapter] = {2: language_adapter(toy_encoder, 50).by_layer[2]}
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
    from metaxcr.data.registry import task_spec

    assert sorted(XCOPA) == sorted(task_spec("xcopa").split_languages("test"))


PROBE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "results" / "language-adapters" / "apart.py"))
language_probe, _fit, PENALTY = (PROBE[name] for name in ("language_probe", "_fit", "PENALTY"))


def vectors(shift: float, sentences: int, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    topics = torch.randn(sentences, 6, generator=draw)
    found = {}
    for n, name in enumerate(("et", "qu", "sw")):
        found[name] = topics + 0.5 * torch.randn(sentences, 6, generator=draw)
        found[name][:, n] += shift
    return found


def test_shifted_languages_are_told_apart_and_others_are_not() -> None:
    clear = language_probe(vectors(8, 80, 0), vectors(8, 200, 1))
    assert clear["accuracy"] > 0.98 and set(clear["by_language"]) == {"et", "qu", "sw"}
    none = language_probe(vectors(0, 80, 0), vectors(0, 200, 1))
    assert none["ci95"][0] < none["chance"] < none["ci95"][1] and none["chance"] == 0.3333
    mean = sum(clear["by_language"].values()) / 3
    assert clear["accuracy"] == pytest.approx(mean, abs=1e-3)


def test_it_is_penalised_logistic_regression() -> None:
    draw = torch.Generator().manual_seed(3)
    features, labels = torch.randn(60, 4, generator=draw), torch.randint(0, 3, (60,), generator=draw)
    weight, bias = _fit(features, labels, torch.full((60,), 1 / 60), 3)
    x, y = features.double().numpy(), labels.numpy()

    def loss(flat: np.ndarray) -> float:
        w, b = flat[:12].reshape(3, 4), flat[12:]
        z = x @ w.T + b
        return float((logsumexp(z, axis=1) - z[np.arange(60), y]).mean() + PENALTY * np.square(w).sum() / 4)

    best = minimize(loss, np.zeros(15), method="BFGS").x
    assert np.allclose(weight.numpy(), best[:12].reshape(3, 4), atol=2e-2)
    assert loss(np.concatenate([weight.numpy().ravel(), bias.numpy()])) == pytest.approx(loss(best), abs=1e-4)


def test_scale_tells_nothing() -> None:
    train, test = vectors(1, 60, 0), vectors(1, 60, 1)
    scaled = [
        {k: v * torch.tensor([1e3, 1, 1, 1e-3, 1, 1]) for k, v in part.items()} for part in (train, test)
    ]
    assert language_probe(*scaled)["by_language"] == language_probe(train, test)["by_language"]


def test_it_needs_two_languages_and_the_same_in_both_parts() -> None:
    some = vectors(1, 10, 0)
    for train, test in (({"et": some["et"]}, {"et": some["et"]}), (some, {"et": some["et"]})):
        with pytest.raises(ValueError, match="the same two languages"):
            language_probe(train, test)
