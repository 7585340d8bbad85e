"""Evaluation: metrics of one case, statistics over cases, and their files."""

from medseg.evaluation.case import (
    ALWAYS_TOLD,
    LOWER_IS_BETTER,
    STATUSES,
    CaseScore,
    FailedCase,
    Status,
    StructureScore,
)
from medseg.evaluation.files import read_cases_csv, write_cases_csv, write_summary_json
from medseg.evaluation.pairing import Pair, match_pairs
from medseg.evaluation.rules import RULES, rules_for
from medseg.evaluation.scoring import score_case, score_failure
from medseg.evaluation.statistics import Counts, MetricSummary, StructureSummary, Summary, summarise

__all__ = [
    "ALWAYS_TOLD",
    "LOWER_IS_BETTER",
    "RULES",
    "STATUSES",
    "CaseScore",
    "Counts",
    "FailedCase",
    "MetricSummary",
    "Pair",
    "Status",
    "StructureScore",
    "StructureSummary",
    "Summary",
    "match_pairs",
    "read_cases_csv",
    "rules_for",
    "score_case",
    "score_failure",
    "summarise",
    "write_cases_csv",
    "write_summary_json",
]
