from collections.abc import Callable
from typing import Any

import pytest

from metaxcr.config.schema import Ctml
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.encoders.encoder import Text
from metaxcr.errors import UserError
from metaxcr.model.batch import Batch, TaskData
from metaxcr.training.batch_sampler import BatchSampler, aligned_language, halves

Origin = Callable[[Batch], Any]


@pytest.fixture
def draw(toy_store: TrunkStore) -> BatchSampler:
    return BatchSampler(toy_store, 0, "stage")


@pytest.mark.parametrize(("size", "first", "second"), [(2, 16, 1), (2, 1, 16), (5, 16, 1), (5, 4, 4)])
def test_a_set_too_small_for_both_batches_is_split(
    toy_task: Callable[..., TaskData], draw: BatchSampler, origin: Origin, size: int, first: int, second: int
) -> None:
    one, other = (origin(b).ids for b in draw.two_batches(toy_task(size=size), first, second, 0))
    assert one
    assert other
    assert len(set(one + other)) == size


def test_one_question_is_too_few_for_an_episode(
    toy_task: Callable[..., TaskData], draw: BatchSampler
) -> None:
    with pytest.raises(UserError, match="toy"):
        draw.two_batches(toy_task(size=1), 4, 4, 0)


def test_a_batch_larger_than_its_set_is_the_set(
    toy_task: Callable[..., TaskData], draw: BatchSampler, origin: Origin
) -> None:
    data = toy_task(size=3)
    assert sorted(origin(draw.batch(data, 10, "rows", 0)).ids) == sorted(data.ids)


@pytest.mark.parametrize(
    ("size", "first", "second", "drawn"),
    [(24, 8, 8, (8, 8)), (24, 8, 20, (7, 17)), (8, 8, 8, (4, 4)), (2, 8, 8, (1, 1)), (20, 16, 4, (16, 4))],
)
def test_support_and_query_in_two_languages_share_no_item(
    toy_task: Callable[..., TaskData],
    draw: BatchSampler,
    origin: Origin,
    size: int,
    first: int,
    second: int,
    drawn: Any,
) -> None:
    one, other = toy_task("t", "sw", size=size), toy_task("t", "et", size=size)
    for step in range(5):
        support, query = (origin(batch) for batch in draw.across(one, other, first, second, step))
        assert (support.language, query.language) == ("sw", "et")
        assert not set(support.ids) & set(query.ids)
        assert (len(set(support.ids)), len(set(query.ids))) == drawn


def test_sets_of_different_tasks_are_drawn_whole(
    toy_task: Callable[..., TaskData], draw: BatchSampler, origin: Origin
) -> None:
    one, other = toy_task("one", size=6), toy_task("other", "et", size=6)
    support, query = (origin(batch) for batch in draw.across(one, other, 9, 9, 0))
    assert (len(support.ids), len(query.ids)) == (6, 6)


def test_one_item_is_too_few_for_two_languages(toy_task: Callable[..., TaskData], draw: BatchSampler) -> None:
    with pytest.raises(UserError, match="one item"):
        draw.across(toy_task("t", "sw", size=1), toy_task("t", "et", size=1), 4, 4, 0)


def test_names_are_drawn_with_equal_probability(draw: BatchSampler) -> None:
    drawn = [draw.one_of(["a", "b", "c"], "what", step) for step in range(600)]
    assert all(drawn.count(name) == pytest.approx(200, abs=40) for name in "abc")
    assert drawn[:50] == [draw.one_of(["a", "b", "c"], "what", step) for step in range(50)]


@pytest.mark.parametrize("size", [2, 8, 9, 16])
def test_halves_share_nothing_and_miss_nothing(toy_task: Callable[..., TaskData], size: int) -> None:
    shots = toy_task(size=size)
    one, other = halves(shots)
    assert one.ids + other.ids == shots.ids
    assert len(one) == size // 2
    assert len(one.questions) == len(one)


def test_the_pairs_of_all_steps_are_encoded_together(toy_store: TrunkStore, draw: BatchSampler) -> None:
    texts = {
        language: toy_store.register([Text(f"{language} pair {n}") for n in range(40)])
        for language in ("en", "sw", "th")
    }
    before = toy_store.stats.computed_texts
    settings = Ctml(alignment=1.0, pairs=5, steps=4)
    draw.encode_pairs(texts, settings)
    computed = toy_store.stats.computed_texts - before
    assert 10 < computed <= 40  # not all of the 120 sentences
    for step in range(4):
        assert draw.alignment(texts, settings, step) is not None
    assert toy_store.stats.computed_texts == before + computed
    draw.alignment(texts, settings, 4)
    assert toy_store.stats.computed_texts > before + computed


@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_languages_are_aligned_in_turn_however_rarely(every: int) -> None:
    settings = Ctml(alignment=0.5, alignment_every=every)
    languages = [aligned_language(["en", "a", "b", "c", "d"], settings, step) for step in range(12 * every)]
    assert [name for name in languages if name] == ["a", "b", "c", "d"] * 3
    assert all((name is not None) == (step % every == 0) for step, name in enumerate(languages))


def test_nothing_is_aligned_without_weight_or_text() -> None:
    assert aligned_language(["en", "a"], Ctml(alignment=0.0), 0) is None
    assert aligned_language(["en"], Ctml(alignment=1.0), 0) is None
