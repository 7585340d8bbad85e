"""A trained nnU-Net v2 as a model file: preprocessing, network, windows and weights."""

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medseg.config import parse_experiment
from medseg.convert.ensemble import merge_models
from medseg.convert.nnunet_axes import is_orientation, network_axes
from medseg.convert.nnunet_checkpoint import Checkpoint, read_checkpoint
from medseg.convert.nnunet_experiment import (
    INTENSITY,
    experiment_settings,
    fitted_values,
    has_usual_resampling,
)
from medseg.convert.nnunet_network import our_weights, with_background
from medseg.convert.nnunet_plans import (
    Configuration,
    Dataset,
    Plans,
    read_configuration,
    read_dataset,
    read_plans,
)
from medseg.errors import Code, ConfigError, ModelFileError, UsageError
from medseg.modelfile import MAX_MEMBERS, ModelFile, load_network

USUAL_ORIENTATION = "LPS"
"""How scanners, and what is made from DICOM, store axial scans."""

_AS_STORED = ("SimpleITKIO", "NibabelIO")
_TURNED_TO_RAS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")


@dataclass(frozen=True, eq=False)
class Converted:
    """A model, and what a person should know of its making."""

    model: ModelFile
    notes: tuple[str, ...]


def convert_nnunet(
    folder: Path,
    *,
    folds: str | None = None,
    checkpoint: str = "checkpoint_final.pth",
    orientation: str | None = None,
) -> Converted:
    """Read a folder as ``nnUNet_results/Dataset005_Prostate/nnUNetTrainer__nnUNetPlans__3d_fullres``.

    Several folds become one model, whose logits are averaged, as nnU-Net does it.

    Args:
        folds: ``"0"``, or several as in ``"0,1,2"``; ``"all"``: the network that was trained on all patients
            (``fold_all``), or every fold where there is none; unset: every numbered fold, else ``fold_all``.
        orientation: where the stored axes of the training scans ran to, as in ``"RAS"``; unset: told by
            the reader that the plans name, else ``USUAL_ORIENTATION``.

    Raises:
        UsageError: no such fold, or an orientation that is none.
        ModelFileError: damaged, foreign, or something that medseg has not, by name.
    """
    if orientation is not None and not is_orientation(orientation):
        raise UsageError(Code.OPTION, f"orientation {orientation}: give three letters, as in LPS or RAS")
    chosen = _find_folds(folder, folds, checkpoint)
    members = []
    for fold in chosen:
        path = folder / f"fold_{fold}" / checkpoint
        members.append(assemble(folder, path, read_checkpoint(path), orientation))
    notes = members[0].notes
    if len(members) == 1:
        return members[0]
    name = members[0].model.experiment.name.removesuffix(f"-fold_{chosen[0]}")
    model = merge_models([member.model for member in members], f"{name}-folds_{'_'.join(chosen)}"[:100])
    told = f"{len(chosen)} folds ({', '.join(chosen)}) are averaged, as nnU-Net does: each takes its time"
    return Converted(model, (told, *notes))


def assemble(folder: Path, path: Path, trained: Checkpoint, orientation: str | None = None) -> Converted:
    """The model of ``folder`` with the weights of the checkpoint that was read from ``path``.

    Raises:
        ModelFileError: as :func:`convert_nnunet`.
    """
    plans, dataset = read_plans(folder), read_dataset(folder)
    configuration = read_configuration(folder, plans, trained.configuration)
    try:
        _require_known(plans, dataset, configuration)
        stored, notes = _stored_orientation(plans, orientation)
        axes = network_axes(stored, plans.transpose_forward, len(configuration.patch_size))
        raw = experiment_settings(plans, dataset, configuration, trained, axes)
        raw["name"] = _name(f"{plans.dataset_name}-{trained.configuration}-{path.parent.name}")
        experiment = parse_experiment(raw, "its plans")
        theirs = with_background(trained.weights) if dataset.has_regions else trained.weights
        weights = our_weights(theirs, configuration.architecture.network, experiment, axes)
        fitted = fitted_values(plans, dataset, configuration, axes).to_json()
        model = ModelFile(experiment, fitted, _provenance(plans, trained, path, stored), weights)
        load_network(model)
    except ConfigError as error:
        raise ModelFileError(Code.MODEL_UNSUPPORTED, *error.problems).about(str(folder)) from None
    except ModelFileError as error:
        raise error.about(str(folder)) from None
    return Converted(model, (*notes, *_further_notes(dataset, configuration)))


def _find_folds(folder: Path, wanted: str | None, checkpoint: str) -> list[str]:
    there = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}"))
    numbered = [name for name in there if name != "all"]
    if wanted is None:
        chosen = numbered or there
    elif wanted == "all":
        chosen = ["all"] if "all" in there else numbered
    else:
        chosen = list(dict.fromkeys(name.strip() for name in wanted.split(",")))
    missing = [name for name in chosen if name not in there]
    if missing or not chosen:
        raise UsageError(
            Code.OPTION,
            f"{folder}: no fold_{missing[0] if missing else '0':.20}/{checkpoint}; "
            f"there {'are folds ' + ', '.join(there) if there else 'is no fold'}: choose with --folds",
        )
    if len(chosen) > MAX_MEMBERS:
        raise UsageError(
            Code.OPTION, f"{folder}: {len(chosen)} folds, {MAX_MEMBERS} at most: choose with --folds"
        )
    return chosen


def _further_notes(dataset: Dataset, configuration: Configuration) -> list[str]:
    notes = []
    if dataset.has_regions:
        notes.append(
            "its structures are regions that may overlap: a voxel gets the value of the last that holds it"
        )
    if not has_usual_resampling(configuration):
        notes.append(
            f"its scans were resampled by {configuration.resampling_fn_data:.60} with arguments of its own; "
            "medseg resamples linearly, and its surfaces differ by parts of a voxel"
        )
    return notes


def _require_known(plans: Plans, dataset: Dataset, configuration: Configuration) -> None:
    """Refuse by name what medseg has not."""
    channels, schemes = len(dataset.channels), configuration.normalization_schemes
    numbered = {str(index) for index in range(channels)}
    needed = numbered if "CTNormalization" in schemes else set()
    problems = {
        "it is the second stage of a cascade (3d_cascade_fullres), which needs the mask of the first: "
        "convert 3d_fullres or 3d_lowres": configuration.previous_stage is not None,
        f"its images are read by {plans.image_reader_writer:.80}, not as volumes with a place": (
            plans.image_reader_writer not in (*_AS_STORED, *_TURNED_TO_RAS)
        ),
        f"its preprocessor is {configuration.preprocessor_name:.80}, of which nothing is known": (
            configuration.preprocessor_name != "DefaultPreprocessor"
        ),
        f"normalisation {', '.join(sorted(set(schemes) - set(INTENSITY)))[:120]} is not known": bool(
            set(schemes) - set(INTENSITY)
        ),
        f"{channels} channels, but entries in normalization_schemes or use_mask_for_norm are more or less": (
            not channels == len(schemes) == len(configuration.use_mask_for_norm)
        ),
        "dataset.json: channels are not numbered from 0 on": set(dataset.channels) != numbered,
        "plans.json: intensities of a channel are missing": not needed <= set(plans.statistics),
        "plans.json: spacing and patch_size have not the same axes": (
            len(configuration.spacing) != len(configuration.patch_size)
        ),
    }
    ModelFileError.raise_if(
        Code.MODEL_UNSUPPORTED, (f"{told}; run it in nnU-Net" for told, is_so in problems.items() if is_so)
    )


def _stored_orientation(plans: Plans, given: str | None) -> tuple[str, list[str]]:
    if plans.image_reader_writer in _TURNED_TO_RAS:
        if given not in (None, "RAS"):
            raise UsageError(
                Code.OPTION,
                f"orientation {given}: the plans' {plans.image_reader_writer} turned all scans to RAS",
            )
        return "RAS", []
    if given is not None:
        return given, []
    return USUAL_ORIENTATION, [
        f"training scans are taken to be stored {USUAL_ORIENTATION}, as scanners do; nnU-Net does not say: "
        "if theirs ran otherwise, convert with --orientation"
    ]


def _provenance(plans: Plans, trained: Checkpoint, path: Path, stored: str) -> dict[str, Any]:
    return {
        "converted_from": "nnU-Net v2",
        "medseg": version("medseg"),
        "dataset": plans.dataset_name,
        "plans": plans.plans_name,
        "configuration": trained.configuration,
        "trainer": trained.trainer,
        "fold": path.parent.name.removeprefix("fold_"),
        "epoch": trained.epoch,
        "checkpoint": path.name,
        "checkpoint_sha256": trained.sha256,
        "stored_orientation": stored,
    }


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip("._-")[:100] or "nnunet"
