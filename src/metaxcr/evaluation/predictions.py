"""Predictions: one method's answers to one test split in one language, and the two files that keep them."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metaxcr.config.regimes import REGIMES
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.errors import UserError
from metaxcr.files import write_atomically
from metaxcr.model.batch import TaskData
from metaxcr.model.choice_model import SCORER, ChoiceModel
from metaxcr.parse import lines_of_text, parse_json, read_text
from metaxcr.records import PredictionRow, PredictionsMeta, Record, checked

DATA = ("repaired", "raw")
FORWARD_TOKENS = 4096  # bounds the memory of one forward pass
_REWRITE = "write the file anew"
_META = ("task", "lang", "split", "data", "regime", "method", "seed", "k", "total_labels")


@dataclass(frozen=True)
class Predictions:
    """Probabilities of every choice of every item, with everything that a row of the results names.

    ``regime`` is ``"none"`` for an untrained baseline. A deterministic method has seed None: its answers hold
    for every seed. ``k`` counts labelled examples of the tested language, ``total_labels`` those of all
    languages.
    """

    task: str
    lang: str
    split: str
    data: str
    regime: str
    method: str
    seed: int | None
    k: int
    total_labels: int
    ids: list[str]
    probabilities: list[list[float]]
    labels: list[int]

    def __post_init__(self) -> None:
        for kind, value, known in (("regime", self.regime, REGIMES), ("data", self.data, DATA)):
            if value not in known:
                raise UserError(f"unknown {kind} {value!r}", self.name, f"use one of {', '.join(known)}")
        if not self.ids:
            raise UserError("there are no predictions", self.name)
        if not len(self.ids) == len(self.probabilities) == len(self.labels):
            counts = f"{len(self.ids)} ids, {len(self.probabilities)} answers, {len(self.labels)} labels"
            raise UserError(f"lengths differ: {counts}", self.name)
        if len(set(self.ids)) != len(self.ids):
            raise UserError("an item id occurs twice", self.name)
        for name, row, label in zip(self.ids, self.probabilities, self.labels, strict=True):
            if len(row) < 2 or not all(math.isfinite(value) for value in row):
                raise UserError(f"item {name} needs two or more finite probabilities", self.name)
            if not 0 <= label < len(row):
                raise UserError(f"item {name} has label {label} for {len(row)} choices", self.name)

    @property
    def name(self) -> str:
        """File stem ``<task>.<lang>.<method>.seed<n>``, unique within a run.

        The method part carries regime and k (``few-shot-finetune-k16``), except for an untrained baseline.
        The seed of a deterministic method is ``seedall``. A split other than ``test`` and raw data are
        appended.
        """
        method = self.method if self.regime == "none" else f"{self.regime}-{self.method}"
        method += f"-k{self.k}" if self.k else ""
        seed = "seedall" if self.seed is None else f"seed{self.seed}"
        marks = [self.split] * (self.split != "test") + ["raw"] * (self.data == "raw")
        return ".".join([self.task, self.lang, method, seed, *marks])

    @cached_property
    def choices(self) -> list[int]:
        """Index of the most probable choice per item; the first one of a tie."""
        return [int(np.argmax(row)) for row in self.probabilities]

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Shape (items,): whether the choice is the label."""
        return np.equal(self.choices, self.labels)

    @cached_property
    def scores(self) -> dict[str, float]:
        """Item id -> 1 where the choice is the label, else 0."""
        return dict(zip(self.ids, self.correct.astype(float).tolist(), strict=True))

    def write(self, folder: Path) -> Path:
        """Write ``<name>.jsonl`` (one item a line) and ``<name>.meta.json`` (the rest); return the former.

        The items are written last: a reader that sees them finds their metadata. Equal predictions give
        equal bytes.
        """
        meta = json.dumps({key: getattr(self, key) for key in _META}, indent=2, ensure_ascii=False)
        write_atomically(folder / f"{self.name}.meta.json", meta + "\n")
        rows = zip(self.ids, self.probabilities, self.choices, self.labels, strict=True)
        keys = ("id", "probabilities", "choice", "label")
        lines = [json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) + "\n" for row in rows]
        path = folder / f"{self.name}.jsonl"
        write_atomically(path, "".join(lines))
        if type(self).read(path) != self:  # before anything counts as done
            raise UserError("what was written is read back differently", str(path), "check the disk")
        return path

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Read the ``.jsonl`` file that :meth:`write` wrote, and the ``.meta.json`` beside it."""
        meta_path = path.with_name(path.name.removesuffix(".jsonl") + ".meta.json")
        meta = _parse(PredictionsMeta, _read(meta_path), str(meta_path))
        rows = []
        for number, line in enumerate(lines_of_text(_read(path)), start=1):
            where = f"{path}:{number}"
            row = _parse(PredictionRow, line, where)
            if not row["probabilities"] or row["choice"] != int(np.argmax(row["probabilities"])):
                raise UserError("choice is not the most probable one", where, _REWRITE)
            rows.append(row)
        ids = [str(row["id"]) for row in rows]
        probabilities = [[float(value) for value in row["probabilities"]] for row in rows]
        return cls(**meta, ids=ids, probabilities=probabilities, labels=[row["label"] for row in rows])


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except UserError as error:
        what = f"cannot read predictions: {error.what}"
        raise UserError(what, error.where, "run `metaxcr evaluate` again") from error


def _parse(kind: Any, text: str, where: str) -> Record:
    record: Record = checked(kind, parse_json(text, where, _REWRITE), where, _REWRITE)
    return record


@torch.no_grad()
def predict(
    model: ChoiceModel, phi: Mapping[str, Tensor], sets: Sequence[TaskData], store: ActivationCache
) -> tuple[list[list[list[float]]], int]:
    """Predict sets of one language that share texts (raw and repaired files), encoding each text once.

    Returns:
        For each set and question the probability of each choice to be the one asked for (the most plausible,
        or the least plausible for a task of polarity ``implausible``), rounded to 6 digits; and the
        token-passes.
    """
    positions = store.by_length(torch.unique(torch.cat([s.questions.texts for s in sets])))
    pooled, tokens = [], 0
    for begin, end in token_slices(store.lengths(positions)):
        trunk = store.gather(positions[begin:end].tolist())
        pooled.append(model.vectors(phi, trunk, sets[0].language))
        tokens += len(trunk.hidden)
    vectors = torch.cat(pooled)
    probabilities = []
    for data in sets:
        questions = data.questions.renumber(positions).to(vectors.device)
        scores, _ = model.plausibility(phi[SCORER], vectors, questions)
        asked = torch.where(torch.isinf(scores), scores, questions.sign * scores)
        rows = torch.softmax(asked.cpu().double(), dim=1).tolist()
        counted = zip(rows, questions.counts.tolist(), strict=True)
        probabilities.append([[round(p, 6) for p in row[:n]] for row, n in counted])
    return probabilities, tokens


def token_slices(lengths: Iterable[int]) -> list[tuple[int, int]]:
    """Cut texts of these lengths into slices of about :data:`FORWARD_TOKENS` tokens: (begin, end) each."""
    slices, begin, tokens, end = [], 0, 0, 0
    for end, length in enumerate(lengths, start=1):
        tokens += length
        if tokens >= FORWARD_TOKENS:
            slices.append((begin, end))
            begin, tokens = end, 0
    return slices + ([(begin, end)] if end > begin else [])
