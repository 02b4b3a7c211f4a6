"""The record of a finished cell: a few kilobytes of JSON."""

import base64
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, with_config
from typing_extensions import TypedDict

from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import Predictions
from metaxcr.records import OPEN, Count, Finite, Maybe, Name, Part, Seed, checked

SCHEMA = 1
AGAIN = "remove the file: the cell is then run again"
PROBABILITY_STEPS = 65535  # probabilities are kept in 16 bits: to five digits
_Encoded = Annotated[str, Field(strict=True)]  # base64


@with_config(OPEN)
class StageCosts(TypedDict):
    """Costs of a stage; ``shared`` where other cells share the stage."""

    seconds: Finite
    token_passes: Finite
    peak_rss_mb: NotRequired[Finite]
    parts: NotRequired[dict[str, Part]]
    shared: NotRequired[bool]


@with_config(OPEN)
class _Parameters(TypedDict, total=False):
    trained: Maybe
    share: Maybe
    share_without_embeddings: Maybe


@dataclass(frozen=True)
class CellRecord:
    """What is kept of a finished cell, a few kilobytes.

    ``config_hash`` is that of a run that computes the cell alone, with ``command``. Without chance, ``seed``
    is None. ``total_labels`` counts labelled target examples in all languages.
    """

    key: Name
    config_hash: Name
    task: Name
    split: Name
    language: Name
    kind: Name
    regime: Name
    k: Count
    seed: Seed
    total_labels: Count
    n: Count
    items: Name  # digest of the item ids, which are kept apart because many cells share them
    correct: _Encoded  # a bit an item
    probabilities: _Encoded  # of the choices, 16 bits each, compressed
    choices: Count  # most choices of an item
    labels: _Encoded  # index of the right choice of each item, 8 bits, compressed
    costs: dict[str, StageCosts]  # by stage
    parameters: _Parameters  # empty for an untrained method
    checksums: dict[str, str]  # file group -> SHA-256 of the data
    command: str
    environment: dict[str, Any]
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with the accuracy for readers."""
        return {"schema": self.schema, "accuracy": round(float(self.right.mean()), 6), **asdict(self)}

    @classmethod
    def from_dict(cls, value: Any, where: str) -> "CellRecord":
        """Read back what :meth:`as_dict` gave.

        Raises:
            UserError: Something is missing or damaged.
        """
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise UserError("not a cell of this version", where, AGAIN)
        if missing := [one.name for one in fields(cls) if one.name not in value]:
            raise UserError(f"damaged cell: {missing[0]!r} is missing", where, AGAIN)
        record: CellRecord = checked(cls, value, where, AGAIN)
        try:
            whole = len(record.right) == len(record.label) == record.n
            whole = whole and record.probability.shape == (record.n, record.choices)
        except (TypeError, ValueError, OverflowError, MemoryError, zlib.error) as error:
            raise UserError(f"damaged cell: {error}", where, AGAIN) from error
        if not whole or round(float(record.right.mean()), 6) != value.get("accuracy"):
            raise UserError("damaged cell: its parts do not fit together", where, AGAIN)
        return record

    @property
    def right(self) -> NDArray[np.bool_]:
        """Shape (items,): whether the answer was right."""
        bits = np.frombuffer(base64.b64decode(self.correct), np.uint8)
        return np.unpackbits(bits)[: self.n].astype(bool)

    @property
    def probability(self) -> NDArray[np.float64]:
        """Shape (items, choices): rounded probabilities; 0 where an item has fewer choices."""
        data = np.frombuffer(_decode(self.probabilities, 2 * self.n * self.choices), "<u2")
        return data.reshape(self.n, self.choices) / PROBABILITY_STEPS

    @property
    def label(self) -> NDArray[np.int64]:
        """Shape (items,): index of the right choice."""
        return np.frombuffer(_decode(self.labels, self.n), np.uint8).astype(np.int64)

    @property
    def token_passes(self) -> int:
        """Of all stages, shared ones included; those of the cached trunk excluded."""
        return sum(stage["token_passes"] for name, stage in self.costs.items() if name != "trunk")

    @property
    def seconds(self) -> float:
        """Of all stages, shared ones included."""
        return float(sum(stage["seconds"] for stage in self.costs.values()))


def ids_digest(ids: Sequence[str]) -> str:
    """Digest of item ids in their order."""
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def _decode(text: str, size: int) -> bytes:
    content = zlib.decompressobj().decompress(base64.b64decode(text), size + 1)
    if len(content) != size:
        raise ValueError("packed numbers of another length")
    return content


def encode_predictions(found: Predictions) -> dict[str, Any]:
    """The fields of a record that come from predictions."""
    width = max(len(row) for row in found.probabilities)
    table = np.zeros((len(found.ids), width))
    for place, row in enumerate(found.probabilities):
        table[place, : len(row)] = row
    rounded = np.rint(table * PROBABILITY_STEPS).astype("<u2")
    return {
        "task": found.task,
        "split": found.split,
        "language": found.lang,
        "n": len(found.ids),
        "items": ids_digest(found.ids),
        "correct": base64.b64encode(np.packbits(found.correct).tobytes()).decode(),
        "probabilities": base64.b64encode(zlib.compress(rounded.tobytes(), 9)).decode(),
        "choices": width,
        "labels": base64.b64encode(zlib.compress(bytes(found.labels), 9)).decode(),
        "total_labels": found.total_labels,
    }
