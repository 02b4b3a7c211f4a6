"""Adapt to a user's examples and write the result as a model folder with report and model card."""

import json
import os
import shutil
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch

from metaxcr.adapters.adapter_files import ADAPTERS
from metaxcr.config.schema import Config
from metaxcr.errors import UserError
from metaxcr.fewshot.adapt_report import adaptation_report
from metaxcr.fewshot.adaptation import AdaptedModel, ProgressCallback, Settings, Start, adapt_to
from metaxcr.fewshot.messages import Summary, threshold_message
from metaxcr.fewshot.summary import adaptation_summary
from metaxcr.fewshot.user_examples import UserExamples
from metaxcr.files import write_atomically
from metaxcr.hardware import choose_dtype, processor
from metaxcr.model.build import save_phi
from metaxcr.model_card import adapted_model_card
from metaxcr.parse import dump_yaml, read_json_object
from metaxcr.records import damaged
from metaxcr.saved_model import ADAPTATION, CARD, META, NEAREST, SETTINGS
from metaxcr.work_dir import new_folder

REPORT = "report.html"


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
        raise UserError(
            f"'metaxcr adapt' did not write this folder: it has no {ADAPTATION}", str(out), "choose another"
        )


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
