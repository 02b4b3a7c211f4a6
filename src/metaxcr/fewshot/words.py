"""What the numbers of an adaptation mean, in plain words."""

from collections.abc import Sequence
from typing import Any

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
        account: From :func:`metaxcr.fewshot.account.account_of`.
    """
    said = [_inverted(account["inverted"], account["examples"])] if account["inverted"] else []
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


def threshold_words(account: Account) -> str:
    """Say from which probability on answers reach the wished accuracy."""
    found = account["calibration"]["threshold"]
    wished = f"{found['wished']:.0%}"
    if found["probability"] is None:
        return (
            f"With these examples no threshold can be vouched for that makes {wished} of the answers right: "
            "bring more of them, or wish for less (--accuracy)."
        )
    return (
        f"To have {wished} of the answers right, withhold those below {found['probability']:.2f} "
        f"(metaxcr predict --abstain {found['probability']:.2f}): {found['answered']:.0%} are answered then, "
        f"{found['right']:.0%} of them right here, at least {found['low']:.0%} with 90 % confidence."
    )


def _inverted(found: Account, n: int) -> str:
    return (
        f"The labels may be inverted or counted from the wrong number: {found['system']}, which has seen "
        f"none of them, is right in only {found['right']} of {n} (p = {found['p']:.2g} by chance). Check how "
        "the label column was read (metaxcr tasks add FILE --name NAME --language CODE --dry-run)."
    )


def _forecast(told: Account) -> str:
    low, high = told["ci95"]
    gain = f"{100 * told['mean']:+.1f} points ({interval(told['ci95'], '+')})"
    if low > 0:
        return f"{told['more']} more examples are likely to buy {gain}."
    if high < 0:
        return f"More examples of this kind seem to harm: {gain} for {told['more']} more."
    return f"Whether {told['more']} more examples would buy anything is not shown: {gain}."
