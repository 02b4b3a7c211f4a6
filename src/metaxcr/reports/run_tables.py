"""Tables of a run's report, and the headline: averages beside the untrained baseline, in words."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from metaxcr.evaluation.results import Place, Setting
from metaxcr.evaluation.statistics import Estimate
from metaxcr.records import Record
from metaxcr.reports import canvas
from metaxcr.reports.run_figures import by_baseline, setting_styles
from metaxcr.reports.run_records import (
    AccuracyDifference,
    Average,
    LanguagePoint,
    main_place,
    place_of,
    setting_of,
    stage_totals,
)
from metaxcr.reports.tables import (
    MINUS,
    STAGES,
    ReportTable,
    amount,
    duration,
    interval,
    known,
    language,
    p_value,
    percent,
    points,
)

_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_OUTCOMES = {  # verdict -> how the headline ends
    "better": "better than the untrained baseline",
    "worse": "worse than the untrained baseline",
    "no difference shown": "not shown to differ from the untrained baseline: the interval of the paired "
    "difference includes zero",
    "not compared": "without a paired comparison with the baseline",
}


class Card(NamedTuple):
    """One setting's average, and how it compares with the baseline."""

    title: str
    mean: str
    interval: str
    verdict: str
    sentence: str
    colour: str


class Headline(NamedTuple):
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
    styles = setting_styles(average.setting for average in shown)
    against = {diff.a: diff.value for diff in diffs if diff.against_baseline and diff.place == place}
    cards, verdicts = [], []
    for average in shown:
        setting, value, found = average.setting, average.value, against.get(average.setting.label)
        verdict, sentence = "baseline", "no training at all"
        if setting.regime != "none":
            verdict = found.verdict if found else "not compared"
            sentence = _sentence(found) if found else "the paired difference was not computed"
            verdicts.append((setting.title, verdict))
        about = (setting.title, percent(value.mean), interval(value.ci95), verdict, sentence)
        cards.append(Card(*about, canvas.css(styles[setting][0])))
    return Headline(place, max(len(average.langs) for average in shown), _summary(verdicts), cards)


def _sentence(difference: Estimate) -> str:
    low, high = difference.low, difference.high
    if low is None or high is None:
        return f"{points(difference.mean)} points, without an interval"
    zero = "includes" if difference.verdict == "no difference shown" else "excludes"
    return f"{points(difference.mean)} points; interval {points(low)} to {points(high)} {zero} zero"


def _summary(verdicts: Sequence[tuple[str, str]]) -> str:
    """The outcome of all trained settings, in a sentence for each verdict."""
    if not verdicts:
        return "Only the untrained baseline was evaluated."
    sentences = []
    for verdict, outcome in _OUTCOMES.items():
        titles = [title for title, found in verdicts if found == verdict]
        if titles:
            names = f" ({'; '.join(titles)})" if len(titles) < len(verdicts) else ""
            verb = "is" if len(titles) == 1 else "are"
            sentences.append(f"{_count(len(titles), len(verdicts))}{names} {verb} {outcome}.")
    return " ".join(sentences)


def _count(part: int, whole: int) -> str:
    if part == whole == 1:
        return "The trained setting"
    if part == whole:
        return "Both trained settings" if whole == 2 else f"All {_word(whole)} trained settings"
    return f"{_word(part).capitalize()} of the {_word(whole)} trained settings"


def _word(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def averages_table(means: Sequence[Average]) -> ReportTable:
    """The averages over languages."""
    head = ("regime", "method", "shots k", "total labels", "languages", "seeds", "mean, %", "95 % interval",
            "interval over", "mdd, points")  # fmt: skip
    rows = []
    for mean in means:
        setting, value = mean.setting, mean.value
        labels, languages, seeds = known(mean.total_labels), str(len(mean.langs)), known(mean.seeds or None)
        about = (setting.regime, setting.method, str(setting.k), labels, languages, seeds)
        span, kind = interval(value.ci95) or "–", value.kind or "–"
        rows.append((*about, percent(value.mean), span, kind, known(value.mdd, _mdd)))
    table = ReportTable(head, rows, (2, 3, 4, 5, 6, 7, 9), "averages", "Averages over languages")
    return _with_places(table, [mean.place for mean in means])


def differences_table(diffs: Sequence[AccuracyDifference]) -> ReportTable:
    """The paired differences, and what they show."""
    rows = []
    for item in diffs:
        value = item.value
        span = " to ".join(map(points, value.ci95)) if value.ci95 else "–"
        numbers = (points(value.mean), span, p_value(value.p), known(value.mdd, _mdd), value.verdict)
        rows.append((item.a, item.b, *numbers))
    head = ("a", "b", f"a {MINUS} b, points", "95 % interval", "p", "mdd, points", "a is")
    table = ReportTable(head, rows, (2, 3, 4, 5), "differences", "Paired differences")
    return _with_places(table, [item.place for item in diffs])


def _mdd(value: float) -> str:
    return f"{100 * value:.2f}"


def raw_table(means: Sequence[Average]) -> ReportTable | None:
    """Accuracy on raw beside repaired data, of the settings that were evaluated on both."""
    pairs: dict[tuple[Place, Setting], dict[str, float]] = {}
    for mean in means:
        pair = pairs.setdefault((mean.place._replace(data=""), mean.setting), {})
        pair[mean.place.data] = mean.value.mean
    places, rows = [], []
    for (place, setting), pair in pairs.items():
        if len(pair) == 2:
            raw, repaired = pair["raw"], pair["repaired"]
            places.append(place)
            rows.append((setting.title, percent(raw), percent(repaired), points(repaired - raw)))
    head = ("setting", "raw, %", "repaired, %", f"repaired {MINUS} raw, points")
    return _with_places(ReportTable(head, rows, (1, 2, 3)), places) if rows else None


def _with_places(table: ReportTable, places: Sequence[Place]) -> ReportTable:
    """Put columns for task, split and data first, except those with the same value in every row."""
    kept = [index for index in range(len(Place._fields)) if len({place[index] for place in places}) > 1]
    head = (*(Place._fields[index] for index in kept), *table.head)
    rows = [(*(place[i] for i in kept), *row) for place, row in zip(places, table.rows, strict=True)]
    return table._replace(head=head, rows=rows, numeric=[len(kept) + column for column in table.numeric])


def languages_table(found: Sequence[LanguagePoint]) -> ReportTable:
    """The numbers of the accuracy figure: languages down, settings across."""
    settings = sorted({point.setting for point in found}, key=lambda setting: setting.order)
    cells = {}
    for point in found:
        span = interval(point.value.ci95)
        cells[point.lang, point.setting] = percent(point.value.mean) + (f" [{span}]" if span else "")
    codes, head = by_baseline(found), ("language", *(setting.title for setting in settings))
    rows = [(language(code), *(cells.get((code, setting), "–") for setting in settings)) for code in codes]
    return ReportTable(head, rows, range(1, len(head)), "languages", "Accuracy by language")


def rows_table(results: Record) -> ReportTable:
    """Every row of ``results.json``: one per language, setting and seed."""
    head = ("task", "language", "split", "data", "regime", "method", "shots k", "total labels", "seed",
            "accuracy, %", "items")  # fmt: skip
    rows = []
    for row in results.get("rows", ()):
        (task, split, data), (regime, method, k) = place_of(row), setting_of(row)
        about = (task, language(row["lang"]), split, data, regime, method, str(k), str(row["total_labels"]))
        rows.append((*about, known(row["seed"]), percent(row["acc"]), str(row["n"])))
    return ReportTable(head, rows, (6, 7, 8, 9, 10), "rows", "Every row")


def costs_table(costs: Record) -> ReportTable | None:
    """Time and token-passes (both summed over seeds) and peak memory of each stage."""
    stages = stage_totals(costs)
    rows = [
        (STAGES.get(name, name), duration(seconds), amount(passes), f"{peak:.0f}" if peak else "–")
        for name, (seconds, passes, peak) in stages.items()
    ]
    if "total_seconds" in costs:
        total = sum(passes for _, passes, _ in stages.values())
        rows.append(("whole run", duration(costs["total_seconds"]), amount(total), ""))
    head = ("stage", "time", "token-passes", "peak memory, MB")
    return ReportTable(head, rows, (1, 2, 3), "costs", "Costs") if stages else None


def trunk_sentence(costs: Record) -> str:
    """The size of the trunk, how much of it was needed, and the time it took; empty if not recorded."""
    trunk = costs.get("trunk", {})
    parts = [
        (amount, "texts", " texts"),
        (amount, "tokens", " tokens"),
        (amount, "used_tokens", " of them needed"),
        (amount, "bytes", "B"),
        (duration, "cold_seconds", " to compute what was not cached"),
        (duration, "warm_seconds", " to read the rest"),
    ]
    found = [f"{show(trunk[key])}{unit}" for show, key, unit in parts if key in trunk]
    return f"Trunk cache: {', '.join(found)}." if found else ""


def pairs_table(record: Record) -> ReportTable | None:
    """A nested record as two columns, inner keys joined by slashes."""
    rows = [(name, str(value)) for name, value in _flatten(record, "")]
    return ReportTable(("what", "value"), rows) if rows else None


def shares_table(shares: Record) -> ReportTable | None:
    """The trained share of the parameters, and what was repaired, left out or cut."""
    rows = [
        (name, f"{100 * value:.3g} %" if isinstance(value, float) and value <= 1 else str(value))
        for name, value in _flatten({**shares, "leaks": None}, "")  # they are shown at the top of the page
    ]
    return ReportTable(("what", "value"), rows, (1,)) if rows else None


def shots_table(shots: Sequence[Record]) -> ReportTable | None:
    """The ids of the drawn shots, per task and seed."""
    rows = [(shot["task"], str(shot["k"]), known(shot["seed"]), ", ".join(shot["ids"])) for shot in shots]
    return ReportTable(("task", "k", "seed", "ids"), rows, (1, 2)) if rows else None


def _flatten(record: Record, prefix: str) -> Iterable[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key} / ")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(str(item) for item in value)
        elif value is not None:
            yield f"{prefix}{key}", value
