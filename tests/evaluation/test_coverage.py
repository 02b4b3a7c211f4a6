"""Whether 95 % intervals hold the truth in 95 % of experiments: items x seeds crossed, the truth known."""

import numpy as np
import pytest
from scipy import stats

from metaxcr.evaluation.statistics import crossed_interval, paired_difference

EXPERIMENTS = 2000  # the standard error of a coverage of 95 % is then half a point


def tables(
    items: int, seeds: int, item_sd: float, seed_sd: float, generator: np.random.Generator
) -> np.ndarray:
    """Right or wrong, from a latent normal: easiness of the item + quality of the seed + noise."""
    easiness = item_sd * generator.standard_normal((EXPERIMENTS, items, 1))
    quality = seed_sd * generator.standard_normal((EXPERIMENTS, 1, seeds))
    noise = generator.standard_normal((EXPERIMENTS, items, seeds))
    return (0.2 + easiness + quality + noise > 0).astype(float)


def truth(item_sd: float, seed_sd: float) -> float:
    """Probability of a right answer over items and seeds."""
    return float(stats.norm.cdf(0.2 / np.sqrt(1 + item_sd**2 + seed_sd**2)))


@pytest.mark.parametrize(
    ("items", "seeds", "seed_sd"),
    [(500, 3, 0.0), (500, 3, 0.15), (500, 3, 0.4), (200, 5, 0.2), (100, 10, 0.1)],
)
def test_coverage_of_an_average(items: int, seeds: int, seed_sd: float) -> None:
    """From seeds that are alike to seeds that differ by eleven points."""
    found = [
        crossed_interval(t) for t in tables(items, seeds, 1.0, seed_sd, np.random.default_rng(items + seeds))
    ]
    value = truth(1.0, seed_sd)
    assert 0.93 <= np.mean([i.low <= value <= i.high for i in found]) <= 0.97


def test_items_alone_would_claim_too_much() -> None:
    found = [crossed_interval(t.mean(axis=1)) for t in tables(500, 3, 1.0, 0.15, np.random.default_rng(503))]
    value = truth(1.0, 0.15)
    assert np.mean([i.low <= value <= i.high for i in found]) < 0.9


@pytest.mark.parametrize("seed_sd", [0.0, 0.15])
def test_coverage_and_level_of_a_difference(seed_sd: float) -> None:
    generator, items, seeds = np.random.default_rng(9), 300, 3
    easiness = generator.standard_normal((EXPERIMENTS, items, 1))
    methods = []
    for _ in range(2):
        quality = seed_sd * generator.standard_normal((EXPERIMENTS, 1, seeds))
        noise = generator.standard_normal((EXPERIMENTS, items, seeds))
        methods.append((easiness + quality + noise > 0).astype(float))
    found = [paired_difference(a, b) for a, b in zip(*methods, strict=True)]
    covered = np.mean([d.low <= 0 <= d.high for d in found])
    assert 0.93 <= covered <= 0.97
    assert np.mean([d.p <= 0.05 for d in found]) == pytest.approx(1 - covered, abs=1e-9)
