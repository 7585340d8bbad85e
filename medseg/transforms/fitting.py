"""What preprocessing learns from the training patients, and keeps in the model file."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from medseg.config.preprocessing import FittedIntensity, PreprocessingConfig
from medseg.data.loading import LoadedCase
from medseg.errors import Code, CohortError, ModelFileError
from medseg.transforms.grid import Spacing, canonical_spacing_mm

VOXELS_A_CASE = 100_000


@dataclass(frozen=True)
class IntensityStatistics:
    """One channel over the voxels inside labels: percentiles 0.5 and 99.5, mean and standard deviation."""

    low: float
    high: float
    mean: float
    sd: float


@dataclass(frozen=True)
class Fitted:
    """``spacing_mm`` along right, anterior, superior; ``intensity`` one a channel where it is fitted."""

    spacing_mm: Spacing
    intensity: tuple[IntensityStatistics, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        statistics = None if self.intensity is None else [asdict(channel) for channel in self.intensity]
        return {"spacing_mm": list(self.spacing_mm), "intensity": statistics}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Fitted":
        """The inverse of :meth:`to_json`.

        Raises:
            ModelFileError: when ``values`` are not what ``to_json`` gives.
        """
        try:
            right, anterior, superior = (float(s) for s in values["spacing_mm"])
            found = values["intensity"]
            channels = None if found is None else tuple(_statistics(channel) for channel in found)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                Code.MODEL_DAMAGED,
                f"fitted preprocessing {values!r:.200} cannot be read ({error}): the model file is damaged",
            ) from error
        if min(right, anterior, superior) <= 0:
            raise ModelFileError(
                Code.MODEL_DAMAGED,
                f"fitted spacing_mm {values['spacing_mm']}: three positive numbers are needed",
            )
        return cls((right, anterior, superior), channels)


def _statistics(values: dict[str, Any]) -> IntensityStatistics:
    return IntensityStatistics(**{name: float(value) for name, value in values.items()})


def fit_preprocessing(config: PreprocessingConfig, cases: Iterable[LoadedCase]) -> Fitted:
    """Look once at each training case, one at a time.

    Spacing is the config's, or the median along each canonical axis. Intensities that are fitted take at most
    ``VOXELS_A_CASE`` voxels inside labels from each case, drawn by the case's id. ``cases`` are not looked at
    when nothing is to be learned from them.

    Raises:
        CohortError: when there is no case, or no voxel inside a label to fit to.
    """
    if not needs_cases(config):
        return fit_to(config, ())
    return fit_to(config, [look_at(config, loaded) for loaded in cases])


def needs_cases(config: PreprocessingConfig) -> bool:
    """Whether there is anything to learn."""
    return config.spacing_mm is None or _fits_intensity(config)


@dataclass(frozen=True, eq=False)
class Seen:
    """What is learned from one case."""

    spacing_mm: Spacing
    sample: Float32[np.ndarray, "C _"] | None


def look_at(config: PreprocessingConfig, loaded: LoadedCase) -> Seen:
    """What :func:`fit_to` wants of a case; little of it, so that the case can be let go."""
    sample = _sample(loaded) if _fits_intensity(config) else None
    return Seen(canonical_spacing_mm(loaded.images[0].geometry), sample)


def fit_to(config: PreprocessingConfig, seen: Sequence[Seen]) -> Fitted:
    """From all training cases, in their order. As :func:`fit_preprocessing`."""
    if not needs_cases(config) and config.spacing_mm is not None:
        return Fitted(config.spacing_mm)
    if not seen:
        raise CohortError(
            Code.TOO_FEW_CASES,
            "no training case to fit preprocessing to: look at data.cohort and data.held_out",
        )
    spacings = np.array([case.spacing_mm for case in seen])
    right, anterior, superior = (float(np.round(s, 6)) for s in np.median(spacings, axis=0))
    spacing = (right, anterior, superior) if config.spacing_mm is None else config.spacing_mm
    samples = [case.sample for case in seen if case.sample is not None]
    return Fitted(spacing, _statistics_of(samples) if _fits_intensity(config) else None)


def _fits_intensity(config: PreprocessingConfig) -> bool:
    return any(isinstance(channel, FittedIntensity) for channel in config.intensity)


def _sample(loaded: LoadedCase) -> Float32[np.ndarray, "C _"]:
    """Intensities (channel, voxel) of at most ``VOXELS_A_CASE`` voxels inside labels."""
    if loaded.label is None:
        return np.empty((len(loaded.images), 0), np.float32)
    inside = np.flatnonzero(loaded.label.array)
    if inside.size > VOXELS_A_CASE:
        digest = hashlib.blake2b(loaded.case.id.encode(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(digest))
        inside = np.sort(rng.choice(inside, VOXELS_A_CASE, replace=False, shuffle=False))
    return np.stack([image.array.reshape(-1)[inside].astype(np.float32) for image in loaded.images])


def _statistics_of(samples: list[Float32[np.ndarray, "C _"]]) -> tuple[IntensityStatistics, ...]:
    values = np.concatenate(samples, axis=1)
    if values.shape[1] == 0:
        raise CohortError(
            Code.CANNOT_FIT,
            "no training case has a voxel inside a label, so preprocessing.intensity 'fitted' has nothing to "
            "fit: correct labels, or choose window, zscore or percentile",
        )
    statistics = []
    for index, channel in enumerate(values):
        low, high = np.percentile(channel, (0.5, 99.5))
        mean, sd = channel.mean(dtype=np.float64), channel.std(dtype=np.float64)
        if sd == 0:
            raise CohortError(
                Code.CANNOT_FIT,
                f"channel {index} has the same value {mean:g} in every labelled voxel: it cannot be fitted; "
                "correct data.channels, or choose another preprocessing.intensity",
            )
        statistics.append(IntensityStatistics(float(low), float(high), float(mean), float(sd)))
    return tuple(statistics)
