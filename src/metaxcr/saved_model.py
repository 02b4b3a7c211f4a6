"""A trained model as a folder: find it, read its settings, write it with its card."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaxcr.adapters.adapter_files import ADAPTERS, language_folder
from metaxcr.config.io import load_config
from metaxcr.config.schema import Config
from metaxcr.errors import UserError
from metaxcr.hub import download
from metaxcr.parse import dump_yaml, file_error, read_json_object
from metaxcr.records import read_environment
from metaxcr.runs.run_dir import recorded_revision

SETTINGS, RESULTS, CARD = "config.yaml", "results.json", "README.md"


ENVIRONMENT = "environment.json"


ORIGIN = ("command", "commit", "metaxcr", "torch", "transformers")  # what a saved model tells of it


ACCOUNT = "adaptation.json"  # what adapting to own examples gave, see metaxcr.fewshot


NEAREST = (
    "nearest.safetensors",
    "nearest.json",
)  # index of source examples, see metaxcr.fewshot.nearest_examples


META = "meta"


EMBEDDED_MODEL = Path(__file__).parent / "embedded_model"  # comes with the package


def find_model(path_or_hub_id: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a trained model, after fetching it from the hub if need be.

    Args:
        path_or_hub_id: A folder, or ``owner/name`` on the hub.
        revision: Commit, tag or branch on the hub.

    Raises:
        UserError: There is no such folder or model, or it is not trained yet.
    """
    folder = Path(path_or_hub_id)
    if not os.path.isdir(folder):
        wanted = [SETTINGS, RESULTS, ENVIRONMENT, ACCOUNT, *NEAREST, CARD, f"{ADAPTERS}/*"]
        folder = download(str(path_or_hub_id), revision, wanted)
    if not (folder / SETTINGS).is_file():
        raise UserError(
            f"not a run folder: there is no {SETTINGS}", str(folder), "make one with 'metaxcr run'"
        )
    if not (folder / ADAPTERS / META).is_dir():
        fix = "train it with 'metaxcr run' or 'metaxcr train'"
        raise UserError("nothing is trained yet: there is no adapters/meta", str(folder), fix)
    return folder


def read_settings(folder: Path) -> Config:
    """Read the settings of a model.

    Language adapters that were saved with it are found beside it. An encoder from the hub stays at the commit
    that the run was carried out with.
    """
    config = load_config(str(folder / SETTINGS))
    if config.encoder.revision is None:
        pinned = config.encoder.model_copy(update={"revision": recorded_revision(folder)})
        config = config.model_copy(update={"encoder": pinned})
    languages = {}
    for language, path in config.adapters.language.items():
        own = language_folder(folder, language)
        languages[language] = str(own) if os.path.isdir(own) else path
    return config.model_copy(update={"adapters": config.adapters.model_copy(update={"language": languages})})


def read_account(folder: Path) -> dict[str, Any] | None:
    """Read what adapting to own examples gave; None for a model of another origin.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / ACCOUNT
    if not path.is_file():
        return None
    try:
        account = read_json_object(path, "adapt again")
        temperature = account["calibration"]["temperature"]  # None: nothing can be told
        if isinstance(account["language"], str) and (temperature is None or float(temperature) > 0):
            return dict(account)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"the record of the adaptation is damaged: {error}", str(path)) from error
    raise UserError("the record of the adaptation is damaged", str(path), "adapt again")


def write_model(config: Config, source: Path, goal: Path, languages: Sequence[str]) -> None:
    """Write a model with its card into a folder of its own.

    Args:
        config: Its settings, from :func:`read_settings`.
        source: Its folder.
        goal: The new folder; created if missing. The same as ``source``: only the card is written.
        languages: ISO 639-1 codes that it knows, for the card.

    Raises:
        UserError: A file of the model is missing or damaged, or the goal cannot be written.
    """
    try:
        _write_model(config, source, goal, languages)
    except shutil.Error as error:  # of a folder's files: what, where to, why
        (origin, _, reason), *_ = error.args[0]
        raise UserError(f"cannot copy the file: {reason}", str(origin), "restore the file") from error
    except OSError as error:
        raise file_error(error, error.filename or source) from error


def _write_model(config: Config, source: Path, goal: Path, languages: Sequence[str]) -> None:
    from metaxcr.model_card import model_card

    goal.mkdir(parents=True, exist_ok=True)
    if os.path.realpath(goal) != os.path.realpath(source):
        for adapter in sorted((source / ADAPTERS).iterdir()):
            if adapter.is_dir():
                shutil.copytree(adapter, goal / ADAPTERS / adapter.name, dirs_exist_ok=True)
        settings = config.model_dump(mode="json")
        for language, path in config.adapters.language.items():
            own = language_folder(goal, language)
            if not own.exists():
                shutil.copytree(path, own)
            settings["adapters"]["language"][language] = str(own.relative_to(goal))
        text = dump_yaml(settings)
        (goal / SETTINGS).write_text(text, encoding="utf-8")
        if (source / ENVIRONMENT).is_file():
            found = read_environment(source / ENVIRONMENT)
            origin = {key: found[key] for key in ORIGIN if key in found}
            (goal / ENVIRONMENT).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
        for file in (RESULTS, ACCOUNT, *NEAREST):
            if (source / file).is_file():
                shutil.copyfile(source / file, goal / file)
        if (source / ACCOUNT).is_file():  # whose card tells of the adaptation
            shutil.copyfile(source / CARD, goal / CARD)
    if (goal / ACCOUNT).is_file():
        return
    (goal / CARD).write_text(model_card(config, goal, languages), encoding="utf-8")
