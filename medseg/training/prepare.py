"""From files to preprocessed cases in the cache."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medseg.config import Experiment
from medseg.data import Case, PreparedCache, Split, load_case
from medseg.errors import Code, CohortError, MedsegError, VolumeError
from medseg.training.room import SideBySide
from medseg.transforms import (
    Fitted,
    ForegroundIndex,
    Prepared,
    Preprocessing,
    Seen,
    fit_preprocessing,
    fit_to,
    look_at,
    needs_cases,
)
from medseg.transforms.augmentation import build_augmentation
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
    experiment: Experiment,
    split: Split,
    cache: PreparedCache,
    progress: Progress | None = None,
    *,
    workers: int | None = None,
) -> PreparedCohort:
    """Fit what needs fitting on the training cases, and preprocess those and the validation cases.

    Cases are prepared side by side, as many as there are cores and memory has room for; the result does not
    depend on how many.

    Args:
        workers: cases at once, at most; unset: the cores that this process may use.

    Raises:
        CohortError: every case that cannot be used, one line each; or structures no training case shows.
        ConfigError: TorchIO refuses arguments in ``augmentation``.
    """
    build_augmentation(experiment.augmentation, pairs=(), patch_size=experiment.sampling.patch_size)
    with SideBySide(workers) as pool:
        fitted = _fit(experiment, split.train, cache, pool, progress)
        recipe = _Recipe(experiment, fitted)
        both = (*split.train, *split.validation)
        problems: list[str] = []
        prepared: dict[str, PreparedCase] = {}
        seen: set[int] = set()
        for done, (case, result) in enumerate(pool.each(both, lambda case: recipe(case, cache)), start=1):
            if isinstance(result, MedsegError):
                problems += result.told
                continue
            prepared[case.id], classes = result
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
    return Prepared(image, label, Geometry(shape, np.array(cache.meta(case.key)["affine"])))


def _fit(
    experiment: Experiment,
    cases: Sequence[Case],
    cache: PreparedCache,
    pool: SideBySide,
    progress: Progress | None,
) -> Fitted:
    """What preprocessing learns from the training cases; it lies in the cache like what is made with it."""
    config = experiment.preprocessing
    if not needs_cases(config):
        return fit_preprocessing(config, ())
    told = {
        "preprocessing": config.model_dump(mode="json"),
        "labels": experiment.labels,
        "reading": experiment.data.reading.model_dump(mode="json"),
    }
    keys = [cache.key(case, json.dumps([told, case.id], sort_keys=True)) for case in cases]
    key = hashlib.sha256("\n".join(["fitted", *keys]).encode()).hexdigest()
    found = cache.meta(key)
    if found is not None:
        return Fitted.from_json(found)

    def seen_of(case: Case) -> Seen:
        loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
        return look_at(config, loaded)

    problems: list[str] = []
    seen: list[Seen] = []
    for done, (_, result) in enumerate(pool.each(cases, seen_of), start=1):
        if isinstance(result, MedsegError):
            problems += result.told
            continue
        seen.append(result)
        if progress is not None:
            progress("fitting", done, len(cases))
    CohortError.raise_if(Code.COHORT_CASES, problems)
    fitted = fit_to(config, seen)
    cache.put(key, {}, fitted.to_json())
    return fitted


class _Recipe:
    """How one case is made ready, as a key of the cache and as work."""

    def __init__(self, experiment: Experiment, fitted: Fitted) -> None:
        self._experiment = experiment
        self._preprocessing = Preprocessing(experiment.preprocessing, fitted)
        self._told = {
            "preprocessing": experiment.preprocessing.model_dump(mode="json"),
            "fitted": fitted.to_json(),
            "labels": experiment.labels,
            "missing": experiment.data.missing_structures,
        }

    def __call__(self, case: Case, cache: PreparedCache) -> tuple[PreparedCase, set[int]]:
        """The case in the cache, and the classes in its reference."""
        told = {
            **self._told,
            "not_contoured": sorted(case.not_contoured),
            "reading": case.reading.model_dump(mode="json"),
        }
        key = cache.key(case, json.dumps(told, sort_keys=True))
        meta = cache.meta(key) if cache.get(key) is not None else None
        if meta is None:
            arrays, meta = self._made(case)
            cache.put(key, arrays, meta)
        return PreparedCase(case.id, key, tuple(meta["known"])), set(meta["present"])

    def _made(self, case: Case) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        experiment = self._experiment
        loaded = load_case(case, experiment.labels, experiment.data.missing_structures)
        if loaded.label is None:
            raise CohortError(
                Code.NO_LABEL,
                f"case {case.id}: no reference label, training needs one: add it, or remove the case",
            )
        try:
            prepared = self._preprocessing(loaded.images, loaded.label)
        except VolumeError as error:
            raise error.about(f"case {case.id}") from error
        present = np.bincount(loaded.label.array.ravel(), minlength=experiment.class_count) > 0
        label = np.zeros((0, 0, 0), np.uint8) if prepared.label is None else prepared.label.numpy()
        foreground = ForegroundIndex.build(label).to_array()
        meta = {
            "affine": prepared.geometry.affine.tolist(),
            "known": [bool(value) for value in loaded.known],
            "present": np.flatnonzero(present).tolist(),
        }
        return {"image": prepared.image.numpy(), "label": label, "foreground": foreground}, meta
