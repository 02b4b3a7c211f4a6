"""What a cell will cost, from its settings alone: rough, for planning and for the time left."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from metaxcr.config import Config, Meta
from metaxcr.experiments.compare.jobs import Job, group

if TYPE_CHECKING:
    from metaxcr.experiments.compare.compare import Comparison

# Tokens of a question with its choices, and of a sentence, measured with the embedded encoder's tokenizer on
# the sources of xcopa-embedded and on XCOPA; other tokenizers and sets are within a factor of two.
SOURCE, TARGET, SENTENCE = 60, 40, 30
CROSS = 1.6  # cross and joint scoring repeat the context with each choice
ITEMS = 500  # of a test set
START = 30_000  # token-passes that fit into the time in which a run reads what is new in it


def stage_passes(settings: Meta, steps: int, *, parallel: bool, pays: bool) -> int:
    """Token-passes of so many steps of CTML or CLML."""
    support = 3 * (1 if settings.learner in ("multi-task", "sequential") else settings.inner_steps)
    if settings.learner == "maml" and not settings.first_order:
        support += 6 * settings.inner_steps
    step = SOURCE * (support * settings.support + 3 * settings.query)
    step += 2 * SOURCE * settings.reward if pays else 0
    step += 6 * SENTENCE * settings.pairs if parallel and settings.alignment else 0
    return steps * step


def ctml_passes(config: Config) -> int:
    """Token-passes of CTML."""
    pays = config.sampler.kind not in ("uniform", "proportional", "temperature")
    return round(_factor(config) * stage_passes(
        config.ctml, config.ctml.steps, parallel=config.target.parallel is not None, pays=pays
    ))  # fmt: skip


def job_passes(job: Job, *, with_ctml: bool) -> int:
    """Token-passes of a job.

    Args:
        job: One run.
        with_ctml: Whether it trains what it starts from; the jobs after it in a chain do not.
    """
    cell, config, languages = job.cells[0], job.config, len(job.cells)
    if cell.kind == "majority":
        return 0
    passes = languages * ITEMS * TARGET
    if cell.kind == "trained":
        pays = config.sampler.kind not in ("uniform", "proportional", "temperature")
        if cell.regime == "few-shot":
            clml = stage_passes(config.clml, config.clml.few_shot_steps, parallel=False, pays=pays)
            tuning = 3 * TARGET * config.finetune.steps * min(config.finetune.batch, max(cell.k, 1))
            passes += languages * (clml + tuning)
        if cell.regime == "zero-shot-aux":
            passes += stage_passes(
                config.clml, config.clml.steps, parallel=config.target.parallel is not None, pays=pays
            )
    return round(_factor(config) * passes) + (
        ctml_passes(config) if with_ctml and cell.kind == "trained" else 0
    )


def weigh(chain: Sequence[Job]) -> list[tuple[Job, int]]:
    """The jobs of a chain with their token-passes, and what reading data takes, in token-passes, added."""
    return [(job, START + job_passes(job, with_ctml=place == 0)) for place, job in enumerate(chain)]


def chain_passes(chain: Sequence[Job]) -> int:
    """Token-passes of a chain."""
    return sum(passes for _, passes in weigh(chain))


def _factor(config: Config) -> float:
    return CROSS if config.scoring.kind != "dual" else 1.0


def cell_estimates(found: "Comparison") -> list[dict[str, Any]]:
    """List the cells of a grid with their state and their share of what is left to do.

    Args:
        found: The grid with its finished cells.
    """
    left: dict[str, float] = {}
    for chain in group(found.missing):
        for place, job in enumerate(chain):
            passes = job_passes(job, with_ctml=place == 0)
            left |= dict.fromkeys((cell.key for cell in job.cells), passes / len(job.cells))
    rows = []
    for cell in found.cells:
        state = "finished" if cell.key in found.records else "waits" if cell.waits else "to run"
        passes = round(left.pop(cell.key, 0.0)) if state == "to run" else 0
        state = "shared" if state == "to run" and not passes and cell.kind != "majority" else state
        row = {"cell": cell.label, "state": state, "token_passes": passes, "key": cell.key}
        rows.append(row | {"command": cell.command})
    return rows
