"""Reports: one self-contained HTML page with tables, plots and pictures."""

from medseg.report.html import write_report
from medseg.report.panels import Panel, render_panels

__all__ = ["Panel", "render_panels", "write_report"]
