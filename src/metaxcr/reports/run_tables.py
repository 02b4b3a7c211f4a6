"""The first thing a reader sees: averages beside the untrained baseline, and what may be said about them.

The report's tables: text for every cell, made from the run folder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from metaxcr.reports import canvas
from metaxcr.reports.accuracies import (
    AccuracyDifference,
    Average,
    LanguagePoint,
    Place,
    Setting,
    baseline_difference,
    main_place,
    setting_of,
)
from metaxcr.reports.run_figures import by_baseline, looks
from metaxcr.reports.run_records import Record, records
from metaxcr.reports.wording import MINUS, STAGES, amount, duration, language, percent, points

_WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class Card:
    """One setting's average with its verdict."""

    title: str
    mean: str
    interval: str
    verdict: str
    sentence: str
    colour: str


@dataclass(frozen=True, slots=True)
class Headline:
    """What may be said about the target task in a few lines.

    Args:
        place: The target task, split and data.
        languages: How many languages the averages are over.
        sentence: The outcome in plain English.
        cards: One per setting, the baseline first.
    """

    place: Place
    languages: int
    sentence: str
    cards: list[Card]


def headline(means: Sequence[Average], diffs: Sequence[AccuracyDifference], target: str) -> Headline | None:
    """Put the outcome on the target task into words.

    "Better" and "worse" are said only where the interval of the paired difference excludes zero.

    Args:
        means: All averages of the run.
        diffs: All paired differences of the run.
        target: The target task.

    Returns:
        The headline, or None where the target has no average.
    """
    place = main_place(means, target)
    if place is None:
        return None
    shown = [average for average in means if average.place == place]
    styles = looks([average.setting for average in shown])
    cards, verdicts = [], []
    for average in shown:
        found = baseline_difference(average, diffs)
        verdict = found.verdict if found else "not compared"
        if average.setting.regime == "none":
            verdict = "baseline"
        else:
            verdicts.append((average.setting.title, verdict))
        cards.append(
            Card(
                title=average.setting.title,
                mean=percent(average.value.mean),
                interval=interval(average.value.low, average.value.high),
                verdict=verdict,
                sentence=_sentence(verdict, found),
                colour=canvas.css(styles[average.setting][0]),
            )
        )
    languages = max(len(average.langs) for average in shown)
    return Headline(place, languages, _summary(verdicts), cards)


def interval(low: float | None, high: float | None) -> str:
    """Return an accuracy's interval in per cent."""
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def _sentence(verdict: str, found: AccuracyDifference | None) -> str:
    if found is None:
        return "no training at all" if verdict == "baseline" else "the paired difference was not computed"
    low, high = found.value.low, found.value.high
    if low is None or high is None:
        return f"{points(found.value.mean)} points, without an interval"
    zero = "includes" if verdict == "no difference shown" else "excludes"
    return f"{points(found.value.mean)} points; interval {points(low)} to {points(high)} {zero} zero"


def _summary(verdicts: Sequence[tuple[str, str]]) -> str:
    """Return the sentence over all trained settings."""
    if not verdicts:
        return "Only the untrained baseline was evaluated."
    groups = {kind: [title for title, verdict in verdicts if verdict == kind] for _, kind in verdicts}
    phrases = {
        "better": "better than the untrained baseline",
        "worse": "worse than the untrained baseline",
        "no difference shown": "not shown to differ from the untrained baseline: the interval of the paired "
        "difference includes zero",
        "not compared": "without a paired comparison with the baseline",
    }
    parts = []
    for kind, phrase in phrases.items():
        titles = groups.get(kind, [])
        if titles:
            verb = "is" if len(titles) == 1 else "are"
            names = f" ({'; '.join(titles)})" if len(titles) < len(verdicts) else ""
            parts.append(f"{_count(len(titles), len(verdicts))}{names} {verb} {phrase}.")
    return " ".join(parts)


def _count(part: int, whole: int) -> str:
    if part == whole == 1:
        return "The trained setting"
    if part == whole:
        return "Both trained settings" if whole == 2 else f"All {_word(whole)} trained settings"
    return f"{_word(part).capitalize()} of the {_word(whole)} trained settings"


def _word(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else str(number)


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of text.

    Args:
        head: Column titles.
        rows: Cells as text; numbers are already formatted.
        numeric: Indices of the columns that are aligned right.
    """

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[int, ...] = ()


def averages_table(means: Sequence[Average]) -> ReportTable:
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
    return ReportTable((*where.head, *head), rows, tuple(shift + column for column in (2, 3, 4, 5, 6, 7, 9)))


def differences_table(diffs: Sequence[AccuracyDifference]) -> ReportTable:
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
    return ReportTable((*where.head, *head), rows, tuple(shift + column for column in (2, 3, 4, 5)))


def raw_table(means: Sequence[Average]) -> ReportTable | None:
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
    return ReportTable((*where.head, *head), rows, (shift + 1, shift + 2, shift + 3)) if rows else None


def languages_table(found: Sequence[LanguagePoint]) -> ReportTable:
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
    return ReportTable(head, rows, tuple(range(1, len(head))))


def rows_table(results: Record) -> ReportTable:
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
    return ReportTable(head, rows, (6, 7, 8, 9, 10))


def costs_table(costs: Record) -> ReportTable | None:
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
    return ReportTable(("stage", "time", "token-passes", "peak memory, MB"), rows, (1, 2, 3))


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


def pairs_table(record: Record) -> ReportTable | None:
    """Return a nested record as two columns, inner keys joined by slashes."""
    rows = [(name, str(value)) for name, value in _flatten(record, "")]
    return ReportTable(("what", "value"), rows) if rows else None


def shares_table(shares: Any) -> ReportTable | None:
    """Return which share of the parameters was trained, and what was repaired, left out or cut."""
    if not isinstance(shares, dict):
        return None
    shares = {key: value for key, value in shares.items() if key != "leaks"}  # the page begins with them
    rows = [
        (name, f"{100 * value:.3g} %" if isinstance(value, float) and value <= 1 else str(value))
        for name, value in _flatten(shares, "")
    ]
    return ReportTable(("what", "value"), rows, (1,)) if rows else None


def shots_table(shots: Sequence[Record]) -> ReportTable | None:
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
    return ReportTable(("task", "k", "seed", "ids"), rows, (1, 2)) if rows else None


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
