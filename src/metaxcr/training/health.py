"""What the inner loop does to an episode, for the health of meta-learning.

An inner loop that hardly moves phi makes a meta-learner the same as plain training; an alignment term with
the larger gradient drowns the labels. ``metaxcr diagnose`` says so.
"""

import math

import torch

from metaxcr.autodiff import Params, value_and_grad
from metaxcr.hardware import float64
from metaxcr.meta.learners.base import FORWARD, GRADIENT, EpisodeResult, Learner, Passes
from metaxcr.model.choice_model import SCORER, ChoiceModel
from metaxcr.training.episodes import Episode, evaluate, losses_of

PAIRS = "alignment"  # the parallel sentences, as a part of an episode


def health_passes(learner: Learner, aligned: bool) -> Passes:
    """Token-passes of :func:`inner_loop_health` for each token of a part of the episode."""
    passes = {"support": FORWARD}
    if learner.plain:
        passes["query"] = 2 * FORWARD
        for part in learner.plain:
            passes[part] = passes.get(part, 0) + GRADIENT
    if aligned:
        passes["query"], passes[PAIRS] = passes.get("query", 0) + GRADIENT, GRADIENT
    return passes


def inner_loop_health(
    model: ChoiceModel,
    episode: Episode,
    alignment: float,
    learner: Learner,
    phi: Params,
    result: EpisodeResult,
) -> dict[str, float]:
    """Look at an episode once it is learned from.

    Args:
        model: Scores batches.
        episode: Its batches.
        alignment: Weight of the alignment term.
        learner: What learned from it.
        phi: Before it.
        result: After it.

    Returns:
        ``support_drop``: L(B_s; phi) - L(B_s; phi'_K). With an inner loop also ``moved``, |phi'_K - phi|;
        ``query_drop``, the same drop on the query; and ``plain_cosine``, between the meta-gradient and the
        gradient of plain training on the same batches. With parallel sentences ``alignment_ratio``, the
        length of the weighted alignment term's gradient over that of the query's labels, at phi'_K. With a
        scorer that starts as the identity ``scorer_distance``, |W - I| / |I|.
    """
    losses = losses_of(model, episode, alignment)
    found = {"support_drop": result.support_loss - evaluate(losses.support, result.phi)}
    if learner.plain:
        change = {n: p - phi[n] for n, p in result.phi.items()}
        found["moved"] = math.sqrt(_dot(change, change))
        found["query_drop"] = evaluate(losses.query, phi) - evaluate(losses.query, result.phi)
        objectives = {"support": losses.support, "query": losses.query}
        if losses.target is not None:
            objectives |= dict(zip(("target_support", "target_query"), losses.target, strict=True))
        gradients = [(w, value_and_grad(objectives[part], phi)[1]) for part, w in learner.plain.items()]
        plain = {n: torch.stack([w * g[n] for w, g in gradients]).sum(0) for n in phi}
        lengths = math.sqrt(_dot(plain, plain) * _dot(result.meta_grad, result.meta_grad))
        found["plain_cosine"] = _dot(plain, result.meta_grad) / lengths if lengths else 0.0
    if (pairs := episode.parallel) is not None:
        _, labels = value_and_grad(lambda p: model.loss(p, episode.query.mixed), result.phi)
        _, aligned = value_and_grad(lambda p: model.alignment(p, pairs), result.phi)
        ratio = _dot(aligned, aligned) / max(_dot(labels, labels), 1e-30)
        found["alignment_ratio"] = alignment * math.sqrt(ratio)
    scorer = phi[SCORER]
    if scorer.dim() == 2:
        identity = torch.eye(len(scorer), device=scorer.device)
        found["scorer_distance"] = float((scorer - identity).norm() / identity.norm())
    return found


def _dot(one: Params, other: Params) -> float:
    """Inner product, in the order of the names: a checkpoint gives tensors back in another order."""
    return math.fsum(float((float64(one[n]) * float64(other[n])).sum()) for n in sorted(other))
