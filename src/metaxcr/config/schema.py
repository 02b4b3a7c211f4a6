"""Every setting of a run, typed, with its unit. Unknown keys are errors."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from metaxcr.config.regimes import WITH_SHOTS, RegimeName
from metaxcr.errors import MetaXCRWarning, UserError

Count = Annotated[int, Field(ge=1, le=10**9)]
Width = Annotated[int, Field(ge=1, le=2**16)]  # of vectors: memory is taken for it
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what random number generators take
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def distinct(seeds: list[int]) -> list[int]:
    """Refuse a repeated seed: it would be trained twice and counted once."""
    repeated = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if repeated is not None:
        raise ValueError(f"seed {repeated} is named twice")
    return seeds


def listed(value: object) -> object:
    """Take one name for a list of it."""
    return [value] if isinstance(value, str) else value


RepairStep = Literal[
    "byte-order-mark", "line-ends", "digits", "repeated-keys", "question", "choices", "repeated-ids"
]


LearnerName = Literal[
    "anil", "fomaml", "imaml", "maml", "meta-sgd", "mmt", "multi-task", "reptile", "sequential", "x-metra-ada"
]


DtypeName = Literal["auto", "bfloat16", "float16", "float32"]


NamedLayers = Literal["all", "last-two", "top-third"]


TrackerName = Literal["tensorboard", "trackio", "mlflow", "wandb"]


def resolve_layers(layers: NamedLayers | list[int], depth: int) -> list[int]:
    """Numbers of the layers that a setting means in an encoder of ``depth`` layers; a list stays as it is."""
    if isinstance(layers, list):
        return layers
    size = {"all": depth, "last-two": min(2, depth), "top-third": max(1, round(depth / 3))}[layers]
    return list(range(depth - size, depth))


# settings of a machine or a run that cannot change a result: no hash has them
LOCAL_SETTINGS = (
    "run.threads",
    "run.checkpoint_every",
    "run.allow_leaks",
    "run.tracker",
    "run.device",
    "encoder.cache_gb",
)


@contextmanager
def accept_old_names() -> Iterator[None]:
    """Read files that the package itself wrote, perhaps an older version: old names need no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetaXCRWarning)
        yield


class Section(BaseModel):
    """A group of settings: immutable; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}  # old name of a setting -> its name; the old one is still accepted
    added: ClassVar[tuple[str, ...]] = ()  # settings that came later: at their defaults they are in no hash
    selector: ClassVar[str] = ""  # the setting that decides which others have an effect

    @classmethod
    def idle(cls, selected: Any) -> set[str]:
        """Settings without effect if :attr:`selector` has this value."""
        return set()

    @model_validator(mode="after")
    def _refuse_idle(self) -> Self:
        """Refuse a setting without effect that is not at its default."""
        selected = getattr(self, self.selector, None)
        for name in sorted(self.idle(selected)):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name!r} has no effect with {self.selector} {selected!r}; remove it")
        return self

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, settings: Any) -> Any:
        return cls.with_present_names(settings) if isinstance(settings, dict) else settings

    @classmethod
    def with_present_names(cls, settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        """Replace the old names of settings, with a warning that names the new ones.

        Args:
            settings: Of this section.
            prefix: Of the names, for the warning.

        Raises:
            UserError: A setting is there by both names.
        """
        for old, new in cls.renamed.items():
            if old not in settings:
                continue
            if new in settings:
                raise UserError(
                    f"{old!r} is the old name of {new!r}", f"setting {prefix}{old}", "remove one of them"
                )
            settings = {new if name == old else name: value for name, value in settings.items()}
            line = f"the setting '{prefix}{old}' is now called '{prefix}{new}'"
            warnings.warn(line, MetaXCRWarning, stacklevel=2)
        return settings

    def first_names(self) -> dict[str, Any]:
        """The settings as the first version knew them, for hashes.

        A setting keeps its first name, and one that came later is left out while it has its default: neither
        a new name nor a new setting changes the identity of what was computed before.
        """
        old = {new: old for old, new in self.renamed.items()}
        values = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in self.added and value == field.default:
                del values[name]
            elif isinstance(value, Section):
                values[name] = value.first_names()
        return {old.get(name, name): value for name, value in values.items()}


class Run(Section):
    """Settings of the whole run."""

    # one meta-training each
    seeds: Annotated[list[Seed], AfterValidator(distinct)] = Field(default=[0, 1, 2], min_length=1)
    # auto, cpu, cuda, cuda:N or mps; auto: a CUDA device where there is one, else Apple's mps, else the
    # processor. Random numbers are the same on all of them
    device: str = "auto"
    # None: as many as OMP_NUM_THREADS says, else as there are processors within the limits of the container
    threads: Count | None = None
    checkpoint_every: Count = 100  # steps
    regimes: list[RegimeName] = [
        "zero-shot",
        "zero-shot-aux",
        "few-shot",
    ]
    no_repair: list[RepairStep] = []  # steps of repair that are left out, in every file
    allow_leaks: bool = False  # go on where training data hold development or test items; results say so
    # experiment trackers that get the events, too: one name or several; needs the extra "tracking"
    tracker: Annotated[list[TrackerName], BeforeValidator(listed)] = []


class Encoder(Section):
    """The frozen multilingual encoder and its trunk cache."""

    # "embedded", a folder, a name on the Hugging Face hub, or "random:NAME": the shape of a known encoder
    # ("random-tiny:NAME": a small one of its family) with random weights, for trying things out offline
    name: str = "embedded"
    revision: str | None = (
        None  # commit, tag or branch on the hub; None: the newest, whose commit is recorded
    )
    prefix: str | None = None  # None: "query: " for the E5 family, nothing otherwise
    max_tokens: Count = 128  # a text; longer contexts are cut and counted, longer choices are an error
    # of the layers' arithmetic and of the cache; auto: what this machine computes fastest, see
    # docs/encoders.md
    dtype: DtypeName = "auto"
    cache_gb: Rate = 20.0  # bound of the trunk cache on disk, 10^9 bytes


# settings that have no effect with a kind of adapter
ADAPTERS_LACK: dict[str, tuple[str, ...]] = {
    "lora": ("nonlinearity",),
    "full": ("bottleneck", "nonlinearity", "scaling", "mixture"),
    "none": ("layers", "bottleneck", "nonlinearity", "scaling", "mixture"),
}


class Adapters(Section):
    """The stack."""

    # pfeiffer: after the feed-forward part; houlsby: after attention, too; parallel: beside the feed-forward
    # part; lora: on the query and value projections; full: no adapter, all weights of the layers are trained;
    # none: no adapter, the scorer alone is trained
    kind: Literal["pfeiffer", "houlsby", "parallel", "lora", "full", "none"] = "pfeiffer"
    layers: NamedLayers | list[int] = "top-third"  # that carry a task adapter, counted from 0
    bottleneck: Width = 192  # width; LoRA's rank r
    nonlinearity: Literal["relu", "gelu", "swish"] = "relu"  # LoRA has none
    scaling: Rate | None = None  # factor on what is added, LoRA's alpha / r; None: 4 for parallel, else 1
    mixture: bool = False  # one task adapter a source, and a learned mixture of them
    language: dict[str, str] = {}  # language -> folder of a frozen language adapter

    selector: ClassVar[str] = "kind"

    @classmethod
    def idle(cls, selected: Any) -> set[str]:
        """What this kind of adapter lacks."""
        return set(ADAPTERS_LACK.get(selected, ()))


class Scoring(Section):
    """From vectors to plausibilities."""

    # dual: the context's vector beside each choice's; joint: beside that of context and choice in one text;
    # cross: a linear function of the vector of both in one text
    kind: Literal["dual", "joint", "cross"] = "dual"
    temperature: Rate = 0.05
    negatives: Weight = 0.5  # weight of the in-batch term (dual)


class Source(Section):
    """One source task."""

    task: str
    split: str = "train"
    cap: Count | None = None  # examples; a fixed random subset, the same for every seed
    # "shuffled", "flipped": wrong labels for experiments on samplers; the source is then called TASK:LABELS
    labels: Literal["true", "shuffled", "flipped"] = "true"

    @property
    def name(self) -> str:
        """What events and figures call it."""
        return self.task if self.labels == "true" else f"{self.task}:{self.labels}"


class EnglishTarget(Section):
    """English data of the target task, cut once into parts that never overlap."""

    task: str
    split: str = "train"
    source: Share = 0.6  # used as one more source task
    query: Share = 0.2  # queries, where ctml.query_from is "target"
    reward: Share = 0.2  # the sampler's reward


class Auxiliary(Section):
    """Labelled data in auxiliary languages (regime zero-shot-aux)."""

    task: str
    split: str = "train"
    languages: list[str] = Field(min_length=1)  # one that is tested is never used for itself
    # None: all of them; else this many for each tested language, the nearest by the encoder's vectors of
    # target.parallel
    nearest: Count | None = None


class ParallelText(Section):
    """Unlabelled parallel sentences: English beside each language."""

    corpus: str = "flores200"
    split: str = "dev"
    languages: list[str] = Field(min_length=1)


class Target(Section):
    """The target task."""

    task: str
    languages: list[str] = Field(min_length=1)
    # where the k shots of a language come from; None: nowhere, for zero-shot runs on a task with one split
    shots_split: str | None = "val"
    k: Annotated[int, Field(ge=2)] = 16  # shots in the few-shot regime
    shots_file: Path | None = None  # take these item ids as shots instead of drawing k; their number is k
    english: EnglishTarget
    auxiliary: Auxiliary | None = None
    parallel: ParallelText | None = None


class ImamlSettings(Section):
    """The inner problem of iMAML, and the linear system of its meta-gradient."""

    strength: Rate = 1.0  # lambda: phi' pays lambda / 2 times its squared distance from phi
    cg_steps: Count = 5  # conjugate gradient iterations, a Hessian product each
    damping: Weight = 0.0  # added to the diagonal of I + H / lambda


# settings that only some learners use
ONLY_FOR: dict[str, tuple[str, ...]] = {
    "first_order": ("anil", "maml", "meta-sgd"),
    "meta_params_lr": ("meta-sgd",),
    "imaml": ("imaml",),
    "inner_steps": ("anil", "fomaml", "imaml", "maml", "meta-sgd", "mmt", "reptile", "x-metra-ada"),
}


class Meta(Section):
    """What CTML and CLML have in common."""

    renamed: ClassVar[dict[str, str]] = {
        "inner_rate": "inner_lr",
        "outer_rate": "outer_lr",
        "own_rate": "meta_params_lr",
    }
    added: ClassVar[tuple[str, ...]] = ("scorer_lr", "mixture_lr", "alignment_every")

    steps: Annotated[int, Field(ge=0)] = 400  # episodes
    support: Count = 16  # questions a support batch
    query: Count = 16  # questions a query batch
    learner: LearnerName = "fomaml"  # docs/learners.md describes each
    first_order: bool = False  # leave out second derivatives (anil, maml, meta-sgd)
    inner_steps: Count = 1  # K
    inner_lr: Rate = 0.05  # alpha
    tasks_per_step: Count = 1  # episodes whose mean meta-gradient makes one outer step
    outer_lr: Rate = 1e-3  # beta, peak; linear warm-up, then linear decay to a tenth
    scorer_lr: Rate | None = None  # outer_lr of the scorer; None: outer_lr
    mixture_lr: Rate | None = None  # outer_lr of the weights of adapters.mixture; None: outer_lr
    meta_params_lr: Rate = 0.01  # the same for Meta-SGD's learned inner rates, in units of inner_lr
    warmup: Share = 0.1  # share of the steps
    average: Share = 0.25  # last share of the steps whose parameters are averaged
    reward: Count = 64  # questions a reward batch
    alignment: Weight = 0.0  # weight of the contrastive term on parallel text in the outer objective
    alignment_every: Count = 1  # episodes from one with the alignment term to the next
    pairs: Annotated[int, Field(ge=2)] = 32  # sentence pairs of such an episode
    health_every: Count = 10  # episodes between two looks at what the inner loop does
    imaml: ImamlSettings = ImamlSettings()

    selector: ClassVar[str] = "learner"

    @classmethod
    def idle(cls, selected: Any) -> set[str]:
        """What is for other learners."""
        return {name for name, learners in ONLY_FOR.items() if selected not in learners}

    @model_validator(mode="after")
    def _fits_the_learner(self) -> "Meta":
        """Refuse a batch of one source where the learner needs several."""
        if self.learner == "mmt" and self.tasks_per_step == 1:
            raise ValueError("learner mmt needs a batch of sources: set tasks_per_step to their number")
        return self


class Ctml(Meta):
    """Cross-task meta-learning."""

    # B_q from the sampled source, or from the English target data
    query_from: Literal["source", "target"] = "source"
    # what rewards are measured on: English target data, in one CTML run; or the k shots of the tested
    # language, in a CTML run for each language of the few-shot regime
    reward_data: Literal["english", "shots"] = "english"


class Clml(Meta):
    """Cross-lingual meta-learning."""

    renamed: ClassVar[dict[str, str]] = {**Meta.renamed, "few_shot_rate": "few_shot_lr"}

    cross_task: Share = 0.5  # share of cross-task episodes; the others are cross-lingual
    # how the support language of a cross-lingual episode is chosen: at random, or by a second policy with
    # the settings of ``sampler`` and the same reward
    languages: Literal["uniform", "reinforce"] = "uniform"
    # an adapter for each tested language (zero-shot-aux, pooled-shots), or one for all of them
    per_language: bool = False
    # what rewards are measured on in the regimes with shots: half of them, or English target data
    reward_data: Literal["shots", "english"] = "shots"
    few_shot_steps: Annotated[int, Field(ge=0)] = 12  # episodes a language in the regimes with shots
    few_shot_lr: Rate = 1e-4  # peak of outer_lr there: k shots are few, and soon overfitted

    @model_validator(mode="after")
    def _active(self) -> "Clml":
        """Refuse a setting that would have no effect."""
        if self.languages != "uniform" and self.cross_task == 1:
            raise ValueError("with cross_task: 1 no language is chosen; languages has to be uniform")
        if self.languages != "uniform" and self.learner in ("mmt", "sequential"):
            raise ValueError(f"learner {self.learner} has an order of its own; languages has to be uniform")
        return self


class RewardSettings(Section):
    """The reward of a sampler that learns."""

    added: ClassVar[tuple[str, ...]] = ("all_first",)

    # drop of the loss, gain of accuracy, or cosine of the support step and the target's gradient
    kind: Literal["gradient-cosine", "loss-drop", "accuracy-gain"] = "gradient-cosine"
    sources: Literal["drawn", "all"] = "drawn"  # "all": every source takes a support step, which is expensive
    all_first: Annotated[int, Field(ge=0)] = (
        0  # the first steps of CTML with rewards of all sources: a warm start
    )
    every: Count = 1  # steps between two rewards; in between the sampler does not learn
    # steps that one gradient of the target serves; None: 8 (gradient-cosine), 1 (the others, always)
    refresh: Count | None = None

    @model_validator(mode="after")
    def _active(self) -> "RewardSettings":
        """Refuse a setting that would have no effect."""
        if (self.refresh or 1) > 1 and self.kind != "gradient-cosine":
            raise ValueError(f"'refresh' has no effect on the reward {self.kind!r}; remove it")
        if self.all_first and self.sources == "all":
            raise ValueError("'all_first' has no effect where all sources are rewarded anyway; remove it")
        return self


# the settings that each kind of sampler uses
_LEARNS = {"floor", "warmup", "reward"}
_SCALED = _LEARNS | {"s_min", "memory"}
SAMPLER_SETTINGS: dict[str, set[str]] = {
    "uniform": set(),
    "proportional": set(),
    "temperature": {"temperature"},
    "exp3": _SCALED | {"lr"},
    "ucb": _SCALED | {"bonus", "discount"},
    "thompson": _SCALED | {"discount"},
    "multidds": _LEARNS | {"lr"},
    "reinforce": _SCALED | {"lr", "hidden", "entropy", "barrier", "window", "balance", "baseline", "horizon"},
}
LEARNING_SAMPLERS = tuple(kind for kind, names in SAMPLER_SETTINGS.items() if "reward" in names)


class SamplerSettings(Section):
    """How the source task of an episode is picked."""

    renamed: ClassVar[dict[str, str]] = {"rate": "lr"}

    kind: Literal[
        "reinforce", "uniform", "proportional", "temperature", "exp3", "ucb", "thompson", "multidds"
    ] = "reinforce"
    # samplers that learn
    reward: RewardSettings = RewardSettings()
    floor: Share = 0.12  # share of the draws that is uniform: each source keeps this much over their number
    warmup: Annotated[int, Field(ge=0)] = 10  # episodes with uniform draws
    lr: Rate | None = None  # learning rate; None: 0.3 (reinforce), 0.1 (exp3), 1.0 (multidds)
    s_min: Rate = 1e-9  # smallest standard deviation that rewards are divided by (not multidds)
    memory: Share = 0.95  # decay, a reward, of the mean and variance that rewards are standardised with
    # reinforce
    hidden: Width = 16  # width of the policy's LSTM
    window: Count = 8  # rewards between two updates of the policy
    entropy: Weight = 0.05  # weight of the entropy bonus, nats
    # weight of the log barrier, which pulls towards uniform even where a source is rare
    barrier: Weight = 0.15
    balance: Share = 0.5  # rare draws weigh (1 / (n q)) ** balance
    baseline: Literal["running", "learned"] = "running"  # mean of earlier rewards, or the policy's value head
    horizon: Annotated[float, Field(gt=1)] = 250.0  # rewards until evidence about a source fades to 1 / e
    # others
    temperature: Rate = 2.0  # T of size ** (1 / T): 1 is proportional, large is uniform
    bonus: Weight = 1.0  # ucb: weight of the confidence width
    discount: Annotated[float, Field(gt=0, le=1)] = 0.99  # ucb, thompson: weight of a reward one reward later

    selector: ClassVar[str] = "kind"

    @classmethod
    def idle(cls, selected: Any) -> set[str]:
        """What is for other samplers."""
        return cls.model_fields.keys() - {"kind"} - SAMPLER_SETTINGS.get(selected, cls.model_fields.keys())


class Tuning(Section):
    """Length and rate of fine-tuning."""

    steps: Annotated[int, Field(ge=0)] = 40
    lr: Rate = 2e-4  # peak


class ManyShots(Tuning):
    """Fine-tuning on more shots: further steps at a higher rate pay only there."""

    at: Annotated[int, Field(ge=2)] = 32  # shots from which on these steps and this rate hold


class TuningChoice(Section):
    """The candidate with the lowest loss on held-out shots wins; one of 0 steps is no fine-tuning."""

    candidates: list[Tuning] = Field(min_length=1)
    folds: Annotated[int, Field(ge=2)] = 4


class Finetune(Section):
    """Few-shot fine-tuning: a fixed number of steps on all shots."""

    renamed: ClassVar[dict[str, str]] = {"rate": "lr"}
    added: ClassVar[tuple[str, ...]] = ("optimizer", "scorer_lr", "many_shots", "choose")

    # adam: with warm-up, decay and averaging; sgd: constant steps, those of the inner loop of meta-training
    optimizer: Literal["adam", "sgd"] = "adam"

    steps: Annotated[int, Field(ge=0)] = 10
    batch: Count = 16  # questions
    lr: Rate = 5e-5  # peak
    scorer_lr: Rate | None = None  # that of the scorer below many_shots.at shots; None: lr
    many_shots: ManyShots | None = None  # None: the same steps and rate for any number of shots
    choose: TuningChoice | None = None  # in place of steps and lr: chosen by cross-validation on the shots
    warmup: Share = 0.1
    average: Share = 0.5  # last share of the steps that is averaged

    selector: ClassVar[str] = "optimizer"

    @classmethod
    def idle(cls, selected: Any) -> set[str]:
        """What plain gradient steps do not have."""
        return {"warmup", "average", "scorer_lr"} if selected == "sgd" else set()

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        """Refuse two rules for the same choice."""
        if self.choose and self.many_shots:
            raise ValueError("'choose' and 'many_shots' both set steps and rate; remove one of them")
        return self

    def with_tuning(self, tuning: Tuning) -> "Finetune":
        """These settings with fixed steps and rate."""
        update = {"steps": tuning.steps, "lr": tuning.lr, "scorer_lr": None, "many_shots": None}
        return self.model_copy(update=update | {"choose": None})

    def for_shots(self, k: int) -> "Finetune":
        """The settings for k shots, :attr:`many_shots` resolved."""
        many = self.many_shots
        if many is None or k < many.at:
            return self.model_copy(update={"many_shots": None})
        return self.with_tuning(many)


class Evaluate(Section):
    """What is reported."""

    split: str = "test"
    raw: bool = False  # also on the files as published, defects included
    english: str | None = None  # task with the English version of the test items: one more reported row


class Config(Section):
    """A whole run: the keys of a configuration file."""

    run: Run = Run()
    encoder: Encoder = Encoder()
    adapters: Adapters = Adapters()
    scoring: Scoring = Scoring()
    sources: list[Source] = Field(min_length=1)
    target: Target
    sampler: SamplerSettings = SamplerSettings()
    ctml: Ctml = Ctml()
    clml: Clml = Clml()
    finetune: Finetune = Finetune()
    evaluate: Evaluate = Evaluate()

    @property
    def regimes(self) -> list[RegimeName]:
        """The regimes that the run covers: without auxiliary data there is no zero-shot-aux."""
        return [name for name in self.run.regimes if name != "zero-shot-aux" or self.target.auxiliary]

    @property
    def target_splits(self) -> list[str]:
        """Splits of the target task: that of the shots, where there is one, and the evaluated one."""
        return [split for split in (self.target.shots_split, self.evaluate.split) if split is not None]

    @model_validator(mode="after")
    def _shots_come_from_somewhere(self) -> Self:
        """Refuse regimes with shots where there is no split to take them from."""
        with_shots = [regime for regime in self.run.regimes if regime in WITH_SHOTS]
        if self.target.shots_split is None and with_shots:
            raise ValueError(
                f"target.shots_split is null, so the regime {with_shots[0]} has no shots; name a split, or "
                "leave the regime out of run.regimes"
            )
        return self

    @model_validator(mode="after")
    def _mixture_lr_has_a_mixture(self) -> Self:
        """Refuse a learning rate of what is not there."""
        for stage in ("ctml", "clml"):
            if getattr(self, stage).mixture_lr and not self.adapters.mixture:
                raise ValueError(f"{stage}.mixture_lr has no effect without adapters.mixture; remove it")
        return self

    @model_validator(mode="after")
    def _alignment_moves_something(self) -> Self:
        """Refuse to align vectors that no training changes."""
        for stage in ("ctml", "clml"):
            if self.adapters.kind == "none" and getattr(self, stage).alignment:
                raise ValueError(
                    f"{stage}.alignment has no effect with adapters.kind none, which leaves all vectors as "
                    "they are; set it to 0"
                )
        return self


SHIPPED = Path(__file__).parent / "presets"
