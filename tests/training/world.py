"""A small model with episodes to train it on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metaxcr.config.schema import Ctml, Meta
from metaxcr.meta.learners import make_learner
from metaxcr.meta.learners.base import EpisodeResult
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.sampling.sampler import Sampler
from metaxcr.training.episodes import Episodes, losses_of
from metaxcr.training.loop import MetaState, MetaTrainer

FIXED_ORDER = {"mmt", "sequential"}  # learners that do not ask the sampler
SETTINGS = Ctml(steps=10, support=4, query=4, reward=6, outer_lr=0.01)


@dataclass(frozen=True)
class World:
    """A model and episodes to train it on."""

    model: ChoiceModel
    episodes: Callable[[Meta, int], Episodes]
    sampler: Sampler

    def trainer(self, settings: Meta = SETTINGS, seed: int = 0) -> MetaTrainer:
        return MetaTrainer(self.model, self.episodes(settings, seed), self.sampler, settings, seed, "ctml")

    def begin(self, seed: int = 0, settings: Meta = SETTINGS) -> MetaState:
        return self.trainer(settings, seed).start(self.model.params(), self.sampler.init(seed))

    def adapt(self, settings: Meta, step: int, source: int) -> EpisodeResult:
        """What the learner makes of an episode, from the very first parameters."""
        begin = self.begin(0, settings)
        episode = self.episodes(settings, 0).sample(step, source)
        losses = losses_of(self.model, episode, settings.alignment)
        return make_learner(settings).adapt(losses, begin.phi, begin.meta_params)

    def steps(
        self, settings: Meta = SETTINGS, seed: int = 0, state: MetaState | None = None
    ) -> Iterator[tuple[MetaState, dict[str, Any]]]:
        return self.trainer(settings, seed).train(state or self.begin(seed, settings))

    def run(self, settings: Meta = SETTINGS, seed: int = 0, state: MetaState | None = None) -> MetaState:
        *_, (end, _) = self.steps(settings, seed, state)
        return end


def same_bytes(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[n].numpy().tobytes() == other[n].numpy().tobytes() for n in one
    )
