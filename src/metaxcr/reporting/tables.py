"""The report's tables: text for every cell, made from the run folder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from metaxcr.reporting.accuracies import Average, Difference, Place, Point, Setting, setting_of
from metaxcr.reporting.figures import by_baseline
from metaxcr.reporting.headline import interval
from metaxcr.reporting.read import Record, records
from metaxcr.reporting.words import MINUS, STAGES, amount, duration, language, percent, points


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Args:
        head: Column titles.
        rows: Cells as text; numbers are already formatted.
        numeric: Indices of the columns that are aligned right.
    """

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[int, ...] = ()


def averages_table(means: Sequence[Average]) -> Table:
    """Return the averages over languages with everything needed to judge them."""
    where = _places([item.place for item in means])
    rows = [
        (
            *where.cells[index],
            item.setting.regime,
            item.setting.method,
            str(item.setting.k),
            _or_dash(item.total_labels),
            str(len(item.langs)),
            _or_dash(item.seeds or None),
            percent(item.value.mean),
            interval(item.value.low, item.value.high) or "–",
            item.ci_kind or "–",
            _mdd(item.mdd),
        )
        for index, item in enumerate(means)
    ]
    head = ("regime", "method", "shots k", "total labels", "languages", "seeds", "mean, %", "95 % interval",
            "interval over", "mdd, points")  # fmt: skip
    shift = len(where.head)
    return Table((*where.head, *head), rows, tuple(shift + column for column in (2, 3, 4, 5, 6, 7, 9)))


def differences_table(diffs: Sequence[Difference]) -> Table:
    """Return the paired differences with a verdict each."""
    where = _places([item.place for item in diffs])
    rows = []
    for cells, item in zip(where.cells, diffs, strict=True):
        low, high = item.value.low, item.value.high
        span = "–" if low is None or high is None else f"{points(low)} to {points(high)}"
        p = "–" if item.p is None else "< 0.001" if item.p < 0.001 else f"{item.p:.3f}"
        mean = points(item.value.mean)
        rows.append((*cells, item.a, item.b, mean, span, p, _mdd(item.mdd), item.verdict))
    head = ("a", "b", f"a {MINUS} b, points", "95 % interval", "p", "mdd, points", "a is")
    shift = len(where.head)
    return Table((*where.head, *head), rows, tuple(shift + column for column in (2, 3, 4, 5)))


def raw_table(means: Sequence[Average]) -> Table | None:
    """Return raw beside repaired accuracy, where a setting was evaluated on both."""
    pairs: dict[tuple[Place, Setting], dict[str, float]] = {}
    for item in means:
        pair = pairs.setdefault((item.place._replace(data=""), item.setting), {})
        pair[item.place.data] = item.value.mean
    both = {key: pair for key, pair in pairs.items() if {"raw", "repaired"} <= pair.keys()}
    where = _places([place for place, _ in both])
    rows = [
        (
            *cells,
            setting.title,
            percent(pair["raw"]),
            percent(pair["repaired"]),
            points(pair["repaired"] - pair["raw"]),
        )
        for cells, ((_, setting), pair) in zip(where.cells, both.items(), strict=True)
    ]
    head = ("setting", "raw, %", "repaired, %", f"repaired {MINUS} raw, points")
    shift = len(where.head)
    return Table((*where.head, *head), rows, (shift + 1, shift + 2, shift + 3)) if rows else None


def languages_table(found: Sequence[Point]) -> Table:
    """Return the numbers behind the accuracy figure: languages down, settings across."""
    settings = sorted({point.setting for point in found}, key=lambda setting: setting.order)
    cells = {
        (point.lang, point.setting): (percent(point.value.mean), interval(point.value.low, point.value.high))
        for point in found
    }
    rows = []
    for lang in by_baseline(found):
        texts = [cells.get((lang, setting), ("–", "")) for setting in settings]
        rows.append((language(lang), *(f"{mean} [{span}]" if span else mean for mean, span in texts)))
    head = ("language", *(setting.title for setting in settings))
    return Table(head, rows, tuple(range(1, len(head))))


def rows_table(results: Record) -> Table:
    """Return every row of ``results.json``: one per language, setting and seed."""
    rows = []
    for row in records(results.get("rows")):
        setting, acc = setting_of(row), row.get("acc")
        rows.append(
            (
                str(row.get("task", "")),
                language(str(row.get("lang", ""))),
                str(row.get("split", "")),
                str(row.get("data", "")),
                setting.regime,
                setting.method,
                str(setting.k),
                _or_dash(row.get("total_labels")),
                _or_dash(row.get("seed")),
                percent(acc) if isinstance(acc, int | float) else "–",
                _or_dash(row.get("n")),
            )
        )
    head = ("task", "language", "split", "data", "regime", "method", "shots k", "total labels", "seed",
            "accuracy, %", "items")  # fmt: skip
    return Table(head, rows, (6, 7, 8, 9, 10))


def costs_table(costs: Record) -> Table | None:
    """Return seconds, token-passes (both summed over seeds) and the highest memory of each stage."""
    stages: dict[str, list[Record]] = {}
    for stage in records(costs.get("stages")):
        stages.setdefault(str(stage.get("stage", "?")), []).append(stage)
    if not stages:
        return None
    rows = []
    for name, parts in stages.items():
        seconds, passes = (sum(part.get(key) or 0 for part in parts) for key in ("seconds", "token_passes"))
        peak = max(part.get("peak_rss_mb") or 0 for part in parts)
        rows.append(
            (STAGES.get(name, name), duration(seconds), amount(passes), f"{peak:.0f}" if peak else "–")
        )
    if isinstance(costs.get("total_seconds"), int | float):
        total = sum(part.get("token_passes") or 0 for parts in stages.values() for part in parts)
        rows.append(("whole run", duration(costs["total_seconds"]), amount(total), ""))
    return Table(("stage", "time", "token-passes", "peak memory, MB"), rows, (1, 2, 3))


def trunk_sentence(costs: Record) -> str:
    """Return how much the trunk has to do, how much of it was needed and how long that took, or nothing."""
    trunk = costs.get("trunk")
    if not isinstance(trunk, dict):
        return ""
    known = [
        f"{amount(trunk[key])}{unit}"
        for key, unit in (
            ("texts", " texts"),
            ("tokens", " tokens"),
            ("used_tokens", " of them needed"),
            ("bytes", "B"),
        )
        if isinstance(trunk.get(key), int | float)
    ]
    times = [
        f"{duration(trunk[key])} {words}"
        for key, words in (
            ("cold_seconds", "to compute what was not cached"),
            ("warm_seconds", "to read the rest"),
        )
        if isinstance(trunk.get(key), int | float)
    ]
    return f"Trunk cache: {', '.join(known + times)}." if known or times else ""


def pairs_table(record: Record) -> Table | None:
    """Return a nested record as two columns, inner keys joined by slashes."""
    rows = [(name, str(value)) for name, value in _flatten(record, "")]
    return Table(("what", "value"), rows) if rows else None


def shares_table(shares: Any) -> Table | None:
    """Return which share of the parameters was trained, and what was repaired, left out or cut."""
    if not isinstance(shares, dict):
        return None
    shares = {key: value for key, value in shares.items() if key != "leaks"}  # the page begins with them
    rows = [
        (name, f"{100 * value:.3g} %" if isinstance(value, float) and value <= 1 else str(value))
        for name, value in _flatten(shares, "")
    ]
    return Table(("what", "value"), rows, (1,)) if rows else None


def shots_table(shots: Sequence[Record]) -> Table | None:
    """Return the ids of the labelled examples that were drawn, per task and seed."""
    rows = [
        (
            str(shot.get("task", "")),
            _or_dash(shot.get("k")),
            _or_dash(shot.get("seed")),
            ", ".join(str(item) for item in shot.get("ids") or ()),
        )
        for shot in shots
    ]
    return Table(("task", "k", "seed", "ids"), rows, (1, 2)) if rows else None


@dataclass(frozen=True, slots=True)
class _Places:
    head: tuple[str, ...]
    cells: list[tuple[str, ...]]


def _places(places: Sequence[Place]) -> _Places:
    """Return columns for task, split and data, without those that say the same in every row."""
    kept = [index for index in range(len(Place._fields)) if len({place[index] for place in places}) > 1]
    head = tuple(Place._fields[index] for index in kept)
    return _Places(head, [tuple(place[index] for index in kept) for place in places])


def _mdd(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _flatten(record: Record, prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key} / ")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(str(item) for item in value)
        elif value is not None:
            yield f"{prefix}{key}", value


def _or_dash(value: Any) -> str:
    return "–" if value is None else str(value)
