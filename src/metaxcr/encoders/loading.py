"""Encoders with random weights: the true shape of a known one, or a tiny one of its family.

They need no download. Parameter counts, speed and memory are those of the real encoder, what they answer
means nothing: they are for tests, for trying a configuration out, and for measuring. Their names begin with
``random:`` or ``random-tiny:``, wherever they are printed or recorded.

Load an encoder: the embedded one, or any of the supported families by hub name or folder.
"""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import nn
from transformers import AutoModel

from metaxcr.encoders import embedded
from metaxcr.encoders.blocks import numbers_in, rows_of
from metaxcr.encoders.encoder import (
    FrozenEncoder,
    Text,
    TokenizedText,
    Tokenizer,
    WholeText,
    Worded,
    truncate,
)
from metaxcr.encoders.families.family import check_family
from metaxcr.encoders.pretrained import find_commit, read_encoder
from metaxcr.encoders.shapes import RandomName, build_config, random_name
from metaxcr.errors import UserError
from metaxcr.parse import read_json

CLS, SEP, MASK = 2, 3, 4
RESERVED = 8  # ids below are special or unused
PIECE_CHARACTERS = 4
_WORDS = re.compile(r"\w+|[^\w\s]")


class _Piece(NamedTuple):
    id: int
    word: int


class HashTokenizer:
    """Cuts any text into pieces of at most four characters; a piece's id is a checksum of it.

    It needs no vocabulary, and gives about as many tokens as a real multilingual tokenizer.

    Args:
        vocabulary: Ids are below this.
        segments: Whether the second part of a pair has segment 1.
    """

    def __init__(self, vocabulary: int, segments: bool) -> None:
        self._vocabulary, self._segments = vocabulary, segments

    @property
    def fingerprint(self) -> str:
        """Checksum of all that token ids depend on."""
        return f"hash 1 {self._vocabulary} {self._segments}"

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """See :class:`metaxcr.encoders.encoder.Tokenizer`."""
        return [
            truncate(text, *whole, max_tokens) for text, whole in zip(texts, self.whole(texts), strict=True)
        ]

    def whole(self, texts: Sequence[Text]) -> list[WholeText]:
        """See :class:`metaxcr.encoders.encoder.WholeTokenizer`."""
        return [self._text(text) for text in texts]

    @property
    def mask_id(self) -> int | None:
        """See :class:`metaxcr.encoders.encoder.WordTokenizer`."""
        return MASK

    def words(self, texts: Sequence[Text]) -> list[Worded]:
        """See :class:`metaxcr.encoders.encoder.WordTokenizer`."""
        worded = []
        for text in texts:
            pieces = self._pieces(text.first)
            ids, words = [piece.id for piece in pieces], [piece.word for piece in pieces]
            worded.append(Worded([CLS, *ids, SEP], [None, *words, None]))
        return worded

    def _text(self, text: Text) -> WholeText:
        first = [piece.id for piece in self._pieces(text.first)]
        ids, parts = [CLS, *first, SEP], [None, *([0] * len(first)), None]
        segments = [0] * len(ids)
        if text.second is not None:
            second = [piece.id for piece in self._pieces(text.second)]
            ids += [*second, SEP]
            parts += [*([1] * len(second)), None]
            segments += [int(self._segments)] * (len(second) + 1)
        return WholeText(ids, segments, parts)

    def _pieces(self, text: str) -> list[_Piece]:
        pieces = []
        for number, word in enumerate(_WORDS.findall(text)):
            for begin in range(0, len(word), PIECE_CHARACTERS):
                piece = ("##" if begin else "") + word[begin : begin + PIECE_CHARACTERS]
                row = RESERVED + zlib.crc32(piece.encode()) % (self._vocabulary - RESERVED)
                pieces.append(_Piece(row, number))
        return pieces


def random_model(name: RandomName) -> tuple[Any, HashTokenizer, str]:
    """Build an encoder with random weights, the same ones for the same name.

    Returns:
        The ``transformers`` model, a tokenizer for it, and the fingerprint of both.
    """
    config = build_config(name.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(name.seed)
        pooling = {} if name.base.pooler else {"add_pooling_layer": False}
        model = AutoModel.from_config(config, dtype=torch.float32, **pooling)
    tokenizer = HashTokenizer(config.vocab_size, getattr(config, "type_vocab_size", 0) > 1)
    made = ["random 1", name.config, name.seed, torch.__version__, transformers.__version__]
    text = f"{json.dumps(made, sort_keys=True)} {tokenizer.fingerprint}"
    return model.eval(), tokenizer, hashlib.sha256(text.encode()).hexdigest()


EMBEDDED = "embedded"
NOTES = "metaxcr.json"  # where a trimmed encoder came from, and its prefix


class HubTokenizer:
    """A ``transformers`` tokenizer behind this package's protocol.

    Args:
        tokenizer: A loaded fast tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """Checksum of the tokenizer's own serialisation: vocabulary, normalisation, template, added tokens.

        The version of ``transformers`` is in it because the call goes through that package.
        """
        backend = self._tokenizer.backend_tokenizer
        backend.no_truncation()  # every call below does the same, and the serialisation would show it
        backend.no_padding()
        how = [type(self._tokenizer).__name__, self._tokenizer.split_special_tokens, transformers.__version__]
        return hashlib.sha256(f"{how} {backend.to_str()}".encode()).hexdigest()

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """See :class:`metaxcr.encoders.encoder.Tokenizer`."""
        tokenized: dict[int, TokenizedText] = {}
        for rows, full in self._encode(texts):
            for n, (row, ids, segments) in enumerate(
                zip(rows, full["input_ids"], full["token_type_ids"], strict=True)
            ):
                if len(ids) <= max_tokens:  # the parts are asked for only where something is cut
                    tokenized[row] = TokenizedText(ids, segments, len(ids))
                else:
                    parts = full.sequence_ids(n)
                    tokenized[row] = truncate(texts[row], ids, segments, parts, max_tokens)
        return [tokenized[row] for row in range(len(texts))]

    def whole(self, texts: Sequence[Text]) -> list[WholeText]:
        """See :class:`metaxcr.encoders.encoder.WholeTokenizer`."""
        tokenized: dict[int, WholeText] = {}
        for rows, full in self._encode(texts):
            for n, (row, ids, segments) in enumerate(
                zip(rows, full["input_ids"], full["token_type_ids"], strict=True)
            ):
                tokenized[row] = WholeText(ids, segments, full.sequence_ids(n))
        return [tokenized[row] for row in range(len(texts))]

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token, if the tokenizer has one."""
        found: int | None = self._tokenizer.mask_token_id
        return found

    def words(self, texts: Sequence[Text]) -> list[Worded]:
        """See :class:`metaxcr.encoders.encoder.WordTokenizer`."""
        full = self._tokenizer([text.first for text in texts], truncation=False, padding=False, verbose=False)
        return [Worded(ids, full.word_ids(n)) for n, ids in enumerate(full["input_ids"])]

    def _encode(self, texts: Sequence[Text]) -> Iterator[tuple[list[int], Any]]:
        """Encode single texts, then pairs; a tokenizer call takes either. Yields their places with them."""
        for paired in (False, True):
            rows = [i for i, t in enumerate(texts) if (t.second is not None) == paired]
            if not rows:
                continue
            first = [texts[i].first for i in rows]
            second = [texts[i].second for i in rows] if paired else None
            yield (
                rows,
                self._tokenizer(
                    first,
                    second,
                    truncation=False,
                    padding=False,
                    return_token_type_ids=True,
                    return_attention_mask=False,
                    verbose=False,
                ),
            )


def wrap(name: str, model: Any, tokenizer: Tokenizer, *, prefix: str, fingerprint: str) -> FrozenEncoder:
    """Take a ``transformers`` model of a supported family apart into a :class:`FrozenEncoder`.

    Args:
        name: What to call it in records and messages.
        model: A base model (``BertModel``, ``XLMRobertaModel``, ...).
        tokenizer: Its tokenizer.
        prefix: Written before every text; empty for most encoders.
        fingerprint: Checksum of weights and tokenizer.

    Raises:
        UserError: The model is of another family.
    """
    config = model.config
    family = check_family(name, config)
    first = family.first_position(config)
    embeddings = family.embeddings(model)
    layers = nn.ModuleList(family.layers(model))
    return FrozenEncoder(
        name=name,
        family=family,
        fingerprint=fingerprint,
        tokenizer=tokenizer,
        embeddings=embeddings.requires_grad_(False).eval(),
        word_embeddings=rows_of(model.get_input_embeddings()),
        layers=layers.requires_grad_(False).eval(),
        prefix=prefix,
        first_position=first,
        max_positions=config.max_position_embeddings - first,
        parameters=numbers_in(model),  # a pooling layer counts, as it does elsewhere
        embedding_parameters=numbers_in(embeddings),
    )


def load_encoder(name: str, *, prefix: str | None = None, revision: str | None = None) -> FrozenEncoder:
    """Load an encoder by name.

    Args:
        name: ``"embedded"``, a folder written by ``save_pretrained``, a name on the Hugging Face hub, or
            ``random:NAME`` for random weights (see :mod:`metaxcr.encoders.loading`).
        prefix: Written before every text. Default: ``"query: "`` for the E5 family, otherwise nothing.
        revision: Commit, tag or branch on the hub; what it stands for now is in the encoder's ``revision``.

    Returns:
        The frozen encoder, float32, in evaluation mode. No remote code is run, nothing is unpickled.

    Raises:
        UserError: The encoder cannot be found, is incomplete, or is of an unsupported family.
    """
    prefix = default_prefix(name) if prefix is None else prefix
    if name == EMBEDDED:
        image = embedded.parse(embedded.read_verified(embedded.locate()))
        model = embedded.build_model(image, words_in_blocks=True)
        embedded_tokenizer = embedded.EmbeddedTokenizer(image)
        return wrap(name, model, embedded_tokenizer, prefix=prefix, fingerprint=embedded.SHA256)
    random = random_name(name)
    if random is not None:
        model, hashing, fingerprint = random_model(random)
        return wrap(name, model, hashing, prefix=prefix, fingerprint=fingerprint)
    if embedded.stored(Path(name)):
        model, _ = read_encoder(name, None, with_tokenizer=False)
        model.pooler = None  # random, as the file has none
        trimmed = embedded.trimmed_tokenizer(Path(name))
        fingerprint = _checksum(model, trimmed.fingerprint)
        return wrap(name, model, trimmed, prefix=prefix, fingerprint=fingerprint)
    commit = find_commit(name, revision)
    model, tokenizer = read_encoder(name, commit)
    fingerprint = _checksum(model, tokenizer.backend_tokenizer.to_str())
    encoder = wrap(name, model, HubTokenizer(tokenizer), prefix=prefix, fingerprint=fingerprint)
    encoder.revision = commit
    return encoder


def default_prefix(name: str) -> str:
    """What is written before every text unless the user says otherwise: what E5 was trained with, or nothing.

    Trimmed encoders note what theirs is.
    """
    notes = Path(name) / NOTES
    if os.path.isfile(notes):
        try:
            return str(read_json(notes, "trim the encoder again")["prefix"])
        except (KeyError, TypeError) as error:
            raise UserError(f"damaged: {error}", str(notes), "trim the encoder again") from error
    return "query: " if name == EMBEDDED or "e5" in Path(name).name.lower().split("-") else ""


def _checksum(model: Any, tokenizer: str) -> str:
    """SHA-256 over the weights, the configuration and the tokenizer's own serialisation.

    The pooling layer is left out: it is not used, and random where a checkpoint has none.
    """
    digest = hashlib.sha256(model.config.to_json_string().encode())
    digest.update(tokenizer.encode())
    for key, tensor in sorted(model.state_dict().items()):
        if not key.startswith("pooler."):
            digest.update(key.encode())
            digest.update(memoryview(tensor.detach().contiguous().numpy()).cast("B"))
    return digest.hexdigest()
