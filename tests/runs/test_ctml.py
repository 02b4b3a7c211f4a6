from dataclasses import replace

import pytest
import torch
from tests.training.conftest import Origin

from metaxcr.config.schema import Ctml
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import Ragged, Text
from metaxcr.errors import UserError
from metaxcr.model.batch import TaskData
from metaxcr.runs.ctml import CrossTaskEpisodes
from metaxcr.training.batch_sampler import BatchSampler, English


def test_cross_task_support_and_query_come_from_the_sampled_source_and_share_no_question(
    english: English, batches: BatchSampler, origin: Origin
) -> None:
    episodes = CrossTaskEpisodes(english, {}, Ctml(support=5, query=7), batches)
    assert episodes.sources == ["one", "two", "target"]
    for step in range(12):
        episode = episodes.sample(step, step % 3)
        support, query = origin(episode.support), origin(episode.query)
        assert support.task == query.task == episode.about["source"] == episodes.sources[step % 3]
        assert (len(set(support.ids)), len(set(query.ids))) == (5, 7)
        assert not set(support.ids) & set(query.ids)
        assert episode.parallel is None
        assert episodes.uses_source(step)


def test_queries_come_from_the_english_target_data_on_request(
    english: English, batches: BatchSampler, origin: Origin
) -> None:
    episodes = CrossTaskEpisodes(english, {}, Ctml(support=5, query=7, query_from="target"), batches)
    episode = episodes.sample(3, 1)
    assert origin(episode.support).task == "two"
    assert origin(episode.query).task == "queries"
    assert len(set(origin(episode.query).ids)) == 7


def test_queries_from_a_missing_part_are_an_error(english: English, batches: BatchSampler) -> None:
    with pytest.raises(UserError, match=r"target\.english\.query"):
        CrossTaskEpisodes(replace(english, query=None), {}, Ctml(query_from="target"), batches)


def test_rewards_come_from_their_own_part(english: English, batches: BatchSampler, origin: Origin) -> None:
    episodes = CrossTaskEpisodes(english, {}, Ctml(reward=9), batches)
    batches = [origin(episodes.reward_batch(step)) for step in range(4)]
    assert all(batch.task == "rewards" and len(set(batch.ids)) == 9 for batch in batches)
    assert batches[0].ids != batches[1].ids


def test_draws_depend_on_seed_purpose_and_step_alone(
    english: English, toy_store: ActivationCache, origin: Origin
) -> None:
    def ids(seed: int, purpose: str, step: int) -> list[str]:
        episodes = CrossTaskEpisodes(
            english, {}, Ctml(support=6, query=6), BatchSampler(toy_store, seed, purpose)
        )
        episodes.reward_batch(step)
        drawn: list[str] = origin(episodes.sample(step, 0).support).ids
        return drawn

    assert ids(0, "ctml", 5) == ids(0, "ctml", 5)
    others = [ids(1, "ctml", 5), ids(0, "clml", 5), ids(0, "ctml", 6)]
    assert ids(0, "ctml", 5) not in others


def rows_of(ragged: Ragged, store: ActivationCache, numbers: list[int]) -> list[int]:
    """Which sentences of a language a batch holds, found by their activations."""
    known = [store.gather([n]).hidden for n in numbers]
    parts = torch.split(ragged.hidden, ragged.lengths.tolist())
    return [next(r for r, k in enumerate(known) if torch.equal(k, part)) for part in parts]


def test_parallel_pairs_are_aligned_and_the_languages_take_turns(
    english: English, toy_store: ActivationCache, batches: BatchSampler
) -> None:
    texts = {
        language: toy_store.ensure([Text(f"{language} sentence {n}" + " long" * (n % 4)) for n in range(9)])
        for language in ("en", "sw", "th")
    }
    episodes = CrossTaskEpisodes(english, texts, Ctml(support=4, query=4, alignment=0.1, pairs=5), batches)
    drawn = []
    for step in range(6):
        parallel = episodes.sample(step, 0).parallel
        assert parallel is not None
        (one, en), (other, language) = parallel
        assert (en, language) == ("en", ["sw", "th"][step % 2])
        rows = rows_of(one, toy_store, texts["en"])
        assert rows == rows_of(other, toy_store, texts[language])
        assert len(set(rows)) == 5
        drawn.append(rows)
    assert len({tuple(rows) for rows in drawn}) > 1


def test_without_an_alignment_weight_no_parallel_text_is_drawn(
    english: English, toy_store: ActivationCache, batches: BatchSampler
) -> None:
    texts = {language: toy_store.ensure([Text(f"{language} a"), Text("b")]) for language in ("en", "sw")}
    assert CrossTaskEpisodes(english, texts, Ctml(alignment=0.0), batches).sample(0, 0).parallel is None
    assert batches.alignment({"en": texts["en"]}, Ctml(alignment=1.0), 0) is None


def test_shots_pay_ctml_where_they_are_given(
    english: English, shots: TaskData, batches: BatchSampler, origin: Origin
) -> None:
    episodes = CrossTaskEpisodes(english, {}, Ctml(reward=16), batches, shots)
    assert set(origin(episodes.reward_batch(0)).ids) == set(shots.ids)
    assert origin(episodes.reward_batch(0)).language == "et"


def test_learners_with_a_phase_on_the_target_get_two_batches_of_it(
    english: English, batches: BatchSampler, origin: Origin
) -> None:
    ctml = Ctml(learner="x-metra-ada", support=4, query=5)
    episode = CrossTaskEpisodes(english, {}, ctml, batches).sample(0, 0)
    assert episode.target is not None
    assert {origin(batch).task for batch in episode.target} == {"queries"}
    assert CrossTaskEpisodes(english, {}, Ctml(), batches).sample(0, 0).target is None
