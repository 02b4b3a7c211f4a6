"""Probabilities of the choices of whole evaluation sets."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from metaxcr.encoders.trunk import TrunkStore
from metaxcr.scoring.batch import TaskData
from metaxcr.scoring.model import SCORER, ChoiceModel

FORWARD_TOKENS = 4096  # bounds the memory of one forward pass


@torch.no_grad()
def predict(
    model: ChoiceModel, phi: Mapping[str, Tensor], sets: Sequence[TaskData], store: TrunkStore
) -> tuple[list[list[list[float]]], int]:
    """Predict sets of one language that share texts (raw and repaired files), encoding each text once.

    Args:
        model: Scores questions.
        phi: Its parameters.
        sets: Encoded for the model's kind of scoring; all in one language.
        store: Trunk activations.

    Returns:
        For each set and question the probability of each choice to be the one asked for (the most plausible
        one; the least plausible one for a task of polarity ``implausible``), rounded to 6 digits; and the
        number of token-passes.
    """
    positions = store.by_length(torch.unique(torch.cat([s.questions.texts for s in sets])))
    pooled, tokens = [], 0
    for begin, end in _slices(positions, store):
        trunk = store.gather(positions[begin:end].tolist())
        pooled.append(model.vectors(phi, trunk, sets[0].language))
        tokens += len(trunk.hidden)
    vectors = torch.cat(pooled)
    probabilities = []
    for data in sets:
        questions = data.questions.renumber(positions).to(vectors.device)
        scores, _ = model.plausibility(phi[SCORER], vectors, questions)
        asked = torch.where(torch.isinf(scores), scores, questions.sign * scores)
        p = torch.softmax(asked.cpu().double(), dim=1)
        counts = questions.counts.tolist()
        rows = zip(p.tolist(), counts, strict=True)
        probabilities.append([[round(x, 6) for x in row[:n]] for row, n in rows])
    return probabilities, tokens


def _slices(positions: Tensor, store: TrunkStore) -> list[tuple[int, int]]:
    """Cut texts, sorted by length, into stretches of about :data:`FORWARD_TOKENS` tokens."""
    slices, begin, tokens = [], 0, 0
    for end, length in enumerate(store.lengths(positions), start=1):
        tokens += length
        if tokens >= FORWARD_TOKENS or end == len(positions):
            slices.append((begin, end))
            begin, tokens = end, 0
    return slices
