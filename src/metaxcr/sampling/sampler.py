"""The sampler protocol (explicit state, pure functions), and a sampler made of two, for CLML."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

State = dict[str, Tensor]  # all that a sampler remembers, as tensors, so that resume is exact
Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Feedback:
    """What a sampler learns from an episode.

    Attributes:
        source: The source i that was drawn.
        probabilities: It was drawn from these, floor and warm-up included: (sources,).
        rewards: Source -> reward r: of the drawn one, or of all; empty at a step without reward.
        loss: L(B_s; phi), the support loss before the inner loop (1.0 is chance).
    """

    source: int
    probabilities: Probabilities
    rewards: Mapping[int, float]
    loss: float = 0.0


class Sampler(Protocol):
    """Picks source tasks. Methods are pure: they return a new state and do not change the old one."""

    @property
    def wants_reward(self) -> bool:
        """Whether it learns from rewards, which cost passes over target data."""
        ...

    def init(self, seed: int) -> State:
        """The state before the first episode."""
        ...

    def probabilities(self, state: State) -> Probabilities:
        """pi(. | state_t): (sources,), sums to one."""
        ...

    def update(self, state: State, feedback: Feedback) -> State:
        """The state after an episode."""
        ...


class Rewarded:
    """A sampler that learns from rewards and from nothing else."""

    @property
    def wants_reward(self) -> bool:
        """Yes."""
        return True


def softmax(logits: Tensor) -> Probabilities:
    """Probabilities that sum to one in float64."""
    p: Probabilities = logits.double().softmax(0).numpy()
    normalised: Probabilities = p / p.sum()
    return normalised


LANGUAGE = "language "  # prefix of a support language among the names of the choices


@dataclass(frozen=True)
class SourcesAndLanguages:
    """Two samplers of which one acts in each episode: over the sources, or over the support languages.

    Its choices are the sources followed by the support languages; those that an episode does not choose from
    have probability 0. Each of the two learns from its own episodes only.

    Args:
        sources: The sampler over the sources.
        languages: The sampler over the support languages.
        is_cross_task: Step of the stage -> whether the episode takes a source.
    """

    sources: Sampler
    languages: Sampler
    is_cross_task: Callable[[int], bool]

    @property
    def wants_reward(self) -> bool:
        """Whether either of them does."""
        return self.sources.wants_reward or self.languages.wants_reward

    def init(self, seed: int) -> State:
        """Both before their first episode."""
        return self.join(self.sources.init(seed), seed)

    def join(self, sources: State, seed: int) -> State:
        """A sampler over sources that goes on from where CTML left it, and a new one over languages."""
        state = {"episodes": torch.zeros((), dtype=torch.int64)}
        return state | _prefixed("source/", sources) | _prefixed("language/", self.languages.init(seed))

    def probabilities(self, state: State) -> Probabilities:
        """(sources + languages,): zero for the kind that the episode does not take."""
        one = self.sources.probabilities(_part(state, "source/"))
        other = self.languages.probabilities(_part(state, "language/"))
        task = self.is_cross_task(int(state["episodes"]))
        return np.concatenate([one * task, other * (not task)])

    def update(self, state: State, feedback: Feedback) -> State:
        """Update the one that chose."""
        arms = len(self.sources.probabilities(_part(state, "source/")))
        prefix, sampler, first, drawn_from = "source/", self.sources, 0, feedback.probabilities[:arms]
        if feedback.source >= arms:
            prefix, sampler, first = "language/", self.languages, arms
            drawn_from = feedback.probabilities[arms:]
        own = Feedback(
            feedback.source - first,
            drawn_from,
            {arm - first: reward for arm, reward in feedback.rewards.items()},
            feedback.loss,
        )
        updated = _prefixed(prefix, sampler.update(_part(state, prefix), own))
        return state | updated | {"episodes": state["episodes"] + 1}


def _prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def _part(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
