import numpy as np
import pytest
from scipy.stats import f_oneway

from metaxcr.sampling import State, evidence


def seen(values: np.ndarray, decay: float = 1.0) -> State:
    """Values of each source: (sources, values), told in turn."""
    state = evidence.init_evidence(len(values))
    for column in values.T:
        for source, value in enumerate(column):
            state |= evidence.gather(state, source, float(value), decay)
    return state


def test_means_and_counts_fade() -> None:
    state = seen(np.array([[1.0, 5.0]]), decay=0.5)
    assert float(evidence.counts(state)[0]) == 1.5
    assert float(evidence.means(state)[0]) == pytest.approx((0.5 * 1.0 + 5.0) / 1.5)


def test_trust_follows_fishers_f() -> None:
    values = np.random.default_rng(0).standard_normal((4, 9))
    values += np.array([0.0, 0.2, 0.4, 0.9])[:, None]
    f = f_oneway(*values).statistic
    assert evidence.trust(seen(values)) == pytest.approx(f**2 / (1 + f**2))


def test_noise_is_trusted_half_on_average_and_a_difference_fully() -> None:
    noise = np.random.default_rng(1).standard_normal((200, 5, 20))
    gap = np.array([1.0, 0, 0, 0, 0])[:, None]
    assert np.median([evidence.trust(seen(v)) for v in noise]) < 0.5
    assert np.median([evidence.trust(seen(v + gap)) for v in noise]) > 0.9


@pytest.mark.parametrize("values", [np.zeros((5, 0)), np.ones((5, 1)), np.ones((5, 9)), np.ones((1, 9))])
def test_without_evidence_there_is_no_trust(values: np.ndarray) -> None:
    assert evidence.trust(seen(values)) == 0.0
