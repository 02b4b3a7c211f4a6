"""Gradients through the inner loop, with memory that does not grow by activations.

Reverse-mode differentiation of phi'_k = phi'_(k-1) - alpha * g_k(phi'_(k-1)), written out. Every step is
computed again from its starting point when it is its turn, so one step's graph is alive at a time; what is
kept for each step is its starting point and its gradient, both of the size of phi.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaxcr.meta.inner import InnerPath, Objective, Params, Rates


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
        slope = torch.stack([(g * v).sum() for g, v in zip(gradient, vector.values(), strict=True)]).sum()
        if not slope.requires_grad:  # a loss that is linear in phi
            return {n: torch.zeros_like(p) for n, p in phi.items()}
        product = torch.autograd.grad(slope, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, product, strict=True))


def pull_back(
    objectives: Sequence[Objective],
    path: InnerPath,
    alpha: Rates,
    end: Params,
    moved: Collection[str] | None = None,
) -> tuple[Params, Params]:
    """Take a gradient with respect to phi'_K back to phi: v <- v - H_k (alpha * v), k = K .. 1.

    Args:
        objectives: The inner loop's losses.
        path: Of the inner loop.
        alpha: The inner learning rate, or rates.
        end: v, the gradient at phi'_K.
        moved: Names of the parameters that the inner loop moved; None: all.

    Returns:
        The gradient with respect to phi, and, for the parameters that moved, that with respect to every
        element's own inner rate: - sum over k of g_k * v_k.

    Source:
        Finn et al. 2017 (MAML), section 2.2; Li et al. 2017 (Meta-SGD), equation 3, for the rates.
    """
    names = list(end) if moved is None else list(moved)
    rate = alpha if isinstance(alpha, Mapping) else dict.fromkeys(names, alpha)
    v, slope = end, {n: torch.zeros_like(end[n]) for n in names}
    for k in reversed(range(len(objectives))):
        slope = {n: s - path.gradients[k][n] * v[n] for n, s in slope.items()}
        product = hessian_product(objectives[k], path.points[k], {n: rate[n] * v[n] for n in names})
        v = {n: g - product[n] for n, g in v.items()}
    return v, slope
