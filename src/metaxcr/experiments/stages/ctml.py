"""CTML: cross-task meta-learning on the English sources."""

from metaxcr.adaptation import cross_task
from metaxcr.adaptation.draw import Draw
from metaxcr.experiments.stages.context import SAMPLER, RunContext
from metaxcr.meta.inner import Params
from metaxcr.meta.optim import Averager
from metaxcr.meta.state import State, start
from metaxcr.scoring.build import build_model
from metaxcr.tasks.seeding import derive


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
    draw = Draw(run.store, seed, f"ctml/{language}" if language else "ctml")
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
