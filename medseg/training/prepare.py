"""From files to preprocessed cases in the cache."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from medseg.config import Experiment
from medseg.config.preprocessing import FittedIntensity
from medseg.data import Case, LoadedCase, PreparedCache, Split, load_case
from medseg.errors import Code, CohortError, MedsegError, VolumeError
from medseg.transforms import Fitted, Prepared, Preprocessing, fit_preprocessing
from medseg.volume import Geometry

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


@dataclass(frozen=True)
class PreparedCase:
    """A case whose preprocessed arrays lie in the cache under ``key`` (hash of content and recipe)."""

    id: str
    key: str
    known: tuple[bool, ...]


@dataclass(frozen=True)
class PreparedCohort:
    fitted: Fitted
    train: tuple[PreparedCase, ...]
    validation: tuple[PreparedCase, ...]


def prepare_cohort(
    experiment: Experiment, split: Split, cache: PreparedCache, progress: Progress | None = None
) -> PreparedCohort:
    """Fit what needs fitting on the training cases, and preprocess those and the validation cases.

    Raises:
        CohortError: every case that cannot be used, one line each; or structures no training case shows.
    """
    needs_fit = experiment.preprocessing.spacing_mm is None or any(
        isinstance(intensity, FittedIntensity) for intensity in experiment.preprocessing.intensity
    )
    cases = split.train if needs_fit else ()
    fitted = fit_preprocessing(experiment.preprocessing, _load_all(experiment, cases, progress))
    preprocessing = Preprocessing(experiment.preprocessing, fitted)
    both = (*split.train, *split.validation)
    problems: list[str] = []
    prepared: dict[str, PreparedCase] = {}
    seen: set[int] = set()

    def work(case: Case) -> tuple[PreparedCase, set[int]]:
        return _prepare_one(experiment, case, preprocessing, fitted, cache)

    with _threads() as pool:
        for done, (case, future) in enumerate([(c, pool.submit(work, c)) for c in both], start=1):
            try:
                prepared[case.id], classes = future.result()
            except MedsegError as error:
                problems += error.told
                continue
            if done <= len(split.train):
                seen |= classes
            if progress is not None:
                progress("preprocessing", done, len(both))
    CohortError.raise_if(Code.COHORT_CASES, problems)
    CohortError.raise_if(
        Code.NOTHING_TO_LEARN,
        (
            f"{experiment.data.cohort}: no training case has a voxel of {name} (value {value}): "
            "correct labels, or remove it"
            for index, (name, value) in enumerate(experiment.labels.items(), start=1)
            if index not in seen
        ),
    )
    train = tuple(prepared[case.id] for case in split.train)
    return PreparedCohort(fitted, train, tuple(prepared[case.id] for case in split.validation))


def open_prepared(case: PreparedCase, cache: PreparedCache) -> Prepared:
    """The preprocessed arrays of a case, read into memory."""
    arrays = cache.get(case.key)
    if arrays is None:
        raise CohortError(
            Code.CACHE_VANISHED,
            f"case {case.id}: its preprocessed copy vanished from {cache.folder}: train again",
        )
    image = torch.from_numpy(np.array(arrays["image"]))
    label = torch.from_numpy(np.array(arrays["label"]))
    shape = (image.shape[1], image.shape[2], image.shape[3])
    return Prepared(image, label, Geometry(shape, np.array(arrays["affine"])))


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Not waited for when a signal ends the work: what they have in hand appears whole or not at all."""
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _load_all(
    experiment: Experiment, cases: Sequence[Case], progress: Progress | None
) -> Iterator[LoadedCase]:
    problems: list[str] = []
    for done, case in enumerate(cases, start=1):
        try:
            loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
        except MedsegError as error:
            problems += error.told
            continue
        yield loaded
        if progress is not None:
            progress("fitting", done, len(cases))
    CohortError.raise_if(Code.COHORT_CASES, problems)


def _prepare_one(
    experiment: Experiment, case: Case, preprocessing: Preprocessing, fitted: Fitted, cache: PreparedCache
) -> tuple[PreparedCase, set[int]]:
    recipe = {
        "preprocessing": experiment.preprocessing.model_dump(mode="json"),
        "fitted": fitted.to_json(),
        "labels": experiment.labels,
        "missing": experiment.data.missing_structures,
        "not_contoured": sorted(case.not_contoured),
        "reading": case.reading.model_dump(mode="json"),
    }
    key = cache.key(case, json.dumps(recipe, sort_keys=True))
    arrays = cache.get(key)
    if arrays is None:
        loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
        if loaded.label is None:
            raise CohortError(
                Code.NO_LABEL,
                f"case {case.id}: no reference label, training needs one: add it, or remove the case",
            )
        try:
            prepared = preprocessing(loaded.images, loaded.label)
        except VolumeError as error:
            raise error.about(f"case {case.id}") from error
        present = np.bincount(loaded.label.array.ravel(), minlength=experiment.class_count) > 0
        arrays = {
            "image": prepared.image.numpy(),
            "label": np.zeros(0) if prepared.label is None else prepared.label.numpy(),
            "affine": prepared.geometry.affine,
            "known": np.array(loaded.known),
            "present": present,
        }
        cache.put(key, arrays)
    known = tuple(bool(value) for value in arrays["known"])
    return PreparedCase(case.id, key, known), set(np.flatnonzero(arrays["present"]).tolist())
