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



from tests.training.conftest import Origin
from metaxcr.runs.clml import CrossLingualEpisodes




@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_types_of_episodes_come_in_the_declared_proportion(
    english: English, auxiliary: dict[str, TaskData], batches: BatchSampler, share: float
) -> None:
    settings = Clml(cross_task=share)
    episodes = CrossLingualEpisodes(english, auxiliary, auxiliary, english.reward, {}, settings, batches)
    counts = Counter(episodes.uses_source(step) for step in range(600))
    assert counts[True] / 600 == pytest.approx(share, abs=0.06 if 0 < share < 1 else 0)


def test_cross_lingual_support_is_the_target_task_in_another_language(
    english: English, auxiliary: dict[str, TaskData], batches: BatchSampler, origin: Origin
) -> None:
    settings = Clml(support=4, query=5)
    episodes = CrossLingualEpisodes(english, auxiliary, auxiliary, english.reward, {}, settings, batches)
    pairs = set()
    for step in range(60):
        episode = episodes.sample(step, -1)
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
    english: English, auxiliary: dict[str, TaskData], batches: BatchSampler, origin: Origin
) -> None:
    episodes = CrossLingualEpisodes(english, auxiliary, auxiliary, english.reward, {}, Clml(), batches)
    for step in range(10):
        episode = episodes.sample(step, 1)
        support, query = origin(episode.support), origin(episode.query)
        assert (support.task, support.language, episode.about["kind"]) == ("two", "en", "cross-task")
        assert episode.about["source"] == "two"
        assert query.task == "target"
        assert query.language == episode.about["query_language"] != "en"
    assert origin(episodes.reward_batch(0)).task == "rewards"


def test_a_language_without_another_one_is_an_error_unless_all_episodes_are_cross_task(
    english: English, auxiliary: dict[str, TaskData], batches: BatchSampler
) -> None:
    alone = {"sw": auxiliary["sw"]}
    with pytest.raises(UserError, match="'sw'"):
        CrossLingualEpisodes(english, alone, alone, english.reward, {}, Clml(cross_task=0.5), batches)
    CrossLingualEpisodes(english, alone, alone, english.reward, {}, Clml(cross_task=1.0), batches)


def test_few_shot_queries_and_rewards_are_disjoint_halves_that_are_swapped_half_way(
    english: English, shots: TaskData, batches: BatchSampler, origin: Origin
) -> None:
    settings = Clml(steps=10, support=4, query=16, reward=16)
    others, parts = {"en": english.sources["target"]}, halves(shots)
    episodes = CrossLingualEpisodes(english, {"et": shots}, others, None, {}, settings, batches)
    seen = []
    for step in range(10):
        query = origin(episodes.sample(step, step % 2 - 1).query)
        reward = origin(episodes.reward_batch(step))
        assert query.language == reward.language == "et"
        assert not set(query.ids) & set(reward.ids)
        assert set(query.ids) | set(reward.ids) == set(shots.ids)
        seen.append((frozenset(query.ids), frozenset(reward.ids)))
    assert len(set(seen[:5])) == len(set(seen[5:])) == 1
    assert seen[0] == seen[-1][::-1] == (frozenset(parts[0].ids), frozenset(parts[1].ids))


def test_few_shot_support_in_cross_lingual_episodes_is_english(
    english: English, shots: TaskData, batches: BatchSampler, origin: Origin
) -> None:
    others = {"en": english.sources["target"]}
    episodes = CrossLingualEpisodes(english, {"et": shots}, others, None, {}, Clml(), batches)
    support = origin(episodes.sample(0, -1).support)
    assert (support.task, support.language) == ("target", "en")


def test_with_english_rewards_all_shots_are_queries(
    english: English, shots: TaskData, batches: BatchSampler, origin: Origin
) -> None:
    others = {"en": english.sources["target"]}
    episodes = CrossLingualEpisodes(english, {"et": shots}, others, english.reward, {}, Clml(query=16), batches)
    assert set(origin(episodes.sample(0, 0).query).ids) == set(shots.ids)
    assert origin(episodes.reward_batch(0)).language == "en"


def test_pooled_shots_never_meet_their_translations_nor_the_rewards(
    english: English, toy_task: Callable[..., TaskData], batches: BatchSampler, origin: Origin
) -> None:
    """In several languages at once, an item is in one of support, query and reward at most."""
    pool = {language: toy_task("pool", language, size=16) for language in ("et", "sw", "th")}
    others = {"en": english.sources["target"], **pool}
    settings = Clml(steps=40, support=8, query=8, reward=8)
    episodes = CrossLingualEpisodes(english, pool, others, None, {}, settings, batches)
    pairs = set()
    for step in range(40):
        episode = episodes.sample(step, -1)
        support, query = origin(episode.support), origin(episode.query)
        reward = origin(episodes.reward_batch(step))
        assert not set(query.ids) & set(reward.ids)
        if support.task == "pool":
            assert not set(support.ids) & (set(query.ids) | set(reward.ids))
        pairs.add((support.language, query.language))
    assert {one for one, _ in pairs} == {"en", "et", "sw", "th"}
    assert all(one != other for one, other in pairs)


def test_a_sampler_chooses_support_languages_where_it_is_asked_to(
    english: English, auxiliary: dict[str, TaskData], batches: BatchSampler, origin: Origin
) -> None:
    settings = Clml(languages="reinforce")
    episodes = CrossLingualEpisodes(english, auxiliary, auxiliary, english.reward, {}, settings, batches)
    assert episodes.sources == ["one", "two", "target", "language sw", "language th", "language ta"]
    assert all(episodes.uses_source(step) for step in range(9))
    queries = set()
    for step in range(30):
        episode = episodes.sample(step, 4)
        assert origin(episode.support).language == "th"
        assert episode.about["kind"] == "cross-lingual"
        queries.add(origin(episode.query).language)
    assert queries == {"sw", "ta"}
    assert episodes.sample(0, 2).about["kind"] == "cross-task"


def test_one_support_language_leaves_nothing_to_choose(
    english: English, shots: TaskData, batches: BatchSampler
) -> None:
    others = {"en": english.sources["target"]}
    settings = Clml(languages="reinforce", cross_task=0)
    episodes = CrossLingualEpisodes(english, {"et": shots}, others, None, {}, settings, batches)
    assert episodes.sources == ["one", "two", "target"]
    assert not episodes.uses_source(0)




def test_learners_with_a_phase_on_the_target_get_two_batches_of_it(
    english: English, shots: TaskData, batches: BatchSampler, origin: Origin
) -> None:
    others = {"en": english.sources["target"]}
    clml = Clml(learner="x-metra-ada", support=4, query=5)
    episode = CrossLingualEpisodes(english, {"et": shots}, others, english.reward, {}, clml, batches).sample(0, -1)
    assert episode.target is not None
    one, other = (origin(batch) for batch in episode.target)
    assert one.language == other.language == "et"
    assert not set(one.ids) & set(other.ids)
