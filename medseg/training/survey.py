"""How large the cases of an experiment become for the network, and how long that takes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from medseg.config import Experiment
from medseg.data import Split, load_case
from medseg.errors import Code, CohortError
from medseg.inference.memory import network_shape
from medseg.transforms import Prepared, Preprocessing, fit_preprocessing
from medseg.transforms.grid import Spacing, canonical_spacing_mm, keeping
from medseg.volume import Geometry, Shape


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


def survey(
    experiment: Experiment, split: Split, grids: Mapping[str, Geometry], read_seconds: float
) -> Survey:
    """Prepare one training case, and tell from their grids how large the others become.

    Args:
        split: of cases that can be used.
        grids: of each case, cropped as the configuration says.
        read_seconds: what reading a case took.

    Raises:
        CohortError: no training case is left. VolumeError: the first one cannot be prepared.
    """
    if not split.train:
        raise CohortError(Code.TOO_FEW_CASES, "no training case is left: lower data.held_out or data.folds")
    spacing_mm = _spacing(experiment, [grids[case.id] for case in split.train])
    keep = ["ijk".index(axis) for axis in experiment.preprocessing.keep_spacing]
    start = time.perf_counter()
    sample = load_case(split.train[0], experiment.labels, experiment.data.missing_structures)
    loading = time.perf_counter() - start
    fitted = fit_preprocessing(experiment.preprocessing, [sample])
    prepared = Preprocessing(experiment.preprocessing, fitted)(sample.images, sample.label)
    return Survey(
        cases=len(grids),
        split=split,
        shapes={
            name: network_shape(grid, keeping(canonical_spacing_mm(grid), spacing_mm, keep))
            for name, grid in grids.items()
        },
        spacing_mm=spacing_mm,
        sample=prepared,
        read_seconds=read_seconds,
        prepare_seconds=time.perf_counter() - start - loading,
    )


def _spacing(experiment: Experiment, grids: list[Geometry]) -> Spacing:
    if experiment.preprocessing.spacing_mm is not None:
        return experiment.preprocessing.spacing_mm
    i, j, k = (float(s) for s in np.median([canonical_spacing_mm(grid) for grid in grids], axis=0))
    return i, j, k
