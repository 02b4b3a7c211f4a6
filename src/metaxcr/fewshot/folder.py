"""The folder of a model that was adapted to own examples: loadable like any other, with its account."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from metaxcr.config import Config
from metaxcr.errors import UserError
from metaxcr.fewshot.adapt import Adapted, Start
from metaxcr.fewshot.card import card
from metaxcr.fewshot.report import report
from metaxcr.files import disk_error, remove_leftovers, temporary_path, write_atomically
from metaxcr.hub import ACCOUNT, ADAPTERS, CARD, META, NEAREST, SETTINGS
from metaxcr.parse import dump_yaml, read_json_object
from metaxcr.run_files import damaged
from metaxcr.scoring.build import save_phi

REPORT = "report.html"


def check_goal(out: Path, *, force: bool) -> None:
    """Refuse a folder that is there, before anything is computed.

    Raises:
        UserError: It exists, and ``force`` is not set; or it is something else than a folder of this kind.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise UserError("the folder exists", str(out), "choose another --out, or replace it with --force")
    if not (out / ACCOUNT).is_file():
        raise UserError(
            f"no folder that 'metaxcr adapt' wrote: it has no {ACCOUNT}", str(out), "choose another"
        )


def write_folder(
    out: Path, name: str, adapted: Adapted, account: dict[str, Any], start: Start, origin: Path
) -> None:
    """Write the model with report and card; the folder appears whole or not at all.

    A report that cannot be made is left out: ``metaxcr report`` makes it again.

    Args:
        out: Where; replaced if it is there.
        name: What the examples are called: the name of the target task from now on.
        adapted: From :func:`metaxcr.fewshot.adapt.adapt_to`.
        account: From :func:`metaxcr.fewshot.account.account_of`, with what else is worth keeping.
        start: What was adapted.
        origin: The folder that it was loaded from.

    Raises:
        UserError: The disk is full, or the place cannot be written.
    """
    remove_leftovers(out.parent, out.name)
    temporary = temporary_path(out)
    language = adapted.examples.language
    config = own_config(start.config, name, language)
    try:
        shutil.copytree(origin / ADAPTERS / META, temporary / ADAPTERS / META)
        for file in NEAREST:
            if (origin / file).is_file():
                shutil.copyfile(origin / file, temporary / file)
        if adapted.verdict.kept == "adapted":
            title = f"target.{name}.{language}"
            save_phi(temporary / ADAPTERS / title, title, adapted.phi, config, start.model.adapted.encoder)
        settings = dump_yaml(config.model_dump(mode="json"))
        texts = {
            SETTINGS: settings,
            ACCOUNT: json.dumps(account, ensure_ascii=False, indent=1) + "\n",
            CARD: card(account, start.config),
        }
        with suppress(Exception):  # the model is safe without its page, and write_adapted_report says why
            texts[REPORT] = report(account)
        for file, text in texts.items():
            (temporary / file).write_text(text, encoding="utf-8")
        _swap(temporary, out)
    except OSError as error:
        raise disk_error(error, out) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_adapted_report(folder: Path) -> Path:
    """Write the page of an adapted model again.

    Args:
        folder: That :func:`write_folder` wrote.

    Returns:
        The path of the page.

    Raises:
        UserError: The folder has no account of an adaptation, or a damaged one.
    """
    path = folder / ACCOUNT
    account = read_json_object(path, "adapt again")
    with damaged("the record of the adaptation", path, "adapt again"):
        text = report(account)
    write_atomically(folder / REPORT, text)
    return folder / REPORT


def own_config(config: Config, name: str, language: str) -> Config:
    """The start's settings, with the user's examples as the target."""
    target = config.target.model_copy(update={"task": name, "languages": [language], "shots_file": None})
    return config.model_copy(update={"target": target})


def _swap(temporary: Path, out: Path) -> None:
    """Put a finished folder in its place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    old = temporary.with_suffix(".old")
    with suppress(FileNotFoundError):
        os.rename(out, old)
    os.rename(temporary, out)
    shutil.rmtree(old, ignore_errors=True)
