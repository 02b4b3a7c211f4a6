"""The training loop of a language adapter: settings, stages and early stop.

An encoder without a head of its own gets a new one, and almost any training improves a new head. So the head
is first trained alone until it stops improving, and the adapter starts from there. As a control, the head
alone continues from the same point for as many steps on the same batches: the gain is measured over it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from metaxcr.autodiff import value_and_grad
from metaxcr.config.schema import Count, DtypeName, NamedLayers, Rate, Section, Share, resolve_layers
from metaxcr.hardware import CPU
from metaxcr.mlm.masked_lm import ADAPTER, HEAD, Batches, MaskedLanguageModel, Params
from metaxcr.optim import Adam, Optimizer, State


class LanguageTraining(Section):
    """How a language adapter is trained; the defaults follow MAD-X where a CPU allows."""

    renamed: ClassVar[dict[str, str]] = {"rate": "lr"}

    seed: Annotated[int, Field(ge=0)] = 0  # draws weights, the held-out parts, order and masks
    held_out: Annotated[float, Field(gt=0, lt=0.5)] = 0.1  # share of the lines in each of the two parts
    length: Count = 128  # tokens a sequence, special tokens included
    batch: Count = 8  # sequences a step
    layers: NamedLayers | list[int] = "all"  # that carry the adapter, counted from 0
    reduction: Rate = 2.0  # the encoder's width over the bottleneck's
    invertible: bool = True  # an invertible part on the embeddings
    nonlinearity: Literal["relu", "gelu", "swish"] = "relu"
    head_steps: Count = 1000  # at most, for the head alone, where the encoder has none
    steps: Count = 300  # at most, for the adapter
    lr: Rate = 1e-3  # peak; linear warm-up, then linear decay to a tenth
    warmup: Share = 0.1  # share of the steps
    evaluate_every: Count = 25  # steps between two looks at the part that stops training, and checkpoints
    patience: Count = 3  # looks without an improvement before a stage stops
    rounds: Count = 4  # maskings of the training text, used in turn
    held_out_rounds: Count = 3  # maskings of each held-out sequence
    dtype: DtypeName = "auto"  # of the layers' arithmetic; auto: what this machine computes fastest

    def chosen_layers(self, depth: int) -> list[int]:
        """The layers that ``layers`` means in an encoder of ``depth`` layers."""
        return resolve_layers(self.layers, depth)


@dataclass(frozen=True)
class Stage:
    """One stage of the training."""

    name: str  # head, adapter or control
    trains: tuple[str, ...]  # prefixes of the trained parameters
    steps: int  # at most
    stops: bool = True  # whether it stops early

    @property
    def with_adapter(self) -> bool:
        """Whether the adapter is active."""
        return ADAPTER in self.trains

    def trained(self, params: Params) -> Params:
        """The parameters that it trains."""
        return {name: p for name, p in params.items() if name.startswith(self.trains)}


@dataclass(frozen=True)
class StageState:
    """The state of a stage between two steps."""

    step: int
    params: Params  # all parameters, trained or not
    adam: State  # moments of the trained ones
    best: Params  # those with the lowest loss on the part that stops training
    looks: tuple[tuple[int, float], ...] = ()  # (step, that loss) so far

    @property
    def best_look(self) -> tuple[int, float]:
        """The look with the lowest loss so far, the first of equals."""
        return min(self.looks, key=lambda look: look[1])

    @property
    def stale(self) -> int:
        """Looks since the best one."""
        return len(self.looks) - 1 - self.looks.index(self.best_look)


def stages(settings: LanguageTraining, *, own_head: bool) -> list[Stage]:
    """The stages in order; with the encoder's own head, which stays frozen, there is only one."""
    if own_head:
        return [Stage("adapter", (ADAPTER,), settings.steps)]
    return [
        Stage("head", (HEAD,), settings.head_steps),
        Stage("adapter", (ADAPTER, HEAD), settings.steps),
        Stage("control", (HEAD,), settings.steps, stops=False),
    ]


def begin(params: Params, stage: Stage) -> StageState:
    """The state before a stage's first step."""
    return StageState(0, params, Adam().init(stage.trained(params)), params)


def train_stage(
    model: MaskedLanguageModel,
    stage: Stage,
    train: Batches,
    stop: Batches,
    settings: LanguageTraining,
    state: StageState,
) -> Iterator[StageState]:
    """Run a stage to its end, from the state of :func:`begin` or a checkpoint.

    Yields:
        The state after every step, with a look at ``stop`` if one was due. The last state's ``best`` is the
        result.
    """
    optimizer = Optimizer(settings.lr, stage.steps, settings.warmup)
    if not state.looks:
        state = _look(model, stage, stop, state)
        yield state
    while not finished(stage, settings, state):
        state = _step(model, stage, train, optimizer, state)
        if state.step % settings.evaluate_every == 0 or state.step == stage.steps:
            state = _look(model, stage, stop, state)
        yield state


def finished(stage: Stage, settings: LanguageTraining, state: StageState) -> bool:
    """Whether a stage is over."""
    return state.step >= stage.steps or (stage.stops and state.stale >= settings.patience)


def _look(model: MaskedLanguageModel, stage: Stage, stop: Batches, state: StageState) -> StageState:
    """Measure the loss on the part that stops training, and keep the parameters if it is the lowest."""
    loss = float(target_losses(model, state.params, stop, with_adapter=stage.with_adapter).mean())
    best = state.params if not state.looks or loss < state.best_look[1] else state.best
    return replace(state, best=best, looks=(*state.looks, (state.step, loss)))


@torch.no_grad()
def target_losses(model: MaskedLanguageModel, params: Params, part: Batches, *, with_adapter: bool) -> Tensor:
    """Loss of every target of a held-out part in nats, on its fixed masks: (targets,) float64."""
    losses = [model.losses(params, b, with_adapter=with_adapter) for b in part.all()]
    return torch.cat(losses).cpu().double()


def _step(
    model: MaskedLanguageModel, stage: Stage, train: Batches, optimizer: Optimizer, state: StageState
) -> StageState:
    batch, fixed = train.at(state.step), state.params

    def objective(trained: Params) -> Tensor:
        return model.losses({**fixed, **trained}, batch, with_adapter=stage.with_adapter).mean()

    trained = stage.trained(fixed)
    _, gradient = value_and_grad(objective, trained)
    trained, moments = optimizer.update(trained, gradient, state.adam, state.step)
    return replace(state, step=state.step + 1, params={**fixed, **trained}, adam=moments)


def flatten(states: dict[str, StageState]) -> tuple[State, dict[str, Any]]:
    """Tensors and notes of a checkpoint from the states of the stages so far."""
    tensors = {
        f"{name}/{part}/{key}": tensor.clone()  # a file must not hold one tensor under two names
        for name, state in states.items()
        for part in ("params", "adam", "best")
        for key, tensor in getattr(state, part).items()
    }
    return tensors, {name: {"step": state.step, "looks": state.looks} for name, state in states.items()}


def unflatten(tensors: State, notes: dict[str, Any], device: torch.device = CPU) -> dict[str, StageState]:
    """The inverse of :func:`flatten`; single numbers stay on the processor, the rest goes to ``device``."""
    groups: dict[str, dict[str, State]] = {name: {"params": {}, "adam": {}, "best": {}} for name in notes}
    for key, tensor in tensors.items():
        name, part, rest = key.split("/", 2)
        groups[name][part][rest] = tensor.to(device if tensor.dim() else CPU)
    return {
        name: StageState(note["step"], **groups[name], looks=tuple(map(tuple, note["looks"])))
        for name, note in notes.items()
    }
