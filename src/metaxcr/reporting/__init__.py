"""What a run says about itself: figures and the self-contained HTML report."""

from metaxcr.reporting.figures import accuracy_png
from metaxcr.reporting.report import write_report

__all__ = ["accuracy_png", "write_report"]
