"""What a person sees of a batch: bars with ETA, rate and failures so far; at the end a table of these."""

import signal
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medseg.batch import BatchResult, PatientResult
from medseg.cli.display import Bars, Rate
from medseg.cli.printing import print_json, say
from medseg.cli.profile_display import print_profile, profile_json
from medseg.inference.profile import Profile
from medseg.inference.review import Review

_LISTED = 20


class BatchDisplay:
    """Listens to a batch and moves the bars: one for all patients, one for the patient in the network."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._settled = 0
        self._failed = 0
        self._total = 0
        self._rate = Rate()

    def planned(self, patients: int, reasons: Mapping[str, int]) -> None:
        self._total = patients
        self._rate = Rate()
        computed = sum(reasons.values())
        if not computed:
            self._bars.line(f"{patients} patients: nothing to compute")
            return
        told = ", ".join(f"{count} {why}" for why, count in sorted(reasons.items()))
        self._bars.line(f"{patients} patients, {computed} to compute ({told})")

    def window(self, patient: str, done: int, total: int) -> None:
        if self._bars.live:
            self._bars.show("this patient", done, total, patient)
        self._show(done / total if done < total else 0.0, patient)

    def finished(self, result: PatientResult) -> None:
        self._settled += 1
        if result.mask is None:
            self._failed += 1
            self._bars.line(f"failed: {result.id}: {result.problem} [{result.code}]")
        elif result.seconds is not None:
            self._rate.add()
        if self._settled == self._total:
            self._bars.hide("this patient")
        self._show(0.0, result.id)

    def again(self, patient: str, problem: str) -> None:
        self._bars.line(f"again, alone, at the end: {patient}: {problem}")

    def stopped(self) -> None:
        """Something that would fail for every patient ended the batch."""
        if self._total:
            done = self._settled - self._failed
            self._bars.line(f"stopped: {done} of {self._total} done; then the same command goes on")

    def _show(self, part: float, patient: str) -> None:
        counts = f"{self._settled} of {self._total}"
        told = [counts, str(self._rate), f"{self._failed} failed" if self._failed else ""]
        if not self._bars.live:
            told.append(patient)
        self._bars.show("patients", self._settled + part, self._total, ", ".join(filter(None, told)))


def print_results(result: BatchResult, json: bool, profile: Profile | None = None) -> None:
    """Volumes of each patient computed, a table of failures, one line that sums up, and the profile."""
    if json:
        patients = [_as_json(patient) for patient in result.patients]
        print_json(patients if profile is None else {"patients": patients, "profile": profile_json(profile)})
    computed = [patient for patient in result.done if patient.seconds is not None]
    for patient in () if json or len(computed) > _LISTED else computed:
        volumes = ", ".join(f"{name} {volume:.1f} mL" for name, volume in patient.volumes_ml.items())
        why = f", {patient.why}" if patient.why else ""
        say(f"{patient.id}: {volumes} ({patient.seconds:.1f} s{why}) -> {patient.mask}")
    if result.failed and not json:
        _print_failures(result.failed)
    if result.to_review and not json:
        _print_to_review(result.to_review)
    total = len(result.patients) + len(result.left)
    if result.stopped_by is not None:
        name = signal.Signals(result.stopped_by).name
        say(f"stopped by {name}: {len(result.done)} of {total} done; the same command goes on")
    elif total > 1:
        kept = len(result.done) - len(computed)
        held = f" ({kept} of them before)" if kept else ""
        say(
            f"{len(result.done)} of {total} patients done{held}, {len(result.failed)} failed: see summary.csv"
        )
    if profile is not None and not json:
        print_profile(profile)


def _print_to_review(patients: tuple[PatientResult, ...]) -> None:
    table = Table(box=SIMPLE, header_style="bold", pad_edge=False)
    for name in ("look at", "expected Dice", "why"):
        table.add_column(name, overflow="fold")
    for patient in patients[:_LISTED]:
        if patient.review is not None:
            why = "; ".join(patient.review.reasons)
            table.add_row(Text(patient.id), f"{1 - patient.review.score:.2f}", Text(why))
    Console(stderr=True, highlight=False).print(table)
    if len(patients) > _LISTED:
        say(f"and {len(patients) - _LISTED} more: see the column review of summary.csv")


def _print_failures(failed: tuple[PatientResult, ...]) -> None:
    table = Table(box=SIMPLE, header_style="bold", pad_edge=False)
    for name in ("patient", "code", "what, and what to do"):
        table.add_column(name, overflow="fold")
    for patient in failed[:_LISTED]:
        table.add_row(Text(patient.id), patient.code, Text(patient.problem))
    console = Console(stderr=True, highlight=False)
    console.print(table)
    if len(failed) > _LISTED:
        say(f"and {len(failed) - _LISTED} more: see failures.json")


def _as_json(patient: PatientResult) -> dict[str, Any]:
    return {
        "patient": patient.id,
        "mask": str(patient.mask) if patient.mask else None,
        "volumes_ml": patient.volumes_ml,
        "seconds": patient.seconds,
        "why": patient.why or None,
        "code": patient.code or None,
        "problem": patient.problem or None,
        "review": None if patient.review is None else _review_json(patient.review),
    }


def _review_json(review: Review) -> dict[str, Any]:
    """What is expected of a mask, for machines."""
    return {"flagged": review.flagged, "reasons": list(review.reasons), "expected_dice": review.expected_dice}
