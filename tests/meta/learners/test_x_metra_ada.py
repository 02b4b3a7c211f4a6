import pytest
from tests.meta.problems import adapt, close, descend, gradient, point, regression

from metaxcr.meta.learners.base import Losses


@pytest.mark.parametrize("steps", [1, 3])
def test_meta_adaptation_goes_on_from_where_meta_training_ended(steps: int) -> None:
    support, query, target_support, target_query = (regression(n) for n in range(4))

    losses = Losses(support, query, (target_support, target_query))
    adapted = adapt("x-metra-ada", losses, point(), inner_steps=steps)

    trained = descend(support, point(), steps)
    further = descend(target_support, trained, steps)
    one, other = gradient(query, trained), gradient(target_query, further)
    assert close(adapted.meta_grad, {n: (one[n] + other[n]) / 2 for n in one})
    assert close(adapted.phi, trained), "rewards look at what the source's support did, and at nothing else"
    assert adapted.notes == {"target_loss": pytest.approx(float(target_query(further)))}
    assert adapted.passes == {
        "support": 3 * steps,
        "query": 3,
        "target_support": 3 * steps,
        "target_query": 3,
    }
