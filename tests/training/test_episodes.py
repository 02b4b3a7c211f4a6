from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.training.world import FIXED_ORDER, SETTINGS, World, same_bytes

from metaxcr.meta.learners import LEARNERS, make_learner
from metaxcr.sampling.fixed import Uniform
from metaxcr.training.episodes import Episode, losses_of


def health_tokens(episode: Episode, learner: str) -> int:
    """Support after the inner loop; with an inner loop the query before and after it, and plain gradients."""
    total = episode.support.tokens
    if learner not in ("multi-task", "sequential"):
        parts = {"reptile": ["support"], "x-metra-ada": ["target_query"]}
        parts["mmt"] = ["target_support", "target_query"]
        tokens = episode.tokens
        total += 5 * tokens["query"] + 3 * sum(tokens[part] for part in parts.get(learner, []))
    if episode.parallel is not None:
        total += 3 * (episode.query.tokens + episode.tokens["alignment"])
    return total


@pytest.mark.parametrize("learner", sorted(LEARNERS))
@pytest.mark.parametrize(("inner_steps", "alignment", "rewarded"), [(1, 0.0, True), (3, 0.2, False)])
def test_token_passes_are_counted(
    make_world: Callable[..., World], learner: str, inner_steps: int, alignment: float, rewarded: bool
) -> None:
    world = make_world(None if rewarded else Uniform(3))
    update = {"learner": learner, "inner_steps": inner_steps, "alignment": alignment, "pairs": 3, "steps": 2}
    settings = SETTINGS.model_copy(update={**update, "health_every": 2})
    episodes = world.episodes(settings, 0)
    for step, (_, event) in enumerate(world.steps(settings)):
        source = episodes.sources.index(event["source"])
        episode, per_token = episodes.sample(step, source), world.adapt(settings, step, source).passes
        batches = {"support": episode.support, "query": episode.query}
        if episode.target:
            batches |= dict(zip(("target_support", "target_query"), episode.target, strict=True))
        expected = {part: n * batches[part].tokens for part, n in per_token.items()}
        if alignment:
            assert episode.parallel is not None
            expected["alignment"] = 3 * sum(int(trunk.lengths.sum()) for trunk, _ in episode.parallel)
        if rewarded and learner not in FIXED_ORDER:
            expected["reward"] = 2 * episodes.reward_batch(step).tokens
        if step == 0:
            expected["health"] = health_tokens(episode, learner)
        assert event["passes"] == expected
        assert event["token_passes"] == sum(expected.values())


def test_alignment_enters_the_outer_objective_alone(make_world: Callable[..., World]) -> None:
    world = make_world(Uniform(3))
    with_weight = SETTINGS.model_copy(update={"alignment": 0.5, "pairs": 4, "steps": 1})
    (plain, one), (aligned, two) = (next(world.steps(s)) for s in (SETTINGS, with_weight))
    episode = world.episodes(with_weight, 0).sample(0, ["one", "two", "three"].index(two["source"]))
    adapted = make_learner(SETTINGS).adapt(losses_of(world.model, episode, 0.0), world.begin().phi, {})

    assert one["support_loss"] == two["support_loss"]
    name = "m.adapted.task.2.up.weight"
    assert not torch.allclose(plain.adam[name], aligned.adam[name])
    assert episode.parallel is not None
    alignment = float(world.model.alignment(adapted.phi, episode.parallel))
    assert two["query_loss"] == pytest.approx((one["query_loss"] + 0.5 * alignment) / 1.5, abs=1e-5)


def test_without_parallel_text_the_alignment_weight_changes_nothing(make_world: Callable[..., World]) -> None:
    world = make_world(Uniform(3))
    both = [SETTINGS.model_copy(update={"alignment": weight}) for weight in (0.5, 0.0)]
    trainers = [replace(world.trainer(s), episodes=replace(world.episodes(s, 0), parallel={})) for s in both]
    (weighted, _), (plain, _) = (trainer.step(world.begin()) for trainer in trainers)
    assert same_bytes(weighted.phi, plain.phi)


def test_target_batches_have_losses_of_their_own(make_world: Callable[..., World]) -> None:
    settings = SETTINGS.model_copy(update={"learner": "x-metra-ada"})
    world = make_world()
    episode, phi = world.episodes(settings, 0).sample(0, 1), world.begin().phi
    parts: list[str] = []
    losses = losses_of(world.model, episode, 0.0, parts.append)
    assert episode.target is not None
    assert losses.target is not None
    for objective, batch in zip(losses.target, episode.target, strict=True):
        assert torch.equal(objective(phi), world.model.loss(phi, batch))
    assert parts == ["target", "target"]
    plain = world.episodes(SETTINGS, 0).sample(0, 1)
    assert losses_of(world.model, plain, 0.0).target is None
