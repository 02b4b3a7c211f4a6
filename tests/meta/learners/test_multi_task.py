from tests.meta.problems import adapt, close, descend, flat, point, quadratic, regression, unflat

from metaxcr.meta.learners.base import Losses
from metaxcr.meta.learners.multi_task import MultiTask, Sequential


def test_multi_task_training_descends_the_mean_of_both_losses_at_phi() -> None:
    support, query, phi = quadratic(1), quadratic(2), point()
    adapted = adapt("multi-task", Losses(support, query), phi)
    assert close(adapted.meta_grad, unflat((support.gradient(flat(phi)) + query.gradient(flat(phi))) / 2))
    assert adapted.query_loss == float(query(phi))


def test_rewards_look_at_a_virtual_step_down_the_support_loss() -> None:
    adapted = adapt("multi-task", Losses(regression(0), regression(1)), point())
    assert close(adapted.phi, descend(regression(0), point(), 1))


def test_it_costs_what_fomaml_costs_with_one_inner_step() -> None:
    losses = Losses(regression(0), regression(1))
    assert adapt("multi-task", losses, point()).passes == adapt("fomaml", losses, point()).passes


def test_sequential_transfer_learns_like_multi_task_training_on_sources_in_their_order() -> None:
    losses = Losses(regression(0), regression(1))
    one, other = (adapt(name, losses, point()) for name in ("multi-task", "sequential"))
    assert close(one.meta_grad, other.meta_grad, 0)
    assert [Sequential(0.1).source(t, 7, 3) for t in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    assert [Sequential(0.1).source(t, 2, 3) for t in range(2)] == [0, 1]
    assert MultiTask(0.1).source(0, 7, 3) is None
