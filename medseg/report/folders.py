"""The report of a folder of masks against a folder of references."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from medseg.config.inference import EvaluationConfig
from medseg.errors import Code, CohortError, MedsegError
from medseg.evaluation import FailedCase, Pair, Summary, match_pairs
from medseg.files import write_json_atomically
from medseg.io import read_label, read_volume, volume_stem
from medseg.report.scored_cases import ScoredCases
from medseg.volume import Volume

Progress = Callable[[str, int, int], None]


def report_on_folders(
    predictions: Path,
    references: Path,
    out: Path,
    *,
    labels: dict[str, int] | None = None,
    config: EvaluationConfig = EvaluationConfig(),  # noqa: B008 - frozen
    images: Path | None = None,
    missing: str = "absent",
    progress: Progress | None = None,
) -> Summary:
    """Score pairs found by name; write cases.csv, summary.json and report.html into ``out``.

    Args:
        labels: structure to value; None takes every value that the references hold.
        images: the scans behind the masks, for the pictures: a file, or a folder with the same names.
        missing: ``not_contoured`` when a structure without a voxel in a reference was not drawn there.

    Raises:
        CohortError: nothing can be paired, or no reference holds a structure.
    """
    pairs = match_pairs(predictions, references)
    chosen = labels or _labels_found(pairs)
    scored = ScoredCases(chosen, config)
    scans = _scans(images)
    for done, pair in enumerate(pairs):
        if progress is not None:
            progress(pair.case, done, len(pairs))
        _score_pair(scored, pair, scans.get(pair.case), missing)
    if progress is not None:
        progress("", len(pairs), len(pairs))
    record = {
        "predictions": str(predictions),
        "references": str(references),
        "labels": chosen,
        "missing": missing,
    }
    write_json_atomically(out / "evaluation.json", record)
    return scored.write(out, title=f"{predictions.name} against {references.name}", provenance=record)


def _score_pair(scored: ScoredCases, pair: Pair, scan: Path | None, missing: str) -> None:
    reference: Volume | None = None
    known: dict[str, bool] | None = None
    try:
        reference = read_label(pair.reference)
        if missing == "not_contoured":
            values = set(np.unique(reference.array).tolist())
            known = {name: value in values for name, value in scored.labels.items()}
        if pair.prediction is None:
            raise CohortError(Code.PAIRING, "no prediction for this reference")
        mask = read_label(pair.prediction)
        image = read_volume(scan) if scan is not None else None
        scored.add(pair.case, pair.case, mask, reference, image=image, known=known)
    except MedsegError as error:
        scored.add_failure(FailedCase(pair.case, pair.case, "; ".join(error.told)), reference, known)


def _labels_found(pairs: Sequence[Pair]) -> dict[str, int]:
    values: set[int] = set()
    for pair in pairs:
        values |= set(np.unique(read_label(pair.reference).array).tolist())
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
