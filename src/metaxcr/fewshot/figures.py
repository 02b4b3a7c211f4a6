"""Figures of an adaptation: three systems on the same folds, the learning curve, and reliability."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metaxcr.reporting import canvas

Account = dict[str, Any]
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
        account: From :func:`metaxcr.fewshot.account.account_of`.
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
        account: From :func:`metaxcr.fewshot.account.account_of`.
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
        account: From :func:`metaxcr.fewshot.account.account_of`.
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
