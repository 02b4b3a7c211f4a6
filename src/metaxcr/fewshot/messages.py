"""Sentences on the results of an adaptation."""

from typing import Any

from metaxcr.fewshot.calibration import CAUTIOUS, UNKNOWN
from metaxcr.reports.tables import interval

Summary = dict[str, Any]  # from metaxcr.fewshot.summary.adaptation_summary


def p_value(value: float) -> str:
    """A p value with the digits that matter."""
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.2g}" if value < 0.1 else f"p = {value:.2f}"


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
