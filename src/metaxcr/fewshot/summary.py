"""The results of an adaptation: as plain data for adaptation.json, and in sentences."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaxcr.evaluation.statistics import Interval
from metaxcr.fewshot.adaptation import AdaptedModel, Settings, distinct_rows
from metaxcr.fewshot.calibration import (
    CAUTIOUS,
    UNKNOWN,
    Calibration,
    ReliabilityBin,
    Threshold,
    abstention,
    calibration_error,
    reliability,
    tempered,
    wilson,
)
from metaxcr.fewshot.model_selection import RULE, SYSTEMS, Gain, forecast, p_value
from metaxcr.fewshot.user_examples import DataIssue, duplicate_issues, inverted_labels_p, label_issues
from metaxcr.reports.tables import interval

SCHEMA = 2

Summary = dict[str, Any]


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
            {"n": size, **_share(mean, *wilson(mean * n, n))}
            for size, mean in sorted((size, float(scores.mean())) for size, scores in adapted.curve.items())
        ],
        "forecast": {"more": settings.more, **_interval(expected)} if expected else None,
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
        "bins": [_rounded(b) for b in reliability(after, right)],
        "threshold": _rounded(threshold),
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


def _rounded(found: ReliabilityBin | Threshold) -> Summary:
    return {key: _round(value) for key, value in asdict(found).items()}


def _round(value: Any) -> Any:
    return round(float(value), 6) if isinstance(value, float) else value


def advice(summary: Summary) -> list[str]:
    """What to do next, the most urgent first."""
    lines = []
    if summary["inverted"]:
        lines.append(_inverted_message(summary["inverted"], summary["different"]))
    issues = len(summary["suspects"])
    if issues:
        lines.append(
            f"Check {issues} example{'s' * (issues > 1)} that the report lists: duplicates, contradictions "
            "or labels that the model contradicts."
        )
    if summary["forecast"] is not None:
        lines.append(_forecast_message(summary["forecast"]))
    return lines


def calibration_message(found: Summary, n: int) -> str:
    """What the calibration on ``n`` different held-out examples says about the probabilities."""
    if found["state"] == UNKNOWN:
        return (
            f"The probabilities are not reliable: {n} held-out examples do not show that they fit the "
            f"labels better than guessing does (likelihood-ratio test, {p_value(found['p'])}). So they are "
            "not calibrated, and there is no threshold for withholding answers: 'rank' and 'predict' return "
            "them as the model computes them, and --abstain is refused."
        )
    if found["state"] == CAUTIOUS:
        return (
            f"Probabilities are given at temperature {found['temperature']:.2f}, the most cautious one that "
            f"{n} held-out examples allow: they set no lower limit, which would be certainty."
        )
    return (
        f"Probabilities are calibrated on {n} held-out examples: temperature {found['temperature']:.2f} "
        f"(95 % interval {found['low']:.2f} to {found['high']:.2f})."
    )


def threshold_message(summary: Summary) -> str:
    """What the probabilities mean, and from which one answers reach the target accuracy."""
    calibration = summary["calibration"]
    found, sentence = calibration["threshold"], str(calibration["sentence"])
    # Folders written before the redesign call it "wished".
    target = f"{found.get('target_accuracy', found.get('wished')):.0%}"
    if calibration["temperature"] is None:
        return sentence
    if found["probability"] is None:
        return (
            f"{sentence} There are too few examples for a reliable threshold at which {target} of answers "
            "are right: bring more, or lower --accuracy."
        )
    limit = f"{found['probability']:g}"  # all of its digits: a rounded one would let other answers through
    return (
        f"{sentence} For {target} of the answers to be right, withhold those below {limit} "
        f"(metaxcr predict --abstain {limit}): {found['answered']:.0%} are answered then, "
        f"{found['right']:.0%} of them right here, at least {found['low']:.0%} with 90 % confidence."
    )


def _inverted_message(found: Summary, n: int) -> str:
    return (
        f"The labels may be inverted or counted from the wrong number: {found['system']}, which has not seen "
        f"them, is right in only {found['right']} of {n} (by chance with {p_value(found['p'])}). "
        "Check how the label column was read (metaxcr tasks add FILE --name NAME --language CODE --dry-run)."
    )


def _forecast_message(forecast: Summary) -> str:
    more, (low, high) = forecast["more"], forecast["ci95"]
    gain = f"{100 * forecast['mean']:+.1f} points ({interval((low, high), '+')})"
    if low > 0:
        return f"If the learning curve continues, {more} more examples gain {gain}."
    if high < 0:
        return f"If the learning curve continues, {more} more examples harm: {gain}."
    return f"Whether {more} more examples would help is not shown: {gain}."
