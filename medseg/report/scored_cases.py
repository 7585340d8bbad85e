"""Gathers scores and pictures case by case; writes cases.csv, summary.json and report.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.config.inference import EvaluationConfig
from medseg.evaluation import (
    CaseScore,
    FailedCase,
    Summary,
    rules_for,
    score_case,
    score_failure,
    summarise,
    write_cases_csv,
    write_summary_json,
)
from medseg.report.html import write_report
from medseg.report.panels import Panel, render_panels
from medseg.volume import Volume


@dataclass
class ScoredCases:
    """Volumes are let go as soon as a case is scored; its numbers and pictures stay."""

    labels: Mapping[str, int]
    config: EvaluationConfig
    window: tuple[float, float] | None = None
    """Centre and width for the pictures; None: as CT where the values look like HU, else by percentiles."""
    scores: list[CaseScore] = field(default_factory=list)
    failed: list[FailedCase] = field(default_factory=list)
    panels: dict[str, Sequence[Panel]] = field(default_factory=dict)

    def add(
        self,
        case_id: str,
        patient: str,
        prediction: Volume,
        reference: Volume,
        *,
        image: Volume | None = None,
        known: Mapping[str, bool] | None = None,
    ) -> CaseScore:
        """Score one case; without ``image`` its pictures show the masks alone."""
        score = score_case(
            case_id,
            prediction,
            reference,
            labels=self.labels,
            known=known,
            config=self.config,
            patient=patient,
        )
        background = image or reference.with_array((reference.array > 0).astype("int16") * 0)
        unknown = [name for name, told in (known or {}).items() if not told]
        self.panels[case_id] = render_panels(
            case_id,
            background,
            prediction,
            reference,
            labels=self.labels,
            window=self.window,
            not_contoured=unknown,
        )
        self.scores.append(score)
        return score

    def add_failure(
        self, failure: FailedCase, reference: Volume | None, known: Mapping[str, bool] | None = None
    ) -> None:
        """A case without a usable prediction: where its reference is at hand, its structures are missed."""
        if reference is not None:
            failure = score_failure(failure, reference, labels=self.labels, known=known, config=self.config)
        self.failed.append(failure)

    def write(
        self,
        folder: Path,
        *,
        title: str,
        history: Sequence[Mapping[str, Any]] = (),
        notes: Sequence[str] = (),
        configuration: str = "",
        provenance: Mapping[str, Any] | None = None,
    ) -> Summary:
        """Write the three files into ``folder``."""
        summary = summarise(self.scores, self.failed, rules=rules_for(self.config))
        write_cases_csv(folder / "cases.csv", self.scores, self.failed)
        write_summary_json(folder / "summary.json", summary)
        write_report(
            folder / "report.html",
            title=title,
            summary=summary,
            scores=self.scores,
            failed=self.failed,
            panels=self.panels,
            history=history,
            notes=notes,
            configuration=configuration,
            provenance=provenance or {},
        )
        return summary
