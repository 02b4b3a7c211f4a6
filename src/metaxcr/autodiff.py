"""Gradients of a loss, the inner loop, and gradients through the inner loop.

Reverse-mode differentiation of phi'_k = phi'_(k-1) - alpha * g_k(phi'_(k-1)) is written out: every step is
recomputed from its starting point, so only one step's graph is alive at a time. What is kept of each step is
its starting point and its gradient, both of the size of phi; memory does not grow by activations.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Params = dict[str, Tensor]
Objective = Callable[[Params], Tensor]  # phi -> a scalar loss
Rates = float | Mapping[str, Tensor]  # inner learning rate alpha: one for all, or one an element


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


def descend(phi: Params, gradient: Params, inner_lr: Rates) -> Params:
    """One step, phi - alpha * gradient; parameters without a gradient stay."""
    rate = inner_lr if isinstance(inner_lr, Mapping) else dict.fromkeys(gradient, inner_lr)
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
    objectives: Sequence[Objective], phi: Params, inner_lr: Rates, moved: Collection[str] | None = None
) -> InnerPath:
    """phi'_k = phi'_(k-1) - alpha * grad L_k(phi'_(k-1)), phi'_0 = phi, with every point on the way.

    No graph is kept: what second-order learners need of a step is computed again from its starting point
    (:func:`metaxcr.autodiff.backprop_through_inner_loop`), so that memory does not grow by activations.

    Args:
        objectives: One loss a step: K times the support loss, or a path over several batches.
        phi: The start.
        inner_lr: alpha.
        moved: Names of the parameters that the inner loop moves; None: all.

    Source:
        Finn et al. 2017 (MAML), equation 1.
    """
    path = InnerPath([phi], [], [])
    for objective in objectives:
        loss, gradient = value_and_grad(objective, path.end, moved)
        path.points.append(descend(path.end, gradient, inner_lr))
        path.gradients.append(gradient)
        path.losses.append(loss)
    return path


def inner_loop(objectives: Sequence[Objective], phi: Params, inner_lr: Rates) -> tuple[Params, list[float]]:
    """The inner loop where its end is all that counts: phi'_K, and the loss before each step.

    Arguments are those of :func:`inner_path`; memory is that of one step.
    """
    losses = []
    for objective in objectives:
        loss, gradient = value_and_grad(objective, phi)
        phi = descend(phi, gradient, inner_lr)
        losses.append(loss)
    return phi, losses


def hessian_product(objective: Objective, phi: Params, vector: Params) -> Params:
    """H v = d <grad L, v> / d phi, by differentiating twice.

    Fused attention has no second derivative, so PyTorch's plain kernel is switched on meanwhile.

    Args:
        objective: L, a scalar function of the parameters.
        phi: Where.
        vector: v, for some or all of the parameters.

    Returns:
        H v for all of phi: the columns of H that belong to the names in ``vector``.

    Source:
        Pearlmutter 1994; here in reverse over reverse mode.
    """
    leaves = {n: p.detach().requires_grad_() for n, p in phi.items()}
    with sdpa_kernel(SDPBackend.MATH):
        loss = objective(leaves)
        gradient = torch.autograd.grad(
            loss, [leaves[n] for n in vector], create_graph=True, allow_unused=True, materialize_grads=True
        )
        dot = torch.stack([(g * v).sum() for g, v in zip(gradient, vector.values(), strict=True)]).sum()
        if not dot.requires_grad:  # a loss that is linear in phi
            return {n: torch.zeros_like(p) for n, p in phi.items()}
        product = torch.autograd.grad(dot, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, product, strict=True))


def backprop_through_inner_loop(
    objectives: Sequence[Objective],
    path: InnerPath,
    inner_lr: Rates,
    end: Params,
    moved: Collection[str] | None = None,
) -> tuple[Params, Params]:
    """Take a gradient with respect to phi'_K back to phi: v <- v - H_k (alpha * v), k = K .. 1.

    Args:
        objectives: The inner loop's losses.
        path: Of the inner loop.
        inner_lr: alpha, one for all parameters or one for each element.
        end: v, the gradient at phi'_K.
        moved: Names of the parameters that the inner loop moved; None: all.

    Returns:
        The gradient with respect to phi, and, for the parameters that moved, that with respect to every
        element's own inner rate: - sum over k of g_k * v_k.

    Source:
        Finn et al. 2017 (MAML), section 2.2; Li et al. 2017 (Meta-SGD), equation 3, for the rates.
    """
    names = list(end) if moved is None else list(moved)
    rate = inner_lr if isinstance(inner_lr, Mapping) else dict.fromkeys(names, inner_lr)
    v, lr_grad = end, {n: torch.zeros_like(end[n]) for n in names}
    for k in reversed(range(len(objectives))):
        lr_grad = {n: s - path.gradients[k][n] * v[n] for n, s in lr_grad.items()}
        product = hessian_product(objectives[k], path.points[k], {n: rate[n] * v[n] for n in names})
        v = {n: g - product[n] for n, g in v.items()}
    return v, lr_grad
