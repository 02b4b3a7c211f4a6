"""The report of an adaptation: one HTML page with tables and three figures."""

from collections.abc import Callable
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from metaxcr.fewshot.messages import Summary, advice, threshold_message
from metaxcr.reports import canvas
from metaxcr.reports.canvas import Picture, picture
from metaxcr.reports.pages import render
from metaxcr.reports.tables import ReportTable, interval, language, percent

_ROW, _LEFT, _PANEL = 34, 92, 220  # px
_COLOURS = {
    "similarity": canvas.LIGHT["none"],
    "unadapted": canvas.LIGHT["m1"],
    "adapted": canvas.LIGHT["m3"],
}
_MARKERS = {"similarity": "D", "unadapted": "o", "adapted": "s"}
_DASHED: dict[str, Any] = {"color": canvas.SOFT, "linewidth": 1, "linestyle": (0, (4, 3))}


def adaptation_report(summary: Summary) -> str:
    """Return the page as one self-contained HTML document."""
    return render(
        {
            "title": f"{summary['examples']} examples in {language(summary['language'])}",
            "summary": summary,
            "advice": advice(summary),
            "systems": _picture("systems", summary, systems_figure, _systems_caption(summary)),
            "numbers": systems_table(summary),
            "learning": _picture("curve", summary, learning_figure, _curve_caption(summary)),
            "reliability": _picture(
                "reliability", summary, reliability_figure, _reliability_caption(summary)
            ),
            "threshold": threshold_message(summary),
            "issues": issues_table(summary),
        },
        "adapt.html.j2",
    )


def systems_table(summary: Summary) -> ReportTable:
    """Accuracies and paired differences."""
    rows = [(s["name"], percent(s["mean"]), interval(s["ci95"])) for s in summary["systems"]]
    for name, found in summary["differences"].items():
        rows.append((name, f"{100 * found['mean']:+.1f}", interval(found["ci95"], "+")))
    return ReportTable(("cross-validated", "accuracy, %", "95 % interval"), rows, (1,))


def issues_table(summary: Summary) -> ReportTable | None:
    """The examples to check by hand, or None if there are none."""
    rows = [
        (
            str(s["id"] if s["line"] is None else s["line"]),
            s["reason"],
            s["context"],
            " / ".join(f"*{c}" if n == s["label"] else c for n, c in enumerate(s["choices"])),
        )
        for s in summary["suspects"]
    ]
    place = "line" if summary["file"] else "example"
    return ReportTable((place, "why", "context", "choices (* the label)"), rows) if rows else None


def systems_figure(summary: Summary, width: int) -> Figure:
    """Draw the accuracy of the three systems as dots with 95 % whiskers."""
    systems = summary["systems"]
    height = _ROW * len(systems)
    fig = canvas.figure(width, height + 64)
    axes = canvas.place(fig, _LEFT, 12, width - _LEFT - 56, height)
    for row, system in enumerate(systems):
        name, mean, ends = system["name"], 100 * system["mean"], [100 * end for end in system["ci95"]]
        axes.hlines(row, *ends, color=_COLOURS[name], linewidth=2)
        axes.plot([mean], [row], color=_COLOURS[name], marker=_MARKERS[name], markersize=8)
        axes.annotate(f"{mean:.1f}", (1.02, row), xycoords=("axes fraction", "data"), va="center")
    canvas.label(axes, "held-out accuracy, %", grid="x")
    axes.locator_params(axis="x", nbins=6)
    axes.set_yticks(range(len(systems)), [system["name"] for system in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(100 * chance(summary), **_DASHED)
    return fig


def learning_figure(summary: Summary, width: int) -> Figure:
    """Draw held-out accuracy over the number of examples, and the forecast as a dotted line."""
    points, forecast = summary["curve"], summary["forecast"]
    fig = canvas.figure(width, _PANEL + 64)
    axes = canvas.place(fig, 48, 14, min(width - 72, 620), _PANEL)
    sizes = [point["n"] for point in points]
    means = [100 * point["mean"] for point in points]
    low, high = ([100 * point["ci95"][end] for point in points] for end in (0, 1))
    colour = _COLOURS["adapted"]
    axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(sizes, means, color=colour, linewidth=2.2, marker="s", markersize=6)
    if forecast is not None:
        x = summary["examples"] + forecast["more"]
        mean, low_end, high_end = (means[-1] + 100 * gain for gain in (forecast["mean"], *forecast["ci95"]))
        axes.plot([sizes[-1], x], [means[-1], mean], color=colour, linewidth=1.6, linestyle=":")
        axes.vlines(x, low_end, high_end, color=colour, linewidth=1.6)
        axes.plot([x], [mean], color=colour, marker="s", markersize=6, markerfacecolor=canvas.PAPER)
    axes.axhline(100 * chance(summary), **_DASHED)
    canvas.label(axes, "examples adapted to", "held-out accuracy, %", "y")
    axes.locator_params(axis="y", nbins=6)
    return fig


def reliability_figure(summary: Summary, width: int) -> Figure:
    """Draw shares of right answers over stated probabilities, with 95 % whiskers."""
    side = min(width - 72, 300)
    fig = canvas.figure(width, side + 70)
    axes = canvas.place(fig, 48, 14, side, side)
    axes.plot([0, 100], [0, 100], **_DASHED)
    for part in summary["calibration"]["bins"]:
        x, ends = 100 * part["stated"], [100 * part["low"], 100 * part["high"]]
        axes.vlines(x, *ends, color=_COLOURS["adapted"], linewidth=1.6)
        axes.plot([x], [100 * part["right"]], color=_COLOURS["adapted"], marker="s", markersize=6)
    axes.set_xlim(100 * chance(summary) - 3, 101)
    axes.set_ylim(-1, 101)
    known = summary["calibration"]["temperature"] is not None
    calibration = "after" if known else "without"
    canvas.label(axes, f"stated probability, % ({calibration} calibration)", "right, %", "both")
    return fig


def chance(summary: Summary) -> float:
    """Accuracy of guessing among the smallest number of choices that occurs."""
    return 1 / float(min(summary["choices"]))


def _picture(key: str, summary: Summary, draw: Callable[[Summary, int], Figure], caption: str) -> Picture:
    drawn = picture(key, caption, caption, partial(draw, summary))
    assert drawn is not None  # there is always something to draw
    return drawn


def _systems_caption(summary: Summary) -> str:
    settings, repeated = summary["settings"], summary["examples"] - summary["different"]
    text = (
        f"Every example was answered by models that had not seen it: {settings['folds']} folds, "
        f"{settings['repeats']} times. Whiskers: 95 % intervals. Dashed: guessing."
    )
    if repeated:
        text += f" Of {summary['examples']} examples {repeated} repeat another one and do not count."
    return text


def _curve_caption(summary: Summary) -> str:
    forecast = summary["forecast"]
    text = "Held-out accuracy by number of examples; 0: the unadapted model. Band: 95 % interval."
    if forecast is None:
        return text
    gain = f"{100 * forecast['mean']:+.1f} points ({interval(forecast['ci95'], '+')})"
    return f"{text} Open mark: {forecast['more']} more examples, {gain} if the curve continues."


def _reliability_caption(summary: Summary) -> str:
    found = summary["calibration"]
    error = f"Expected calibration error: {100 * found['error_before']:.1f} points as computed"
    if found["temperature"] is None:
        return (
            f"Answers in groups of about equal certainty, as the model computes it. {error}; no temperature "
            "was fitted, because these probabilities are not reliable."
        )
    return (
        f"Answers in groups of about equal certainty. {error}, {100 * found['error_after']:.1f} at the "
        f"temperature {found['temperature']:.2f}, which was chosen on these answers."
    )
