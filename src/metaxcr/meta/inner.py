"""The inner loop: gradient descent on the support loss."""

from collections.abc import Callable, Collection, Mapping, Sequence

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


def inner_path(
    objectives: Sequence[Objective], phi: Params, alpha: Rates, moved: Collection[str] | None = None
) -> tuple[list[Params], list[float]]:
    """phi'_k = phi'_(k-1) - alpha * grad L_k(phi'_(k-1)), phi'_0 = phi, with every point on the way.

    No graph is kept: what second-order learners need of a step is computed again from its starting point
    (:func:`metaxcr.meta.second_order.pull_back`), so that memory does not grow by activations.

    Args:
        objectives: One loss a step: K times the support loss, or a path over several batches.
        phi: The start.
        alpha: The inner learning rate.
        moved: Names of the parameters that the inner loop moves; None: all.

    Returns:
        phi'_0 to phi'_K, and the loss before each step.

    Source:
        Finn et al. 2017 (MAML), equation 1.
    """
    path, losses = [phi], []
    for objective in objectives:
        loss, gradient = value_and_grad(objective, path[-1], moved)
        path.append(descend(path[-1], gradient, alpha))
        losses.append(loss)
    return path, losses


def inner_loop(
    objectives: Sequence[Objective], phi: Params, alpha: Rates, moved: Collection[str] | None = None
) -> tuple[Params, list[float]]:
    """The end of :func:`inner_path`, phi'_K, and the loss before each step; same arguments."""
    path, losses = inner_path(objectives, phi, alpha, moved)
    return path[-1], losses
