"""The page that tells what adapting to own examples gave.

Figures of an adaptation: three systems on the same folds, the learning curve, and reliability.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metaxcr.fewshot.messages import advice, interval, percent, threshold_words
from metaxcr.reports import canvas
from metaxcr.reports.html import Picture, picture, render
from metaxcr.reports.run_tables import ReportTable
from metaxcr.reports.wording import language

Account = dict[str, Any]


def report(account: Account) -> str:
    """Return the page: one HTML document that loads nothing from anywhere.

    Args:
        account: From :func:`metaxcr.fewshot.summary.adaptation_summary`.
    """
    return render(
        {
            "title": f"{account['examples']} examples in {language(account['language'])}",
            "account": account,
            "advice": advice(account),
            "systems": _draw("systems", account, systems, _systems_caption(account)),
            "numbers": numbers(account),
            "learning": _draw("curve", account, learning, _curve_caption(account)),
            "reliability": _draw("reliability", account, reliability, _reliability_caption(account)),
            "threshold": threshold_words(account),
            "suspects": suspects(account),
        },
        "adapt.html.j2",
    )


def numbers(account: Account) -> ReportTable:
    """Return accuracies and paired differences as a table."""
    rows = [(s["name"], percent(s["mean"]), interval(s["ci95"])) for s in account["systems"]]
    for name, found in account["differences"].items():
        rows.append((name, f"{100 * found['mean']:+.1f}", interval(found["ci95"], "+")))
    return ReportTable(("cross-validated", "accuracy, %", "95 % interval"), rows, (1,))


def suspects(account: Account) -> ReportTable | None:
    """Return the examples that deserve a second look, or None where there are none."""
    rows = [
        (
            str(s["id"] if s["line"] is None else s["line"]),
            s["reason"],
            s["context"],
            " / ".join(f"*{c}" if n == s["label"] else c for n, c in enumerate(s["choices"])),
        )
        for s in account["suspects"]
    ]
    place = "line" if account["file"] else "example"
    return ReportTable((place, "why", "context", "choices (* the label)"), rows) if rows else None


def _draw(key: str, account: Account, draw: Callable[[Account, int], Figure], caption: str) -> Picture:
    found = picture(key, caption, caption, partial(draw, account))
    assert found is not None  # there is always something to draw
    return found


def _systems_caption(account: Account) -> str:
    settings = account["settings"]
    return (
        f"Every example was answered by models that had not seen it: {settings['folds']} folds, "
        f"{settings['repeats']} times. Whiskers: 95 % intervals. Dashed: guessing.{_duplicates(account)}"
    )


def _duplicates(account: Account) -> str:
    more = account["examples"] - account["different"]
    return f" Of {account['examples']} examples {more} repeat another one and do not count." if more else ""


def _curve_caption(account: Account) -> str:
    told = account["forecast"]
    text = (
        "Held-out accuracy after adapting to so many examples; 0: the model as it came. Band: 95 % interval."
    )
    if told is None:
        return text
    gain = f"{100 * told['mean']:+.1f} points ({interval(told['ci95'], '+')})"
    return f"{text} Open mark: {told['more']} more examples, {gain} if the curve goes on as it did."


def _reliability_caption(account: Account) -> str:
    found = account["calibration"]
    error = f"Expected calibration error: {100 * found['error_before']:.1f} points as computed"
    if found["temperature"] is None:
        return (
            f"Answers in groups of about equal certainty, as the model computes it. {error}; nothing was "
            "fitted, because nothing can be told from these probabilities."
        )
    return (
        f"Answers in groups of about equal certainty. {error}, {100 * found['error_after']:.1f} at the "
        f"temperature {found['temperature']:.2f}, which was chosen on these answers."
    )


_ROW, _LEFT, _PANEL = 34, 92, 220  # px
_COLOURS = {
    "similarity": canvas.LIGHT["none"],
    "unadapted": canvas.LIGHT["m1"],
    "adapted": canvas.LIGHT["m3"],
}
_MARKERS = {"similarity": "D", "unadapted": "o", "adapted": "s"}


def systems(account: Account, width: int) -> Figure:
    """Draw the accuracy of the three systems as dots with 95 % whiskers.

    Args:
        account: From :func:`metaxcr.fewshot.summary.adaptation_summary`.
        width: In pixels.
    """
    found = account["systems"]
    height = _ROW * len(found)
    fig = canvas.figure(width, height + 64)
    axes = canvas.place(fig, _LEFT, 12, width - _LEFT - 56, height)
    for row, system in enumerate(found):
        _dot(axes, system, row)
    _percent_axis(axes, "held-out accuracy, %")
    axes.set_yticks(range(len(found)), [system["name"] for system in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(100 * chance(account), color=canvas.SOFT, linewidth=1, linestyle=(0, (4, 3)))
    return fig


def learning(account: Account, width: int) -> Figure:
    """Draw held-out accuracy over the number of examples, and the forecast as a dotted line.

    Args:
        account: From :func:`metaxcr.fewshot.summary.adaptation_summary`.
        width: In pixels.
    """
    points, told = account["curve"], account["forecast"]
    fig = canvas.figure(width, _PANEL + 64)
    axes = canvas.place(fig, 48, 14, min(width - 72, 620), _PANEL)
    ns = [point["n"] for point in points]
    means = [100 * point["mean"] for point in points]
    low, high = ([100 * point["ci95"][end] for point in points] for end in (0, 1))
    colour = _COLOURS["adapted"]
    axes.fill_between(ns, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(ns, means, color=colour, linewidth=2.2, marker="s", markersize=6)
    if told is not None:
        last, more = account["examples"], told["more"]
        ends = [means[-1] + 100 * gain for gain in (told["mean"], *told["ci95"])]
        x = last + more
        axes.plot([ns[-1], x], [means[-1], ends[0]], color=colour, linewidth=1.6, linestyle=":")
        axes.vlines(x, ends[1], ends[2], color=colour, linewidth=1.6)
        axes.plot([x], [ends[0]], color=colour, marker="s", markersize=6, markerfacecolor=canvas.PAPER)
    axes.axhline(100 * chance(account), color=canvas.SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("examples adapted to", fontsize=11)
    axes.set_title("held-out accuracy, %")
    axes.tick_params(labelsize=11)
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=6)
    return fig


def reliability(account: Account, width: int) -> Figure:
    """Draw stated probabilities against shares of right answers, with 95 % whiskers.

    Args:
        account: From :func:`metaxcr.fewshot.summary.adaptation_summary`.
        width: In pixels.
    """
    bins = account["calibration"]["bins"]
    side = min(width - 72, 300)
    fig = canvas.figure(width, side + 70)
    axes = canvas.place(fig, 48, 14, side, side)
    axes.plot([0, 100], [0, 100], color=canvas.SOFT, linewidth=1, linestyle=(0, (4, 3)))
    for part in bins:
        x, ends = 100 * part["stated"], [100 * part["low"], 100 * part["high"]]
        axes.vlines(x, *ends, color=_COLOURS["adapted"], linewidth=1.6)
        axes.plot([x], [100 * part["right"]], color=_COLOURS["adapted"], marker="s", markersize=6)
    axes.set_xlim(100 * chance(account) - 3, 101)
    axes.set_ylim(-1, 101)
    known = account["calibration"]["temperature"] is not None
    axes.set_xlabel(f"stated probability, % ({'after' if known else 'without'} calibration)", fontsize=11)
    axes.set_title("right, %")
    axes.tick_params(labelsize=11)
    axes.grid()
    return fig


def chance(account: Account) -> float:
    """Accuracy of guessing, where all examples have the fewest choices that occur."""
    return 1 / float(min(account["choices"]))


def _dot(axes: Axes, system: Account, row: int) -> None:
    name, mean, ends = system["name"], 100 * system["mean"], [100 * end for end in system["ci95"]]
    axes.hlines(row, *ends, color=_COLOURS[name], linewidth=2)
    axes.plot([mean], [row], color=_COLOURS[name], marker=_MARKERS[name], markersize=8)
    axes.annotate(f"{mean:.1f}", (1.02, row), xycoords=("axes fraction", "data"), va="center")


def _percent_axis(axes: Axes, label: str) -> None:
    axes.set_xlabel(label, fontsize=11)
    axes.tick_params(labelsize=11)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=6)
