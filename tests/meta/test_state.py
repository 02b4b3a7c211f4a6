from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from metaxcr.meta.diverged import Diverged
from metaxcr.meta.episode import losses_of
from metaxcr.meta.learners import LEARNERS, Adapted, make_learner
from metaxcr.meta.optim import Adam, schedule
from metaxcr.meta.state import MetaState, outer_update
from metaxcr.sampling import Uniform

from .world import SETTINGS, World, same_bytes


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
    settings = SETTINGS.model_copy(update={"learner": "meta-sgd", "own_rate": 0.05})
    world = make_world()
    begin, end = world.begin(0, settings), world.run(settings)
    assert end.phi.keys() == begin.phi.keys() == begin.own.keys()
    assert all(torch.equal(c, torch.ones_like(c)) for c in begin.own.values())
    moved = torch.cat([(end.own[n] - 1).abs().reshape(-1) for n in end.own])
    assert 0.05 < float(moved.max()) < 0.5, "a few of Adam's steps of at most 0.05"
    assert any(key.startswith("own/") for key in end.tensors())


def test_the_state_before_the_first_step_can_be_saved(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    begin = make_world().begin()
    save_file(begin.tensors(), tmp_path / "begin.safetensors")
    assert same_bytes(load_file(tmp_path / "begin.safetensors"), begin.tensors())


def test_the_mean_of_several_directions_makes_one_outer_step(make_world: Callable[..., World]) -> None:
    settings = SETTINGS.model_copy(update={"steps": 5, "tasks_per_step": 2, "outer_rate": 0.1})
    world = make_world(Uniform(3))
    begin = world.begin(0, settings)
    states, directions = [begin], []
    for step, (state, event) in enumerate(world.steps(settings)):
        source = world.curriculum(settings, 0).sources.index(event["source"])
        episode = world.curriculum(settings, 0).episode(step, source)
        losses = losses_of(world.model, episode, 0.0)
        directions.append(make_learner(settings).adapt(losses, states[-1].phi, {}).direction)
        states.append(state)
    assert [same_bytes(a.phi, b.phi) for a, b in pairwise(states)] == [True, False, True, False, False]
    phi, moments = begin.phi, begin.adam
    for step, batch in ((1, directions[:2]), (3, directions[2:4]), (4, directions[4:])):
        mean = {n: torch.stack([d[n] for d in batch]).mean(0) for n in phi}
        phi, moments = Adam().update(mean, moments, phi, 0.1 * schedule(step, 5, settings.warmup))
    assert all(torch.allclose(states[-1].phi[n], phi[n], atol=1e-6) for n in phi)


def test_a_direction_that_is_not_finite_stops(make_world: Callable[..., World]) -> None:
    state = make_world().begin()
    direction = {n: torch.full_like(p, float("nan")) for n, p in state.phi.items()}
    adapted = Adapted(direction, state.phi, [1.0], 1.0, {})
    with pytest.raises(Diverged, match="direction"):
        outer_update(state, adapted, SETTINGS)
