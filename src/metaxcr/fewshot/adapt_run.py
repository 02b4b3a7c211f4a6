"""Adapt to a user's examples, and write the model folder with its card and its report: tables and figures."""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from metaxcr.adapters.adapter_files import ADAPTERS
from metaxcr.config.schema import Config
from metaxcr.errors import UserError
from metaxcr.fewshot.adaptation import AdaptedModel, ProgressCallback, Settings, Start, adapt_to
from metaxcr.fewshot.model_selection import SYSTEMS
from metaxcr.fewshot.summary import Summary, adaptation_summary, advice, threshold_message
from metaxcr.fewshot.user_examples import UserExamples
from metaxcr.files import write_atomically
from metaxcr.hardware import choose_dtype, processor
from metaxcr.model.build import save_phi
from metaxcr.model_card import adapted_model_card
from metaxcr.parse import dump_yaml, read_json_object
from metaxcr.records import damaged
from metaxcr.reports import canvas
from metaxcr.reports.canvas import Picture, picture
from metaxcr.reports.pages import render
from metaxcr.reports.tables import ReportTable, interval, language, percent
from metaxcr.saved_model import ADAPTATION, CARD, META, NEAREST, SETTINGS
from metaxcr.work_dir import new_folder

REPORT = "report.html"
_ROW, _LEFT, _PANEL = 34, 92, 220  # px
_COLOURS = dict(zip(SYSTEMS, (canvas.LIGHT[key] for key in ("none", "m1", "m3")), strict=True))
_MARKERS = dict(zip(SYSTEMS, "Dos", strict=True))
_DASHED: dict[str, Any] = {"color": canvas.SOFT, "linewidth": 1, "linestyle": (0, (4, 3))}


def adapt_to_examples(
    examples: UserExamples,
    name: str,
    start: Start,
    origin: Path,
    out: Path,
    settings: Settings | None,
    *,
    force: bool,
    progress: ProgressCallback,
    command: str,
) -> Summary:
    """Adapt, write the folder ``out``, and return the summary that is in its adaptation.json.

    ``origin`` is the folder that the start was loaded from; ``command`` is recorded.
    """
    settings = settings or Settings()
    check_output_folder(out, force=force)
    torch.use_deterministic_algorithms(True)
    precision = choose_dtype(start.config.encoder.dtype, start.model.device)
    begun = time.perf_counter()
    adapted = adapt_to(examples, start, settings, progress)
    summary = adaptation_summary(adapted, settings) | {
        "command": command,
        "environment": {
            "metaxcr": version("metaxcr"),
            "torch": torch.__version__,
            "cpu": processor(),
            "cores": os.cpu_count(),
            "device": start.model.device.type,
            "dtype": precision.name,
            "dtype_because": precision.why,
            "seconds": round(time.perf_counter() - begun, 1),
        },
    }
    write_adapted_model(out, name, adapted, summary, start, origin)
    return summary


def check_output_folder(out: Path, *, force: bool) -> None:
    """Refuse an existing folder, unless ``force`` is set and ``metaxcr adapt`` wrote it."""
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise UserError("the folder exists", str(out), "choose another --out, or replace it with --force")
    if not (out / ADAPTATION).is_file():
        what = f"'metaxcr adapt' did not write this folder: it has no {ADAPTATION}"
        raise UserError(what, str(out), "choose another")


def write_adapted_model(
    out: Path, name: str, adapted: AdaptedModel, summary: Summary, start: Start, origin: Path
) -> None:
    """Write the model with report and card; the folder appears complete or not at all.

    ``name`` becomes the name of the target task. If the report fails it is left out: ``metaxcr report`` makes
    it again.
    """
    language = adapted.examples.language
    config = adapted_config(start.config, name, language)
    with new_folder(out) as temporary:
        shutil.copytree(origin / ADAPTERS / META, temporary / ADAPTERS / META)
        for file in NEAREST:
            if (origin / file).is_file():
                shutil.copyfile(origin / file, temporary / file)
        if adapted.selection.kept == "adapted":
            title = f"target.{name}.{language}"
            save_phi(temporary / ADAPTERS / title, title, adapted.phi, config, start.model.adapted.encoder)
        texts = {
            SETTINGS: dump_yaml(config.model_dump(mode="json")),
            ADAPTATION: json.dumps(summary, ensure_ascii=False, indent=1) + "\n",
            CARD: adapted_model_card(summary, start.config, threshold_message(summary)),
        }
        with suppress(Exception):  # the model is usable without its report; the command says why it failed
            texts[REPORT] = adaptation_report(summary)
        for file, text in texts.items():
            (temporary / file).write_text(text, encoding="utf-8")


def write_adapted_report(folder: Path) -> Path:
    """Write the report of an adapted model again, and return its path."""
    path = folder / ADAPTATION
    summary = read_json_object(path, "adapt again")
    with damaged("the record of the adaptation", path, "adapt again"):
        text = adaptation_report(summary)
    write_atomically(folder / REPORT, text)
    return folder / REPORT


def adapted_config(config: Config, name: str, language: str) -> Config:
    """The configuration of the start, with the user's examples as the target."""
    target = config.target.model_copy(update={"task": name, "languages": [language], "shots_file": None})
    return config.model_copy(update={"target": target})


def adaptation_report(summary: Summary) -> str:
    """Return the page as one self-contained HTML document."""

    def drawn(key: str, draw: Callable[[Summary, int], Figure], caption: str) -> Picture | None:
        return picture(key, caption, caption, partial(draw, summary))

    context: dict[str, object] = {
        "title": f"{summary['examples']} examples in {language(summary['language'])}",
        "summary": summary,
        "advice": advice(summary),
        "systems": drawn("systems", systems_figure, _systems_caption(summary)),
        "numbers": systems_table(summary),
        "learning": drawn("curve", learning_figure, _curve_caption(summary)),
        "reliability": drawn("reliability", reliability_figure, _reliability_caption(summary)),
        "threshold": threshold_message(summary),
        "issues": issues_table(summary),
    }
    return render(context, "adapt.html.j2")


def systems_table(summary: Summary) -> ReportTable:
    """Accuracies and paired differences."""
    rows = [(s["name"], percent(s["mean"]), interval(s["ci95"])) for s in summary["systems"]]
    for name, found in summary["differences"].items():
        rows.append((name, f"{100 * found['mean']:+.1f}", interval(found["ci95"], "+")))
    return ReportTable(("cross-validated", "accuracy, %", "95 % interval"), rows, (1,))


def issues_table(summary: Summary) -> ReportTable | None:
    """The examples to check by hand, or None if there are none."""
    rows = []
    for s in summary["suspects"]:
        choices = " / ".join(f"*{c}" if n == s["label"] else c for n, c in enumerate(s["choices"]))
        rows.append((str(s["id"] if s["line"] is None else s["line"]), s["reason"], s["context"], choices))
    place = "line" if summary["file"] else "example"
    return ReportTable((place, "why", "context", "choices (* the label)"), rows) if rows else None


def systems_figure(summary: Summary, width: int) -> Figure:
    """Draw the accuracy of the three systems as dots with 95 % whiskers."""
    systems = summary["systems"]
    height = _ROW * len(systems)
    fig = canvas.figure(width, height + 64)
    axes = canvas.place(fig, _LEFT, 12, width - _LEFT - 56, height)
    for row, system in enumerate(systems):
        name, mean, ends = system["name"], 100 * system["mean"], [100 * end for end in system["ci95"]]
        axes.hlines(row, *ends, color=_COLOURS[name], linewidth=2)
        axes.plot([mean], [row], color=_COLOURS[name], marker=_MARKERS[name], markersize=8)
        axes.annotate(f"{mean:.1f}", (1.02, row), xycoords=("axes fraction", "data"), va="center")
    canvas.label(axes, "held-out accuracy, %", grid="x")
    axes.locator_params(axis="x", nbins=6)
    axes.set_yticks(range(len(systems)), [system["name"] for system in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(100 * chance(summary), **_DASHED)
    return fig


def learning_figure(summary: Summary, width: int) -> Figure:
    """Draw held-out accuracy over the number of examples, and the forecast as a dotted line."""
    points, forecast = summary["curve"], summary["forecast"]
    fig = canvas.figure(width, _PANEL + 64)
    axes = canvas.place(fig, 48, 14, min(width - 72, 620), _PANEL)
    sizes = [point["n"] for point in points]
    means = [100 * point["mean"] for point in points]
    low, high = ([100 * point["ci95"][end] for point in points] for end in (0, 1))
    colour = _COLOURS["adapted"]
    axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(sizes, means, color=colour, linewidth=2.2, marker="s", markersize=6)
    if forecast is not None:
        x = summary["examples"] + forecast["more"]
        mean, low_end, high_end = (means[-1] + 100 * gain for gain in (forecast["mean"], *forecast["ci95"]))
        axes.plot([sizes[-1], x], [means[-1], mean], color=colour, linewidth=1.6, linestyle=":")
        axes.vlines(x, low_end, high_end, color=colour, linewidth=1.6)
        axes.plot([x], [mean], color=colour, marker="s", markersize=6, markerfacecolor=canvas.PAPER)
    axes.axhline(100 * chance(summary), **_DASHED)
    canvas.label(axes, "examples adapted to", "held-out accuracy, %", "y")
    axes.locator_params(axis="y", nbins=6)
    return fig


def reliability_figure(summary: Summary, width: int) -> Figure:
    """Draw shares of right answers over stated probabilities, with 95 % whiskers."""
    side = min(width - 72, 300)
    fig = canvas.figure(width, side + 70)
    axes = canvas.place(fig, 48, 14, side, side)
    axes.plot([0, 100], [0, 100], **_DASHED)
    for part in summary["calibration"]["bins"]:
        x, ends = 100 * part["stated"], [100 * part["low"], 100 * part["high"]]
        axes.vlines(x, *ends, color=_COLOURS["adapted"], linewidth=1.6)
        axes.plot([x], [100 * part["right"]], color=_COLOURS["adapted"], marker="s", markersize=6)
    axes.set_xlim(100 * chance(summary) - 3, 101)
    axes.set_ylim(-1, 101)
    when = "without" if summary["calibration"]["temperature"] is None else "after"
    canvas.label(axes, f"stated probability, % ({when} calibration)", "right, %", "both")
    return fig


def chance(summary: Summary) -> float:
    """Accuracy of guessing among the smallest number of choices that occurs."""
    return 1 / float(min(summary["choices"]))


def _systems_caption(summary: Summary) -> str:
    settings, repeated = summary["settings"], summary["examples"] - summary["different"]
    text = (
        f"Every example was answered by models that had not seen it: {settings['folds']} folds, "
        f"{settings['repeats']} times. Whiskers: 95 % intervals. Dashed: guessing."
    )
    if repeated:
        text += f" Of {summary['examples']} examples {repeated} repeat another one and do not count."
    return text


def _curve_caption(summary: Summary) -> str:
    forecast = summary["forecast"]
    text = "Held-out accuracy by number of examples; 0: the unadapted model. Band: 95 % interval."
    if forecast is None:
        return text
    gain = f"{100 * forecast['mean']:+.1f} points ({interval(forecast['ci95'], '+')})"
    return f"{text} Open mark: {forecast['more']} more examples, {gain} if the curve continues."


def _reliability_caption(summary: Summary) -> str:
    found = summary["calibration"]
    error = f"Expected calibration error: {100 * found['error_before']:.1f} points as computed"
    if found["temperature"] is None:
        return (
            f"Answers in groups of about equal certainty, as the model computes it. {error}; no temperature "
            "was fitted, because these probabilities are not reliable."
        )
    return (
        f"Answers in groups of about equal certainty. {error}, {100 * found['error_after']:.1f} at the "
        f"temperature {found['temperature']:.2f}, which was chosen on these answers."
    )
