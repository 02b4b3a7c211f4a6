"""The training loop of a language adapter: stages, early stop, and what the adapter gains.

An encoder without a head of its own gets a new one, and almost any training improves a new head. So the head
is first trained alone until it stops improving, and the adapter starts from there. As a control, the head
alone continues from the same point for as many steps on the same batches: the gain is measured over it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metaxcr.autodiff import value_and_grad
from metaxcr.evaluation.statistics import paired_difference
from metaxcr.hardware import CPU, choose_dtype
from metaxcr.mlm.masked_lm import ADAPTER, HEAD, Batches, MaskedLanguageModel, Params
from metaxcr.mlm.preparation import LanguageTraining, Request, Work
from metaxcr.optim import Adam, Optimizer, State


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


@dataclass(frozen=True)
class StageState:
    """The state of a stage between two steps."""

    step: int
    params: Params  # all parameters, trained or not
    adam: State  # moments of the trained ones
    best: Params  # those with the lowest loss on the part that stops training
    looks: tuple[tuple[int, float], ...] = ()  # (step, that loss) so far

    @property
    def best_loss(self) -> float:
        """The lowest loss so far."""
        return min(loss for _, loss in self.looks)

    @property
    def stale(self) -> int:
        """Looks since the best one."""
        losses = [loss for _, loss in self.looks]
        return len(losses) - 1 - losses.index(min(losses))


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
    return StageState(0, params, Adam().init(_trained(params, stage)), params)


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
    if not state.looks:
        state = look(model, stage, stop, state)
        yield state
    while not finished(stage, settings, state):
        state = _step(model, stage, train, settings, state)
        if state.step % settings.evaluate_every == 0 or state.step == stage.steps:
            state = look(model, stage, stop, state)
        yield state


def finished(stage: Stage, settings: LanguageTraining, state: StageState) -> bool:
    """Whether a stage is over."""
    return state.step >= stage.steps or (stage.stops and state.stale >= settings.patience)


def look(model: MaskedLanguageModel, stage: Stage, stop: Batches, state: StageState) -> StageState:
    """Measure the loss on the part that stops training, and keep the parameters if it is the lowest."""
    loss = float(target_losses(model, state.params, stop, with_adapter=stage.with_adapter).mean())
    best = state.params if not state.looks or loss < state.best_loss else state.best
    return replace(state, best=best, looks=(*state.looks, (state.step, loss)))


@torch.no_grad()
def target_losses(model: MaskedLanguageModel, params: Params, part: Batches, *, with_adapter: bool) -> Tensor:
    """Loss of every target of a held-out part in nats, on its fixed masks: (targets,) float64."""
    losses = [model.losses(params, b, with_adapter=with_adapter) for b in part.all()]
    return torch.cat(losses).cpu().double()


def _step(
    model: MaskedLanguageModel, stage: Stage, train: Batches, settings: LanguageTraining, state: StageState
) -> StageState:
    batch = train.at(state.step)
    fixed = state.params

    def objective(trained: Params) -> Tensor:
        return model.losses({**fixed, **trained}, batch, with_adapter=stage.with_adapter).mean()

    trained = _trained(state.params, stage)
    _, gradient = value_and_grad(objective, trained)
    optimizer = Optimizer(settings.rate, stage.steps, settings.warmup)
    trained, moments = optimizer.update(trained, gradient, state.adam, state.step)
    return replace(state, step=state.step + 1, params={**state.params, **trained}, adam=moments)


def _trained(params: Params, stage: Stage) -> Params:
    return {name: p for name, p in params.items() if name.startswith(stage.trains)}


def flatten(states: dict[str, StageState]) -> tuple[State, dict[str, Any]]:
    """Tensors and notes of a checkpoint from the states of the stages so far."""
    tensors = {
        f"{name}/{part}/{key}": tensor
        for name, state in states.items()
        for part, group in (("params", state.params), ("adam", state.adam), ("best", state.best))
        for key, tensor in group.items()
    }
    # a file must not hold one tensor under two names
    return {key: tensor.clone() for key, tensor in tensors.items()}, {
        name: {"step": state.step, "looks": state.looks} for name, state in states.items()
    }


def unflatten(tensors: State, notes: dict[str, Any], device: torch.device = CPU) -> dict[str, StageState]:
    """The inverse of :func:`flatten`; single numbers stay on the processor, the rest goes to ``device``."""
    groups: dict[tuple[str, str], State] = {}
    for key, tensor in tensors.items():
        name, part, rest = key.split("/", 2)
        groups.setdefault((name, part), {})[rest] = tensor.to(device if tensor.dim() else CPU)
    return {
        name: StageState(
            note["step"],
            groups[name, "params"],
            groups[name, "adam"],
            groups[name, "best"],
            tuple((step, loss) for step, loss in note["looks"]),
        )
        for name, note in notes.items()
    }


NAMES = {
    "before": "own head",
    "head": "head alone",
    "control": "head alone, trained on",
    "adapter": "head + adapter",
}
GAIN = ("mean", "low", "high", "p")


def training_result(request: Request, work: Work, states: dict[str, StageState]) -> dict[str, Any]:
    """The content of ``result.json``: losses before and after on the test part, in nats a token.

    ``states`` are the last state of each stage.
    """
    test, model = work.batches["test"], work.model
    precision = choose_dtype(work.settings.dtype, work.encoder.device)
    if work.own_head:
        states = {"before": begin(model.params(), Stage("before", (), 0)), **states}
    losses = {
        name: target_losses(model, state.best, test, with_adapter=name == "adapter")
        for name, state in states.items()
    }
    rows = [_row(NAMES[name], states[name], losses[name]) for name in NAMES if name in states]
    baseline = "before" if work.own_head else "control"
    gain = paired_difference(_by_sequence(losses[baseline], test), _by_sequence(losses["adapter"], test))
    return {
        "language": request.language,
        "encoder": work.encoder.name,
        "seed": work.settings.seed,
        "sizes": work.sizes,
        "dropped_lines": work.dropped,
        "targets": len(losses["adapter"]),
        "vocabulary": len(work.rows),
        "parameters": sum(p.numel() for n, p in work.model.params().items() if n.startswith(ADAPTER)),
        "losses": rows,
        "gain": {"over": NAMES[baseline], **{k: float(f"{getattr(gain, k):.3g}") for k in GAIN}},
        "looks": {
            name: [[s, round(x, 4)] for s, x in state.looks] for name, state in states.items() if state.looks
        },
        "settings": work.settings.model_dump(mode="json"),
        "device": work.encoder.device.type,
        "dtype": precision.name,
        "dtype_because": precision.why,
        "command": request.command,
    }


def _row(what: str, state: StageState, losses: Tensor) -> dict[str, Any]:
    loss = float(losses.mean())
    row = {"what": what, "loss": round(loss, 4), "perplexity": round(math.exp(loss), 2), "steps": state.step}
    if state.looks:
        best = min(state.looks, key=lambda look: look[1])
        row |= {"best_step": best[0], "stop_loss": round(best[1], 4)}
    return row


def _by_sequence(losses: Tensor, part: Batches) -> NDArray[np.float64]:
    """Mean loss of each held-out sequence over all its targets in all maskings: (sequences,)."""
    owners = part.owners()
    none = torch.zeros(part.size, dtype=torch.float64, device=CPU)
    sums, counts = none.index_add(0, owners, losses), none.index_add(0, owners, torch.ones_like(losses))
    found: NDArray[np.float64] = (sums / counts)[counts > 0].numpy()
    return found
