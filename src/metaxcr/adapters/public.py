"""Which language has a public MAD-X adapter for which encoder: a table that ships with the package."""

import json
from pathlib import Path
from typing import Any


def public_adapters(encoder: str | None = None, language: str | None = None) -> list[dict[str, str]]:
    """List public language adapters.

    Args:
        encoder: Only of this one, by its name on the hub with or without the owner.
        language: Only of this one (ISO 639-1, or 639-3 where there is no such code).

    Returns:
        ``encoder``, ``language`` and ``hub`` of each: what ``metaxcr adapters import`` takes.
    """
    rows: list[dict[str, str]] = _table()["adapters"]
    wanted = encoder.rpartition("/")[2] if encoder else None
    return [row for row in rows if wanted in (None, row["encoder"]) and language in (None, row["language"])]


def provenance() -> str:
    """Where the table is from."""
    table = _table()
    return f"{table['confirmed']} Commit {table['commit']}."


def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(__file__).with_name("public.json").read_text(encoding="utf-8"))
    return table
