"""From examples to a model folder: the thin shell around :mod:`metaxcr.fewshot.adaptation`.

The folder of a model that was adapted to own examples: loadable like any other, with its account.
"""

import json
import os
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from metaxcr.adapters.adapter_files import ADAPTERS
from metaxcr.config.schema import Config
from metaxcr.errors import UserError
from metaxcr.fewshot.adapt_report import report
from metaxcr.fewshot.adaptation import AdaptedModel, Report, Settings, Start, adapt_to
from metaxcr.fewshot.messages import threshold_words
from metaxcr.fewshot.summary import adaptation_summary
from metaxcr.fewshot.user_examples import UserExamples, examples_from_mappings, read_user_examples
from metaxcr.files import write_atomically
from metaxcr.hardware import choose_dtype, processor
from metaxcr.model.build import save_phi
from metaxcr.model_card import adapted_model_card
from metaxcr.parse import dump_yaml, read_json_object
from metaxcr.records import damaged
from metaxcr.saved_model import ACCOUNT, CARD, META, NEAREST, SETTINGS
from metaxcr.work_dir import new_folder


def as_own(
    examples: UserExamples | Sequence[Mapping[str, Any]] | str | Path, language: str | None
) -> UserExamples:
    """Take examples in any of the shapes that :meth:`metaxcr.MetaXCR.adapt` takes.

    Raises:
        UserError: They cannot be used, or their language is not said.
    """
    if isinstance(examples, UserExamples):
        return examples
    if language is None:
        raise UserError("the language of the examples is not known", None, 'say for example language="sw"')
    if isinstance(examples, str | Path):
        from metaxcr.errors import MetaXCRWarning

        own = read_user_examples(Path(examples), language)
        for line in own.notes:
            warnings.warn(line, MetaXCRWarning, stacklevel=3)
        return own
    return examples_from_mappings(examples, language)


def adapt_to_examples(
    own: UserExamples,
    name: str,
    start: Start,
    origin: Path,
    out: Path,
    settings: Settings | None,
    *,
    force: bool,
    progress: Report,
    command: str,
) -> dict[str, Any]:
    """Adapt and write the folder.

    Args:
        own: The examples.
        name: What they are called.
        start: What is adapted.
        origin: The folder that the start was loaded from.
        out: The new folder.
        settings: How much of what; None: the defaults.
        force: Replace a folder that is there.
        progress: Called with (what is done, steps done, steps in all).
        command: For the record.

    Returns:
        The account, as in the folder's adaptation.json.
    """
    settings = settings or Settings()
    check_goal(out, force=force)
    torch.use_deterministic_algorithms(True)
    precision = choose_dtype(start.config.encoder.dtype, start.model.device)
    begun = time.perf_counter()
    adapted = adapt_to(own, start, settings, progress)
    account = adaptation_summary(adapted, settings) | {
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
    write_folder(out, name, adapted, account, start, origin)
    return account


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
    out: Path, name: str, adapted: AdaptedModel, account: dict[str, Any], start: Start, origin: Path
) -> None:
    """Write the model with report and card; the folder appears whole or not at all.

    A report that cannot be made is left out: ``metaxcr report`` makes it again.

    Args:
        out: Where; replaced if it is there.
        name: What the examples are called: the name of the target task from now on.
        adapted: From :func:`metaxcr.fewshot.adaptation.adapt_to`.
        account: From :func:`metaxcr.fewshot.summary.adaptation_summary`, with what else is worth keeping.
        start: What was adapted.
        origin: The folder that it was loaded from.

    Raises:
        UserError: The disk is full, or the place cannot be written.
    """
    language = adapted.examples.language
    config = own_config(start.config, name, language)
    with new_folder(out) as temporary:
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
            CARD: adapted_model_card(account, start.config, threshold_words(account)),
        }
        with suppress(Exception):  # the model is safe without its page, and write_adapted_report says why
            texts[REPORT] = report(account)
        for file, text in texts.items():
            (temporary / file).write_text(text, encoding="utf-8")


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
