"""Figures of training: learning curves of each stage, and the sampler's choices."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from metaxcr.reports import canvas
from metaxcr.reports.run_records import Record, RunRecords
from metaxcr.reports.wording import STAGES

Array = NDArray[np.float64]
_MAX_POINTS = 240  # of a drawn line: every point is text in the page


@dataclass(frozen=True, slots=True)
class Curve:
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
        thin = max(1, -(-max(len(steps) for steps, _ in self.seeds.values()) // _MAX_POINTS))
        lines = {
            seed: (steps[::thin], smooth(values, window)[::thin])
            for seed, (steps, values) in self.seeds.items()
        }
        return Curve(self.name, lines)


def curve(name: str, events: Iterable[Record], value: Callable[[Record], Any]) -> Curve | None:
    """Collect one quantity from the events; None if no event has it.

    Several events of one seed and step (languages, kinds of episode) are averaged. Values that are absent or
    not finite are left out.
    """
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        number = value(event)
        if isinstance(number, int | float) and np.isfinite(number):
            found[event.get("seed") or 0][int(event.get("step") or 0)].append(float(number))
    seeds = {}
    for seed, steps in sorted(found.items()):
        order = sorted(steps)
        seeds[seed] = np.array(order, dtype=np.float64), np.array([np.mean(steps[step]) for step in order])
    return Curve(name, seeds) if seeds else None


def smooth(values: Array, window: int) -> Array:
    """Centred moving averages; at the ends the window is shorter."""
    if window <= 1:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    first = np.maximum(index - window // 2, 0)
    end = np.minimum(index + window // 2 + 1, len(values))
    result: Array = (sums[end] - sums[first]) / (end - first)
    return result


def window_for(curves: Iterable[Curve]) -> int:
    """Smoothing window, odd: a twentieth of the series, at most 51 steps, 1 for a short series."""
    longest = max((len(steps) for item in curves for steps, _ in item.seeds.values()), default=0)
    return 1 if longest < 40 else min(51, longest // 20 | 1)


def probabilities(events: Iterable[Record]) -> tuple[Array, dict[str, Array]]:
    """The steps, and by source its probability at each, as mean over seeds; the largest share comes first."""
    listed = [event for event in events if isinstance(event.get("probabilities"), dict)]
    shares = {}
    for name in sorted({name for event in listed for name in event["probabilities"]}):
        found = curve(name, listed, partial(_probability, name))
        if found is not None:
            steps, shares[name] = found.mean()
    if not shares:
        return np.array([]), {}
    thin = max(1, -(-len(steps) // _MAX_POINTS))
    order = sorted(shares, key=lambda name: (-float(np.sum(shares[name])), name))
    return steps[::thin], {name: shares[name][::thin] for name in order}


def _probability(source: str, event: Record) -> Any:
    return event["probabilities"].get(source, 0.0)  # a source that is not listed has no share


def draws(events: Iterable[Record]) -> dict[str, dict[int, float]]:
    """By source and seed, the share of episodes in which the source was drawn."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for event in events:
        if isinstance(event.get("source"), str):
            counts[event.get("seed") or 0][event["source"]] += 1
    names = sorted({name for counter in counts.values() for name in counter})
    return {
        name: {seed: counter[name] / counter.total() for seed, counter in sorted(counts.items())}
        for name in names
    }


_COLOURS = [canvas.LIGHT[role] for role in ("m1", "m3", "m2", "m4", "m5", "none")]
_PANEL = 190  # px, height of one panel's axes


@dataclass(frozen=True, slots=True)
class Panel:
    """Related curves on one set of axes, and a value to compare them with (chance, zero)."""

    title: str
    curves: list[Curve]
    reference: float | None = None


def panels(run: RunRecords) -> list[Panel]:
    """The panels for which the run has events, in the order of the stages."""
    ctml, clml = run.stage("ctml"), run.stage("clml")
    found = [
        _panel("CTML: loss / chance", _losses(ctml), 1.0),
        _panel("CTML: reward", [curve("reward", ctml, methodcaller("get", "reward"))], 0.0),
    ]
    for kind, on_shots in sorted({_clml_kind(event) for event in clml}):
        events = [event for event in clml if _clml_kind(event) == (kind, on_shots)]
        title = f"CLML{' on k shots' * on_shots}{', ' * bool(kind)}{kind}: loss / chance"
        found.append(_panel(title, _losses(events), 1.0))
    by_k = _group(run.stage("finetune"), lambda event: event.get("k") or 0)
    shots = [curve(f"{k} shots", events, methodcaller("get", "loss")) for k, events in sorted(by_k.items())]
    found.append(_panel("fine-tuning: loss / chance", shots, 1.0))
    for after, events in _group(run.stage("dev"), lambda event: str(event.get("after", ""))).items():
        by_task = _group(events, lambda event: str(event.get("task", "")))
        accuracies = [curve(task, of_task, _percent) for task, of_task in sorted(by_task.items())]
        found.append(_panel(f"development accuracy in {STAGES.get(after, after)}, %", accuracies, None))
    return [panel for panel in found if panel is not None]


def _panel(title: str, curves: Iterable[Curve | None], reference: float | None) -> Panel | None:
    found = [item for item in curves if item is not None]
    return Panel(title, found, reference) if found else None


def _losses(events: Sequence[Record]) -> list[Curve | None]:
    return [curve(name, events, methodcaller("get", f"{name}_loss")) for name in ("support", "query")]


def _group(events: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    groups: dict[Any, list[Record]] = {}
    for event in events:
        groups.setdefault(key(event), []).append(event)
    return groups


def _clml_kind(event: Record) -> tuple[str, bool]:
    """Type of episode, and whether it learns from shots."""
    return str(event.get("kind", "")), "language" in event or event.get("regime") == "pooled-shots"


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
    area = max(bars, 260) if side else 240
    short, room = canvas.fit(names, 240 if side else 180)
    left = 8 + room
    labels = [short[name] for name in names]
    if not shares:
        fig = canvas.figure(width, bars + 84)
        _draw_bars(canvas.place(fig, left, 30, width - left - 60, bars), names, labels, drawn)
    elif side:
        fig = canvas.figure(width, area + 84)
        _draw_area(canvas.place(fig, 44, 30, 0.54 * width - 44, area), steps, shares)
        rest = 0.54 * width + 24 + left
        _draw_bars(canvas.place(fig, rest, 30, width - rest - 20, area), names, labels, drawn)
    else:
        fig = canvas.figure(width, area + bars + 168)
        _draw_area(canvas.place(fig, 40, 30, width - 48, area), steps, shares)
        _draw_bars(canvas.place(fig, left, area + 114, width - left - 16, bars), names, labels, drawn)
    return fig


def smoothing(found: Sequence[Panel]) -> int:
    """The widest smoothing window used, in steps."""
    return max((window_for(panel.curves) for panel in found), default=1)


def _percent(event: Record) -> Any:
    acc = event.get("acc")
    return 100 * acc if isinstance(acc, int | float) else None


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


def _colour(index: int) -> str:
    return canvas.SOURCES[index % len(canvas.SOURCES)]


def _draw_area(axes: Axes, steps: Any, shares: dict[str, Any]) -> None:
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


def _draw_bars(
    axes: Axes, names: Sequence[str], labels: Sequence[str], drawn: dict[str, dict[int, float]]
) -> None:
    """Draw bars in the order of the stack, with a dot a seed."""
    for index, name in enumerate(names):
        shares = [100 * share for share in drawn.get(name, {}).values()]
        axes.barh(index, np.mean(shares) if shares else 0.0, height=0.62, color=_colour(index))
        axes.plot(
            shares, [index] * len(shares), marker="o", markersize=4.5, linestyle="none", color=canvas.INK,
            markeredgecolor=canvas.PAPER, markeredgewidth=0.7,
        )  # fmt: skip
    axes.axvline(100 / len(names), color=canvas.INK, linewidth=0.9, linestyle=(0, (2, 3)))
    axes.set_yticks(range(len(names)), list(labels))
    axes.set_ylim(-0.5, len(names) - 0.5)
    axes.set_xlim(left=0)
    canvas.label(axes, "dots: seeds", "drawn, % of episodes")
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.spines["left"].set_visible(False)
