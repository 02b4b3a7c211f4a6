"""Rules about the training itself: divergence, an unstable inner loop, too few steps."""

from collections import defaultdict

from metaxcr.diagnosis.finding import Evidence, Finding, Record
from metaxcr.diagnosis.statistics import difference
from metaxcr.diagnosis.thresholds import END, ENOUGH, ENOUGH_STEPS, LEVEL, RISING, STILL_FALLING


def diverged(evidence: Evidence) -> list[Finding]:
    """A run that stopped because a number was not finite."""
    found = []
    for event in (e for e in evidence.events if "diverged" in e):
        settings = tuple(event.get("change", ()))
        where = f"{event['stage']}, seed {event.get('seed')}, stopped at step {event['step']}"
        says = f"{where}: the {event['diverged']} was not finite, or absurd."
        change = f"Lower {' or '.join(settings)} and start a new run; the last good state is kept."
        found.append(Finding("diverged", "problem", says, change, settings, dict(event)))
    return found


def diverging(evidence: Evidence) -> list[Finding]:
    """Query losses that end above guessing and above where they began."""
    found = []
    for name, events in _groups(evidence).items():
        first, last = _quarter(events, 0), _quarter(events, 3)
        if min(len(first), len(last)) < ENOUGH or sum(last) / len(last) <= 1:
            continue
        rise = difference(last, first, LEVEL)
        if rise.low <= 0:
            continue
        stage = name.split()[0]
        says = (
            f"{name}: the query loss rose by {rise} to {sum(last) / len(last):.2f}, which is above guessing "
            "(1.0): the training diverges."
        )
        settings = (f"{stage}.outer_rate", f"{stage}.inner_rate")
        change = f"Lower {settings[0]} or {settings[1]}."
        found.append(Finding("diverging", "problem", says, change, settings, {"rise": rise._asdict()}))
    return found


def unstable_inner_loop(evidence: Evidence) -> list[Finding]:
    """Inner loops that raise the loss that they descend on, in many episodes."""
    found = []
    for name, events in _groups(evidence, enough=1).items():
        paths = [e["inner_losses"] for e in events if len(e.get("inner_losses") or ()) > 1]
        risen = sum(path[-1] > path[0] for path in paths)
        if len(paths) < ENOUGH or risen / len(paths) <= RISING:
            continue
        stage = name.split()[0]
        says = (
            f"{name}: the inner loop raised the support loss in {risen} of {len(paths)} episodes that were "
            f"looked at ({risen / len(paths):.0%})."
        )
        settings = (f"{stage}.inner_rate", f"{stage}.inner_steps")
        change = f"Lower {settings[0]}, or take fewer {settings[1]}."
        numbers = {"risen": risen, "episodes": len(paths)}
        found.append(Finding("inner-loop-unstable", "problem", says, change, settings, numbers))
    return found


def too_few_steps(evidence: Evidence) -> list[Finding]:
    """Query losses that were still falling when the stage ended."""
    found = []
    for name, events in _groups(evidence).items():
        third, last = _quarter(events, 2), _quarter(events, 3)
        if min(len(third), len(last)) < ENOUGH:
            continue
        fall = difference(third, last, LEVEL)
        if fall.low <= 0 or fall.mean < STILL_FALLING:
            continue
        setting = f"{name.split()[0]}.steps"
        says = f"{name}: the query loss was still falling in the last {END:.0%} of the steps, by {fall}."
        found.append(
            Finding("too-few-steps", "note", says, f"Raise {setting}.", (setting,), {"fall": fall._asdict()})
        )
    return found


def _groups(evidence: Evidence, enough: int = ENOUGH_STEPS) -> dict[str, list[Record]]:
    """Events that belong to one training, all seeds together: CTML, and each run of CLML on auxiliary data.

    CLML on shots is left to :func:`metaxcr.diagnosis.transfer.overfitted_shots`, save for the inner loop.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for event in evidence.stage("ctml", "clml"):
        name = event["stage"]
        if name == "clml":
            shots = "language" in event or event.get("regime") == "pooled-shots"
            name = "clml on shots" if shots else f"clml {event.get('adaptation', '')}".strip()
        groups[name].append(event)
    lengths = {name: max(e["step"] for e in events) + 1 for name, events in groups.items()}
    return {name: events for name, events in groups.items() if lengths[name] >= enough}


def _quarter(events: list[Record], number: int) -> list[float]:
    """Query losses of one quarter of the steps, the episodes of all kinds together."""
    steps = max(e["step"] for e in events) + 1
    losses = ((e["step"], e.get("query_loss")) for e in events)
    return [float(x) for step, x in losses if x is not None and 4 * step // steps == number]
