"""The report of masks against the references of a cohort: each expected patient once, none missing."""

from collections.abc import Callable, Sequence
from pathlib import Path

from medseg.config import Experiment, dump_experiment
from medseg.data import Case, load_case
from medseg.data.regrid import PlacedLabel, place_label
from medseg.errors import Code, CohortError, EnvironmentProblem, MedsegError
from medseg.evaluation import FailedCase, Summary
from medseg.files import write_json_atomically
from medseg.io import read_label
from medseg.report.html import Origin
from medseg.report.record import EvaluationRecord
from medseg.report.run import known_structures, picture_window, reference_of, simulation_notes
from medseg.report.scored_cases import ScoredCases

MASK = "_seg.nii.gz"

Progress = Callable[[str, int, int], None]


def find_masks(folders: Sequence[Path], cases: Sequence[Case]) -> dict[str, Path]:
    """The mask of each case, as ``medseg infer`` names it, in ``folders`` and their sub-folders.

    Raises:
        CohortError: a case has several masks, a mask belongs to none of ``cases``, or there is none at all.
    """
    expected = {case.id for case in cases}
    found: dict[str, Path] = {}
    problems = []
    for path in sorted(path for folder in folders for path in folder.rglob(f"*{MASK}")):
        name = path.name.removesuffix(MASK)
        if name not in expected:
            problems.append(f"{path}: {name} is not one of the expected cases: move the mask away")
        elif name in found:
            problems.append(f"case {name}: two masks ({found[name]}, {path}): leave one")
        else:
            found[name] = path
    if not problems and not found:
        places = ", ".join(map(str, folders))
        problems.append(f"{places}: no mask (<case>{MASK}) in it: give the folder that medseg infer wrote")
    CohortError.raise_if(Code.PAIRING, problems)
    return found


def report_on_cohort(
    folders: Sequence[Path],
    experiment: Experiment,
    cases: Sequence[Case],
    out: Path,
    *,
    command: str = "",
    progress: Progress | None = None,
) -> Summary:
    """Score the masks of ``cases``; write cases.csv, report.html, evaluation.json and summary.json.

    A case without a mask has failed, and what its reference shows is missed.

    Raises:
        CohortError: a case has several masks, or a mask belongs to no case.
    """
    masks = find_masks(folders, cases)
    scored = ScoredCases(
        experiment.labels, experiment.evaluation, picture_window(experiment), expected=len(cases)
    )
    record = EvaluationRecord(
        command,
        {"cohort": experiment.data.cohort, "predictions": [str(folder) for folder in folders]},
        labels=experiment.labels,
        missing=experiment.data.missing_structures,
        config=experiment.evaluation,
        reading=experiment.data.reading,
    )
    for done, case in enumerate(cases):
        if progress is not None:
            progress(case.id, done, len(cases))
        record.add(case.id, masks.get(case.id), case.label)
        placed = _score(scored, experiment, case, masks.get(case.id))
        if placed is not None:
            record.placed(case.id, placed)
    if progress is not None:
        progress("", len(cases), len(cases))
    told = record.to_json()
    write_json_atomically(out / "evaluation.json", told)
    notes = simulation_notes(experiment)
    origin = Origin(notes=notes, configuration=dump_experiment(experiment), provenance=told)
    return scored.write(out, title=experiment.name, origin=origin)


def _score(scored: ScoredCases, experiment: Experiment, case: Case, mask: Path | None) -> PlacedLabel | None:
    """The mask as it was compared, or None where the case failed."""
    reference = known = None
    try:
        loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
        reference, known = reference_of(loaded, experiment), known_structures(loaded, experiment)
        if mask is None:
            raise CohortError(Code.PAIRING, f"case {case.id}: no mask among the predictions")
        label = read_label(mask, geometry=case.reading.geometry)
        placed = place_label(
            label,
            reference.geometry,
            f"case {case.id}: reference and prediction",
            resample=case.reading.resample_labels,
            option="data.reading.resample_labels",
        )
        scored.add(case.id, case.patient, placed.label, reference, image=loaded.images[0], known=known)
    except EnvironmentProblem:
        raise
    except MedsegError as error:
        scored.add_failure(FailedCase(case.id, case.patient, "; ".join(error.told)), reference, known)
        return None
    return placed
