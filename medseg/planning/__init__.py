"""A configuration from a cohort's own fingerprint: rules with reasons, fitted to memory and time."""

from medseg.planning.cohort import Naming, look_at_cohort
from medseg.planning.fingerprint import Fingerprint
from medseg.planning.plan import Budget, Plan, Subject, make_plan
from medseg.planning.text import plan_text

__all__ = [
    "Budget",
    "Fingerprint",
    "Naming",
    "Plan",
    "Subject",
    "look_at_cohort",
    "make_plan",
    "plan_text",
]
