"""Tables of a run's report, and the headline: averages beside the untrained baseline, in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from metaxcr.evaluation.results import Place, Setting
from metaxcr.reports import canvas
from metaxcr.reports.accuracies import (
    AccuracyDifference,
    Average,
    LanguagePoint,
    baseline_difference,
    main_place,
    setting_of,
)
from metaxcr.reports.run_figures import by_baseline, setting_styles
from metaxcr.reports.run_records import Record, records
from metaxcr.reports.wording import MINUS, STAGES, amount, duration, interval, language, percent, points

_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class Card:
    """One setting's average, and how it compares with the baseline."""

    title: str
    mean: str
    interval: str
    verdict: str
    sentence: str
    colour: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The outcome on the target task, over a number of languages; the baseline's card comes first."""

    place: Place
    languages: int
    sentence: str
    cards: list[Card]


def headline(means: Sequence[Average], diffs: Sequence[AccuracyDifference], target: str) -> Headline | None:
    """Describe the outcome on the target task; None if it has no average.

    "Better" and "worse" are used only if the interval of the paired difference excludes zero.
    """
    place = main_place(means, target)
    if place is None:
        return None
    shown = [average for average in means if average.place == place]
    styles = setting_styles([average.setting for average in shown])
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
                interval=interval((average.value.low, average.value.high)),
                verdict=verdict,
                sentence=_sentence(verdict, found),
                colour=canvas.css(styles[average.setting][0]),
            )
        )
    languages = max(len(average.langs) for average in shown)
    return Headline(place, languages, _summary(verdicts), cards)


def _sentence(verdict: str, found: AccuracyDifference | None) -> str:
    if found is None:
        return "no training at all" if verdict == "baseline" else "the paired difference was not computed"
    low, high = found.value.low, found.value.high
    if low is None or high is None:
        return f"{points(found.value.mean)} points, without an interval"
    zero = "includes" if verdict == "no difference shown" else "excludes"
    return f"{points(found.value.mean)} points; interval {points(low)} to {points(high)} {zero} zero"


def _summary(verdicts: Sequence[tuple[str, str]]) -> str:
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
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table of text; ``numeric`` are the indices of the columns that are aligned right."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[int, ...] = ()


def averages_table(means: Sequence[Average]) -> ReportTable:
    """The averages over languages."""
    head = ("regime", "method", "shots k", "total labels", "languages", "seeds", "mean, %", "95 % interval",
            "interval over", "mdd, points")  # fmt: skip
    rows = [
        (
            item.setting.regime,
            item.setting.method,
            str(item.setting.k),
            _or_dash(item.total_labels),
            str(len(item.langs)),
            _or_dash(item.seeds or None),
            percent(item.value.mean),
            interval((item.value.low, item.value.high)) or "–",
            item.ci_kind or "–",
            _mdd(item.mdd),
        )
        for item in means
    ]
    return _with_places([item.place for item in means], head, rows, (2, 3, 4, 5, 6, 7, 9))


def differences_table(diffs: Sequence[AccuracyDifference]) -> ReportTable:
    """The paired differences, and what they show."""
    rows = []
    for item in diffs:
        low, high = item.value.low, item.value.high
        span = "–" if low is None or high is None else f"{points(low)} to {points(high)}"
        p = "–" if item.p is None else "< 0.001" if item.p < 0.001 else f"{item.p:.3f}"
        rows.append((item.a, item.b, points(item.value.mean), span, p, _mdd(item.mdd), item.verdict))
    head = ("a", "b", f"a {MINUS} b, points", "95 % interval", "p", "mdd, points", "a is")
    return _with_places([item.place for item in diffs], head, rows, (2, 3, 4, 5))


def raw_table(means: Sequence[Average]) -> ReportTable | None:
    """Accuracy on raw beside repaired data, of the settings that were evaluated on both."""
    pairs: dict[tuple[Place, Setting], dict[str, float]] = {}
    for item in means:
        pair = pairs.setdefault((item.place._replace(data=""), item.setting), {})
        pair[item.place.data] = item.value.mean
    both = {key: pair for key, pair in pairs.items() if {"raw", "repaired"} <= pair.keys()}
    rows = [
        (
            setting.title,
            percent(pair["raw"]),
            percent(pair["repaired"]),
            points(pair["repaired"] - pair["raw"]),
        )
        for (_, setting), pair in both.items()
    ]
    head = ("setting", "raw, %", "repaired, %", f"repaired {MINUS} raw, points")
    return _with_places([place for place, _ in both], head, rows, (1, 2, 3)) if rows else None


def _with_places(
    places: Sequence[Place], head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int]
) -> ReportTable:
    """Put columns for task, split and data first, except those with the same value in every row."""
    kept = [index for index in range(len(Place._fields)) if len({place[index] for place in places}) > 1]
    return ReportTable(
        (*(Place._fields[index] for index in kept), *head),
        [(*(place[i] for i in kept), *row) for place, row in zip(places, rows, strict=True)],
        tuple(len(kept) + column for column in numeric),
    )


def languages_table(found: Sequence[LanguagePoint]) -> ReportTable:
    """The numbers of the accuracy figure: languages down, settings across."""
    settings = sorted({point.setting for point in found}, key=lambda setting: setting.order)
    cells = {}
    for point in found:
        span = interval((point.value.low, point.value.high))
        cells[point.lang, point.setting] = percent(point.value.mean) + (f" [{span}]" if span else "")
    rows = [
        (language(lang), *(cells.get((lang, setting), "–") for setting in settings))
        for lang in by_baseline(found)
    ]
    head = ("language", *(setting.title for setting in settings))
    return ReportTable(head, rows, tuple(range(1, len(head))))


def rows_table(results: Record) -> ReportTable:
    """Every row of ``results.json``: one per language, setting and seed."""
    head = ("task", "language", "split", "data", "regime", "method", "shots k", "total labels", "seed",
            "accuracy, %", "items")  # fmt: skip
    rows = []
    for row in records(results.get("rows")):
        setting, acc = setting_of(row), row.get("acc")
        task, lang, split, data = (str(row.get(key, "")) for key in ("task", "lang", "split", "data"))
        labels, seed, n = (_or_dash(row.get(key)) for key in ("total_labels", "seed", "n"))
        accuracy = percent(acc) if isinstance(acc, int | float) else "–"
        rows.append((task, language(lang), split, data, setting.regime, setting.method, str(setting.k),
                     labels, seed, accuracy, n))  # fmt: skip
    return ReportTable(head, rows, (6, 7, 8, 9, 10))


def costs_table(costs: Record) -> ReportTable | None:
    """Time and token-passes (both summed over seeds) and peak memory of each stage."""
    stages: dict[str, list[Record]] = {}
    for stage in records(costs.get("stages")):
        stages.setdefault(str(stage.get("stage", "?")), []).append(stage)
    if not stages:
        return None
    rows, total = [], 0
    for name, parts in stages.items():
        seconds, passes = (sum(part.get(key) or 0 for part in parts) for key in ("seconds", "token_passes"))
        peak = max(part.get("peak_rss_mb") or 0 for part in parts)
        total += passes
        rows.append(
            (STAGES.get(name, name), duration(seconds), amount(passes), f"{peak:.0f}" if peak else "–")
        )
    if isinstance(costs.get("total_seconds"), int | float):
        rows.append(("whole run", duration(costs["total_seconds"]), amount(total), ""))
    return ReportTable(("stage", "time", "token-passes", "peak memory, MB"), rows, (1, 2, 3))


def trunk_sentence(costs: Record) -> str:
    """The size of the trunk, how much of it was needed, and the time it took; empty if not recorded."""
    trunk = costs.get("trunk")
    if not isinstance(trunk, dict):
        return ""
    parts = [
        (amount, "texts", " texts"),
        (amount, "tokens", " tokens"),
        (amount, "used_tokens", " of them needed"),
        (amount, "bytes", "B"),
        (duration, "cold_seconds", " to compute what was not cached"),
        (duration, "warm_seconds", " to read the rest"),
    ]
    found = [
        f"{show(trunk[key])}{unit}" for show, key, unit in parts if isinstance(trunk.get(key), int | float)
    ]
    return f"Trunk cache: {', '.join(found)}." if found else ""


def pairs_table(record: Record) -> ReportTable | None:
    """A nested record as two columns, inner keys joined by slashes."""
    rows = [(name, str(value)) for name, value in _flatten(record, "")]
    return ReportTable(("what", "value"), rows) if rows else None


def shares_table(shares: Any) -> ReportTable | None:
    """The trained share of the parameters, and what was repaired, left out or cut."""
    if not isinstance(shares, dict):
        return None
    shares = {key: value for key, value in shares.items() if key != "leaks"}  # shown at the top of the page
    rows = [
        (name, f"{100 * value:.3g} %" if isinstance(value, float) and value <= 1 else str(value))
        for name, value in _flatten(shares, "")
    ]
    return ReportTable(("what", "value"), rows, (1,)) if rows else None


def shots_table(shots: Sequence[Record]) -> ReportTable | None:
    """The ids of the drawn shots, per task and seed."""
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
