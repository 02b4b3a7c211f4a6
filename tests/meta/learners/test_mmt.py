import pytest
from tests.meta.problems import adapt, close, descend, gradient, point, regression

from metaxcr.meta.learners.base import Losses
from metaxcr.meta.learners.mmt import Mmt


@pytest.mark.parametrize("steps", [1, 3])
def test_a_source_s_meta_gradient_and_the_target_s_gradient_weigh_alike(steps: int) -> None:
    support, query, first, second = (regression(n) for n in range(4))

    adapted = adapt(
        "mmt", Losses(support, query, (first, second)), point(), inner_steps=steps, tasks_per_step=2
    )

    meta = gradient(query, descend(support, point(), steps))
    transfer = gradient(lambda phi: (first(phi) + second(phi)) / 2, point())
    assert close(adapted.meta_grad, {n: (meta[n] + transfer[n]) / 2 for n in meta})
    assert close(adapted.phi, descend(support, point(), steps))
    assert adapted.passes == {"support": 3 * steps, "query": 3, "target_support": 3, "target_query": 3}


def test_the_sources_take_turns() -> None:
    assert [Mmt(1, 0.1).source(t, 100, 3) for t in range(7)] == [0, 1, 2, 0, 1, 2, 0]
