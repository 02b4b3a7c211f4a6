"""Jobs: what is run at once. Cells that differ in the language only are one run; runs share their CTML.

The workshop: carries a job out in a run folder and makes the records of its cells.

The majority baseline: the most frequent place of the right choice among the labels that are allowed.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from metaxcr.compare.cell_store import AGAIN, CellRecord, CellStore, Spent, pack
from metaxcr.compare.plan import GridCell, cell_key
from metaxcr.config.io import config_hash
from metaxcr.config.schema import Clml, Config, Evaluate, Finetune
from metaxcr.data.registry import task_spec
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import read_results
from metaxcr.files import replacing, write_json
from metaxcr.parse import read_json_object
from metaxcr.records import COSTS, ENVIRONMENT, RESULTS, checked, read_costs, read_environment
from metaxcr.runs.environment import describe_environment, forget_peak
from metaxcr.runs.experiment import Shared, run
from metaxcr.runs.process_cache import ProcessCache
from metaxcr.runs.progress import Progress
from metaxcr.runs.raw_data import RawData, read_data
from metaxcr.runs.run_dir import RunDir


@dataclass(frozen=True)
class Job:
    """Cells that one run gives.

    Attributes:
        cells: They differ in the language only.
        config: Settings of the run, with all their languages.
        ctml: Key of the CTML run that they start from; empty where they share none.
    """

    cells: tuple[GridCell, ...]
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


def group(cells: Sequence[GridCell]) -> list[list[Job]]:
    """Put cells together into jobs, and jobs that share a CTML run into chains, which are run in order.

    Args:
        cells: With different keys.

    Returns:
        Chains, in the order of their first cells.
    """
    alike: dict[str, list[GridCell]] = {}
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


def _group_key(cell: GridCell) -> str:
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


def _ctml_key(cell: GridCell) -> str:
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


@dataclass(frozen=True)
class JobRunner:
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
    kept: ProcessCache = field(default_factory=ProcessCache, compare=False)

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

    def _begin(self, job: Job, folder: RunDir) -> None:
        """Put the CTML result of an earlier job into a run folder that has none yet."""
        unit, source = _ctml_unit(job), self._ctml(job)
        if unit in folder.journal.done:  # by a process that may have been ended before it kept the result
            self._done(job, folder, unit)
        elif job.ctml and source.is_file() and not folder.journal.unit:
            goal = folder.path / _ctml_name(job)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, goal)
            folder.finish(unit)

    def _done(self, job: Job, folder: RunDir, unit: str) -> None:
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
            record = CellRecord(
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
            record = CellRecord(
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


def own_checksums(cell: GridCell, checksums: dict[str, str]) -> dict[str, str]:
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


def _own_costs(cell: GridCell, costs: dict[str, dict[str, Any]], cells: int) -> dict[str, dict[str, Any]]:
    """Costs of one cell: what serves all languages counts whole and is marked, the rest is shared out."""
    own = {}
    for name, stage in costs.items():
        whole = name in ("trunk", "ctml") or (name == "clml" and cell.regime == "zero-shot-aux")
        own[name] = {k: v for k, v in stage.items() if k in ("peak_rss_mb", "parts")}
        own[name]["seconds"] = round(stage["seconds"] if whole else stage["seconds"] / cells, 2)
        own[name]["token_passes"] = stage["token_passes"] if whole else round(stage["token_passes"] / cells)
        own[name]["shared"] = whole
    return own


def majority(cell: GridCell, loaded: RawData) -> Predictions:
    """Answer every item with the label that is most frequent in the shots, or in English without any.

    Args:
        cell: Its language and shots.
        loaded: The data of the run.
    """
    if cell.k and cell.seed is not None:
        shots = set(loaded.shots[cell.seed])
        known = [e.label for e in loaded.shot_pool[cell.language].examples if e.id in shots]
    else:
        known = [e.label for e in loaded.english.examples]
    counts = Counter(label for label in known if label is not None)
    best = min(counts, key=lambda label: (-counts[label], label))
    split = loaded.evaluation[cell.language, "repaired"]
    examples = [e for e in split.examples if e.label is not None]
    rows = [
        [float(c == (best if best < len(e.choices) else 0)) for c in range(len(e.choices))] for e in examples
    ]
    k = len(loaded.shots[cell.seed]) if cell.k and cell.seed is not None else 0
    return Predictions(
        task=split.spec.id, lang=cell.language, split=split.split, data="repaired", regime=cell.regime,
        method="majority", seed=cell.seed, k=k, total_labels=k, ids=[e.id for e in examples],
        probabilities=rows, labels=[e.label for e in examples if e.label is not None],
    )  # fmt: skip
