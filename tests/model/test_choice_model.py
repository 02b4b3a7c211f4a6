"""The choice model: step 0, directions, gradients, the in-batch term."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metaxcr.data.example import Example, Phrased, Relation
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.encoders.encoder import FrozenEncoder, Ragged, Text
from metaxcr.model.batch import DIRECTIONS, Batch, Questions, TaskData, encode_task, make_batch
from metaxcr.model.choice_model import (
    SCORER,
    ChoiceModel,
    choice_loss,
    contrastive_loss,
    in_batch_loss,
    mean_pool,
)

Build = Callable[..., ChoiceModel]
Tasks = Callable[..., TaskData]

EXAMPLES = [
    Example(
        id=f"e{n}",
        context=f"topic{n} it rained all day {n}",
        question="",
        choices=tuple(f"choice {n} {c} of many" for c in range(many)),
        label=n % 2,
        language="en",
        task="t",
    )
    for n, many in enumerate((2, 5, 3, 2, 8, 2))
]
RELATIONS: list[Relation] = ["effect", "cause", "answer", "cause", "effect", "answer"]


@pytest.fixture
def mixed(toy_store: ActivationCache) -> Batch:
    """Six questions of 2 to 8 choices and all three relations."""
    relation = dict(zip((e.id for e in EXAMPLES), RELATIONS, strict=True))
    phrase = {e.id: Phrased(e.context, e.choices, relation[e.id]) for e in EXAMPLES}
    data = encode_task(EXAMPLES, lambda e: phrase[e.id], toy_store, kind="dual")
    return make_batch(data, range(len(EXAMPLES)), toy_store)


def sentence_vectors(encoder: FrozenEncoder, texts: list[str]) -> Tensor:
    """The encoder alone, no trunk, no adapters, no cache: mean over tokens."""
    ragged = encoder.embed(encoder.tokenize([Text(t) for t in texts], 32))
    hidden = encoder.run(ragged, 0, encoder.depth, torch.float32)
    return torch.stack([part.mean(0) for part in torch.split(hidden, ragged.lengths.tolist())])


def random_phi(model: ChoiceModel, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(p.shape, generator=generator) * 0.4 for n, p in model.params().items()}


def test_mean_pool() -> None:
    hidden = torch.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 5.0]])
    assert mean_pool(hidden, torch.tensor([2, 1])).tolist() == [[2.0, 4.0], [5.0, 5.0]]
    pooled = mean_pool(torch.ones(300, 1, dtype=torch.bfloat16) * 1.0078125, torch.tensor([300]))
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(1.0078125, abs=1e-6)  # summed in float32, not in bfloat16


def test_step_0_is_the_cosine_similarity(toy_model: Build, toy_encoder: FrozenEncoder, mixed: Batch) -> None:
    model = toy_model("dual")
    scores = model.score(model.params(), mixed)
    for row, example in zip(scores, EXAMPLES, strict=True):
        vectors = sentence_vectors(toy_encoder, [example.context, *example.choices])
        cosines = F.cosine_similarity(vectors[:1], vectors[1:])
        n = len(example.choices)
        assert torch.allclose(row[:n] * model.temperature, cosines, atol=1e-5)
        assert row[:n].argsort().tolist() == cosines.argsort().tolist()
        assert bool((row[n:] == -torch.inf).all())


def test_an_asymmetric_w_against_explicit_loops(toy_model: Build, mixed: Batch) -> None:
    model = toy_model("dual")
    phi = random_phi(model)
    weight, q = phi[SCORER], mixed.questions
    assert not torch.allclose(weight, weight.T, atol=0.1)
    u = F.normalize(model.vectors(phi, mixed.trunk, "en"), dim=-1)
    scores = model.score(phi, mixed)
    for i, relation in enumerate(RELATIONS):
        context = u[q.context[i]]
        for j in range(len(EXAMPLES[i].choices)):
            choice = u[q.choices[i, j]]
            effect = sum(context[a] * weight[a, b] * choice[b] for a in range(16) for b in range(16))
            cause = sum(choice[a] * weight[a, b] * context[b] for a in range(16) for b in range(16))
            expected = {"effect": effect, "cause": cause, "answer": (effect + cause) / 2}[relation]
            assert float(scores[i, j]) == pytest.approx(float(expected) / model.temperature, abs=1e-4)


def test_cause_and_effect_mirror_each_other(toy_model: Build) -> None:
    """s_effect(p, c) = s_cause(c, p): asking for the effect of p is asking whether p causes c."""
    model = toy_model("dual")
    weight, pooled = random_phi(model)[SCORER], torch.randn(2, 16, generator=torch.Generator().manual_seed(0))

    def one(context: int, choice: int, relation: str) -> float:
        direction = torch.tensor([DIRECTIONS[relation]])
        q = Questions(torch.tensor([context]), torch.tensor([[choice]]), direction, torch.tensor([0]), 1.0)
        return float(model.plausibility(weight, pooled, q)[0])

    assert one(0, 1, "effect") == pytest.approx(one(1, 0, "cause"), abs=1e-5)
    assert abs(one(0, 1, "effect") - one(0, 1, "cause")) > 1e-2


def test_every_answer_in_every_context(toy_model: Build, mixed: Batch) -> None:
    model = toy_model("dual")
    phi = random_phi(model)
    pooled = model.vectors(phi, mixed.trunk, "en")
    scores, across = model.plausibility(phi[SCORER], pooled, mixed.questions)
    assert across is not None
    labels = mixed.questions.labels
    assert torch.allclose(across.diagonal(), scores[torch.arange(6), labels], atol=1e-4)
    # row 1 is a cause question: example 0's answer held against its context
    swapped = replace(mixed.questions, choices=mixed.questions.choices.clone())
    swapped.choices[1, 0] = mixed.questions.answers[0]
    assert float(across[1, 0]) == pytest.approx(
        float(model.plausibility(phi[SCORER], pooled, swapped)[0][1, 0]), abs=1e-4
    )


def test_the_loss_is_the_weighted_mean_of_the_choice_loss_and_the_in_batch_term(
    toy_model: Build, mixed: Batch
) -> None:
    model, plain = toy_model("dual", negatives=0.7), toy_model("dual", negatives=0.0)
    phi = random_phi(model)
    pooled = model.vectors(phi, mixed.trunk, "en")
    scores, across = model.plausibility(phi[SCORER], pooled, mixed.questions)
    assert across is not None
    choice, negatives = choice_loss(scores, mixed.questions), in_batch_loss(across, mixed.questions.answers)
    assert abs(float(choice - negatives)) > 0.02  # so that the weights show
    assert float(model.loss(phi, mixed)) == pytest.approx(float(choice + 0.7 * negatives) / 1.7, rel=1e-6)
    assert float(plain.loss(phi, mixed)) == pytest.approx(float(choice), rel=1e-6)


def test_association_is_the_in_batch_term_or_without_one_the_choice_loss(
    toy_model: Build, mixed: Batch
) -> None:
    dual, cross = toy_model("dual", negatives=0.7), toy_model("cross")
    phi = random_phi(dual)
    _, across = dual.plausibility(phi[SCORER], dual.vectors(phi, mixed.trunk, "en"), mixed.questions)
    assert across is not None
    expected = in_batch_loss(across, mixed.questions.answers)
    assert float(dual.association(phi, mixed)) == pytest.approx(float(expected), rel=1e-6)
    alone = replace(mixed, questions=mixed.questions.select([0]))
    single = choice_loss(dual.score(phi, alone), alone.questions)
    assert float(dual.association(phi, alone)) == pytest.approx(float(single), rel=1e-6)
    phi = random_phi(cross)
    chosen = choice_loss(cross.score(phi, mixed), mixed.questions)
    assert float(cross.association(phi, mixed)) == pytest.approx(float(chosen), rel=1e-6)


def test_labels_of_implausible_choices_are_no_answers(toy_model: Build, mixed: Batch) -> None:
    """The in-batch term pulls answers to their contexts; a label of polarity `implausible` names none."""
    model = toy_model("dual", negatives=0.7)
    phi = random_phi(model)
    turned = replace(mixed, questions=replace(mixed.questions, sign=-1.0))
    expected = choice_loss(model.score(phi, turned), turned.questions)
    assert float(model.loss(phi, turned)) == pytest.approx(float(expected), rel=1e-6)


def test_questions_without_labels_are_scored(toy_model: Build, mixed: Batch) -> None:
    model = toy_model("dual")
    phi = model.params()
    unlabelled = replace(mixed, questions=replace(mixed.questions, labels=torch.full((6,), -1)))
    assert torch.equal(model.score(phi, unlabelled), model.score(phi, mixed))


@pytest.mark.parametrize("kind", ["dual", "cross"])
def test_gradients_reach_phi_and_nothing_else(
    toy_model: Build, toy_task: Tasks, toy_store: ActivationCache, kind: str
) -> None:
    model = toy_model(kind)
    encoder = model.adapted.encoder
    before = {n: b.clone() for n, b in encoder.layers.named_buffers()}
    batch = make_batch(toy_task(kind=kind, choices=(2, 3)), range(12), toy_store)
    phi = {n: p.requires_grad_() for n, p in random_phi(model).items()}
    gradients = torch.autograd.grad(model.loss(phi, batch), list(phi.values()))
    for name, gradient in zip(phi, gradients, strict=True):
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0, name
    assert set(phi) == {SCORER} | {
        f"adapted.task.{i}.{part}.{what}"
        for i in (1, 2)
        for part in ("down", "up")
        for what in ("weight", "bias")
    }
    assert not batch.trunk.hidden.requires_grad
    assert all(p.grad is None for p in encoder.embeddings.parameters())
    assert all(torch.equal(b, before[n]) and not b.requires_grad for n, b in encoder.layers.named_buffers())


def test_scores_are_a_pure_function_of_phi(toy_model: Build, mixed: Batch) -> None:
    model = toy_model("dual")
    start = model.params()
    base = model.score(start, mixed)
    for seed in (1, 2):
        assert not torch.allclose(model.score(random_phi(model, seed), mixed), base, atol=1e-2)
    assert torch.equal(model.score(start, mixed), base)
    assert all(torch.equal(p, start[n]) for n, p in model.params().items())
    start[SCORER].zero_()  # a copy: the module does not change with it
    assert torch.equal(model.params()[SCORER], torch.eye(16))


def test_gradient_against_finite_differences(toy_model: Build, mixed: Batch) -> None:
    model = toy_model("dual")
    phi = random_phi(model)
    for name in (SCORER, "adapted.task.1.down.weight", "adapted.task.2.up.weight"):
        direction = F.normalize(
            torch.randn(phi[name].shape, generator=torch.Generator().manual_seed(3)), dim=None
        )
        leaf = phi[name].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model.loss(phi | {name: leaf}, mixed), leaf)
        high, low = (model.loss(phi | {name: phi[name] + s * 1e-2 * direction}, mixed) for s in (1, -1))
        assert float((high - low) / 2e-2) == pytest.approx(
            float((gradient * direction).sum()), rel=0.05, abs=2e-3
        )


def pair_vectors(encoder: FrozenEncoder, example: Example, relation: Relation) -> Tensor:
    """The context's vector, then that of each choice in one text with it, the cause first."""
    pairs = [
        Text(c, example.context) if relation == "cause" else Text(example.context, c) for c in example.choices
    ]
    ragged = encoder.embed(encoder.tokenize([Text(example.context), *pairs], 32))
    hidden = encoder.run(ragged, 0, encoder.depth, torch.float32)
    return torch.stack([part.mean(0) for part in torch.split(hidden, ragged.lengths.tolist())])


def test_joint_scores_hold_a_context_against_itself_with_each_choice(
    toy_model: Build, toy_encoder: FrozenEncoder, toy_store: ActivationCache
) -> None:
    model = toy_model("joint")
    relation = dict(zip((e.id for e in EXAMPLES), RELATIONS, strict=True))
    phrase = {e.id: Phrased(e.context, e.choices, relation[e.id]) for e in EXAMPLES}
    batch = make_batch(
        encode_task(EXAMPLES, lambda e: phrase[e.id], toy_store, kind="joint"), range(6), toy_store
    )
    phi = model.params()
    phi[SCORER] = random_phi(model)[SCORER]  # one W for cause and effect: the text's order tells them apart
    for scorer in (torch.eye(16), phi[SCORER]):
        scores = model.score({**phi, SCORER: scorer}, batch)
        for row, example in zip(scores, EXAMPLES, strict=True):
            u = F.normalize(pair_vectors(toy_encoder, example, relation[example.id]), dim=-1)
            expected = u[1:] @ (scorer.T @ u[0]) / model.temperature
            assert torch.allclose(row[: len(example.choices)], expected, atol=1e-3)
    pooled = model.vectors(phi, batch.trunk, "en")
    assert model.plausibility(phi[SCORER], pooled, batch.questions)[1] is None
    assert torch.equal(model.loss(phi, batch), choice_loss(model.score(phi, batch), batch.questions))


def test_cross_scores_are_linear_in_the_mean_vector(
    toy_model: Build, toy_task: Tasks, toy_store: ActivationCache
) -> None:
    model = toy_model("cross")
    batch = make_batch(toy_task(kind="cross", choices=(2, 4)), range(6), toy_store)
    at_start = model.score(model.params(), batch)
    assert bool((at_start[batch.questions.choices >= 0] == 0).all())
    phi = random_phi(model)
    pooled, scores = model.vectors(phi, batch.trunk, "en"), model.score(phi, batch)
    for i, row in enumerate(batch.questions.choices.tolist()):
        for j, place in enumerate(row):
            expected = float(pooled[place] @ phi[SCORER]) if place >= 0 else -torch.inf
            assert float(scores[i, j]) == pytest.approx(expected, abs=1e-4)


def test_the_order_of_choices_does_not_matter(toy_model: Build, mixed: Batch) -> None:
    model = toy_model("dual")
    phi = random_phi(model)
    q = mixed.questions
    flipped = replace(
        mixed, questions=replace(q, choices=q.choices.flip(1), labels=q.choices.shape[1] - 1 - q.labels)
    )
    assert torch.allclose(model.score(phi, flipped).flip(1), model.score(phi, mixed), atol=1e-5)


def test_dtype_of_the_layers(toy_model: Build, mixed: Batch) -> None:
    model = toy_model("dual", dtype=torch.bfloat16)
    phi = random_phi(model)
    low, high = model.score(phi, mixed), model.score(phi, mixed, torch.float32)
    assert low.dtype == high.dtype == torch.float32  # pooling and scoring are float32 in any case
    assert not torch.equal(low, high)
    assert torch.equal(high, toy_model("dual").score(phi, mixed))


def test_alignment_is_the_contrastive_loss_of_both_sides(
    toy_model: Build, toy_store: ActivationCache
) -> None:
    model = toy_model("dual")
    phi = random_phi(model)
    sides: list[Ragged] = [
        toy_store.gather(toy_store.ensure([Text(f"{language} sentence {n}") for n in range(5)]))
        for language in ("en", "sw")
    ]
    one, other = (model.vectors(phi, side, "en") for side in sides)
    expected = contrastive_loss(one, other, model.temperature)
    assert float(model.alignment(phi, ((sides[0], "en"), (sides[1], "sw")))) == pytest.approx(
        float(expected), rel=1e-5
    )


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
