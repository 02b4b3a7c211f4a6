"""What a rule of the diagnosis says."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

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
