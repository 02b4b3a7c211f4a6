"""Grids: methods x languages x shots x seeds in one file."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from metaxcr.config.io import find, override_setting, validate_as
from metaxcr.config.schema import SHIPPED, Section, distinct, listed
from metaxcr.errors import UserError
from metaxcr.parse import read_yaml

GRIDS = SHIPPED / "grids"
Shots = Annotated[int, Field(ge=0)]


def _check_shots(shots: list[int]) -> list[int]:
    if 1 in shots:
        raise ValueError("one shot cannot be cut into halves; use 0, or 2 and more")
    return sorted(set(shots))


ShotsAxis = Annotated[list[Shots], AfterValidator(_check_shots)]


class Method(Section):
    """One method: what it changes in the base configuration, and where it is run."""

    # trained: a whole run; similarity: the untrained encoder; majority: the most frequent label;
    # ensemble: the mean probabilities of another method's seeds, or of several methods
    kind: Literal["trained", "similarity", "majority", "ensemble"] = "trained"
    about: str = ""  # a line for readers
    settings: dict[str, Any] = Field({})  # overrides of the base configuration
    only: list[str] = Field([])  # source tasks that are kept; empty: all
    without: list[str] = Field([])  # source tasks that are left out
    regime: Literal["zero-shot-aux"] | None = None  # None: zero-shot at 0 shots, else few-shot
    shots: ShotsAxis | None = None  # None: those of the grid
    languages: list[str] | None = None  # None: those of the target
    # what an ensemble is made of: the seeds of one method, or several methods, seed by seed
    of: Annotated[list[str], BeforeValidator(listed)] = Field([])
    # a method for each value, which replaces "{name}" everywhere in this one
    vary: dict[str, list[str]] = Field({})
    # a setting that the user has to give, such as adapters.language; without it the method waits
    needs: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Method":
        """Refuse settings without effect."""
        if (self.kind == "ensemble") != bool(self.of):
            raise ValueError("'of' names what an ensemble is made of, and only an ensemble has it")
        if self.kind == "ensemble" and (self.settings or self.only or self.without or self.regime):
            raise ValueError("an ensemble has the settings of what it is made of")
        if self.regime == "zero-shot-aux" and any(self.shots or ()):
            raise ValueError("zero-shot-aux uses no shots; set 'shots: [0]'")
        if len(self.vary) > 1:
            raise ValueError("only one thing can be varied in a method")
        return self


class GridTarget(Section):
    """A target task with its languages, where a grid has several."""

    settings: dict[str, Any] = Field({})  # overrides of the base configuration, before those of the methods
    languages: list[str] = Field(min_length=1)


class Grid(Section):
    """A grid file."""

    title: str
    about: str = ""  # the question, for readers
    base: str  # a configuration: a shipped name, or a path, seen from the grid's folder too
    settings: dict[str, Any] = Field({})  # overrides of it for all methods
    methods: dict[str, Method] = Field(min_length=1)
    baseline: str | None = None  # the method that all others are compared with; None: no differences
    languages: list[str] = Field([])  # empty: those of the base configuration
    shots: ShotsAxis = Field(default=[0], min_length=1)
    seeds: Annotated[list[int], AfterValidator(distinct)] = Field(default=[0, 1, 2], min_length=1)
    targets: dict[str, GridTarget] = Field({})  # empty: the target of the base configuration
    matrix: str | None = None  # the varied name whose values are languages of the labels: drawn as a matrix
    shots_file: Path | None = None  # take these ids as shots (--shots); every number of shots is then theirs

    @model_validator(mode="after")
    def _known_names(self) -> "Grid":
        """Expand what varies, and refuse names that do not exist."""
        methods = self.expanded
        for name, method in methods.items():
            kinds = ("trained",) if len(method.of) == 1 else ("trained", "similarity")
            for member in method.of:
                if member not in methods or methods[member].kind not in kinds:
                    raise ValueError(f"methods.{name}.of: {member!r} is no {kinds[0]} method of this grid")
        if self.baseline is not None and self.baseline not in methods:
            raise ValueError(f"baseline: {self.baseline!r} is no method of this grid")
        if self.targets and self.languages:
            raise ValueError("languages: with 'targets' each of them has its own")
        if self.matrix and not any(self.matrix in m.vary for m in self.methods.values()):
            raise ValueError(f"matrix: no method varies {self.matrix!r}")
        return self

    @property
    def expanded(self) -> dict[str, Method]:
        """The methods by name, one for each value of what varies."""
        return {name: one for key, method in self.methods.items() for name, one in vary(key, method)}


def vary(name: str, method: Method) -> list[tuple[str, Method]]:
    """Make a method for each value of what varies; the value is appended to a name without ``{x}``."""
    if not method.vary:
        return [(name, method)]
    ((variable, values),) = method.vary.items()
    mark, found = "{" + variable + "}", []
    pattern = name if mark in name else f"{name} {mark}"
    text, quoted = json.dumps(method.model_dump(exclude={"vary"})), json.dumps(mark)[1:-1]
    for value in values:
        plain = json.loads(text.replace(quoted, json.dumps(value)[1:-1]))
        found.append((pattern.replace(mark, value), Method.model_validate(plain)))
    return found


def varied(grid: Grid, variable: str) -> dict[str, str]:
    """Name of each method made by varying ``variable``, with its value."""
    return {
        name: value
        for key, method in grid.methods.items()
        for (name, _), value in zip(vary(key, method), method.vary.get(variable, ()), strict=False)
    }


def find_grid(name: str) -> Path:
    """Return the file of a grid given by path or by shipped name; UserError if there is neither."""
    return find(name, GRIDS, "grid")


def load_grid(name: str, overrides: list[str] | None = None) -> Grid:
    """Load and validate a grid, given by path or by shipped name; ``overrides`` are ``"key.inner=value"``."""
    path = find_grid(name)
    settings = read_yaml(path)
    if not isinstance(settings, dict):
        raise UserError("a grid is a mapping with 'title', 'base' and 'methods'", str(path))
    for override in overrides or ():
        override_setting(settings, override)
    if isinstance(settings.get("methods"), dict):  # "uniform:" without a value is a method, too
        settings["methods"] = {str(k): v or {} for k, v in settings["methods"].items()}
    grid = validate_as(Grid, settings, str(path))
    neighbour = path.parent / grid.base
    return grid.model_copy(update={"base": str(neighbour)}) if os.path.isfile(neighbour) else grid
