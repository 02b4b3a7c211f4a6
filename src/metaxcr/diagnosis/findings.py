"""Where each rule of the diagnosis draws its line: all of them in one place.

They were fixed by reasoning, not by fitting them to runs. Losses are in units of the loss of guessing (1.0 is
chance), probabilities are those of the policy with the floor of ``sampler.floor`` taken off.

What a rule of the diagnosis says.

The few statistics that the rules need: differences of means with intervals, and whether groups differ.

Training that stops: one clear line about what was not finite, where, and which setting to change.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from scipy import stats

from metaxcr.errors import UserError
from metaxcr.training.loop import Diverged

LEVEL: Final = 0.05  # of every test; divided by the number of sources or languages that are looked at
ENOUGH: Final = 8  # numbers of a kind that a rule wants before it says anything
ENOUGH_STEPS: Final = 40  # steps of a stage before a rule looks at how it went on

DIVERGED_LOSS: Final = 50.0  # a loss this many times that of guessing stops the run, finite or not

COLLAPSED: Final = 0.9  # a source with more than this has the policy to itself
EARLY: Final = 1 / 3  # share of the steps in which a policy cannot know so much yet
UNIFORM: Final = 0.1  # total variation distance from uniform; below, nothing was learned
END: Final = 0.25  # last share of the steps, by which the end of a stage is judged

WEAK_ALIGNMENT: Final = 0.5  # contrastive loss of parallel sentences: half of guessing is still missing
RISING: Final = 0.25  # share of episodes in which the inner loop may raise the support loss

BY_HEART: Final = 0.05  # fine-tuning loss below which the shots are known by heart
STILL_FALLING: Final = 0.02  # fall of the query loss from the third quarter to the last

Record = dict[str, Any]
SEVERITIES = ("problem", "note")


@dataclass(frozen=True)
class Evidence:
    """What the rules look at, as far as it is there: a run need not be finished.

    Attributes:
        events: One record a step, in the order of ``events.jsonl``.
        config: Contents of ``config.yaml``.
        results: Contents of ``results.json``.
        alignment: Rows of the table that ``metaxcr adapters align RUN`` leaves, if it was called.
    """

    events: list[Record]
    config: Record = field(default_factory=dict)
    results: Record = field(default_factory=dict)
    alignment: list[Record] = field(default_factory=list)

    def stage(self, *names: str) -> list[Record]:
        """The events of some stages that took a step."""
        return [e for e in self.events if e.get("stage") in names and "diverged" not in e]

    def setting(self, key: str, default: Any = None) -> Any:
        """A setting by its dotted name."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return default if value is None else value


@dataclass(frozen=True)
class Finding:
    """One thing that went wrong, or is worth knowing, with its evidence and what to change.

    Attributes:
        rule: Name of the rule.
        severity: ``problem`` or ``note``.
        says: What was seen, in one or two sentences with the numbers.
        change: What to do about it.
        settings: The keys of the configuration that are meant.
        evidence: The numbers.
    """

    rule: str
    severity: Literal["problem", "note"]
    says: str
    change: str
    settings: tuple[str, ...]
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
        """Mean and ends with the digits that tell them apart."""
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
    """P of the one-way analysis of variance over groups of two or more values; 1 where there are none."""
    usable = [values for values in groups.values() if len(values) > 1]
    if len(usable) < 2 or np.ptp(np.concatenate(usable)) == 0:
        return 1.0
    p = float(stats.f_oneway(*usable).pvalue)
    return p if math.isfinite(p) else 1.0


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
