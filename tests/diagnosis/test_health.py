from pathlib import Path

import pytest

from metaxcr.diagnosis.health import require_bounded, stopped
from metaxcr.meta.diverged import Diverged


def test_absurd_losses_stop_the_run_and_high_ones_do_not() -> None:
    require_bounded(3, {"support_loss": 12.0, "query_loss": 40.0})
    for name in ("support_loss", "query_loss"):
        event = {"support_loss": 1.0, "query_loss": 1.0} | {name: 51.0}
        with pytest.raises(Diverged) as error:
            require_bounded(3, event)
        assert error.value.step == 3
        assert error.value.term == f"{name.replace('_', ' ')} (51 times that of guessing)"


def test_the_line_names_place_cause_remedy_and_what_is_kept() -> None:
    error = stopped(
        "ctml seed 3",
        Diverged(17, "direction"),
        {"ctml.inner_rate": 5.0, "ctml.outer_rate": 1e-3},
        Path("run/c"),
    )
    assert str(error) == (
        "training diverged: ctml seed 3, step 17: the direction is not finite (the state before that step is "
        "kept in run/c): lower ctml.inner_rate (now 5) or ctml.outer_rate (now 0.001) and start again with "
        "another --out; other settings are another run"
    )
