"""The evidence that a run left, the findings of a diagnosis, and the message of a training that diverged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from scipy import stats

from metaxcr.errors import UserError
from metaxcr.training.loop import Diverged

DIVERGED_LOSS: Final = 50.0  # a loss this many times that of guessing stops the run, finite or not
Record = dict[str, Any]
SEVERITIES = ("problem", "note")


@dataclass(frozen=True)
class Evidence:
    """What the rules look at, as far as it is there: a run need not be finished."""

    events: list[Record]  # events.jsonl
    config: Record = field(default_factory=dict)  # config.yaml
    results: Record = field(default_factory=dict)  # results.json
    alignment: list[Record] = field(default_factory=list)  # rows of ``metaxcr adapters align RUN``

    def stage(self, *names: str) -> list[Record]:
        """The events of the finished steps of some stages."""
        return [e for e in self.events if e.get("stage") in names and "diverged" not in e]

    def setting(self, key: str, default: Any = None) -> Any:
        """A setting by its dotted name."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value


@dataclass(frozen=True)
class Finding:
    """One problem, or something worth knowing, with its evidence and what to change."""

    rule: str
    severity: Literal["problem", "note"]
    says: str  # what was seen, with the numbers
    change: str  # what to do about it
    settings: tuple[str, ...]  # the keys of the configuration that are meant
    evidence: Record = field(default_factory=dict)

    def record(self) -> Record:
        """As plain data, for ``--json``."""
        return {**asdict(self), "settings": list(self.settings)}


class MeanInterval(NamedTuple):
    """A mean, or a difference of means, with an interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """With two digits each, such as ``-0.012 [-0.02, +0.004]``."""
        return f"{self.mean:+.2g} [{self.low:+.2g}, {self.high:+.2g}]"


def mean_interval(values: Sequence[float], level: float) -> MeanInterval:
    """Mean of two or more values with its t interval of coverage 1 - ``level``."""
    array = np.asarray(values, dtype=float)
    error, mean = float(array.std(ddof=1)) / math.sqrt(len(array)), float(array.mean())
    half = float(stats.t.ppf(1 - level / 2, len(array) - 1)) * error
    return MeanInterval(mean, mean - half, mean + half)


def difference(one: Sequence[float], other: Sequence[float], level: float) -> MeanInterval:
    """mean(one) - mean(other) with Welch's interval of coverage 1 - ``level``; two or more values each.

    Source:
        Welch 1947 (Biometrika).
    """
    a, b = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    mean, total = float(a.mean() - b.mean()), float(sum(parts))
    if total == 0:
        return MeanInterval(mean, mean, mean)
    dof = total**2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    half = float(stats.t.ppf(1 - level / 2, dof)) * math.sqrt(total)
    return MeanInterval(mean, mean - half, mean + half)


def groups_differ(groups: Mapping[str, Sequence[float]]) -> float:
    """P of the one-way analysis of variance over groups of two or more values; 1 without any."""
    usable = [values for values in groups.values() if len(values) > 1]
    if len(usable) < 2 or np.ptp(np.concatenate(usable)) == 0:
        return 1.0
    p = float(stats.f_oneway(*usable).pvalue)
    return p if math.isfinite(p) else 1.0


def require_bounded(step: int, event: dict[str, Any]) -> None:
    """Raise :class:`Diverged` if a loss is above :data:`DIVERGED_LOSS`: training does not recover from there.

    Losses are in units of the loss of guessing.
    """
    for name in ("support_loss", "query_loss"):
        if event[name] > DIVERGED_LOSS:
            raise Diverged(step, f"{name.replace('_', ' ')} ({event[name]:.3g} times that of guessing)")


def stopped(where: str, error: Diverged, rates: dict[str, float], kept: Path) -> UserError:
    """The error that a diverged training ends with.

    Args:
        where: The unit of work.
        error: What was not finite.
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
