"""MetaXCR: meta-learned, reinforcement-sampled adapters for cross-lingual commonsense reasoning.

>>> import metaxcr
>>> model = metaxcr.MetaXCR.from_pretrained("runs/starter")  # doctest: +SKIP
>>> model.rank(
...     "El vaso cayó al suelo.", ["Se rompió.", "Se llenó."], question="effect", language="es"
... )  # doctest: +SKIP
[0.9, 0.1]
"""

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaxcr.api import MetaXCR
    from metaxcr.errors import MetaXCRWarning, UserError

# Before torch is imported: a thread that waits for others sleeps. By default it spins, and where another
# process wants the same core the two hold each other up: a run took ten times as long.
# Some microseconds of spinning are left: most waits are that short, and waking up takes longer.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
# Before a CUDA device is used: with it matrix products are repeatable.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

__all__ = ["MetaXCR", "MetaXCRWarning", "UserError", "__version__"]

_PLACES = {"MetaXCRWarning": "metaxcr.api", "MetaXCR": "metaxcr.api", "UserError": "metaxcr.errors"}

try:
    __version__ = version("metaxcr")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch takes seconds, ``import metaxcr`` does not."""
    if name not in _PLACES:
        raise AttributeError(f"module 'metaxcr' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
