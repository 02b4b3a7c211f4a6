"""The inner loop: gradient descent on the support loss."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Params = dict[str, Tensor]
Objective = Callable[[Params], Tensor]  # phi -> a scalar loss


def value_and_grad(objective: Objective, phi: Params) -> tuple[float, Params]:
    """Loss and gradient of an objective at phi; phi itself is left alone.

    Args:
        objective: A scalar function of the parameters.
        phi: Name -> tensor.

    Returns:
        The loss as a number, and the gradient by name.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in phi.items()}
    loss = objective(leaves)
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return float(loss.detach()), dict(zip(leaves, gradients, strict=True))


def inner_loop(objectives: Sequence[Objective], phi: Params, alpha: float) -> tuple[Params, list[float]]:
    """phi'_k = phi'_(k-1) - alpha * grad L_k(phi'_(k-1)), first order, phi'_0 = phi.

    Args:
        objectives: One loss a step: K times the support loss, or a path over several batches.
        phi: The start.
        alpha: The inner learning rate.

    Returns:
        phi'_K, and the loss before each step.

    Source:
        Finn et al. 2017 (MAML), equation 1.
    """
    losses = []
    for objective in objectives:
        loss, gradient = value_and_grad(objective, phi)
        phi = {name: p - alpha * gradient[name] for name, p in phi.items()}
        losses.append(loss)
    return phi, losses
