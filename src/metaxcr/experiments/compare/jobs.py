"""Jobs: what is run at once. Cells that differ in the language only are one run; runs share their CTML."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from metaxcr.config import Clml, Config, Evaluate, Finetune
from metaxcr.experiments.compare.plan import Cell, cell_key
from metaxcr.tasks import task_spec


@dataclass(frozen=True)
class Job:
    """Cells that one run gives.

    Attributes:
        cells: They differ in the language only.
        config: Settings of the run, with all their languages.
        ctml: Key of the CTML run that they start from; empty where they share none.
    """

    cells: tuple[Cell, ...]
    config: Config
    ctml: str

    @property
    def label(self) -> str:
        """The job in words."""
        languages = " ".join(cell.language for cell in self.cells)
        first = self.cells[0]
        return first.label.replace(f" {first.language}", f" {languages}", 1)

    @property
    def name(self) -> str:
        """Of its run folder."""
        return "job-" + hashlib.sha256(" ".join(cell.key for cell in self.cells).encode()).hexdigest()[:16]


class Listen(Protocol):
    """Told how far a job is: what it does, steps done, steps in all."""

    def __call__(self, label: str, done: int, total: int) -> None:
        """Hear it."""
        ...


def group(cells: Sequence[Cell]) -> list[list[Job]]:
    """Put cells together into jobs, and jobs that share a CTML run into chains, which are run in order.

    Args:
        cells: With different keys.

    Returns:
        Chains, in the order of their first cells.
    """
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(_group_key(cell), []).append(cell)
    chains: dict[str, list[Job]] = {}
    for key, members in alike.items():
        languages = [cell.language for cell in members]
        first = members[0].config
        config = first.model_copy(update={"target": first.target.model_copy(update={"languages": languages})})
        job = Job(tuple(members), config, _ctml_key(members[0]))
        chains.setdefault(job.ctml or key, []).append(job)
    return list(chains.values())


def _group_key(cell: Cell) -> str:
    """Equal for cells that one run can give without changing any of their results."""
    target = cell.config.target
    # in a set that is not parallel, shots are drawn in each language for itself
    with_shots = cell.regime == "few-shot" or cell.config.evaluate.split == target.shots_split
    together = task_spec(target.task).parallel or not with_shots
    if cell.regime == "zero-shot-aux" and target.auxiliary is not None:
        # a tested language is never its own auxiliary one, so those could differ between languages
        together = together and cell.language not in target.auxiliary.languages
        together = together and not getattr(target.auxiliary, "nearest", None)
        together = together and not getattr(cell.config.clml, "per_language", False)
    if not together:
        return cell.key
    config = cell.config.model_copy(update={"target": target.model_copy(update={"languages": ["-"]})})
    return cell_key(config, cell.kind, cell.regime)


def _ctml_key(cell: Cell) -> str:
    """Key of what happens before CLML, for methods that train and whose CTML looks at no target language."""
    if cell.kind != "trained" or getattr(cell.config.ctml, "reward_data", "english") != "english":
        return ""
    target = cell.config.target.model_copy(
        update={
            "task": "-",  # English data pay the sampler
            "languages": ["-"],
            "k": 2,
            "shots_file": None,
            "shots_split": "-",
            "auxiliary": None,
        }
    )
    later = {"clml": Clml(), "finetune": Finetune(), "evaluate": Evaluate(), "target": target}
    return cell_key(cell.config.model_copy(update=later), "ctml", "zero-shot")
