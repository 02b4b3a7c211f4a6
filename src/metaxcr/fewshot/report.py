"""The page that tells what adapting to own examples gave."""

from collections.abc import Callable
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from metaxcr.fewshot import figures
from metaxcr.fewshot.words import advice, interval, percent, threshold_words
from metaxcr.reporting.html import Picture, picture, render
from metaxcr.reporting.tables import Table
from metaxcr.reporting.words import language

Account = dict[str, Any]


def report(account: Account) -> str:
    """Return the page: one HTML document that loads nothing from anywhere.

    Args:
        account: From :func:`metaxcr.fewshot.account.account_of`.
    """
    return render(
        {
            "title": f"{account['examples']} examples in {language(account['language'])}",
            "account": account,
            "advice": advice(account),
            "systems": _draw("systems", account, figures.systems, _systems_caption(account)),
            "numbers": numbers(account),
            "learning": _draw("curve", account, figures.learning, _curve_caption(account)),
            "reliability": _draw("reliability", account, figures.reliability, _reliability_caption(account)),
            "threshold": threshold_words(account),
            "suspects": suspects(account),
        },
        "adapt.html.j2",
    )


def numbers(account: Account) -> Table:
    """Return accuracies and paired differences as a table."""
    rows = [(s["name"], percent(s["mean"]), interval(s["ci95"])) for s in account["systems"]]
    for name, found in account["differences"].items():
        rows.append((name, f"{100 * found['mean']:+.1f}", interval(found["ci95"], "+")))
    return Table(("cross-validated", "accuracy, %", "95 % interval"), rows, (1,))


def suspects(account: Account) -> Table | None:
    """Return the examples that deserve a second look, or None where there are none."""
    rows = [
        (
            str(s["id"] if s["line"] is None else s["line"]),
            s["reason"],
            s["context"],
            " / ".join(f"*{c}" if n == s["label"] else c for n, c in enumerate(s["choices"])),
        )
        for s in account["suspects"]
    ]
    place = "line" if account["file"] else "example"
    return Table((place, "why", "context", "choices (* the label)"), rows) if rows else None


def _draw(key: str, account: Account, draw: Callable[[Account, int], Figure], caption: str) -> Picture:
    found = picture(key, caption, caption, partial(draw, account))
    assert found is not None  # there is always something to draw
    return found


def _systems_caption(account: Account) -> str:
    settings = account["settings"]
    return (
        f"Every example was answered by models that had not seen it: {settings['folds']} folds, "
        f"{settings['repeats']} times. Whiskers: 95 % intervals. Dashed: guessing.{_duplicates(account)}"
    )


def _duplicates(account: Account) -> str:
    more = account["examples"] - account["different"]
    return f" Of {account['examples']} examples {more} repeat another one and do not count." if more else ""


def _curve_caption(account: Account) -> str:
    told = account["forecast"]
    text = (
        "Held-out accuracy after adapting to so many examples; 0: the model as it came. Band: 95 % interval."
    )
    if told is None:
        return text
    gain = f"{100 * told['mean']:+.1f} points ({interval(told['ci95'], '+')})"
    return f"{text} Open mark: {told['more']} more examples, {gain} if the curve goes on as it did."


def _reliability_caption(account: Account) -> str:
    found = account["calibration"]
    error = f"Expected calibration error: {100 * found['error_before']:.1f} points as computed"
    if found["temperature"] is None:
        return (
            f"Answers in groups of about equal certainty, as the model computes it. {error}; nothing was "
            "fitted, because nothing can be told from these probabilities."
        )
    return (
        f"Answers in groups of about equal certainty. {error}, {100 * found['error_after']:.1f} at the "
        f"temperature {found['temperature']:.2f}, which was chosen on these answers."
    )
