"""The honest account of an adaptation, as plain data: for adaptation.json, the report and the terminal."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.statistics import Interval
from metaxcr.fewshot.adaptation import AdaptedModel, Settings, distinct
from metaxcr.fewshot.calibration import (
    Calibration,
    Threshold,
    abstention,
    calibration_error,
    reliability,
    tempered,
    wilson,
)
from metaxcr.fewshot.cross_validation import forecast, points
from metaxcr.fewshot.data_quality import Suspect, doubtful, duplicates, inverted
from metaxcr.fewshot.messages import calibration_words
from metaxcr.fewshot.model_selection import RULE, SYSTEMS, Gain

SCHEMA = 2
Account = dict[str, Any]


def adaptation_summary(adapted: AdaptedModel, settings: Settings) -> Account:
    """Gather what there is to say about an adaptation.

    Args:
        adapted: From :func:`metaxcr.fewshot.adaptation.adapt_to`.
        settings: That it was made with.

    Returns:
        Plain data; accuracies are shares of the different examples, intervals are 95 %, every answer is to an
        example not adapted to.
    """
    examples, verdict, systems = adapted.examples, adapted.verdict, adapted.distinct
    calibration, n = systems[verdict.kept].calibration, len(distinct(adapted.group))
    told = forecast(adapted.curve, n, settings.more)
    return {
        "schema": SCHEMA,
        "language": examples.language,
        "file": str(examples.file) if examples.file else None,
        "examples": len(examples.examples),
        "different": n,
        "choices": sorted({len(e.choices) for e in examples.examples}),
        "repaired": examples.repaired,
        "kept": verdict.kept,
        "sentence": verdict.sentence,
        "rule": RULE,
        "systems": [{"name": name, **_share(*systems[name].accuracy)} for name in SYSTEMS],
        "differences": {
            "adapted minus unadapted": _difference(verdict.gain),
            f"{verdict.kept} minus similarity": _difference(verdict.over_similarity),
        },
        "curve": [{"n": p.n, **_wilson(p.accuracy.mean, n)} for p in points(adapted.curve)],
        "forecast": {"more": told.more, **_gain(told.gain)} if told else None,
        "suspects": [_suspect(adapted, s) for s in suspects_of(adapted, calibration.temperature)],
        "inverted": _inverted(adapted),
        "calibration": _calibration(adapted, calibration, settings),
        "settings": asdict(settings),
    }


def suspects_of(adapted: AdaptedModel, temperature: float | None) -> list[Suspect]:
    """Examples that deserve a second look, the most suspicious first, each once.

    Where nothing can be told from the probabilities (no temperature), they cast no doubt on a label.
    """
    found = duplicates(adapted.examples.examples, adapted.group)
    if temperature is not None:
        calibrated = [list(row) for row in tempered(adapted.kept.mean, temperature)]
        found += doubtful(calibrated, adapted.kept.labels)
    worst: dict[int, Suspect] = {}
    for suspect in sorted(found, key=lambda s: (-s.weight, s.row)):
        worst.setdefault(suspect.row, suspect)
    return list(worst.values())


def certainty(adapted: AdaptedModel, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability of each held-out choice of the kept model at a temperature, and whether it was right.

    Of the different examples.
    """
    kept = adapted.distinct[adapted.verdict.kept]
    rows = tempered(kept.mean, temperature)
    chosen = np.array([int(row.argmax()) for row in rows])
    return np.array([row.max() for row in rows]), chosen == np.array(kept.labels)


def _calibration(adapted: AdaptedModel, found: Calibration, settings: Settings) -> Account:
    """What is known of the probabilities; without a temperature the bins are of those as computed."""
    before, right = certainty(adapted, 1.0)
    after, threshold = before, Threshold(settings.wished, None)
    if found.temperature is not None:
        after, _ = certainty(adapted, found.temperature)
        threshold = abstention(after, right, settings.wished)
    known = {
        **asdict(found),
        "error_before": round(calibration_error(before, right), 4),
        "error_after": None if found.temperature is None else round(calibration_error(after, right), 4),
        "bins": [{key: _round(value) for key, value in asdict(b).items()} for b in reliability(after, right)],
        "threshold": {key: _round(value) for key, value in asdict(threshold).items()},
    }
    return {**known, "sentence": calibration_words(known, len(right))}


def _inverted(adapted: AdaptedModel) -> Account | None:
    """Whether models that saw no label are right more rarely than by chance."""
    counts = [len(adapted.examples.examples[row].choices) for row in distinct(adapted.group)]
    for name in ("unadapted", "similarity"):
        right = int(np.floor(adapted.distinct[name].correct[:, 0].sum()))
        p = inverted(right, counts)
        if p is not None:
            return {"system": name, "right": right, "p": p}
    return None


def _suspect(adapted: AdaptedModel, suspect: Suspect) -> Account:
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


def _wilson(mean: float, n: int) -> Account:
    return _share(mean, *wilson(mean * n, n))


def _share(mean: float, low: float, high: float) -> Account:
    return {"mean": _round(mean), "ci95": [_round(low), _round(high)]}


def _gain(found: Interval) -> Account:
    return {"mean": _round(found.mean), "ci95": [_round(found.low), _round(found.high)]}


def _difference(found: Gain) -> Account:
    return {"mean": _round(found.mean), "ci95": [_round(found.low), _round(found.high)], "p": _round(found.p)}


def _round(value: Any) -> Any:
    return round(float(value), 6) if isinstance(value, float) else value
