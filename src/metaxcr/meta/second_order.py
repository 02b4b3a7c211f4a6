"""Gradients through the inner loop, with memory that does not grow by activations.

Reverse-mode differentiation of phi'_k = phi'_(k-1) - alpha * g_k(phi'_(k-1)), written out. Every step is
computed again from its starting point when it is its turn, so one step's graph is alive at a time; what is
kept for each step is its starting point, the size of phi.
"""

from collections.abc import Mapping, Sequence

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaxcr.meta.inner import Objective, Params, Rates


def hessian_product(objective: Objective, phi: Params, vector: Params) -> tuple[Params, Params]:
    """Gradient g of an objective, and H v = d <g, v> / d phi, by differentiating twice.

    Fused attention has no second derivative, so PyTorch's plain kernel is switched on meanwhile.

    Args:
        objective: A scalar function of the parameters.
        phi: Where.
        vector: v, for some or all of the parameters.

    Returns:
        g for the names in ``vector``, H v for all of phi.
    """
    leaves = {n: p.detach().requires_grad_() for n, p in phi.items()}
    names = list(vector)
    with sdpa_kernel(SDPBackend.MATH):
        loss = objective(leaves)
        gradient = torch.autograd.grad(
            loss, [leaves[n] for n in names], create_graph=True, allow_unused=True, materialize_grads=True
        )
        inner = torch.stack([(g * vector[n]).sum() for n, g in zip(names, gradient, strict=True)]).sum()
        if inner.requires_grad:
            product = torch.autograd.grad(
                inner, list(leaves.values()), allow_unused=True, materialize_grads=True
            )
        else:  # a loss that is linear in phi
            product = tuple(torch.zeros_like(p) for p in leaves.values())
    return {n: g.detach() for n, g in zip(names, gradient, strict=True)}, dict(
        zip(leaves, product, strict=True)
    )


def pull_back(
    objectives: Sequence[Objective],
    path: Sequence[Params],
    alpha: Rates,
    end: Params,
    moved: str | None = None,
) -> tuple[Params, Params]:
    """Take a gradient with respect to phi'_K back to phi: v <- v - H_k (alpha * v), k = K .. 1.

    Args:
        objectives: The inner loop's losses.
        path: phi'_0 to phi'_K, from :func:`metaxcr.meta.inner.inner_path`.
        alpha: The inner learning rate, or rates.
        end: v, the gradient at phi'_K.
        moved: Name of the only parameter that the inner loop moved; None: all.

    Returns:
        The gradient with respect to phi, and that with respect to every element's own inner rate:
        - sum over k of g_k * v_k.

    Source:
        Finn et al. 2017 (MAML), section 2.2; Li et al. 2017 (Meta-SGD), equation 3 for the rates.
    """
    v, rates = end, {n: torch.zeros_like(g) for n, g in end.items()}
    for objective, start in zip(reversed(objectives), reversed(path[:-1]), strict=True):
        steps = {
            n: (alpha[n] if isinstance(alpha, Mapping) else alpha) * g
            for n, g in v.items()
            if moved is None or n == moved
        }
        gradient, product = hessian_product(objective, start, steps)
        rates = {n: r - gradient[n] * v[n] if n in gradient else r for n, r in rates.items()}
        v = {n: g - product[n] for n, g in v.items()}
    return v, rates
