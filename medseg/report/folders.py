"""The report of a folder of masks against a folder of references."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medseg.config.data import Reading
from medseg.config.inference import EvaluationConfig
from medseg.data.regrid import PlacedLabel, place_label
from medseg.errors import Code, CohortError, MedsegError
from medseg.evaluation import FailedCase, Pair, Summary, match_pairs
from medseg.evaluation.lesions import require_structures
from medseg.files import write_json_atomically
from medseg.io import read_label, read_volume, volume_stem
from medseg.report.html import Origin
from medseg.report.record import EvaluationRecord
from medseg.report.scored_cases import ScoredCases
from medseg.volume import Volume

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Comparison:
    """How masks are compared with references.

    Attributes:
        labels: structure to value; None takes every value that the references hold.
        missing: ``not_contoured`` when a structure without a voxel in a reference was not drawn there.
        reading: what may be forgiven in the files; ``resample_labels`` puts a mask onto its reference's grid.
    """

    labels: dict[str, int] | None = None
    config: EvaluationConfig = field(default_factory=EvaluationConfig)
    missing: str = "absent"
    reading: Reading = field(default_factory=Reading)


def report_on_folders(
    predictions: Path,
    references: Path,
    out: Path,
    comparison: Comparison = Comparison(),
    *,
    images: Path | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Summary:
    """Score pairs found by name; write cases.csv, report.html, evaluation.json and summary.json into ``out``.

    Args:
        images: the scans behind the masks, for the viewers: a file, or a folder with the same names.
        command: told in evaluation.json and in the report.

    Raises:
        CohortError: nothing can be paired, or no reference holds a structure.
    """
    pairs = match_pairs(predictions, references)
    labels = comparison.labels or _labels_found(pairs, comparison.reading)
    require_structures(comparison.config.lesions, labels)
    scored = ScoredCases(labels, comparison.config, expected=len(pairs))
    scans = _scans(images)
    record = EvaluationRecord(
        command,
        {"predictions": str(predictions), "references": str(references)},
        labels=labels,
        missing=comparison.missing,
        config=comparison.config,
        reading=comparison.reading,
    )
    for done, pair in enumerate(pairs):
        if progress is not None:
            progress(pair.case, done, len(pairs))
        record.add(*pair)
        placed = _score_pair(scored, pair, scans.get(pair.case), comparison)
        if placed is not None:
            record.placed(pair.case, placed)
    if progress is not None:
        progress("", len(pairs), len(pairs))
    told = record.to_json()
    write_json_atomically(out / "evaluation.json", told)
    title = f"{predictions.name} against {references.name}"
    return scored.write(out, title=title, origin=Origin(provenance=told))


def _score_pair(
    scored: ScoredCases, pair: Pair, scan: Path | None, comparison: Comparison
) -> PlacedLabel | None:
    """The prediction as it was compared, or None where the case failed."""
    reference: Volume | None = None
    known: dict[str, bool] | None = None
    told = comparison.reading
    try:
        reference = read_label(pair.reference, geometry=told.geometry)
        if comparison.missing == "not_contoured":
            values = set(np.unique(reference.array).tolist())
            known = {name: value in values for name, value in scored.labels.items()}
        if pair.prediction is None:
            raise CohortError(Code.PAIRING, "no prediction for this reference")
        placed = place_label(
            read_label(pair.prediction, geometry=told.geometry),
            reference.geometry,
            f"case {pair.case}: reference and prediction",
            resample=told.resample_labels,
            option="--resample-labels",
        )
        image = read_volume(scan, geometry=told.geometry) if scan is not None else None
        scored.add(pair.case, pair.case, placed.label, reference, image=image, known=known)
    except MedsegError as error:
        scored.add_failure(FailedCase(pair.case, pair.case, "; ".join(error.told)), reference, known)
        return None
    return placed


def _labels_found(pairs: Sequence[Pair], reading: Reading) -> dict[str, int]:
    values: set[int] = set()
    for pair in pairs:
        values |= set(np.unique(read_label(pair.reference, geometry=reading.geometry).array).tolist())
    found = {f"label {value}": int(value) for value in sorted(values) if value != 0}
    if not found:
        raise CohortError(
            Code.NOT_LABELS, "the references hold no voxel but background: is this the right folder?"
        )
    return found


def _scans(images: Path | None) -> dict[str, Path]:
    if images is None:
        return {}
    if images.is_file():
        return {volume_stem(images): images}
    return {volume_stem(path): path for path in sorted(images.iterdir()) if path.is_file()}
