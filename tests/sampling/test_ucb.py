import math

import pytest
from tests.sampling.conftest import Tell

from metaxcr.sampling import UCB


def test_sources_never_drawn_come_first(tell: Tell) -> None:
    sampler = UCB(3)
    state = sampler.update(sampler.init(0), tell(3, 1, 5.0))
    assert sampler.probabilities(state).tolist() == [0.5, 0.0, 0.5]


def test_then_the_highest_bound(tell: Tell) -> None:
    sampler, state = UCB(2, bonus=0.7, discount=0.9), UCB(2).init(0)
    rewards = [(0, 0.1), (1, 0.4), (0, 0.3), (0, 0.6), (1, -0.2), (0, 0.2)]
    for source, reward in rewards:
        state = sampler.update(state, tell(2, source, reward))
    n, total, past = [0.0, 0.0], [0.0, 0.0], []
    for source, reward in rewards:
        n, total = [0.9 * v for v in n], [0.9 * v for v in total]
        mean = sum(past) / max(1, len(past))
        deviation = max(1e-9, math.sqrt(sum((r - mean) ** 2 for r in past) / max(1, len(past))))
        n[source] += 1
        total[source] += max(-3.0, min(3.0, (reward - mean) / deviation)) if past else 0.0
        past.append(reward)
    bound = [total[j] / n[j] + 0.7 * math.sqrt(2 * math.log(max(math.e, sum(n))) / n[j]) for j in (0, 1)]
    assert abs(bound[0] - bound[1]) > 0.01
    assert sampler.probabilities(state)[0] == float(bound[0] > bound[1])


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_it_comes_back_to_a_source_that_it_left(discount: float, tell: Tell) -> None:
    sampler, state, drawn = UCB(3, discount=discount), UCB(3).init(0), []
    for step in range(80):
        source = int(sampler.probabilities(state).argmax())
        drawn.append(source)
        state = sampler.update(state, tell(3, source, (source == 1) + 0.01 * (step % 2)))
    assert drawn[-20:].count(1) > 8
    assert discount == 1.0 or set(drawn[20:]) == {0, 1, 2}
