"""The meta-training loop: sample a source, adapt to its support, learn from the query, reward the sampler."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metaxcr.adapters.mixture import MIXTURE_WEIGHTS
from metaxcr.autodiff import Params
from metaxcr.config.schema import Meta
from metaxcr.hardware import CPU
from metaxcr.meta.learners import make_learner
from metaxcr.meta.learners.base import EpisodeResult, Learner
from metaxcr.model.choice_model import SCORER, ChoiceModel
from metaxcr.optim import Adam, Averager, Optimizer
from metaxcr.sampling.rewards import RewardSchedule
from metaxcr.sampling.sampler import Feedback, Probabilities, Sampler
from metaxcr.seeding import rng
from metaxcr.training.episodes import Episode, Episodes, losses_of, token_passes
from metaxcr.training.health import health_passes, inner_loop_health

State = dict[str, Tensor]
Event = dict[str, Any]  # a line of events.jsonl
NO_SOURCE = -1  # of an episode whose support comes from another language, not from a source


@dataclass(frozen=True)
class MetaState:
    """Everything that the loop remembers between two episodes; a checkpoint holds it.

    Attributes:
        step: Episodes done.
        phi: Task adapter and scorer.
        adam: Moments of phi.
        average: Mean of phi over the last part of training.
        sampler: The sampler's state.
        meta_params: The learner's own meta-parameters (Meta-SGD's inner learning rates).
        meta_adam: Moments of the meta-parameters.
        accumulated_grads: Sum of the meta-gradients since the last outer step, by "phi/" and "meta_params/".
        reward: The target gradient or loss that rewards are measured against, if it serves several steps.
    """

    step: int
    phi: Params
    adam: State
    average: State
    sampler: State
    meta_params: Params = field(default_factory=dict)
    meta_adam: State = field(default_factory=dict)
    accumulated_grads: Params = field(default_factory=dict)
    reward: State = field(default_factory=dict)

    @property
    def result(self) -> Params:
        """Phi, averaged over the last part of training."""
        return Averager.result(self.average, self.phi)

    def tensors(self) -> State:
        """Flatten for a checkpoint (the step is kept beside it)."""
        return {f"{part}/{name}": t for part in PARTS for name, t in getattr(self, part).items()}

    def later_tensors(self, found: State) -> State:
        """Tensors that a checkpoint may hold beside those of the first step; to check a checkpoint's shapes.

        Args:
            found: A checkpoint's tensors; those of ``reward`` may have any shape.
        """
        params = {f"phi/{n}": p for n, p in self.phi.items()}
        params |= {f"meta_params/{n}": p for n, p in self.meta_params.items()}
        later = {f"accumulated_grads/{n}": p for n, p in params.items()}
        later |= {f"average/mean.{n}": p for n, p in self.phi.items()}
        return later | {n: t for n, t in found.items() if n.startswith("reward/")}

    @staticmethod
    def from_tensors(step: int, tensors: State, device: torch.device = CPU) -> "MetaState":
        """The inverse of :meth:`tensors`; the sampler's state and single numbers stay on the processor.

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
RENAMED_PARTS = {"own": "meta_params", "own_adam": "meta_adam", "gathered": "accumulated_grads"}


def with_present_names(tensors: State) -> State:
    """A checkpoint's tensors by the names of today; checkpoints of older versions have other prefixes."""

    def renamed(key: str) -> str:
        part, slash, name = key.partition("/")
        new = RENAMED_PARTS.get(part, part)
        return f"{new}/{renamed(name)}" if part == "gathered" else f"{new}{slash}{name}"

    return {renamed(key): tensor for key, tensor in tensors.items()}


@dataclass(frozen=True)
class MetaTrainer:
    """Meta-training of one stage (CTML or CLML) with one seed.

    The algorithm is in :meth:`step`; the methods below it hold one line of it each, with its bookkeeping.

    Args:
        model: Scores batches as a pure function of phi.
        episodes: Draws episodes and reward batches.
        sampler: Picks the source task of an episode.
        settings: Steps, learning rates, batch sizes.
        seed: Of the run.
        purpose: Keeps the random numbers of stages apart.
        rewards: What the sampler is rewarded for, and when.
        timer: Called with the name of the part of a step that begins.

    Source:
        MetaXCR (arXiv 2503.06531); rewards as in Meta-RTL (arXiv 2409.19075).
    """

    model: ChoiceModel
    episodes: Episodes
    sampler: Sampler
    settings: Meta
    seed: int
    purpose: str
    rewards: RewardSchedule = field(default_factory=RewardSchedule)
    timer: Callable[[str], None] = lambda part: None

    @cached_property
    def learner(self) -> Learner:
        """The learner that the settings name."""
        return make_learner(self.settings)

    @cached_property
    def optimizer(self) -> Optimizer:
        """The outer optimiser of phi."""
        settings = self.settings
        lrs = part_lrs(settings.scorer_lr, settings.mixture_lr)
        return Optimizer(settings.outer_lr, settings.steps, settings.warmup, settings.average, lrs)

    @cached_property
    def meta_params_optimizer(self) -> Optimizer:
        """That of the learner's own meta-parameters."""
        return replace(self.optimizer, lr=self.settings.meta_params_lr, lrs={})

    def start(self, phi: Params, sampler_state: State) -> MetaState:
        """The state before the first step."""
        meta_params = self.learner.init(phi)
        adam, meta_adam = (Adam().init(p) if p else {} for p in (phi, meta_params))
        return MetaState(0, phi, adam, Averager.init(), sampler_state, meta_params, meta_adam)

    def train(self, state: MetaState) -> Iterator[tuple[MetaState, Event]]:
        """Run the loop from a state to the last step.

        Yields:
            After every episode the new state and what happened, with the token-passes that it took.

        Raises:
            Diverged: A loss, a reward or a gradient is not finite. The last state yielded is still good.
        """
        for _ in range(state.step, self.settings.steps):
            state, event = self.step(state)
            yield state, event

    def step(self, state: MetaState) -> tuple[MetaState, Event]:
        """One episode of meta-training."""
        source, probabilities, sampled = self._sample_source(state)  # i ~ pi_psi(. | state)
        episode = self._sample_episode(state.step, source)  # B_s from source i, and B_q
        result, record = self._adapt(state, episode)  # phi' = phi - alpha grad L(B_s; phi), meta-gradient
        if sampled:
            record.rewards, seen = self._measure_rewards(state, source, probabilities, result, record)  # r
            feedback = Feedback(source, probabilities, record.rewards, result.support_loss)
            state = replace(state, sampler=self._update_sampler(state, feedback), reward=seen)  # psi
        state = self.outer_step(state, result)  # phi <- phi - beta * meta-gradient
        return state, self._event(episode, source, probabilities, result, record)

    def _sample_source(self, state: MetaState) -> tuple[int, Probabilities, bool]:
        """The source, the distribution, and whether the sampler drew it (some methods have an order)."""
        self.timer("sampler")
        probabilities, t = self.sampler.probabilities(state.sampler), state.step
        if not self.episodes.uses_source(t):
            return NO_SOURCE, probabilities, False
        fixed = self.learner.source(t, self.settings.steps, len(probabilities))
        if fixed is not None:
            return fixed, probabilities, False
        drawn = rng(self.seed, f"{self.purpose}/source", t).choice(len(probabilities), p=probabilities)
        return int(drawn), probabilities, True

    def _sample_episode(self, step: int, source: int) -> Episode:
        self.timer("batches")
        return self.episodes.sample(step, source)

    def _adapt(self, state: MetaState, episode: Episode) -> tuple[EpisodeResult, "_Record"]:
        """Inner loop and meta-gradient; every ``health_every`` steps also a look at what they do."""
        record = _Record()
        losses = losses_of(self.model, episode, self.settings.alignment, self.timer, record.alignment)
        result = self.learner.adapt(losses, state.phi, state.meta_params)
        record.passes, record.inner_losses = token_passes(episode, result), list(result.inner_losses)
        if state.step % self.settings.health_every == 0:
            self._look(state.phi, episode, result, record)
        require_finite(state.step, {"support loss": record.inner_losses, "query loss": result.query_loss})
        return result, record

    def _look(self, phi: Params, episode: Episode, result: EpisodeResult, record: "_Record") -> None:
        """Record the health of the inner loop."""
        self.timer("health")
        weight = self.settings.alignment
        record.health = inner_loop_health(self.model, episode, weight, self.learner, phi, result)
        record.inner_losses.append(result.support_loss - record.health["support_drop"])
        tokens = episode.tokens
        passes = health_passes(self.learner, aligned=episode.parallel is not None)
        record.passes["health"] = sum(n * tokens[part] for part, n in passes.items())

    def _measure_rewards(
        self,
        state: MetaState,
        source: int,
        probabilities: Probabilities,
        result: EpisodeResult,
        record: "_Record",
    ) -> tuple[dict[int, float], State]:
        """Rewards by source on B_T, before the outer step, and what later rewards are measured against.

        Where all sources are rewarded, the others adapt to an episode of their own first. A source of
        probability 0 is not on offer in this episode.
        """
        t, schedule = state.step, self.rewards
        if not (self.sampler.wants_reward and schedule.due(t)):
            return {}, state.reward
        self.timer("reward")
        adapted, passes = {source: result.phi}, 0
        others = [j for j, p in enumerate(probabilities) if p > 0 and j != source and t < schedule.of_all]
        for j in others:
            episode = replace(self.episodes.sample(t, j), parallel=None)
            other = self.learner.adapt(losses_of(self.model, episode, 0.0), state.phi, state.meta_params)
            adapted[j] = other.phi
            passes += sum(token_passes(episode, other).values())
        rewards, record.passes["reward"], seen = schedule.measure(
            self.model,
            lambda: self.episodes.reward_batch(t),
            state.phi,
            adapted,
            state.reward,
            t,
            self.settings.steps / 2,
        )
        if passes:
            record.passes["reward_support"] = passes
        require_finite(t, {"reward": list(rewards.values())})
        return rewards, seen

    def _update_sampler(self, state: MetaState, feedback: Feedback) -> State:
        self.timer("sampler")
        return self.sampler.update(state.sampler, feedback)

    def outer_step(self, state: MetaState, result: EpisodeResult) -> MetaState:
        """Add up meta-gradients; every ``tasks_per_step`` episodes, and at the end, step along their mean.

        Raises:
            Diverged: The meta-gradient or the new phi is not finite.
        """
        self.timer("outer")
        t, size = state.step, self.settings.tasks_per_step
        require_finite(t, {"meta-gradient": [*result.meta_grad.values(), *result.meta_params_grad.values()]})
        new = {f"phi/{n}": g for n, g in result.meta_grad.items()}
        new |= {f"meta_params/{n}": g for n, g in result.meta_params_grad.items()}
        grads = {n: g + state.accumulated_grads[n] if state.accumulated_grads else g for n, g in new.items()}
        phi, adam, meta_params, meta_adam = state.phi, state.adam, state.meta_params, state.meta_adam
        if (t + 1) % size == 0 or t + 1 == self.settings.steps:
            mean = {n: g / (t % size + 1) for n, g in grads.items()}
            phi, adam = self.optimizer.update(phi, _part(mean, "phi/"), adam, t)
            if meta_params:
                meta_params, meta_adam = self.meta_params_optimizer.update(
                    meta_params, _part(mean, "meta_params/"), meta_adam, t
                )
            require_finite(t, {"phi": list(phi.values())})
            grads = {}
        return replace(
            state,
            step=t + 1,
            phi=phi,
            adam=adam,
            average=self.optimizer.add_to_average(state.average, phi, t),
            meta_params=meta_params,
            meta_adam=meta_adam,
            accumulated_grads=grads,
        )

    def _event(
        self,
        episode: Episode,
        source: int,
        probabilities: Probabilities,
        result: EpisodeResult,
        record: "_Record",
    ) -> Event:
        names, rewards = self.episodes.sources, record.rewards
        by_name = {names[j]: r for j, r in sorted(rewards.items())}
        return {
            **episode.about,
            "probabilities": dict(zip(names, probabilities.round(6).tolist(), strict=True)),
            "support_loss": result.support_loss,
            "inner_losses": record.inner_losses,
            "query_loss": result.query_loss,
            **record.alignment,
            **({"health": record.health} if record.health else {}),
            **result.notes,
            "reward": rewards.get(source),
            **({"rewards": by_name} if len(rewards) > 1 else {}),
            "passes": record.passes,
            "token_passes": sum(record.passes.values()),
        }


@dataclass
class _Record:
    """Numbers of an episode for its event."""

    passes: dict[str, int] = field(default_factory=dict)  # part of the episode -> token-passes
    inner_losses: list[float] = field(default_factory=list)
    alignment: dict[str, float | str] = field(default_factory=dict)
    health: dict[str, float] = field(default_factory=dict)
    rewards: dict[int, float] = field(default_factory=dict)


def part_lrs(scorer: float | None, mixture: float | None = None) -> dict[str, float]:
    """Learning rates of the parts of phi that have their own, by the end of the parameters' names."""
    given = {SCORER: scorer, MIXTURE_WEIGHTS: mixture}
    return {end: lr for end, lr in given.items() if lr is not None}


def _part(tensors: Params, prefix: str) -> Params:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


class Diverged(ArithmeticError):
    """Raised when a loss, a reward, a gradient or a parameter is NaN or infinite.

    The state before the episode is still good.

    Attributes:
        step: The episode, 0-based.
        term: Which number: "support loss", "query loss", "reward", "meta-gradient", "phi".
    """

    def __init__(self, step: int, term: str) -> None:
        super().__init__(f"step {step}: the {term} is not finite")
        self.step, self.term = step, term

    def __reduce__(self) -> tuple[type["Diverged"], tuple[int, str]]:
        """Pickle by the arguments, so that the exception passes between processes."""
        return Diverged, (self.step, self.term)


def require_finite(step: int, numbers: Mapping[str, float | Tensor | Sequence[float | Tensor]]) -> None:
    """Check numbers by name; a value is a number, a tensor, or several of them.

    Raises:
        Diverged: One of them is not finite; the first one is named.
    """
    for name, values in numbers.items():
        for value in values if isinstance(values, Sequence) else [values]:
            finite = bool(torch.isfinite(value).all()) if isinstance(value, Tensor) else math.isfinite(value)
            if not finite:
                raise Diverged(step, name)
