"""The first thing a reader sees: averages beside the untrained baseline, and what may be said about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from metaxcr.reporting import canvas
from metaxcr.reporting.accuracies import Average, Difference, Place, baseline_difference, main_place
from metaxcr.reporting.figures import looks
from metaxcr.reporting.words import percent, points

_WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class Card:
    """One setting's average with its verdict."""

    title: str
    mean: str
    interval: str
    verdict: str
    sentence: str
    colour: str


@dataclass(frozen=True, slots=True)
class Headline:
    """What may be said about the target task in a few lines.

    Args:
        place: The target task, split and data.
        languages: How many languages the averages are over.
        sentence: The outcome in plain English.
        cards: One per setting, the baseline first.
    """

    place: Place
    languages: int
    sentence: str
    cards: list[Card]


def headline(means: Sequence[Average], diffs: Sequence[Difference], target: str) -> Headline | None:
    """Put the outcome on the target task into words.

    "Better" and "worse" are said only where the interval of the paired difference excludes zero.

    Args:
        means: All averages of the run.
        diffs: All paired differences of the run.
        target: The target task.

    Returns:
        The headline, or None where the target has no average.
    """
    place = main_place(means, target)
    if place is None:
        return None
    shown = [average for average in means if average.place == place]
    styles = looks([average.setting for average in shown])
    cards, verdicts = [], []
    for average in shown:
        found = baseline_difference(average, diffs)
        verdict = found.verdict if found else "not compared"
        if average.setting.regime == "none":
            verdict = "baseline"
        else:
            verdicts.append((average.setting.title, verdict))
        cards.append(
            Card(
                title=average.setting.title,
                mean=percent(average.value.mean),
                interval=interval(average.value.low, average.value.high),
                verdict=verdict,
                sentence=_sentence(verdict, found),
                colour=canvas.css(styles[average.setting][0]),
            )
        )
    languages = max(len(average.langs) for average in shown)
    return Headline(place, languages, _summary(verdicts), cards)


def interval(low: float | None, high: float | None) -> str:
    """Return an accuracy's interval in per cent."""
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def _sentence(verdict: str, found: Difference | None) -> str:
    if found is None:
        return "no training at all" if verdict == "baseline" else "the paired difference was not computed"
    low, high = found.value.low, found.value.high
    if low is None or high is None:
        return f"{points(found.value.mean)} points, without an interval"
    zero = "includes" if verdict == "no difference shown" else "excludes"
    return f"{points(found.value.mean)} points; interval {points(low)} to {points(high)} {zero} zero"


def _summary(verdicts: Sequence[tuple[str, str]]) -> str:
    """Return the sentence over all trained settings."""
    if not verdicts:
        return "Only the untrained baseline was evaluated."
    groups = {kind: [title for title, verdict in verdicts if verdict == kind] for _, kind in verdicts}
    phrases = {
        "better": "better than the untrained baseline",
        "worse": "worse than the untrained baseline",
        "no difference shown": "not shown to differ from the untrained baseline: the interval of the paired "
        "difference includes zero",
        "not compared": "without a paired comparison with the baseline",
    }
    parts = []
    for kind, phrase in phrases.items():
        titles = groups.get(kind, [])
        if titles:
            verb = "is" if len(titles) == 1 else "are"
            names = f" ({'; '.join(titles)})" if len(titles) < len(verdicts) else ""
            parts.append(f"{_count(len(titles), len(verdicts))}{names} {verb} {phrase}.")
    return " ".join(parts)


def _count(part: int, whole: int) -> str:
    if part == whole == 1:
        return "The trained setting"
    if part == whole:
        return "Both trained settings" if whole == 2 else f"All {_word(whole)} trained settings"
    return f"{_word(part).capitalize()} of the {_word(whole)} trained settings"


def _word(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else str(number)
