"""A case: the files of one scan of one patient, and what is known of its reference."""

from dataclasses import dataclass, field
from pathlib import Path

from medseg.config.data import Reading
from medseg.data.naming import safe_id
from medseg.errors import Code, CohortError


@dataclass(frozen=True)
class Case:
    """One scan.

    ``id`` names files of results, so it has no separators and no control characters
    (``naming.safe_id`` makes one); ``images`` has one file (or DICOM folder) a channel; ``label`` is the
    reference, or None when there is none; ``patient`` groups scans that must not be parted between folds;
    ``not_contoured`` names structures that nobody drew in this case, whatever the reference holds there;
    ``reading`` is what may be forgiven in its files.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None = None
    patient: str = ""
    not_contoured: frozenset[str] = field(default_factory=frozenset)
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        if self.id != safe_id(self.id):
            raise CohortError(
                Code.CASE_ID, f"case {self.id!r}: not a safe file name; name it {safe_id(self.id)!r}"
            )
        if not self.images:
            raise CohortError(Code.NO_SCAN, f"case {self.id}: no image; give one or more")
        if not self.patient:
            object.__setattr__(self, "patient", self.id)


@dataclass(frozen=True)
class Findings:
    """What a reader of a cohort found: its cases, and every problem, one line each."""

    cases: tuple[Case, ...] = ()
    problems: tuple[str, ...] = ()
