"""The settings and the stages: what each trains, when it stops, and that a checkpoint is exact."""

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from tests.mlm.conftest import settings

from metaxcr.adapters.language_adapter import MAD_X_REDUCTION
from metaxcr.encoders.encoder import FrozenEncoder
from metaxcr.errors import MetaXCRWarning
from metaxcr.mlm.adapter_training import (
    LanguageTraining,
    Stage,
    StageState,
    begin,
    finished,
    flatten,
    stages,
    train_stage,
    unflatten,
)
from metaxcr.mlm.masked_lm import ADAPTER, HEAD
from metaxcr.mlm.train_adapter import Request, Work, prepare


def test_the_defaults_are_those_of_mad_x() -> None:
    settings = LanguageTraining()
    assert settings.chosen_layers(12) == list(range(12)) and settings.invertible
    assert settings.reduction == MAD_X_REDUCTION == 2


def test_layers() -> None:
    assert LanguageTraining(layers="top-third").chosen_layers(12) == [8, 9, 10, 11]
    assert LanguageTraining(layers="top-third").chosen_layers(1) == [0]
    assert LanguageTraining(layers=[3, 5]).chosen_layers(12) == [3, 5]


@pytest.mark.parametrize(
    "wrong", [{"held_out": 0.5}, {"held_out": 0}, {"steps": 0}, {"seed": -1}, {"typo": 1}]
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LanguageTraining.model_validate(wrong)


def test_the_learning_rate_is_also_known_by_its_old_name() -> None:
    with pytest.warns(MetaXCRWarning, match="'rate' is now called 'lr'"):
        assert LanguageTraining.model_validate({"rate": 0.5}).lr == 0.5


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
    assert states[-1].best_look[1] == min(losses) < losses[0] - 0.2
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
    worse = work.settings.model_copy(update={"lr": 50.0, "evaluate_every": 2})
    state = begin(work.model.params(), ADAPT)
    last = list(train_stage(work.model, ADAPT, work.batches["train"], work.batches["stop"], worse, state))[-1]
    assert last.step == 4 and last.best_look[1] == last.looks[0][1]  # two looks after the first one


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
