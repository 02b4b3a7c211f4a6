"""What the numbers of an adaptation mean, in plain words."""

from collections.abc import Sequence
from typing import Any

from metaxcr.fewshot.calibration import CAUTIOUS, UNKNOWN

Account = dict[str, Any]


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f}"


def interval(ends: Sequence[float], sign: str = "") -> str:
    """The ends of an interval in percent or points."""
    return " to ".join(f"{100 * end:{sign}.1f}" for end in ends)


def advice(account: Account) -> list[str]:
    """Say what to do next, the most urgent first.

    Args:
        account: From :func:`metaxcr.fewshot.summary.adaptation_summary`.
    """
    said = [_inverted_words(account["inverted"], account["different"])] if account["inverted"] else []
    doubtful = len(account["suspects"])
    if doubtful:
        said.append(
            f"Look again at {doubtful} example{'s' * (doubtful > 1)} that the report lists: duplicates, "
            "contradictions or labels that nothing speaks for."
        )
    told = account["forecast"]
    if told is not None:
        said.append(_forecast(told))
    return said


def calibration_words(found: Account, n: int) -> str:
    """Say what is known of the probabilities.

    Args:
        found: ``calibration`` of the account.
        n: Number of different examples.
    """
    if found["state"] == UNKNOWN:
        return (
            f"Nothing can be told from the probabilities: {n} held-out examples do not show that they fit "
            f"the labels better than guessing does (likelihood-ratio test, {p_value(found['p'])}). So they "
            "are not calibrated, and there is no threshold to withhold answers by: 'rank' and 'predict' give "
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


def threshold_words(account: Account) -> str:
    """Say what the probabilities mean, and from which one on answers reach the wished accuracy."""
    calibration = account["calibration"]
    found, known = calibration["threshold"], calibration["sentence"]
    wished = f"{found['wished']:.0%}"
    if calibration["temperature"] is None:
        return str(known)
    if found["probability"] is None:
        return (
            f"{known} There are too few examples for a reliable threshold at which {wished} of answers are "
            "right: bring more, or lower --accuracy."
        )
    limit = f"{found['probability']:g}"  # all of its digits: rounded, it would let others through
    return (
        f"{known} To have {wished} of the answers right, withhold those below {limit} "
        f"(metaxcr predict --abstain {limit}): {found['answered']:.0%} are answered then, "
        f"{found['right']:.0%} of them right here, at least {found['low']:.0%} with 90 % confidence."
    )


def p_value(value: float) -> str:
    """A p value with the digits that matter."""
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.2g}" if value < 0.1 else f"p = {value:.2f}"


def _inverted_words(found: Account, n: int) -> str:
    return (
        f"The labels may be inverted or counted from the wrong number: {found['system']}, which has seen "
        f"none of them, is right in only {found['right']} of {n} (by chance with {p_value(found['p'])}). "
        "Check how the label column was read (metaxcr tasks add FILE --name NAME --language CODE --dry-run)."
    )


def _forecast(told: Account) -> str:
    low, high = told["ci95"]
    gain = f"{100 * told['mean']:+.1f} points ({interval(told['ci95'], '+')})"
    if low > 0:
        return f"If the learning curve goes on as it did, {told['more']} more examples buy {gain}."
    if high < 0:
        return f"If the learning curve goes on as it did, {told['more']} more examples harm: {gain}."
    return f"Whether {told['more']} more examples would buy anything is not shown: {gain}."
