"""The model of a configuration with made-up data of the right sizes, to time the stages of a run.

The activations of the trunk have no influence on the time, so neither weights nor a filled trunk are needed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metaxcr.config.schema import Config, Meta
from metaxcr.encoders.activation_cache import ActivationCache, CacheStats
from metaxcr.encoders.encoder import FrozenEncoder, Ragged
from metaxcr.hardware import CPU
from metaxcr.model.batch import Questions, TaskData
from metaxcr.model.build import build_model
from metaxcr.runs.clml import CrossLingualEpisodes, shots_reward, with_language_policy, with_shots
from metaxcr.runs.ctml import CrossTaskEpisodes
from metaxcr.runs.data_amounts import Amounts, Pool
from metaxcr.sampling import make_sampler
from metaxcr.sampling.sampler import Sampler
from metaxcr.training.batch_sampler import BatchSampler, English

QUESTIONS = 200  # that are made up of a pool
PLACES = 499  # different starts of a text's activations, so that few texts have the same

MetaEpisodes = CrossTaskEpisodes | CrossLingualEpisodes
Stage = tuple[tuple[str, str], Meta, Callable[[BatchSampler], MetaEpisodes]]


class StandIn(ActivationCache):
    """A trunk store of random activations: every text has them at once."""

    def __init__(self, encoder: FrozenEncoder, layer: int, dtype: torch.dtype, max_tokens: int) -> None:
        self.encoder, self.layer, self.dtype, self.stats = encoder, layer, dtype, CacheStats()
        self._lengths: list[int] = []
        rows, generator = PLACES + max_tokens, torch.Generator().manual_seed(0)
        self._noise = torch.randn(rows, encoder.width, generator=generator).to(dtype)

    def add(self, tokens: Sequence[int]) -> list[int]:
        """Add texts of these lengths and return their numbers."""
        first = len(self._lengths)
        self._lengths += tokens
        return list(range(first, len(self._lengths)))

    def gather(self, numbers: Sequence[int]) -> Ragged:
        """See :meth:`metaxcr.encoders.activation_cache.ActivationCache.gather`."""
        lengths, places = [self._lengths[n] for n in numbers], [n % PLACES for n in numbers]
        rows = [self._noise[at : at + n] for at, n in zip(places, lengths, strict=True)]
        return Ragged(torch.cat(rows).to(self.encoder.device), torch.tensor(lengths, device=CPU))

    def lengths(self, numbers: Tensor) -> list[int]:
        """See :meth:`metaxcr.encoders.activation_cache.ActivationCache.lengths`."""
        return [self._lengths[n] for n in numbers.tolist()]


def stand_in(pool: Pool, store: StandIn, language: str, kind: str) -> TaskData:
    """Questions as long as those of a pool, with made-up labels, for a kind of scoring."""
    share = max(2, round(pool.tokens / 3))
    rows = _rows(pool, (0, share, 2 * share) if kind == "cross" else (share, share, share))
    most = max(len(row) for row in rows) - 1
    context, choices = [], []
    for row in rows:
        context.append(store.add([row[0]])[0] if row[0] else -1)
        choices.append([*store.add(row[1:]), *[-1] * (most - len(row) + 1)])
    questions = Questions(
        torch.tensor(context, device=CPU),
        torch.tensor(choices, device=CPU),
        torch.tensor([(1.0, 0.0)] * len(rows), device=CPU),
        torch.tensor([n % (len(row) - 1) for n, row in enumerate(rows)], device=CPU),
        1.0,
    )
    return TaskData(pool.task, language, [f"{pool.task}-{n}" for n in range(len(rows))], questions)


def _rows(pool: Pool, usual: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Lengths of the texts of each made-up item; ``usual`` if none of the pool is known."""
    sample = pool.lengths or (usual,)
    return [sample[n % len(sample)] for n in range(max(1, min(pool.items, QUESTIONS)))]


class Bench:
    """The model of a configuration, with made-up data; ``encoder`` is its own, or one of the same shape."""

    def __init__(self, config: Config, amounts: Amounts, encoder: FrozenEncoder, dtype: torch.dtype) -> None:
        self.config, self.amounts, self.dtype = config, amounts, dtype
        self.model = build_model(config, encoder, config.run.seeds[0])
        self.store = StandIn(encoder, self.model.adapted.start, dtype, config.encoder.max_tokens)

        def data(pool: Pool, language: str = "en") -> TaskData:
            return stand_in(pool, self.store, language, config.scoring.kind)

        sources = {name: data(pool) for name, pool in amounts.sources.items()}
        if config.adapters.mixture:
            sources = {name: replace(made, source=n) for n, (name, made) in enumerate(sources.items())}
        query = data(amounts.query) if amounts.query else None
        self.english = English(sources, query, data(amounts.reward), list(sources)[-1])
        self.auxiliary = {name: data(pool, name) for name, pool in amounts.auxiliary.items()}
        self.shots = {name: data(pool, name) for name, pool in amounts.shots.items()}
        self.sentences = {
            name: self.store.add([row[0] for row in _rows(pool, (round(pool.tokens),))])
            for name, pool in amounts.sentences.items()
        }
        evaluated = amounts.evaluation if config.run.regimes else amounts.baseline
        language, pool = next(iter(evaluated.items()))
        self.evaluated = data(pool, language)

    def stages(self) -> Iterator[Stage]:
        """The runs of meta-training: (stage, regime), settings, and what makes their episodes."""
        config, english = self.config, self.english
        yield (
            ("ctml", ""), config.ctml,
            lambda batches: CrossTaskEpisodes(english, self.sentences, config.ctml, batches),
        )  # fmt: skip
        if self.amounts.adaptations:
            one = self.amounts.adaptations[0]
            data = {name: self.auxiliary[name] for name in one.auxiliary}
            wanted = ("en", *one.tested) if one.alone else tuple(self.sentences)
            texts = {name: numbers for name, numbers in self.sentences.items() if name in wanted}
            yield (
                ("clml", "zero-shot-aux"), config.clml,
                lambda batches: CrossLingualEpisodes(
                    english, data, data, english.reward, texts, config.clml, batches
                ),
            )  # fmt: skip
        if self.shots:
            yield from self._stages_with_shots()

    def _stages_with_shots(self) -> Iterator[Stage]:
        config, english = self.config, self.english
        k, alone = len(next(iter(self.shots.values()))), dict(list(self.shots.items())[:1])
        reward = None if shots_reward(config.clml, k) else english.reward
        own = {"en": english.sources[english.target]}
        pooled = alone if config.clml.per_language else self.shots
        for regime, target, others in (
            ("few-shot", alone, own), ("pooled-shots", pooled, {**own, **self.shots})
        ):  # fmt: skip
            if regime in config.run.regimes:
                settings = with_shots(config.clml, len(target))
                yield (
                    ("clml", regime), settings,
                    lambda batches, t=target, o=others, s=settings: CrossLingualEpisodes(  # type: ignore[misc]
                        english, t, o, reward, {}, s, batches
                    ),
                )  # fmt: skip

    def sampler(self, episodes: MetaEpisodes) -> Sampler:
        """The sampler of a run of meta-training, with a second one if languages are chosen."""
        sizes = [len(data) for data in self.english.sources.values()]
        sampler = make_sampler(self.config.sampler, sizes)
        if isinstance(episodes, CrossTaskEpisodes):
            return sampler
        return with_language_policy(sampler, self.config.sampler, episodes)
