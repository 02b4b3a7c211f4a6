"""The trainable system phi = task adapter + scorer around the frozen encoder, and its losses.

All losses are in units of log n: 1.0 is chance, whatever the number of choices.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metaxcr.adapters.adapted_encoder import AdaptedEncoder
from metaxcr.adapters.layers import MIXED
from metaxcr.encoders.encoder import Ragged
from metaxcr.hardware import upcast
from metaxcr.model.batch import Batch, Parallel, Questions

Params = dict[str, Tensor]  # phi: name -> tensor, float32
Phi = Mapping[str, Tensor]  # the same, read only
Dtype = torch.dtype | None  # of the layers' arithmetic; None: as in training
Scores = tuple[Tensor, Tensor | None]  # of each question's choices, and of all answers in all contexts
SCORER = "scorer"


def mean_pool(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Mean over each text's tokens, in float32 or better: (tokens, width), (texts,) -> (texts, width).

    The same bits as ``torch.segment_reduce``, which cannot be differentiated twice.
    """
    hidden = upcast(hidden)
    text = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    sums = hidden.new_zeros(len(lengths), hidden.shape[1]).index_add(0, text.to(hidden.device), hidden)
    return sums / lengths[:, None].to(hidden.device)


class ChoiceModel(nn.Module):
    """Plausibility of every choice of a question.

    *Dual*: s_effect = u(context)' W u(choice) / tau and s_cause = u(choice)' W u(context) / tau with one W
    that starts as the identity, so that the untrained model ranks exactly like the cosine similarity of the
    sentence vectors.
    *Joint*: s = u(context)' W u(context and choice in one text) / tau, with the same W: how little the choice
    moves the context's vector. The encoder's layers see both together; untrained it is a cosine, too.
    *Cross*: context and choice in one sequence; s is a linear function of its mean vector.

    Args:
        adapted: The encoder's upper layers with adapters.
        kind: ``"dual"``, ``"joint"`` or ``"cross"``.
        temperature: tau, of the dual and the joint scorer, the in-batch term and the alignment.
        negatives: Weight of the in-batch term (dual only; 0 switches it off).
        dtype: Of the layers' arithmetic in training.
    """

    def __init__(
        self, adapted: AdaptedEncoder, kind: str, temperature: float, negatives: float, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.adapted, self.kind, self.temperature, self.negatives = adapted, kind, temperature, negatives
        self.dtype = dtype
        width = adapted.encoder.width
        self.scorer = nn.Parameter(torch.zeros(width) if kind == "cross" else torch.eye(width))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.scorer.device

    def params(self) -> Params:
        """A detached copy of phi: the trainable parameters by name."""
        return {n: p.detach().clone() for n, p in self.named_parameters() if p.requires_grad}

    def forward(self, trunk: Ragged, language: str, dtype: Dtype = None, source: int = MIXED) -> Tensor:
        """Mean vectors of texts, float32: (texts, width); see :meth:`AdaptedEncoder.forward`."""
        return mean_pool(self.adapted(trunk, dtype or self.dtype, language, source), trunk.lengths)

    def vectors(
        self, phi: Phi, trunk: Ragged, language: str, dtype: Dtype = None, source: int = MIXED
    ) -> Tensor:
        """:meth:`forward` as a pure function of phi."""
        pooled: Tensor = functional_call(self, dict(phi), (trunk, language, dtype, source))
        return pooled

    def plausibility(self, scorer: Tensor, pooled: Tensor, questions: Questions) -> Scores:
        """Scores from mean vectors ``pooled`` (texts, width), in which ``questions`` has positions.

        ``scorer`` is W (width, width) of the dual or joint scorer, or the weights (width,) of the cross one.
        Returns s (questions, most choices), -inf where a question has fewer choices; and, for dual scoring
        with labels, the plausibility of all answers in all contexts (questions, questions), else None.
        """
        missing, index = questions.choices < 0, questions.choices.clamp(min=0)
        if self.kind == "cross":
            return (pooled @ scorer)[index].masked_fill(missing, float("-inf")), None
        unit = F.normalize(pooled, dim=-1)
        context = unit[questions.context]
        # u(context)' M, where M = W (effect), W' (cause) or their mean (answer).
        forward, backward = questions.direction[:, :1], questions.direction[:, 1:]
        left = (forward * (context @ scorer) + backward * (context @ scorer.T)) / self.temperature
        scores = torch.einsum("bd,bnd->bn", left, unit[index]).masked_fill(missing, float("-inf"))
        if self.kind == "joint" or bool((questions.labels < 0).any()):
            return scores, None  # a joint text contains its own context, so others' answers do not compete
        return scores, left @ unit[questions.answers].T

    def score(self, phi: Phi, batch: Batch, dtype: Dtype = None) -> Tensor:
        """f(x, c; theta, lambda, phi): (questions, most choices), -inf where a question has fewer choices."""
        return self._scores(phi, batch, dtype)[0]

    def loss(self, phi: Phi, batch: Batch, dtype: Dtype = None) -> Tensor:
        """L(B; phi): the weighted mean of choice loss and in-batch term (1.0 is chance)."""
        scores, across = self._scores(phi, batch, dtype)
        loss = choice_loss(scores, batch.questions)
        if across is None or not self.negatives or batch.questions.sign < 0:  # -1: labels name no answer
            return loss
        others = in_batch_loss(across, batch.questions.answers)
        return (loss + self.negatives * others) / (1 + self.negatives)

    def association(self, phi: Phi, batch: Batch, dtype: Dtype = None) -> Tensor:
        """The in-batch term alone, or the choice loss if there is none: what rewards are computed from.

        The choice loss of a few dozen questions depends as much on the temperature of the scores as on what
        was learned: if they are too large for their accuracy, steps on wrong labels lower it. Among the
        answers of a whole batch that matters little.
        """
        scores, across = self._scores(phi, batch, dtype)
        if across is None or len(batch.questions) < 2 or batch.questions.sign < 0:
            return choice_loss(scores, batch.questions)
        return in_batch_loss(across, batch.questions.answers)

    def alignment(self, phi: Phi, parallel: Parallel) -> Tensor:
        """Contrastive loss of parallel sentences in units of log n: 1.0 is chance."""
        one, other = (self.vectors(phi, trunk, language) for trunk, language in parallel)
        return contrastive_loss(one, other, self.temperature)

    def _scores(self, phi: Phi, batch: Batch, dtype: Dtype) -> Scores:
        pooled = self.vectors(phi, batch.trunk, batch.language, dtype, batch.source)
        return self.plausibility(phi[SCORER], pooled, batch.questions)


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
    """Cross-entropy of each context's own answer against the batch's other answers; 0 for a single example.

    ``scores`` (examples, examples) has the plausibility of example j's answer in example i's context,
    ``answers`` (examples,) the identity of each answer's text: equal texts are no negatives of one another.
    """
    n = len(scores)
    if n < 2:
        return scores.new_zeros(())
    same = (answers[:, None] == answers[None, :]) & ~torch.eye(n, dtype=torch.bool, device=scores.device)
    own = torch.arange(n, device=scores.device)
    return F.cross_entropy(scores.masked_fill(same, float("-inf")), own) / math.log(n)


def contrastive_loss(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of two languages' vectors of the same sentences, (sentences, width) each.

    The mean of both directions' cross-entropy (InfoNCE, van den Oord et al. 2018); the temperature divides
    the cosines. Needs at least two sentences.
    """
    scores = F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).T / temperature
    target = torch.arange(len(one), device=one.device)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / (2 * math.log(len(one)))
