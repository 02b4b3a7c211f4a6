"""The settings of training a language adapter, and its text and model."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from metaxcr.adapters.language_adapter import LanguageAdapter
from metaxcr.adapters.layers import AdapterShape
from metaxcr.config.schema import Count, DtypeName, NamedLayers, Rate, Section, Share, resolve_layers
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import UserError
from metaxcr.hardware import CPU, choose_dtype
from metaxcr.mlm.corpus import Document, cut
from metaxcr.mlm.masked_lm import Batches, MaskedLanguageModel, OwnHead, TiedHead
from metaxcr.mlm.packing import NO_UNIT, Packed, frame, pack, pieces, spaced
from metaxcr.seeding import derive


class LanguageTraining(Section):
    """How a language adapter is trained; the defaults follow MAD-X where a CPU allows."""

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
    rate: Rate = 1e-3  # peak; linear warm-up, then linear decay to a tenth
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
    sizes: dict[str, dict[str, int]]
    rows: list[int]
    dropped: int
    own_head: bool


def prepare(encoder: FrozenEncoder, request: Request, own_head: nn.Module | None = None) -> Work:
    """Cut, tokenise and pack the text, and build the model.

    Args:
        encoder: The frozen encoder.
        request: Text and settings.
        own_head: The encoder's own head, (tokens, width) to (tokens, vocabulary), if it has one.

    Raises:
        UserError: There is too little text, or the encoder cannot be used.
    """
    settings, around = request.settings, frame(encoder)
    parts = cut(request.documents, settings.held_out, settings.seed)
    _check(encoder, settings, len(around.before) + len(around.after))
    lines = {"train": parts.train, "stop": parts.stop, "test": parts.test}
    whole_words = spaced(request.language)
    packed = {
        name: pack(pieces(encoder, text, whole_words=whole_words), around, settings.length)
        for name, text in lines.items()
    }
    if len(packed["test"]) < 2:  # an interval over held-out sequences needs two
        raise UserError(
            f"too little text: a held-out part of {len(parts.test)} lines fills one sequence of "
            f"{settings.length} tokens",
            "--text, --corpus",
            "give more text, or a smaller --set length, or a larger --set held_out",
        )
    rows = _decoder_rows(sequence for part in packed.values() for sequence in part)
    model = _build_model(encoder, settings, rows, own_head)
    batches = {
        name: Batches(
            model,
            sequences,
            name,
            seed=settings.seed,
            size=settings.batch,
            rounds=settings.rounds if name == "train" else settings.held_out_rounds,
            mask_id=around.mask,
            rows=rows,
        )
        for name, sequences in packed.items()
    }
    sizes = {
        name: {
            "lines": len(lines[name]),
            "tokens": sum(len(s.ids) for s in sequences),
            "sequences": len(sequences),
        }
        for name, sequences in packed.items()
    }
    return Work(encoder, model, settings, batches, sizes, rows, parts.dropped, own_head is not None)


def _decoder_rows(sequences: Iterable[Packed]) -> list[int]:
    """The tokens that occur in the text, ascending."""
    pairs = (pair for s in sequences for pair in zip(s.ids, s.units, strict=True))
    return sorted({token for token, unit in pairs if unit != NO_UNIT})


def _build_model(
    encoder: FrozenEncoder, settings: LanguageTraining, rows: list[int], own_head: nn.Module | None
) -> MaskedLanguageModel:
    generator = torch.Generator().manual_seed(derive(settings.seed, "language/adapter"))
    shape = AdapterShape("pfeiffer", int(encoder.width // settings.reduction), settings.nonlinearity)
    adapter = LanguageAdapter.create(
        encoder,
        generator,
        layers=settings.chosen_layers(encoder.depth),
        shape=shape,
        invertible_reduction=settings.reduction if settings.invertible else None,
    )
    known = torch.tensor(rows, device=CPU)
    head = TiedHead(encoder.word_embeddings, known) if own_head is None else OwnHead(own_head, known)
    dtype = choose_dtype(settings.dtype, encoder.device).dtype
    return MaskedLanguageModel(encoder, adapter, head, dtype).to(encoder.device)


def _check(encoder: FrozenEncoder, settings: LanguageTraining, frame_tokens: int) -> None:
    """Refuse lengths and layers that do not fit the encoder."""
    if not frame_tokens < settings.length <= encoder.max_positions:
        raise UserError(
            f"sequences of {settings.length} tokens do not fit {encoder.name}",
            "--set length",
            f"use {frame_tokens + 1} to {encoder.max_positions}",
        )
    layers = settings.chosen_layers(encoder.depth)
    if not layers or layers != sorted(set(layers)) or layers[0] < 0 or layers[-1] >= encoder.depth:
        raise UserError(
            f"layers {layers} do not fit an encoder of {encoder.depth} layers",
            "--set layers",
            "list distinct layers in ascending order, counted from 0",
        )
