"""The files of a run folder: their schemas, and readers that check types and bounds once.

A reader returns valid values or raises a :class:`~metaxcr.errors.UserError` that names the file.
:mod:`metaxcr.reports.run_records` turns the error into a note and reads the rest.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, NotRequired

from jinja2 import TemplateError
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.config import ExtraValues
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
LARGEST = 1e15  # bound of seconds, tokens and losses: above any real value, far below an overflow


def _number(value: Any) -> float | int | None:
    """A number in bounds; None if it is not finite."""
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
OPEN = ConfigDict(extra="allow")  # further keys are kept


def _schema(
    required: dict[str, Any], optional: dict[str, Any] | None = None, *, extra: ExtraValues = "allow"
) -> Any:
    """A dictionary with these keys and types; ``extra``: whether further keys are kept or dropped."""
    fields = required | {key: NotRequired[kind] for key, kind in (optional or {}).items()}
    return with_config(ConfigDict(extra=extra))(TypedDict("Record", fields))  # type: ignore[operator]


def _list(kind: Any) -> Any:
    return GenericAlias(list, (kind,))


_NAMES = (
    *("source", "kind", "task", "after", "language", "support_language", "query_language", "regime"),
    *("adaptation", "alignment_language"),
)
_MEASURED = ("support_loss", "query_loss", "reward", "loss", "acc", "alignment_loss")
Event = _schema(  # a line of events.jsonl
    {"stage": Name, "step": Count},
    dict.fromkeys(_NAMES, Name | None)
    | dict.fromkeys(_MEASURED, Maybe)
    | {
        "seed": Seed,
        "clml": Truth | Name | None,
        "k": Count | None,
        "probabilities": dict[str, Finite] | None,
        "language_probabilities": dict[str, Finite] | None,
        "rewards": dict[str, Maybe] | None,
        "inner_losses": list[Finite] | None,
        "diverged": Name,
        "change": list[Name],
    },
)

Part = _schema({"seconds": Finite, "token_passes": Count}, extra="ignore")
StageRecord = _schema(
    {"stage": Name, "seconds": Finite, "token_passes": Count, "peak_rss_mb": Finite},
    {"parts": GenericAlias(dict, (str, Part))},
)
_SIZES = ("cold_seconds", "warm_seconds", "texts", "tokens", "used_tokens", "bytes")
TrunkRecord = _schema({}, {**dict.fromkeys(_SIZES, Finite), "computed_tokens": Count})
CostsFile = _schema({}, {"stages": _list(StageRecord), "trunk": TrunkRecord, "total_seconds": Finite})

EncoderRecord = _schema({}, {"name": Name, "revision": Name | None, "fingerprint": Name})
Environment = _schema(
    {},
    dict.fromkeys(("device", "dtype", "cpu", "torch", "metaxcr"), Name)
    | {"threads": Count, "command": Text, "commit": Name | None, "encoder": EncoderRecord},
)

Shots = _schema({"k": Count, "seed": Seed, "ids": list[Text]})  # shots/<task>.seed<n>.json

AlignmentRow = _schema(
    {"language": Name, "stack": Name, "layer": Count, "retrieval": Finite, "ci95": tuple[Finite, Finite]},
    {"n": Count},
)
AlignmentFile = _schema({"rows": _list(AlignmentRow)})

_SHARES = {"trained": Count, "encoder": Count, "share": Finite, "share_without_embeddings": Finite}
Leaks = _schema({"count": Count, "kinds": dict[str, Count], "pairs": list[Text]})
Shares = _schema(  # of results.json
    {}, {"parameters": _schema(_SHARES), "stack": dict[str, list[Text]], "leaks": Leaks | None}
)

# the part of config.yaml that a report reads, of this version or an earlier one
_TASK = {"task": Name | None, "id": Name | None}
Task = _schema({}, _TASK)
TargetSection = _schema({}, _TASK | {"english": Task | None, "auxiliary": Task | None})
ConfigText = _schema(
    {},
    {
        "run": _schema({}, {"name": Name | None, "regimes": list[Name] | None}),
        "sampler": _schema({}, {"kind": Name, "floor": Finite}),
        "target": TargetSection | Name | None,
        "sources": _list(Task) | None,
    },
)

PredictionsMeta = _schema(  # predictions/<name>.meta.json
    dict.fromkeys(("task", "lang", "split", "data", "regime", "method"), Name)
    | {"seed": Seed, "k": Count, "total_labels": Count},
    extra="ignore",
)
ItemId = Text | Annotated[int, Field(strict=True)]
PredictionRow = _schema(  # a line of predictions/<name>.jsonl
    {"id": ItemId, "probabilities": list[Finite], "choice": Count, "label": Count}, extra="ignore"
)
TrackerRecord = _schema(  # an entry of tracking.json
    {"id": Name, "events": Count, "results": Truth}, {"run_id": Name | None}
)
JournalRecord = _schema(  # in the metadata of the last checkpoint
    {"done": list[Name], "unit": Name, "step": Count, "events": Count}, extra="ignore"
)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def checked(kind: Any, value: Any, where: str, fix: str = AGAIN) -> Any:
    """Check that a value which was parsed from the file ``where`` is of a type, and return it.

    An optional number that is not finite becomes None; ``fix`` says what to do about a damaged file.
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


def _read(kind: Any, path: Path, fix: str = AGAIN) -> Record:
    """Read a JSON file; a UserError if it is missing or damaged."""
    found: Record = checked(kind, read_json_object(path, fix), str(path), fix)
    return found


read_costs = partial(_read, CostsFile)  # costs.json
read_environment = partial(_read, Environment)  # environment.json
read_shots = partial(_read, Shots)  # shots/<task>.seed<n>.json


def read_alignment(path: Path) -> list[Record]:
    """Read the rows of ``alignment.json``; UserError if it is missing or damaged."""
    return list(_read(AlignmentFile, path, "measure it again with 'metaxcr adapters align'")["rows"])


def read_config_text(path: Path) -> tuple[str, Record]:
    """Read ``config.yaml`` for a report: its text, and the part that the report uses.

    To continue the run, use :func:`metaxcr.config.io.load_config`.
    """
    text = read_text(path)
    value = parse_yaml(text, str(path))
    return text, checked(ConfigText, {} if value is None else value, str(path))


@contextmanager
def damaged(what: str, where: Path, fix: str) -> Iterator[None]:
    """Turn errors in a block that uses the content of one file into a UserError.

    For pages that are made of a single file. ``what`` names it in words, ``fix`` says how to get a good one.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, TemplateError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{what} is damaged ({reason})", str(where), fix) from error
