"""What the shots teach: CLML towards their languages, then fine-tuning on them."""

from metaxcr.adaptation import cross_lingual
from metaxcr.adaptation.draw import Draw
from metaxcr.config import Clml
from metaxcr.experiments.stages.context import RunContext
from metaxcr.experiments.stages.ctml import ctml_result
from metaxcr.meta.optim import Averager
from metaxcr.scoring.batch import TaskData

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
    draw = Draw(run.store, seed, f"few-shot/{language}")
    settings, reward = with_shots(run.config.clml, 1), _reward(run, shots)
    others = {"en": english.sources[english.target]}
    curriculum = cross_lingual(english, {language: shots}, others, reward, {}, settings, draw)
    own = language if run.config.ctml.reward_data == "shots" else None
    phi, sampler_state = ctml_result(run, seed, own)
    state = run.adapt(unit, seed, curriculum, settings, phi, sampler_state, draw, {"language": language})
    tuned = Draw(run.store, seed, f"finetune/{language}")
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
    settings, draw = with_shots(run.config.clml, len(target)), Draw(run.store, seed, name.replace(".", "/"))
    others = {"en": english.sources[english.target], **shots}
    reward = _reward(run, next(iter(shots.values())))
    curriculum = cross_lingual(english, target, others, reward, {}, settings, draw)
    about = {"regime": "pooled-shots", **({"language": language} if language else {})}
    phi, sampler_state = ctml_result(run, seed)
    state = run.adapt(unit, seed, curriculum, settings, phi, sampler_state, draw, about)
    tuned = Draw(run.store, seed, f"finetune/{name}")
    phi = run.finetune(unit, Averager.result(state.average, state.phi), list(target.values()), tuned, about)
    run.folder.save_state(f"{name}.seed{seed}", phi)
    run.publish_target("pooled-shots", seed, target, phi)


def pooled_baseline(run: RunContext, unit: str, seed: int) -> None:
    """Fine-tuning alone on the same labels as :func:`pooled`: what CLML has to beat there."""
    shots = [run.material.shots_of(name, seed) for name in run.material.shot_pool]
    draw, about = Draw(run.store, seed, "finetune/pooled-alone"), {"regime": "pooled-shots", "clml": False}
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
