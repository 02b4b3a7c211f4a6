"""An index of source examples, to explain a decision by the training examples nearest to it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from metaxcr.autodiff import Params
from metaxcr.data.registry import load, missing_files, task_spec
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.errors import UserError
from metaxcr.model.batch import TaskData, make_batch
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.parse import read_json, read_tensors
from metaxcr.saved_model import NEAREST

VECTORS, NAMES = NEAREST
_BATCH = 64  # questions encoded at a time


@dataclass(frozen=True)
class NearExample:
    """A source example near a decision."""

    task: str
    split: str
    id: str
    similarity: float  # cosine of the two decision vectors
    text: str | None  # context and right choice; None if the task's files are not available


@torch.no_grad()
def decision_vectors(
    model: ChoiceModel, phi: Params, data: TaskData, chosen: Sequence[int], store: ActivationCache
) -> Tensor:
    """(questions, width) vectors of length one: u(context) + u(chosen choice).

    Cross scoring has no u(context): the choice's vector already holds the context.
    """
    parts = []
    for begin in range(0, len(data), _BATCH):
        rows = range(begin, min(begin + _BATCH, len(data)))
        batch = make_batch(data, rows, store)
        unit = F.normalize(model.vectors(phi, batch.trunk, batch.language), dim=-1)
        picks = torch.tensor([chosen[r] for r in rows], device=unit.device)
        picked = batch.questions.choices[torch.arange(len(rows), device=unit.device), picks]
        vector = unit[picked]
        if model.kind == "dual":
            vector = vector + unit[batch.questions.context]
        parts.append(F.normalize(vector, dim=-1))
    return torch.cat(parts).cpu()


def write_index(folder: Path, vectors: Tensor, names: Sequence[tuple[str, str, str]]) -> None:
    """Write an index of 8-bit vectors, (examples, width) of length one, with (task, split, id) of each."""
    scale = vectors.abs().amax(dim=1, keepdim=True) / 127
    save_file({"vectors": (vectors / scale).round().to(torch.int8), "scale": scale}, folder / VECTORS)
    (folder / NAMES).write_text(json.dumps([list(name) for name in names], ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Index:
    """An index in memory: vectors of length one, and (task, split, id) of each."""

    vectors: Tensor
    names: list[tuple[str, str, str]]

    def nearest(self, decisions: Tensor, k: int, root: Path | None = None) -> list[list[NearExample]]:
        """The ``k`` nearest examples of each decision, from :func:`decision_vectors`.

        ``root`` is the data root, for their texts.
        """
        cosines, places = (decisions @ self.vectors.T).topk(min(k, len(self.names)))
        texts = _texts({self.names[place] for place in places.flatten().tolist()}, root)

        def example(place: int, cosine: float) -> NearExample:
            task, split, name = self.names[place]
            return NearExample(task, split, name, round(cosine, 4), texts.get(self.names[place]))

        rows = zip(places.tolist(), cosines.tolist(), strict=True)
        return [list(map(example, *row)) for row in rows]


def read_index(folder: Path) -> Index:
    """Read the index of a model; a missing or damaged one is an error."""
    if not (folder / VECTORS).is_file():
        what = "the model has no index of source examples"
        raise UserError(what, str(folder), "explain the package's own model")
    try:
        tensors = read_tensors(folder / VECTORS)
        names: list[Any] = read_json(folder / NAMES)
        vectors = F.normalize(tensors["vectors"].float() * tensors["scale"], dim=-1)
        if len(names) != len(vectors):
            raise ValueError(f"{len(names)} names of {len(vectors)} vectors")
        return Index(vectors, [(str(task), str(split), str(name)) for task, split, name in names])
    except (UserError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"the index of source examples is damaged: {error}", str(folder)) from error


def _texts(wanted: set[tuple[str, str, str]], root: Path | None) -> dict[tuple[str, str, str], str]:
    """Context and right choice of source examples whose files are available."""
    found: dict[tuple[str, str, str], str] = {}
    for task, split in sorted({(task, split) for task, split, _ in wanted}):
        spec = task_spec(task)
        if not set(missing_files(spec, root)).intersection(spec.files_of(split, "en")):
            answers = _answers(task, split, root)
            found |= {
                name: answers[name[2]] for name in wanted if name[:2] == (task, split) and name[2] in answers
            }
    return found


@lru_cache(maxsize=32)  # called once a chunk of questions
def _answers(task: str, split: str, root: Path | None) -> dict[str, str]:
    """Context and right choice of all labelled examples of a split, by id."""
    texts = {}
    for e in load(task, split, root=root).examples:
        if e.label is not None:
            question = e.question if e.question not in ("cause", "effect") else f"({e.question})"
            texts[e.id] = " ".join(f"{e.context} {question}".split()) + f" → {e.choices[e.label]}"
    return texts
