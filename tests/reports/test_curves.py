import numpy as np
import pytest

from metaxcr.reports import canvas
from metaxcr.reports.curves import (
    Curve,
    curve,
    draws,
    learning,
    panels,
    probabilities,
    sampler,
    smooth,
    smoothing,
    window_for,
)
from metaxcr.reports.run_records import RunRecords, read_run


def test_events_of_one_step_are_averaged_and_gaps_left_out():
    events = [
        {"seed": 0, "step": 1, "loss": 2.0},
        {"seed": 0, "step": 0, "loss": 1.0},
        {"seed": 0, "step": 1, "loss": 4.0},
        {"seed": 0, "step": 2, "loss": None},
        {"seed": 1, "step": 0, "loss": 3.0},
    ]
    found = curve("loss", events, lambda event: event["loss"])
    assert found is not None
    assert found.seeds[0][0].tolist() == [0, 1] and found.seeds[0][1].tolist() == [1.0, 3.0]
    steps, values = found.mean()
    assert steps.tolist() == [0] and values.tolist() == [2.0]  # step 1 only where every seed has it


def test_no_values_no_curve():
    assert curve("loss", [{"seed": 0, "step": 0}], lambda event: event.get("loss")) is None


def test_seeds_without_a_common_step_have_an_empty_mean():
    line = Curve("x", {0: (np.array([0.0]), np.array([1.0])), 1: (np.array([1.0]), np.array([2.0]))})
    assert [part.tolist() for part in line.mean()] == [[], []]


def test_smooth_is_a_centred_mean_cut_at_the_ends():
    values = np.array([0.0, 3.0, 6.0, 3.0])
    assert smooth(values, 3) == pytest.approx([1.5, 3.0, 4.0, 4.5])
    assert smooth(values, 1) is values


def test_smoothed_curves_are_thinned():
    steps = np.arange(1000.0)
    line = Curve("x", {0: (steps, steps)}).smoothed(5)
    assert len(line.seeds[0][0]) <= 240
    assert line.seeds[0][1][10] == pytest.approx(line.seeds[0][0][10])


def test_window_grows_with_the_series_and_is_odd():
    def of(length):
        return window_for([Curve("x", {0: (np.arange(length), np.arange(length))})])

    assert of(39) == 1
    assert of(600) == 31
    assert of(100_000) == 51
    assert window_for([]) == 1


def test_probabilities_are_means_over_seeds_largest_first():
    events = [
        {"seed": 0, "step": 0, "probabilities": {"a": 0.2, "b": 0.8}},
        {"seed": 1, "step": 0, "probabilities": {"a": 0.4, "b": 0.6}},
    ]
    steps, shares = probabilities(events)
    assert steps.tolist() == [0] and list(shares) == ["b", "a"]
    assert shares["a"] == pytest.approx([0.3]) and shares["b"] == pytest.approx([0.7])


def test_a_source_that_is_not_listed_has_no_share():
    _, shares = probabilities(
        [{"step": 0, "probabilities": {"a": 1.0}}, {"step": 1, "probabilities": {"b": 1.0}}]
    )
    assert {name: share.tolist() for name, share in shares.items()} == {"a": [1.0, 0.0], "b": [0.0, 1.0]}


def test_draws_are_shares_of_the_episodes_of_a_seed():
    events = [{"seed": 0, "source": "a"}, {"seed": 0, "source": "b"}, {"seed": 1, "source": "a"}, {"seed": 1}]
    assert draws(events) == {"a": {0: 0.5, 1: 1.0}, "b": {0: 0.5, 1: 0.0}}
    assert draws([]) == {}


@pytest.fixture(scope="module")
def run(full_run):
    return read_run(full_run)


def test_every_stage_has_its_panel(run):
    assert [panel.title for panel in panels(run)] == [
        "CTML: loss / chance",
        "CTML: reward",
        "CLML, cross-lingual: loss / chance",
        "CLML, cross-task: loss / chance",
        "fine-tuning: loss / chance",
    ]
    assert smoothing(panels(run)) == 3


def test_clml_on_the_shots_of_one_language_has_panels_of_its_own():
    event = {
        "stage": "clml",
        "seed": 0,
        "step": 0,
        "kind": "cross-task",
        "support_loss": 1.0,
        "query_loss": 0.5,
    }
    titles = [panel.title for panel in panels(RunRecords([event, event | {"language": "sw"}]))]
    assert titles == ["CLML, cross-task: loss / chance", "CLML on k shots, cross-task: loss / chance"]


def test_panels_without_values_are_left_out(run):
    events = [{key: value for key, value in event.items() if key != "reward"} for event in run.all_of("ctml")]
    titles = [panel.title for panel in panels(RunRecords(events))]
    assert titles == ["CTML: loss / chance"]
    assert panels(RunRecords([])) == [] and learning([], canvas.WIDE) is None


def test_development_accuracy_is_a_mean_over_languages_in_per_cent():
    events = [
        {"stage": "dev", "seed": 0, "step": 5, "after": "clml", "task": "t", "language": lang, "acc": acc}
        for lang, acc in (("sw", 0.5), ("ar", 0.6))
    ]
    [panel] = panels(RunRecords(events))
    assert panel.title == "development accuracy in CLML, %"
    assert panel.curves[0].seeds[0][1].tolist() == pytest.approx([55.0])


def test_learning_draws_seeds_thin_and_their_mean_thick(run):
    found = panels(run)
    with canvas.drawing():
        fig = learning(found, canvas.WIDE)
    assert fig is not None and len(fig.axes) == len(found)
    widths = [line.get_linewidth() for line in fig.axes[0].get_lines()]
    assert widths.count(0.8) == 6 and widths.count(2.2) == 2  # 3 seeds and a mean, of two losses
    assert widths.count(1.0) == 1  # chance


@pytest.mark.parametrize("width", [canvas.WIDE, canvas.NARROW])
def test_sampler_shows_probabilities_uniform_share_and_draws(run, width):
    with canvas.drawing():
        fig = sampler(run.all_of("ctml"), width)
    assert fig is not None
    area, bars = fig.axes
    assert len(area.collections) == 8
    levels = [line.get_ydata()[0] for line in area.get_lines()]
    assert levels == pytest.approx([100 * i / 8 for i in range(1, 8)])
    assert sum(patch.get_width() for patch in bars.patches) == pytest.approx(100)
    assert len(bars.get_yticklabels()) == 8


def test_sampler_without_probabilities_still_shows_the_draws(run):
    events = [{**event, "probabilities": None} for event in run.all_of("ctml")]
    with canvas.drawing():
        fig = sampler(events, canvas.WIDE)
    assert fig is not None and len(fig.axes) == 1
    assert sampler([], canvas.WIDE) is None
