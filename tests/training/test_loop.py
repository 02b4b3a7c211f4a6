import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.world import FIXED_ORDER, SETTINGS, World, same_bytes
from torch import Tensor

from metaxcr.config.schema import Clml
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.meta.learners import LEARNERS, make_learner
from metaxcr.meta.learners.base import EpisodeResult
from metaxcr.model.batch import Batch, TaskData
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.optim import Adam, schedule
from metaxcr.runs.clml import CrossLingualEpisodes
from metaxcr.sampling.fixed import Uniform
from metaxcr.sampling.reinforce import Reinforce
from metaxcr.sampling.rewards import RewardSchedule
from metaxcr.sampling.sampler import Feedback
from metaxcr.seeding import rng
from metaxcr.training.batch_sampler import BatchSampler, English
from metaxcr.training.episodes import Episodes, losses_of
from metaxcr.training.loop import (
    Diverged,
    MetaState,
    MetaTrainer,
    require_finite,
    with_present_names,
)


def test_finite_numbers_pass() -> None:
    finite = {"loss": 1.0, "losses": [0.0, -2.5], "phi": [torch.ones(2)], "scorer": torch.zeros(1)}
    assert require_finite(3, finite) is None
    with pytest.raises(Diverged):  # the last of them is looked at, too
        require_finite(3, finite | {"scorer": torch.tensor([float("nan")])})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), torch.tensor([1.0, float("-inf")])])
def test_the_first_number_that_is_not_finite_is_named(bad: float | torch.Tensor) -> None:
    with pytest.raises(Diverged, match="step 7: the query loss is not finite") as stopped:
        require_finite(7, {"support loss": [0.1], "query loss": [0.5, bad], "reward": float("nan")})
    assert (stopped.value.step, stopped.value.term) == (7, "query loss")


def test_the_exception_passes_between_processes() -> None:
    again = pickle.loads(pickle.dumps(Diverged(2, "reward")))
    assert (again.step, again.term, str(again)) == (2, "reward", "step 2: the reward is not finite")


@pytest.mark.parametrize("learner", sorted(LEARNERS))
def test_every_learner_resumes_to_the_byte_also_between_two_outer_steps(
    make_world: Callable[..., World], tmp_path: Path, learner: str
) -> None:
    world = make_world()
    update = {"learner": learner, "tasks_per_step": 3, "steps": 7, "average": 0.5}
    settings = SETTINGS.model_copy(update=update)
    whole = [(state.tensors(), event) for state, event in world.steps(settings)]
    for done in (1, 3, 5):
        path = tmp_path / f"{done}.safetensors"
        save_file(whole[done - 1][0], path)
        rest = list(world.steps(settings, state=MetaState.from_tensors(done, load_file(path))))
        assert same_bytes(rest[-1][0].tensors(), whole[-1][0])
        assert [event for _, event in rest] == [event for _, event in whole[done:]]


def test_meta_sgd_s_rates_are_learned_saved_and_no_part_of_phi(make_world: Callable[..., World]) -> None:
    settings = SETTINGS.model_copy(update={"learner": "meta-sgd", "meta_params_lr": 0.05})
    world = make_world()
    begin, end = world.begin(0, settings), world.run(settings)
    assert end.phi.keys() == begin.phi.keys() == begin.meta_params.keys()
    assert all(torch.equal(c, torch.ones_like(c)) for c in begin.meta_params.values())
    moved = torch.cat([(end.meta_params[n] - 1).abs().reshape(-1) for n in end.meta_params])
    assert 0.05 < float(moved.max()) < 0.5, "a few of Adam's steps of at most 0.05"
    assert any(key.startswith("meta_params/") for key in end.tensors())


def test_the_state_before_the_first_step_can_be_saved(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    begin = make_world().begin()
    save_file(begin.tensors(), tmp_path / "begin.safetensors")
    assert same_bytes(load_file(tmp_path / "begin.safetensors"), begin.tensors())


def test_the_mean_of_several_meta_gradients_makes_one_outer_step(make_world: Callable[..., World]) -> None:
    settings = SETTINGS.model_copy(update={"steps": 5, "tasks_per_step": 2, "outer_lr": 0.1})
    world = make_world(Uniform(3))
    begin = world.begin(0, settings)
    states, meta_grads = [begin], []
    for step, (state, event) in enumerate(world.steps(settings)):
        source = world.episodes(settings, 0).sources.index(event["source"])
        episode = world.episodes(settings, 0).sample(step, source)
        losses = losses_of(world.model, episode, 0.0)
        meta_grads.append(make_learner(settings).adapt(losses, states[-1].phi, {}).meta_grad)
        states.append(state)
    assert [same_bytes(a.phi, b.phi) for a, b in pairwise(states)] == [True, False, True, False, False]
    phi, moments = begin.phi, begin.adam
    for step, batch in ((1, meta_grads[:2]), (3, meta_grads[2:4]), (4, meta_grads[4:])):
        mean = {n: torch.stack([d[n] for d in batch]).mean(0) for n in phi}
        phi, moments = Adam().update(mean, moments, phi, 0.1 * schedule(step, 5, settings.warmup))
    assert all(torch.allclose(states[-1].phi[n], phi[n], atol=1e-6) for n in phi)


def test_a_meta_gradient_that_is_not_finite_stops(make_world: Callable[..., World]) -> None:
    world = make_world()
    state = world.begin()
    meta_grad = {n: torch.full_like(p, float("nan")) for n, p in state.phi.items()}
    result = EpisodeResult(meta_grad, state.phi, [1.0], 1.0, {})
    with pytest.raises(Diverged, match="meta-gradient"):
        world.trainer().outer_step(state, result)


def test_the_loss_falls(make_world: Callable[..., World]) -> None:
    settings = SETTINGS.model_copy(update={"steps": 80, "support": 12, "query": 12})
    losses = [event["query_loss"] for _, event in make_world(negatives=0.0).steps(settings)]
    assert sum(losses[-15:]) < 0.8 * sum(losses[:15])


@pytest.mark.parametrize("learner", sorted(set(LEARNERS) - FIXED_ORDER))
def test_the_reward_is_what_the_episode_saved_on_one_batch_in_float32_before_the_outer_update(
    make_world: Callable[..., World], toy_model: Callable[..., ChoiceModel], learner: str
) -> None:
    world = make_world(dtype=torch.bfloat16)
    settings = SETTINGS.model_copy(update={"learner": learner, "inner_steps": 2})
    exact, episodes, before = toy_model(), world.episodes(settings, 0), world.begin(0, settings)
    rewards, coarse = [], []
    for step, (after, event) in enumerate(world.steps(settings)):
        episode = episodes.sample(step, episodes.sources.index(event["source"]))
        losses = losses_of(world.model, episode, 0.0)
        adapted = make_learner(settings).adapt(losses, before.phi, before.meta_params)
        target = episodes.reward_batch(step)
        assert event["reward"] == drop(exact, before.phi, adapted.phi, target)
        rewards.append(event["reward"])
        coarse.append(drop(world.model, before.phi, adapted.phi, target))
        before = after
    assert len(rewards) == settings.steps
    assert any(rewards)
    assert rewards != coarse, "bfloat16 would have shown"


def test_at_first_all_sources_can_be_rewarded(make_world: Callable[..., World]) -> None:
    """A warm start: rewards of all three sources in the first steps, then of the drawn one."""
    world = make_world()
    schedule = RewardSchedule("loss-drop", of_all=4)
    trainer = replace(world.trainer(), rewards=schedule)
    events = [event for _, event in trainer.train(world.begin())]
    assert [len(e.get("rewards", "1")) for e in events] == [3] * 4 + [1] * (len(events) - 4)
    assert all(e["rewards"][e["source"]] == e["reward"] for e in events[:4])


@torch.no_grad()
def drop(model: ChoiceModel, phi: dict[str, Tensor], adapted: dict[str, Tensor], batch: Batch) -> float:
    """What rewards look at, before and after."""
    return float(model.association(phi, batch)) - float(model.association(adapted, batch))


def test_the_outer_update_and_the_sampler_use_the_episode(make_world: Callable[..., World]) -> None:
    """One step by hand."""
    world = make_world()
    begin = world.begin()
    after, event = next(world.steps(state=begin))

    source = world.episodes(SETTINGS, 0).sources.index(event["source"])
    told = Feedback(
        source, world.sampler.probabilities(begin.sampler), {source: event["reward"]}, event["support_loss"]
    )
    assert same_bytes(after.sampler, world.sampler.update(begin.sampler, told))
    moved = [n for n, p in begin.phi.items() if not torch.equal(p, after.phi[n])]
    # Adam's first step is the learning rate in every coordinate that has a gradient; warm-up ends at once
    furthest = max(float((after.phi[n] - begin.phi[n]).abs().max()) for n in moved)
    assert furthest == pytest.approx(0.01, rel=1e-3)
    assert "scorer" in moved
    assert after.step == 1


def test_a_step_leaves_the_state_alone(make_world: Callable[..., World]) -> None:
    world = make_world()
    state = world.run(SETTINGS.model_copy(update={"steps": 4}))
    before = {n: t.clone() for n, t in state.tensors().items()}

    world.trainer().step(state)

    assert same_bytes(state.tensors(), before)


@pytest.mark.parametrize("kind", ["reinforce", "uniform"])
def test_resuming_at_any_step_gives_the_same_bytes(
    make_world: Callable[..., World], tmp_path: Path, kind: str
) -> None:
    world = make_world(Uniform(3) if kind == "uniform" else None)
    settings = SETTINGS.model_copy(update={"average": 0.5, "alignment": 0.3, "pairs": 4})
    whole = world.run(settings).tensors()
    events = [json.dumps(event) for _, event in world.steps(settings)]
    for state, _ in world.steps(settings):
        path = tmp_path / f"{state.step}.safetensors"
        save_file(state.tensors(), path)
        resumed = MetaState.from_tensors(state.step, load_file(path))
        rest = list(world.steps(settings, state=resumed))
        end = rest[-1][0] if rest else resumed
        assert same_bytes(end.tensors(), whole), f"resumed after step {state.step}"
        assert [json.dumps(event) for _, event in rest] == events[state.step :]


def test_a_seed_decides_everything(make_world: Callable[..., World]) -> None:
    one, again, other = (make_world().run(seed=seed).tensors() for seed in (0, 0, 1))
    assert same_bytes(one, again)
    assert not torch.equal(one["phi/scorer"], other["phi/scorer"])


def test_the_purpose_keeps_stages_apart(make_world: Callable[..., World]) -> None:
    world = make_world(Uniform(3))
    begin = world.begin()
    drawn = [
        [e["source"] for _, e in replace(world.trainer(), purpose=p).train(begin)] for p in ("ctml", "clml")
    ]
    assert drawn[0] != drawn[1]


def test_sources_are_drawn_with_the_sampler_s_probabilities(make_world: Callable[..., World]) -> None:
    class Stubborn(Uniform):
        def probabilities(self, state: dict[str, Tensor]) -> Any:
            return super().probabilities(state) * [0.0, 0.0, 3.0]

    events = [event for _, event in make_world(Stubborn(3)).steps()]

    assert {event["source"] for event in events} == {"three"}
    assert events[0]["probabilities"] == {"one": 0.0, "two": 0.0, "three": 1.0}
    assert all(event["reward"] is None for event in events)


def test_an_episode_without_a_sampled_source_neither_pays_nor_moves_the_sampler(
    english: English,
    toy_store: TrunkStore,
    toy_task: Callable[..., TaskData],
    toy_model: Callable[..., ChoiceModel],
) -> None:
    settings = Clml(steps=12, support=4, query=4, reward=4, cross_task=0.5)
    languages = {lang: toy_task("target", lang) for lang in ("sw", "th")}
    batches = BatchSampler(toy_store, 0, "clml")
    episodes = CrossLingualEpisodes(english, languages, languages, english.reward, {}, settings, batches)
    model, sampler = toy_model(), Reinforce(3, hidden=4, window=3)
    trainer = MetaTrainer(model, episodes, sampler, settings, 0, "clml")
    state = trainer.start(model.params(), sampler.init(0))
    kinds = set()
    for after, event in trainer.train(state):
        kinds.add(event["kind"])
        assert (event["reward"] is None) == (event["kind"] == "cross-lingual")
        assert same_bytes(after.sampler, state.sampler) == (event["kind"] == "cross-lingual")
        state = after
    assert kinds == {"cross-task", "cross-lingual"}


def test_without_steps_there_is_nothing_to_yield(make_world: Callable[..., World]) -> None:
    assert list(make_world().steps(SETTINGS.model_copy(update={"steps": 0}))) == []


def test_the_support_loss_after_the_inner_loop_is_looked_at_now_and_then(
    make_world: Callable[..., World],
) -> None:
    settings = SETTINGS.model_copy(update={"steps": 4, "inner_steps": 2, "health_every": 3})
    events = [event for _, event in make_world().steps(settings)]
    assert [len(event["inner_losses"]) for event in events] == [3, 2, 2, 3]
    assert all(event["support_loss"] == event["inner_losses"][0] for event in events)


def test_sequential_transfer_takes_the_sources_in_their_order(make_world: Callable[..., World]) -> None:
    settings = SETTINGS.model_copy(update={"learner": "sequential", "steps": 6})
    world = make_world()
    events = list(world.steps(settings))
    assert [e["source"] for _, e in events] == ["one", "one", "two", "two", "three", "three"]
    assert all(e["reward"] is None for _, e in events)
    assert same_bytes(events[-1][0].sampler, world.sampler.init(0))


@pytest.mark.parametrize("bad", ["support", "query", "reward"])
def test_a_number_that_is_not_finite_stops_before_the_state_is_replaced(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    world = make_world()
    episodes = world.episodes(SETTINGS, 0)
    steps = world.steps()
    good, _ = next(steps)
    kept = {n: t.clone() for n, t in good.tensors().items()}
    if bad == "reward":
        monkeypatch.setattr(type(world.model), "association", lambda *args: torch.tensor(float("nan")))
        term = "reward"
    else:
        drawn = episodes.sample(1, next_source(world, good, episodes))
        tokens = getattr(drawn, bad).tokens
        plain = world.model.loss

        def loss(phi: Any, batch: Batch) -> Tensor:
            return plain(phi, batch) * (float("inf") if batch.tokens == tokens else 1.0)

        monkeypatch.setattr(world.model, "loss", loss)
        term = f"{bad} loss"
    with pytest.raises(Diverged, match=f"step 1: the {term} is not finite") as stopped:
        next(steps)
    assert (stopped.value.step, stopped.value.term) == (1, term)
    assert same_bytes(good.tensors(), kept)


def next_source(world: World, state: MetaState, episodes: Episodes) -> int:
    probabilities = world.sampler.probabilities(state.sampler)
    return int(rng(0, "ctml/source", state.step).choice(len(probabilities), p=probabilities))


def test_checkpoints_of_older_versions_are_read() -> None:
    one = torch.ones(1)
    old = {"own/a": one, "own_adam/m.a": one, "gathered/own/a": one, "gathered/phi/a": one, "phi/a": one}
    assert with_present_names(old).keys() == {
        "meta_params/a",
        "meta_adam/m.a",
        "accumulated_grads/meta_params/a",
        "accumulated_grads/phi/a",
        "phi/a",
    }
