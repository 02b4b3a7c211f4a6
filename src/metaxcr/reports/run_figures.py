"""Figures of outcomes: accuracy per language beside the baseline, and what each stage cost.

Figure of the alignment check: retrieval of translations by layer, one small panel a language.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from metaxcr.config.regimes import REGIMES
from metaxcr.errors import UserError
from metaxcr.printable import shorten
from metaxcr.reports import canvas
from metaxcr.reports.accuracies import Average, LanguagePoint, Setting, averages, language_points, main_place
from metaxcr.reports.canvas import Dot, Style, bands, legend, legend_room
from metaxcr.reports.run_records import Record, read_run, records
from metaxcr.reports.wording import STAGES, amount, duration, language

_COLOURS = [canvas.LIGHT[role] for role in ("none", "m1", "m2", "m3", "m4", "m5", "soft")]
_MARKERS = "Dos^vPX*"
_AVERAGE = ""  # the place of the average among the languages


def looks(settings: Sequence[Setting]) -> dict[Setting, tuple[str, str]]:
    """Return colour and marker of each setting.

    The colour is the regime's, in every report; the marker differs between regimes too, so that colour is
    never the only difference, and between the settings of one regime.
    """
    found: dict[Setting, tuple[str, str]] = {}
    for setting in sorted(settings, key=lambda item: item.order):
        place = sum(other.regime == setting.regime for other in found)
        regime = list(REGIMES).index(setting.regime) if setting.regime in REGIMES else len(REGIMES)
        found[setting] = _COLOURS[regime], _MARKERS[(regime + place) % len(_MARKERS)]
    return found


def by_baseline(points: Sequence[LanguagePoint]) -> list[str]:
    """Return the languages, the one where the untrained baseline does best first, and English last."""
    base = {point.lang: point.value.mean for point in points if point.setting.regime == "none"}
    return sorted(
        {point.lang for point in points}, key=lambda lang: (lang == "en", -base.get(lang, -1.0), lang)
    )


def accuracy(points: Sequence[LanguagePoint], means: Sequence[Average], width: int) -> Figure:
    """Draw accuracy per language as dots with 95 % whiskers, the average over languages on top.

    The grey line in each band carries the baseline's accuracy through the band, so that every dot is read
    against it. To be called inside ``canvas.drawing()``.

    Args:
        points: One per language and setting, of one task and one kind of data.
        means: The averages of the same task and data.
        width: Width in pixels.
    """
    found = looks(list({point.setting: None for point in points}))
    short, _ = canvas.fit([setting.title for setting in found], legend_room(width))
    styles = [Style(short[setting.title], *look) for setting, look in found.items()]
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
    """Draw seconds and token-passes per stage as bars, with the trunk's cold and warm time apart.

    Args:
        record: Contents of ``costs.json``.
        width: Width in pixels.

    Returns:
        The figure, or None where no stage is recorded.
    """
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
    """Return ``(name, seconds, token-passes)`` per stage, added up over seeds, in the order of the run."""
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


def accuracy_png(run_dir: Path, path: Path) -> Path:
    """Write the accuracy figure of a run's target task as a PNG of 1200 px width, for a README.

    Args:
        run_dir: A finished run folder.
        path: Where the picture goes.

    Returns:
        ``path``.

    Raises:
        UserError: The folder has no accuracies yet.
    """
    run = read_run(run_dir)
    means = averages(run.results)
    place = main_place(means, run.target)
    points = language_points(run.results, place) if place else []
    if not points:
        raise UserError(
            "no accuracies to draw", str(run_dir / "results.json"), "finish it with `metaxcr run --resume`"
        )
    with canvas.drawing():
        fig = accuracy(points, [average for average in means if average.place == place], canvas.WIDE)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No software name in the file: the same results give the same bytes.
        fig.savefig(path, format="png", dpi=90, facecolor="#ffffff", metadata={"Software": None})
    return path


def _row_name(row: str) -> str:
    if row == _AVERAGE:
        return "average"
    name = language(row)
    return name if name == row else f"{name} {row}"


_STYLES = {  # stack -> colour, dashes, name
    "encoder": (canvas.LIGHT["none"], "-", "encoder alone"),
    "language": (canvas.LIGHT["m1"], "-", "with language adapters"),
    "task": (canvas.LIGHT["m3"], "--", "with the task adapter, too"),
}
_COLUMNS, _PANEL, _GAP, _LEFT, _TOP = 4, 150, 46, 44, 44  # px


def draw(rows: Sequence[dict[str, Any]], limit: float, width: int = canvas.WIDE) -> Figure:
    """Draw an alignment table; to be called inside ``canvas.drawing()``.

    Args:
        rows: From :func:`metaxcr.evaluation.alignment.alignment_table`.
        limit: Retrieval below which a language counts as weak, drawn as a line.
        width: In pixels.
    """
    languages = list(dict.fromkeys(row["language"] for row in rows))
    stacks = [stack for stack in _STYLES if any(row["stack"] == stack for row in rows)]
    columns = _COLUMNS if width > 600 else 2
    lines = math.ceil(len(languages) / columns)
    side = (width - _LEFT - 12) / columns
    above = _TOP if width > 600 else _TOP + 18 * (len(stacks) - 1)  # the legend of a phone has a row a stack
    fig = canvas.figure(width, above + lines * (_PANEL + _GAP) + 24)
    for n, code in enumerate(languages):
        left, top = _LEFT + n % columns * side, above + 18 + n // columns * (_PANEL + _GAP)
        axes = canvas.place(fig, left, top, side - 16, _PANEL)
        axes.axhline(100 * limit, color=canvas.LINE, linewidth=1)
        for stack in stacks:
            own = [row for row in rows if row["language"] == code and row["stack"] == stack]
            own.sort(key=lambda row: row["layer"])
            layers, colour, dashes = [row["layer"] for row in own], *_STYLES[stack][:2]
            axes.fill_between(
                layers,
                [100 * row["ci95"][0] for row in own],
                [100 * row["ci95"][1] for row in own],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(layers, [100 * row["retrieval"] for row in own], color=colour, linestyle=dashes)
        axes.set_ylim(0, 102)  # room for the line at 100 %
        axes.set_title(shorten(language(code), 20))
        if n % columns:
            axes.set_yticklabels([])
        if n + columns >= len(languages):
            axes.set_xlabel("layer")
    handles = [fig.axes[0].plot([], [], color=c, linestyle=d, label=name)[0] for c, d, name in _looks(stacks)]
    fig.legend(
        handles=handles,
        loc="upper left",
        ncols=len(stacks) if width > 600 else 1,
        bbox_to_anchor=(0.01, 0.995),
    )
    if width > 600:  # a phone has no room for it beside the legend; its caption says it
        fig.text(0.99, 0.99, "translations found, %", ha="right", va="top", color=canvas.SOFT)
    return fig


def _looks(stacks: Sequence[str]) -> list[tuple[str, str, str]]:
    return [_STYLES[stack] for stack in stacks]


def alignment_png(rows: Sequence[dict[str, Any]], limit: float, path: Path) -> Path:
    """Write the figure as PNG; the same rows give the same bytes.

    Args:
        rows: See :func:`draw`.
        limit: See :func:`draw`.
        path: Of the file.
    """
    with canvas.drawing():
        fig = draw(rows, limit)
        path.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, format="png", dpi=90, facecolor="#ffffff", metadata={"Software": None})
    return path
