"""A trained model as a folder: find it, read its settings, write it with its card."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaxcr.adapters.adapter_files import ADAPTERS, language_folder
from metaxcr.config.io import load_config
from metaxcr.config.schema import Config, accept_old_names
from metaxcr.errors import UserError
from metaxcr.hub import download
from metaxcr.model_card import model_card
from metaxcr.parse import dump_yaml, file_error, read_json_object
from metaxcr.records import read_environment
from metaxcr.runs.run_dir import recorded_revision

SETTINGS, RESULTS, CARD, ENVIRONMENT = "config.yaml", "results.json", "README.md", "environment.json"
ORIGIN = ("command", "commit", "metaxcr", "torch", "transformers")  # what a saved model keeps of ENVIRONMENT
ADAPTATION = "adaptation.json"  # results of adapting to a user's examples, see metaxcr.fewshot
NEAREST = ("nearest.safetensors", "nearest.json")  # index of source examples, see metaxcr.fewshot
META = "meta"
EMBEDDED_MODEL = Path(__file__).parent / "embedded_model"  # comes with the package


def find_model(path_or_hub_id: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a trained model, after fetching it from the hub if necessary."""
    folder = Path(path_or_hub_id)
    if not os.path.isdir(folder):
        files = [SETTINGS, RESULTS, ENVIRONMENT, ADAPTATION, *NEAREST, CARD, f"{ADAPTERS}/*"]
        folder = download(str(path_or_hub_id), revision, files)
    if not (folder / SETTINGS).is_file():
        what = f"not a run folder: there is no {SETTINGS}"
        raise UserError(what, str(folder), "make one with 'metaxcr run'")
    if not (folder / ADAPTERS / META).is_dir():
        fix = "train it with 'metaxcr run' or 'metaxcr train'"
        raise UserError("nothing is trained yet: there is no adapters/meta", str(folder), fix)
    return folder


def read_settings(folder: Path) -> Config:
    """Read the settings of a model.

    Language adapters that were saved with it are found in the folder. An encoder from the hub stays at the
    commit that the run used.
    """
    with accept_old_names():
        config = load_config(str(folder / SETTINGS))
    if config.encoder.revision is None:
        pinned = config.encoder.model_copy(update={"revision": recorded_revision(folder)})
        config = config.model_copy(update={"encoder": pinned})
    languages = {}
    for language, path in config.adapters.language.items():
        saved = language_folder(folder, language)
        languages[language] = str(saved) if os.path.isdir(saved) else path
    return config.model_copy(update={"adapters": config.adapters.model_copy(update={"language": languages})})


def read_adaptation(folder: Path) -> dict[str, Any] | None:
    """Read the summary of an adaptation; None for a model that was not adapted."""
    path = folder / ADAPTATION
    if not path.is_file():
        return None
    try:
        summary = read_json_object(path, "adapt again")
        temperature = summary["calibration"]["temperature"]  # None: the probabilities are not reliable
        if isinstance(summary["language"], str) and (temperature is None or float(temperature) > 0):
            return summary
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"the record of the adaptation is damaged: {error}", str(path)) from error
    raise UserError("the record of the adaptation is damaged", str(path), "adapt again")


def write_model(config: Config, source: Path, goal: Path, languages: Sequence[str]) -> None:
    """Write a model with its card into a new folder, or only the card if the goal is the source.

    ``languages`` are ISO 639-1 codes for the card.
    """
    try:
        goal.mkdir(parents=True, exist_ok=True)
        if os.path.realpath(goal) != os.path.realpath(source):
            _copy_model(config, source, goal)
        if not (goal / ADAPTATION).is_file():  # an adapted model keeps its card
            (goal / CARD).write_text(model_card(config, goal, languages), encoding="utf-8")
    except shutil.Error as error:  # of the files of a folder: (file, destination, reason)
        (file, _, reason), *_ = error.args[0]
        raise UserError(f"cannot copy the file: {reason}", str(file), "restore the file") from error
    except OSError as error:
        raise file_error(error, error.filename or source) from error


def _copy_model(config: Config, source: Path, goal: Path) -> None:
    for adapter in sorted((source / ADAPTERS).iterdir()):
        if adapter.is_dir():
            shutil.copytree(adapter, goal / ADAPTERS / adapter.name, dirs_exist_ok=True)
    settings = config.model_dump(mode="json")
    for language, path in config.adapters.language.items():
        saved = language_folder(goal, language)
        if not saved.exists():
            shutil.copytree(path, saved)
        settings["adapters"]["language"][language] = str(saved.relative_to(goal))
    (goal / SETTINGS).write_text(dump_yaml(settings), encoding="utf-8")
    if (source / ENVIRONMENT).is_file():
        environment = read_environment(source / ENVIRONMENT)
        origin = {key: environment[key] for key in ORIGIN if key in environment}
        (goal / ENVIRONMENT).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
    for file in (RESULTS, ADAPTATION, *NEAREST):
        if (source / file).is_file():
            shutil.copyfile(source / file, goal / file)
    if (source / ADAPTATION).is_file():
        shutil.copyfile(source / CARD, goal / CARD)
