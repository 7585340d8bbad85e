"""Whom ``medseg infer`` segments: the scans that were given, or patients of the model's own cohort."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.cli.options import parse_part, parse_shard

if TYPE_CHECKING:
    from medseg.batch import BatchModel
    from medseg.config.data import Reading
    from medseg.data import Patients


def require_one(inputs: list[Path] | None, split: str | None) -> None:
    from medseg.errors import Code, UsageError

    if bool(inputs) == bool(split):
        told = "INPUT and --split together" if inputs else "no INPUT"
        raise UsageError(Code.OPTION, f"{told}: give scans, or --split for the model's own patients")


def parse_reading(geometry: str, nonfinite: str, series_uid: str | None) -> "Reading":
    from medseg.config.data import Reading
    from medseg.errors import Code, UsageError

    for option, value, choices in (
        ("--geometry", geometry, ("agreed", "sform", "qform", "pixdim")),
        ("--nonfinite", nonfinite, ("refuse", "zero")),
    ):
        if value not in choices:
            raise UsageError(Code.OPTION, f"{option} {value}: give one of {', '.join(choices)}")
    return Reading.model_validate({"geometry": geometry, "nonfinite": nonfinite, "series_uid": series_uid})


def find_inputs(inputs: list[Path], model: "BatchModel", reading: "Reading", folder: Path) -> "Patients":
    """The patients of all inputs; masks of an earlier run that lie among them are no scans."""
    from medseg.data import Patients, find_patients
    from medseg.errors import Code, UsageError

    channels = model.experiment.data.channels
    ours = folder if os.path.isdir(folder / ".medseg") else None  # noqa: PTH112 - a name that is too long is no folder
    found = [find_patients(path, channels, leave_out=ours) for path in inputs]
    cases = tuple(replace(case, reading=reading) for patients in found for case in patients.cases)
    ids = [case.id.casefold() for case in cases]
    UsageError.raise_if(
        Code.SAME_NAME,
        (
            f"{case.id}: two inputs have this name, one mask would replace the other: run them apart"
            for index, case in enumerate(cases)
            if case.id.casefold() in ids[:index]
        ),
    )
    return Patients(cases, tuple(problem for patients in found for problem in patients.problems))


def patients_of_split(model: "BatchModel", split: str) -> "Patients":
    """Patients of the configuration that the model was trained with."""
    from medseg.data import Patients, find_cases, split_cases

    data = model.experiment.data
    return Patients(split_cases(find_cases(data, tuple(model.labels)), data).part(parse_part(split)))


def share_of(patients: "Patients", shard: str | None) -> "Patients":
    """Every so many-th patient, and of those that cannot be used; over all shards each is there once."""
    from medseg.data import Patients

    if shard is None:
        return patients
    number, count = parse_shard(shard)
    return Patients(patients.cases[number - 1 :: count], patients.problems[number - 1 :: count])
