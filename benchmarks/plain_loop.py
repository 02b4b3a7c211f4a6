"""Contender (a): first-order MAML of adapters as published code of this field writes it.

A `BertModel` of transformers with adapters in its upper layers. Every layer runs in every forward pass, every
text is padded to 128 tokens, everything is float32. For each episode `copy.deepcopy` copies the model, an SGD
step is taken on the copy, the loss on the query questions is differentiated there, and the gradients
are put into the original, which Adam updates. Nothing of MetaXCR is imported here.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertModel

PAD, LENGTH = 1, 128
TEMPERATURE, NEGATIVES = 0.05, 0.5
CLIP, WARMUP = 1.0, 0.1

Question = dict[str, Any]  # texts: token ids of the context and the two choices; label; direction


class Inputs(NamedTuple):
    """A batch of questions, the three texts of each one after another."""

    ids: Tensor  # (3 * questions, length)
    mask: Tensor
    labels: Tensor  # (questions,)
    direction: Tensor  # (questions, 2): weights of W and of its transpose


def collate(questions: Sequence[Question], length: int | None = LENGTH) -> Inputs:
    """Pad the texts of questions to a fixed length; None: to the longest of them."""
    texts = [ids for q in questions for ids in q["texts"]]
    length = length or max(map(len, texts))
    ids = torch.tensor([t[:length] + [PAD] * (length - len(t)) for t in texts])
    lengths = torch.tensor([min(len(t), length) for t in texts])
    mask = (torch.arange(length)[None, :] < lengths[:, None]).long()
    labels = torch.tensor([q["label"] for q in questions])
    return Inputs(ids, mask, labels, torch.tensor([q["direction"] for q in questions]))


Scores = tuple[Tensor, Tensor, Tensor]  # of the choices; left-hand sides; unit vectors of the choices


def choice_scores(hidden: Tensor, mask: Tensor, weight: Tensor, direction: Tensor) -> Scores:
    """Scores of the choices by the cosine with W between."""
    weights = mask[..., None].to(hidden.dtype)
    pooled = (hidden * weights).sum(1) / weights.sum(1)
    units = F.normalize(pooled, dim=-1).view(len(direction), 3, -1)
    context, choices = units[:, 0], units[:, 1:]
    left = direction[:, :1] * (context @ weight) + direction[:, 1:] * (context @ weight.T)
    left = left / TEMPERATURE
    return torch.einsum("bd,bnd->bn", left, choices), left, choices


def choice_loss(scores: Tensor, left: Tensor, choices: Tensor, inputs: Inputs) -> Tensor:
    """Cross-entropy over the two choices, and over the answers of the whole batch."""
    rows = torch.arange(len(scores))
    loss = F.cross_entropy(scores, inputs.labels) / math.log(2)
    answers = inputs.ids.view(len(scores), 3, -1)[rows, 1 + inputs.labels]
    same = (answers[:, None] == answers[None]).all(-1) & ~torch.eye(len(scores), dtype=torch.bool)
    across = (left @ choices[rows, inputs.labels].T).masked_fill(same, float("-inf"))
    return (loss + NEGATIVES * F.cross_entropy(across, rows) / math.log(len(scores))) / (1 + NEGATIVES)


class Adapter(nn.Module):
    """A bottleneck with a ReLU."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        return self.up(F.relu(self.down(x)))


class AdaptedOutput(nn.Module):
    """The feed-forward output of a BERT layer with an adapter after it (Pfeiffer's placement)."""

    def __init__(self, output: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.dense, self.norm, self.adapter = output.dense, output.LayerNorm, adapter

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """As `BertOutput.forward`."""
        z = self.dense(hidden) + residual
        return self.norm(z + self.adapter(self.norm(z)))


class PlainModel(nn.Module):
    """BERT with adapters, and the matrix W of the scorer."""

    def __init__(self, bert: BertModel, layers: Sequence[int], bottleneck: int) -> None:
        super().__init__()
        self.bert = bert.requires_grad_(False).eval()
        for index in layers:
            layer = bert.encoder.layer[index]
            layer.output = AdaptedOutput(layer.output, Adapter(bert.config.hidden_size, bottleneck))
        self.scorer = nn.Parameter(torch.eye(bert.config.hidden_size))

    def scores(self, inputs: Inputs) -> Scores:
        """See :func:`choice_scores`."""
        hidden = self.bert(input_ids=inputs.ids, attention_mask=inputs.mask).last_hidden_state
        return choice_scores(hidden, inputs.mask, self.scorer, inputs.direction)

    def forward(self, inputs: Inputs) -> Tensor:
        """The loss."""
        return choice_loss(*self.scores(inputs), inputs)

    def trained(self) -> list[nn.Parameter]:
        """The adapters and W."""
        return [p for p in self.parameters() if p.requires_grad]

    def load_start(self, start: dict[str, Tensor]) -> None:
        """Begin with given weights, so that contenders can be compared number by number."""
        for name, tensor in start.items():
            parameter = self.get_parameter(plain_name(name))
            parameter.data.copy_(tensor)


def plain_name(name: str) -> str:
    """This model's name of a parameter that MetaXCR calls ``adapted.task.10.down.weight`` or ``scorer``."""
    if not name.startswith("adapted.task."):
        return name
    layer, _, rest = name.removeprefix("adapted.task.").partition(".")
    return f"bert.encoder.layer.{layer}.output.adapter.{rest}"


def share_of_rate(step: int, total: int) -> float:
    """Linear warm-up, then linear decay to a tenth."""
    ramp = max(1, round(WARMUP * total))
    return (step + 1) / ramp if step < ramp else 1.0 - 0.9 * (step - ramp) / max(1, total - ramp)


def episode_gradient(
    model: PlainModel, support: Sequence[Question], query: Sequence[Question], inner_lr: float
) -> tuple[float, float]:
    """Put the meta-gradient of an episode into ``model``; returns the losses on support and query."""
    learner = copy.deepcopy(model)
    inner = torch.optim.SGD(learner.trained(), lr=inner_lr)
    support_loss = learner(collate(support))
    inner.zero_grad()
    support_loss.backward()
    inner.step()

    query_loss = learner(collate(query))
    inner.zero_grad()
    query_loss.backward()
    for parameter, adapted in zip(model.trained(), learner.trained(), strict=True):
        parameter.grad = adapted.grad.clone()
    return support_loss.item(), query_loss.item()


def meta_train(
    model: PlainModel,
    episodes: Sequence[tuple[Sequence[Question], Sequence[Question]]],
    total: int,
    inner_lr: float,
    outer_lr: float,
) -> Iterator[tuple[float, float]]:
    """FOMAML with one inner step; yields the losses on support and query after every episode.

    Args:
        model: Changed in place.
        episodes: Support and query questions of each.
        total: Episodes of the whole training, which the learning rate's schedule goes by.
        inner_lr: Of the SGD step on the copy.
        outer_lr: Peak rate of Adam.
    """
    optimizer = torch.optim.Adam(model.trained(), lr=outer_lr)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(step, total))
    for support, query in episodes:
        optimizer.zero_grad()
        losses = episode_gradient(model, support, query, inner_lr)
        torch.nn.utils.clip_grad_norm_(model.trained(), CLIP)
        optimizer.step()
        scheduler.step()
        yield losses


@torch.no_grad()
def answers(model: PlainModel, questions: Sequence[Question], size: int = 16) -> list[int]:
    """1 for each question that is answered rightly, else 0."""
    right: list[int] = []
    for begin in range(0, len(questions), size):
        inputs = collate(questions[begin : begin + size])
        right += (model.scores(inputs)[0].argmax(1) == inputs.labels).long().tolist()
    return right
