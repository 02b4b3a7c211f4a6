"""From examples to a model folder: the thin shell around :mod:`metaxcr.fewshot.adapt`."""

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from metaxcr.errors import UserError
from metaxcr.fewshot.account import account_of
from metaxcr.fewshot.adapt import Report, Start, adapt_to
from metaxcr.fewshot.folder import check_goal, write_folder
from metaxcr.fewshot.own import Own, own_file, own_mappings
from metaxcr.fewshot.settings import Settings
from metaxcr.hardware import choose_dtype, processor


def as_own(examples: Own | Sequence[Mapping[str, Any]] | str | Path, language: str | None) -> Own:
    """Take examples in any of the shapes that :meth:`metaxcr.MetaXCR.adapt` takes.

    Raises:
        UserError: They cannot be used, or their language is not said.
    """
    if isinstance(examples, Own):
        return examples
    if language is None:
        raise UserError("the language of the examples is not known", None, 'say for example language="sw"')
    if isinstance(examples, str | Path):
        from metaxcr.api import MetaXCRWarning

        own = own_file(Path(examples), language)
        for line in own.notes:
            warnings.warn(line, MetaXCRWarning, stacklevel=3)
        return own
    return own_mappings(examples, language)


def adapt_own(
    own: Own,
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
    account = account_of(adapted, settings) | {
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
