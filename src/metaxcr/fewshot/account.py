"""The honest account of an adaptation, as plain data: for adaptation.json, the report and the terminal."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.intervals import Difference, Interval
from metaxcr.fewshot.adapt import Adapted
from metaxcr.fewshot.calibration import (
    abstention,
    calibration_error,
    reliability,
    tempered,
    wilson,
)
from metaxcr.fewshot.curve import forecast, points
from metaxcr.fewshot.settings import Settings
from metaxcr.fewshot.suspects import Suspect, doubtful, duplicates, inverted
from metaxcr.fewshot.verdict import RULE, SYSTEMS

SCHEMA = 1
Account = dict[str, Any]


def account_of(adapted: Adapted, settings: Settings) -> Account:
    """Gather what there is to say about an adaptation.

    Args:
        adapted: From :func:`metaxcr.fewshot.adapt.adapt_to`.
        settings: That it was made with.

    Returns:
        Plain data; accuracies are shares, intervals are 95 %, every answer is to an example not adapted to.
    """
    examples, verdict, kept = adapted.examples, adapted.verdict, adapted.kept
    temperature, n = kept.temperature, len(examples.examples)
    told = forecast(adapted.curve, n, settings.more)
    return {
        "schema": SCHEMA,
        "language": examples.language,
        "file": str(examples.file) if examples.file else None,
        "examples": n,
        "different": len(set(adapted.group)),
        "choices": sorted({len(e.choices) for e in examples.examples}),
        "repaired": examples.repaired,
        "kept": verdict.kept,
        "sentence": verdict.sentence,
        "rule": RULE,
        "systems": [{"name": name, **_accuracy(adapted.systems[name].accuracy, n)} for name in SYSTEMS],
        "differences": {
            "adapted minus unadapted": _difference(verdict.gain),
            f"{verdict.kept} minus similarity": _difference(verdict.over_similarity),
        },
        "curve": [{"n": p.n, **_accuracy(p.accuracy, n)} for p in points(adapted.curve)],
        "forecast": {"more": told.more, **_gain(told.gain)} if told else None,
        "suspects": [_suspect(adapted, s) for s in suspects_of(adapted, temperature)],
        "inverted": _inverted(adapted),
        "calibration": _calibration(adapted, temperature, settings),
        "settings": asdict(settings),
    }


def suspects_of(adapted: Adapted, temperature: float) -> list[Suspect]:
    """Examples that deserve a second look, the most suspicious first, each once."""
    calibrated = [list(row) for row in tempered(adapted.kept.mean, temperature)]
    found = duplicates(adapted.examples.examples, adapted.group)
    found += doubtful(calibrated, adapted.kept.labels)
    worst: dict[int, Suspect] = {}
    for suspect in sorted(found, key=lambda s: (-s.weight, s.row)):
        worst.setdefault(suspect.row, suspect)
    return list(worst.values())


def certainty(adapted: Adapted, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Calibrated probability of each held-out choice of the kept model, and whether it was right."""
    rows = tempered(adapted.kept.mean, temperature)
    chosen = np.array([int(row.argmax()) for row in rows])
    return np.array([row.max() for row in rows]), chosen == np.array(adapted.kept.labels)


def _calibration(adapted: Adapted, temperature: float, settings: Settings) -> Account:
    before, right = certainty(adapted, 1.0)
    after, _ = certainty(adapted, temperature)
    found = abstention(after, right, settings.wished)
    return {
        "temperature": temperature,
        "error_before": round(calibration_error(before, right), 4),
        "error_after": round(calibration_error(after, right), 4),
        "bins": [{key: _round(value) for key, value in asdict(b).items()} for b in reliability(after, right)],
        "threshold": {key: _round(value) for key, value in asdict(found).items()},
    }


def _inverted(adapted: Adapted) -> Account | None:
    """Whether models that saw no label are right more rarely than by chance."""
    counts = [len(e.choices) for e in adapted.examples.examples]
    for name in ("unadapted", "similarity"):
        right = int(np.floor(adapted.systems[name].correct[:, 0].sum()))
        p = inverted(right, counts)
        if p is not None:
            return {"system": name, "right": right, "p": p}
    return None


def _suspect(adapted: Adapted, suspect: Suspect) -> Account:
    example, lines = adapted.examples.examples[suspect.row], adapted.examples.lines
    return {
        "row": suspect.row,
        "line": lines[suspect.row] if lines else None,
        "id": example.id,
        "context": example.context,
        "choices": list(example.choices),
        "label": example.label,
        "reason": suspect.reason,
    }


def _accuracy(found: Interval, n: int) -> Account:
    """A share with its interval; where all answers agree, the spread that others would show is Wilson's."""
    low, high = (found.low, found.high) if found.se else wilson(round(found.mean * n), n)
    return {"mean": _round(found.mean), "ci95": [_round(max(0.0, low)), _round(min(1.0, high))]}


def _gain(found: Interval) -> Account:
    return {"mean": _round(found.mean), "ci95": [_round(found.low), _round(found.high)]}


def _difference(found: Difference) -> Account:
    return {
        "mean": _round(found.mean),
        "ci95": [_round(found.low), _round(found.high)],
        "p": _round(found.p),
    }


def _round(value: Any) -> Any:
    return round(float(value), 6) if isinstance(value, float) else value
