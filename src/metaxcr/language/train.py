"""Train a language adapter from texts to a folder that ``adapters.language`` takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from metaxcr.adapters.store import save_language
from metaxcr.encoders.base import FrozenEncoder
from metaxcr.files import write_atomically
from metaxcr.language.card import card
from metaxcr.language.folder import HEAD_FILE, AdapterFolder, open_folder
from metaxcr.language.mlm import ADAPTER, HEAD, Params
from metaxcr.language.result import training_result
from metaxcr.language.training import Stage, StageState, begin, flatten, stages, train_stage, unflatten
from metaxcr.language.work import Request, Work, prepare

Progress = Callable[[str, int, int, str], None]


def train_language_adapter(
    encoder: FrozenEncoder,
    request: Request,
    out: Path,
    *,
    head: nn.Module | None = None,
    resume: bool = False,
    progress: Progress = lambda label, done, total, note: None,
) -> dict[str, Any]:
    """Train and write a language adapter; killed at any moment, it resumes to the same bytes.

    Args:
        encoder: The frozen encoder.
        request: Text and settings.
        out: The folder; holds the adapter in AdapterHub's layout, the head, ``result.json`` and a card.
        head: The encoder's own head (:func:`metaxcr.encoders.load_mlm_head`); None: one is trained along.
        resume: Continue an existing folder.
        progress: Called with (label, steps done, steps in all, note).

    Returns:
        The content of ``result.json``.

    Raises:
        UserError: There is too little text, the encoder cannot be used, or the folder is refused.
    """
    work = prepare(encoder, request, head)
    folder = open_folder(out, request.identity(encoder), resume=resume)
    try:
        finished = folder.result()
        if finished is not None:
            return finished
        states = _run_stages(work, folder, progress)
        result = training_result(request, work, states)
        _publish(folder, request, work, states["adapter"].best)
        write_atomically(out / "README.md", card(request, result))
        folder.finish(result)
        return result
    finally:
        folder.close()


def _run_stages(work: Work, folder: AdapterFolder, progress: Progress) -> dict[str, StageState]:
    """Run every stage from the last checkpoint on; returns the last state of each."""
    states: dict[str, StageState] = {}
    saved = folder.checkpoint()
    if saved is not None:
        states = unflatten(*saved, work.encoder.device)
    current = work.model.params()
    for stage in stages(work.settings, own_head=work.own_head):
        start = states["head"].best if "head" in states and stage.name != "head" else current
        if stage.name == "control":
            stage = Stage(stage.name, stage.trains, states["adapter"].step, stops=False)
        state = states.get(stage.name) or begin(start, stage)
        steps = train_stage(
            work.model, stage, work.batches["train"], work.batches["stop"], work.settings, state
        )
        for state in steps:
            states[stage.name] = state
            looked = state.looks[-1][0] == state.step
            progress(stage.name, state.step, stage.steps, f"held-out loss {state.looks[-1][1]:.3f}")
            if looked:
                folder.save_checkpoint(*flatten(states))
    return states


def _publish(folder: AdapterFolder, request: Request, work: Work, best: Params) -> None:
    """Write the adapter where ``adapters.language`` looks for it, and the head beside it."""
    adapter = work.model.adapter
    adapter.load_state_dict({n.removeprefix(ADAPTER): p for n, p in best.items() if n.startswith(ADAPTER)})
    save_language(folder.path, request.language, adapter, work.encoder)
    if work.own_head:
        return
    head = {n.removeprefix(HEAD): p for n, p in best.items() if n.startswith(HEAD)}
    folder.save(HEAD_FILE, {**head, "rows": torch.tensor(work.rows)})
