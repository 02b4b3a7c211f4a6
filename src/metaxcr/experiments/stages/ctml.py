"""CTML: cross-task meta-learning on the English sources."""

from typing import Any

from metaxcr.adaptation import cross_task
from metaxcr.adaptation.curricula import Draw
from metaxcr.experiments.stages.context import RunContext
from metaxcr.meta.inner import Params
from metaxcr.meta.optim import Averager
from metaxcr.meta.training import start
from metaxcr.scoring.build import build_model
from metaxcr.tasks.seeding import derive


def ctml(run: RunContext, unit: str, seed: int) -> None:
    """Meta-learn once per seed, for all languages and regimes."""
    settings = run.config.ctml
    draw = Draw(run.store, seed, "ctml")
    curriculum = cross_task(run.material.english, run.material.parallel, settings, draw)
    fresh = build_model(run.config, run.model.adapted.encoder, seed).params()
    begin = start(fresh, run.sampler.init(derive(seed, "sampler")), settings)
    state = run.meta(unit, "ctml", seed, curriculum, settings, begin)
    phi = Averager.result(state.average, state.phi)
    sampler = {f"sampler/{name}": tensor for name, tensor in state.sampler.items()}
    run.folder.save_state(f"ctml.seed{seed}", {**phi, **sampler})
    if seed == run.config.run.seeds[0]:
        run.publish("meta", phi)


def ctml_result(run: RunContext, seed: int) -> tuple[Params, dict[str, Any]]:
    """Parameters after CTML, and the sampler's state, from which CLML goes on."""
    tensors = run.folder.load_state(f"ctml.seed{seed}")
    sampler = {k.removeprefix("sampler/"): v for k, v in tensors.items() if k.startswith("sampler/")}
    return {k: v for k, v in tensors.items() if not k.startswith("sampler/")}, sampler
