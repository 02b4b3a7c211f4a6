"""What was fetched into a data root: ``fetched.json``, so that a later fetch brings the same again."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from metaxcr.data.fetching.downloads import RECORDS
from metaxcr.errors import UserError
from metaxcr.files import disk_error, write_atomically


class Record(BaseModel):
    """One file as it came.

    Attributes:
        sha256: 64 hexadecimal digits.
        bytes: Size.
        source: Address, without anything secret that was sent along.
        member: Path inside the archive, if it came in one.
        commit: On the hub.
        date: UTC, to the second.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int
    source: str
    member: str | None = None
    commit: str | None = None
    date: str


class Records(BaseModel):
    """All files that were fetched into one data root.

    Attributes:
        files: Name under the root -> how it came.
        revisions: ``owner/name@revision`` -> the commit that it meant at the first fetch.
    """

    files: dict[str, Record] = {}
    revisions: dict[str, str] = {}

    @classmethod
    def of(cls, root: Path) -> "Records":
        """Read the records of a data root; without any they are empty.

        Raises:
            UserError: The file is none of ours.
        """
        path = root / RECORDS
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, ValidationError) as error:
            fix = "move it away; the files are then recorded anew"
            raise UserError("the records of earlier fetches cannot be read", str(path), fix) from error

    def save(self, root: Path) -> None:
        """Write the records of a data root.

        Raises:
            UserError: They cannot be written.
        """
        try:
            write_atomically(root / RECORDS, self.model_dump_json(indent=1) + "\n")
        except UserError as error:
            raise UserError(error.what, error.where, "make room; the same command continues") from error


def now() -> str:
    """Return the date of a record."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other fetches out of a data root, also when this process is killed.

    Args:
        root: Created if missing.

    Raises:
        UserError: Another fetch is at work there, or the folder cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / ".fetch.lock").open("w", encoding="utf-8")
    except OSError as error:
        full = disk_error(error, root)
        raise UserError(full.what, full.where, "give another folder with --to") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                "another fetch fills this folder", str(root), "wait for it, or stop it"
            ) from error
        yield
