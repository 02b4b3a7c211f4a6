"""How much of what is done with a user's own examples."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings of an adaptation to own examples.

    Attributes:
        seed: Of all draws.
        folds: Of the cross-validation.
        repeats: Of the cross-validation, each with other folds.
        steps: Of fine-tuning; None: as the start was trained to be fine-tuned.
        rate: Peak learning rate of it; None: likewise.
        wished: Accuracy among the answers that are given, for the abstain threshold.
        more: Number of further examples whose worth is forecast.
    """

    seed: int = 0
    folds: int = 5
    repeats: int = 2
    steps: int | None = None
    rate: float | None = None
    wished: float = 0.9
    more: int = 30


FEWEST = 8  # examples; fewer are not adapted to, because nothing could be said about what that gave
