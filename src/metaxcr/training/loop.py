"""Training that left the finite numbers.

What the meta-training loop remembers between two episodes, and its outer update.

The meta-training loop: sample a source, adapt on its support, learn from the query, pay the sampler.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from metaxcr.autodiff import Params
from metaxcr.config.schema import Meta
from metaxcr.hardware import CPU
from metaxcr.meta.learners import make_learner
from metaxcr.meta.learners.base import EpisodeResult
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.optim import Adam, Averager, schedule
from metaxcr.sampling.rewards import RewardSchedule
from metaxcr.sampling.sampler import Feedback, Sampler
from metaxcr.seeding import rng
from metaxcr.training.episodes import Clock, Curriculum, evaluate, losses_of, token_passes

Value = float | Tensor


class Diverged(ArithmeticError):
    """A number of an episode is infinite or NaN; the state before the episode is still good.

    Attributes:
        step: The episode, 0-based.
        term: Which number: "support loss", "query loss", "reward", "direction", "phi".
    """

    def __init__(self, step: int, term: str) -> None:
        super().__init__(f"step {step}: the {term} is not finite")
        self.step, self.term = step, term

    def __reduce__(self) -> tuple[type["Diverged"], tuple[int, str]]:
        """Pickle by the arguments, so that the exception passes between processes."""
        return Diverged, (self.step, self.term)


def require_finite(step: int, terms: Mapping[str, Value | Sequence[Value]]) -> None:
    """Check numbers by name.

    Args:
        step: The episode, for the message.
        terms: Name -> a number, a tensor, or several of them.

    Raises:
        Diverged: One of them is not finite; the first one is named.
    """
    for term, values in terms.items():
        for value in values if isinstance(values, Sequence) else [values]:
            finite = bool(torch.isfinite(value).all()) if isinstance(value, Tensor) else math.isfinite(value)
            if not finite:
                raise Diverged(step, term)


State = dict[str, Tensor]


@dataclass(frozen=True)
class MetaState:
    """Everything the loop remembers between two episodes.

    Attributes:
        step: Episodes done.
        phi: Task adapter and scorer.
        adam: Of the outer optimiser for phi.
        average: Of the last part of training.
        sampler: Of the sampler.
        own: The learner's own meta-parameters (Meta-SGD's rates); no part of the result.
        own_adam: Of the outer optimiser for them.
        gathered: Sum of the directions since the last outer update, of ``phi`` and ``own`` by prefix.
        reward: The last look at target data, where it serves several steps.
    """

    step: int
    phi: Params
    adam: State
    average: State
    sampler: State
    own: Params = field(default_factory=dict)
    own_adam: State = field(default_factory=dict)
    gathered: Params = field(default_factory=dict)
    reward: State = field(default_factory=dict)

    def tensors(self) -> State:
        """Flatten for a checkpoint (the step is kept beside it)."""
        return {f"{part}/{name}": t for part in PARTS for name, t in getattr(self, part).items()}

    def later_tensors(self, found: State) -> State:
        """What :meth:`tensors` has beside these once steps were done, for checking a checkpoint.

        Args:
            found: A checkpoint's tensors; the last look at target data may be of any shape.
        """
        own = {f"own/{name}": tensor for name, tensor in self.own.items()}
        gathered = {f"phi/{name}": tensor for name, tensor in self.phi.items()} | own
        later = {f"gathered/{name}": tensor for name, tensor in gathered.items()}
        later |= {f"average/mean.{name}": tensor for name, tensor in self.phi.items()}
        return later | {name: tensor for name, tensor in found.items() if name.startswith("reward/")}

    @staticmethod
    def from_tensors(step: int, tensors: State, device: torch.device = CPU) -> "MetaState":
        """The inverse of :meth:`tensors`.

        The sampler's state and single numbers stay on the processor, the rest goes to ``device``.

        Tensors are copied: one that is mapped from a file need not be aligned in memory, and then the last
        bits of what is computed from it may differ.
        """
        parts: dict[str, State] = {part: {} for part in PARTS}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            place = CPU if part == "sampler" or not tensor.dim() else device
            parts[part][name] = tensor.clone().to(place)
        return MetaState(step, **parts)


PARTS = [f.name for f in fields(MetaState) if f.name != "step"]


def start(phi: Params, sampler_state: State, settings: Meta) -> MetaState:
    """The state before the first step."""
    own = make_learner(settings).init(phi)
    adam, own_adam = (Adam().init(params) if params else {} for params in (phi, own))
    return MetaState(0, phi, adam, Averager.init(), sampler_state, own, own_adam)


def outer_update(state: MetaState, adapted: EpisodeResult, settings: Meta) -> MetaState:
    """Gather a direction; every ``tasks_per_step`` episodes, and at the end, move phi along their mean."""
    t, size = state.step, settings.tasks_per_step
    require_finite(t, {"direction": [*adapted.direction.values(), *adapted.own.values()]})
    parts = {"phi": adapted.direction, "own": adapted.own}
    new = {f"{part}/{n}": g for part, direction in parts.items() for n, g in direction.items()}
    gathered = {n: g + state.gathered[n] if state.gathered else g for n, g in new.items()}
    phi, moments, own, own_moments = state.phi, state.adam, state.own, state.own_adam
    if (t + 1) % size == 0 or t + 1 == settings.steps:
        adam, share, count = Adam(), schedule(t, settings.steps, settings.warmup), t % size + 1
        mean = {n: g / count for n, g in gathered.items()}
        phi, moments = adam.update(_part(mean, "phi/"), moments, phi, settings.outer_rate * share)
        if own:
            own, own_moments = adam.update(_part(mean, "own/"), own_moments, own, settings.own_rate * share)
        require_finite(t, {"phi": list(phi.values())})
        gathered = {}
    average = Averager(settings.steps, settings.average).update(state.average, phi, t)
    state = replace(state, step=t + 1, phi=phi, adam=moments, average=average, gathered=gathered)
    return replace(state, own=own, own_adam=own_moments)


def _part(tensors: Params, prefix: str) -> Params:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def meta_train(
    model: ChoiceModel,
    curriculum: Curriculum,
    sampler: Sampler,
    settings: Meta,
    state: MetaState,
    seed: int,
    purpose: str,
    pay: RewardSchedule = RewardSchedule(),  # noqa: B008  (immutable)
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
    pay: RewardSchedule = RewardSchedule(),  # noqa: B008  (immutable)
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
    pay: RewardSchedule,
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
