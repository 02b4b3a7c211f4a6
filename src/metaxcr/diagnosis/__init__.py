"""Why did a run not work? Rules that read what it left and say so in plain words."""

from metaxcr.diagnosis.finding import Evidence, Finding
from metaxcr.diagnosis.rules import RULES, diagnose

__all__ = ["RULES", "Evidence", "Finding", "diagnose"]
