"""A small evaluation with everything a report can hold, names chosen to hurt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from medseg.config.inference import EvaluationConfig
from medseg.evaluation import CaseScore, FailedCase, rules_for, score_case, summarise
from medseg.report import Panel, render_panels, write_report
from medseg.volume import Geometry, Volume

HOSTILE = "<script>document.title='taken'</script>\"'&<img src=x onerror=alert(1)>{{ 7*7 }}"
LABELS = {"prostate": 1, "bladder": 2, 'x"><b>y</b>': 9}
KNOWN = {'x"><b>y</b>': False}
CONFIG = EvaluationConfig(metrics=("dice", "iou", "hd95", "pixel_accuracy"))


@dataclass
class Evaluated:
    scores: list[CaseScore] = field(default_factory=list)
    panels: dict[str, tuple[Panel, ...]] = field(default_factory=dict)
    failed: tuple[FailedCase, ...] = (FailedCase("p_failed", "", f"no scan in {HOSTILE}"),)

    def write(self, path: Path, **options: object) -> Path:
        summary = summarise(self.scores, self.failed, rules=rules_for(CONFIG))
        everything: Mapping[str, object] = {
            "title": f"Prostate {HOSTILE}",
            "panels": self.panels,
            "notes": (f"The cohort is a simulation {HOSTILE}",),
            "history": [{"step": s, "loss": 1 / s} for s in range(1, 60)]
            + [{"step": s, "validation_dice": 0.8, "validation_dice/prostate": 0.7} for s in (20, 59)],
            "configuration": f"name: x  # {HOSTILE} </pre></style>",
            "provenance": {"seed": 3, "command": [HOSTILE, "</script>"], "made": path},
        }
        return write_report(path, summary=summary, scores=self.scores, **{**everything, **options})


@pytest.fixture(scope="session")
def evaluated() -> Evaluated:
    """Three cases (one missed organ, one hostile name, one structure that nobody contoured), one failed."""
    found = Evaluated()
    geometry = Geometry((40, 36, 12), np.diag([-2.0, -2.0, 3.0, 1.0]))
    image = Volume(np.random.default_rng(0).normal(40, 30, geometry.shape).astype(np.float32), geometry)
    reference = np.zeros(geometry.shape, dtype=np.uint8)
    reference[10:20, 10:20, 3:9], reference[22:32, 10:20, 3:9] = 1, 2
    for case, shift, drop in (("p_good", 0, 0), (HOSTILE, 1, 0), ("p_missed", 2, 2)):
        moved = np.roll(reference, shift, axis=0)
        prediction = Volume(np.where(moved == drop, 0, moved).astype(np.uint8), geometry)
        truth = Volume(reference, geometry)
        score = score_case(case, prediction, truth, labels=LABELS, known=KNOWN, config=CONFIG, patient="P7")
        found.scores.append(score)
        found.panels[case] = render_panels(
            case, image, prediction, truth, labels=LABELS, not_contoured=list(KNOWN)
        )
    return found
