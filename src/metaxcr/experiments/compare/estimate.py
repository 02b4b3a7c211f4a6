"""What a cell will cost, from its settings alone: rough, for planning and for the time left.

The model is that of ``metaxcr estimate`` (:mod:`metaxcr.experiments.cost_model`), on typical amounts:
no file is read.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from metaxcr.config import Config
from metaxcr.experiments.amounts import typical
from metaxcr.experiments.compare.jobs import Job, group
from metaxcr.experiments.cost_model import Work, works

if TYPE_CHECKING:
    from metaxcr.experiments.compare.compare import Comparison

START = 30_000  # token-passes that fit into the time in which a run reads what is new in it
STEPS = 40  # of a run of meta-training that are looked at: where no file is read, more tell nothing


def ctml_passes(config: Config) -> int:
    """Token-passes of CTML."""
    return round(sum(work.passes for work in _works(config) if work.stage == "ctml"))


def job_passes(job: Job, *, with_ctml: bool) -> int:
    """Token-passes of a job, its trunk left out.

    Args:
        job: One run.
        with_ctml: Whether it trains what it starts from; the jobs after it in a chain do not.
    """
    kind = job.cells[0].kind
    if kind == "majority":
        return 0
    # a job evaluates the untrained similarity where it is the method, and nowhere else
    wanted = [work for work in _works(job.config) if (work.regime == "none") == (kind == "similarity")]
    return round(
        sum(
            work.passes
            for work in wanted
            if (work.stage == "evaluate" or kind == "trained") and (work.stage != "ctml" or with_ctml)
        )
    )


def _works(config: Config) -> list[Work]:
    return works(config, typical(config), STEPS)


def weigh(chain: Sequence[Job]) -> list[tuple[Job, int]]:
    """The jobs of a chain with their token-passes, and what reading data takes, in token-passes, added."""
    return [(job, START + job_passes(job, with_ctml=place == 0)) for place, job in enumerate(chain)]


def chain_passes(chain: Sequence[Job]) -> int:
    """Token-passes of a chain."""
    return sum(passes for _, passes in weigh(chain))


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
