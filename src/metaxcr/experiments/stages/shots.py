"""What the shots teach: CLML towards a language, then fine-tuning."""

from metaxcr.adaptation import cross_lingual
from metaxcr.adaptation.curricula import Draw, halves
from metaxcr.experiments.stages.context import RunContext
from metaxcr.experiments.stages.ctml import ctml_result
from metaxcr.meta.optim import Averager
from metaxcr.meta.training import start

MIN_SHOTS_FOR_REWARD = 8  # below, a half is too small to pay the sampler: its reward stays English


def few_shot(run: RunContext, unit: str, seed: int, language: str) -> None:
    """CLML towards one language with its shots, then fine-tuning on all of them."""
    material = run.material
    shots = material.shot_pool[language].subset(material.shots[seed])
    clml = run.config.clml
    settings = clml.model_copy(update={"steps": clml.few_shot_steps, "outer_rate": clml.few_shot_rate})
    english = material.english
    purpose = f"few-shot/{language}"
    curriculum = cross_lingual(
        english,
        {language: shots},
        {"en": english.sources[english.target]},
        halves(shots) if len(shots) >= MIN_SHOTS_FOR_REWARD else english.reward,
        {},
        settings,
        Draw(run.store, seed, purpose),
    )
    phi, sampler_state = ctml_result(run, seed)
    begin, about = start(phi, sampler_state, settings), {"language": language}
    state = run.meta(unit, "clml", seed, curriculum, settings, begin, purpose, about)
    phi = run.finetune(Averager.result(state.average, state.phi), shots, seed)
    run.folder.save_state(f"few-shot.{language}.seed{seed}", phi)
    if seed == run.config.run.seeds[0]:
        run.publish(f"target.{run.config.target.task}.{language}", phi)
