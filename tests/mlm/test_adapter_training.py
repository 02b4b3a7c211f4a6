"""The stages: what each trains, when it stops, and that a checkpoint is exact."""

import math
from collections.abc import Callable

import pytest
import torch
from tests.mlm.conftest import settings

from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.evaluation.statistics import paired_difference
from metaxcr.mlm.adapter_training import (
    Stage,
    StageState,
    begin,
    finished,
    flatten,
    stages,
    target_losses,
    train_stage,
    training_result,
    unflatten,
)
from metaxcr.mlm.masked_lm import ADAPTER, HEAD
from metaxcr.mlm.preparation import Request, Work, prepare

ADAPT = Stage("adapter", (ADAPTER, HEAD), 12)


@pytest.fixture
def work(encoder: FrozenEncoder, request_of: Callable[..., Request]) -> Work:
    return prepare(encoder, request_of(steps=12))


def run(work: Work, stage: Stage, state: StageState | None = None) -> list[StageState]:
    begun = state or begin(work.model.params(), stage)
    return list(
        train_stage(work.model, stage, work.batches["train"], work.batches["stop"], work.settings, begun)
    )


def test_the_stages_with_and_without_an_own_head() -> None:
    assert [(s.name, s.with_adapter, s.stops) for s in stages(settings(), own_head=False)] == [
        ("head", False, True), ("adapter", True, True), ("control", False, False),
    ]  # fmt: skip
    assert [(s.name, s.trains) for s in stages(settings(), own_head=True)] == [("adapter", (ADAPTER,))]


def test_a_stage_trains_what_it_names_and_nothing_else(work: Work) -> None:
    for trains in ((HEAD,), (ADAPTER, HEAD), (ADAPTER,)):
        stage = Stage("any", trains, 3)
        before, after = work.model.params(), run(work, stage)[-1].params
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert {name.partition(".")[0] + "." for name in changed} == set(trains)
        # the up-projections start at zero, so everything of an adapter moves within three steps
        assert all(name.startswith(trains) == (name in changed) for name in before)


def test_the_loss_falls_and_the_best_look_is_kept(work: Work) -> None:
    states = run(work, ADAPT)
    losses = [loss for _, loss in states[-1].looks]
    assert states[-1].best_loss == min(losses) < losses[0] - 0.2
    at = states[-1].looks[losses.index(min(losses))][0]
    best = next(s for s in states if s.step == at)
    assert all(torch.equal(p, best.params[n]) for n, p in states[-1].best.items())


def test_early_stop() -> None:
    state = StageState(10, {}, {}, {}, ((0, 3.0), (5, 2.0), (10, 2.1)))
    stops, goes = Stage("a", (HEAD,), 99), Stage("a", (HEAD,), 99, stops=False)
    assert state.stale == 1 and not finished(stops, settings(patience=2), state)
    assert finished(stops, settings(patience=1), state) and not finished(goes, settings(patience=1), state)
    assert finished(goes, settings(), StageState(99, {}, {}, {}, ((0, 3.0),)))


def test_a_stage_stops_where_nothing_improves(work: Work) -> None:
    worse = work.settings.model_copy(update={"rate": 50.0, "evaluate_every": 2})
    state = begin(work.model.params(), ADAPT)
    last = list(train_stage(work.model, ADAPT, work.batches["train"], work.batches["stop"], worse, state))[-1]
    assert last.step == 4 and last.best_loss == last.looks[0][1]  # two looks after the first one


def test_a_checkpoint_continues_to_the_same_bytes(
    work: Work, encoder: FrozenEncoder, request_of: Callable[..., Request]
) -> None:
    whole = run(work, ADAPT)
    middle = next(s for s in whole if s.step == 5)
    tensors, notes = flatten({"adapter": middle})
    assert len({t.data_ptr() for t in tensors.values()}) == len(tensors)
    restored = unflatten(tensors, notes)["adapter"]
    resumed = run(prepare(encoder, request_of(steps=12)), ADAPT, restored)[-1]
    for name, tensor in whole[-1].params.items():
        assert torch.equal(resumed.params[name], tensor), name
    assert resumed.looks == whole[-1].looks


def test_losses_and_the_gain_over_the_control(
    encoder: FrozenEncoder, request_of: Callable[..., Request]
) -> None:
    request = request_of(lines=160)
    work = prepare(encoder, request)
    model, test = work.model, work.batches["test"]
    states = {}
    for n, name in enumerate(("head", "adapter", "control")):
        params = {
            key: p + 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(n))
            for key, p in model.params().items()
        }
        states[name] = StageState(7, params, {}, params, ((0, 3.0), (5, 2.0 + n), (7, 2.5)))
    result = training_result(request, work, states)
    assert [row["what"] for row in result["losses"]] == [
        "head alone",
        "head alone, trained on",
        "head + adapter",
    ]
    assert [row["best_step"] for row in result["losses"]] == [5, 7, 7]
    losses = {
        name: target_losses(model, state.best, test, with_adapter=name == "adapter")
        for name, state in states.items()
    }
    for name, row in zip(("head", "control", "adapter"), result["losses"], strict=True):
        assert row["loss"] == pytest.approx(float(losses[name].mean()), abs=1e-4)
        assert row["perplexity"] == pytest.approx(math.exp(row["loss"]), rel=1e-3)
    # the gain, sequence by sequence, written down anew
    owners = test.owners().tolist()
    means = {}
    for name in ("control", "adapter"):
        by_sequence: dict[int, list[float]] = {}
        for owner, loss in zip(owners, losses[name].tolist(), strict=True):
            by_sequence.setdefault(owner, []).append(loss)
        means[name] = torch.tensor([sum(v) / len(v) for _, v in sorted(by_sequence.items())]).numpy()
    expected = paired_difference(means["control"], means["adapter"])
    assert result["gain"]["mean"] == pytest.approx(expected.mean, rel=1e-2)
    assert result["gain"]["low"] == pytest.approx(expected.low, rel=1e-2)
    assert result["targets"] == len(owners) and result["parameters"] > 0
