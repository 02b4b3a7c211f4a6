"""Smaller encoders: only the vocabulary rows that some text uses, the same outputs on that text.

Most parameters of a multilingual encoder are embeddings of words in a hundred languages. A folder with those
of a few languages loads faster, takes less memory, and goes where an encoder name goes.

Source:
    Abdaoui et al. 2020 (SustaiNLP), Load What You Need: Smaller Versions of Multilingual BERT.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from metaxcr.encoders import embedded
from metaxcr.encoders.base import FrozenEncoder, Text
from metaxcr.encoders.families import check_family
from metaxcr.encoders.load import EMBEDDED, NOTES, default_prefix, load_encoder
from metaxcr.encoders.pretrained import find_commit, read_encoder
from metaxcr.encoders.shapes import random_name
from metaxcr.encoders.vocabulary import trim_tokenizer, unigram_rows
from metaxcr.errors import UserError
from metaxcr.files import remove_leftovers, temporary_path

CHECKED_TEXTS = 64  # whose vectors are compared before a trimmed encoder is handed out
SPECIAL = ("pad", "bos", "eos", "cls", "sep", "mask", "unk")
UNLIMITED = 2**31 - 1


@dataclass(frozen=True)
class Trimmed:
    """What became smaller.

    Attributes:
        encoder: The former one's name.
        texts: Number of different texts whose pieces were kept.
        rows: Rows of the word embeddings, before and after.
        parameters: Before and after.
        bytes: Of the new folder.
    """

    encoder: str
    texts: int
    rows: tuple[int, int]
    parameters: tuple[int, int]
    bytes: int


def trim_encoder(name: str, texts: Iterable[str], out: Path, *, revision: str | None = None) -> Trimmed:
    """Write a smaller encoder for some texts.

    Args:
        name: Of the encoder, see :func:`metaxcr.encoders.load_encoder`.
        texts: What has to give the same outputs; any other text is cut into more and shorter pieces.
        out: The new folder.
        revision: Commit, tag or branch on the hub.

    Returns:
        What became smaller.

    Raises:
        UserError: The encoder cannot be loaded or trimmed, there is no text, or the folder exists.
    """
    if random_name(name) is not None:
        raise UserError(
            f"{name!r} has no vocabulary to trim", "encoders trim", "random encoders hash their words"
        )
    distinct = sorted(set(texts))
    if not distinct:
        raise UserError("there is no text to keep the vocabulary of", "encoders trim", "add --text FILE")
    if out.exists():
        raise UserError("the folder exists", str(out), "choose another --out")
    commit = None if name == EMBEDDED else find_commit(name, revision)
    whole = load_encoder(name, revision=commit)
    needed = [*distinct, *(whole.prefix + text for text in distinct)] if whole.prefix else distinct
    temporary = temporary_path(out)
    remove_leftovers(out.parent, out.name)
    try:
        temporary.mkdir(parents=True)
        kept = _write(name, commit, needed, temporary)
        notes = {
            "trimmed_from": name,
            "revision": commit,
            "prefix": default_prefix(name),
            "texts": len(distinct),
        }
        (temporary / NOTES).write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
        small = load_encoder(str(temporary))
        _check(whole, small, kept, distinct)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Trimmed(
        name,
        len(distinct),
        (whole.vocabulary, small.vocabulary),
        (whole.parameters, small.parameters),
        sum(file.stat().st_size for file in out.iterdir()),
    )


def _write(name: str, commit: str | None, texts: Sequence[str], folder: Path) -> list[int]:
    """Write tokenizer and model; return the old id of each row that stayed."""
    if name == EMBEDDED or embedded.stored(Path(name)):
        vocabulary, model = _embedded(name, commit)
        kept = _trim_embedded(vocabulary, texts, folder)
    else:
        model, tokenizer = read_encoder(name, commit)
        backend, kept = trim_tokenizer(tokenizer.backend_tokenizer, texts, name)
        _save_tokenizer(tokenizer, backend, folder)
    _keep_rows(model, kept, name)
    model.save_pretrained(folder)
    return kept


def _embedded(name: str, commit: str | None) -> tuple[embedded.Vocabulary, Any]:
    """The embedded encoder, or one that was trimmed before."""
    if name != EMBEDDED:
        return embedded.read_vocabulary(Path(name)), read_encoder(name, commit, with_tokenizer=False)[0]
    image = embedded.parse(embedded.read_verified(embedded.locate()))
    return embedded.Vocabulary(image.pieces, image.code_points), embedded.build_model(image)


def _trim_embedded(vocabulary: embedded.Vocabulary, texts: Sequence[str], folder: Path) -> list[int]:
    tokenizer = embedded.EmbeddedTokenizer(vocabulary)
    used = {i for whole in tokenizer.whole([Text(text) for text in texts]) for i in whole.ids}
    special = {i for i, (piece, _) in enumerate(vocabulary.pieces) if piece in embedded.SPECIAL}
    kept = sorted(unigram_rows(vocabulary.pieces, used | special, embedded.UNKNOWN))
    embedded.write_vocabulary(vocabulary._replace(pieces=[vocabulary.pieces[i] for i in kept]), folder)
    return kept


def _save_tokenizer(tokenizer: Any, backend: Any, folder: Path) -> None:
    """Write the smaller tokenizer as one that is read as it stands, whatever class the former one had."""
    special = {f"{kind}_token": getattr(tokenizer, f"{kind}_token", None) for kind in SPECIAL}
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        split_special_tokens=tokenizer.split_special_tokens,
        **{kind: token for kind, token in special.items() if token is not None},
    ).save_pretrained(folder)


def _keep_rows(model: Any, kept: list[int], name: str) -> None:
    """Leave only some rows of a model's word embeddings."""
    place = {old: new for new, old in enumerate(kept)}
    config = model.config
    if (
        check_family(name, config).first_position(config)
        and place.get(config.pad_token_id) != config.pad_token_id
    ):
        raise UserError(
            f"the padding token of {name!r} would move, and the positions with it", "encoders trim"
        )
    words = model.get_input_embeddings().weight.detach()[torch.tensor(kept)].clone()
    model.set_input_embeddings(nn.Embedding(len(words), words.shape[1], _weight=words))
    config.vocab_size = len(kept)
    for kind in SPECIAL:
        old = getattr(config, f"{kind}_token_id", None)
        if isinstance(old, int):
            setattr(config, f"{kind}_token_id", place.get(old))


def _check(whole: FrozenEncoder, small: FrozenEncoder, kept: list[int], texts: list[str]) -> None:
    """Compare token ids of all texts, and the vectors of some, with those of the former encoder."""
    place = {old: new for new, old in enumerate(kept)}
    asked = whole.prefixed([Text(text) for text in texts])
    for text, old, new in zip(
        texts, whole.tokenizer(asked, UNLIMITED), small.tokenizer(asked, UNLIMITED), strict=True
    ):
        if [place[i] for i in old.ids] != new.ids or old.segments != new.segments:
            raise AssertionError(f"the trimmed tokenizer cuts a text otherwise: {text[:80]!r}")
    some = [Text(text) for text in texts[:: max(1, len(texts) // CHECKED_TEXTS)]]
    limit = min(128, whole.max_positions)
    outputs = [e.run(e.embed(e.tokenize(some, limit)), 0, e.depth, torch.float32) for e in (whole, small)]
    if not torch.equal(*outputs):
        raise AssertionError("the trimmed encoder's outputs differ")
