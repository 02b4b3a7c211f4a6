"""Examples as tensors: the cached texts that a question consists of, and how they relate."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metaxcr.adapters.layers import MIXED
from metaxcr.data.example import Example, Phrased
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import Ragged, Text
from metaxcr.errors import UserError
from metaxcr.hardware import CPU

# Two languages' activations of the same sentences in the same order.
Parallel = tuple[tuple[Ragged, str], tuple[Ragged, str]]

# Weights of W and of its transpose in u(context)' M u(choice) of dual scoring. An "answer" has no direction,
# so it trains only the symmetric part of W. In joint scoring the order of the text gives the direction.
DIRECTIONS = {"effect": (1.0, 0.0), "cause": (0.0, 1.0), "answer": (0.5, 0.5), "none": (0.0, 0.0)}


@dataclass(frozen=True)
class Questions:
    """Questions as positions of their texts."""

    # (examples,) position of the context's text, -1 where there is none (cross scoring, ComVE)
    context: Tensor
    choices: Tensor  # (examples, most choices) positions of the choices' texts, -1 where there are fewer
    direction: Tensor  # (examples, 2) see DIRECTIONS
    labels: Tensor  # (examples,) 0-based, -1 where there is none
    sign: float  # +1, or -1 for a task whose label names the implausible choice

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> Tensor:
        """(examples,) number of choices."""
        return (self.choices >= 0).sum(1)

    @property
    def answers(self) -> Tensor:
        """(examples,) position of the labelled choice's text."""
        return self.choices[torch.arange(len(self.labels), device=self.labels.device), self.labels]

    @property
    def texts(self) -> Tensor:
        """The distinct positions in use, ascending."""
        positions: Tensor = torch.unique(torch.cat([self.context, self.choices.reshape(-1)]))
        return positions[positions >= 0]

    def select(self, rows: Sequence[int]) -> "Questions":
        """The questions at ``rows``, in that order, without columns that none of them needs."""
        index = torch.tensor(list(rows), dtype=torch.long, device=CPU)
        chosen = self._map(lambda tensor: tensor[index])
        return replace(chosen, choices=chosen.choices[:, : int(chosen.counts.max())])

    def to(self, device: torch.device) -> "Questions":
        """The questions on the device where a model scores them; they are drawn on the CPU."""
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Questions":
        tensors = (self.context, self.choices, self.direction, self.labels)
        context, choices, direction, labels = map(change, tensors)
        return Questions(context, choices, direction, labels, self.sign)

    def renumber(self, positions: Tensor) -> "Questions":
        """Express positions as indices into ``positions``, which holds all that are in use."""
        size = int(positions.max()) + 2  # the last cell stands for position -1, "none"
        place = torch.full((size,), -1, device=CPU)
        place[positions] = torch.arange(len(positions), device=CPU)
        place[-1] = -1
        return replace(self, context=place[self.context], choices=place[self.choices])


@dataclass(frozen=True)
class TaskData:
    """All examples of one task, split and language, registered in the activation cache."""

    task: str
    language: str  # of the texts; its language adapter, if there is one, acts on them
    ids: list[str]  # (examples,) example ids
    questions: Questions  # with positions in the activation cache
    # number of the source whose own task adapter learns from it, if there is one a source
    source: int = MIXED

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, ids: Iterable[str]) -> "TaskData":
        """The examples with the given ids, in that order."""
        where = {i: n for n, i in enumerate(self.ids)}
        rows = [where[i] for i in ids]
        return replace(self, ids=[self.ids[r] for r in rows], questions=self.questions.select(rows))


@dataclass(frozen=True)
class Batch:
    """A few questions with the trunk activations of their texts."""

    trunk: Ragged  # activations of the distinct texts, short ones first
    language: str
    questions: Questions  # with positions in trunk
    # number of the source whose own task adapter acts; by default the mixture of all does
    source: int = MIXED

    @property
    def tokens(self) -> int:
        """Number of tokens: the unit of compute accounting."""
        return len(self.trunk.hidden)

    @property
    def mixed(self) -> "Batch":
        """The same questions for the mixture of all sources' task adapters, as queries are."""
        return self if self.source == MIXED else replace(self, source=MIXED)


def texts_of(phrased: Phrased, kind: str) -> tuple[Text | None, list[Text]]:
    """The context and the choices of one example as texts.

    Dual scoring has them apart; cross scoring has both in one sequence, the cause first; joint scoring has
    such sequences and the context beside them.
    """
    if kind != "cross" and phrased.relation == "none":
        what = f"a task without a context cannot be scored by a {kind} encoder"
        raise UserError(what, "scoring.kind", "use cross")
    context = None if kind == "cross" else Text(phrased.context)
    if kind == "dual" or phrased.relation == "none":
        return context, [Text(c, cuttable=None) for c in phrased.choices]
    if phrased.relation == "cause":
        return context, [Text(c, phrased.context, cuttable=1) for c in phrased.choices]
    return context, [Text(phrased.context, c) for c in phrased.choices]


def encode_task(
    examples: Sequence[Example],
    phrase: Callable[[Example], Phrased],
    store: ActivationCache,
    *,
    kind: str,
    implausible: bool = False,
    language: str | None = None,
    drawn: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TaskData:
    """Register the texts of examples of one task and one language, and compute their activations.

    Args:
        examples: At least one.
        phrase: From :func:`metaxcr.data.phrasing.phrase`, with the task's spec bound.
        store: Computes or reads the activations.
        kind: ``"dual"``, ``"joint"`` or ``"cross"``.
        implausible: The labels name the implausible choice.
        language: Whose language adapter acts; empty: none; default: the examples' own.
        drawn: Batches are drawn from them, so some may never be needed: texts are computed when they are.
        progress: See :meth:`ActivationCache.prefetch`.
    """
    if not examples:
        raise UserError("a task has no examples", "sources", "check the split and the cap")
    phrased = [phrase(e) for e in examples]
    texts = [texts_of(p, kind) for p in phrased]
    flat = [t for context, choices in texts for t in ([context] if context else []) + choices]
    language = examples[0].language if language is None else language
    if drawn:
        numbers = store.register(flat, language=language)
    else:
        numbers = store.ensure(flat, progress, language=language)
    number = dict(zip(flat, numbers, strict=True))
    most = max(len(choices) for _, choices in texts)
    choices = [[number[c] for c in cs] + [-1] * (most - len(cs)) for _, cs in texts]
    directions = [DIRECTIONS[p.relation if kind == "dual" else "effect"] for p in phrased]
    questions = Questions(
        context=torch.tensor([number[c] if c else -1 for c, _ in texts], device=CPU),
        choices=torch.tensor(choices, device=CPU),
        direction=torch.tensor(directions, device=CPU),
        labels=torch.tensor([-1 if e.label is None else e.label for e in examples], device=CPU),
        sign=-1.0 if implausible else 1.0,
    )
    return TaskData(examples[0].task, language, [e.id for e in examples], questions)


def make_batch(data: TaskData, rows: Sequence[int], store: ActivationCache) -> Batch:
    """Gather the trunk activations of the questions at ``rows``, each distinct text once."""
    questions = data.questions.select(rows)
    positions = store.by_length(questions.texts)
    trunk = store.gather(positions.tolist())
    device = trunk.hidden.device
    return Batch(trunk, data.language, questions.renumber(positions).to(device), data.source)
