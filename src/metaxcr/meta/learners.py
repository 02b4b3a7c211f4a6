"""Meta-learners: from one episode to a direction for the outer optimiser."""

from collections.abc import Callable
from dataclasses import dataclass

from metaxcr.meta.inner import Objective, Params, inner_loop, value_and_grad


@dataclass(frozen=True)
class Adapted:
    """What one episode yields.

    Attributes:
        direction: What the outer optimiser descends along, by parameter name.
        phi: phi'_K, the parameters adapted on the support batch alone (what the sampler's reward looks at).
        support_loss: L(B_s; phi), before the inner loop.
        query_loss: The query objective at phi'_K.
    """

    direction: Params
    phi: Params
    support_loss: float
    query_loss: float


# (support objective, query objective, phi, inner steps K, inner learning rate alpha) -> Adapted
Learner = Callable[[Objective, Objective, Params, int, float], Adapted]


def fomaml(support: Objective, query: Objective, phi: Params, steps: int, alpha: float) -> Adapted:
    """First-order MAML: the outer direction is grad L(B_q; phi'_K), taken at phi'_K.

    Args:
        support: L(B_s; .).
        query: L(B_q; .).
        phi: The meta-parameters.
        steps: Inner steps K.
        alpha: Inner learning rate.

    Source:
        Finn et al. 2017 (ICML), section 5.2.
    """
    adapted, losses = inner_loop([support] * steps, phi, alpha)
    query_loss, direction = value_and_grad(query, adapted)
    return Adapted(direction, adapted, losses[0] if losses else query_loss, query_loss)


def reptile(support: Objective, query: Objective, phi: Params, steps: int, alpha: float) -> Adapted:
    """Reptile: an inner path over the support batch and then the query batch; descends along phi - phi'_end.

    The direction is divided by alpha, so that it has the scale of a sum of gradients: plain descent with
    rate beta * alpha is phi <- phi + beta (phi'_end - phi), and Adam sees the same scale as with
    :func:`fomaml`.

    Args:
        support: L(B_s; .).
        query: L(B_q; .).
        phi: The meta-parameters.
        steps: Inner steps K on the support batch; one more on the query batch follows.
        alpha: Inner learning rate.

    Source:
        Nichol et al. 2018 (arXiv 1803.02999), algorithm 1.
    """
    adapted, losses = inner_loop([support] * steps, phi, alpha)
    end, query_losses = inner_loop([query], adapted, alpha)
    direction = {name: (p - end[name]) / alpha for name, p in phi.items()}
    return Adapted(direction, adapted, losses[0] if losses else query_losses[0], query_losses[0])


LEARNERS: dict[str, Learner] = {"fomaml": fomaml, "reptile": reptile}
