"""The encoder of a run: the same commit and the same weights from its first step to its last."""

from collections.abc import Callable
from pathlib import Path

from metaxcr.config import Encoder
from metaxcr.encoders import FrozenEncoder, load_encoder
from metaxcr.errors import UserError
from metaxcr.experiments.folder import RunFolder
from metaxcr.run_files import read_environment

RECORD, KEY = "environment.json", "encoder"


def load_pinned(
    settings: Encoder, folder: RunFolder, load: Callable[..., FrozenEncoder] = load_encoder
) -> FrozenEncoder:
    """Load a run's encoder, at first as the settings say, and when resumed at the commit that was recorded.

    Args:
        settings: Of the encoder; a hub name without a revision stands for the newest commit.
        folder: The run folder, whose environment.json records the commit and a checksum.
        load: Loads an encoder by name, prefix and revision.

    Raises:
        UserError: The encoder cannot be loaded, or is not the one that the run was begun with.
    """
    environment = read_environment(folder.path / RECORD)
    before = environment.get(KEY, {})
    revision = before.get("revision") or settings.revision
    encoder = load(settings.name, prefix=settings.prefix, revision=revision)
    record = {"name": encoder.name, "revision": encoder.revision, "fingerprint": encoder.fingerprint}
    if before and before != record:
        raise UserError(
            f"encoder {encoder.name!r} has changed since the run was begun",
            str(folder.path / RECORD),
            "bring the former one back, or begin anew with another --out",
        )
    if not before:
        folder.write_json(RECORD, {**environment, KEY: record})
    return encoder


def recorded_revision(folder: Path) -> str | None:
    """The commit on the hub of the encoder that a run was carried out with; None where none is recorded.

    Raises:
        UserError: The record is damaged: it is not known which encoder the model belongs to.
    """
    if not (folder / RECORD).is_file():
        return None
    revision = read_environment(folder / RECORD).get(KEY, {}).get("revision")
    return None if revision is None else str(revision)
