"""Reports: one self-contained HTML page with tables, plots and viewers."""

from medseg.report.case_view import CaseView, render_view
from medseg.report.html import Origin, write_report

__all__ = ["CaseView", "Origin", "render_view", "write_report"]
