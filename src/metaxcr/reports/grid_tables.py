"""The tables of a comparison, as text: for the page, the terminal, CSV and LaTeX."""

from collections.abc import Callable, Sequence

from metaxcr.records import Record
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

_DIFFERENCE = (f"method {MINUS} it, points", "95 % interval", "method is", "p", "p, permutation", "p, Holm",
               "p, BH", "mdd, points")  # fmt: skip
_SHARES = ("share", "share_without_embeddings")


def grid_tables(summary: Record) -> list[ReportTable]:
    """Return the tables of a comparison that have rows, the headline first."""
    makers: tuple[Callable[[Record], ReportTable], ...] = (
        _averages, _differences, _outside, _costs, _parts, _languages, _groups, _equivalents, _matrix,
    )  # fmt: skip
    return [table for table in (make(summary) for make in makers) if table.rows]


def label(row: Record, summary: Record) -> str:
    """Name of a line: method, target where there are several, shots where the grid has several."""
    target = f"{row['target']}: " if row["target"] else ""
    several = len(summary["shots"]) > 1
    return f"{target}{row['method']}" + (f", k={row['k']}" if several and row["k"] else "")


def _averages(summary: Record) -> ReportTable:
    """The headline: accuracy over languages and seeds, with what each line needed."""
    head = ("method", "accuracy, %", "95 % interval", "mdd, points", "regime", "shots", "labels", "languages",
            "seeds", "interval over", "")  # fmt: skip
    rows = []
    for row in summary["averages"]:
        numbers = (percent(row["mean"]), interval(row["ci95"]) or "–", known(row["mdd"], percent))
        counts = (str(row["k"]), str(row["total_labels"]), str(len(row["languages"])))
        over = (str(len(row["seeds"]) or "–"), row["ci_kind"] or "–")
        state = "" if row["complete"] else "incomplete"
        rows.append((label(row, summary), *numbers, row["regime"], *counts, *over, state))
    note = ("mdd: the smallest true distance from a fixed number that 8 in 10 such comparisons would find. "
            "Labels: those of the target task in other languages than English that were used.")  # fmt: skip
    title = "Accuracy over languages"
    return ReportTable(head, rows, (1, 2, 3, 5, 6, 7, 8), "averages", title, note)


def _differences(summary: Record) -> ReportTable:
    """The paired differences from the baseline, with corrected p values."""
    rows = [(label(row, summary), *_difference(row)) for row in summary["differences"]]
    note = ("Paired on items and seeds, items clustered over languages. p: t test over items x seeds; "
            "permutation: signs of whole items flipped; Holm and BH: corrected for all rows of this table. "
            "“better” and “worse” are used only if the interval excludes zero.")  # fmt: skip
    head, title = ("method", *_DIFFERENCE), f"Difference from {summary['baseline']}"
    return ReportTable(head, rows, (1, 2, 4, 5, 6, 7, 8), "differences", title, note)


def _outside(summary: Record) -> ReportTable:
    """The paired differences from other systems."""
    rows = [
        (label(row, summary), row["against"], percent(row["accuracy"]), *_difference(row))
        for row in summary["outside"]
    ]
    head = ("method", "other system", "its accuracy, %", *_DIFFERENCE)
    return ReportTable(head, rows, (2, 3, 4, 6, 7, 8, 9, 10), "outside", "Against other systems")


def _difference(row: Record) -> Sequence[str]:
    if row["mean"] is None:
        return ("–", "–", row["why"], *["–"] * 5)
    p = (p_value(row.get(key)) for key in ("p", "p_permutation", "p_holm", "p_bh"))
    span = " to ".join(map(points, row["ci95"]))
    return points(row["mean"]), span, row["verdict"], *p, known(row["mdd"], percent)


def _costs(summary: Record) -> ReportTable:
    """What a cell of each method cost, and how much of the encoder it trained."""
    order = list(STAGES)
    names = {name for row in summary["averages"] for name in row["stages"]}
    stages = sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))
    rows = []
    for row in summary["averages"]:
        passes = (amount(row["stages"].get(name, 0)) for name in stages)
        spent = (amount(row["token_passes"]), duration(row["seconds"]))
        memory = known(row["peak_rss_mb"] or None, "{:.0f}".format)
        trained = known(row["trained"] or None, "{:,}".format)
        shares = (known(row[key], lambda s: f"{100 * s:.2f} %") for key in _SHARES)
        rows.append((label(row, summary), *passes, *spent, memory, trained, *shares))
    head = ("method", *(STAGES.get(name, name) for name in stages), "token-passes", "time", "memory, MB",
            "trained", "share", "without embeddings")  # fmt: skip
    note = ("Of a cell (a language, a seed), mean over cells; stages that cells share, such as CTML, count "
            "in each. Token-passes exclude the trunk, which is computed once for all methods. An ensemble "
            "pays for all its members. Time depends on the machine and its load.")  # fmt: skip
    return ReportTable(head, rows, range(1, len(head)), "costs", "What a cell costs", note)


def _parts(summary: Record) -> ReportTable:
    """What the parts of CTML cost, where they were recorded: the sampler's reward among them."""
    shown = [row for row in summary["averages"] if row["parts"] and row["k"] == min(summary["shots"])]
    names = sorted({name for row in shown for name in row["parts"]})
    rows = []
    for row in shown:
        whole = sum(row["parts"].values()) or 1.0
        cells = (f"{amount(row['parts'].get(n, 0))} ({row['parts'].get(n, 0) / whole:.0%})" for n in names)
        rows.append((label(row, summary), *cells))
    title = "Token-passes of the parts of CTML"
    return ReportTable(("method", *names), rows, range(1, len(names) + 1), "parts", title)


def _languages(summary: Record) -> ReportTable:
    """The accuracy of each language: languages down, methods across."""
    lines = list(dict.fromkeys(label(row, summary) for row in summary["languages"]))
    cells = {
        (row["language"], label(row, summary)): f"{percent(row['mean'])} [{interval(row['ci95']) or '–'}]"
        for row in summary["languages"]
    }
    codes = sorted({row["language"] for row in summary["languages"]})
    rows = [(language(code), *(cells.get((code, line), "–") for line in lines)) for code in codes]
    numeric, title = range(1, len(lines) + 1), "Accuracy by language, %"
    return ReportTable(("language", *lines), rows, numeric, "languages", title)


def _groups(summary: Record) -> ReportTable:
    """The mean accuracy by family, script, and whether the encoder has seen the language."""
    lines = list(dict.fromkeys(label(row, summary) for row in summary["groups"]))
    cells = {
        (row["by"], row["group"], label(row, summary)): percent(row["mean"]) for row in summary["groups"]
    }
    members: dict[tuple[str, str], str] = {}
    for row in summary["groups"]:
        members.setdefault((row["by"], row["group"]), " ".join(row["languages"]))
    rows = [
        (*group, codes, *(cells.get((*group, line), "–") for line in lines))
        for group, codes in sorted(members.items())
    ]
    head, title = ("by", "group", "languages", *lines), "Accuracy by kind of language, %"
    note = "Means of the languages' accuracies, without intervals."
    return ReportTable(head, rows, range(3, len(head)), "groups", title, note)


def _equivalents(summary: Record) -> ReportTable:
    """How many shots the baseline needs to match each method."""
    rows = []
    for row in summary["curve"]:
        beyond = f"more than {row['most']}"
        low, high = (beyond if row[end] is None else f"{row[end]:.0f}" for end in ("low", "high"))
        shots = beyond if row["shots"] is None else f"{row['shots']:.1f}"
        rows.append((label(row, summary), str(row["k"]), shots, f"{low} to {high}"))
    head = ("method", "its shots", f"shots that {summary['baseline']} needs", "95 % interval")
    note = ("Read off the baseline's curve, made non-decreasing, linear over log2(1 + shots). Percentile "
            "bootstrap over items and seeds: with few seeds the interval is too narrow.")  # fmt: skip
    return ReportTable(head, rows, (1, 2, 3), "equivalents", "Cost-equivalent shots", note)


def _matrix(summary: Record) -> ReportTable:
    """Accuracy by language of the labels and tested language."""
    found = summary["matrix"]
    if not found:
        return ReportTable((), ())
    tested = sorted({cell["language"] for cell in found["cells"]})
    support = sorted({cell["support"] for cell in found["cells"]})
    means = {(cell["support"], cell["language"]): percent(cell["mean"]) for cell in found["cells"]}
    rows = [(language(s), *(means.get((s, t), "–") for t in tested)) for s in support]
    if found["baseline"]:
        base = {code: percent(mean) for code, mean in found["baseline"].items()}
        rows.append((f"none ({summary['baseline']})", *(base.get(t, "–") for t in tested)))
    head = (f"{found['by']} language", *tested)
    title = "Transfer: labels in a language (rows), tested in another, %"
    return ReportTable(head, rows, range(1, len(head)), "matrix", title)
