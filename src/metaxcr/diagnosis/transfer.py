"""Rules about what reaches the target: alignment of the languages, shots known by heart."""

from collections import defaultdict

import numpy as np

from metaxcr.diagnosis.finding import Evidence, Finding, Record
from metaxcr.diagnosis.statistics import mean_interval
from metaxcr.diagnosis.thresholds import BY_HEART, END, LEVEL, WEAK_ALIGNMENT


def weak_alignment(evidence: Evidence) -> list[Finding]:
    """Languages whose sentences do not find their translations.

    Measured on held-out sentences where ``metaxcr adapters align`` has left its table, else seen from the
    training's own contrastive loss.
    """
    seen = _measured(evidence) if evidence.alignment else _trained(evidence)
    if seen is None:
        return []
    named, numbers = seen
    says = f"{named}: what is learned in English hardly reaches {'it' if len(numbers) == 1 else 'them'}."
    settings = ("ctml.alignment", "target.parallel", "adapters.language")
    change = (
        "Raise ctml.alignment or ctml.steps, give more parallel text (target.parallel), or language adapters "
        "(adapters.language)."
    )
    return [Finding("weak-alignment", "problem", says, change, settings, numbers)]


def _measured(evidence: Evidence) -> tuple[str, Record] | None:
    """Weak languages by retrieval after the last layer, with as many of the adapters as were measured."""
    from metaxcr.evaluation.alignment import weak_languages  # here, because it needs torch

    stack = evidence.alignment[-1]["stack"]
    weak = weak_languages([row for row in evidence.alignment if row["stack"] == stack])
    if not weak:
        return None
    shares = ", ".join(f"{row['language']} {100 * row['retrieval']:.0f} %" for row in weak)
    named = (
        f"Few sentences find their English translation among {weak[0].get('n', 'all')} ({stack}): {shares}"
    )
    return named, {row["language"]: {key: row[key] for key in ("retrieval", "ci95", "stack")} for row in weak}


def _trained(evidence: Evidence) -> tuple[str, Record] | None:
    """Weak languages by the contrastive loss at the end of CTML and CLML."""
    losses: dict[str, list[float]] = defaultdict(list)
    measured = ("alignment_loss", "alignment_language")
    events = [e for e in evidence.stage("ctml", "clml") if all(e.get(key) is not None for key in measured)]
    for stage in ("ctml", "clml"):
        last = max((e["step"] for e in events if e["stage"] == stage), default=0) + 1
        for event in events:
            if event["stage"] == stage and event["step"] >= (1 - END) * last:
                losses[event["alignment_language"]].append(float(event["alignment_loss"]))
    enough = {language: values for language, values in losses.items() if len(values) > 1}
    found = {x: mean_interval(values, LEVEL / len(enough)) for x, values in enough.items()}
    weak = {x: found[x] for x in sorted(found, key=lambda x: -found[x].mean) if found[x].low > WEAK_ALIGNMENT}
    if not weak:
        return None
    named = ", ".join(f"{x} {interval.mean:.2f}" for x, interval in weak.items())
    says = (
        f"Sentences and their English translations are far apart in {named} (contrastive loss at the end of "
        "training; 1.0 is guessing, 0 is perfect)"
    )
    return says, {language: interval._asdict() for language, interval in weak.items()}


def overfitted_shots(evidence: Evidence) -> list[Finding]:
    """Shots known by heart, and a few-shot accuracy that is none the better for it."""
    ends: dict[object, float] = {}
    for event in (e for e in evidence.stage("finetune") if e.get("loss") is not None):
        run = (event.get("seed"), event.get("language"), event.get("regime"), event.get("clml"))
        ends[run] = float(event["loss"])
    if not ends:
        return []
    loss, gain = float(np.mean(list(ends.values()))), _gain(evidence.results)
    by_heart, worse = loss < BY_HEART, gain is not None and gain["ci95"][1] < 0
    if not worse and not (by_heart and (gain is None or gain["mean"] <= 0)):
        return []
    says = f"The loss on the shots ended at {loss:.2f} of guessing (mean of {len(ends)} fine-tunings)"
    if gain is not None:
        low, high = (100 * x for x in gain["ci95"])
        says += (
            f", and few-shot minus zero-shot accuracy is {100 * gain['mean']:+.1f} [{low:+.1f}, {high:+.1f}]"
        )
        says += " points"
    settings = ("finetune.rate", "finetune.steps", "clml.few_shot_steps", "target.k")
    change = "Lower finetune.rate, finetune.steps or clml.few_shot_steps, or label more shots (target.k)."
    numbers: Record = {"loss": loss, "fine_tunings": len(ends), "few_shot_minus_zero_shot": gain}
    says += ": they are learned by heart." if by_heart else "."
    return [Finding("shots-overfitted", "problem" if worse else "note", says, change, settings, numbers)]


def _gain(results: Record) -> Record | None:
    """The paired difference of few-shot and zero-shot accuracy on the repaired data, if there is one."""
    for row in results.get("differences", ()):
        repaired = row.get("data", "repaired") == "repaired"
        if repaired and str(row["a"]).startswith("few-shot/") and str(row["b"]).startswith("zero-shot/"):
            return {"mean": row["mean"], "ci95": list(row["ci95"])}
    return None
