from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.training.world import FIXED_ORDER, SETTINGS, World, same_bytes

from metaxcr.config.schema import Clml, Ctml
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.encoders.encoder import Ragged, Text
from metaxcr.errors import UserError
from metaxcr.meta.learners import LEARNERS, make_learner
from metaxcr.model.batch import Batch, TaskData
from metaxcr.sampling.fixed import Uniform
from metaxcr.training.batch_sampler import BatchSampler, English, halves
from metaxcr.training.episodes import cross_lingual, cross_task, losses_of
from metaxcr.training.loop import meta_step


@pytest.mark.parametrize("learner", sorted(LEARNERS))
@pytest.mark.parametrize(("inner_steps", "alignment", "rewarded"), [(1, 0.0, True), (3, 0.2, False)])
def test_token_passes_are_counted(
    make_world: Callable[..., World], learner: str, inner_steps: int, alignment: float, rewarded: bool
) -> None:
    world = make_world(None if rewarded else Uniform(3))
    update = {"learner": learner, "inner_steps": inner_steps, "alignment": alignment, "pairs": 3, "steps": 2}
    settings = SETTINGS.model_copy(update={**update, "health_every": 2})
    curriculum = world.curriculum(settings, 0)
    for step, (_, event) in enumerate(world.steps(settings)):
        source = curriculum.sources.index(event["source"])
        episode, per_token = curriculum.episode(step, source), world.adapt(settings, step, source).passes
        batches = {"support": episode.support, "query": episode.query}
        if episode.target:
            batches |= dict(zip(("target_support", "target_query"), episode.target, strict=True))
        expected = {part: n * batches[part].tokens for part, n in per_token.items()}
        if alignment:
            assert episode.parallel is not None
            expected["alignment"] = 3 * sum(int(trunk.lengths.sum()) for trunk, _ in episode.parallel)
        if rewarded and learner not in FIXED_ORDER:
            expected["reward"] = 2 * curriculum.reward_batch(step).tokens
        if step == 0:
            expected["health"] = episode.support.tokens
        assert event["passes"] == expected
        assert event["token_passes"] == sum(expected.values())


def test_alignment_enters_the_outer_objective_alone(make_world: Callable[..., World]) -> None:
    world = make_world(Uniform(3))
    with_weight = SETTINGS.model_copy(update={"alignment": 0.5, "pairs": 4, "steps": 1})
    (plain, one), (aligned, two) = (next(world.steps(s)) for s in (SETTINGS, with_weight))
    episode = world.curriculum(with_weight, 0).episode(0, ["one", "two", "three"].index(two["source"]))
    adapted = make_learner(SETTINGS).adapt(losses_of(world.model, episode, 0.0), world.begin().phi, {})

    assert one["support_loss"] == two["support_loss"]
    name = "m.adapted.task.2.up.weight"
    assert not torch.allclose(plain.adam[name], aligned.adam[name])
    assert episode.parallel is not None
    alignment = float(world.model.alignment(adapted.phi, episode.parallel))
    assert two["query_loss"] == pytest.approx((one["query_loss"] + 0.5 * alignment) / 1.5, abs=1e-5)


def test_without_parallel_text_the_alignment_weight_changes_nothing(make_world: Callable[..., World]) -> None:
    world = make_world(Uniform(3))
    curriculum = world.curriculum(SETTINGS, 0)
    bare = replace(curriculum, episode=lambda t, i: replace(curriculum.episode(t, i), parallel=None))
    settings = SETTINGS.model_copy(update={"alignment": 0.5})
    weighted, _ = meta_step(world.model, bare, world.sampler, settings, world.begin(), 0, "ctml")
    plain, _ = meta_step(world.model, bare, world.sampler, SETTINGS, world.begin(), 0, "ctml")
    assert same_bytes(weighted.phi, plain.phi)


def test_target_batches_have_losses_of_their_own(make_world: Callable[..., World]) -> None:
    settings = SETTINGS.model_copy(update={"learner": "x-metra-ada"})
    world = make_world()
    episode, phi = world.curriculum(settings, 0).episode(0, 1), world.begin().phi
    parts: list[str] = []
    losses = losses_of(world.model, episode, 0.0, parts.append)
    assert episode.target is not None
    assert losses.target is not None
    for objective, batch in zip(losses.target, episode.target, strict=True):
        assert torch.equal(objective(phi), world.model.loss(phi, batch))
    assert parts == ["target", "target"]
    plain = world.curriculum(SETTINGS, 0).episode(0, 1)
    assert losses_of(world.model, plain, 0.0).target is None


Origin = Callable[[Batch], Any]


@pytest.fixture
def draw(toy_store: TrunkStore) -> BatchSampler:
    return BatchSampler(toy_store, 0, "stage")


@pytest.fixture
def auxiliary(toy_task: Callable[..., TaskData]) -> dict[str, TaskData]:
    return {language: toy_task("target", language) for language in ("sw", "th", "ta")}


@pytest.fixture
def shots(toy_task: Callable[..., TaskData]) -> TaskData:
    return toy_task("target", "et", size=16)


# --- CTML


def test_cross_task_support_and_query_come_from_the_sampled_source_and_share_no_question(
    english: English, draw: BatchSampler, origin: Origin
) -> None:
    curriculum = cross_task(english, {}, Ctml(support=5, query=7), draw)
    assert curriculum.sources == ["one", "two", "target"]
    for step in range(12):
        episode = curriculum.episode(step, step % 3)
        support, query = origin(episode.support), origin(episode.query)
        assert support.task == query.task == episode.about["source"] == curriculum.sources[step % 3]
        assert (len(set(support.ids)), len(set(query.ids))) == (5, 7)
        assert not set(support.ids) & set(query.ids)
        assert episode.parallel is None
        assert curriculum.uses_source(step)


def test_queries_come_from_the_english_target_data_on_request(
    english: English, draw: BatchSampler, origin: Origin
) -> None:
    curriculum = cross_task(english, {}, Ctml(support=5, query=7, query_from="target"), draw)
    episode = curriculum.episode(3, 1)
    assert origin(episode.support).task == "two"
    assert origin(episode.query).task == "queries"
    assert len(set(origin(episode.query).ids)) == 7


def test_queries_from_a_missing_part_are_an_error(english: English, draw: BatchSampler) -> None:
    with pytest.raises(UserError, match=r"target\.english\.query"):
        cross_task(replace(english, query=None), {}, Ctml(query_from="target"), draw)


def test_rewards_come_from_their_own_part(english: English, draw: BatchSampler, origin: Origin) -> None:
    curriculum = cross_task(english, {}, Ctml(reward=9), draw)
    batches = [origin(curriculum.reward_batch(step)) for step in range(4)]
    assert all(batch.task == "rewards" and len(set(batch.ids)) == 9 for batch in batches)
    assert batches[0].ids != batches[1].ids


def test_draws_depend_on_seed_purpose_and_step_alone(
    english: English, toy_store: TrunkStore, origin: Origin
) -> None:
    def ids(seed: int, purpose: str, step: int) -> list[str]:
        curriculum = cross_task(english, {}, Ctml(support=6, query=6), BatchSampler(toy_store, seed, purpose))
        curriculum.reward_batch(step)
        drawn: list[str] = origin(curriculum.episode(step, 0).support).ids
        return drawn

    assert ids(0, "ctml", 5) == ids(0, "ctml", 5)
    others = [ids(1, "ctml", 5), ids(0, "clml", 5), ids(0, "ctml", 6)]
    assert ids(0, "ctml", 5) not in others


# --- parallel text


def rows_of(ragged: Ragged, store: TrunkStore, numbers: list[int]) -> list[int]:
    """Which sentences of a language a batch holds, found by their activations."""
    known = [store.gather([n]).hidden for n in numbers]
    parts = torch.split(ragged.hidden, ragged.lengths.tolist())
    return [next(r for r, k in enumerate(known) if torch.equal(k, part)) for part in parts]


def test_parallel_pairs_are_aligned_and_the_languages_take_turns(
    english: English, toy_store: TrunkStore, draw: BatchSampler
) -> None:
    texts = {
        language: toy_store.ensure([Text(f"{language} sentence {n}" + " long" * (n % 4)) for n in range(9)])
        for language in ("en", "sw", "th")
    }
    curriculum = cross_task(english, texts, Ctml(support=4, query=4, alignment=0.1, pairs=5), draw)
    drawn = []
    for step in range(6):
        parallel = curriculum.episode(step, 0).parallel
        assert parallel is not None
        (one, en), (other, language) = parallel
        assert (en, language) == ("en", ["sw", "th"][step % 2])
        rows = rows_of(one, toy_store, texts["en"])
        assert rows == rows_of(other, toy_store, texts[language])
        assert len(set(rows)) == 5
        drawn.append(rows)
    assert len({tuple(rows) for rows in drawn}) > 1


def test_without_an_alignment_weight_no_parallel_text_is_drawn(
    english: English, toy_store: TrunkStore, draw: BatchSampler
) -> None:
    texts = {language: toy_store.ensure([Text(f"{language} a"), Text("b")]) for language in ("en", "sw")}
    assert cross_task(english, texts, Ctml(alignment=0.0), draw).episode(0, 0).parallel is None
    assert draw.parallel({"en": texts["en"]}, 2, 0) is None


# --- CLML


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_types_of_episodes_come_in_the_declared_proportion(
    english: English, auxiliary: dict[str, TaskData], draw: BatchSampler, share: float
) -> None:
    settings = Clml(cross_task=share)
    curriculum = cross_lingual(english, auxiliary, auxiliary, english.reward, {}, settings, draw)
    counts = Counter(curriculum.uses_source(step) for step in range(600))
    assert counts[True] / 600 == pytest.approx(share, abs=0.06 if 0 < share < 1 else 0)


def test_cross_lingual_support_is_the_target_task_in_another_language(
    english: English, auxiliary: dict[str, TaskData], draw: BatchSampler, origin: Origin
) -> None:
    settings = Clml(support=4, query=5)
    curriculum = cross_lingual(english, auxiliary, auxiliary, english.reward, {}, settings, draw)
    pairs = set()
    for step in range(60):
        episode = curriculum.episode(step, -1)
        support, query = origin(episode.support), origin(episode.query)
        assert support.language != query.language
        assert support.task == query.task == "target"
        assert (len(support.ids), len(query.ids)) == (4, 5)
        assert episode.about == {
            "kind": "cross-lingual",
            "source": "target",
            "support_language": support.language,
            "query_language": query.language,
        }
        assert (episode.support.language, episode.query.language) == (support.language, query.language)
        pairs.add((support.language, query.language))
    assert len(pairs) == 6


def test_cross_task_support_is_english_and_the_query_in_the_target_language(
    english: English, auxiliary: dict[str, TaskData], draw: BatchSampler, origin: Origin
) -> None:
    curriculum = cross_lingual(english, auxiliary, auxiliary, english.reward, {}, Clml(), draw)
    for step in range(10):
        episode = curriculum.episode(step, 1)
        support, query = origin(episode.support), origin(episode.query)
        assert (support.task, support.language, episode.about["kind"]) == ("two", "en", "cross-task")
        assert episode.about["source"] == "two"
        assert query.task == "target"
        assert query.language == episode.about["query_language"] != "en"
    assert origin(curriculum.reward_batch(0)).task == "rewards"


def test_a_language_without_another_one_is_an_error_unless_all_episodes_are_cross_task(
    english: English, auxiliary: dict[str, TaskData], draw: BatchSampler
) -> None:
    alone = {"sw": auxiliary["sw"]}
    with pytest.raises(UserError, match="'sw'"):
        cross_lingual(english, alone, alone, english.reward, {}, Clml(cross_task=0.5), draw)
    cross_lingual(english, alone, alone, english.reward, {}, Clml(cross_task=1.0), draw)


def test_few_shot_queries_and_rewards_are_disjoint_halves_that_are_swapped_half_way(
    english: English, shots: TaskData, draw: BatchSampler, origin: Origin
) -> None:
    settings = Clml(steps=10, support=4, query=16, reward=16)
    others, parts = {"en": english.sources["target"]}, halves(shots)
    curriculum = cross_lingual(english, {"et": shots}, others, None, {}, settings, draw)
    seen = []
    for step in range(10):
        query = origin(curriculum.episode(step, step % 2 - 1).query)
        reward = origin(curriculum.reward_batch(step))
        assert query.language == reward.language == "et"
        assert not set(query.ids) & set(reward.ids)
        assert set(query.ids) | set(reward.ids) == set(shots.ids)
        seen.append((frozenset(query.ids), frozenset(reward.ids)))
    assert len(set(seen[:5])) == len(set(seen[5:])) == 1
    assert seen[0] == seen[-1][::-1] == (frozenset(parts[0].ids), frozenset(parts[1].ids))


def test_few_shot_support_in_cross_lingual_episodes_is_english(
    english: English, shots: TaskData, draw: BatchSampler, origin: Origin
) -> None:
    others = {"en": english.sources["target"]}
    curriculum = cross_lingual(english, {"et": shots}, others, None, {}, Clml(), draw)
    support = origin(curriculum.episode(0, -1).support)
    assert (support.task, support.language) == ("target", "en")


def test_with_english_rewards_all_shots_are_queries(
    english: English, shots: TaskData, draw: BatchSampler, origin: Origin
) -> None:
    others = {"en": english.sources["target"]}
    curriculum = cross_lingual(english, {"et": shots}, others, english.reward, {}, Clml(query=16), draw)
    assert set(origin(curriculum.episode(0, 0).query).ids) == set(shots.ids)
    assert origin(curriculum.reward_batch(0)).language == "en"


def test_pooled_shots_never_meet_their_translations_nor_the_rewards(
    english: English, toy_task: Callable[..., TaskData], draw: BatchSampler, origin: Origin
) -> None:
    """In several languages at once, an item is in one of support, query and reward at most."""
    pool = {language: toy_task("pool", language, size=16) for language in ("et", "sw", "th")}
    others = {"en": english.sources["target"], **pool}
    settings = Clml(steps=40, support=8, query=8, reward=8)
    curriculum = cross_lingual(english, pool, others, None, {}, settings, draw)
    pairs = set()
    for step in range(40):
        episode = curriculum.episode(step, -1)
        support, query = origin(episode.support), origin(episode.query)
        reward = origin(curriculum.reward_batch(step))
        assert not set(query.ids) & set(reward.ids)
        if support.task == "pool":
            assert not set(support.ids) & (set(query.ids) | set(reward.ids))
        pairs.add((support.language, query.language))
    assert {one for one, _ in pairs} == {"en", "et", "sw", "th"}
    assert all(one != other for one, other in pairs)


def test_a_sampler_chooses_support_languages_where_it_is_asked_to(
    english: English, auxiliary: dict[str, TaskData], draw: BatchSampler, origin: Origin
) -> None:
    settings = Clml(languages="reinforce")
    curriculum = cross_lingual(english, auxiliary, auxiliary, english.reward, {}, settings, draw)
    assert curriculum.sources == ["one", "two", "target", "language sw", "language th", "language ta"]
    assert all(curriculum.uses_source(step) for step in range(9))
    queries = set()
    for step in range(30):
        episode = curriculum.episode(step, 4)
        assert origin(episode.support).language == "th"
        assert episode.about["kind"] == "cross-lingual"
        queries.add(origin(episode.query).language)
    assert queries == {"sw", "ta"}
    assert curriculum.episode(0, 2).about["kind"] == "cross-task"


def test_one_support_language_leaves_nothing_to_choose(
    english: English, shots: TaskData, draw: BatchSampler
) -> None:
    others = {"en": english.sources["target"]}
    settings = Clml(languages="reinforce", cross_task=0)
    curriculum = cross_lingual(english, {"et": shots}, others, None, {}, settings, draw)
    assert curriculum.sources == ["one", "two", "target"]
    assert not curriculum.uses_source(0)


def test_shots_pay_ctml_where_they_are_given(
    english: English, shots: TaskData, draw: BatchSampler, origin: Origin
) -> None:
    curriculum = cross_task(english, {}, Ctml(reward=16), draw, shots)
    assert set(origin(curriculum.reward_batch(0)).ids) == set(shots.ids)
    assert origin(curriculum.reward_batch(0)).language == "et"


def test_learners_with_a_phase_on_the_target_get_two_batches_of_it(
    english: English, shots: TaskData, draw: BatchSampler, origin: Origin
) -> None:
    others = {"en": english.sources["target"]}
    clml = Clml(learner="x-metra-ada", support=4, query=5)
    episode = cross_lingual(english, {"et": shots}, others, english.reward, {}, clml, draw).episode(0, -1)
    assert episode.target is not None
    one, other = (origin(batch) for batch in episode.target)
    assert one.language == other.language == "et"
    assert not set(one.ids) & set(other.ids)
    ctml = Ctml(learner="x-metra-ada", support=4, query=5)
    episode = cross_task(english, {}, ctml, draw).episode(0, 0)
    assert episode.target is not None
    assert {origin(batch).task for batch in episode.target} == {"queries"}
    assert cross_task(english, {}, Ctml(), draw).episode(0, 0).target is None
