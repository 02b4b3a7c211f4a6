"""Train a language adapter from texts, in a resumable folder that ``adapters.language`` takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from metaxcr.adapters.adapter_files import save_language
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.files import write_atomically, write_json
from metaxcr.mlm.adapter_training import (
    Stage,
    StageState,
    begin,
    flatten,
    stages,
    train_stage,
    training_result,
    unflatten,
)
from metaxcr.mlm.masked_lm import ADAPTER, HEAD, Params
from metaxcr.mlm.preparation import Request, Work, prepare
from metaxcr.model_card import language_adapter_card
from metaxcr.parse import parse_json, read_json_object
from metaxcr.records import AGAIN
from metaxcr.work_dir import Tensors, WorkDir

SETTINGS, RESULT = "training.json", "result.json"
CHECKPOINT, HEAD_FILE = "checkpoint.safetensors", "head.safetensors"
Progress = Callable[[str, int, int, str], None]  # label, steps done, steps in all, note


class AdapterFolder(WorkDir):
    """Files of one training. Use :func:`open_folder` to get one."""

    def result(self) -> dict[str, Any] | None:
        """The result of the training; None if it is not finished."""
        path = self.path / RESULT
        return read_json_object(path) if path.exists() else None

    def checkpoint(self) -> tuple[Tensors, dict[str, Any]] | None:
        """Tensors and notes of the last checkpoint."""
        if not (self.path / CHECKPOINT).exists():
            return None
        tensors, metadata = self.load_tensors(CHECKPOINT)
        return tensors, parse_json(metadata.get("notes", ""), str(self.path / CHECKPOINT), AGAIN)

    def save_checkpoint(self, tensors: Tensors, notes: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        self.save_tensors(CHECKPOINT, tensors, {"notes": json.dumps(notes)})

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, last of all, and delete the checkpoint."""
        self.write_json(RESULT, result)
        (self.path / CHECKPOINT).unlink(missing_ok=True)


def open_folder(path: Path, settings: dict[str, Any], *, resume: bool) -> AdapterFolder:
    """Create a folder, or open one to resume; ``settings`` are everything that decides the result.

    Raises:
        UserError: The folder exists and ``resume`` is off, belongs to other settings or to no training, or
            another process works in it.
    """
    exists = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if exists and not resume:
        raise UserError(
            "the folder exists", str(path), "add --resume to continue it, or choose another --out"
        )
    if not exists:
        write_json(path / SETTINGS, settings)
    try:
        before = read_json_object(path / SETTINGS)
    except UserError as error:
        raise UserError(f"no training of a language adapter: {SETTINGS} cannot be read", str(path)) from error
    changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
    if changed:
        raise UserError(
            f"the folder belongs to another training; these differ: {', '.join(changed)}",
            str(path),
            "resume with the same settings, or choose another --out",
        )
    return AdapterFolder(path)


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
        out: The folder; gets the adapter in AdapterHub's layout, the head, ``result.json`` and a card.
        head: The encoder's own head (:func:`metaxcr.encoders.loading.load_mlm_head`); None: a new one is
            trained with the adapter.
        resume: Continue an existing folder.
        progress: Called after every step.

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
        card = language_adapter_card(
            result,
            language=request.language,
            sources=request.sources,
            command=request.command,
            settings=request.settings.model_dump(),
        )
        write_atomically(out / "README.md", card)
        folder.finish(result)
        return result
    finally:
        folder.close()


def _run_stages(work: Work, folder: AdapterFolder, progress: Progress) -> dict[str, StageState]:
    """Run every stage from the last checkpoint on; return the last state of each."""
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
    folder.save_tensors(HEAD_FILE, {**head, "rows": torch.tensor(work.rows)})
