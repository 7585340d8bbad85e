"""From the name of a cohort to its fingerprint."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from medseg.config import DataConfig
from medseg.data import find_cases
from medseg.errors import Code, CohortError
from medseg.planning.fingerprint import Fingerprint, Progress, fingerprint, look_at_all
from medseg.planning.names import Modality, find_modality, name_values, told_names
from medseg.planning.plan import Subject


@dataclass(frozen=True)
class Naming:
    """What the user says of a cohort: structures by value, what its images are, what to call the plan."""

    labels: Mapping[str, int] = field(default_factory=dict)
    modality: Modality | None = None
    name: str | None = None


def look_at_cohort(data: DataConfig, naming: Naming, progress: Progress | None = None) -> Subject:
    """Find, read and measure every case of ``data.cohort``.

    Raises:
        CohortError: cases that cannot be used, all of them; fewer than two patients; references that do not
            agree on what their values mean.
    """
    told, channels = told_names(data.cohort)
    data = _with_channels(data, channels)
    simulating = partial(progress, "simulating") if progress else None
    cases = find_cases(data, tuple(naming.labels or told), progress=simulating)
    patients = {case.patient for case in cases}
    if len(patients) < 2:
        raise CohortError(
            Code.TOO_FEW_CASES,
            f"cohort {data.cohort}: {len(cases)} case(s) of {len(patients)} patient(s), training needs "
            "two patients at least, one of them to validate: add patients",
        )
    looks = look_at_all(cases, progress)
    labels = name_values(looks, told, naming.labels)
    names: Sequence[str] = tuple(data.channels or channels)
    modality = find_modality(looks, names, [case.images[0] for case in cases], naming.modality)
    found: Fingerprint = fingerprint(looks, labels, modality, data)
    return Subject(naming.name or _name_of(data.cohort), found, data)


def _with_channels(data: DataConfig, told: Sequence[str]) -> DataConfig:
    """All channels of a ``dataset.json`` that has several, unless some were named."""
    if data.channels or len(told) < 2:
        return data
    return data.model_copy(update={"channels": {name: f"*_{n:04d}.*" for n, name in enumerate(told)}})


def _name_of(cohort: str) -> str:
    path = Path(cohort.removeprefix("phantom:").partition("?")[0]).expanduser()
    stem = path.parent.name if path.name == "dataset.json" else path.resolve().name.removesuffix(".csv")
    return re.sub(r"[^A-Za-z0-9._-]", "_", stem).strip("._-")[:100] or "plan"
