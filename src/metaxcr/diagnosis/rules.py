"""All rules of the diagnosis, each a pure function of what a run left."""

from collections.abc import Callable

from metaxcr.diagnosis import sampler, training, transfer
from metaxcr.diagnosis.finding import SEVERITIES, Evidence, Finding

RULES: tuple[Callable[[Evidence], list[Finding]], ...] = (
    training.diverged,
    training.diverging,
    training.unstable_inner_loop,
    sampler.mismatched_sources,
    sampler.collapsed,
    sampler.never_learned,
    transfer.weak_alignment,
    transfer.overfitted_shots,
    training.too_few_steps,
)


def diagnose(evidence: Evidence) -> list[Finding]:
    """Everything that the rules find, problems before notes, otherwise in the order of the rules."""
    found = [finding for rule in RULES for finding in rule(evidence)]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
