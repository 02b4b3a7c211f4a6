"""The tables of a comparison, as text: for the page, the terminal, CSV and LaTeX."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from metaxcr.reports.wording import MINUS, STAGES, amount, duration, language, percent, points

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """A table with title and note, and a key for file names; ``numeric`` columns are aligned right."""

    key: str
    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[int, ...] = ()
    note: str = ""


def grid_tables(summary: Row) -> list[Named]:
    """Return the tables of a comparison that have rows, the headline first."""
    makers: tuple[Callable[[Row], Named], ...] = (
        averages, differences, outside, costs, parts, languages, groups, equivalents, matrix,
    )  # fmt: skip
    return [table for table in (make(summary) for make in makers) if table.rows]


def averages(summary: Row) -> Named:
    """Return the headline: accuracy over languages and seeds, with what each line needed."""
    rows = [
        (
            label(row, summary), percent(row["mean"]), _interval(row), _points(row["mdd"]), row["regime"],
            str(row["k"]), str(row["total_labels"]), str(len(row["languages"])),
            str(len(row["seeds"]) or "–"),
            row["ci_kind"] or "–", "" if row["complete"] else "incomplete",
        )
        for row in summary["averages"]
    ]  # fmt: skip
    head = ("method", "accuracy, %", "95 % interval", "mdd, points", "regime", "shots", "labels", "languages",
            "seeds", "interval over", "")  # fmt: skip
    note = ("mdd: the smallest true distance from a fixed number that 8 in 10 such comparisons would find. "
            "Labels: those of the target task in other languages than English that were used.")  # fmt: skip
    return Named("averages", "Accuracy over languages", head, rows, (1, 2, 3, 5, 6, 7, 8), note)


def differences(summary: Row) -> Named:
    """Return the paired differences from the baseline, with corrected p values."""
    rows = [(label(row, summary), *_difference(row)) for row in summary["differences"]]
    note = ("Paired on items and seeds, items clustered over languages. p: t test over items x seeds; "
            "permutation: signs of whole items flipped; Holm and BH: corrected for all rows of this table. "
            "“better” and “worse” are used only if the interval excludes zero.")  # fmt: skip
    return Named(
        "differences", f"Difference from {summary['baseline']}", ("method", *_DIFFERENCE), rows,
        (1, 2, 4, 5, 6, 7, 8), note,
    )  # fmt: skip


_DIFFERENCE = (f"method {MINUS} it, points", "95 % interval", "method is", "p", "p, permutation", "p, Holm",
               "p, BH", "mdd, points")  # fmt: skip


def outside(summary: Row) -> Named:
    """Return the paired differences from other systems."""
    rows = [
        (label(row, summary), row["against"], percent(row["accuracy"]), *_difference(row))
        for row in summary["outside"]
    ]
    head = ("method", "other system", "its accuracy, %", *_DIFFERENCE)
    return Named("outside", "Against other systems", head, rows, (2, 3, 4, 6, 7, 8, 9, 10))


def costs(summary: Row) -> Named:
    """Return what a cell of each method cost, and how much of the encoder it trained."""
    names = sorted({name for row in summary["averages"] for name in row["stages"]}, key=_stage_order)
    rows = [
        (
            label(row, summary), *(amount(row["stages"].get(name, 0)) for name in names),
            amount(row["token_passes"]), duration(row["seconds"]), _mb(row["peak_rss_mb"]),
            f"{row['trained']:,}" if row["trained"] else "–", _share(row["share"]),
            _share(row["share_without_embeddings"]),
        )
        for row in summary["averages"]
    ]  # fmt: skip
    head = ("method", *(STAGES.get(name, name) for name in names), "token-passes", "time", "memory, MB",
            "trained", "share", "without embeddings")  # fmt: skip
    note = ("Of a cell (a language, a seed), mean over cells; stages that cells share, such as CTML, count "
            "in each. Token-passes exclude the trunk, which is computed once for all methods. An ensemble "
            "pays for all its members. Time depends on the machine and its load.")  # fmt: skip
    return Named("costs", "What a cell costs", head, rows, tuple(range(1, len(head))), note)


def parts(summary: Row) -> Named:
    """Return what the parts of CTML cost, where they were recorded: the sampler's reward among them."""
    shown = [row for row in summary["averages"] if row["parts"] and row["k"] == min(summary["shots"])]
    names = sorted({name for row in shown for name in row["parts"]})
    rows = []
    for row in shown:
        whole = sum(row["parts"].values()) or 1.0
        cells = (f"{amount(row['parts'].get(n, 0))} ({row['parts'].get(n, 0) / whole:.0%})" for n in names)
        rows.append((label(row, summary), *cells))
    head = ("method", *names)
    return Named("parts", "Token-passes of the parts of CTML", head, rows, tuple(range(1, len(head))))


def languages(summary: Row) -> Named:
    """Return the accuracy of each language: languages down, methods across."""
    lines = list(dict.fromkeys(label(row, summary) for row in summary["languages"]))
    cells = {
        (row["language"], label(row, summary)): f"{percent(row['mean'])} [{_interval(row)}]"
        for row in summary["languages"]
    }
    codes = sorted({row["language"] for row in summary["languages"]})
    rows = [(language(code), *(cells.get((code, line), "–") for line in lines)) for code in codes]
    return Named("languages", "Accuracy by language, %", ("language", *lines), rows,
                 tuple(range(1, len(lines) + 1)))  # fmt: skip


def groups(summary: Row) -> Named:
    """Return the mean accuracy by family, script, and whether the encoder has seen the language."""
    lines = list(dict.fromkeys(label(row, summary) for row in summary["groups"]))
    cells = {
        (row["by"], row["group"], label(row, summary)): percent(row["mean"]) for row in summary["groups"]
    }
    members: dict[tuple[str, str], list[str]] = {}
    for row in summary["groups"]:
        members.setdefault((row["by"], row["group"]), row["languages"])
    rows = [
        (by, group, " ".join(members[by, group]), *(cells.get((by, group, line), "–") for line in lines))
        for by, group in sorted(members)
    ]
    head = ("by", "group", "languages", *lines)
    note = "Means of the languages' accuracies, without intervals."
    return Named("groups", "Accuracy by kind of language, %", head, rows, tuple(range(3, len(head))), note)


def equivalents(summary: Row) -> Named:
    """Return how many shots the baseline needs to match each method."""
    rows = []
    for row in summary["curve"]:
        beyond = f"more than {row['most']}"
        low, high = (beyond if row[end] is None else f"{row[end]:.0f}" for end in ("low", "high"))
        shots = beyond if row["shots"] is None else f"{row['shots']:.1f}"
        rows.append((label(row, summary), str(row["k"]), shots, f"{low} to {high}"))
    head = ("method", "its shots", f"shots that {summary['baseline']} needs", "95 % interval")
    note = ("Read off the baseline's curve, made non-decreasing, linear over log2(1 + shots). Percentile "
            "bootstrap over items and seeds: with few seeds the interval is too narrow.")  # fmt: skip
    return Named("equivalents", "Cost-equivalent shots", head, rows, (1, 2, 3), note)


def matrix(summary: Row) -> Named:
    """Return accuracy by language of the labels and tested language."""
    found = summary["matrix"]
    if not found:
        return Named("matrix", "", (), ())
    tested = sorted({cell["language"] for cell in found["cells"]})
    support = sorted({cell["support"] for cell in found["cells"]})
    means = {(cell["support"], cell["language"]): percent(cell["mean"]) for cell in found["cells"]}
    rows = [(language(s), *(means.get((s, t), "–") for t in tested)) for s in support]
    if found["baseline"]:
        base = {code: percent(mean) for code, mean in found["baseline"].items()}
        rows.append((f"none ({summary['baseline']})", *(base.get(t, "–") for t in tested)))
    head = (f"{found['by']} language", *tested)
    return Named("matrix", "Transfer: labels in a language (rows), tested in another, %", head, rows,
                 tuple(range(1, len(head))))  # fmt: skip


def label(row: Row, summary: Row) -> str:
    """Name of a line: method, target where there are several, shots where the grid has several."""
    target = f"{row['target']}: " if row["target"] else ""
    several = len(summary["shots"]) > 1
    return f"{target}{row['method']}" + (f", k={row['k']}" if several and row["k"] else "")


def _difference(row: Row) -> tuple[str, ...]:
    if row["mean"] is None:
        return ("–", "–", row["why"], *["–"] * 5)
    p = (_p(row.get(key)) for key in ("p", "p_permutation", "p_holm", "p_bh"))
    low, high = row["ci95"]
    span = f"{points(low)} to {points(high)}"
    return points(row["mean"]), span, row["verdict"], *p, _points(row["mdd"])


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _interval(row: Row) -> str:
    return "–" if row["ci95"] is None else f"{percent(row['ci95'][0])} to {percent(row['ci95'][1])}"


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _mb(value: float) -> str:
    return f"{value:.0f}" if value else "–"


def _stage_order(name: str) -> tuple[int, str]:
    order = list(STAGES)
    return (order.index(name) if name in order else len(order)), name
