"""A trunk store that keeps what it computes in memory and touches no file: for texts seen once."""

from pathlib import Path
from typing import Any

from metaxcr.encoders.trunk import TrunkStore


class MemoryStore(TrunkStore):
    """As :class:`metaxcr.encoders.trunk.TrunkStore`, without a cache folder."""

    def _read(self, path: Path) -> None:
        return None

    def _write(self, *chunk: Any) -> None:
        return None

    def _evict(self) -> None:
        return None
