"""What a batch is asked for, and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from medseg.inference.profile import Profile
from medseg.inference.review import Review

DEFAULT_TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is run; nothing here changes a mask.

    ``workers`` read and write beside the network (None: two where there are cores for them, 0: none, all in
    this process); ``timeout_seconds`` limits each stage of a patient; ``max_ram_bytes`` the memory of this
    process and its workers together; ``verify`` hashes everything again instead of trusting times and sizes;
    ``profile`` is told where the time goes.
    """

    workers: int | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    max_ram_bytes: int | None = None
    verify: bool = False
    profile: Profile | None = None


@dataclass(frozen=True)
class PatientResult:
    """A patient's mask with the volume of each structure, or why there is none.

    ``why`` is the reason for which it was computed in this run; empty when the mask that was there holds.
    """

    id: str
    mask: Path | None = None
    volumes_ml: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    code: str = ""
    problems: tuple[str, ...] = ()
    why: str = ""
    inputs: tuple[Path, ...] = ()
    review: Review | None = None
    """Of models that were calibrated: what is expected of the mask, and why somebody should look at it."""

    @property
    def problem(self) -> str:
        return "; ".join(self.problems)


@dataclass(frozen=True)
class BatchResult:
    """``stopped_by`` is the number of the signal that ended the batch early; ``left`` are not done then."""

    patients: tuple[PatientResult, ...]
    left: tuple[str, ...] = ()
    stopped_by: int | None = None

    @property
    def done(self) -> tuple[PatientResult, ...]:
        return tuple(patient for patient in self.patients if patient.mask is not None)

    @property
    def to_review(self) -> tuple[PatientResult, ...]:
        """Those whose masks somebody should look at, the least trusted first."""
        judged = ((one.review, one) for one in self.done if one.review is not None)
        flagged = [(review.score, one) for review, one in judged if review.flagged]
        return tuple(one for _, one in sorted(flagged, key=lambda pair: -pair[0]))

    @property
    def failed(self) -> tuple[PatientResult, ...]:
        return tuple(patient for patient in self.patients if patient.mask is None)


@runtime_checkable
class Listener(Protocol):
    """Is told what happens, from any thread, one call at a time."""

    def planned(self, patients: int, reasons: Mapping[str, int]) -> None:
        """How many patients there are, and how many have to be computed, by reason."""

    def window(self, patient: str, done: int, total: int) -> None:
        """The network has done so many windows of a patient."""

    def finished(self, result: PatientResult) -> None:
        """A patient is done, or failed, or its mask held."""

    def again(self, patient: str, problem: str) -> None:
        """A patient will be tried once more, alone, at the end."""


class Silent:
    """A listener that does nothing."""

    def planned(self, patients: int, reasons: Mapping[str, int]) -> None: ...

    def window(self, patient: str, done: int, total: int) -> None: ...

    def finished(self, result: PatientResult) -> None: ...

    def again(self, patient: str, problem: str) -> None: ...
