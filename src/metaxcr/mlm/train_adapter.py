"""Train a language adapter from texts, in a resumable folder that ``adapters.language`` takes."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metaxcr.adapters.adapter_files import save_language
from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import AdapterShape
from metaxcr.config.schema import accept_old_names
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.evaluation.statistics import paired_difference
from metaxcr.files import write_atomically, write_json
from metaxcr.hardware import CPU, choose_dtype
from metaxcr.mlm.adapter_training import (
    LanguageTraining,
    Stage,
    StageState,
    begin,
    flatten,
    stages,
    target_losses,
    train_stage,
    unflatten,
)
from metaxcr.mlm.corpus import NO_UNIT, Document, Frame, frame, has_spaces, hold_out, pack, tokenize_lines
from metaxcr.mlm.masked_lm import ADAPTER, HEAD, Batches, MaskedLanguageModel, OwnHead, Params, TiedHead
from metaxcr.model_card import language_adapter_card
from metaxcr.parse import parse_json, read_json_object
from metaxcr.records import AGAIN
from metaxcr.seeding import derive
from metaxcr.work_dir import Tensors, WorkDir

SETTINGS, RESULT = "training.json", "result.json"
CHECKPOINT, HEAD_FILE = "checkpoint.safetensors", "head.safetensors"
NAMES = {  # of stages, in the result
    "before": "own head",
    "head": "head alone",
    "control": "head alone, trained on",
    "adapter": "head + adapter",
}
Progress = Callable[[str, int, int, str], None]  # label, steps done, steps in all, note


@dataclass(frozen=True)
class Request:
    """A language adapter to train."""

    language: str  # ISO 639 code
    documents: Sequence[Document]
    sources: Sequence[dict[str, Any]]  # "name", "licence", "citation" and "lines" of each file, for the card
    command: str  # for the card
    settings: LanguageTraining = field(default_factory=LanguageTraining)

    def identity(self, encoder: FrozenEncoder) -> dict[str, Any]:
        """Everything that decides the result."""
        digest = hashlib.sha256("\n".join("\n".join(d.lines) + "\n" for d in self.documents).encode())
        return {
            "language": self.language,
            "encoder": encoder.name,
            "encoder_checksum": encoder.fingerprint,
            "text": digest.hexdigest(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            **self.settings.model_dump(mode="json"),
            "dtype": choose_dtype(self.settings.dtype, encoder.device).name,
            "device": encoder.device.type,
        }


@dataclass(frozen=True)
class Work:
    """What the stages work with."""

    encoder: FrozenEncoder
    model: MaskedLanguageModel
    settings: LanguageTraining
    batches: dict[str, Batches]
    sizes: dict[str, dict[str, int]]  # part -> lines, tokens, sequences
    rows: list[int]  # the tokens that occur in the text, ascending
    dropped: int
    own_head: bool


class AdapterFolder(WorkDir):
    """Files of one training. Use :func:`open_folder` to get one."""

    def result(self) -> dict[str, Any] | None:
        """The result of the training; None if it is not finished."""
        path = self.path / RESULT
        return read_json_object(path) if path.exists() else None

    def checkpoint(self) -> tuple[Tensors, dict[str, Any]] | None:
        """Tensors and notes of the last checkpoint."""
        if not (path := self.path / CHECKPOINT).exists():
            return None
        tensors, metadata = self.load_tensors(CHECKPOINT)
        return tensors, parse_json(metadata.get("notes", ""), str(path), AGAIN)

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
        fix = "add --resume to continue it, or choose another --out"
        raise UserError("the folder exists", str(path), fix)
    if not exists:
        write_json(path / SETTINGS, settings)
    try:
        with accept_old_names():
            before = LanguageTraining.with_present_names(read_json_object(path / SETTINGS))
    except UserError as error:
        raise UserError(f"no training of a language adapter: {SETTINGS} cannot be read", str(path)) from error
    changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
    if changed:
        what = f"the folder belongs to another training; these differ: {', '.join(changed)}"
        raise UserError(what, str(path), "resume with the same settings, or choose another --out")
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

    The folder ``out`` gets the adapter in AdapterHub's layout, the head, ``result.json``, whose content is
    returned, and a card. ``head`` is the encoder's own (:func:`metaxcr.encoders.loading.load_mlm_head`);
    None: a new one is trained with the adapter. ``progress`` is called after every step.

    Raises:
        UserError: There is too little text, the encoder cannot be used, or the folder is refused.
    """
    work = prepare(encoder, request, head)
    folder = open_folder(out, request.identity(encoder), resume=resume)
    try:
        if (finished := folder.result()) is not None:
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


def prepare(encoder: FrozenEncoder, request: Request, own_head: nn.Module | None = None) -> Work:
    """Cut, tokenise and pack the text, and build the model.

    Raises:
        UserError: There is too little text, or the encoder cannot be used.
    """
    settings, around = request.settings, frame(encoder)
    lines, dropped = hold_out(request.documents, settings.held_out, settings.seed)
    _check(encoder, settings, around)
    whole_words = has_spaces(request.language)
    packed = {
        name: pack(tokenize_lines(encoder, text, whole_words=whole_words), around, settings.length)
        for name, text in lines.items()
    }
    if len(packed["test"]) < 2:  # an interval over held-out sequences needs two
        size = f"{len(lines['test'])} lines fills one sequence of {settings.length} tokens"
        fix = "give more text, or a smaller --set length, or a larger --set held_out"
        raise UserError(f"too little text: a held-out part of {size}", "--text, --corpus", fix)
    everything = [sequence for part in packed.values() for sequence in part]
    pairs = (pair for s in everything for pair in zip(s.ids, s.units, strict=True))
    rows = sorted({token for token, unit in pairs if unit != NO_UNIT})
    model = _build_model(encoder, settings, rows, own_head)
    batches, sizes = {}, {}
    for name, sequences in packed.items():
        rounds = settings.rounds if name == "train" else settings.held_out_rounds
        numbers = {"seed": settings.seed, "size": settings.batch, "rounds": rounds, "mask_id": around.mask}
        batches[name] = Batches(model, sequences, name, rows=rows, **numbers)
        tokens = sum(len(s.ids) for s in sequences)
        sizes[name] = {"lines": len(lines[name]), "tokens": tokens, "sequences": len(sequences)}
    return Work(encoder, model, settings, batches, sizes, rows, dropped, own_head is not None)


def _check(encoder: FrozenEncoder, settings: LanguageTraining, around: Frame) -> None:
    """Refuse lengths and layers that do not fit the encoder."""
    frame_tokens = len(around.before) + len(around.after)
    if not frame_tokens < settings.length <= encoder.max_positions:
        what = f"sequences of {settings.length} tokens do not fit {encoder.name}"
        raise UserError(what, "--set length", f"use {frame_tokens + 1} to {encoder.max_positions}")
    layers = settings.chosen_layers(encoder.depth)
    if not layers or layers != sorted(set(layers)) or layers[0] < 0 or layers[-1] >= encoder.depth:
        what = f"layers {layers} do not fit an encoder of {encoder.depth} layers"
        raise UserError(what, "--set layers", "list distinct layers in ascending order, counted from 0")


def _build_model(
    encoder: FrozenEncoder, settings: LanguageTraining, rows: list[int], own_head: nn.Module | None
) -> MaskedLanguageModel:
    adapter = LanguageAdapter.create(
        encoder,
        torch.Generator().manual_seed(derive(settings.seed, "language/adapter")),
        layers=settings.chosen_layers(encoder.depth),
        shape=AdapterShape("pfeiffer", int(encoder.width // settings.reduction), settings.nonlinearity),
        invertible_reduction=settings.reduction if settings.invertible else None,
    )
    known = torch.tensor(rows, device=CPU)
    head = TiedHead(encoder.word_embeddings, known) if own_head is None else OwnHead(own_head, known)
    dtype = choose_dtype(settings.dtype, encoder.device).dtype
    return MaskedLanguageModel(encoder, adapter, head, dtype).to(encoder.device)


def _run_stages(work: Work, folder: AdapterFolder, progress: Progress) -> dict[str, StageState]:
    """Run every stage from the last checkpoint on; return the last state of each."""
    saved, fresh = folder.checkpoint(), work.model.params()
    states = unflatten(*saved, work.encoder.device) if saved else {}
    for stage in stages(work.settings, own_head=work.own_head):
        start = states["head"].best if "head" in states and stage.name != "head" else fresh
        if stage.name == "control":
            stage = replace(stage, steps=states["adapter"].step)
        last = states.get(stage.name) or begin(start, stage)
        batches = work.batches["train"], work.batches["stop"]
        for state in train_stage(work.model, stage, *batches, work.settings, last):
            states[stage.name] = state
            looked_at, loss = state.looks[-1]
            progress(stage.name, state.step, stage.steps, f"held-out loss {loss:.3f}")
            if looked_at == state.step:
                folder.save_checkpoint(*flatten(states))
    return states


def _publish(folder: AdapterFolder, request: Request, work: Work, best: Params) -> None:
    """Write the adapter where ``adapters.language`` looks for it, and the head beside it."""

    def own(prefix: str) -> Params:
        return {n.removeprefix(prefix): p for n, p in best.items() if n.startswith(prefix)}

    work.model.adapter.load_state_dict(own(ADAPTER))
    save_language(folder.path, request.language, work.model.adapter, work.encoder)
    if not work.own_head:
        folder.save_tensors(HEAD_FILE, {**own(HEAD), "rows": torch.tensor(work.rows)})


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
    before, after = (_by_sequence(losses[name], test).numpy() for name in (baseline, "adapter"))
    gain = paired_difference(before, after)
    shown = {key: float(f"{getattr(gain, key):.3g}") for key in ("mean", "low", "high", "p")}
    return {
        "language": request.language,
        "encoder": work.encoder.name,
        "seed": work.settings.seed,
        "sizes": work.sizes,
        "dropped_lines": work.dropped,
        "targets": len(losses["adapter"]),
        "vocabulary": len(work.rows),
        "parameters": sum(p.numel() for n, p in model.params().items() if n.startswith(ADAPTER)),
        "losses": rows,
        "gain": {"over": NAMES[baseline], **shown},
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
        step, best = state.best_look
        row |= {"best_step": step, "stop_loss": round(best, 4)}
    return row


def _by_sequence(losses: Tensor, part: Batches) -> Tensor:
    """Mean loss of each held-out sequence over all its targets in all maskings: (sequences,)."""
    owners = part.owners()
    none = torch.zeros(part.size, dtype=torch.float64, device=CPU)
    sums, counts = none.index_add(0, owners, losses), none.index_add(0, owners, torch.ones_like(losses))
    return (sums / counts)[counts > 0]
