"""medseg evaluate without references: those of the configuration's own patients are taken."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.cli.options import parse_part

if TYPE_CHECKING:
    from medseg.config import Experiment
    from medseg.config.inference import EvaluationConfig
    from medseg.evaluation import Summary


def evaluate_cohort(
    predictions: Path,
    experiment: "Experiment",
    part: str,
    out: Path,
    settings: "EvaluationConfig",
) -> "Summary":
    """Score the masks of a part of the cohort; a patient without a mask counts as failed."""
    from medseg.cli.display import Bars
    from medseg.data import find_cases, split_cases
    from medseg.report.cohort import report_on_cohort

    told = parse_part(part)
    with Bars() as bars:
        found = find_cases(experiment.data, tuple(experiment.labels))
        return report_on_cohort(
            [predictions],
            experiment.model_copy(update={"evaluation": settings}),
            split_cases(found, experiment.data).part(told),
            out,
            command=shlex.join(["medseg", *sys.argv[1:]]),
            progress=lambda case, done, total: bars.show("scoring", done, total, case),
        )
