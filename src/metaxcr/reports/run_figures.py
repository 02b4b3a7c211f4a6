"""Figures of a run: accuracy per language, costs per stage, and alignment by layer."""

import math
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metaxcr.config.regimes import REGIMES
from metaxcr.evaluation.results import Setting
from metaxcr.printable import shorten
from metaxcr.reports import canvas
from metaxcr.reports.accuracies import Average, LanguagePoint
from metaxcr.reports.canvas import Dot, Style, bands, legend, legend_room
from metaxcr.reports.run_records import Record, records
from metaxcr.reports.wording import STAGES, amount, duration, language

_COLOURS = [canvas.LIGHT[role] for role in ("none", "m1", "m2", "m3", "m4", "m5", "soft")]
_MARKERS = "Dos^vPX*"
_AVERAGE = ""  # in the place of a language code


def setting_styles(settings: Sequence[Setting]) -> dict[Setting, tuple[str, str]]:
    """Colour and marker of each setting.

    The colour is that of the regime in every report. Markers differ between regimes as well, and between the
    settings of one regime.
    """
    found: dict[Setting, tuple[str, str]] = {}
    for setting in sorted(settings, key=lambda item: item.order):
        place = sum(other.regime == setting.regime for other in found)
        regime = list(REGIMES).index(setting.regime) if setting.regime in REGIMES else len(REGIMES)
        found[setting] = _COLOURS[regime], _MARKERS[(regime + place) % len(_MARKERS)]
    return found


def by_baseline(points: Sequence[LanguagePoint]) -> list[str]:
    """The languages, sorted by the accuracy of the untrained baseline, English last."""
    base = {point.lang: point.value.mean for point in points if point.setting.regime == "none"}
    return sorted(
        {point.lang for point in points}, key=lambda lang: (lang == "en", -base.get(lang, -1.0), lang)
    )


def accuracy(points: Sequence[LanguagePoint], means: Sequence[Average], width: int) -> Figure:
    """Draw accuracy per language as dots with 95 % whiskers, with the average over languages on top.

    A grey line carries the baseline's accuracy through each band. To be called inside ``canvas.drawing()``.
    """
    found = setting_styles(list({point.setting: None for point in points}))
    short, _ = canvas.fit([setting.title for setting in found], legend_room(width))
    styles = [Style(short[setting.title], *style) for setting, style in found.items()]
    rows = []
    for row in ([_AVERAGE] if means else []) + by_baseline(points):
        values = {average.setting: average.value for average in means} if row == _AVERAGE else {}
        values |= {point.setting: point.value for point in points if point.lang == row}
        dots = {
            place: Dot(value.mean, value.low, value.high, setting.regime == "none")
            for place, setting in enumerate(found)
            if (value := values.get(setting)) is not None
        }
        rows.append((_row_name(row), dots))
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
        x = left + index * (each + left + 40) if side else left
        axes = canvas.place(fig, x, 28 + (0 if side else index * (height + 62)), each, height)
        axes.barh([short[name] for name in names], values, height=0.62, color=canvas.LIGHT["m1"])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_xlim(0, 1.35 * max([*values, 1e-9]))
        for y, value in enumerate(values):
            axes.text(value + 0.015 * axes.get_xlim()[1], y, show(value), va="center", fontsize=11)
        axes.set_title(title)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return fig


def cost_bars(record: Record) -> list[tuple[str, float, float]]:
    """(name, seconds, token-passes) per stage, added up over seeds, in the order of the run."""
    sums: dict[str, tuple[float, float]] = {}
    for stage in records(record.get("stages")):
        name = str(stage.get("stage", "?"))
        seconds, passes = sums.get(name, (0.0, 0.0))
        sums[name] = seconds + (stage.get("seconds") or 0), passes + (stage.get("token_passes") or 0)
    trunk = record.get("trunk")
    bars = []
    for name, (seconds, passes) in sums.items():
        if name == "trunk" and isinstance(trunk, dict) and "cold_seconds" in trunk:
            bars.append(("trunk, cold", float(trunk["cold_seconds"] or 0), passes))
            bars.append(("trunk, warm", float(trunk.get("warm_seconds") or 0), 0.0))
        else:
            bars.append((STAGES.get(name, name), seconds, passes))
    return bars


def _row_name(row: str) -> str:
    if row == _AVERAGE:
        return "average"
    name = language(row)
    return name if name == row else f"{name} {row}"


_STACKS = {  # stack -> colour, dashes, name
    "encoder": (canvas.LIGHT["none"], "-", "encoder alone"),
    "language": (canvas.LIGHT["m1"], "-", "with language adapters"),
    "task": (canvas.LIGHT["m3"], "--", "with the task adapter, too"),
}
_PANEL, _GAP, _LEFT, _TOP = 150, 46, 44, 44  # px


def alignment(rows: Sequence[dict[str, Any]], limit: float, width: int = canvas.WIDE) -> Figure:
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
        axes = canvas.place(
            fig, _LEFT + column * panel_width, top + 18 + row * (_PANEL + _GAP), panel_width - 16, _PANEL
        )
        axes.axhline(100 * limit, color=canvas.LINE, linewidth=1)
        for stack in stacks:
            found = [r for r in rows if r["language"] == code and r["stack"] == stack]
            _draw_retrieval(axes, sorted(found, key=itemgetter("layer")), *_STACKS[stack][:2])
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
    fig.legend(
        handles=handles, loc="upper left", ncols=len(stacks) if wide else 1, bbox_to_anchor=(0.01, 0.995)
    )
    if wide:  # a phone has no room for it beside the legend; the caption says it
        fig.text(0.99, 0.99, "translations found, %", ha="right", va="top", color=canvas.SOFT)
    return fig


def _draw_retrieval(axes: Axes, rows: Sequence[dict[str, Any]], colour: str, dashes: str) -> None:
    layers = [row["layer"] for row in rows]
    low, high = ([100 * row["ci95"][end] for row in rows] for end in (0, 1))
    axes.fill_between(layers, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(layers, [100 * row["retrieval"] for row in rows], color=colour, linestyle=dashes)


def alignment_png(rows: Sequence[dict[str, Any]], limit: float, path: Path) -> Path:
    """Write the figure of :func:`alignment` as PNG."""
    with canvas.drawing():
        fig = alignment(rows, limit)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No software name in the file: the same results give the same bytes.
        fig.savefig(path, format="png", dpi=90, facecolor="#ffffff", metadata={"Software": None})
    return path
