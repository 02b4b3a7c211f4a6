"""The meta-training loop: sample a source, adapt on its support, learn from the query, pay the sampler."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from metaxcr.config import Meta
from metaxcr.meta.inner import Objective, Params
from metaxcr.meta.learners import LEARNERS
from metaxcr.meta.optim import Adam, Averager, schedule
from metaxcr.sampling.base import Sampler
from metaxcr.scoring.batch import Batch, Parallel
from metaxcr.scoring.model import ChoiceModel
from metaxcr.tasks.seeding import rng

State = dict[str, Tensor]


@dataclass(frozen=True)
class Episode:
    """What one inner/outer update learns from.

    Attributes:
        support: B_s.
        query: B_q.
        parallel: Parallel sentences for the alignment term, or None.
        about: What the events file says about the episode.
    """

    support: Batch
    query: Batch
    parallel: Parallel | None = None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Curriculum:
    """Where episodes come from. Draws depend on the seed, the purpose and the step alone.

    Attributes:
        sources: Names of the source tasks that the sampler chooses from.
        uses_source: Whether the episode of a step takes its support from a sampled source at all.
        episode: (step, source) -> the episode.
        reward_batch: step -> B_T.
    """

    sources: list[str]
    uses_source: Callable[[int], bool]
    episode: Callable[[int, int], Episode]
    reward_batch: Callable[[int], Batch]


@dataclass(frozen=True)
class MetaState:
    """Everything the loop remembers between two steps."""

    step: int
    phi: Params
    adam: State
    average: State
    sampler: State

    def tensors(self) -> State:
        """Flatten for a checkpoint (the step is kept beside it)."""
        parts = {"phi": self.phi, "adam": self.adam, "average": self.average, "sampler": self.sampler}
        return {f"{part}/{name}": t for part, tensors in parts.items() for name, t in tensors.items()}

    @staticmethod
    def from_tensors(step: int, tensors: State) -> "MetaState":
        """The inverse of :meth:`tensors`.

        Tensors are copied: one that is mapped from a file need not be aligned in memory, and then the last
        bits of what is computed from it may differ.
        """
        parts: dict[str, State] = {"phi": {}, "adam": {}, "average": {}, "sampler": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor.clone()
        return MetaState(step, **parts)


def start(phi: Params, sampler_state: State) -> MetaState:
    """The state before the first step."""
    return MetaState(0, phi, Adam().init(phi), Averager.init(), sampler_state)


def meta_train(
    model: ChoiceModel,
    curriculum: Curriculum,
    sampler: Sampler,
    settings: Meta,
    state: MetaState,
    seed: int,
    purpose: str,
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

    Yields:
        After every step the new state and a dict of what happened, with the token-passes it took.

    Source:
        MetaXCR (arXiv 2503.06531); reward as in Meta-RTL (arXiv 2409.19075).
    """
    for _ in range(state.step, settings.steps):
        state, event = meta_step(model, curriculum, sampler, settings, state, seed, purpose)
        yield state, event


def meta_step(
    model: ChoiceModel,
    curriculum: Curriculum,
    sampler: Sampler,
    settings: Meta,
    state: MetaState,
    seed: int,
    purpose: str,
) -> tuple[MetaState, dict[str, Any]]:
    """One episode, one outer update and one payment to the sampler; arguments as for :func:`meta_train`."""
    t, phi, psi = state.step, state.phi, state.sampler
    learner, adam, averager = LEARNERS[settings.learner], Adam(), Averager(settings.steps, settings.average)

    # i ~ pi_psi(. | state_t)
    sampled = curriculum.uses_source(t)
    probabilities = sampler.probabilities(psi)
    i = int(rng(seed, f"{purpose}/source", t).choice(len(probabilities), p=probabilities)) if sampled else -1

    # phi' = phi - alpha * grad L(B_s; phi), K times; direction from L(B_q; phi')
    episode = curriculum.episode(t, i)
    adapted = learner(
        lambda p: model.loss(p, episode.support),
        query_objective(model, episode, settings.alignment),
        phi,
        settings.inner_steps,
        settings.inner_rate,
    )

    # r = L(B_T; phi) - L(B_T; phi'), the same B_T, float32, before the outer update
    reward, reward_tokens = None, 0
    if sampled and sampler.wants_reward:
        target = curriculum.reward_batch(t)
        before, after = (model.question_loss(p, target, torch.float32) for p in (phi, adapted.phi))
        reward, reward_tokens = before - after, 2 * target.tokens
    psi = sampler.update(psi, i, reward or 0.0) if sampled else psi

    # phi <- outer optimiser along the direction
    rate = settings.outer_rate * schedule(t, settings.steps, settings.warmup)
    phi, moments = adam.update(adapted.direction, state.adam, phi, rate)
    average = averager.update(state.average, phi, t)
    event = {
        **episode.about,
        "probabilities": dict(zip(curriculum.sources, probabilities.round(6).tolist(), strict=True)),
        "support_loss": adapted.support_loss,
        "query_loss": adapted.query_loss,
        "reward": reward,
        "token_passes": token_passes(episode, settings) + reward_tokens,
    }
    return MetaState(t + 1, phi, moments, average, psi), event


def query_objective(model: ChoiceModel, episode: Episode, weight: float) -> Objective:
    """L(B_q; .); where the episode has parallel sentences its weighted mean with the alignment term."""
    parallel = episode.parallel
    if parallel is None or not weight:
        return lambda phi: model.loss(phi, episode.query)
    return lambda phi: (
        (model.loss(phi, episode.query) + weight * model.alignment(phi, parallel)) / (1 + weight)
    )


def token_passes(episode: Episode, settings: Meta) -> int:
    """Cost of an episode's updates: a token's forward pass counts 1, its backward pass 2."""
    parallel = sum(len(trunk.hidden) for trunk, _ in episode.parallel) if episode.parallel else 0
    return 3 * (settings.inner_steps * episode.support.tokens + episode.query.tokens + parallel)
