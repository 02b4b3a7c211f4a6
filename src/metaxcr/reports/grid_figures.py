"""Figures of a comparison: forest plot, accuracy by language, shots, costs, transfer matrix."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from metaxcr.evaluation.statistics import Estimate
from metaxcr.records import Record
from metaxcr.reports import canvas
from metaxcr.reports.canvas import CHARACTER, Style, bands, legend, legend_height
from metaxcr.reports.grid_tables import label
from metaxcr.reports.tables import STAGES, amount, language, percent, points

_COLOURS = [canvas.LIGHT[role] for role in ("m1", "m3", "m2", "m4", "m5", "soft", "s4", "s6")]
_MARKERS = "osD^vPX*"
_VERDICTS = {
    "better": (canvas.LIGHT["m2"], "^"),
    "worse": (canvas.LIGHT["m3"], "v"),
    "no difference shown": (canvas.SOFT, "o"),
}
_MOST_LINES = 6  # more methods than these are shown as a table of colours


def forest(summary: Record, width: int) -> Figure | None:
    """Draw the difference of each method from the baseline with its interval."""
    rows = [row for row in summary["differences"] if row["mean"] is not None]
    if not rows:
        return None
    side = width > 600
    names = [label(row, summary) for row in rows]
    fig, axes, shown = _named_rows(names, width, pitch=26, top=8, below=70, right=190 if side else 12)
    axes.axvline(0, color=canvas.INK, linewidth=1)
    for y, (row, name) in enumerate(zip(rows, shown, strict=True)):
        colour, marker = _VERDICTS[row["verdict"]]
        axes.plot([100 * end for end in row["ci95"]], [y, y], color=colour, linewidth=2)
        axes.plot(100 * row["mean"], y, marker=marker, color=colour, markersize=8, linestyle="none")
        numbers = f"{points(row['mean'])} [{', '.join(map(points, row['ci95']))}]"
        if side:
            axes.text(1.01, y, numbers, transform=axes.get_yaxis_transform(), va="center", fontsize=11)
        else:
            axes.text(0, y - 0.32, f"{name}: {numbers}", transform=axes.get_yaxis_transform(), fontsize=10)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel(f"points above {summary['baseline']}", fontsize=12)
    handles = [
        axes.plot([], [], color=colour, marker=marker, markersize=8, linewidth=2, label=name)[0]
        for name, (colour, marker) in _VERDICTS.items()
    ]
    fig.legend(handles=handles, loc="lower left", ncols=3, fontsize=10, columnspacing=1.2, handlelength=1.4)
    return fig


def by_language(summary: Record, width: int) -> Figure | None:
    """Draw accuracy by language: dots with whiskers for a few methods, a table of colours for many."""
    rows = summary["languages"]
    if not rows:
        return None
    lines = list(dict.fromkeys(label(row, summary) for row in rows))
    if len(lines) > _MOST_LINES:
        return _language_table(summary, lines, width)
    styles = [Style(*style) for style in zip(lines, _COLOURS, _MARKERS, strict=False)]
    shown = []
    for code in _by_baseline(summary):
        dots = {
            lines.index(label(row, summary)): Estimate(row["mean"], *(row["ci95"] or (None, None)))
            for row in rows
            if row["language"] == code
        }
        shown.append((language(code), dots))
    fig, axes, _ = bands(shown, styles, width)
    legend(fig, axes, styles, width)
    return fig


def shots(summary: Record, width: int) -> Figure | None:
    """Draw accuracy over shots; None if the grid has one number of shots only."""
    curves: dict[str, list[Record]] = {}
    for row in summary["averages"]:
        curves.setdefault(f"{row['target']}: {row['method']}".removeprefix(": "), []).append(row)
    ticks = sorted({row["k"] for row in summary["averages"]})
    if len(ticks) < 2:
        return None
    styles = [Style(name, _COLOURS[i % 8], _MARKERS[i % 8]) for i, name in enumerate(curves)]
    top = legend_height(len(styles), width) + 16
    fig = canvas.figure(width, top + 330)
    axes = canvas.place(fig, 44, top, width - 60, 270)
    for place, rows in enumerate(curves.values()):
        _, colour, marker, _ = styles[place]
        ordered = sorted(rows, key=lambda row: row["k"])
        x = np.log2(1 + np.array([row["k"] for row in ordered])) + 0.04 * (place - len(curves) / 2)
        y = [100 * row["mean"] for row in ordered]
        axes.plot(x, y, color=colour, marker=marker, markersize=6, linewidth=1.8)
        for at, row in zip(x, ordered, strict=True):
            if row["ci95"]:
                axes.plot([at, at], [100 * end for end in row["ci95"]], color=colour, linewidth=1.2)
    axes.set_xticks([float(np.log2(1 + k)) for k in ticks], [str(k) for k in ticks])
    axes.set_xlabel("labelled examples in the tested language", fontsize=12)
    axes.set_title("accuracy, %")
    axes.grid(axis="y")
    legend(fig, axes, styles, width)
    return fig


def costs(summary: Record, width: int) -> Figure | None:
    """Draw the token-passes of a cell, stage by stage."""
    rows = [row for row in summary["averages"] if row["token_passes"]]
    if not rows:
        return None
    names = [label(row, summary) for row in rows]
    stages = [s for s in STAGES if s != "trunk" and any(row["stages"].get(s) for row in rows)]
    fig, axes, shown = _named_rows(names, width, pitch=24, top=30, below=42, right=76)
    for y, row in enumerate(rows):
        begin = 0.0
        for place, stage in enumerate(stages):
            passes = row["stages"].get(stage, 0)
            axes.barh(y, passes, left=begin, height=0.55, color=canvas.SOURCES[place], linewidth=0)
            begin += passes
        axes.text(begin, y, f" {amount(row['token_passes'])}", va="center", fontsize=11)
        if width <= 600:
            axes.text(0, y - 0.36, shown[y], transform=axes.get_yaxis_transform(), fontsize=10)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    handles = [
        Rectangle((0, 0), 1, 1, color=canvas.SOURCES[i], label=STAGES[s]) for i, s in enumerate(stages)
    ]
    fig.legend(handles=handles, loc="upper left", ncols=4, fontsize=11, handlelength=1.0)
    return fig


def matrix(summary: Record, width: int) -> Figure | None:
    """Draw accuracy by language of the labels and tested language, tinted by the gain on no labels."""
    found = summary["matrix"]
    if not found or not found["cells"]:
        return None
    tested = sorted({cell["language"] for cell in found["cells"]})
    support = sorted({cell["support"] for cell in found["cells"]})
    values = {(cell["support"], cell["language"]): cell["mean"] for cell in found["cells"]}
    return _tinted_table(values, found["baseline"], support, tested, width)


def _language_table(summary: Record, lines: Sequence[str], width: int) -> Figure:
    """Methods down, languages across, tinted by the gain on the baseline."""
    rows = summary["languages"]
    values = {(label(row, summary), row["language"]): row["mean"] for row in rows}
    baseline = {r["language"]: r["mean"] for r in rows if r["method"] == summary["baseline"] and not r["k"]}
    return _tinted_table(values, baseline, lines, _by_baseline(summary), width)


def _tinted_table(
    values: Mapping[tuple[str, str], float],
    baseline: Mapping[str, float],
    rows: Sequence[str],
    columns: Sequence[str],
    width: int,
) -> Figure:
    """Draw accuracies in cells: blue above the baseline of the column (else its mean), orange below."""
    means = {c: float(np.mean([v for (_, column), v in values.items() if column == c])) for c in columns}
    reference = means | dict(baseline)
    gains = {place: value - reference[place[1]] for place, value in values.items()}
    side = width > 600
    short, room = canvas.fit(rows, 320, CHARACTER) if side else canvas.fit(rows, 87, 6.2)
    left = 8 + room
    heads = canvas.fit(columns, 12 * CHARACTER, CHARACTER)[0]
    fig = canvas.figure(width, 26 * len(rows) + 40)
    axes = canvas.place(fig, left, 30, width - left - 8, 26 * len(rows))
    largest = max((abs(gain) for gain in gains.values()), default=0.0) or 1.0
    size = 11.0 if side else max(5.0, min(10.0, 1.6 * (width - left) / (4.5 * len(columns))))
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            gain = gains.get((row, column))
            if gain is None:
                continue
            colour, tint = canvas.LIGHT["m1" if gain >= 0 else "m3"], 0.5 * abs(gain) / largest
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, alpha=tint, linewidth=0))
            text = percent(values[row, column])
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=size)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_xticks([x + 0.5 for x in range(len(columns))], [heads[c] for c in columns], fontsize=size)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [short[r] for r in rows], fontsize=11 if side else 9)
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return fig


def _named_rows(
    names: Sequence[str], width: int, *, pitch: int, top: int, below: int, right: int
) -> tuple[Figure, Axes, list[str]]:
    """Axes with a row for each name, and the names as shown: beside the axes only in a wide figure."""
    side = width > 600
    short, room = canvas.fit(names, 320 if side else 0.5 * width, CHARACTER)
    left, height = (8 + room, pitch * len(names)) if side else (12, 40 * len(names))
    fig = canvas.figure(width, top + height + below)
    axes = canvas.place(fig, left, top, width - left - right, height)
    shown = [short[name] for name in names]
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.set_yticks(range(len(names)), shown if side else [])
    axes.tick_params(axis="y", length=0)
    return fig, axes, shown


def _by_baseline(summary: Record) -> list[str]:
    """The languages, the one where the baseline does best first."""
    base: dict[str, float] = {}
    for row in summary["languages"]:
        if row["method"] == (summary["baseline"] or row["method"]):
            base.setdefault(row["language"], row["mean"])
    codes = {row["language"] for row in summary["languages"]}
    return sorted(codes, key=lambda code: (-base.get(code, 0.0), code))
