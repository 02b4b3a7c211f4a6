"""How much of what is done with a user's own examples.

Adapt a meta-trained model to a few dozen examples of one's own, and find out what that gave.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from metaxcr.autodiff import Params
from metaxcr.config.schema import Config, Finetune
from metaxcr.encoders.activation_cache import TrunkStore
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import predict
from metaxcr.fewshot.calibration import Probabilities
from metaxcr.fewshot.cross_validation import CrossValidated, Scores, cross_validate, draw_folds, sizes
from metaxcr.fewshot.data_quality import groups
from metaxcr.fewshot.model_selection import SYSTEMS, HeldOut, Verdict, judge
from metaxcr.fewshot.user_examples import UserExamples
from metaxcr.model.batch import TaskData, encode_task
from metaxcr.model.build import memory_store, untrained_model
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.finetune import finetune


@dataclass(frozen=True)
class Settings:
    """Settings of an adaptation to own examples.

    Attributes:
        seed: Of all draws.
        folds: Of the cross-validation.
        repeats: Of the cross-validation, each with other folds.
        steps: Of fine-tuning; None: as the start was trained to be fine-tuned.
        rate: Peak learning rate of it; None: likewise.
        wished: Accuracy among the answers that are given, for the abstain threshold.
        more: Number of further examples whose worth is forecast.
    """

    seed: int = 0
    folds: int = 5
    repeats: int = 2
    steps: int | None = None
    rate: float | None = None
    wished: float = 0.9
    more: int = 30


FEWEST = 8  # examples; fewer are not adapted to, because nothing could be said about what that gave

Report = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


def _silent(label: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Start:
    """What is adapted: a meta-trained model.

    Attributes:
        config: The settings that it was trained with.
        model: Scores batches.
        phi: The parameters of its meta-adapter.
    """

    config: Config
    model: ChoiceModel
    phi: Params


@dataclass(frozen=True)
class AdaptedModel:
    """What came out.

    Attributes:
        phi: Parameters of the model that is kept.
        examples: What was adapted to.
        group: Row of the first example that says the same, see :func:`metaxcr.fewshot.data_quality.groups`.
        systems: Held-out answers of similarity, unadapted and adapted model, to all examples.
        verdict: Which of the two models is kept, and why.
        curve: Number of examples -> (different examples, repeats) share of right answers, held out.
    """

    phi: Params
    examples: UserExamples
    group: list[int]
    systems: dict[str, HeldOut]
    verdict: Verdict
    curve: dict[int, Scores]

    @property
    def kept(self) -> HeldOut:
        """Held-out answers of the model that is kept, to all examples."""
        return self.systems[self.verdict.kept]

    @property
    def distinct(self) -> dict[str, HeldOut]:
        """Held-out answers to different examples: of duplicates the first counts, the others add nothing."""
        rows = distinct(self.group)
        return {name: system.at(rows) for name, system in self.systems.items()}


def adapt_to(
    examples: UserExamples, start: Start, settings: Settings, report: Report = _silent
) -> AdaptedModel:
    """Cross-validate the adaptation, decide, and adapt to all examples if that is what was decided.

    Every number is about examples that the model in question had not seen. The rule is fixed in advance
    (:data:`metaxcr.fewshot.model_selection.RULE`): nothing is tuned on the user's examples.

    Args:
        examples: The user's, of one language, all labelled.
        start: The meta-trained model.
        settings: How much of what.
        report: Told what is being done.

    Raises:
        UserError: Fewer than :data:`FEWEST` different examples, or some have no label.
    """
    group = usable(examples)
    store = memory_store(start.model, start.config)
    data = encode(examples, start.model.kind, store, partial(report, "encoding"))
    labels = [int(label) for label in data.questions.labels]
    tuning = tuning_of(start.config, settings)

    def adapt(train: Sequence[int], held_out: Sequence[int], purpose: str) -> Probabilities:
        phi = tune(start, data, train, tuning, BatchSampler(store, settings.seed, purpose))
        return answer(start.model, phi, data, held_out, store)

    folds = [
        draw_folds(group, _strata(examples), settings.folds, settings.seed + repeat)
        for repeat in range(settings.repeats)
    ]
    smaller = sizes(min(int((f != n).sum()) for f in folds for n in range(int(f.max()) + 1)))[:-1]
    validated = cross_validate(adapt, folds, smaller, progress=partial(report, "cross-validation"))
    everything = range(len(data))
    systems = {
        "similarity": HeldOut("similarity", [similarity(examples, start, data, store)], labels),
        "unadapted": HeldOut("unadapted", [answer(start.model, start.phi, data, everything, store)], labels),
        "adapted": HeldOut("adapted", list(validated.full), labels),
    }
    rows = distinct(group)
    verdict = judge(*(systems[name].at(rows) for name in SYSTEMS))
    phi = start.phi
    if verdict.kept == "adapted":
        report("adapting to all examples", 0, 1)
        phi = tune(start, data, everything, tuning, BatchSampler(store, settings.seed, "all"))
    curve = {n: scores[rows] for n, scores in _curve(systems, validated, labels, folds).items()}
    return AdaptedModel(phi, examples, group, systems, verdict, curve)


def tune(start: Start, data: TaskData, rows: Sequence[int], tuning: Finetune, draw: BatchSampler) -> Params:
    """Fine-tune the meta-adapter on the examples at ``rows``; see :func:`metaxcr.training.finetune`."""
    phi, shots = start.phi, data.subset([data.ids[row] for row in rows])
    for tuned, _, _ in finetune(start.model, phi, [shots], tuning, draw):
        phi = tuned
    return phi


def answer(
    model: ChoiceModel, phi: Params, data: TaskData, rows: Sequence[int], store: TrunkStore
) -> Probabilities:
    """Probabilities of the choices of the examples at ``rows``, in that order."""
    return predict(model, phi, [data.subset([data.ids[row] for row in rows])], store)[0][0]


def tuning_of(config: Config, settings: Settings) -> Finetune:
    """Fine-tuning as the start declares it, but for what the settings say."""
    given = {"steps": settings.steps, "rate": settings.rate}
    return config.finetune.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )


def encode(
    examples: UserExamples,
    kind: str,
    store: TrunkStore,
    progress: Callable[[int, int], None],
    language: str | None = None,
) -> TaskData:
    """Encode own examples, as many as there are.

    Their ids become positions, because nothing else tells rows apart for certain. ``language`` is the one
    whose language adapter acts; None: their own, empty: none.
    """
    numbered = [replace(e, id=f"{row}") for row, e in enumerate(examples.examples)]
    return encode_task(
        numbered,
        examples.phrase,
        store,
        kind=kind,
        implausible=examples.implausible,
        language=language,
        progress=progress,
    )


def usable(examples: UserExamples) -> list[int]:
    """Check that examples can be adapted to: there are enough, and all have labels.

    Returns:
        For each example the number of its group; duplicates share one.

    Raises:
        UserError: Fewer than :data:`FEWEST` different examples, or some have no label.
    """
    where = str(examples.file) if examples.file else None
    unlabelled = [e.id for e in examples.examples if e.label is None]
    if unlabelled:
        raise UserError(
            f"{len(unlabelled)} of {len(examples.examples)} examples have no label, first {unlabelled[0]}",
            where,
            "adapting needs labels; 'metaxcr predict' does not",
        )
    group = groups(examples.examples)
    if len(set(group)) < FEWEST:
        raise UserError(
            f"{len(set(group))} different examples are too few to adapt to and to say what that gave",
            where,
            f"bring {FEWEST} or more; without any, 'metaxcr predict' uses the model as it is",
        )
    return group


def distinct(group: Sequence[int]) -> list[int]:
    """Rows that repeat no earlier one, see :func:`metaxcr.fewshot.data_quality.groups`."""
    return [row for row, head in enumerate(group) if row == head]


def _strata(examples: UserExamples) -> list[str]:
    return [f"{e.question if e.question in ('cause', 'effect') else ''} {e.label}" for e in examples.examples]


def similarity(examples: UserExamples, start: Start, data: TaskData, store: TrunkStore) -> Probabilities:
    """Answers of the untrained encoder: the cosine of the sentence vectors."""
    encoder = start.model.adapted.encoder
    model = untrained_model(start.config, encoder)
    own = data
    if start.model.kind != model.kind or start.model.adapted.languages:
        own = encode(examples, model.kind, store, lambda done, total: None, language="")
    return answer(model, model.params(), own, range(len(own)), store)


def _curve(
    systems: dict[str, HeldOut], validated: CrossValidated, labels: list[int], folds: Sequence[np.ndarray]
) -> dict[int, Scores]:
    """Held-out accuracy by number of examples, of the first repeat throughout, so that points compare."""
    left = round(len(labels) * (1 - 1 / (int(folds[0].max()) + 1)))
    tables = {**validated.partial, left: validated.full[0]}
    correct = {n: HeldOut("adapted", [table], labels).correct for n, table in tables.items()}
    return {0: systems["unadapted"].correct, **correct}
