"""Training that stops: one clear line about what was not finite, where, and which setting to change."""

from pathlib import Path
from typing import Any

from metaxcr.diagnosis.thresholds import DIVERGED_LOSS
from metaxcr.errors import UserError
from metaxcr.meta.diverged import Diverged

LOSSES = ("support_loss", "query_loss")


def require_bounded(step: int, event: dict[str, Any]) -> None:
    """Stop a training whose losses are finite but absurd: it does not come back from there.

    Args:
        step: The episode, for the message.
        event: Of the step; losses in units of the loss of guessing.

    Raises:
        Diverged: A loss is above :data:`DIVERGED_LOSS`.
    """
    for name in LOSSES:
        if event[name] > DIVERGED_LOSS:
            raise Diverged(step, f"{name.replace('_', ' ')} ({event[name]:.3g} times that of guessing)")


def stopped(where: str, error: Diverged, rates: dict[str, float], kept: Path) -> UserError:
    """The line that a diverged training ends with.

    Args:
        where: The unit of work.
        error: What happened.
        rates: Settings that may be too high, with their values.
        kept: The folder of the last good state.
    """
    lower = " or ".join(f"{name} (now {value:g})" for name, value in rates.items())
    what = f"training diverged: {where}, step {error.step}: the {error.term}"
    what += "" if "(" in error.term else " is not finite"
    return UserError(
        what,
        f"the state before that step is kept in {kept}",
        f"lower {lower} and start again with another --out; other settings are another run",
    )
