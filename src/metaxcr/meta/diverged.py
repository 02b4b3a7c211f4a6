"""Training that left the finite numbers."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Value = float | Tensor


class Diverged(ArithmeticError):
    """A number of an episode is infinite or NaN; the state before the episode is still good.

    Attributes:
        step: The episode, 0-based.
        term: Which number: "support loss", "query loss", "reward", "direction", "phi".
    """

    def __init__(self, step: int, term: str) -> None:
        super().__init__(f"step {step}: the {term} is not finite")
        self.step, self.term = step, term

    def __reduce__(self) -> tuple[type["Diverged"], tuple[int, str]]:
        """Pickle by the arguments, so that the exception passes between processes."""
        return Diverged, (self.step, self.term)


def require_finite(step: int, terms: Mapping[str, Value | Sequence[Value]]) -> None:
    """Check numbers by name.

    Args:
        step: The episode, for the message.
        terms: Name -> a number, a tensor, or several of them.

    Raises:
        Diverged: One of them is not finite; the first one is named.
    """
    for term, values in terms.items():
        for value in values if isinstance(values, Sequence) else [values]:
            finite = bool(torch.isfinite(value).all()) if isinstance(value, Tensor) else math.isfinite(value)
            if not finite:
                raise Diverged(step, term)
