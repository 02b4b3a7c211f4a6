"""CTML: cross-task meta-learning on the English sources.

CLML on auxiliary languages, for zero-shot in the tested ones.

What the shots teach: CLML towards their languages, then fine-tuning on them.

Evaluation: the predictions of every language, regime and seed.

The units of work of a run, one stage a file: CTML, CLML, what the shots teach, evaluation.
"""

from metaxcr.training.episodes import cross_task
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.runs.context import SAMPLER, RunContext
from metaxcr.autodiff import Params
from metaxcr.optim import Averager
from metaxcr.training.loop import State, start
from metaxcr.model.build import build_model
from metaxcr.seeding import derive
from metaxcr.training.episodes import cross_lingual
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.training.auxiliary_languages import Adaptation
from metaxcr.runs.context import RunContext
from metaxcr.optim import Averager
from metaxcr.training.episodes import cross_lingual
from metaxcr.training.batch_sampler import BatchSampler
from metaxcr.config.schema import Clml
from metaxcr.runs.context import RunContext
from metaxcr.optim import Averager
from metaxcr.model.batch import TaskData
from metaxcr.config.schema import WITH_SHOTS
from metaxcr.evaluation.predictions import predict
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import ALONE
from metaxcr.runs.context import RunContext
from metaxcr.autodiff import Params
from metaxcr.model.batch import TaskData
from metaxcr.model.build import untrained_model

def ctml(run: RunContext, unit: str, seed: int, language: str | None = None) -> None:
    """Meta-learn once per seed, for all languages and regimes.

    Args:
        run: What the stages work with.
        unit: Name of the unit of work.
        seed: Of the run.
        language: Whose shots pay the sampler (``ctml.reward_data: shots``): a run of its own, for the regime
            few-shot in that language alone. None: English target data do.
    """
    settings, material, name = run.config.ctml, run.material, _name(seed, language)
    draw = BatchSampler(run.store, seed, f"ctml/{language}" if language else "ctml")
    run.encode_pairs(unit, "ctml", draw, material.parallel, settings)
    shots = material.shots_of(language, seed) if language else None
    curriculum = cross_task(material.english, material.parallel, settings, draw, shots)
    fresh = build_model(run.config, run.model.adapted.encoder, seed).params()
    begin = start(fresh, run.sampler.init(derive(seed, "sampler")), settings)
    about = {"language": language} if language else None
    state = run.meta(unit, "ctml", seed, curriculum, settings, begin, purpose=draw.purpose, about=about)
    phi = Averager.result(state.average, state.phi)
    sampler = {SAMPLER + key: tensor for key, tensor in state.sampler.items()}
    run.folder.save_state(name, {**phi, **sampler})
    if seed == run.config.run.seeds[0] and not language:
        run.publish("meta", phi)


def ctml_result(run: RunContext, seed: int, language: str | None = None) -> tuple[Params, State]:
    """Parameters after CTML, and the sampler's state, from which CLML goes on; arguments as there."""
    return run.load_phi(_name(seed, language))


def _name(seed: int, language: str | None) -> str:
    return f"ctml.{language}.seed{seed}" if language else f"ctml.seed{seed}"

def clml(run: RunContext, unit: str, seed: int, adaptation: Adaptation) -> None:
    """Meta-adapt on auxiliary languages, for the tested languages of ``adaptation``.

    Args:
        run: What the stages work with.
        unit: Name of the unit of work.
        seed: Of the run.
        adaptation: Auxiliary and tested languages, which never overlap.
    """
    settings, material = run.config.clml, run.material
    data = {language: material.auxiliary[language] for language in adaptation.auxiliary}
    parallel = material.parallel
    if adaptation.alone:
        parallel = {name: text for name, text in parallel.items() if name in ("en", *adaptation.tested)}
    draw = BatchSampler(run.store, seed, adaptation.name.replace(".", "/"))
    run.encode_pairs(unit, "clml", draw, parallel, settings)
    curriculum = cross_lingual(
        material.english, data, data, material.english.reward, parallel, settings, draw
    )
    phi, sampler_state = ctml_result(run, seed)
    about = {} if adaptation.name == "clml" else {"adaptation": adaptation.name}
    state = run.adapt(unit, seed, curriculum, settings, phi, sampler_state, draw, about)
    phi = Averager.result(state.average, state.phi)
    run.folder.save_state(f"{adaptation.name}.seed{seed}", phi)
    run.publish_target("zero-shot-aux", seed, adaptation.tested, phi)

MIN_SHOTS_FOR_REWARD = 8  # below, a half is too small to pay the sampler: its reward stays English


def few_shot(run: RunContext, unit: str, seed: int, language: str) -> None:
    """CLML towards one language with its shots, then fine-tuning on all of them.

    Args:
        run: What the stages work with.
        unit: Name of the unit of work.
        seed: Of the run.
        language: The tested one; no label in another language than it and English is used.
    """
    english, shots = run.material.english, run.material.shots_of(language, seed)
    draw = BatchSampler(run.store, seed, f"few-shot/{language}")
    settings, reward = with_shots(run.config.clml, 1), _reward(run, shots)
    others = {"en": english.sources[english.target]}
    curriculum = cross_lingual(english, {language: shots}, others, reward, {}, settings, draw)
    own = language if run.config.ctml.reward_data == "shots" else None
    phi, sampler_state = ctml_result(run, seed, own)
    state = run.adapt(unit, seed, curriculum, settings, phi, sampler_state, draw, {"language": language})
    tuned = BatchSampler(run.store, seed, f"finetune/{language}")
    phi = run.finetune(
        unit, Averager.result(state.average, state.phi), [shots], tuned, {"language": language}
    )
    run.folder.save_state(f"few-shot.{language}.seed{seed}", phi)
    run.publish_target("few-shot", seed, [language], phi)


def pooled(run: RunContext, unit: str, seed: int, language: str | None = None) -> None:
    """CLML among all languages with shots, then fine-tuning: k labels in each of several languages.

    Args:
        run: What the stages work with.
        unit: Name of the unit of work.
        seed: Of the run.
        language: For this one alone (``clml.per_language``): queries and fine-tuning in it, support in the
            others. None: one adapter for all.
    """
    shots = {name: run.material.shots_of(name, seed) for name in run.material.shot_pool}
    english = run.material.english
    target = {language: shots[language]} if language else shots
    name = f"pooled.{language}" if language else "pooled"
    settings, draw = with_shots(run.config.clml, len(target)), BatchSampler(run.store, seed, name.replace(".", "/"))
    others = {"en": english.sources[english.target], **shots}
    reward = _reward(run, next(iter(shots.values())))
    curriculum = cross_lingual(english, target, others, reward, {}, settings, draw)
    about = {"regime": "pooled-shots", **({"language": language} if language else {})}
    phi, sampler_state = ctml_result(run, seed)
    state = run.adapt(unit, seed, curriculum, settings, phi, sampler_state, draw, about)
    tuned = BatchSampler(run.store, seed, f"finetune/{name}")
    phi = run.finetune(unit, Averager.result(state.average, state.phi), list(target.values()), tuned, about)
    run.folder.save_state(f"{name}.seed{seed}", phi)
    run.publish_target("pooled-shots", seed, target, phi)


def pooled_baseline(run: RunContext, unit: str, seed: int) -> None:
    """Fine-tuning alone on the same labels as :func:`pooled`: what CLML has to beat there."""
    shots = [run.material.shots_of(name, seed) for name in run.material.shot_pool]
    draw, about = BatchSampler(run.store, seed, "finetune/pooled-alone"), {"regime": "pooled-shots", "clml": False}
    run.folder.save_state(
        f"pooled-alone.seed{seed}", run.finetune(unit, ctml_result(run, seed)[0], shots, draw, about)
    )


def with_shots(clml: Clml, languages: int) -> Clml:
    """CLML's settings where it learns from shots: so many episodes a language."""
    steps = clml.few_shot_steps * languages
    return clml.model_copy(update={"steps": steps, "outer_rate": clml.few_shot_rate})


def _reward(run: RunContext, shots: TaskData) -> TaskData | None:
    """What pays the sampler: None stands for halves of the shots."""
    return None if shots_pay(run.config.clml, len(shots)) else run.material.english.reward


def shots_pay(clml: Clml, k: int) -> bool:
    """Whether halves of k shots pay the sampler, rather than English target data."""
    return k >= MIN_SHOTS_FOR_REWARD and clml.reward_data == "shots"

METHODS = {
    "none": ("similarity",),
    "zero-shot": ("ctml",),
    "zero-shot-aux": ("clml",),
    "few-shot": ("finetune",),
    "pooled-shots": ("finetune", ALONE),
}


def evaluate(run: RunContext, unit: str, regime: str, seed: int | None) -> None:
    """Predict every evaluated language that the regime covers and write the predictions."""
    languages = {language for language, _ in run.material.evaluation}
    if regime in WITH_SHOTS:
        languages &= run.material.shot_pool.keys()
    if regime == "zero-shot-aux":
        languages &= run.material.auxiliary_for.keys()
    with run.costs.stage("evaluate"):
        for done, language in enumerate(sorted(languages)):
            for method in METHODS[regime]:
                _predict(run, language, method, regime, seed)
            run.progress.update(unit, done + 1, len(languages))


def _predict(run: RunContext, language: str, method: str, regime: str, seed: int | None) -> None:
    kinds = [kind for lang, kind in run.material.evaluation if lang == language]
    model = run.model
    if regime == "none":
        model = untrained_model(run.config, run.model.adapted.encoder)
        sets, phi = [run.material.baseline[language, kind] for kind in kinds], model.params()
    else:
        assert seed is not None
        sets = [run.material.evaluation[language, kind] for kind in kinds]
        phi = _phi(run, regime, method, seed, language)
    probabilities, tokens = predict(model, phi, sets, run.store)
    run.costs.add_passes("evaluate", tokens)
    for kind, data, p in zip(kinds, sets, probabilities, strict=True):
        _record(run, data, kind, method, regime, seed, p).write(run.folder.path / "predictions")


def _phi(run: RunContext, regime: str, method: str, seed: int, language: str) -> Params:
    """The parameters that answer in a language under a regime."""
    if regime == "zero-shot":
        return ctml_result(run, seed)[0]
    if regime == "zero-shot-aux":
        name = run.material.auxiliary_for[language].name
    elif regime == "few-shot":
        name = f"few-shot.{language}"
    elif method == ALONE:
        name = "pooled-alone"
    else:
        name = f"pooled.{language}" if run.config.clml.per_language else "pooled"
    return run.load_phi(f"{name}.seed{seed}")[0]


def _labels(run: RunContext, regime: str, seed: int | None, language: str) -> tuple[int, int]:
    """Labels used in the tested language, and in all languages but English together."""
    material = run.material
    if regime == "zero-shot-aux":
        used = material.auxiliary_for[language].auxiliary
        return 0, sum(len(material.auxiliary[name]) for name in used)
    if seed is None or regime not in WITH_SHOTS:
        return 0, 0
    k = len(material.shots[seed])
    return k, k * (len(material.shot_pool) if regime == "pooled-shots" else 1)


def _record(
    run: RunContext,
    data: TaskData,
    kind: str,
    method: str,
    regime: str,
    seed: int | None,
    probabilities: list[list[float]],
) -> Predictions:
    k, total = _labels(run, regime, seed, data.language)
    return Predictions(
        task=data.task,
        lang=data.language,
        split=run.config.evaluate.split,
        data=kind,
        regime=regime,
        method=method,
        seed=seed,
        k=k,
        total_labels=total,
        ids=data.ids,
        probabilities=probabilities,
        labels=data.questions.labels.tolist(),
    )
