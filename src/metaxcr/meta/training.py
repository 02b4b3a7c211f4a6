"""The meta-training loop: sample a source, adapt on its support, learn from the query, pay the sampler."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from metaxcr.config import Meta
from metaxcr.meta.diverged import require_finite
from metaxcr.meta.episode import Clock, Curriculum, evaluate, losses_of, token_passes
from metaxcr.meta.inner import Params
from metaxcr.meta.learners import make_learner
from metaxcr.meta.state import MetaState, State, outer_update
from metaxcr.sampling.base import Feedback, Sampler
from metaxcr.sampling.rewards import Pay
from metaxcr.scoring.model import ChoiceModel
from metaxcr.tasks.seeding import rng


def meta_train(
    model: ChoiceModel,
    curriculum: Curriculum,
    sampler: Sampler,
    settings: Meta,
    state: MetaState,
    seed: int,
    purpose: str,
    pay: Pay = Pay(),  # noqa: B008  (immutable)
    clock: Clock = lambda part: None,
) -> Iterator[tuple[MetaState, dict[str, Any]]]:
    """Run the loop from ``state`` to ``settings.steps``.

    Args:
        model: Scores batches as a pure function of phi.
        curriculum: Draws episodes and reward batches.
        sampler: Picks the source task.
        settings: Steps, rates, batch sizes.
        state: From :func:`start` or a checkpoint.
        seed: Of the run.
        purpose: Keeps the random numbers of stages apart.
        pay: What the sampler is paid for.
        clock: Told the part of a step that begins, for accounts of time.

    Yields:
        After every episode the new state and a dict of what happened, with the token-passes it took.

    Raises:
        Diverged: A loss, a reward or a direction is not finite. The last state yielded is still good.

    Source:
        MetaXCR (arXiv 2503.06531); reward as in Meta-RTL (arXiv 2409.19075).
    """
    for _ in range(state.step, settings.steps):
        state, event = meta_step(model, curriculum, sampler, settings, state, seed, purpose, pay, clock)
        yield state, event


def meta_step(
    model: ChoiceModel,
    curriculum: Curriculum,
    sampler: Sampler,
    settings: Meta,
    state: MetaState,
    seed: int,
    purpose: str,
    pay: Pay = Pay(),  # noqa: B008  (immutable)
    clock: Clock = lambda part: None,
) -> tuple[MetaState, dict[str, Any]]:
    """One episode, its payment to the sampler, and its outer update; arguments as for :func:`meta_train`."""
    t, phi, psi, learner = state.step, state.phi, state.sampler, make_learner(settings)

    # i ~ pi_psi(. | state_t), unless the method has an order of its own
    clock("sampler")
    probabilities = sampler.probabilities(psi)
    i = learner.source(t, settings.steps, len(probabilities)) if curriculum.uses_source(t) else -1
    sampled = i is None
    if i is None:
        i = int(rng(seed, f"{purpose}/source", t).choice(len(probabilities), p=probabilities))

    # phi' = phi - alpha * grad L(B_s; phi), K times; direction from L(B_q; phi')
    clock("batches")
    episode = curriculum.episode(t, i)
    aligned: dict[str, float | str] = {}
    losses = losses_of(model, episode, settings.alignment, clock, aligned)
    adapted = learner.adapt(losses, phi, state.own)
    passes, inner_losses = token_passes(episode, adapted), list(adapted.inner_losses)
    if t % settings.health_every == 0:  # one look at where the last inner step led to
        clock("health")
        inner_losses.append(evaluate(lambda p: model.loss(p, episode.support), adapted.phi))
        passes["health"] = episode.support.tokens
    require_finite(t, {"support loss": inner_losses, "query loss": adapted.query_loss})

    # r = L(B_T; phi) - L(B_T; phi'), the same B_T, float32, before the outer update
    rewards: dict[int, float] = {}
    look = state.reward
    if sampled and sampler.wants_reward and pay.due(t):
        clock("reward")
        # an arm of probability 0 is not on offer in this episode
        others = [j for j, p in enumerate(probabilities) if p > 0 and j != i] if pay.of_all else []
        drawn = {i: adapted.phi}
        rewards, paid, look = measure_rewards(model, curriculum, settings, state, pay, drawn, others)
        passes |= paid
        require_finite(t, {"reward": list(rewards.values())})
    if sampled:
        clock("sampler")
        psi = sampler.update(psi, Feedback(i, probabilities, rewards, adapted.support_loss))

    # phi <- outer optimiser along the mean direction of the last M episodes
    clock("outer")
    state = outer_update(replace(state, sampler=psi, reward=look), adapted, settings)
    event = {
        **episode.about,
        "probabilities": dict(zip(curriculum.sources, probabilities.round(6).tolist(), strict=True)),
        "support_loss": adapted.support_loss,
        "inner_losses": inner_losses,
        "query_loss": adapted.query_loss,
        **aligned,
        **adapted.notes,
        "reward": rewards.get(i),
        **({"rewards": {curriculum.sources[j]: r for j, r in sorted(rewards.items())}} if pay.of_all else {}),
        "passes": passes,
        "token_passes": sum(passes.values()),
    }
    return state, event


def measure_rewards(
    model: ChoiceModel,
    curriculum: Curriculum,
    settings: Meta,
    state: MetaState,
    pay: Pay,
    drawn: dict[int, Params],
    others: list[int],
) -> tuple[dict[int, float], dict[str, int], State]:
    """Rewards by source, their token-passes, and the look; other sources first adapt as the drawn one did.

    An episode of each of them is adapted to as a whole, because only the learner knows its inner loop.
    """
    candidates, passes, learner = dict(drawn), 0, make_learner(settings)
    for j in others:
        episode = replace(curriculum.episode(state.step, j), parallel=None)
        result = learner.adapt(losses_of(model, episode, 0.0), state.phi, state.own)
        candidates[j] = result.phi
        passes += sum(token_passes(episode, result).values())
    t = state.step
    rewards, scored, look = pay.measure(
        model, lambda: curriculum.reward_batch(t), state.phi, candidates, state.reward, t, settings.steps / 2
    )
    return rewards, {"reward": scored} | ({"reward_support": passes} if passes else {}), look
