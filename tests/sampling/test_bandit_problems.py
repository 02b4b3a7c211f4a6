"""Laws that the reinforced sampler keeps at the shipped settings: 5 sources, 500 steps, 20 seeds."""

from functools import cache

import numpy as np
import pytest
from tests.sampling.bandit_problems import LAWS, Bandit, play

from metaxcr.config.schema import SamplerSettings
from metaxcr.sampling import make_sampler
from metaxcr.sampling.fixed import Fixed

SEEDS = range(20)
FLOOR = SamplerSettings().floor / 5


@cache
def histories(law: str) -> np.ndarray:
    """Probabilities drawn from: (seeds, steps, sources)."""
    sampler = make_sampler(SamplerSettings(), [1] * 5)
    return np.array([play(sampler, Bandit(law), seed) for seed in SEEDS])


@pytest.mark.slow
def test_where_one_source_helps_it_ends_with_four_fifths_of_the_draws() -> None:
    assert histories("one helps")[:, -1, 0].mean() >= 0.8


@pytest.mark.slow
def test_where_the_best_source_changes_it_follows() -> None:
    history = histories("the best changes")
    assert history[:, 249, 0].mean() > 0.5
    assert history[:, -1, 1].mean() > 0.5
    assert (history[:, -1].argmax(1) == 1).sum() > len(SEEDS) / 2


@pytest.mark.slow
def test_where_all_are_equal_no_source_takes_two_shares() -> None:
    largest = histories("all equal").max(2)
    assert largest[:, -1].mean() < 2 / 5
    assert largest[:, 250:].mean() < 2 / 5


@pytest.mark.slow
def test_where_one_harms_it_goes_to_the_floor() -> None:
    harmful = histories("one harms")[:, -1, 0]
    assert harmful.min() >= FLOOR - 1e-9
    assert harmful.mean() < 0.2 / 4  # of a uniform sampler's share no more than a quarter
    assert harmful.mean() < FLOOR + 0.02


@pytest.mark.parametrize("law", LAWS)
def test_bandits_pay_what_the_law_says(law: str) -> None:
    bandit = Bandit(law, sources=3, steps=4000, noise=0.5, scale=2.0)
    paid = np.array([[bandit.rewards(t, j, 0)[j] for j in range(3)] for t in range(bandit.steps)])
    for half in (slice(0, 2000), slice(2000, 4000)):
        expected = 2 * bandit.means(half.start)
        assert paid[half].mean(0) == pytest.approx(expected, abs=0.1)
        assert paid[half].std(0) == pytest.approx([1.0] * 3, abs=0.1)


def test_rewards_of_all_sources_come_every_few_steps() -> None:
    bandit = Bandit("one helps", sources=3, all_every=4)
    assert [len(bandit.rewards(t, 1, 0)) for t in range(5)] == [3, 0, 0, 0, 3]


def test_play_draws_from_the_probabilities_and_pays_the_source_drawn() -> None:
    told = []

    class Spy(Fixed):
        def update(self, state, feedback):  # type: ignore[no-untyped-def]
            told.append(feedback)
            return super().update(state, feedback)

    history = play(Spy((1.0, 3.0)), Bandit("one harms", sources=2, steps=400, noise=0.0), seed=1)

    assert history.tolist() == [[0.25, 0.75]] * 400
    assert np.mean([f.source for f in told]) == pytest.approx(0.75, abs=0.07)
    assert all(f.rewards == {f.source: -0.1 if f.source == 0 else 0.0} for f in told)
