"""The report of a training run: the held-out patients segmented, scored on their own grids, and shown."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.config import Experiment
from medseg.config.preprocessing import WindowIntensity
from medseg.data import Case, LoadedCase, Split, load_case
from medseg.data.phantom import IS_SIMULATION_NOTE
from medseg.errors import Code, CohortError, EnvironmentProblem, MedsegError
from medseg.evaluation import FailedCase, Summary, summarise
from medseg.inference import Segmenter
from medseg.inference.review import Review, review_of
from medseg.inference.volumes import structure_volumes
from medseg.io import write_volume
from medseg.report.html import Origin, write_report
from medseg.report.scored_cases import ScoredCases
from medseg.report.trust import judged_cases, trust_of, write_review_csv
from medseg.training import Interrupted, RunFolder
from medseg.volume import Volume

Progress = Callable[[str, int, int], None]
"""Called with a case's id, cases done, and cases in all."""


def report_on_run(
    run: RunFolder, experiment: Experiment, split: Split, progress: Progress | None = None
) -> Summary:
    """Segment and score the held-out patients (the validation fold when nobody is held out).

    Writes ``predictions/``, ``cases.csv``, ``report.html`` and, last, ``summary.json`` into the run. When a
    signal comes, the report tells the cases that were scored until then.

    Raises:
        Interrupted: a signal came.
    """
    cases = split.test or split.validation
    scored = ScoredCases(
        experiment.labels, experiment.evaluation, picture_window(experiment), expected=len(cases)
    )
    notes = _notes(experiment, split)
    reviews: dict[str, Review] = {}
    try:
        segmenter = Segmenter.load(
            run.model, device=experiment.training.device, precision=experiment.training.precision
        )
        for done, case in enumerate(cases):
            if progress is not None:
                progress(case.id, done, len(cases))
            found = _score_one(segmenter, case, experiment, scored, run.predictions)
            if found is not None:
                reviews[case.id] = found
    except Interrupted:
        told = (
            f"The scoring was interrupted after {len(scored)} of {len(cases)} cases: --resume completes it."
        )
        scored.write_pages(run.path, title=experiment.name, origin=_origin(run, [told, *notes]))
        raise
    if progress is not None:
        progress("", len(cases), len(cases))
    origin = _origin(run, notes)
    if segmenter.rule is not None:
        judged = judged_cases(scored.scores, reviews)
        write_review_csv(run.path / "review.csv", judged)
        origin = replace(origin, trust=trust_of(segmenter.rule, judged))
    return scored.write(run.path, title=experiment.name, origin=origin)


def report_on_interrupted(run: RunFolder, experiment: Experiment) -> bool:
    """The report of a training that a signal stopped: its curves, and no score; whether there is one to tell.

    Segmenting the held-out patients would take minutes that a cluster does not grant.
    """
    if not run.config.is_file() or run.reported:
        return False
    history = run.read_history()
    step = max((row["step"] for row in history if isinstance(row.get("step"), int)), default=0)
    over = run.read_manifest().get("finished")
    told = (
        "came to its end, and was interrupted before the scoring"
        if over
        else f"was interrupted at step {step}"
    )
    notes = [f"The training {told}: nothing is scored yet. --resume goes on."]
    notes += simulation_notes(experiment)
    write_report(
        run.report, title=experiment.name, summary=summarise([]), scores=[], origin=_origin(run, notes)
    )
    return True


def _origin(run: RunFolder, notes: Sequence[str]) -> Origin:
    return Origin(
        history=run.read_history(),
        notes=notes,
        configuration=run.config.read_text(encoding="utf-8"),
        provenance=run.read_manifest(),
    )


def _score_one(
    segmenter: Segmenter, case: Case, experiment: Experiment, scored: ScoredCases, folder: Path
) -> Review | None:
    """What the model expected of the mask, where it can tell."""
    loaded: LoadedCase | None = None
    try:
        loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
        segmented = segmenter.segment(list(loaded.images))
        write_volume(segmented.mask, folder / f"{case.id}_seg.nii.gz")
        reference, known = reference_of(loaded, experiment), known_structures(loaded, experiment)
        scored.add(case.id, case.patient, segmented.mask, reference, image=loaded.images[0], known=known)
        volumes = structure_volumes(segmented.mask, segmenter.labels)
        return review_of(segmenter.rule, segmented.expected_dice, volumes)
    except EnvironmentProblem:
        raise
    except MedsegError as error:
        failure = FailedCase(case.id, case.patient, "; ".join(error.told))
        whole = loaded is not None and loaded.label is not None
        drawn = reference_of(loaded, experiment) if whole and loaded is not None else None
        scored.add_failure(failure, drawn, known_structures(loaded, experiment) if loaded else None)
        return None


def reference_of(loaded: LoadedCase, experiment: Experiment) -> Volume:
    """The reference with the label values of the configuration."""
    if loaded.label is None:
        raise CohortError(
            Code.NO_LABEL, f"case {loaded.case.id}: no reference label to score against; add it"
        )
    values = np.array([0, *experiment.labels.values()])
    return loaded.label.with_array(values[loaded.label.array])


def known_structures(loaded: LoadedCase, experiment: Experiment) -> dict[str, bool]:
    return dict(zip(experiment.labels, loaded.known[1:], strict=True))


def picture_window(experiment: Experiment) -> tuple[float, float] | None:
    first = experiment.preprocessing.intensity[0]
    return (first.center, first.width) if isinstance(first, WindowIntensity) else None


def simulation_notes(experiment: Experiment) -> list[str]:
    """What a report must say of simulated patients; nothing of others."""
    return [IS_SIMULATION_NOTE] if experiment.data.cohort.startswith("phantom:") else []


def _notes(experiment: Experiment, split: Split) -> list[str]:
    notes = simulation_notes(experiment)
    if not split.test:
        notes.append(
            "No patients were held out: these are the validation patients, which chose the best checkpoint, "
            "so the figures are optimistic. Set data.held_out for an honest test."
        )
    return notes
