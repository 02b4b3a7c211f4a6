"""Losses whose gradients and minima are known in closed form, and small helpers."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metaxcr.autodiff import Objective, Params
from metaxcr.config.schema import Meta
from metaxcr.meta.learners import make_learner
from metaxcr.meta.learners.base import EpisodeResult, Losses

NAMES = {"adapter": (3,), "scorer": (2,)}  # five numbers in all


def flat(params: Params) -> Tensor:
    """All parameters as one vector, in the order of :data:`NAMES`."""
    return torch.cat([params[name].reshape(-1) for name in NAMES])


def unflat(vector: Tensor) -> Params:
    """The inverse of :func:`flat`."""
    parts = vector.split([shape[0] for shape in NAMES.values()])
    return dict(zip(NAMES, parts, strict=True))


@dataclass(frozen=True)
class Quadratic:
    """(x - b)' A (x - b) / 2 with a dense positive A that couples adapter and scorer; all float64."""

    a: Tensor
    b: Tensor

    def __call__(self, phi: Params) -> Tensor:
        d = flat(phi) - self.b
        return d @ self.a @ d / 2

    def gradient(self, x: Tensor) -> Tensor:
        """A (x - b)."""
        return self.a @ (x - self.b)


def quadratic(seed: int) -> Quadratic:
    """A random one with eigenvalues of about 0.5 to 3."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64) / 3
    a = root @ root.T + 0.5 * torch.eye(5, dtype=torch.float64)
    return Quadratic(a, torch.randn(5, generator=generator, dtype=torch.float64))


def point(seed: int = 0) -> Params:
    """Random parameters."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return unflat(torch.randn(5, generator=generator, dtype=torch.float64))


def regression(seed: int) -> Objective:
    """A small non-linear regression problem: curvature differs from point to point."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    z = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(6, generator=generator, dtype=torch.float64)
    return lambda phi: (torch.tanh(x @ phi["adapter"]) * (z @ phi["scorer"]) - y).pow(2).mean()


def adapt(
    name: str, losses: Losses, phi: Params, own: Params | None = None, **settings: Any
) -> EpisodeResult:
    """Let the learner that these settings make learn from an episode."""
    settings = {"learner": name, "inner_lr": 0.2, **settings}
    learner = make_learner(Meta.model_validate(settings))
    return learner.adapt(losses, phi, learner.init(phi) if own is None else own)


def gradient(objective: Objective, at: Params) -> Params:
    """By autograd, the plain way."""
    leaves = {name: p.clone().requires_grad_() for name, p in at.items()}
    objective(leaves).backward()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in leaves.items()}


def descend(objective: Objective, phi: Params, steps: int, alpha: float = 0.2) -> Params:
    """Plain gradient descent."""
    for _ in range(steps):
        slope = gradient(objective, phi)
        phi = {name: p - alpha * slope[name] for name, p in phi.items()}
    return phi


def close(one: Params, other: Params, tolerance: float = 1e-9) -> bool:
    """Whether two sets of parameters are equal up to a relative tolerance of their size."""
    assert one.keys() == other.keys()
    return all(float((one[n] - other[n]).norm()) <= tolerance * (1 + float(other[n].norm())) for n in one)
