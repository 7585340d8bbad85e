"""All cases of an experiment read once: what is wrong, how large they become, and how long that takes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from medseg.config import Experiment
from medseg.data import Case, LoadedCase, Split, find_cases, load_case, split_cases
from medseg.errors import Code, CohortError, MedsegError, VolumeError
from medseg.inference.memory import network_shape
from medseg.transforms import Prepared, Preprocessing, fit_preprocessing
from medseg.transforms.crop import crop
from medseg.transforms.grid import Spacing, canonical_spacing_mm, keeping
from medseg.volume import Geometry, Shape

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Survey:
    """``shapes``: each case on the network's grid. ``sample``: a training case, prepared. Seconds are of one
    case, by one thread."""

    cases: int
    split: Split
    shapes: Mapping[str, Shape]
    spacing_mm: Spacing
    sample: Prepared
    read_seconds: float
    prepare_seconds: float


def survey(experiment: Experiment, progress: Progress | None = None) -> Survey:
    """Read every case.

    Raises:
        CohortError: every case that cannot be used, and every structure that no case shows, one line each.
    """
    simulating = partial(progress, "simulating") if progress else None
    cases = find_cases(experiment.data, tuple(experiment.labels), progress=simulating)
    split = split_cases(cases, experiment.data)
    problems: list[str] = []
    seen: set[str] = set()
    grids: dict[str, Geometry] = {}
    sample: LoadedCase | None = None
    start = time.perf_counter()
    for done, case in enumerate(cases, start=1):
        try:
            loaded = _load(case, experiment)
            seen |= _structures_of(loaded, experiment)
            grids[case.id] = _cropped(loaded, experiment)
            if sample is None and case in split.train:
                sample = loaded
        except MedsegError as error:
            problems += error.told
        if progress is not None:
            progress("reading", done, len(cases))
    seconds = (time.perf_counter() - start) / len(cases)
    problems += [
        f"{experiment.data.cohort}: no case shows {name}" for name in experiment.labels if name not in seen
    ]
    CohortError.raise_if(Code.COHORT_CASES, problems)
    if sample is None:
        raise CohortError(Code.TOO_FEW_CASES, "no training case is left: lower data.held_out or data.folds")
    spacing_mm = _spacing(experiment, [grids[case.id] for case in split.train])
    keep = ["ijk".index(axis) for axis in experiment.preprocessing.keep_spacing]
    start = time.perf_counter()
    fitted = fit_preprocessing(experiment.preprocessing, [sample])
    prepared = Preprocessing(experiment.preprocessing, fitted)(sample.images, sample.label)
    return Survey(
        cases=len(cases),
        split=split,
        shapes={
            name: network_shape(grid, keeping(canonical_spacing_mm(grid), spacing_mm, keep))
            for name, grid in grids.items()
        },
        spacing_mm=spacing_mm,
        sample=prepared,
        read_seconds=seconds,
        prepare_seconds=time.perf_counter() - start,
    )


def _load(case: Case, experiment: Experiment) -> LoadedCase:
    loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
    if loaded.label is None:
        raise CohortError(
            Code.NO_LABEL,
            f"case {case.id}: no reference label, training needs one: add it, or remove the case",
        )
    return loaded


def _structures_of(loaded: LoadedCase, experiment: Experiment) -> set[str]:
    label = loaded.label
    present = np.bincount(label.array.ravel()) if label is not None else np.zeros(0)
    return {
        name
        for index, name in enumerate(experiment.labels, start=1)
        if index < len(present) and present[index]
    }


def _cropped(loaded: LoadedCase, experiment: Experiment) -> Geometry:
    """The grid of the scan, cropped as the configuration says."""
    config = experiment.preprocessing.crop
    if config is None:
        return loaded.images[0].geometry
    try:
        images, _ = crop(loaded.images, None, config)
    except VolumeError as error:
        raise error.about(f"case {loaded.case.id}") from error
    return images[0].geometry


def _spacing(experiment: Experiment, grids: list[Geometry]) -> Spacing:
    if experiment.preprocessing.spacing_mm is not None:
        return experiment.preprocessing.spacing_mm
    i, j, k = (float(s) for s in np.median([canonical_spacing_mm(grid) for grid in grids], axis=0))
    return i, j, k
