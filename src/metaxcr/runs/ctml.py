"""CTML: cross-task meta-learning on the English sources.

An episode takes its support batch from the source task that the sampler chose, and its query batch from the
same source or from the English target data. The loop is :class:`metaxcr.training.loop.MetaTrainer`; CLML
(:mod:`metaxcr.runs.clml`) starts from its result.
"""

from dataclasses import dataclass
from functools import cached_property

from metaxcr.autodiff import Params
from metaxcr.config.schema import Ctml
from metaxcr.errors import UserError
from metaxcr.model.batch import Batch, TaskData
from metaxcr.model.build import build_model
from metaxcr.runs.context import SAMPLER, RunContext
from metaxcr.sampling.sampler import State
from metaxcr.seeding import derive
from metaxcr.training.batch_sampler import BatchSampler, English
from metaxcr.training.episodes import Episode, Texts


def ctml(run: RunContext, unit: str, seed: int, language: str | None = None) -> None:
    """Meta-learn on the English sources: once per seed, for all languages and regimes.

    Args:
        run: What the stages work with.
        unit: Name of the unit of work.
        seed: Of the run.
        language: Rewards are measured on the shots of this language (``ctml.reward_data: shots``), in a CTML
            of its own for the regime few-shot. None: on English target data.
    """
    settings, data, name = run.config.ctml, run.data, _ctml_name(seed, language)
    batches = BatchSampler(run.store, seed, f"ctml/{language}" if language else "ctml")
    shots = data.shots_of(language, seed) if language else None
    episodes = CrossTaskEpisodes(data.english, data.parallel, settings, batches, shots)
    run.encode_pairs(unit, "ctml", batches, data.parallel, settings)
    fresh = build_model(run.config, run.model.adapted.encoder, seed).params()
    sampler_state = run.sampler.init(derive(seed, "sampler"))
    about = {"language": language} if language else {}
    state = run.meta_train(
        unit, "ctml", episodes, settings, batches, fresh, run.sampler, sampler_state, about
    )
    phi = state.result
    run.folder.save_state(name, {**phi, **{SAMPLER + key: tensor for key, tensor in state.sampler.items()}})
    if seed == run.config.run.seeds[0] and not language:
        run.publish("meta", phi)


def ctml_result(run: RunContext, seed: int, language: str | None = None) -> tuple[Params, State]:
    """The parameters and the sampler's state that CLML starts from; arguments as for :func:`ctml`."""
    return run.load_phi(_ctml_name(seed, language))


def _ctml_name(seed: int, language: str | None) -> str:
    return f"ctml.{language}.seed{seed}" if language else f"ctml.seed{seed}"


@dataclass(frozen=True)
class CrossTaskEpisodes:
    """CTML's episodes.

    Args:
        english: Sources and parts of the English target data.
        parallel: Unlabelled sentences for the alignment term; empty without parallel text.
        settings: Of the stage.
        batches: Draws batches.
        shots: Target data that rewards are measured on (``ctml.reward_data: shots``), all of them: no episode
            of CTML learns from them. None: the English reward part.

    Raises:
        UserError: Queries are to come from the English target data, but there is no such part.
    """

    english: English
    parallel: Texts
    settings: Ctml
    batches: BatchSampler
    shots: TaskData | None = None

    def __post_init__(self) -> None:
        """Check that there is query data."""
        if self.settings.query_from == "target" and self.english.query is None:
            raise UserError(
                "no English target data for queries", "target.english.query", "give it a share above 0"
            )

    @cached_property
    def sources(self) -> list[str]:
        """The source tasks."""
        return list(self.english.sources)

    def uses_source(self, step: int) -> bool:
        """Every episode does."""
        return True

    def sample(self, step: int, source: int) -> Episode:
        """Support from the source; query from the same one, or from the English target data."""
        settings, english, name = self.settings, self.english, self.sources[source]
        data = english.sources[name]
        if settings.query_from == "target" and english.query is not None:
            support = self.batches.batch(data, settings.support, "rows", step)
            query = self.batches.batch(english.query, settings.query, "query", step)
        else:
            support, query = self.batches.two_batches(data, settings.support, settings.query, step)
        target = self.batches.target(english.query or english.sources[english.target], settings, step)
        pairs = self.batches.alignment(self.parallel, settings, step)
        return Episode(support, query, pairs, {"source": name}, target)

    def reward_batch(self, step: int) -> Batch:
        """From the English reward part, or from the shots."""
        data = self.english.reward if self.shots is None else self.shots
        return self.batches.batch(data, self.settings.reward, "reward", step)
