import pytest

from metaxcr.reporting import canvas
from metaxcr.reporting.curves import learning, panels, sampler, smoothing
from metaxcr.reporting.read import RunFolder, read_run


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


def test_clml_on_the_shots_of_one_language_has_panels_of_its_own(tmp_path):
    event = {
        "stage": "clml",
        "seed": 0,
        "step": 0,
        "kind": "cross-task",
        "support_loss": 1.0,
        "query_loss": 0.5,
    }
    titles = [
        panel.title for panel in panels(RunFolder(tmp_path, events=[event, event | {"language": "sw"}]))
    ]
    assert titles == ["CLML, cross-task: loss / chance", "CLML on k shots, cross-task: loss / chance"]


def test_panels_without_values_are_left_out(run, tmp_path):
    events = [{key: value for key, value in event.items() if key != "reward"} for event in run.stage("ctml")]
    titles = [panel.title for panel in panels(RunFolder(tmp_path, events=events))]
    assert titles == ["CTML: loss / chance"]
    assert panels(RunFolder(tmp_path)) == [] and learning([], canvas.WIDE) is None


def test_development_accuracy_is_a_mean_over_languages_in_per_cent(tmp_path):
    events = [
        {"stage": "dev", "seed": 0, "step": 5, "after": "clml", "task": "t", "language": lang, "acc": acc}
        for lang, acc in (("sw", 0.5), ("ar", 0.6))
    ]
    [panel] = panels(RunFolder(tmp_path, events=events))
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
        fig = sampler(run.stage("ctml"), width)
    assert fig is not None
    area, bars = fig.axes
    assert len(area.collections) == 8
    levels = [line.get_ydata()[0] for line in area.get_lines()]
    assert levels == pytest.approx([100 * i / 8 for i in range(1, 8)])
    assert sum(patch.get_width() for patch in bars.patches) == pytest.approx(100)
    assert len(bars.get_yticklabels()) == 8


def test_sampler_without_probabilities_still_shows_the_draws(run):
    events = [{**event, "probabilities": None} for event in run.stage("ctml")]
    with canvas.drawing():
        fig = sampler(events, canvas.WIDE)
    assert fig is not None and len(fig.axes) == 1
    assert sampler([], canvas.WIDE) is None
