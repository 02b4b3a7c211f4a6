"""Jobs, the cells that one run computes: grouping them, running them, and making records of cells."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from metaxcr.compare.cell_store import AGAIN, CellRecord, CellStore, StageCosts, encode_predictions
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
from metaxcr.runs.progress import Progress
from metaxcr.runs.raw_data import ProcessCache, RawData, read_data
from metaxcr.runs.run_dir import RunDir

OnStep = Callable[[str, int, int], None]  # label, steps done, steps in all
Costs = dict[str, dict[str, Any]]  # stage -> costs


@dataclass(frozen=True)
class Job:
    """Cells of one run, which differ in the language only; ``ctml``: key of the CTML run they share."""

    cells: tuple[GridCell, ...]
    config: Config
    ctml: str

    @property
    def label(self) -> str:
        """The job in words."""
        first = self.cells[0]
        languages = " ".join(cell.language for cell in self.cells)
        return first.label.replace(f" {first.language}", f" {languages}", 1)

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return "job-" + hashlib.sha256(" ".join(cell.key for cell in self.cells).encode()).hexdigest()[:16]


def group(cells: Sequence[GridCell]) -> list[list[Job]]:
    """Group cells (of different keys) into jobs, and jobs that share a CTML run into chains, run in order."""
    groups: dict[str, list[GridCell]] = {}
    for cell in cells:
        groups.setdefault(_group_key(cell), []).append(cell)
    chains: dict[str, list[Job]] = {}
    for key, members in groups.items():
        config = _with_target(members[0].config, languages=[cell.language for cell in members])
        job = Job(tuple(members), config, _ctml_key(members[0]))
        chains.setdefault(job.ctml or key, []).append(job)
    return list(chains.values())


def _with_target(config: Config, **changes: Any) -> Config:
    return config.model_copy(update={"target": config.target.model_copy(update=changes)})


def _group_key(cell: GridCell) -> str:
    """Equal for cells that one run can compute without changing any of their results."""
    target = cell.config.target
    # in a set that is not parallel, each language draws its own shots
    with_shots = cell.regime == "few-shot" or cell.config.evaluate.split == target.shots_split
    together = task_spec(target.task).parallel or not with_shots
    if cell.regime == "zero-shot-aux" and target.auxiliary is not None:
        # a tested language is never its own auxiliary language, so the auxiliary languages could differ
        own = cell.language in target.auxiliary.languages or target.auxiliary.nearest
        together = together and not own and not cell.config.clml.per_language
    same = _with_target(cell.config, languages=["-"])
    return cell_key(same, cell.kind, cell.regime) if together else cell.key


def _ctml_key(cell: GridCell) -> str:
    """Key of everything before CLML; empty without training, or if the reward uses the tested language."""
    if cell.kind != "trained" or cell.config.ctml.reward_data != "english":
        return ""
    config = _with_target(  # whose task does not matter: the reward is computed on English data
        cell.config, task="-", languages=["-"], k=2, shots_file=None, shots_split="-", auxiliary=None
    )
    later = {"clml": Clml(), "finetune": Finetune(), "evaluate": Evaluate()}
    return cell_key(config.model_copy(update=later), "ctml", "zero-shot")


@dataclass(frozen=True)
class JobRunner:
    """Runs jobs; run folders and shared CTML results are made in ``folder``.

    ``threads`` replaces the setting of each run. ``cache`` is kept between the jobs of one process.
    """

    folder: Path
    store: CellStore
    root: Path | None = None
    keep: bool = False
    threads: int | None = None
    cache: ProcessCache = field(default_factory=ProcessCache, compare=False)

    def run_job(self, job: Job, on_step: OnStep) -> None:
        """Run a job, or resume it, and store its cells."""
        cell, config = job.cells[0], job.config
        if cell.kind == "majority":
            self._answer_with_majority(job)
            return
        if self.threads is not None:
            own = config.run.model_copy(update={"threads": self.threads})
            config = config.model_copy(update={"run": own})
        folder = self.folder / f"{job.name}-t{config.run.threads or 0}"
        phases = ("baseline", "evaluate") if cell.kind == "similarity" else ("train", "adapt", "evaluate")
        shared = Shared(self.cache, partial(self._reuse_ctml, job), partial(self._keep_ctml, job))
        forget_peak()
        run(
            config, folder, progress=_JobProgress(on_step), root=self.root, resume=folder.exists(),
            phases=phases, command=cell.command, shared=shared,
        )  # fmt: skip
        self._store_cells(job, folder)
        if not self.keep:
            shutil.rmtree(folder, ignore_errors=True)

    def _ctml_path(self, job: Job) -> Path:
        return self.folder / "ctml" / f"{job.ctml}-t{self.threads or job.config.run.threads or 0}.safetensors"

    def _reuse_ctml(self, job: Job, folder: RunDir) -> None:
        """Copy the CTML result of an earlier job into a run folder that has none yet."""
        unit, source = _ctml_unit(job), self._ctml_path(job)
        if unit in folder.journal.done:  # its process may have been killed before it kept the result
            self._keep_ctml(job, folder, unit)
        elif job.ctml and source.is_file() and not folder.journal.unit:
            copy = folder.path / _ctml_checkpoint(job)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            folder.finish(unit)

    def _keep_ctml(self, job: Job, folder: RunDir, unit: str) -> None:
        """Keep a CTML result and its costs for later jobs, even if this job fails afterwards."""
        kept = self._ctml_path(job)
        if not job.ctml or unit != _ctml_unit(job) or kept.is_file():
            return
        write_json(kept.with_suffix(".json"), _stage_costs(folder.path).get("ctml", {}))
        with replacing(kept) as temporary:
            shutil.copyfile(folder.path / _ctml_checkpoint(job), temporary)

    def _store_cells(self, job: Job, folder: Path) -> None:
        costs = _stage_costs(folder)
        if job.ctml:
            path = self._ctml_path(job).with_suffix(".json")
            costs["ctml"] = checked(StageCosts, read_json_object(path, AGAIN), str(path), AGAIN)
        path = folder / "checksums.json"
        checksums = checked(dict[str, str], read_json_object(path, AGAIN), str(path))
        environment = read_environment(folder / ENVIRONMENT)
        predictions = map(Predictions.read, (folder / "predictions").glob("*.jsonl"))
        answers = {p.lang: p for p in predictions if p.regime == job.cells[0].regime}
        trained = job.cells[0].kind == "trained"
        parameters = read_results(folder / RESULTS)["shares"]["parameters"] if trained else {}
        for cell in job.cells:
            own = own_checksums(cell, checksums)
            self._store_cell(
                cell, answers[cell.language], environment, checksums=own, command=cell.command,
                config_hash=config_hash(cell.config, own, environment["dtype"]),
                costs=_cell_costs(cell, costs, len(job.cells)), parameters=parameters,
            )  # fmt: skip

    def _answer_with_majority(self, job: Job) -> None:
        data, environment = read_data(job.config, self.root, self.cache), describe_environment(job.config, "")
        known: dict[str, Any] = {"costs": {}, "parameters": {}, "checksums": {}, "command": ""}
        for cell in job.cells:
            self._store_cell(cell, majority(cell, data), environment, config_hash=cell.key, **known)

    def _store_cell(
        self, cell: GridCell, answers: Predictions, environment: dict[str, Any], **known: Any
    ) -> None:
        without = {key: value for key, value in environment.items() if key != "command"}
        known |= {name: getattr(cell, name) for name in ("key", "kind", "regime", "seed")}
        answered = encode_predictions(answers)
        record = CellRecord(**known, k=answers.k, environment=without, **answered)
        self.store.put(record, answers.ids)


class _JobProgress(Progress):
    """Passes the progress of a run on to the engine."""

    def __init__(self, on_step: OnStep) -> None:
        super().__init__(Console(quiet=True))
        self._on_step = on_step

    def update(self, label: str, done: int, total: int, note: str = "") -> None:
        self._on_step(label, done, total)


def own_checksums(cell: GridCell, checksums: dict[str, str]) -> dict[str, str]:
    """Checksums of the files that a run of the cell alone reads."""
    target, auxiliary = cell.config.target, cell.config.target.auxiliary
    splits = tuple(f"{target.task}/{split}/" for split in cell.config.target_splits)
    needed = {f"{split}{cell.language}" for split in splits}
    if auxiliary is not None and cell.regime == "zero-shot-aux":
        needed |= {f"{auxiliary.task}/{auxiliary.split}/{language}" for language in auxiliary.languages}
    return {p: value for p, value in checksums.items() if p in needed or not p.startswith(splits)}


def _ctml_unit(job: Job) -> str:
    return f"ctml seed {job.cells[0].seed}"


def _ctml_checkpoint(job: Job) -> str:
    return f"checkpoints/ctml.seed{job.cells[0].seed}.safetensors"


def _stage_costs(folder: Path) -> Costs:
    """The costs of a run by stage, as far as it has recorded them."""
    stages = read_costs(folder / COSTS).get("stages", []) if (folder / COSTS).is_file() else []
    return {stage.pop("stage"): stage for stage in stages}


def _cell_costs(cell: GridCell, costs: Costs, cells: int) -> dict[str, Any]:
    """Costs of one cell: what serves all languages counts whole and is marked, the rest is divided."""
    own: dict[str, Any] = {}
    for name, stage in costs.items():
        whole = name in ("trunk", "ctml") or (name == "clml" and cell.regime == "zero-shot-aux")
        number = 1 if whole else cells
        spent = {key: stage[key] for key in ("peak_rss_mb", "parts") if key in stage}
        seconds, passes = round(stage["seconds"] / number, 2), round(stage["token_passes"] / number)
        own[name] = spent | {"seconds": seconds, "token_passes": passes, "shared": whole}
    return own


def majority(cell: GridCell, data: RawData) -> Predictions:
    """Answer every item with the most frequent label of the shots, or of the English data without shots."""
    shots, seen = set[str](), data.english.examples
    if cell.k and cell.seed is not None:
        shots = set(data.shots[cell.seed])
        seen = [e for e in data.shot_pool[cell.language].examples if e.id in shots]
    counts, k = Counter(e.label for e in seen if e.label is not None), len(shots)
    best = min(counts, key=lambda label: (-counts[label], label))
    split = data.evaluation[cell.language, "repaired"]
    examples = [e for e in split.examples if e.label is not None]
    rows = [[0.0] * len(e.choices) for e in examples]
    for row in rows:
        row[best if best < len(row) else 0] = 1.0
    return Predictions(
        task=split.spec.id, lang=cell.language, split=split.split, data="repaired", regime=cell.regime,
        method="majority", seed=cell.seed, k=k, total_labels=k, ids=[e.id for e in examples],
        probabilities=rows, labels=[e.label for e in examples if e.label is not None],
    )  # fmt: skip
