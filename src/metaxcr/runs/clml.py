"""CLML: cross-lingual meta-adaptation, from where CTML ended.

Two types of episodes: *cross-task* (support: an English source; query: the target task in a target language)
and *cross-lingual* (support: the target task in another language; query: in the target language). The support
language is drawn uniformly, or by a second policy (``clml.languages``). The loop is
:class:`metaxcr.training.loop.MetaTrainer`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metaxcr.autodiff import Params
from metaxcr.config.schema import Clml, SamplerSettings
from metaxcr.errors import UserError
from metaxcr.model.batch import Batch, TaskData
from metaxcr.runs.context import RunContext
from metaxcr.runs.ctml import ctml_result
from metaxcr.sampling import make_sampler
from metaxcr.sampling.sampler import LANGUAGE, Sampler, SourcesAndLanguages, State
from metaxcr.seeding import derive
from metaxcr.training.auxiliary_languages import Adaptation
from metaxcr.training.batch_sampler import BatchSampler, English, halves
from metaxcr.training.episodes import Episode, Texts
from metaxcr.training.loop import NO_SOURCE

MIN_SHOTS_FOR_REWARD = 8  # with fewer, half of the shots is too small to measure rewards on


def clml(run: RunContext, unit: str, seed: int, adaptation: Adaptation) -> None:
    """Meta-adapt on auxiliary languages, for zero-shot in the tested languages of ``adaptation``."""
    data = run.data
    auxiliary = {language: data.auxiliary[language] for language in adaptation.auxiliary}
    parallel = data.parallel
    if adaptation.alone:
        parallel = {name: text for name, text in parallel.items() if name in ("en", *adaptation.tested)}
    batches = BatchSampler(run.store, seed, adaptation.name.replace(".", "/"))
    episodes = CrossLingualEpisodes(
        data.english, auxiliary, auxiliary, data.english.reward, parallel, run.config.clml, batches
    )
    about = {} if adaptation.name == "clml" else {"adaptation": adaptation.name}
    phi = adapt(run, unit, episodes, *ctml_result(run, seed), about)
    run.folder.save_state(f"{adaptation.name}.seed{seed}", phi)
    run.publish_target("zero-shot-aux", seed, adaptation.tested, phi)


def few_shot(run: RunContext, unit: str, seed: int, language: str) -> None:
    """CLML towards one language with its shots, then fine-tuning on all of them.

    No label in a language other than this one and English is used.
    """
    english, shots, clml = run.data.english, run.data.shots_of(language, seed), run.config.clml
    batches = BatchSampler(run.store, seed, f"few-shot/{language}")
    others = {"en": english.sources[english.target]}
    reward = _reward_data(run, shots)
    episodes = CrossLingualEpisodes(
        english, {language: shots}, others, reward, {}, with_shots(clml, 1), batches
    )
    own_ctml = language if run.config.ctml.reward_data == "shots" else None
    about = {"language": language}
    phi = adapt(run, unit, episodes, *ctml_result(run, seed, own_ctml), about)
    phi = run.finetune(unit, phi, [shots], BatchSampler(run.store, seed, f"finetune/{language}"), about)
    run.folder.save_state(f"few-shot.{language}.seed{seed}", phi)
    run.publish_target("few-shot", seed, [language], phi)


def pooled(run: RunContext, unit: str, seed: int, language: str | None = None) -> None:
    """CLML among all languages with shots, then fine-tuning: k labels in each of several languages.

    Args:
        run: What the stages work with.
        unit: Name of the unit of work.
        seed: Of the run.
        language: Queries and fine-tuning in this language alone (``clml.per_language``), support in the
            others. None: one adapter for all.
    """
    shots, english = _all_shots(run, seed), run.data.english
    target = {language: shots[language]} if language else shots
    name = f"pooled.{language}" if language else "pooled"
    batches = BatchSampler(run.store, seed, name.replace(".", "/"))
    others = {"en": english.sources[english.target], **shots}
    reward = _reward_data(run, next(iter(shots.values())))
    settings = with_shots(run.config.clml, len(target))
    episodes = CrossLingualEpisodes(english, target, others, reward, {}, settings, batches)
    about = {"regime": "pooled-shots", **({"language": language} if language else {})}
    phi = adapt(run, unit, episodes, *ctml_result(run, seed), about)
    tuning = BatchSampler(run.store, seed, f"finetune/{name}")
    phi = run.finetune(unit, phi, list(target.values()), tuning, about)
    run.folder.save_state(f"{name}.seed{seed}", phi)
    run.publish_target("pooled-shots", seed, target, phi)


def pooled_baseline(run: RunContext, unit: str, seed: int) -> None:
    """Fine-tuning alone on the same labels as :func:`pooled`: the baseline that shows what CLML adds."""
    batches = BatchSampler(run.store, seed, "finetune/pooled-alone")
    about = {"regime": "pooled-shots", "clml": False}
    start, _ = ctml_result(run, seed)
    phi = run.finetune(unit, start, list(_all_shots(run, seed).values()), batches, about)
    run.folder.save_state(f"pooled-alone.seed{seed}", phi)


def _all_shots(run: RunContext, seed: int) -> dict[str, TaskData]:
    return {language: run.data.shots_of(language, seed) for language in run.data.shot_pool}


def _reward_data(run: RunContext, shots: TaskData) -> TaskData | None:
    """Data that rewards are measured on; None stands for halves of the shots."""
    return None if shots_reward(run.config.clml, len(shots)) else run.data.english.reward


def adapt(
    run: RunContext,
    unit: str,
    episodes: "CrossLingualEpisodes",
    phi: Params,
    sampler_state: State,
    about: dict[str, Any],
) -> Params:
    """Meta-train on cross-lingual episodes, from the parameters and the sampler's state after CTML.

    Args:
        run: What the stages work with.
        unit: Name of the unit of work.
        episodes: What is learned from.
        phi: After CTML.
        sampler_state: After CTML.
        about: Further entries of every event.

    Returns:
        The parameters, averaged over the last part of training.
    """
    settings, batches = episodes.settings, episodes.batches
    sampler = with_language_policy(run.sampler, run.config.sampler, episodes)
    if isinstance(sampler, SourcesAndLanguages):
        sampler_state = sampler.join(sampler_state, derive(batches.seed, f"{batches.purpose}/languages"))
    run.encode_pairs(unit, "clml", batches, episodes.parallel, settings)
    return run.meta_train(
        unit, "clml", episodes, settings, batches, phi, sampler, sampler_state, about
    ).result


def with_language_policy(
    sampler: Sampler, settings: SamplerSettings, episodes: "CrossLingualEpisodes"
) -> Sampler:
    """The sampler over sources, beside a second policy if there are support languages to choose from."""
    if not (languages := episodes.support_languages):
        return sampler
    policy = make_sampler(settings.model_copy(update={"kind": "reinforce"}), [1] * len(languages))
    return SourcesAndLanguages(sampler, policy, episodes.is_cross_task)


@dataclass(frozen=True)
class CrossLingualEpisodes:
    """CLML's episodes, of both types.

    Query languages are drawn uniformly. The support language of a cross-lingual episode is drawn uniformly
    from the other languages, or (``clml.languages``) chosen by the sampler, whose choices are then the
    sources followed by the languages; the query language is drawn from those other than the support's.

    Args:
        english: Sources.
        target: Query language -> labelled target-task data in it.
        others: Support language -> target-task data for cross-lingual episodes.
        reward: Data that rewards are measured on. None: the target data are shots and serve as both: half A
            as queries and half B as rewards, swapped half-way.
        parallel: Unlabelled sentences for the alignment term; empty without parallel text.
        settings: Of the stage.
        batches: Draws batches.

    Raises:
        UserError: Cross-lingual episodes are wanted, but a language has no other one to take support from.

    Source:
        MetaXCR (arXiv 2503.06531); how the two types mix is ours.
    """

    english: English
    target: Mapping[str, TaskData]
    others: Mapping[str, TaskData]
    reward: TaskData | None
    parallel: Texts
    settings: Clml
    batches: BatchSampler

    def __post_init__(self) -> None:
        """Check that every language has another one to take support from."""
        for language in self.target if self.settings.cross_task < 1 else ():
            if not set(self.others) - {language}:
                raise UserError(
                    f"no other language than {language!r} has labels for cross-lingual episodes",
                    "target.auxiliary.languages",
                    "name two languages or more, or set clml.cross_task to 1",
                )

    @cached_property
    def support_languages(self) -> list[str]:
        """Languages that the sampler chooses between; empty if the support language is drawn uniformly."""
        languages = [name for name in self.others if set(self.target) - {name}]
        return languages if samples_languages(self.settings, languages) else []

    @cached_property
    def sources(self) -> list[str]:
        """The source tasks, and the support languages if the sampler chooses them."""
        return [*self.english.sources, *(LANGUAGE + name for name in self.support_languages)]

    def is_cross_task(self, step: int) -> bool:
        """Whether the episode of a step is cross-task."""
        return is_cross_task(self.settings, self.batches, step)

    def uses_source(self, step: int) -> bool:
        """Cross-task episodes do, and all of them where the sampler chooses support languages, too."""
        return bool(self.support_languages) or self.is_cross_task(step)

    def sample(self, step: int, source: int) -> Episode:
        """The episode of a step; ``source`` is an index of :attr:`sources`, or :data:`NO_SOURCE`."""
        tasks = len(self.english.sources)
        cross_task = 0 <= source < tasks
        if cross_task:
            support_data = self.english.sources[self.sources[source]]
            language = self._one_of(list(self.target), "language", step)
        else:
            if source == NO_SOURCE:
                language = self._one_of(list(self.target), "language", step)
                other = self._one_of([name for name in self.others if name != language], "other", step)
            else:
                other = self.support_languages[source - tasks]
                language = self._one_of([name for name in self.target if name != other], "language", step)
            support_data = self.others[other]
            if support_data is self.target.get(other):  # items for rewards stay unseen in every language
                support_data = self._half(support_data, step, 0)
        query_data, settings = self._half(self.target[language], step, 0), self.settings
        support, query = self.batches.across(support_data, query_data, settings.support, settings.query, step)
        about = {
            "kind": "cross-task" if cross_task else "cross-lingual",
            "source": support_data.task,
            "support_language": support.language,
            "query_language": query.language,
        }
        pairs = self.batches.alignment(self.parallel, settings, step)
        target = self.batches.target(query_data, settings, step)
        return Episode(support, query, pairs, about, target)

    def reward_batch(self, step: int) -> Batch:
        """From the reward data, or from the half of the shots that is not used for queries."""
        data = self.reward
        if data is None:
            language = self._one_of(list(self.target), "reward-language", step)
            data = self._half(self.target[language], step, 1)
        return self.batches.batch(data, self.settings.reward, "reward", step)

    def _one_of(self, names: list[str], what: str, step: int) -> str:
        return self.batches.one_of(names, what, step)

    def _half(self, data: TaskData, step: int, which: int) -> TaskData:
        """Half A (0) or B (1) of shots, swapped half-way; other data whole."""
        if self.reward is not None:
            return data
        return halves(data)[(which + int(step >= self.settings.steps / 2)) % 2]


def is_cross_task(settings: Clml, batches: BatchSampler, step: int) -> bool:
    """Whether the episode of a step is cross-task: with probability ``clml.cross_task``."""
    return bool(batches.rng("kind", step).random() < settings.cross_task)


def samples_languages(settings: Clml, languages: list[str]) -> bool:
    """Whether a sampler chooses support languages: it is asked for, and there is a choice."""
    return settings.languages != "uniform" and len(languages) > 1


def with_shots(settings: Clml, languages: int) -> Clml:
    """CLML's settings in the regimes with shots: fewer episodes, so many a language, at a lower rate."""
    steps, lr = settings.few_shot_steps * languages, settings.few_shot_lr
    scorer_lr = settings.scorer_lr and settings.scorer_lr * lr / settings.outer_lr
    return settings.model_copy(update={"steps": steps, "outer_lr": lr, "scorer_lr": scorer_lr})


def shots_reward(settings: Clml, k: int) -> bool:
    """Whether rewards are measured on halves of k shots, rather than on English target data."""
    return k >= MIN_SHOTS_FOR_REWARD and settings.reward_data == "shots"
