"""CLML on auxiliary languages, for zero-shot in the tested ones."""

from metaxcr.adaptation import cross_lingual
from metaxcr.adaptation.curricula import Draw
from metaxcr.experiments.stages.context import RunContext
from metaxcr.experiments.stages.ctml import ctml_result
from metaxcr.meta.optim import Averager
from metaxcr.meta.training import start


def clml(run: RunContext, unit: str, seed: int) -> None:
    """Meta-adapt on auxiliary languages: once per seed, for all tested languages."""
    settings, material = run.config.clml, run.material
    draw = Draw(run.store, seed, "clml")
    curriculum = cross_lingual(
        material.english,
        material.auxiliary,
        material.auxiliary,
        material.english.reward,
        material.parallel,
        settings,
        draw,
    )
    phi, sampler_state = ctml_result(run, seed)
    state = run.meta(unit, "clml", seed, curriculum, settings, start(phi, sampler_state, settings))
    run.folder.save_state(f"clml.seed{seed}", Averager.result(state.average, state.phi))
