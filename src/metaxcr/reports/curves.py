"""Figures of training: learning curves of each stage, and the sampler's choices."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from metaxcr.records import Record
from metaxcr.reports import canvas
from metaxcr.reports.run_records import RunRecords
from metaxcr.reports.tables import STAGES

Array = NDArray[np.float64]
_MAX_POINTS = 240  # of a drawn line: every point is text in the page
_COLOURS = [canvas.LIGHT[role] for role in ("m1", "m3", "m2", "m4", "m5", "none")]
_PANEL = 190  # px, height of one panel's axes


class Curve(NamedTuple):
    """One quantity over the steps: for each seed the steps and the values, both of shape (steps,)."""

    name: str
    seeds: dict[int, tuple[Array, Array]]

    def mean(self) -> tuple[Array, Array]:
        """Mean over seeds, at the steps that every seed has."""
        common = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in self.seeds.values())))
        rows = [values[np.isin(steps, common)] for steps, values in self.seeds.values()]
        return np.array(common, dtype=np.float64), np.mean(rows, axis=0) if common else np.array([])

    def smoothed(self, window: int) -> "Curve":
        """Centred moving averages over ``window`` steps, thinned for drawing."""
        thin = _thinning(max(len(steps) for steps, _ in self.seeds.values()))
        lines = {s: (x[::thin], smooth(y, window)[::thin]) for s, (x, y) in self.seeds.items()}
        return Curve(self.name, lines)


def curve(name: str, events: Iterable[Record], value: Callable[[Record], Any]) -> Curve | None:
    """Collect one quantity from the events; None if no event has it.

    Several events of one seed and step (languages, kinds of episode) are averaged.
    """
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        if (number := value(event)) is not None:
            found[event.get("seed") or 0][event["step"]].append(float(number))
    seeds = {}
    for seed, steps in sorted(found.items()):
        order = sorted(steps)
        seeds[seed] = np.array(order, dtype=np.float64), np.array([np.mean(steps[step]) for step in order])
    return Curve(name, seeds) if seeds else None


def smooth(values: Array, window: int) -> Array:
    """Centred moving averages; at the ends the window is shorter."""
    if window <= 1:
        return values
    ones = np.ones(window)
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")


def window_for(curves: Iterable[Curve]) -> int:
    """Smoothing window, odd: a twentieth of the series, at most 51 steps, 1 for a short series."""
    longest = max((len(steps) for item in curves for steps, _ in item.seeds.values()), default=0)
    return 1 if longest < 40 else min(51, longest // 20 | 1)


def _thinning(length: int) -> int:
    """Which points of a line are drawn: every n-th."""
    return max(1, -(-length // _MAX_POINTS))


def probabilities(events: Iterable[Record]) -> tuple[Array, dict[str, Array]]:
    """The steps, and by source its probability at each, as mean over seeds; the largest share comes first."""
    listed = [event for event in events if event.get("probabilities") is not None]
    steps, shares = np.array([]), {}
    for name in sorted({name for event in listed for name in event["probabilities"]}):
        # a source that is not listed has no share
        found = curve(name, listed, lambda event: event["probabilities"].get(name, 0.0))  # noqa: B023
        if found is not None:
            steps, shares[name] = found.mean()
    thin = _thinning(len(steps))
    order = sorted(shares, key=lambda name: (-float(np.sum(shares[name])), name))
    return steps[::thin], {name: shares[name][::thin] for name in order}


def draws(events: Iterable[Record]) -> dict[str, dict[int, float]]:
    """By source and seed, the share of episodes in which the source was drawn."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for event in events:
        if event.get("source") is not None:
            counts[event.get("seed") or 0][event["source"]] += 1
    names = sorted({name for counter in counts.values() for name in counter})
    return {name: {seed: c[name] / c.total() for seed, c in sorted(counts.items())} for name in names}


class Panel(NamedTuple):
    """Related curves on one set of axes, and a value to compare them with (chance, zero)."""

    title: str
    curves: list[Curve]
    reference: float | None = None


def panels(run: RunRecords) -> list[Panel]:
    """The panels for which the run has events, in the order of the stages."""
    ctml = run.all_of("ctml")
    found: list[tuple[str, list[Curve | None], float | None]] = [
        ("CTML: loss / chance", _losses(ctml), 1.0),
        ("CTML: reward", [curve("reward", ctml, lambda event: event.get("reward"))], 0.0),
    ]
    for (kind, on_shots), events in sorted(_group(run.all_of("clml"), _clml_kind).items()):
        title = f"CLML{' on k shots' * on_shots}{', ' * bool(kind)}{kind}: loss / chance"
        found.append((title, _losses(events), 1.0))
    by_k = _group(run.all_of("finetune"), lambda event: event.get("k") or 0)
    shots = [curve(f"{k} shots", events, lambda e: e.get("loss")) for k, events in sorted(by_k.items())]
    found.append(("fine-tuning: loss / chance", shots, 1.0))
    for after, events in _group(run.all_of("dev"), lambda event: event.get("after") or "").items():
        by_task = _group(events, lambda event: event.get("task") or "")
        accuracies = [curve(task, of_task, _percent) for task, of_task in sorted(by_task.items())]
        found.append((f"development accuracy in {STAGES.get(after, after)}, %", accuracies, None))
    shown = [(title, [c for c in curves if c is not None], reference) for title, curves, reference in found]
    return [Panel(*panel) for panel in shown if panel[1]]


def _losses(events: Sequence[Record]) -> list[Curve | None]:
    return [curve("support", events, lambda event: event.get("support_loss")),
            curve("query", events, lambda event: event.get("query_loss"))]  # fmt: skip


def _percent(event: Record) -> float | None:
    return None if event.get("acc") is None else 100 * event["acc"]


def _group(events: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    groups: dict[Any, list[Record]] = {}
    for event in events:
        groups.setdefault(key(event), []).append(event)
    return groups


def _clml_kind(event: Record) -> tuple[str, bool]:
    """Type of episode, and whether it learns from shots."""
    return event.get("kind") or "", "language" in event or event.get("regime") == "pooled-shots"


def smoothing(found: Sequence[Panel]) -> int:
    """The widest smoothing window used, in steps."""
    return max((window_for(panel.curves) for panel in found), default=1)


def learning(found: Sequence[Panel], width: int) -> Figure | None:
    """Draw the learning curves, if there are any: seeds as thin lines, their mean as a thick one."""
    if not found:
        return None
    columns = 2 if width > 600 else 1
    rows = -(-len(found) // columns)
    left, gap, pitch = 44, 28, _PANEL + 84
    each = (width - gap * (columns - 1)) / columns - left
    fig = canvas.figure(width, rows * pitch)
    for index, panel in enumerate(found):
        row, column = divmod(index, columns)
        axes = canvas.place(fig, left + column * (each + left + gap), row * pitch + 42, each - 8, _PANEL)
        _draw_panel(axes, panel)
    return fig


def _draw_panel(axes: Axes, panel: Panel) -> None:
    window = window_for(panel.curves)
    title, names = (canvas.fit(found, 320)[0] for found in ([panel.title], [c.name for c in panel.curves]))
    if panel.reference is not None:
        axes.axhline(panel.reference, color=canvas.SOFT, linewidth=1, linestyle=(0, (4, 3)))
    for index, raw in enumerate(panel.curves):
        colour, line = _COLOURS[index % len(_COLOURS)], raw.smoothed(window)
        few = all(len(steps) < 25 for steps, _ in line.seeds.values())
        for steps, values in line.seeds.values():
            axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.45)
        steps, values = line.mean()
        axes.plot(
            steps, values, color=colour, linewidth=2.2, label=names[line.name], marker="o" if few else None,
            markersize=4, linestyle=("-", "--", ":")[index // 2 % 3],
        )  # fmt: skip
    axes.set_title(title[panel.title], pad=22 if len(panel.curves) > 1 else 8)
    if len(panel.curves) > 1:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, fontsize=11, columnspacing=1.5,
            handlelength=1.6,
        )  # fmt: skip
    canvas.label(axes, "step", grid="y")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))  # steps are whole numbers
    axes.locator_params(axis="y", nbins=5)
    axes.ticklabel_format(useOffset=False)
    axes.margins(x=0.01)


def sampler(events: Sequence[Record], width: int) -> Figure | None:
    """Draw the sampler's probabilities as a stacked area, and beside it how often each source was drawn.

    None if no event names a source.
    """
    steps, shares = probabilities(events)
    drawn = draws(events)
    names = list(shares) + [name for name in drawn if name not in shares]
    if not names:
        return None
    side, bars = width > 600, 27 * len(names)
    short, room = canvas.fit(names, 240 if side else 180)
    left, labels = 8 + room, [short[name] for name in names]
    if not shares:
        fig = canvas.figure(width, bars + 84)
        beside = canvas.place(fig, left, 30, width - left - 60, bars)
    elif side:
        height, rest = max(bars, 260), 0.54 * width + 24 + left
        fig = canvas.figure(width, height + 84)
        _draw_area(canvas.place(fig, 44, 30, 0.54 * width - 44, height), steps, shares)
        beside = canvas.place(fig, rest, 30, width - rest - 20, height)
    else:
        fig = canvas.figure(width, bars + 408)
        _draw_area(canvas.place(fig, 40, 30, width - 48, 240), steps, shares)
        beside = canvas.place(fig, left, 354, width - left - 16, bars)
    _draw_bars(beside, labels, [list(drawn.get(name, {}).values()) for name in names])
    return fig


def _colour(index: int) -> str:
    return canvas.SOURCES[index % len(canvas.SOURCES)]


def _draw_area(axes: Axes, steps: Array, shares: Mapping[str, Array]) -> None:
    stack = np.vstack(list(shares.values())) * 100
    colours = [_colour(index) for index in range(len(shares))]
    axes.stackplot(steps, stack, colors=colours, edgecolor=canvas.PAPER, linewidth=0.8)
    for index in range(1, len(shares)):
        share = 100 * index / len(shares)
        axes.axhline(share, color=canvas.INK, linewidth=0.9, linestyle=(0, (2, 3)))
    axes.set_ylim(0, 100)
    if len(steps) > 1:
        axes.set_xlim(steps[0], steps[-1])
    canvas.label(axes, "CTML step", "probability of each source, %")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_bars(axes: Axes, labels: Sequence[str], drawn: Sequence[Sequence[float]]) -> None:
    """Draw bars in the order of the stack, with a dot a seed."""
    for index, of_seeds in enumerate(drawn):
        shares = [100 * share for share in of_seeds]
        axes.barh(index, np.mean(shares) if shares else 0.0, height=0.62, color=_colour(index))
        axes.plot(
            shares, [index] * len(shares), marker="o", markersize=4.5, linestyle="none", color=canvas.INK,
            markeredgecolor=canvas.PAPER, markeredgewidth=0.7,
        )  # fmt: skip
    axes.axvline(100 / len(drawn), color=canvas.INK, linewidth=0.9, linestyle=(0, (2, 3)))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.5, len(labels) - 0.5)
    axes.set_xlim(left=0)
    canvas.label(axes, "dots: seeds", "drawn, % of episodes")
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.spines["left"].set_visible(False)
