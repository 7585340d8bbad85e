"""Checks of a cohort before it is paid for: faults found, costs told, pictures drawn."""

from medseg.audit.check import Checked, check_experiment
from medseg.audit.findings import Finding, Severity

__all__ = ["Checked", "Finding", "Severity", "check_experiment"]
