"""Adapt a meta-trained model to a few dozen examples, and measure by cross-validation whether that helps."""

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, replace
from functools import partial

from metaxcr.autodiff import Params
from metaxcr.config.schema import Config, Finetune
from metaxcr.encoders.activation_cache import ActivationCache
from metaxcr.errors import UserError
from metaxcr.evaluation.predictions import predict
from metaxcr.fewshot.calibration import Probabilities
from metaxcr.fewshot.model_selection import (
    SYSTEMS,
    HeldOut,
    Scores,
    Selection,
    cross_validate,
    curve_sizes,
    draw_folds,
    select_model,
)
from metaxcr.fewshot.user_examples import UserExamples, duplicate_groups
from metaxcr.model.batch import TaskData, encode_task
from metaxcr.model.build import memory_store, untrained_model
from metaxcr.model.choice_model import ChoiceModel
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.finetune import choose_tuning, finetune

MIN_EXAMPLES = 8  # different ones; with fewer, cross-validation shows nothing
ProgressCallback = Callable[[str, int, int], None]  # (what is being done, steps done, steps in all)


@dataclass(frozen=True)
class Settings:
    """Settings of an adaptation to a user's examples."""

    seed: int = 0
    folds: int = 5
    repeats: int = 2  # of the cross-validation, each with other folds
    steps: int | None = None  # of fine-tuning; None: as in the model's own configuration
    lr: float | None = None  # peak learning rate of fine-tuning; None: likewise
    target_accuracy: float = 0.9  # of the answers that are not withheld
    more: int = 30  # further examples whose gain is forecast
    rate: InitVar[float | None] = None  # former name of lr
    wished: InitVar[float | None] = None  # former name of target_accuracy

    def __post_init__(self, rate: float | None, wished: float | None) -> None:
        """Accept the former names."""
        if rate is not None:
            object.__setattr__(self, "lr", rate)
        if wished is not None:
            object.__setattr__(self, "target_accuracy", wished)


@dataclass(frozen=True)
class Start:
    """The meta-trained model that is adapted: its configuration, and the parameters of its meta-adapter."""

    config: Config
    model: ChoiceModel
    phi: Params


@dataclass(frozen=True)
class AdaptedModel:
    """The result of an adaptation."""

    phi: Params  # of the model that is kept
    examples: UserExamples
    group: list[int]  # see metaxcr.fewshot.user_examples.duplicate_groups
    systems: dict[str, HeldOut]  # answers of similarity, unadapted and adapted model, to all examples
    selection: Selection
    curve: dict[int, Scores]  # number of examples -> (different examples, repeats) held-out scores

    @property
    def kept(self) -> HeldOut:
        """Held-out answers of the model that is kept, to all examples."""
        return self.systems[self.selection.kept]

    @property
    def distinct(self) -> dict[str, HeldOut]:
        """Held-out answers to the different examples: the first of each group of duplicates counts."""
        rows = distinct_rows(self.group)
        return {name: system.at(rows) for name, system in self.systems.items()}


def adapt_to(
    examples: UserExamples,
    start: Start,
    settings: Settings,
    progress: ProgressCallback = lambda label, done, total: None,
) -> AdaptedModel:
    """Cross-validate the adaptation, select a model, and adapt to all examples if that one is selected.

    Every accuracy is on examples that the model in question has not seen. The rule of selection is fixed in
    advance (:data:`metaxcr.fewshot.model_selection.RULE`): nothing is tuned on the user's examples.
    """
    group = check_examples(examples)
    store = memory_store(start.model, start.config)
    data = encode_examples(examples, start.model.kind, store, partial(progress, "encoding"))
    tuning = finetune_settings(start.config, settings, len(examples.examples))

    def adapt_and_answer(train: Sequence[int], held_out: Sequence[int], purpose: str) -> Probabilities:
        phi = finetune_rows(start, data, train, tuning, BatchSampler(store, settings.seed, purpose))
        return predict_rows(start.model, phi, data, held_out, store)

    strata = [
        f"{e.question if e.question in ('cause', 'effect') else ''} {e.label}" for e in examples.examples
    ]
    repeats = [draw_folds(group, strata, settings.folds, settings.seed + n) for n in range(settings.repeats)]
    held_out, held_out_by_size = cross_validate(
        adapt_and_answer, repeats, curve_sizes(repeats), progress=partial(progress, "cross-validation")
    )

    everything, labels = range(len(data)), [int(label) for label in data.questions.labels]
    unadapted = predict_rows(start.model, start.phi, data, everything, store)
    systems = {
        "similarity": HeldOut("similarity", [similarity_baseline(examples, start, data, store)], labels),
        "unadapted": HeldOut("unadapted", [unadapted], labels),
        "adapted": HeldOut("adapted", held_out, labels),
    }
    rows = distinct_rows(group)
    selection = select_model(*(systems[name].at(rows) for name in SYSTEMS))

    phi = start.phi
    if selection.kept == "adapted":
        progress("adapting to all examples", 0, 1)
        phi = finetune_rows(start, data, everything, tuning, BatchSampler(store, settings.seed, "all"))
    # all of the first repeat, so that the points are comparable
    folds = int(repeats[0].max()) + 1
    by_size = {**held_out_by_size, round(len(labels) * (1 - 1 / folds)): held_out[0]}
    curve = {0: systems["unadapted"].at(rows).correct}
    curve |= {n: HeldOut("adapted", [table], labels).at(rows).correct for n, table in by_size.items()}
    return AdaptedModel(phi, examples, group, systems, selection, curve)


def check_examples(examples: UserExamples) -> list[int]:
    """Check that there are enough examples, all labelled, and return their groups of duplicates."""
    where = str(examples.file) if examples.file else None
    unlabelled = [e.id for e in examples.examples if e.label is None]
    if unlabelled:
        what = f"{len(unlabelled)} of {len(examples.examples)} examples have no label, first {unlabelled[0]}"
        raise UserError(what, where, "adapting needs labels; 'metaxcr predict' does not")
    group = duplicate_groups(examples.examples)
    if len(set(group)) < MIN_EXAMPLES:
        what = f"{len(set(group))} different examples are too few to adapt to and to measure the result"
        fix = f"bring {MIN_EXAMPLES} or more; without any, 'metaxcr predict' uses the model as it is"
        raise UserError(what, where, fix)
    return group


def distinct_rows(group: Sequence[int]) -> list[int]:
    """Rows that do not repeat an earlier one, see :func:`metaxcr.fewshot.user_examples.duplicate_groups`."""
    return [row for row, head in enumerate(group) if row == head]


def encode_examples(
    examples: UserExamples,
    kind: str,
    store: ActivationCache,
    progress: Callable[[int, int], None],
    language: str | None = None,
) -> TaskData:
    """Encode a user's examples; their positions become their ids, because nothing else is surely unique.

    ``language`` is the one whose language adapter is active; None: that of the examples, empty: none.
    """
    numbered = [replace(e, id=f"{row}") for row, e in enumerate(examples.examples)]
    return encode_task(
        numbered, examples.phrase, store,
        kind=kind, implausible=examples.implausible, language=language, progress=progress,
    )  # fmt: skip


def finetune_settings(config: Config, settings: Settings, k: int) -> Finetune:
    """The model's own fine-tuning settings for k examples, except for those that the user gives."""
    given = {"steps": settings.steps, "lr": settings.lr}
    update = {name: value for name, value in given.items() if value is not None}
    tuning = config.finetune.for_shots(k).model_copy(update=update)
    return tuning.model_copy(update={"choose": None}) if update else tuning  # what is given is not chosen


def finetune_rows(
    start: Start, data: TaskData, rows: Sequence[int], tuning: Finetune, sampler: BatchSampler
) -> Params:
    """Fine-tune the meta-adapter on the examples at ``rows``."""
    phi, shots = start.phi, data.subset([data.ids[row] for row in rows])
    tuning, _, _ = choose_tuning(start.model, phi, [shots], tuning, sampler)
    for tuned, _, _ in finetune(start.model, phi, [shots], tuning, sampler):
        phi = tuned
    return phi


def predict_rows(
    model: ChoiceModel, phi: Params, data: TaskData, rows: Sequence[int], store: ActivationCache
) -> Probabilities:
    """Probabilities of the choices of the examples at ``rows``."""
    return predict(model, phi, [data.subset([data.ids[row] for row in rows])], store)[0][0]


def similarity_baseline(
    examples: UserExamples, start: Start, data: TaskData, store: ActivationCache
) -> Probabilities:
    """Answers of the untrained encoder: the cosine of the sentence vectors."""
    model = untrained_model(start.config, start.model.adapted.encoder)
    if start.model.kind != model.kind or start.model.adapted.languages:
        data = encode_examples(examples, model.kind, store, lambda done, total: None, language="")
    return predict_rows(model, model.params(), data, range(len(data)), store)
