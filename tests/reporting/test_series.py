import numpy as np
import pytest

from metaxcr.reporting.series import Curve, curve, draws, probabilities, smooth, window_for


def test_events_of_one_step_are_averaged_and_gaps_left_out():
    events = [
        {"seed": 0, "step": 1, "loss": 2.0},
        {"seed": 0, "step": 0, "loss": 1.0},
        {"seed": 0, "step": 1, "loss": 4.0},
        {"seed": 0, "step": 2, "loss": None},
        {"seed": 0, "step": 3, "loss": float("nan")},
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
