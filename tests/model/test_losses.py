"""Losses against closed forms."""

import math

import pytest
import torch

from metaxcr.model.batch import Questions
from metaxcr.model.losses import choice_loss, contrastive_loss, in_batch_loss

INF = float("inf")


def questions(counts: list[int], labels: list[int], sign: float = 1.0) -> Questions:
    most = max(counts)
    choices = torch.tensor([[*range(n), *[-1] * (most - n)] for n in counts])
    nothing = torch.zeros(len(counts), dtype=torch.long)
    return Questions(nothing, choices, torch.zeros(len(counts), 2), torch.tensor(labels), sign)


@pytest.mark.parametrize("counts", [[2], [8], [2, 8, 5]])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_chance_is_one_whatever_the_number_of_choices(counts: list[int], sign: float) -> None:
    q = questions(counts, [0] * len(counts), sign)
    scores = torch.zeros(len(counts), max(counts)).masked_fill(q.choices < 0, -INF)
    assert choice_loss(scores, q).item() == pytest.approx(1.0, abs=1e-6)


def test_choice_loss_by_hand_with_ragged_choices() -> None:
    scores = torch.tensor([[1.0, 3.0, -INF], [0.5, -1.0, 2.0]])
    first = math.log(math.exp(1) + math.exp(3)) - 3
    second = math.log(math.exp(0.5) + math.exp(-1) + math.exp(2)) - 0.5
    expected = (first / math.log(2) + second / math.log(3)) / 2
    assert choice_loss(scores, questions([2, 3], [1, 0])).item() == pytest.approx(expected, rel=1e-6)


def test_polarity_turns_the_probabilities_round() -> None:
    """The label names the implausible choice: p = softmax(-s) over the choices that exist."""
    scores = torch.tensor([[1.0, 3.0, -INF]])
    implausible = choice_loss(scores, questions([2], [0], sign=-1.0))
    assert implausible.item() == pytest.approx(
        (math.log(math.exp(-1) + math.exp(-3)) + 1) / math.log(2), rel=1e-6
    )
    assert implausible < choice_loss(scores, questions([2], [0]))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_gradient_is_finite_and_none_for_missing_choices(sign: float) -> None:
    raw = torch.tensor([[1.0, 3.0, 0.0], [0.5, -1.0, 2.0]], requires_grad=True)
    q = questions([2, 3], [1, 0], sign)
    choice_loss(raw.masked_fill(q.choices < 0, -INF), q).backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    assert raw.grad[0, 2] == 0
    assert raw.grad[0, 1].sign() == -sign  # the labelled choice becomes more (less) plausible


def test_in_batch_loss_by_hand() -> None:
    scores = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 3.0]])
    rows = [math.log(sum(math.exp(v) for v in row)) - row[i] for i, row in enumerate(scores.tolist())]
    loss = in_batch_loss(scores, torch.tensor([4, 7, 9]))
    assert loss.item() == pytest.approx(sum(rows) / 3 / math.log(3), rel=1e-6)
    assert in_batch_loss(torch.zeros(5, 5), torch.arange(5)).item() == pytest.approx(1.0, abs=1e-6)


def test_equal_answers_are_no_negatives_of_one_another() -> None:
    scores = torch.tensor([[0.0, 50.0, 0.0], [50.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    same = in_batch_loss(scores, torch.tensor([4, 4, 9]))
    assert same.item() == pytest.approx((math.log(2) + math.log(2) + math.log(3)) / 3 / math.log(3), rel=1e-6)
    assert in_batch_loss(scores, torch.tensor([4, 5, 9])) > 10


def test_a_single_example_has_no_negatives() -> None:
    assert in_batch_loss(torch.tensor([[3.0]]), torch.tensor([0])).item() == 0.0


def test_contrastive_loss_by_hand() -> None:
    one = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    other = torch.tensor([[3.0, 3.0], [0.0, 5.0]])
    r = math.sqrt(0.5)
    cosines = [[r, 0.0], [r, 1.0]]
    temperature = 0.5

    def cross_entropy(row: list[float], target: int) -> float:
        return math.log(sum(math.exp(v / temperature) for v in row)) - row[target] / temperature

    across = sum(cross_entropy(cosines[i], i) for i in range(2))
    back = sum(cross_entropy([cosines[0][i], cosines[1][i]], i) for i in range(2))
    expected = (across / 2 + back / 2) / 2 / math.log(2)
    assert contrastive_loss(one, other, temperature).item() == pytest.approx(expected, rel=1e-5)
    assert contrastive_loss(other, one, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_contrastive_loss_of_equal_vectors_is_chance_and_of_matching_ones_near_zero() -> None:
    assert contrastive_loss(torch.ones(6, 3), torch.ones(6, 3), 0.1).item() == pytest.approx(1.0, abs=1e-5)
    assert contrastive_loss(torch.eye(6), 7 * torch.eye(6), 0.05).item() < 1e-6
