"""The workshop: carries a job out in a run folder and makes the records of its cells."""

import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from metaxcr.config_io import config_hash
from metaxcr.evaluation.predictions import Predictions
from metaxcr.experiments.compare.jobs import Job, Listen
from metaxcr.experiments.compare.majority import majority
from metaxcr.experiments.compare.plan import Cell
from metaxcr.experiments.compare.record import AGAIN, Record, Spent, pack
from metaxcr.experiments.compare.store import CellStore
from metaxcr.experiments.environment import describe_environment, forget_peak
from metaxcr.experiments.folder import RunFolder
from metaxcr.experiments.kept import Kept
from metaxcr.experiments.prepare import read_data
from metaxcr.experiments.progress import Progress
from metaxcr.experiments.run import Shared, run
from metaxcr.files import replacing, write_json
from metaxcr.parse import read_json_object
from metaxcr.run_files import (
    COSTS,
    ENVIRONMENT,
    RESULTS,
    checked,
    read_costs,
    read_environment,
    read_results,
)


@dataclass(frozen=True)
class Workshop:
    """Carries out jobs.

    Args:
        folder: Run folders and shared CTML results are made in it.
        store: Takes finished cells.
        root: Data root given by the user.
        keep: Leave the run folders of finished jobs there.
        threads: Of each run; None: as many as there are cores.
        kept: What its process keeps between jobs; another process begins with nothing.
    """

    folder: Path
    store: CellStore
    root: Path | None = None
    keep: bool = False
    threads: int | None = None
    kept: Kept = field(default_factory=Kept, compare=False)

    def carry_out(self, job: Job, listen: Listen) -> None:
        """Run a job, or continue it, and put its cells into the store.

        Raises:
            UserError: Something that the user can mend.
        """
        cell = job.cells[0]
        if cell.kind == "majority":
            self._majority(job)
            return
        config = job.config
        if self.threads is not None:
            config = config.model_copy(
                update={"run": config.run.model_copy(update={"threads": self.threads})}
            )
        folder = self.folder / f"{job.name}-t{config.run.threads or 0}"
        progress = Told(listen)
        phases = ("baseline", "evaluate") if cell.kind == "similarity" else ("train", "adapt", "evaluate")
        shared = Shared(self.kept, partial(self._begin, job), partial(self._done, job))
        forget_peak()
        run(
            config, folder, progress=progress, root=self.root, resume=folder.exists(), phases=phases,
            command=cell.command, shared=shared,
        )  # fmt: skip
        self._collect(job, folder)
        if not self.keep:
            shutil.rmtree(folder, ignore_errors=True)

    def _ctml(self, job: Job) -> Path:
        return self.folder / "ctml" / f"{job.ctml}-t{self.threads or job.config.run.threads or 0}.safetensors"

    def _begin(self, job: Job, folder: RunFolder) -> None:
        """Put the CTML result of an earlier job into a run folder that has none yet."""
        unit, source = _ctml_unit(job), self._ctml(job)
        if unit in folder.journal.done:  # by a process that may have been ended before it kept the result
            self._done(job, folder, unit)
        elif job.ctml and source.is_file() and not folder.journal.unit:
            goal = folder.path / _ctml_name(job)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, goal)
            folder.finish(unit)

    def _done(self, job: Job, folder: RunFolder, unit: str) -> None:
        """Keep a CTML result with its costs, for the jobs after this one and whatever becomes of this one."""
        kept = self._ctml(job)
        if not job.ctml or unit != _ctml_unit(job) or kept.is_file():
            return
        write_json(kept.with_suffix(".json"), _stages(folder.path).get("ctml", {}))
        with replacing(kept) as temporary:
            shutil.copyfile(folder.path / _ctml_name(job), temporary)

    def _collect(self, job: Job, folder: Path) -> None:
        """Make a record of each cell."""
        costs = _stages(folder)
        if job.ctml:
            path = self._ctml(job).with_suffix(".json")
            costs["ctml"] = checked(Spent, read_json_object(path, AGAIN), str(path), AGAIN)
        results = read_results(folder / RESULTS)
        environment = read_environment(folder / ENVIRONMENT)
        environment.pop("command", None)
        path = folder / "checksums.json"
        checksums = checked(dict[str, str], read_json_object(path, AGAIN), str(path))
        found = {p.lang: p for p in map(Predictions.read, (folder / "predictions").glob("*.jsonl"))
                 if p.regime == job.cells[0].regime}  # fmt: skip
        parameters = results["shares"]["parameters"] if job.cells[0].kind == "trained" else {}
        for cell in job.cells:
            own = own_checksums(cell, checksums)
            record = Record(
                key=cell.key, config_hash=config_hash(cell.config, own, environment["dtype"]),
                kind=cell.kind, regime=cell.regime, k=found[cell.language].k, seed=cell.seed,
                costs=_own_costs(cell, costs, len(job.cells)),
                parameters=parameters, checksums=own, command=cell.command, environment=environment,
                **pack(found[cell.language]),
            )  # fmt: skip
            self.store.put(record, found[cell.language].ids)

    def _majority(self, job: Job) -> None:
        loaded = read_data(job.config, self.root, self.kept)
        environment = describe_environment(job.config, "")
        environment.pop("command")
        for cell in job.cells:
            found = majority(cell, loaded)
            record = Record(
                key=cell.key, config_hash=cell.key, kind=cell.kind, regime=cell.regime, k=cell.k,
                seed=cell.seed, costs={}, parameters={}, checksums={}, command="", environment=environment,
                **pack(found),
            )  # fmt: skip
            self.store.put(record, found.ids)


class Told(Progress):
    """Progress of a run, told to whoever carries the jobs out."""

    def __init__(self, listen: Listen) -> None:
        super().__init__(Console(quiet=True))
        self._listen = listen

    def update(self, label: str, done: int, total: int, note: str = "") -> None:
        """Tell it."""
        self._listen(label, done, total)


def own_checksums(cell: Cell, checksums: dict[str, str]) -> dict[str, str]:
    """Those of the files that a run of the cell alone reads."""
    target, auxiliary = cell.config.target, cell.config.target.auxiliary
    splits = [f"{target.task}/{split}/" for split in cell.config.target_splits]
    needed = {f"{split}{cell.language}" for split in splits}
    if auxiliary is not None and cell.regime == "zero-shot-aux":
        needed |= {f"{auxiliary.task}/{auxiliary.split}/{language}" for language in auxiliary.languages}
    return {
        place: value
        for place, value in checksums.items()
        if place in needed or not place.startswith(tuple(splits))
    }


def _ctml_unit(job: Job) -> str:
    return f"ctml seed {job.cells[0].seed}"


def _ctml_name(job: Job) -> str:
    return f"checkpoints/ctml.seed{job.cells[0].seed}.safetensors"


def _stages(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / COSTS
    if not path.is_file():
        return {}
    return {stage.pop("stage"): stage for stage in read_costs(path).get("stages", [])}


def _own_costs(cell: Cell, costs: dict[str, dict[str, Any]], cells: int) -> dict[str, dict[str, Any]]:
    """Costs of one cell: what serves all languages counts whole and is marked, the rest is shared out."""
    own = {}
    for name, stage in costs.items():
        whole = name in ("trunk", "ctml") or (name == "clml" and cell.regime == "zero-shot-aux")
        own[name] = {k: v for k, v in stage.items() if k in ("peak_rss_mb", "parts")}
        own[name]["seconds"] = round(stage["seconds"] if whole else stage["seconds"] / cells, 2)
        own[name]["token_passes"] = stage["token_passes"] if whole else round(stage["token_passes"] / cells)
        own[name]["shared"] = whole
    return own
