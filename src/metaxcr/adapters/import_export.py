"""Import from AdapterHub, export to it, and the index of its public language adapters."""

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from metaxcr.adapters.adapter_files import (
    CONFIG,
    PICKLED,
    WEIGHTS,
    AdapterFile,
    build_invertible,
    build_layers,
    check_encoder,
    read_adapter,
    write_adapter,
)
from metaxcr.adapters.layers import SIZELESS
from metaxcr.encoders.loading import encoder_shape
from metaxcr.encoders.shapes import known_encoder
from metaxcr.errors import UserError
from metaxcr.files import temporary_folder
from metaxcr.hub import download

FILES = (CONFIG, WEIGHTS, PICKLED)
MAX_BYTES = 4 << 30  # of a file in an archive


def public_adapters(encoder: str | None = None, language: str | None = None) -> list[dict[str, str]]:
    """List public language adapters: ``encoder``, ``language`` and ``hub`` of each.

    Optionally only those of an encoder, by its name on the hub with or without the owner, or of a language
    (ISO 639-1, or 639-3 if there is no such code).
    """
    rows: list[dict[str, str]] = _index()["adapters"]
    wanted = encoder.rpartition("/")[2] if encoder else None
    return [row for row in rows if wanted in (None, row["encoder"]) and language in (None, row["language"])]


def provenance() -> str:
    """The source of the index."""
    return "{confirmed} Commit {commit}.".format_map(_index())


def _index() -> dict[str, Any]:
    path = Path(__file__).with_name("public_adapters.json")
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return index


def import_adapter(
    source: str, out: Path, *, encoder: str | None = None, revision: str | None = None
) -> AdapterFile:
    """Convert a foreign adapter to this package's form, after checking all of it; return what was read.

    The source is a folder, a zip file, or a repository on the Hugging Face hub. It must fit ``encoder``, by
    default the one it names, if that is known.
    """
    _check_new(out)
    with _folder(source, revision) as folder:
        file = read_adapter(folder)
        build_layers(file, folder)
        build_invertible(file, folder)
        name = encoder or file.config.encoder
        if encoder is not None or known_encoder(name) is not None:
            check_encoder(file, encoder_shape(name), folder)
    write_adapter(out, file)
    return file


def export_adapter(source: Path, out: Path, *, name: str | None = None) -> AdapterFile:
    """Write an adapter as the ``adapters`` library loads it without options; default name: its own."""
    _check_new(out)
    file = read_adapter(source)
    if file.config.shape.kind in SIZELESS:
        what = f"AdapterHub has no format for the kind {file.config.shape.kind!r}"
        raise UserError(what, str(source), "'metaxcr export' writes the whole model in this package's own")
    if name is not None:
        file = replace(file, config=replace(file.config, name=name))
    write_adapter(out, file, pickled=True)
    return read_adapter(out)


def _check_new(out: Path) -> None:
    if os.path.lexists(out):
        raise UserError("the folder exists", str(out), "choose another --out")


@contextmanager
def _folder(source: str, revision: str | None) -> Iterator[Path]:
    path = Path(source)
    if os.path.isdir(path):
        yield path
    elif os.path.isfile(path):
        with temporary_folder() as temporary:
            _unzip(path, Path(temporary))
            yield Path(temporary)
    else:
        yield download(source, revision, list(FILES))


def _unzip(archive: Path, goal: Path) -> None:
    """Extract an adapter's files from a zip; names inside it never become paths."""
    try:
        with zipfile.ZipFile(archive) as opened:
            configs = [n for n in opened.namelist() if PurePosixPath(n).name == CONFIG]
            if len(configs) != 1:
                raise UserError(f"the archive has {len(configs)} files {CONFIG}, not one", str(archive))
            parent = PurePosixPath(configs[0]).parent
            for entry in opened.infolist():
                place = PurePosixPath(entry.filename)
                if place.parent != parent or place.name not in FILES:
                    continue
                if entry.file_size > MAX_BYTES:
                    raise UserError(f"{place.name} is larger than {MAX_BYTES} bytes", str(archive))
                (goal / place.name).write_bytes(opened.read(entry))
    except UserError:
        raise
    except Exception as error:  # zlib.error, UnicodeDecodeError, struct.error and others
        what = f"cannot read the archive: {error}"
        raise UserError(what, str(archive), "give a zip or a folder") from error
