"""Load an encoder by name: the embedded one, a folder or hub name of a supported family, or a random one.

Random encoders have the shape of a known encoder, or a tiny one of its family, and need no download. Their
parameter counts, speed and memory are those of the real encoder, their answers mean nothing: they are for
tests, for trying a configuration and for measurements.
"""

import hashlib
import json
import os
import re
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoModel

from metaxcr.encoders import embedded
from metaxcr.encoders.encoder import FrozenEncoder, Text, TokenizedText, Tokenizer, WordTokens, truncate
from metaxcr.encoders.families.family import check_family
from metaxcr.encoders.pretrained import find_commit, read_encoder
from metaxcr.encoders.quantized import count_parameters, embedding_matrix
from metaxcr.encoders.shapes import RandomName, build_config, parse_random_name
from metaxcr.errors import UserError
from metaxcr.parse import read_json

EMBEDDED = "embedded"
NOTES = "metaxcr.json"  # where a trimmed encoder came from, and its prefix
CLS, SEP, MASK = 2, 3, 4  # of the hash tokenizer
RESERVED = 8  # ids below are special or unused
PIECE_CHARACTERS = 4
_WORDS = re.compile(r"\w+|[^\w\s]")


def load_encoder(name: str, *, prefix: str | None = None, revision: str | None = None) -> FrozenEncoder:
    """Load an encoder, frozen, float32, in evaluation mode. No remote code is run, nothing is unpickled.

    Args:
        name: ``"embedded"``, a folder written by ``save_pretrained``, a name on the Hugging Face hub, or
            ``random:NAME`` for random weights.
        prefix: Written before every text; default: see :func:`default_prefix`.
        revision: Commit, tag or branch on the hub; the commit is in the encoder's ``revision``.

    Raises:
        UserError: The encoder cannot be found, is incomplete, or is of an unsupported family.
    """
    prefix = default_prefix(name) if prefix is None else prefix
    commit: str | None = None
    model: Any
    tokenizer: Tokenizer
    if name == EMBEDDED:
        file = embedded.parse(embedded.read_verified(embedded.locate()))
        model, fingerprint = embedded.build_model(file, quantized_words=True), embedded.SHA256
        tokenizer = embedded.EmbeddedTokenizer(file.vocabulary)
    elif (random := parse_random_name(name)) is not None:
        model, tokenizer, fingerprint = random_model(random)
    elif embedded.is_trimmed(Path(name)):
        model, _ = read_encoder(name, None, with_tokenizer=False)
        model.pooler = None  # random, as the file has none
        tokenizer = trimmed = embedded.trimmed_tokenizer(Path(name))
        fingerprint = _checksum(model, trimmed.fingerprint)
    else:
        commit = find_commit(name, revision)
        model, hub_tokenizer = read_encoder(name, commit)
        fingerprint = _checksum(model, hub_tokenizer.backend_tokenizer.to_str())
        tokenizer = HubTokenizer(hub_tokenizer)
    encoder = wrap(name, model, tokenizer, prefix=prefix, fingerprint=fingerprint)
    encoder.revision = commit
    return encoder


def wrap(name: str, model: Any, tokenizer: Tokenizer, *, prefix: str, fingerprint: str) -> FrozenEncoder:
    """Take a ``transformers`` base model of a supported family apart into a :class:`FrozenEncoder`."""
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
        word_embeddings=embedding_matrix(model.get_input_embeddings()),
        layers=layers.requires_grad_(False).eval(),
        prefix=prefix,
        first_position=first,
        max_positions=config.max_position_embeddings - first,
        parameters=count_parameters(model),  # includes a pooling layer, as published sizes do
        embedding_parameters=count_parameters(embeddings),
    )


def default_prefix(name: str) -> str:
    """What is written before every text by default: ``"query: "`` for the E5 family, otherwise nothing.

    Trimmed encoders have theirs in a file.
    """
    notes = Path(name) / NOTES
    if os.path.isfile(notes):
        try:
            return str(read_json(notes, embedded.TRIM_AGAIN)["prefix"])
        except (KeyError, TypeError) as error:
            raise UserError(f"damaged: {error}", str(notes), embedded.TRIM_AGAIN) from error
    return "query: " if name == EMBEDDED or "e5" in Path(name).name.lower().split("-") else ""


def _checksum(model: Any, tokenizer: str) -> str:
    """SHA-256 over the weights, the configuration and the tokenizer's own serialisation.

    The pooling layer is left out: it is not used, and random if a checkpoint has none.
    """
    digest = hashlib.sha256(model.config.to_json_string().encode())
    digest.update(tokenizer.encode())
    for key, tensor in sorted(model.state_dict().items()):
        if not key.startswith("pooler."):
            digest.update(key.encode())
            digest.update(memoryview(tensor.detach().contiguous().numpy()).cast("B"))
    return digest.hexdigest()


class HubTokenizer:
    """A fast ``transformers`` tokenizer behind this package's protocols."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """Checksum of the tokenizer's own serialisation: vocabulary, normalisation, template, added tokens.

        The version of ``transformers`` is in it because the call goes through that package.
        """
        backend = self._tokenizer.backend_tokenizer
        backend.no_truncation()  # every call below does the same, and the serialisation would contain it
        backend.no_padding()
        how = [type(self._tokenizer).__name__, self._tokenizer.split_special_tokens, transformers.__version__]
        return hashlib.sha256(f"{how} {backend.to_str()}".encode()).hexdigest()

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """See :class:`metaxcr.encoders.encoder.Tokenizer`."""
        tokenized: dict[int, TokenizedText] = {}
        for paired in (False, True):  # a call takes single texts or pairs
            rows = [i for i, t in enumerate(texts) if (t.second is not None) == paired]
            if not rows:
                continue
            full = self._tokenizer(
                [texts[i].first for i in rows],
                [texts[i].second for i in rows] if paired else None,
                truncation=False,
                padding=False,
                return_token_type_ids=True,
                return_attention_mask=False,
                verbose=False,
            )
            encoded = zip(rows, full["input_ids"], full["token_type_ids"], strict=True)
            for n, (row, ids, segments) in enumerate(encoded):
                if len(ids) <= max_tokens:  # the parts are only computed where something is cut
                    tokenized[row] = TokenizedText(ids, segments, len(ids))
                else:
                    tokenized[row] = truncate(texts[row], ids, segments, full.sequence_ids(n), max_tokens)
        return [tokenized[row] for row in range(len(texts))]

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token, if the tokenizer has one."""
        found: int | None = self._tokenizer.mask_token_id
        return found

    def words(self, texts: Sequence[Text]) -> list[WordTokens]:
        """See :class:`metaxcr.encoders.encoder.WordTokenizer`."""
        full = self._tokenizer([text.first for text in texts], truncation=False, padding=False, verbose=False)
        return [WordTokens(ids, full.word_ids(n)) for n, ids in enumerate(full["input_ids"])]


def random_model(name: RandomName) -> tuple[Any, "HashTokenizer", str]:
    """Build a ``transformers`` model with random weights, a tokenizer for it, and the fingerprint of both."""
    config = build_config(name.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(name.seed)
        pooling = {} if name.base.pooler else {"add_pooling_layer": False}
        model = AutoModel.from_config(config, dtype=torch.float32, **pooling)
    tokenizer = HashTokenizer(config.vocab_size, getattr(config, "type_vocab_size", 0) > 1)
    made = ["random 1", name.config, name.seed, torch.__version__, transformers.__version__]
    text = f"{json.dumps(made, sort_keys=True)} {tokenizer.fingerprint}"
    return model.eval(), tokenizer, hashlib.sha256(text.encode()).hexdigest()


class HashTokenizer:
    """Cuts any text into pieces of at most four characters; a piece's id is a checksum of it.

    It needs no vocabulary, and gives about as many tokens as a real multilingual tokenizer. ``segments``:
    whether the second part of a pair has segment 1.
    """

    mask_id: int | None = MASK

    def __init__(self, vocabulary: int, segments: bool) -> None:
        self._vocabulary, self._segments = vocabulary, segments
        self.fingerprint = f"hash 1 {vocabulary} {segments}"

    def __call__(self, texts: Sequence[Text], max_tokens: int) -> list[TokenizedText]:
        """See :class:`metaxcr.encoders.encoder.Tokenizer`."""
        tokenized = []
        for text in texts:
            first, _ = self._pieces(text.first)
            ids, parts = [CLS, *first, SEP], [None, *([0] * len(first)), None]
            segments = [0] * len(ids)
            if text.second is not None:
                second, _ = self._pieces(text.second)
                ids += [*second, SEP]
                parts += [*([1] * len(second)), None]
                segments += [int(self._segments)] * (len(second) + 1)
            tokenized.append(truncate(text, ids, segments, parts, max_tokens))
        return tokenized

    def words(self, texts: Sequence[Text]) -> list[WordTokens]:
        """See :class:`metaxcr.encoders.encoder.WordTokenizer`."""
        pieces = [self._pieces(text.first) for text in texts]
        return [WordTokens([CLS, *ids, SEP], [None, *words, None]) for ids, words in pieces]

    def _pieces(self, text: str) -> tuple[list[int], list[int]]:
        """The id and the word of each piece."""
        ids, words = [], []
        for number, word in enumerate(_WORDS.findall(text)):
            for begin in range(0, len(word), PIECE_CHARACTERS):
                piece = ("##" if begin else "") + word[begin : begin + PIECE_CHARACTERS]
                ids.append(RESERVED + zlib.crc32(piece.encode()) % (self._vocabulary - RESERVED))
                words.append(number)
        return ids, words
