"""The optimiser of every training loop: clip, Adam, schedule, average, with explicit state."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metaxcr.hardware import CPU, float64

Params = dict[str, Tensor]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Adam:
    """Adam as a pure function.

    Args:
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
        clip: Largest global norm of a gradient; 0 switches clipping off.

    Source:
        Kingma and Ba 2015 (ICLR), algorithm 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    clip: float = 1.0

    def init(self, params: Params) -> State:
        """Zero moments and a zero step count."""
        zeros = {f"{moment}.{n}": torch.zeros_like(p) for moment in ("m", "v") for n, p in params.items()}
        return {"step": torch.zeros((), dtype=torch.int64, device=CPU), **zeros}

    def update(
        self, gradient: Params, state: State, params: Params, rate: float | Mapping[str, float]
    ) -> tuple[Params, State]:
        """One step: returns the new parameters and the new state; the arguments are left alone.

        ``rate`` is one for all parameters, or one a name.
        """
        rates = rate if isinstance(rate, Mapping) else dict.fromkeys(gradient, rate)
        if self.clip:
            # in the order of the names: a checkpoint gives tensors back in another order than they had, and
            # the last bit of a sum depends on it
            squares = [(float64(gradient[n]) ** 2).sum() for n in sorted(gradient)]
            norm = math.sqrt(sum(torch.stack(squares).tolist()))  # one wait for the device, not one a tensor
            scale = min(1.0, self.clip / max(norm, 1e-12))
            gradient = {n: g * scale for n, g in gradient.items()}
        step = int(state["step"]) + 1
        new_params, new_state = {}, {"step": torch.tensor(step, device=CPU)}
        for name, g in gradient.items():
            m = self.beta1 * state[f"m.{name}"] + (1 - self.beta1) * g
            v = self.beta2 * state[f"v.{name}"] + (1 - self.beta2) * g * g
            new_state[f"m.{name}"], new_state[f"v.{name}"] = m, v
            corrected = (m / (1 - self.beta1**step)) / (torch.sqrt(v / (1 - self.beta2**step)) + self.eps)
            new_params[name] = params[name] - rates[name] * corrected
        return new_params, new_state


def schedule(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate: linear warm-up over a share of the steps, linear decay to a tenth.

    Args:
        step: 0-based.
        total: Number of steps.
        warmup: Share of the steps that warm up.
    """
    ramp = max(1, round(warmup * total))
    if step < ramp:
        return (step + 1) / ramp
    return 1.0 - 0.9 * (step - ramp) / max(1, total - ramp)


class Averager:
    """Mean of the parameters over the last part of training.

    A fixed rule in place of choosing a checkpoint on target validation data, which few-shot users lack.

    Args:
        total: Number of steps.
        share: Last share of the steps that is averaged; 0 keeps the last parameters alone.
    """

    def __init__(self, total: int, share: float) -> None:
        self.first = total - max(1, round(share * total))

    @staticmethod
    def init() -> State:
        """Nothing averaged yet."""
        return {"count": torch.zeros((), dtype=torch.int64, device=CPU)}

    def update(self, state: State, params: Params, step: int) -> State:
        """Add the parameters after ``step`` (0-based) to the mean, once averaging has begun."""
        if step < self.first:
            return state
        count = int(state["count"]) + 1
        old = {n: state.get(f"mean.{n}", torch.zeros_like(p)) for n, p in params.items()}
        means = {f"mean.{n}": old[n] + (p - old[n]) / count for n, p in params.items()}
        return {"count": torch.tensor(count, device=CPU), **means}

    @staticmethod
    def result(state: State, params: Params) -> Params:
        """The mean; ``params`` if nothing has been averaged."""
        return {n: state.get(f"mean.{n}", p) for n, p in params.items()}


@dataclass(frozen=True)
class Optimizer:
    """Clip -> Adam -> schedule -> average: the chain of meta-training, fine-tuning and language modelling.

    Args:
        lr: Peak learning rate.
        steps: Length of the schedule.
        warmup: Share of the steps that warm up.
        average: Last share of the steps whose parameters are averaged; 0: the last parameters alone.
        lrs: Peak learning rates of single parameters in place of ``lr``, by the end of their names.
    """

    lr: float
    steps: int
    warmup: float
    average: float = 0.0
    lrs: Mapping[str, float] = field(default_factory=dict)

    def peak(self, name: str) -> float:
        """Peak learning rate of a parameter."""
        return next((lr for end, lr in self.lrs.items() if name.endswith(end)), self.lr)

    def update(self, params: Params, grads: Params, moments: State, step: int) -> tuple[Params, State]:
        """Move the parameters against the clipped gradient; returns them and Adam's new moments."""
        share = schedule(step, self.steps, self.warmup)
        return Adam().update(grads, moments, params, {name: self.peak(name) * share for name in grads})

    def add_to_average(self, average: State, params: Params, step: int) -> State:
        """The average once the parameters after ``step`` are in it."""
        return Averager(self.steps, self.average).update(average, params, step)
