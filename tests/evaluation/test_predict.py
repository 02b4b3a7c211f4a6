from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from metaxcr.adapters.stack import AdaptedEncoder
from metaxcr.encoders.base import Ragged
from metaxcr.encoders.trunk import TrunkStore
from metaxcr.evaluation import predict as module
from metaxcr.evaluation.predict import predict
from metaxcr.scoring.batch import Questions, TaskData, make_batch
from metaxcr.scoring.model import ChoiceModel, Params


def trained(model: ChoiceModel) -> Params:
    """Parameters away from their start, where adapters do nothing."""
    generator = torch.Generator().manual_seed(5)
    return {n: p + 0.2 * torch.randn(p.shape, generator=generator) for n, p in model.params().items()}


def turned(data: TaskData) -> TaskData:
    """The same texts, every question asked in the other direction: as raw files differ from repaired ones."""
    questions: Questions = data.questions
    return replace(data, questions=replace(questions, direction=questions.direction.flip(1)))


@pytest.mark.parametrize("kind", ["dual", "cross"])
@pytest.mark.parametrize("tokens", [1, 40, 4096])
def test_whole_sets_equal_scoring_batch_by_batch(
    toy_task: Callable[..., TaskData],
    toy_model: Callable[..., ChoiceModel],
    toy_store: TrunkStore,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    tokens: int,
) -> None:
    monkeypatch.setattr(module, "FORWARD_TOKENS", tokens)
    model, data = toy_model(kind), toy_task("ragged", choices=(2, 5, 3), kind=kind)
    phi = trained(model)

    (probabilities,), _ = predict(model, phi, [data], toy_store)

    assert len(probabilities) == len(data)
    for begin in range(0, len(data), 5):
        rows = range(begin, min(begin + 5, len(data)))
        scores = model.score(phi, make_batch(data, rows, toy_store))
        for row, expected in zip(rows, torch.softmax(scores, 1).tolist(), strict=True):
            count = (2, 5, 3)[row % 3]
            assert probabilities[row] == pytest.approx(expected[:count], abs=2e-5)
            assert sum(probabilities[row]) == pytest.approx(1.0, abs=count * 1e-6)


def test_raw_and_repaired_files_share_the_encoding(
    toy_task: Callable[..., TaskData],
    toy_model: Callable[..., ChoiceModel],
    toy_store: TrunkStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, repaired = toy_model(), toy_task("set")
    raw, phi, forwarded = turned(repaired), trained(model), []
    forward = AdaptedEncoder.forward

    def counting(self: AdaptedEncoder, trunk: Ragged, *rest: Any) -> torch.Tensor:
        forwarded.append(len(trunk.hidden))
        return forward(self, trunk, *rest)

    monkeypatch.setattr(AdaptedEncoder, "forward", counting)
    both, tokens = predict(model, phi, [repaired, raw], toy_store)
    in_both = sum(forwarded)
    (alone,), tokens_alone = predict(model, phi, [raw], toy_store)
    distinct = sum(toy_store.lengths(repaired.questions.texts))

    assert in_both == tokens == tokens_alone == distinct
    assert both[1] == alone
    assert both[0] != both[1]


def test_labels_have_no_say(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], toy_store: TrunkStore
) -> None:
    model, data = toy_model(), toy_task("set", choices=(3,))
    other = replace(data, questions=replace(data.questions, labels=(data.questions.labels + 1) % 3))
    none = replace(data, questions=replace(data.questions, labels=torch.full((len(data),), -1)))
    (one, two, three), _ = predict(model, trained(model), [data, other, none], toy_store)
    assert one == two == three


def test_a_task_that_asks_for_the_implausible_choice_gets_its_probability(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], toy_store: TrunkStore
) -> None:
    model, data = toy_model(), toy_task("set", choices=(2, 3))
    implausible = replace(data, questions=replace(data.questions, sign=-1.0))
    (one, two), _ = predict(model, trained(model), [data, implausible], toy_store)
    for plausible, other in zip(one, two, strict=True):
        inverse = [1 / p for p in plausible]  # softmax(-s) is 1 / softmax(s), normalised
        assert other == pytest.approx([x / sum(inverse) for x in inverse], abs=2e-5)


def test_the_parameters_matter_and_stay_as_they_are(
    toy_task: Callable[..., TaskData], toy_model: Callable[..., ChoiceModel], toy_store: TrunkStore
) -> None:
    model, data = toy_model(), toy_task("set")
    phi = trained(model)
    before = {n: p.clone() for n, p in phi.items()}
    assert predict(model, phi, [data], toy_store) != predict(model, model.params(), [data], toy_store)
    assert all(torch.equal(phi[n], before[n]) for n in phi)
