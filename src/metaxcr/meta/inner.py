"""The inner loop: gradient descent on the support loss."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Params = dict[str, Tensor]
Objective = Callable[[Params], Tensor]  # phi -> a scalar loss
Rates = float | Mapping[str, Tensor]  # alpha: one for all parameters, or one for each of their elements


def value_and_grad(
    objective: Objective, phi: Params, moved: Collection[str] | None = None
) -> tuple[float, Params]:
    """Loss and gradient of an objective at phi; phi itself is left alone.

    Args:
        objective: A scalar function of the parameters.
        phi: Name -> tensor.
        moved: Names of the parameters whose gradient is wanted; None: of all.

    Returns:
        The loss as a number, and the gradient by name.
    """
    leaves = {n: p.detach().requires_grad_() for n, p in phi.items() if moved is None or n in moved}
    loss = objective({**phi, **leaves})
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return float(loss.detach()), dict(zip(leaves, gradients, strict=True))


def descend(phi: Params, gradient: Params, alpha: Rates) -> Params:
    """One step, phi - alpha * gradient; parameters without a gradient stay."""
    rate = alpha if isinstance(alpha, Mapping) else dict.fromkeys(gradient, alpha)
    return {n: p - rate[n] * gradient[n] if n in gradient else p for n, p in phi.items()}


@dataclass(frozen=True)
class InnerPath:
    """Where the inner loop went.

    Attributes:
        points: phi'_0 to phi'_K.
        gradients: g_1 to g_K, that of every step at its starting point.
        losses: The loss before every step.
    """

    points: list[Params]
    gradients: list[Params]
    losses: list[float]

    @property
    def end(self) -> Params:
        """phi'_K."""
        return self.points[-1]


def inner_path(
    objectives: Sequence[Objective], phi: Params, alpha: Rates, moved: Collection[str] | None = None
) -> InnerPath:
    """phi'_k = phi'_(k-1) - alpha * grad L_k(phi'_(k-1)), phi'_0 = phi, with every point on the way.

    No graph is kept: what second-order learners need of a step is computed again from its starting point
    (:func:`metaxcr.meta.second_order.pull_back`), so that memory does not grow by activations.

    Args:
        objectives: One loss a step: K times the support loss, or a path over several batches.
        phi: The start.
        alpha: The inner learning rate.
        moved: Names of the parameters that the inner loop moves; None: all.

    Source:
        Finn et al. 2017 (MAML), equation 1.
    """
    path = InnerPath([phi], [], [])
    for objective in objectives:
        loss, gradient = value_and_grad(objective, path.end, moved)
        path.points.append(descend(path.end, gradient, alpha))
        path.gradients.append(gradient)
        path.losses.append(loss)
    return path


def inner_loop(objectives: Sequence[Objective], phi: Params, alpha: Rates) -> tuple[Params, list[float]]:
    """The inner loop where its end is all that counts: phi'_K, and the loss before each step.

    Arguments are those of :func:`inner_path`; memory is that of one step.
    """
    losses = []
    for objective in objectives:
        loss, gradient = value_and_grad(objective, phi)
        phi = descend(phi, gradient, alpha)
        losses.append(loss)
    return phi, losses
