"""The cells of a grid, each one method in one language with k shots and one seed, and their keys."""

import copy
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from metaxcr.compare.grid import Grid, Method
from metaxcr.config.io import ALGORITHM_VERSION, change, read_settings, settings_of_results, validate
from metaxcr.config.schema import Clml, Config, Finetune
from metaxcr.data.example import read_shots, shots_digest
from metaxcr.data.registry import data_fingerprint, task_spec
from metaxcr.errors import UserError
from metaxcr.hardware import AUTO
from metaxcr.model.build import untrained_kind

UNTRAINED = ("similarity", "majority")


@dataclass(frozen=True)
class GridCell:
    """One cell of a grid: a method, on a target (empty if the grid has one only), in a tested language.

    A deterministic method has seed None: its answers hold for every seed. ``config`` is that of a run that
    computes this cell alone, made by the ``overrides`` of ``base``. A cell that ``waits`` (for that reason)
    has no key: its settings are incomplete and may equal those of another method.
    """

    method: str
    target: str
    kind: str
    regime: str
    language: str
    k: int
    seed: int | None
    config: Config = field(compare=False)
    overrides: tuple[str, ...] = field(compare=False)
    base: str = field(compare=False)
    key: str
    waits: str = ""

    @property
    def label(self) -> str:
        """The cell in words."""
        target = f"{self.target} " if self.target else ""
        shots = f", k={self.k}" if self.k else ""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.method}: {target}{self.language}{shots}{seed}"

    @property
    def command(self) -> str:
        """The command that computes this cell alone."""
        options = [word for override in self.overrides for word in ("--set", override)]
        return shlex.join(["metaxcr", "run", self.base, *options])


def expand(grid: Grid) -> list[GridCell]:
    """List the cells of a grid, in the order of the file; ensembles have none of their own.

    If a setting, task or language is wrong, the message names method and setting.
    """
    base = read_settings(grid.base)
    cells: list[GridCell] = []
    for (name, method), target in product(grid.expanded.items(), grid.targets or [""]):
        try:
            if method.kind != "ensemble":
                cells += _method_cells(grid, base, name, method, target)
        except UserError as error:
            where = f"method {name!r}" + (f", {error.where}" if error.where else "")
            raise UserError(error.what, where, error.fix) from error
    return cells


def _method_cells(
    grid: Grid, base: dict[str, Any], name: str, method: Method, target: str
) -> Iterator[GridCell]:
    of_target = _flat(grid.targets[target].settings) if target else {}
    changes = _flat(grid.settings) | of_target | _flat(method.settings)
    changes |= {"evaluate.raw": False, "evaluate.english": None}
    changes |= _kept_sources(_changed(base, changes), method)
    settings = _changed(base, changes)
    own_languages = grid.targets[target].languages if target else grid.languages
    languages = own_languages or settings["target"]["languages"]
    if method.languages is not None:
        languages = [language for language in method.languages if language in languages]
    missing = method.needs is not None and not _value(settings, method.needs)
    waits = f"needs {method.needs}: {method.about}" if missing else ""
    for k in _shots_axis(grid, method, settings["target"]["task"]):
        trained = "few-shot" if k else "zero-shot"
        regime = method.regime or ("none" if method.kind == "similarity" else trained)
        random = method.kind == "trained" or (method.kind == "majority" and k)
        for seed, language in product(grid.seeds if random else [None], languages):
            own = changes | _cell_changes(grid, language, k, seed, regime)
            config = validate(_changed(base, own), grid.base)
            auxiliary = config.target.auxiliary
            if regime == "zero-shot-aux" and auxiliary is not None and auxiliary.languages == [language]:
                continue  # the diagonal of a matrix: a tested language gives no labels to itself
            _check_names(config)
            overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in own.items()]
            key = "" if waits else cell_key(config, method.kind, regime)
            yield GridCell(
                name, target, method.kind, regime, language, k, seed, config, tuple(overrides), grid.base,
                key, waits,
            )  # fmt: skip


def _cell_changes(grid: Grid, language: str, k: int, seed: int | None, regime: str) -> dict[str, Any]:
    """The settings in which the cells of one method differ."""
    first = grid.seeds[0] if seed is None else seed
    own: dict[str, Any] = {"target.languages": [language], "run.seeds": [first]}
    own["run.regimes"] = [] if regime == "none" else [regime]
    if regime == "none":
        own["ctml.steps"] = 0  # nothing is trained
    if k and grid.shots_file is not None:
        return own | {"target.shots_file": str(grid.shots_file.absolute())}
    return own | ({"target.k": k} if k else {})


def _shots_axis(grid: Grid, method: Method, task: str) -> list[int]:
    if method.kind == "similarity" or method.regime is not None:
        return [0]
    axis = grid.shots if method.shots is None else [k for k in method.shots if k in grid.shots]
    if grid.shots_file is None or not any(axis):
        return axis
    given = len(next(iter(read_shots(grid.shots_file, task, grid.seeds).values())))
    return [k for k in axis if not k] + [given]


def _kept_sources(settings: dict[str, Any], method: Method) -> dict[str, Any]:
    """The sources that a method keeps; no change if it keeps all."""
    if not method.only and not method.without:
        return {}
    sources = settings.get("sources", [])
    names = [source["task"] for source in sources]
    for name in (*method.only, *method.without):
        if name not in names:
            raise UserError(f"{name!r} is no source of the base configuration", "only, without",
                            f"there are {', '.join(names)}")  # fmt: skip
    kept = [s for s in sources if s["task"] in (method.only or names) and s["task"] not in method.without]
    return {"sources": kept}


def _value(settings: dict[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat


def _changed(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    settings = copy.deepcopy(base)
    change(settings, copy.deepcopy(list(changes.items())))
    return settings


def _check_names(config: Config) -> None:
    """Refuse trackers, and languages and splits that the tasks do not have, before anything is run."""
    if config.run.tracker:
        raise UserError("a comparison has no tracker", "run.tracker", "it is for 'metaxcr run'; remove it")
    spec = task_spec(config.target.task)
    for split in config.target_splits:
        if split not in spec.splits:
            raise UserError(f"{spec.id} has no split {split!r}", "target", f"it has {', '.join(spec.splits)}")
    known = spec.split_languages(config.evaluate.split)
    if config.target.languages[0] not in known:
        raise UserError(f"{spec.id} has no {config.target.languages[0]!r}", "languages",
                        f"it has {', '.join(known)}")  # fmt: skip
    for source in config.sources:
        if source.split not in task_spec(source.task).splits:
            raise UserError(f"{source.task} has no split {source.split!r}", "sources")


def cell_key(config: Config, kind: str, regime: str) -> str:
    """Identity of a cell's result, whatever grid it is in: 16 hexadecimal digits.

    Settings that cannot change the result are left out: those of fine-tuning for a zero-shot cell, those of
    training for an untrained one. Data are not part of it: a record has the checksums of its files.
    """
    settings = settings_of_results(config)
    run, target = settings["run"], settings["target"]
    run.pop("regimes")
    if config.encoder.dtype == AUTO:  # the machine's choice, recorded in the cell; keys are older than it
        settings["encoder"]["dtype"] = "bfloat16"
    settings["evaluate"] = {"split": config.evaluate.split}
    # if both are one split, the shots are left out of the tested items
    on_shots_split = config.evaluate.split == config.target.shots_split
    if target.pop("shots_file") and regime == "few-shot":
        shots_file = Path(config.target.shots_file or "")
        target["k"] = shots_digest(read_shots(shots_file, config.target.task, config.run.seeds))
    if regime != "few-shot" and not on_shots_split:
        target.pop("k"), target.pop("shots_split")
    if regime == "zero-shot":
        settings["clml"] = Clml().first_names()
    if regime != "few-shot":
        settings["finetune"] = Finetune().first_names()
    if regime != "zero-shot-aux":
        target.pop("auxiliary")
    folders = config.adapters.language
    settings["adapters"]["language"] = {code: _folder_digest(folders[code]) for code in sorted(folders)}
    if kind in UNTRAINED:
        kept = ("encoder", "evaluate") if kind == "similarity" else ("evaluate",)
        drop = () if on_shots_split or regime == "few-shot" else ("seeds",)
        scorer = untrained_kind(config.scoring.kind)
        settings = {
            **{name: settings[name] for name in kept},
            **({"scoring": scorer} if kind == "similarity" and scorer != "dual" else {}),
            "run": {name: value for name, value in run.items() if name not in drop},
            "target": {name: value for name, value in target.items() if name != "parallel"}
            | ({"english": None} if kind == "similarity" else {}),
        }
    text = json.dumps([ALGORITHM_VERSION, kind, regime, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _folder_digest(folder: str) -> str:
    """Digest of a language adapter's files, wherever they are."""
    files = sorted(path for path in Path(folder).glob("*") if path.is_file())
    return data_fingerprint(files)[:16] if files else folder
