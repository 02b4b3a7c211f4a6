"""Figures of a run: accuracy, costs, alignment."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib import image

from metaxcr.evaluation.results import Place, Setting
from metaxcr.reports import canvas
from metaxcr.reports.run_figures import (
    accuracy,
    alignment,
    alignment_png,
    by_baseline,
    cost_bars,
    costs,
    setting_styles,
)
from metaxcr.reports.run_records import averages, language_points, read_run

REPAIRED = Place("xcopa", "test", "repaired")


@pytest.fixture(scope="module")
def run(full_run):
    return read_run(full_run)


def test_colour_belongs_to_the_regime_and_markers_differ():
    settings = [Setting("none", "similarity", 0), Setting("few-shot", "a", 4), Setting("few-shot", "a", 16)]
    found = setting_styles(settings)
    assert found[settings[1]][0] == found[settings[2]][0] == setting_styles(settings[1:2])[settings[1]][0]
    assert len({marker for _, marker in found.values()}) == 3
    assert len({colour for colour, _ in found.values()}) == 2


def test_accuracy_shows_every_mean_in_the_order_of_the_baseline(run):
    points = language_points(run.results, REPAIRED)
    means = [item for item in averages(run.results) if item.place == REPAIRED]
    with canvas.drawing():
        fig = accuracy(points, means, canvas.WIDE)
    axes = fig.axes[0]
    dots = [line.get_xdata()[0] for line in axes.get_lines() if line.get_linestyle() == "None"]
    drawn = sorted(round(float(x), 9) for x in dots)
    assert drawn == sorted(round(100 * item.value.mean, 9) for item in [*points, *means])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "average" and len(labels) == 12
    base = {point.lang: point.value.mean for point in points if point.setting.regime == "none"}
    order = [base[lang] for lang in by_baseline(points)]
    assert order == sorted(order, reverse=True)
    assert [label.split()[-1] for label in labels[1:]] == by_baseline(points)


def test_whiskers_are_the_intervals_of_the_averages(run):
    means = [item for item in averages(run.results) if item.place == REPAIRED]
    with canvas.drawing():
        fig = accuracy(language_points(run.results, REPAIRED), means, canvas.NARROW)
    spans = {tuple(round(float(x), 6) for x in line.get_xdata()) for line in fig.axes[0].get_lines()}
    for item in means:
        assert (round(100 * item.value.low, 6), round(100 * item.value.high, 6)) in spans


def test_cost_bars_add_up_seeds_and_part_the_trunk(run):
    bars = {name: (seconds, passes) for name, seconds, passes in cost_bars(run.costs)}
    assert bars["trunk, cold"] == (421.4, 3_500_000) and bars["trunk, warm"] == (6.2, 0.0)
    assert bars["CTML"] == pytest.approx((3 * 310.2, 3 * 1_900_000))
    assert list(bars)[-1] == "evaluation"


def test_costs_without_stages_or_trunk():
    assert costs({}, canvas.WIDE) is None
    stage = {"stage": "trunk", "seconds": 1.0, "token_passes": 2, "peak_rss_mb": 3}
    assert cost_bars({"stages": [stage]}) == [("trunk", 1.0, 2)]


def rows(languages: int) -> list[dict[str, Any]]:
    codes = ["sw", "qu", "ht", "et", "it"][:languages]
    return [
        {
            "language": code,
            "stack": stack,
            "layer": layer,
            "retrieval": value,
            "ci95": [value - 0.05, value + 0.05],
        }
        for n, code in enumerate(codes)
        for stack in (["encoder", "language"] if code == "sw" else ["encoder"])
        for layer, value in enumerate((0.2, 0.3 + 0.1 * n, 0.6))
    ]


def test_a_panel_a_language_a_line_a_stack_and_the_limit() -> None:
    with canvas.drawing():
        fig = alignment(rows(5), 0.5)
    assert [axes.get_title(loc="left") for axes in fig.axes] == [
        "Swahili",
        "Quechua",
        "Haitian Creole",
        "Estonian",
        "Italian",
    ]
    first, second = ([line for line in axes.lines if len(line.get_xdata()) == 3] for axes in fig.axes[:2])
    assert len(first) == 2 and len(second) == 1
    assert [round(float(y), 6) for y in second[0].get_ydata()] == [20, 40, 60]
    assert all(50 in axes.lines[0].get_ydata() for axes in fig.axes)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [
        "encoder alone",
        "with language adapters",
    ]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (alignment_png(rows(2), 0.5, tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert image.imread(tmp_path / "a.png").shape[1] == 1200
    assert one == two and one.startswith(b"\x89PNG")
