"""What a training found: held-out losses before and after, and the adapter's own gain."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metaxcr.evaluation.intervals import paired_difference
from metaxcr.hardware import CPU, choose_dtype
from metaxcr.language.batches import Batches
from metaxcr.language.mlm import ADAPTER
from metaxcr.language.training import Stage, StageState, begin, target_losses
from metaxcr.language.work import Request, Work

NAMES = {
    "before": "own head",
    "head": "head alone",
    "control": "head alone, trained on",
    "adapter": "head + adapter",
}
GAIN = ("mean", "low", "high", "p")


def training_result(request: Request, work: Work, states: dict[str, StageState]) -> dict[str, Any]:
    """Held-out losses before and after, on the part of the text that decided nothing.

    Args:
        request: What was trained on what.
        work: The model and the text.
        states: Stage -> its last state.

    Returns:
        The content of ``result.json``; losses in nats a token.
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
