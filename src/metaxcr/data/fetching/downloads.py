"""What a task declares about where its files come from."""

import re
from pathlib import PurePosixPath
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

LANGUAGE = "{language}"
RECORDS = "fetched.json"  # what the fetches of a data root leave beside the data


class Download(BaseModel):
    """One file (or one a language) that ``metaxcr tasks fetch`` brings.

    Exactly one of ``url`` and ``hub`` says where it comes from. ``{language}`` in ``url``, ``path``,
    ``member`` and ``to`` stands for the language's code in file names, and the download is repeated for every
    language of the task.

    Attributes:
        to: Name under the data root, as a split's files name it.
        url: Address of the file, or of the archive that holds it (http or https).
        member: Path inside the archive (zip, tar, tar.gz).
        hub: A data set on the Hugging Face hub, ``owner/name``.
        revision: Commit on the hub. A branch is resolved at the first fetch and pinned from then on.
        path: Path inside the hub repository; default: the last part of ``to``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str
    url: str | None = None
    member: str | None = None
    hub: str | None = None
    revision: str = "main"
    path: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        """Refuse a download from nowhere, from two places, or from a place that is none."""
        if (self.url is None) == (self.hub is None):
            raise ValueError("a download has either 'url' or 'hub'")
        if self.url is not None and not re.match(r"https?://[^/\s]", self.url):
            raise ValueError(f"'{self.url}' does not begin with https:// or http://")
        if self.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.hub):
            raise ValueError(f"'{self.hub}' is no data set on the hub: it has the form owner/name")
        if self.path is not None and self.hub is None:
            raise ValueError("'path' goes with 'hub'; the path inside an archive is 'member'")
        if self.member is not None and self.hub is not None and self.path is None:
            raise ValueError("'member' on the hub needs 'path', the archive that holds it")
        return self

    @model_validator(mode="after")
    def _inside_the_root(self) -> Self:
        """Refuse a name that leaves the data root or hides what the fetches keep there."""
        parts = self.to.split("/")
        if "\\" in self.to or any(part.startswith(".") or not part for part in parts) or self.to == RECORDS:
            raise ValueError(f"'to' is '{self.to}', but must be a plain path below the data root")
        return self

    @model_validator(mode="after")
    def _known_words(self) -> Self:
        """Refuse a placeholder other than the language, and files of all languages under one name."""
        sources = [text for text in (self.url, self.path or self._last(), self.member) if text is not None]
        for text in (self.to, *sources):
            unknown = set(re.findall(r"\{[^{}]*\}", text)) - {LANGUAGE}
            if unknown:
                raise ValueError(f"template '{text}' may name only {LANGUAGE}, not {unknown.pop()}")
        if self.per_language != any(LANGUAGE in text for text in sources):
            raise ValueError(f"{LANGUAGE} stands in 'to' and in where the file comes from, or in neither")
        return self

    @property
    def per_language(self) -> bool:
        """Whether every language has a file of its own."""
        return LANGUAGE in self.to

    @property
    def hub_path(self) -> str:
        """The path inside the hub repository."""
        return self.path or self._last() or ""

    def for_language(self, code: str) -> Self:
        """Return the download of one language, without placeholders.

        Args:
            code: The language's code in file names.
        """
        fields = {"to": self.to, "url": self.url, "member": self.member, "path": self.path}
        return self.model_copy(
            update={key: text.replace(LANGUAGE, code) for key, text in fields.items() if text is not None}
        )

    def _last(self) -> str | None:
        return PurePosixPath(self.to).name if self.hub is not None else None
