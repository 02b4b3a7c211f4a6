import pytest
import torch

from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import Text
from metaxcr.errors import UserError
from metaxcr.training.auxiliary_languages import (
    Adaptation,
    language_similarity,
    nearest_languages,
    plan_adaptations,
    sentence_vectors,
)

AUX = ["ar", "es", "sw", "zh"]


def everything(*tested: str) -> dict[str, list[str]]:
    return dict.fromkeys(tested, AUX)


def test_one_run_serves_all_where_no_tested_language_is_auxiliary() -> None:
    plan = plan_adaptations(["et", "th"], everything("et", "th"), per_language=False)
    assert plan == [Adaptation("clml", ("ar", "es", "sw", "zh"), ("et", "th"))]


def test_a_tested_language_that_is_auxiliary_gets_a_run_without_it() -> None:
    plan = plan_adaptations(["et", "sw", "zh"], everything("et", "sw", "zh"), per_language=False)
    assert plan == [
        Adaptation("clml", ("ar", "es", "sw", "zh"), ("et",)),
        Adaptation("clml.without-sw", ("ar", "es", "zh"), ("sw",)),
        Adaptation("clml.without-zh", ("ar", "es", "sw"), ("zh",)),
    ]
    only = plan_adaptations(["sw", "zh"], everything("sw", "zh"), per_language=False)
    assert [one.name for one in only] == ["clml.without-sw", "clml.without-zh"]


def test_chosen_languages_are_united_unless_each_has_its_own_run() -> None:
    chosen = {"et": ["es"], "sw": ["ar", "zh"], "zh": ["ar", "sw"]}
    plan = plan_adaptations(list(chosen), chosen, per_language=False)
    assert [(one.auxiliary, one.tested) for one in plan] == [
        (("es", "ar", "zh", "sw"), ("et",)),
        (("es", "ar", "zh"), ("sw",)),
        (("es", "ar", "sw"), ("zh",)),
    ]
    plan = plan_adaptations(list(chosen), chosen, per_language=True)
    assert [(one.name, one.auxiliary, one.tested) for one in plan] == [
        ("clml.et", ("es",), ("et",)),
        ("clml.sw", ("ar", "zh"), ("sw",)),
        ("clml.zh", ("ar", "sw"), ("zh",)),
    ]
    assert all(one.alone for one in plan)


@pytest.mark.parametrize("per_language", [False, True])
@pytest.mark.parametrize("tested", [["sw"], ["et", "sw", "zh", "ar", "es"], ["et"]])
def test_every_tested_language_is_answered_once_and_never_trained_on(
    tested: list[str], per_language: bool
) -> None:
    plan = plan_adaptations(tested, everything(*tested), per_language)
    assert sorted(t for one in plan for t in one.tested) == sorted(tested)
    assert all(not set(one.tested) & set(one.auxiliary) for one in plan)


def test_the_rule_holds_whoever_makes_a_plan() -> None:
    with pytest.raises(ValueError, match="sw"):
        Adaptation("clml", ("ar", "sw"), ("et", "sw"))


def test_no_language_left_is_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"'sw'.*target\.auxiliary\.languages"):
        plan_adaptations(["sw"], {"sw": ["sw"]}, per_language=False)


def test_meaning_drops_out_of_similarity_and_language_stays() -> None:
    """Two families with directions of their own, far smaller than the differences between sentences."""
    generator = torch.Generator().manual_seed(0)
    meaning = torch.randn(200, 32, generator=generator)
    families = torch.randn(2, 32, generator=generator)
    own = torch.randn(6, 32, generator=generator)
    vectors = {name: meaning + 0.3 * families[n % 2] + 0.1 * own[n] for n, name in enumerate("aBcDeF")}
    names, cosines = language_similarity(vectors)
    assert names == list(vectors)
    assert torch.allclose(cosines.diag(), torch.ones(6), atol=1e-5)
    for n, name in enumerate(names):
        near = nearest_languages(vectors, [name], names, 2)[name]
        assert {names.index(other) % 2 for other in near} == {n % 2}
        assert name not in near
        assert cosines[n, names.index(near[0])] >= cosines[n, names.index(near[1])]


def test_more_languages_than_there_are_is_one_clear_line() -> None:
    vectors = {name: torch.randn(4, 3) for name in ("a", "b", "c")}
    with pytest.raises(UserError, match=r"3 nearest of 2.*target\.auxiliary\.nearest"):
        nearest_languages(vectors, ["a"], ["a", "b", "c"], 3)


def test_sentence_vectors_are_those_of_the_whole_frozen_encoder(toy_store: ActivationCache) -> None:
    lines = ["one two", "three", "four five six"]
    found = sentence_vectors(toy_store, lines)
    encoder = toy_store.encoder
    for line, vector in zip(lines, found, strict=True):
        tokens = encoder.tokenize([Text(line)], 32)
        hidden = encoder.run(encoder.embed(tokens), 0, encoder.depth, torch.float32)
        assert torch.allclose(vector, hidden.mean(0), atol=1e-5)
