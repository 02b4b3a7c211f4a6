"""Random generators derived from (seed, purpose, step), so that none has to be stored.

A run that is resumed at step t draws exactly what an uninterrupted run draws at step t.
"""

import hashlib

import numpy as np


def derive(seed: int, purpose: str, step: int = 0) -> int:
    """Return a seed in [0, 2**63) that depends on the three arguments alone, not on platform or process.

    ``purpose`` is what the numbers are for (``"shots"``, ``"episode"``, ...); no two share a stream.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rng(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Return the NumPy generator for one purpose at one step (see :func:`derive`)."""
    return np.random.default_rng(derive(seed, purpose, step))
