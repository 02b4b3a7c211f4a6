"""iMAML: the meta-gradient by the implicit function theorem."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metaxcr.autodiff import Params, descend, hessian_product, value_and_grad
from metaxcr.meta.learners.base import GRADIENT, HESSIAN, BaseLearner, EpisodeResult, Losses, Passes


@dataclass(frozen=True)
class Imaml(BaseLearner):
    """iMAML: phi' minimises L(B_s; phi') + lambda / 2 |phi' - phi|^2, whatever path led there.

    K gradient steps solve the inner problem. The meta-gradient x solves
    (I + H / lambda) x = grad L(B_q; phi'), with H the Hessian of the support loss at phi', by conjugate
    gradients. Memory is that of one Hessian product and does not depend on K at all.

    Args:
        steps: Gradient steps K on the inner problem; the meta-gradient is exact at its solution.
        inner_lr: Their learning rate, alpha.
        strength: lambda, how strongly phi' is held near phi.
        cg_steps: Conjugate gradient iterations at most.
        damping: Added to the diagonal of I + H / lambda, for where H is not positive.

    Source:
        Rajeswaran et al. 2019 (NeurIPS, "Meta-learning with implicit gradients"), equations 3 and 6 and
        algorithm 2.
    """

    steps: int
    inner_lr: float
    strength: float
    cg_steps: int
    damping: float = 0.0

    @property
    def passes(self) -> Passes:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        return self._passes(self.cg_steps)

    def _passes(self, products: int) -> Passes:
        return {"support": GRADIENT * self.steps + HESSIAN * products, "query": GRADIENT}

    def adapt(self, losses: Losses, phi: Params, meta_params: Params) -> EpisodeResult:
        """See :class:`~metaxcr.meta.learners.base.Learner`."""
        adapted, inner_losses = phi, []
        for _ in range(self.steps):
            loss, gradient = value_and_grad(losses.support, adapted)
            regularised = {n: g + self.strength * (adapted[n] - phi[n]) for n, g in gradient.items()}
            adapted = descend(adapted, regularised, self.inner_lr)
            inner_losses.append(loss)
        query_loss, gradient = value_and_grad(losses.query, adapted)

        def matrix(x: Params) -> Params:
            product = hessian_product(losses.support, adapted, x)
            return {n: (1 + self.damping) * p + product[n] / self.strength for n, p in x.items()}

        meta_grad, products, residual = conjugate_gradients(matrix, gradient, self.cg_steps)
        notes = {"cg_steps": products, "cg_residual": residual}
        return EpisodeResult(
            meta_grad, adapted, inner_losses, query_loss, self._passes(products), notes=notes
        )


def conjugate_gradients(
    matrix: Callable[[Params], Params], b: Params, steps: int, tolerance: float = 1e-6
) -> tuple[Params, int, float]:
    """Solve matrix(x) = b, from x = 0 on.

    Stops early at the tolerance, and where the matrix is not positive along the search direction: the
    solution so far is still a descent direction. If that happens at once, the answer is b: no curvature.

    Args:
        matrix: A symmetric linear map.
        b: The right-hand side.
        steps: Iterations at most, at one application of ``matrix`` each.
        tolerance: Of |matrix(x) - b| / |b|.

    Returns:
        x, the number of applications of ``matrix``, and |matrix(x) - b| / |b|.

    Source:
        Hestenes and Stiefel 1952; the rule for negative curvature is Steihaug's (1983).
    """
    x, r, p = {n: torch.zeros_like(v) for n, v in b.items()}, b, b
    rr, products = _dot(b, b), 0
    size = max(float(rr) ** 0.5, 1e-300)
    while products < steps and float(rr) ** 0.5 > tolerance * size:
        image = matrix(p)
        products += 1
        curvature = _dot(p, image)
        if float(curvature) <= 0:
            return (b if products == 1 else x), products, float(rr) ** 0.5 / size
        step = rr / curvature
        x = {n: v + step * p[n] for n, v in x.items()}
        r = {n: v - step * image[n] for n, v in r.items()}
        new = _dot(r, r)
        p, rr = {n: v + new / rr * p[n] for n, v in r.items()}, new
    return x, products, float(rr) ** 0.5 / size


def _dot(one: Params, other: Params) -> Tensor:
    """Inner product, in the order of the names (see :class:`metaxcr.optim.Adam`)."""
    return torch.stack([(one[n] * other[n]).sum() for n in sorted(one)]).sum()
