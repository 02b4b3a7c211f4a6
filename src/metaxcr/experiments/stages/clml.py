"""CLML on auxiliary languages, for zero-shot in the tested ones."""

from metaxcr.adaptation import cross_lingual
from metaxcr.adaptation.draw import Draw
from metaxcr.adaptation.languages import Adaptation
from metaxcr.experiments.stages.context import RunContext
from metaxcr.experiments.stages.ctml import ctml_result
from metaxcr.meta.optim import Averager


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
    draw = Draw(run.store, seed, adaptation.name.replace(".", "/"))
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
