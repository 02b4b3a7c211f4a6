"""The results of an adaptation as plain data, for adaptation.json, the report and the terminal."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.statistics import Interval
from metaxcr.fewshot.adaptation import AdaptedModel, Settings, distinct_rows
from metaxcr.fewshot.calibration import (
    Calibration,
    Threshold,
    abstention,
    calibration_error,
    reliability,
    tempered,
    wilson,
)
from metaxcr.fewshot.cross_validation import curve_points, forecast
from metaxcr.fewshot.data_quality import DataIssue, duplicate_issues, inverted_labels_p, label_issues
from metaxcr.fewshot.messages import Summary, calibration_message
from metaxcr.fewshot.model_selection import RULE, SYSTEMS, Gain

SCHEMA = 2


def adaptation_summary(adapted: AdaptedModel, settings: Settings) -> Summary:
    """Summarise an adaptation.

    Accuracies are shares of the different examples, intervals are 95 %, and every answer is to an example
    that the system was not adapted to.
    """
    examples, selection, systems = adapted.examples, adapted.selection, adapted.distinct
    calibration, n = systems[selection.kept].calibration, len(distinct_rows(adapted.group))
    expected = forecast(adapted.curve, n, settings.more)
    return {
        "schema": SCHEMA,
        "language": examples.language,
        "file": str(examples.file) if examples.file else None,
        "examples": len(examples.examples),
        "different": n,
        "choices": sorted({len(e.choices) for e in examples.examples}),
        "repaired": examples.repaired,
        "kept": selection.kept,
        "sentence": selection.sentence,
        "rule": RULE,
        "systems": [{"name": name, **_share(*systems[name].accuracy)} for name in SYSTEMS],
        "differences": {
            "adapted minus unadapted": _gain(selection.gain),
            f"{selection.kept} minus similarity": _gain(selection.over_similarity),
        },
        "curve": [
            {"n": p.n, **_share(p.accuracy.mean, *wilson(p.accuracy.mean * n, n))}
            for p in curve_points(adapted.curve)
        ],
        "forecast": {"more": expected.more, **_interval(expected.gain)} if expected else None,
        "suspects": [_issue(adapted, issue) for issue in data_issues(adapted, calibration.temperature)],
        "inverted": _inverted(adapted),
        "calibration": _calibration(adapted, calibration, settings),
        "settings": asdict(settings),
    }


def data_issues(adapted: AdaptedModel, temperature: float | None) -> list[DataIssue]:
    """Examples to check by hand, the most suspicious first, each once.

    Without a temperature the probabilities are not reliable, so no label is doubted because of them.
    """
    issues = duplicate_issues(adapted.examples.examples, adapted.group)
    if temperature is not None:
        calibrated = [list(row) for row in tempered(adapted.kept.mean, temperature)]
        issues += label_issues(calibrated, adapted.kept.labels)
    worst: dict[int, DataIssue] = {}
    for issue in sorted(issues, key=lambda issue: (-issue.weight, issue.row)):
        worst.setdefault(issue.row, issue)
    return list(worst.values())


def certainty(adapted: AdaptedModel, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability of the kept model's choices at a temperature, and whether they are right.

    Both are of the different examples, held out.
    """
    kept = adapted.distinct[adapted.selection.kept]
    rows = tempered(kept.mean, temperature)
    chosen = np.array([int(row.argmax()) for row in rows])
    return np.array([row.max() for row in rows]), chosen == np.array(kept.labels)


def _calibration(adapted: AdaptedModel, found: Calibration, settings: Settings) -> Summary:
    """Calibration with bins, error and threshold; without a temperature, of the probabilities as computed."""
    before, right = certainty(adapted, 1.0)
    after, threshold = before, Threshold(settings.target_accuracy, None)
    if found.temperature is not None:
        after, _ = certainty(adapted, found.temperature)
        threshold = abstention(after, right, settings.target_accuracy)
    summary = {
        **asdict(found),
        "error_before": round(calibration_error(before, right), 4),
        "error_after": None if found.temperature is None else round(calibration_error(after, right), 4),
        "bins": [{key: _round(value) for key, value in asdict(b).items()} for b in reliability(after, right)],
        "threshold": {key: _round(value) for key, value in asdict(threshold).items()},
    }
    return {**summary, "sentence": calibration_message(summary, len(right))}


def _inverted(adapted: AdaptedModel) -> Summary | None:
    """The first model that saw no label and is right less often than chance, if there is one."""
    counts = [len(adapted.examples.examples[row].choices) for row in distinct_rows(adapted.group)]
    for name in ("unadapted", "similarity"):
        right = int(np.floor(adapted.distinct[name].correct[:, 0].sum()))
        p = inverted_labels_p(right, counts)
        if p is not None:
            return {"system": name, "right": right, "p": p}
    return None


def _issue(adapted: AdaptedModel, issue: DataIssue) -> Summary:
    example, lines = adapted.examples.examples[issue.row], adapted.examples.lines
    return {
        "row": issue.row,
        "line": lines[issue.row] if lines else None,
        "id": example.id,
        "context": example.context,
        "choices": list(example.choices),
        "label": example.label,
        "reason": issue.reason,
    }


def _share(mean: float, low: float, high: float) -> Summary:
    return {"mean": _round(mean), "ci95": [_round(low), _round(high)]}


def _interval(found: Interval | Gain) -> Summary:
    return _share(found.mean, found.low, found.high)


def _gain(found: Gain) -> Summary:
    return {**_interval(found), "p": _round(found.p)}


def _round(value: Any) -> Any:
    return round(float(value), 6) if isinstance(value, float) else value
