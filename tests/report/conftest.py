"""A small evaluation with everything a report can hold, names chosen to hurt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from medseg.config.inference import EvaluationConfig
from medseg.evaluation import CaseScore, FailedCase, rules_for, score_case, summarise, write_cases_csv
from medseg.report import CaseView, Origin, render_view, write_report
from medseg.volume import Geometry, Volume

HOSTILE = "<script>document.title='taken'</script>\"'&<img src=x onerror=alert(1)>{{ 7*7 }}<!--"
LABELS = {"prostate": 1, "bladder": 2, 'x"><b>y</b>': 9}
KNOWN = {'x"><b>y</b>': False}
CONFIG = EvaluationConfig(metrics=("dice", "iou", "hd95", "pixel_accuracy"))
HISTORY = [{"step": s, "loss": 1 / s} for s in range(1, 60)] + [
    {"step": s, "validation_dice": 0.8, "validation_dice/prostate": 0.7} for s in (20, 59)
]


@dataclass
class Evaluated:
    scores: list[CaseScore] = field(default_factory=list)
    views: dict[str, CaseView] = field(default_factory=dict)
    failed: tuple[FailedCase, ...] = (FailedCase("p_failed", "", f"no scan in {HOSTILE}"),)
    volumes: dict[str, tuple[Volume, Volume, Volume]] = field(default_factory=dict)
    """Image, prediction and reference by case."""

    def write(self, path: Path, **options: object) -> Path:
        summary = summarise(self.scores, self.failed, rules=rules_for(CONFIG))
        write_cases_csv(path.with_name("cases.csv"), self.scores, self.failed)
        provenance: Mapping[str, object] = {
            "seed": 3,
            "command": [HOSTILE, "</script>"],
            "packages": {"torch": "2.0"},
            "data": {"train": {f"case {n}": f"{n:064x}" for n in range(9)}},
        }
        everything: Mapping[str, object] = {
            "title": f"Prostate {HOSTILE}",
            "views": self.views,
            "origin": Origin(
                HISTORY,
                (f"The cohort is a simulation {HOSTILE}",),
                f"name: x  # {HOSTILE} </pre></style>",
                provenance,
            ),
        }
        return write_report(path, summary=summary, scores=self.scores, **{**everything, **options})


@pytest.fixture(scope="session")
def evaluated() -> Evaluated:
    """Three cases (one missed organ, one hostile name, one structure that nobody contoured), one failed."""
    found = Evaluated()
    geometry = Geometry((40, 36, 12), np.diag([-2.0, -2.0, 3.0, 1.0]))
    values = np.random.default_rng(0).normal(40, 30, geometry.shape).astype(np.float32)
    values[:3] = -1000
    image = Volume(values, geometry)
    reference = np.zeros(geometry.shape, dtype=np.uint8)
    reference[10:20, 10:20, 3:9], reference[22:32, 10:20, 3:9] = 1, 2
    for case, shift, drop in (("p_good", 0, 0), (HOSTILE, 1, 0), ("p_missed", 2, 2)):
        moved = np.roll(reference, shift, axis=0)
        prediction = Volume(np.where(moved == drop, 0, moved).astype(np.uint8), geometry)
        truth = Volume(reference, geometry)
        score = score_case(case, prediction, truth, labels=LABELS, known=KNOWN, config=CONFIG, patient="P7")
        found.scores.append(score)
        found.volumes[case] = image, prediction, truth
        found.views[case] = render_view(
            case, image, prediction, truth, labels=LABELS, not_contoured=list(KNOWN)
        )
    return found
