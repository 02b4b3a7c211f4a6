"""Figures of a run: accuracy per language, costs per stage, and alignment by layer."""

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path

from matplotlib.figure import Figure

from metaxcr.evaluation.results import Setting
from metaxcr.evaluation.statistics import Estimate
from metaxcr.printable import shorten
from metaxcr.records import Record
from metaxcr.reports import canvas
from metaxcr.reports.canvas import Style, bands, legend
from metaxcr.reports.run_records import Average, LanguagePoint, stage_totals
from metaxcr.reports.tables import STAGES, amount, duration, language

_COLOURS = [canvas.LIGHT[role] for role in ("none", "m1", "m2", "m3", "m4", "m5", "soft")]
_MARKERS = "Dos^vPX*"


def setting_styles(settings: Iterable[Setting]) -> dict[Setting, tuple[str, str]]:
    """Colour and marker of each setting: a colour for each regime, and markers that differ within it, too."""
    found: dict[Setting, tuple[str, str]] = {}
    for setting in sorted(settings, key=lambda item: item.order):
        place = sum(other.regime == setting.regime for other in found)
        regime = setting.order[0]
        found[setting] = _COLOURS[regime], _MARKERS[(regime + place) % len(_MARKERS)]
    return found


def by_baseline(points: Sequence[LanguagePoint]) -> list[str]:
    """The languages, sorted by the accuracy of the untrained baseline, English last."""
    base = {point.lang: point.value.mean for point in points if point.setting.regime == "none"}
    languages = {point.lang for point in points}
    return sorted(languages, key=lambda lang: (lang == "en", -base.get(lang, -1.0), lang))


def accuracy(points: Sequence[LanguagePoint], means: Sequence[Average], width: int) -> Figure:
    """Draw accuracy per language as dots with 95 % whiskers, with the average over languages on top.

    A grey line carries the baseline's accuracy through each band. To be called inside ``canvas.drawing()``.
    """
    found = setting_styles({point.setting for point in points})
    styles = [Style(setting.title, *look, setting.regime == "none") for setting, look in found.items()]

    def by_style(values: Mapping[Setting, Estimate]) -> dict[int, Estimate]:
        return {place: values[setting] for place, setting in enumerate(found) if setting in values}

    rows = [("average", by_style({average.setting: average.value for average in means}))] if means else []
    for lang in by_baseline(points):
        name = language(lang)
        values = {point.setting: point.value for point in points if point.lang == lang}
        rows.append((name if name == lang else f"{name} {lang}", by_style(values)))
    fig, axes, band = bands(rows, styles, width)
    if means:
        axes.get_yticklabels()[0].set_fontweight("bold")
        axes.axhline(band, color=canvas.SOFT, linewidth=1)
    legend(fig, axes, styles, width)
    return fig


def costs(record: Record, width: int) -> Figure | None:
    """Draw seconds and token-passes per stage as bars; None if no stage is recorded."""
    bars = cost_bars(record)
    if not bars:
        return None
    names = [name for name, *_ in bars]
    side, height = width > 600, 27 * len(bars)
    short, room = canvas.fit(names, 200 if side else 160)
    left = 8 + room
    fig = canvas.figure(width, height + 62 if side else 2 * (height + 62))
    each = (width - 40) / 2 - left if side else width - left - 8
    columns = (
        ("time", duration, [seconds for _, seconds, _ in bars]),
        ("token-passes", amount, [passes for *_, passes in bars]),
    )
    for index, (title, show, values) in enumerate(columns):
        x, y = (left + index * (each + left + 40), 28) if side else (left, 28 + index * (height + 62))
        axes = canvas.place(fig, x, y, each, height)
        axes.barh([short[name] for name in names], values, height=0.62, color=canvas.LIGHT["m1"])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_xlim(0, 1.35 * max([*values, 1e-9]))
        for row, value in enumerate(values):
            axes.text(value + 0.015 * axes.get_xlim()[1], row, show(value), va="center", fontsize=11)
        axes.set_title(title)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return fig


def cost_bars(record: Record) -> list[tuple[str, float, float]]:
    """(name, seconds, token-passes) per stage, added up over seeds, in the order of the run."""
    trunk, bars = record.get("trunk", {}), []
    for name, (seconds, passes, _) in stage_totals(record).items():
        if name == "trunk" and "cold_seconds" in trunk:
            bars.append(("trunk, cold", trunk["cold_seconds"], passes))
            bars.append(("trunk, warm", trunk.get("warm_seconds", 0.0), 0.0))
        else:
            bars.append((STAGES.get(name, name), seconds, passes))
    return bars


_STACKS = {  # stack -> colour, dashes, name
    "encoder": (canvas.LIGHT["none"], "-", "encoder alone"),
    "language": (canvas.LIGHT["m1"], "-", "with language adapters"),
    "task": (canvas.LIGHT["m3"], "--", "with the task adapter, too"),
}
_PANEL, _GAP, _LEFT, _TOP = 150, 46, 44, 44  # px


def alignment(rows: Sequence[Record], limit: float, width: int = canvas.WIDE) -> Figure:
    """Draw an alignment table, retrieval by layer, a panel a language; inside ``canvas.drawing()``.

    ``limit`` is the retrieval below which a language counts as weakly aligned, drawn as a line.
    """
    languages = list(dict.fromkeys(row["language"] for row in rows))
    stacks = [stack for stack in _STACKS if any(row["stack"] == stack for row in rows)]
    wide = width > 600
    columns = 4 if wide else 2
    panel_width = (width - _LEFT - 12) / columns
    top = _TOP if wide else _TOP + 18 * (len(stacks) - 1)  # on a phone the legend has a row a stack
    fig = canvas.figure(width, top + math.ceil(len(languages) / columns) * (_PANEL + _GAP) + 24)
    for n, code in enumerate(languages):
        row, column = divmod(n, columns)
        x, y = _LEFT + column * panel_width, top + 18 + row * (_PANEL + _GAP)
        axes = canvas.place(fig, x, y, panel_width - 16, _PANEL)
        axes.axhline(100 * limit, color=canvas.LINE, linewidth=1)
        for stack in stacks:
            colour, dashes, _ = _STACKS[stack]
            found = [r for r in rows if r["language"] == code and r["stack"] == stack]
            found.sort(key=itemgetter("layer"))
            layers, values = ([row[key] for row in found] for key in ("layer", "retrieval"))
            low, high = ([100 * row["ci95"][end] for row in found] for end in (0, 1))
            axes.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(layers, [100 * value for value in values], color=colour, linestyle=dashes)
        axes.set_ylim(0, 102)  # room for the line at 100 %
        axes.set_title(shorten(language(code), 20))
        if column:
            axes.set_yticklabels([])
        if n + columns >= len(languages):
            axes.set_xlabel("layer")
    handles = [
        fig.axes[0].plot([], [], color=colour, linestyle=dashes, label=name)[0]
        for colour, dashes, name in (_STACKS[stack] for stack in stacks)
    ]
    ncols = len(stacks) if wide else 1
    fig.legend(handles=handles, loc="upper left", ncols=ncols, bbox_to_anchor=(0.01, 0.995))
    if wide:  # a phone has no room for it beside the legend; the caption says it
        fig.text(0.99, 0.99, "translations found, %", ha="right", va="top", color=canvas.SOFT)
    return fig


def alignment_png(rows: Sequence[Record], limit: float, path: Path) -> Path:
    """Write the figure of :func:`alignment` as PNG."""
    with canvas.drawing():
        fig = alignment(rows, limit)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No software name in the file: the same results give the same bytes.
        fig.savefig(path, format="png", dpi=90, facecolor="#ffffff", metadata={"Software": None})
    return path
