"""The report of a comparison: tables, figures, and one self-contained page."""

from metaxcr.reporting.grid.page import write_grid_report
from metaxcr.reporting.grid.tables import grid_tables

__all__ = ["grid_tables", "write_grid_report"]
