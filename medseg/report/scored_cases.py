"""Gathers scores and pictures case by case; writes cases.csv, summary.json and report.html."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
from medseg.report.budget import bytes_for_a_case
from medseg.report.case_view import CaseView, render_view
from medseg.report.html import NO_ORIGIN, Origin, write_report
from medseg.volume import Volume


@dataclass
class ScoredCases:
    """Volumes are let go as soon as a case is scored; its numbers and pictures stay."""

    labels: Mapping[str, int]
    config: EvaluationConfig
    window: tuple[float, float] | None = None
    """Centre and width that the viewers open with; None: as CT where the values look like HU, else by
    percentiles."""
    expected: int = 1
    """Cases to come: the more there are, the coarser is each one's viewer."""
    scores: list[CaseScore] = field(default_factory=list)
    failed: list[FailedCase] = field(default_factory=list)
    views: dict[str, CaseView] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores) + len(self.failed)

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
        """Score one case; without ``image`` its viewer shows the masks alone."""
        score = score_case(
            case_id,
            prediction,
            reference,
            labels=self.labels,
            known=known,
            config=self.config,
            patient=patient,
        )
        self.views[case_id] = render_view(
            case_id,
            image,
            prediction,
            reference,
            labels=self.labels,
            window=self.window,
            not_contoured=[name for name, told in (known or {}).items() if not told],
            most_bytes=bytes_for_a_case(self.expected),
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

    def write(self, folder: Path, *, title: str, origin: Origin = NO_ORIGIN) -> Summary:
        """Write the three files into ``folder``; the summary last, so that it stands for all of them."""
        summary = self.write_pages(folder, title=title, origin=origin)
        write_summary_json(folder / "summary.json", summary)
        return summary

    def write_pages(self, folder: Path, *, title: str, origin: Origin) -> Summary:
        """Write cases.csv and report.html of the cases so far."""
        summary = summarise(self.scores, self.failed, rules=rules_for(self.config))
        write_cases_csv(folder / "cases.csv", self.scores, self.failed)
        write_report(
            folder / "report.html",
            title=title,
            summary=summary,
            scores=self.scores,
            failed=self.failed,
            views=self.views,
            origin=origin,
        )
        return summary
