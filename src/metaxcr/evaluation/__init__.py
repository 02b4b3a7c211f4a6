"""What a run achieved: predictions, their accuracy, and how far it can be trusted."""

from metaxcr.evaluation.intervals import (
    Difference,
    Interval,
    crossed_interval,
    minimum_detectable_difference,
    paired_difference,
)
from metaxcr.evaluation.predictions import Predictions
from metaxcr.evaluation.results import build_results, validate_results
from metaxcr.evaluation.table import format_table

__all__ = [
    "Difference",
    "Interval",
    "Predictions",
    "build_results",
    "crossed_interval",
    "format_table",
    "minimum_detectable_difference",
    "paired_difference",
    "validate_results",
]
