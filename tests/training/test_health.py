"""What the health of an episode reports, against plain computations and cases with a known answer."""

from collections.abc import Callable

import pytest
import torch
from tests.training.world import SETTINGS, World

from metaxcr.autodiff import Params, value_and_grad
from metaxcr.config.schema import ImamlSettings
from metaxcr.meta.learners import LEARNERS, make_learner
from metaxcr.sampling.fixed import Uniform
from metaxcr.training.episodes import losses_of
from metaxcr.training.health import inner_loop_health

WITHOUT_INNER_LOOP = {"multi-task", "sequential"}


def flat(params: Params) -> torch.Tensor:
    return torch.cat([params[n].flatten().double() for n in sorted(params)])


def look(world: World, update: dict[str, object]) -> dict[str, float]:
    settings = SETTINGS.model_copy(update={"health_every": 1, "steps": 1, **update})
    _, event = next(world.steps(settings))
    health = event["health"]
    assert isinstance(health, dict)
    return health


@pytest.mark.parametrize("learner", sorted(LEARNERS))
def test_a_small_inner_rate_is_plain_training(make_world: Callable[..., World], learner: str) -> None:
    """For every learner the meta-gradient tends to the plain gradient that it names, and leaves it after."""
    update = {"learner": learner, "inner_steps": 3, "imaml": ImamlSettings(strength=1e3)}
    tiny, large = (look(make_world(Uniform(3)), update | {"inner_lr": lr}) for lr in (1e-4, 3.0))
    if learner in WITHOUT_INNER_LOOP:
        assert "plain_cosine" not in tiny and "moved" not in tiny
        return
    assert tiny["plain_cosine"] > 0.9999
    assert large["plain_cosine"] < tiny["plain_cosine"] - 1e-3
    assert 0 < tiny["moved"] < large["moved"]


def test_drops_and_lengths_are_those_of_the_episode(make_world: Callable[..., World]) -> None:
    world = make_world(Uniform(3))
    settings = SETTINGS.model_copy(
        update={
            "health_every": 1,
            "steps": 1,
            "inner_lr": 0.7,
            "inner_steps": 2,
            "alignment": 0.5,
            "pairs": 4,
        }
    )
    _, event = next(world.steps(settings))
    health, phi = event["health"], world.begin().phi
    episodes = world.episodes(settings, 0)
    episode = episodes.sample(0, episodes.sources.index(event["source"]))
    losses = losses_of(world.model, episode, 0.5)
    adapted = make_learner(settings).adapt(losses, phi, {})
    with torch.no_grad():
        for part in ("support", "query"):
            objective = getattr(losses, part)
            drop = float(objective(phi)) - float(objective(adapted.phi))
            assert health[f"{part}_drop"] == pytest.approx(drop, abs=1e-5)
    assert health["moved"] == pytest.approx(float((flat(adapted.phi) - flat(phi)).norm()), rel=1e-4)
    plain = value_and_grad(losses.query, phi)[1]
    cosine = torch.nn.functional.cosine_similarity(flat(plain), flat(adapted.meta_grad), 0)
    assert health["plain_cosine"] == pytest.approx(float(cosine), abs=1e-4)
    pairs = episode.parallel
    assert pairs is not None
    aligned = value_and_grad(lambda p: world.model.alignment(p, pairs), adapted.phi)[1]
    labels = value_and_grad(lambda p: world.model.loss(p, episode.query), adapted.phi)[1]
    ratio = 0.5 * float(flat(aligned).norm() / flat(labels).norm())
    assert health["alignment_ratio"] == pytest.approx(ratio, rel=1e-3)
    assert health["scorer_distance"] == 0.0, "the scorer starts as the identity"


def test_the_distance_of_the_scorer_is_relative(make_world: Callable[..., World]) -> None:
    world = make_world(Uniform(3))
    phi = world.begin().phi
    phi = {**phi, "scorer": 1.5 * phi["scorer"]}
    episode = world.episodes(SETTINGS, 0).sample(0, 0)
    learner = make_learner(SETTINGS)
    result = learner.adapt(losses_of(world.model, episode, 0.0), phi, {})
    health = inner_loop_health(world.model, episode, 0.0, learner, phi, result)
    assert health["scorer_distance"] == pytest.approx(0.5)
    assert "alignment_ratio" not in health
