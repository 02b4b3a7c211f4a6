"""Repair of known defects of published files: each step is counted and can be switched off."""

from collections import Counter
from collections.abc import Collection, Iterable

from metaxcr.errors import UserError

# Steps that every task has; the others are declared in a task's YAML file.
GENERAL = {
    "byte-order-mark": "a byte order mark at the start of the file is dropped",
    "line-ends": "line ends of another system (CRLF) are read as line ends",
    "digits": "a label in the digits of another script is read as a number",
    "repeated-keys": "of a key that a JSON object has twice, the last value counts",
}
DECLARED = {
    "question": "cause or effect, where the file has the wrong one",
    "choices": "surplus choices, blank or repeated, are taken out; rows that still do not fit are left out",
    "label-spelling": "a label such as 1.0, (b) or choice2 is read as the number or letter in it",
    "repeated-ids": "an id that occurs again gets #2, #3, ... added",
}
STEPS = {**GENERAL, **DECLARED}
LAYOUT = frozenset({"byte-order-mark", "line-ends"})  # steps that change no example


class Repairs:
    """The steps that are on for a file; ``counts`` says how often each changed something."""

    def __init__(self, steps: Collection[str] = tuple(GENERAL)) -> None:
        self._on = frozenset(steps)
        self.counts: Counter[str] = Counter()

    @classmethod
    def of(cls, declared: Iterable[str], off: Collection[str] = ()) -> "Repairs":
        """Return the general steps and those that a task declares, without those that are switched off."""
        for step in off:
            if step not in STEPS:
                raise UserError(f"unknown repair step '{step}'", None, f"There are {', '.join(STEPS)}")
        return cls({*GENERAL, *declared} - {*off})

    def take(self, step: str) -> bool:
        """Tell whether a step is on; if so, count it once more."""
        if step not in self._on:
            return False
        self.counts[step] += 1
        return True
