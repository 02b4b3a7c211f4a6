"""Losses, all in units of log n: 1.0 is chance, whatever the number of choices."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.model.batch import Questions


def choice_loss(scores: Tensor, questions: Questions) -> Tensor:
    """L(B; phi): cross-entropy of p = softmax(s) over log n, so that tasks with 2 and 8 choices weigh alike.

    The mean over questions of ``scores`` s (questions, most choices), -inf where a question has fewer
    choices. If the labels name the implausible choice (``sign`` -1), p = softmax(-s), and s stays a
    plausibility. The weighting of tasks with different numbers of choices is ours.
    """
    if questions.sign < 0:
        scores = torch.where(torch.isinf(scores), scores, -scores)
    losses = F.cross_entropy(scores, questions.labels, reduction="none")
    return (losses / torch.log(questions.counts.to(scores.dtype))).mean()


def in_batch_loss(scores: Tensor, answers: Tensor) -> Tensor:
    """Normalised cross-entropy of each context's own answer against the batch's other answers.

    In units of log n; 0 for a single example. ``scores`` (examples, examples) has the plausibility of example
    j's answer in example i's context, ``answers`` (examples,) the identity of each answer's text: equal texts
    are no negatives of one another.
    """
    n = len(scores)
    if n < 2:
        return scores.new_zeros(())
    same = (answers[:, None] == answers[None, :]) & ~torch.eye(n, dtype=torch.bool, device=scores.device)
    own = torch.arange(n, device=scores.device)
    return F.cross_entropy(scores.masked_fill(same, float("-inf")), own) / math.log(n)


def contrastive_loss(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of two languages' vectors of the same sentences, (sentences, width) each.

    The mean of both directions' cross-entropy in units of log n (InfoNCE, van den Oord et al. 2018); the
    temperature divides the cosines. Needs at least two sentences.
    """
    scores = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / temperature
    target = torch.arange(len(one), device=one.device)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / (2 * math.log(len(one)))
