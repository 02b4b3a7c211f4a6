"""The files of a run folder: one reader each, which checks once that everything has its type and bounds.

Whoever reads a run folder (to resume, to report, to diagnose, to predict with it) meets valid values or a
:class:`~metaxcr.errors.UserError` that names the file. The report and the diagnosis, which also serve runs
that were stopped, turn the error into a note and show the rest.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NotRequired, Required

from jinja2 import TemplateError
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from metaxcr.errors import UserError
from metaxcr.parse import (
    check_file,
    file_error,
    json_value,
    lines_of_text,
    parse_yaml,
    read_json_object,
    read_text,
)

Record = dict[str, Any]
CONFIG, ENVIRONMENT, EVENTS = "config.yaml", "environment.json", "events.jsonl"
COSTS, RESULTS, ALIGNMENT = "costs.json", "results.json", "alignment.json"
AGAIN = "restore the file, or start again in another folder"
LARGEST = 1e15  # of seconds, tokens, losses: far beyond what a run has, and far below an overflow


def _number(value: Any) -> float | int | None:
    """A number in bounds; None for one that is not finite, which is as good as missing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number belongs here")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if abs(value) > LARGEST:
        raise ValueError("the number is too large")
    return value


def _finite(value: Any) -> float | int:
    if (found := _number(value)) is None:
        raise ValueError("a finite number belongs here")
    return found


Finite = Annotated[Any, BeforeValidator(_finite)]
Maybe = Annotated[Any, BeforeValidator(lambda value: None if value is None else _number(value))]
Count = Annotated[int, Field(strict=True, ge=0, le=10**15)]
Seed = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)] | None
Name = Annotated[str, Field(strict=True, max_length=1000)]
Text = Annotated[str, Field(strict=True)]
Truth = Annotated[bool, Field(strict=True)]
OPEN = ConfigDict(extra="allow")


@with_config(OPEN)
class Event(TypedDict, total=False):
    """A line of ``events.jsonl``; what else is in it stays as it is."""

    stage: Required[Name]
    step: Required[Count]
    seed: Seed
    source: Name | None
    kind: Name | None
    task: Name | None
    after: Name | None
    language: Name | None
    support_language: Name | None
    query_language: Name | None
    regime: Name | None
    adaptation: Name | None
    clml: Truth | Name | None
    k: Count | None
    probabilities: dict[str, Finite] | None
    language_probabilities: dict[str, Finite] | None
    rewards: dict[str, Maybe] | None
    support_loss: Maybe
    query_loss: Maybe
    reward: Maybe
    loss: Maybe
    acc: Maybe
    alignment_loss: Maybe
    alignment_language: Name | None
    inner_losses: list[Finite] | None
    diverged: Name
    change: list[Name]


class Part(TypedDict):
    """What a part of a stage took."""

    seconds: Finite
    token_passes: Count


@with_config(OPEN)
class StageRecord(TypedDict):
    """What a stage took."""

    stage: Name
    seconds: Finite
    token_passes: Count
    peak_rss_mb: Finite
    parts: NotRequired[dict[str, Part]]


@with_config(OPEN)
class TrunkRecord(TypedDict, total=False):
    """What the trunk took."""

    cold_seconds: Finite
    warm_seconds: Finite
    computed_tokens: Count
    texts: Finite
    tokens: Finite
    used_tokens: Finite
    bytes: Finite


@with_config(OPEN)
class CostsFile(TypedDict, total=False):
    """Content of ``costs.json``."""

    stages: list[StageRecord]
    trunk: TrunkRecord
    total_seconds: Finite


@with_config(OPEN)
class EncoderRecord(TypedDict, total=False):
    """The encoder that a run was carried out with."""

    name: Name
    revision: Name | None
    fingerprint: Name


@with_config(OPEN)
class Environment(TypedDict, total=False):
    """Content of ``environment.json``; versions and hardware are kept as they are."""

    device: Name
    dtype: Name
    cpu: Name
    torch: Name
    metaxcr: Name
    threads: Count
    command: Text
    commit: Name | None
    encoder: EncoderRecord


@with_config(OPEN)
class Shots(TypedDict):
    """Content of ``shots/<task>.seed<n>.json``."""

    k: Count
    seed: Seed
    ids: list[Text]


@with_config(OPEN)
class AlignmentRow(TypedDict):
    """A row of ``alignment.json``."""

    language: Name
    stack: Name
    layer: Count
    retrieval: Finite
    ci95: tuple[Finite, Finite]
    n: NotRequired[Count]


@with_config(OPEN)
class AlignmentFile(TypedDict):
    """Content of ``alignment.json``."""

    rows: list[AlignmentRow]


@with_config(OPEN)
class Parameters(TypedDict):
    """How many parameters a run trained."""

    trained: Count
    encoder: Count
    share: Finite
    share_without_embeddings: Finite


@with_config(OPEN)
class Leaks(TypedDict):
    """What was both trained on and held out."""

    count: Count
    kinds: dict[str, Count]
    pairs: list[Text]


@with_config(OPEN)
class Shares(TypedDict, total=False):
    """The part ``shares`` of ``results.json``, which its schema leaves open."""

    parameters: Parameters
    stack: dict[str, list[Text]]
    leaks: Leaks | None


@with_config(OPEN)
class _RunSection(TypedDict, total=False):
    name: Name | None
    regimes: list[Name] | None


@with_config(OPEN)
class _SamplerSection(TypedDict, total=False):
    kind: Name
    floor: Finite


@with_config(OPEN)
class _Task(TypedDict, total=False):
    task: Name | None
    id: Name | None


@with_config(OPEN)
class _TargetSection(_Task, total=False):
    english: _Task | None
    auxiliary: _Task | None


@with_config(OPEN)
class ConfigText(TypedDict, total=False):
    """What a report reads of ``config.yaml``, also of one that an earlier version wrote."""

    run: _RunSection
    sampler: _SamplerSection
    target: _TargetSection | Name | None
    sources: list[_Task] | None


class PredictionsMeta(TypedDict):
    """Content of ``predictions/<name>.meta.json``."""

    task: Name
    lang: Name
    split: Name
    data: Name
    regime: Name
    method: Name
    seed: Seed
    k: Count
    total_labels: Count


class PredictionRow(TypedDict):
    """A line of ``predictions/<name>.jsonl``."""

    id: Text | Annotated[int, Field(strict=True)]
    probabilities: list[Finite]
    choice: Count
    label: Count


@with_config(OPEN)
class TrackerRecord(TypedDict):
    """What ``tracking.json`` says of a tracker."""

    id: Name
    events: Count
    results: Truth
    run_id: NotRequired[Name | None]


class JournalRecord(TypedDict):
    """How far a run is: in the metadata of its last checkpoint."""

    done: list[Name]
    unit: Name
    step: Count
    events: Count


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def checked(kind: Any, value: Any, where: str, fix: str = AGAIN) -> Any:
    """Check a value that was read.

    Args:
        kind: Its type.
        value: As parsed.
        where: The file, with the line where there is one.
        fix: What to do where it is damaged.

    Returns:
        The value; numbers that are not finite are None where a number may be missing.

    Raises:
        UserError: The first thing that is not as it should be, with its place in the file.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:100]
        what = f"the file is damaged: {place + ': ' if place else ''}{first['msg']}"
        raise UserError(what, where, fix) from error


def read_events(path: Path) -> tuple[list[Record], list[int]]:
    """Read ``events.jsonl``, also of a run that was killed while it wrote a line.

    Returns:
        The events, and the numbers of the lines that cannot be used, from 1.

    Raises:
        UserError: The file cannot be read at all.
    """
    events, bad = [], []
    check_file(path)
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise file_error(error, path) from error
    for number, line in enumerate(lines_of_text(text), start=1):
        if not line.strip():
            continue
        try:
            events.append(checked(Event, json_value(line), f"{path}:{number}"))
        except (ValueError, UserError):
            bad.append(number)
    return events, bad


def read_costs(path: Path) -> Record:
    """Read ``costs.json``.

    Raises:
        UserError: It cannot be read, or is damaged.
    """
    found: Record = checked(CostsFile, read_json_object(path, AGAIN), str(path))
    return found


def read_environment(path: Path) -> Record:
    """Read ``environment.json``.

    Raises:
        UserError: It cannot be read, or is damaged.
    """
    found: Record = checked(Environment, read_json_object(path, AGAIN), str(path))
    return found


def read_shots(path: Path) -> Record:
    """Read a file of shots.

    Raises:
        UserError: It cannot be read, or is damaged.
    """
    found: Record = checked(Shots, read_json_object(path, AGAIN), str(path))
    return found


def read_alignment(path: Path) -> list[Record]:
    """Read the rows of ``alignment.json``.

    Raises:
        UserError: It cannot be read, or is damaged.
    """
    again = "measure it again with 'metaxcr adapters align'"
    rows: list[Record] = checked(AlignmentFile, read_json_object(path, again), str(path), again)["rows"]
    return rows


def read_config_text(path: Path) -> tuple[str, Record]:
    """Read ``config.yaml`` for a report: its text, and what the report uses of it.

    Raises:
        UserError: It cannot be read, or is damaged. To carry the run on, use
            :func:`metaxcr.config.io.load_config`.
    """
    text = read_text(path)
    value = parse_yaml(text, str(path))
    return text, checked(ConfigText, {} if value is None else value, str(path))


@contextmanager
def damaged(what: str, where: Path, fix: str) -> Iterator[None]:
    """Turn failures over the content of one file, which somebody has changed, into a message.

    For pages that are made of a single file and can be made again from what it was made of.

    Args:
        what: What the file is, in words.
        where: The file.
        fix: How to get a good one.

    Raises:
        UserError: Something in it is missing or of another type than it was written with.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, TemplateError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{what} is damaged ({reason})", str(where), fix) from error
