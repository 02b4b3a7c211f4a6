"""Losses, all in units of log n: 1.0 is chance, whatever the number of choices."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def normalised_cross_entropy(scores: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy divided by log n, so that tasks with 2 and with 8 choices weigh alike.

    Args:
        scores: (examples, most choices) plausibilities, -inf where an example has fewer choices.
        labels: (examples,) 0-based.
        counts: (examples,) number n of choices.

    Returns:
        The mean over examples, a scalar.
    """
    return (F.cross_entropy(scores, labels, reduction="none") / torch.log(counts.to(scores.dtype))).mean()


def choice_loss(scores: Tensor, labels: Tensor, counts: Tensor, sign: float) -> Tensor:
    """L(B; phi): normalised cross-entropy of p = softmax(sign * s) (DESIGN section 2).

    With ``sign`` = -1 the label names the implausible choice, while s stays a plausibility.
    """
    if sign < 0:
        scores = torch.where(torch.isinf(scores), scores, -scores)
    return normalised_cross_entropy(scores, labels, counts)


def in_batch_loss(scores: Tensor, answers: Tensor) -> Tensor:
    """Normalised cross-entropy of each context's own answer against the batch's other answers.

    Args:
        scores: (examples, examples) plausibility of example j's answer in example i's context.
        answers: (examples,) identity of each answer's text: equal texts are no negatives of one another.

    Returns:
        A scalar in units of log n; 0 for a single example.
    """
    n = len(scores)
    if n < 2:
        return scores.new_zeros(())
    same = (answers[:, None] == answers[None, :]) & ~torch.eye(n, dtype=torch.bool)
    return F.cross_entropy(scores.masked_fill(same, float("-inf")), torch.arange(n)) / math.log(n)


def contrastive_loss(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Symmetric contrastive loss of two languages' vectors of the same sentences.

    Args:
        one: (sentences, width), at least two sentences.
        other: (sentences, width), same order.
        temperature: Divides the cosines.

    Returns:
        Mean of both directions' cross-entropy in units of log n: 1.0 is chance.

    Source:
        van den Oord et al. 2018 (InfoNCE).
    """
    scores = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / temperature
    target = torch.arange(len(one))
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / (2 * math.log(len(one)))
