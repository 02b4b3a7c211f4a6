"""Random generators derived from (seed, purpose, step), so that none has to be stored.

A run that is resumed at step t draws exactly what an uninterrupted run draws at step t.
"""

import hashlib

import numpy as np


def derive(seed: int, purpose: str, step: int = 0) -> int:
    """Return a 63-bit seed that depends on all three arguments and on nothing else.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for (``"shots"``, ``"episode"``, ...); no two share a stream.
        step: The step within the purpose.

    Returns:
        An integer in [0, 2**63), the same on every platform and in every process.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rng(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Return the NumPy generator for one purpose at one step (see :func:`derive`)."""
    return np.random.default_rng(derive(seed, purpose, step))
