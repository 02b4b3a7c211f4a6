"""What the meta-training loop remembers between two episodes, and its outer update."""

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from metaxcr.config import Meta
from metaxcr.hardware import CPU
from metaxcr.meta.diverged import require_finite
from metaxcr.meta.inner import Params
from metaxcr.meta.learners import Adapted, make_learner
from metaxcr.meta.optim import Adam, Averager, schedule

State = dict[str, Tensor]


@dataclass(frozen=True)
class MetaState:
    """Everything the loop remembers between two episodes.

    Attributes:
        step: Episodes done.
        phi: Task adapter and scorer.
        adam: Of the outer optimiser for phi.
        average: Of the last part of training.
        sampler: Of the sampler.
        own: The learner's own meta-parameters (Meta-SGD's rates); no part of the result.
        own_adam: Of the outer optimiser for them.
        gathered: Sum of the directions since the last outer update, of ``phi`` and ``own`` by prefix.
        reward: The last look at target data, where it serves several steps.
    """

    step: int
    phi: Params
    adam: State
    average: State
    sampler: State
    own: Params = field(default_factory=dict)
    own_adam: State = field(default_factory=dict)
    gathered: Params = field(default_factory=dict)
    reward: State = field(default_factory=dict)

    def tensors(self) -> State:
        """Flatten for a checkpoint (the step is kept beside it)."""
        return {f"{part}/{name}": t for part in PARTS for name, t in getattr(self, part).items()}

    def later_tensors(self, found: State) -> State:
        """What :meth:`tensors` has beside these once steps were done, for checking a checkpoint.

        Args:
            found: A checkpoint's tensors; the last look at target data may be of any shape.
        """
        own = {f"own/{name}": tensor for name, tensor in self.own.items()}
        gathered = {f"phi/{name}": tensor for name, tensor in self.phi.items()} | own
        later = {f"gathered/{name}": tensor for name, tensor in gathered.items()}
        later |= {f"average/mean.{name}": tensor for name, tensor in self.phi.items()}
        return later | {name: tensor for name, tensor in found.items() if name.startswith("reward/")}

    @staticmethod
    def from_tensors(step: int, tensors: State, device: torch.device = CPU) -> "MetaState":
        """The inverse of :meth:`tensors`.

        The sampler's state and single numbers stay on the processor, the rest goes to ``device``.

        Tensors are copied: one that is mapped from a file need not be aligned in memory, and then the last
        bits of what is computed from it may differ.
        """
        parts: dict[str, State] = {part: {} for part in PARTS}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            place = CPU if part == "sampler" or not tensor.dim() else device
            parts[part][name] = tensor.clone().to(place)
        return MetaState(step, **parts)


PARTS = [f.name for f in fields(MetaState) if f.name != "step"]


def start(phi: Params, sampler_state: State, settings: Meta) -> MetaState:
    """The state before the first step."""
    own = make_learner(settings).init(phi)
    adam, own_adam = (Adam().init(params) if params else {} for params in (phi, own))
    return MetaState(0, phi, adam, Averager.init(), sampler_state, own, own_adam)


def outer_update(state: MetaState, adapted: Adapted, settings: Meta) -> MetaState:
    """Gather a direction; every ``tasks_per_step`` episodes, and at the end, move phi along their mean."""
    t, size = state.step, settings.tasks_per_step
    require_finite(t, {"direction": [*adapted.direction.values(), *adapted.own.values()]})
    parts = {"phi": adapted.direction, "own": adapted.own}
    new = {f"{part}/{n}": g for part, direction in parts.items() for n, g in direction.items()}
    gathered = {n: g + state.gathered[n] if state.gathered else g for n, g in new.items()}
    phi, moments, own, own_moments = state.phi, state.adam, state.own, state.own_adam
    if (t + 1) % size == 0 or t + 1 == settings.steps:
        adam, share, count = Adam(), schedule(t, settings.steps, settings.warmup), t % size + 1
        mean = {n: g / count for n, g in gathered.items()}
        phi, moments = adam.update(_part(mean, "phi/"), moments, phi, settings.outer_rate * share)
        if own:
            own, own_moments = adam.update(_part(mean, "own/"), own_moments, own, settings.own_rate * share)
        require_finite(t, {"phi": list(phi.values())})
        gathered = {}
    average = Averager(settings.steps, settings.average).update(state.average, phi, t)
    state = replace(state, step=t + 1, phi=phi, adam=moments, average=average, gathered=gathered)
    return replace(state, own=own, own_adam=own_moments)


def _part(tensors: Params, prefix: str) -> Params:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
