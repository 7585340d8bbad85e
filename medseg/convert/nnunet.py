"""A trained nnU-Net v2 as a model file: preprocessing, network, windows and weights."""

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medseg.config import parse_experiment
from medseg.convert.nnunet_axes import NetworkAxes, is_orientation, network_axes
from medseg.convert.nnunet_checkpoint import Checkpoint, read_checkpoint
from medseg.convert.nnunet_network import model_settings, our_weights
from medseg.convert.nnunet_plans import (
    Configuration,
    Dataset,
    Plans,
    read_configuration,
    read_dataset,
    read_plans,
)
from medseg.errors import Code, ConfigError, ModelFileError, UsageError
from medseg.modelfile import ModelFile, load_network
from medseg.transforms import Fitted, IntensityStatistics

USUAL_ORIENTATION = "LPS"
"""How scanners, and what is made from DICOM, store axial scans."""

_AS_STORED = ("SimpleITKIO", "NibabelIO")
_TURNED_TO_RAS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")
_INTENSITY: dict[str, dict[str, Any]] = {
    "CTNormalization": {"kind": "fitted"},
    "ZScoreNormalization": {"kind": "zscore", "region": "whole"},
    "NoNormalization": {"kind": "linear"},
    "RescaleTo01Normalization": {"kind": "minmax"},
    "RGBTo01Normalization": {"kind": "linear", "divide": 255},
}


@dataclass(frozen=True, eq=False)
class Converted:
    """A model, and what a person should know of its making."""

    model: ModelFile
    notes: tuple[str, ...]


def convert_nnunet(
    folder: Path,
    *,
    fold: str | None = None,
    checkpoint: str = "checkpoint_final.pth",
    orientation: str | None = None,
) -> Converted:
    """Read a folder as ``nnUNet_results/Dataset005_Prostate/nnUNetTrainer__nnUNetPlans__3d_fullres``.

    Args:
        fold: ``"0"`` to ``"4"`` or ``"all"``; unset: 0 where it is, else all.
        orientation: where the stored axes of the training scans ran to, as in ``"RAS"``; unset: told by
            the reader that the plans name, else ``USUAL_ORIENTATION``.

    Raises:
        UsageError: no such fold, or an orientation that is none.
        ModelFileError: damaged, foreign, or something that medseg has not, by name.
    """
    if orientation is not None and not is_orientation(orientation):
        raise UsageError(Code.OPTION, f"orientation {orientation}: give three letters, as in LPS or RAS")
    chosen, notes = _find_fold(folder, fold, checkpoint)
    path = folder / f"fold_{chosen}" / checkpoint
    converted = assemble(folder, path, read_checkpoint(path), orientation)
    return Converted(converted.model, (*notes, *converted.notes))


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
        raw = _experiment(plans, dataset, configuration, trained, axes)
        raw["name"] = _name(f"{plans.dataset_name}-{trained.configuration}-{path.parent.name}")
        experiment = parse_experiment(raw, "its plans")
        weights = our_weights(trained.weights, configuration.architecture.network, experiment, axes)
        fitted = _fitted(plans, dataset, configuration, axes).to_json()
        model = ModelFile(experiment, fitted, _provenance(plans, trained, path, stored), weights)
        load_network(model)
    except ConfigError as error:
        raise ModelFileError(Code.MODEL_UNSUPPORTED, *error.problems).about(str(folder)) from None
    except ModelFileError as error:
        raise error.about(str(folder)) from None
    return Converted(model, tuple(notes))


def _find_fold(folder: Path, wanted: str | None, checkpoint: str) -> tuple[str, list[str]]:
    there = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}"))
    if not there or (wanted is not None and wanted not in there):
        raise UsageError(
            Code.OPTION,
            f"{folder}: no fold_{wanted or 0}/{checkpoint}; "
            f"there {'are folds ' + ', '.join(there) if there else 'is no fold'}: choose one with --fold",
        )
    chosen = wanted or ("0" if "0" in there else "all" if "all" in there else there[0])
    left = [name for name in there if name != chosen]
    return chosen, [f"fold {chosen} of {', '.join(there)}; nnU-Net would average them all"] if left else []


def _require_known(plans: Plans, dataset: Dataset, configuration: Configuration) -> None:
    """Refuse by name what medseg has not."""
    channels, schemes = len(dataset.channels), configuration.normalization_schemes
    numbered = {str(index) for index in range(channels)}
    needed = numbered if "CTNormalization" in schemes else set()
    regions = [name for name, value in dataset.labels.items() if isinstance(value, tuple) and len(value) > 1]
    problems = {
        "it is the second stage of a cascade (3d_cascade_fullres), which needs the mask of the first: "
        "convert 3d_fullres or 3d_lowres": configuration.previous_stage is not None,
        f"it was trained on regions ({', '.join(regions)[:120]}), which may overlap": bool(regions),
        f"its images are read by {plans.image_reader_writer:.80}, not as volumes with a place": (
            plans.image_reader_writer not in (*_AS_STORED, *_TURNED_TO_RAS)
        ),
        f"its preprocessor is {configuration.preprocessor_name:.80}, of which nothing is known": (
            configuration.preprocessor_name != "DefaultPreprocessor"
        ),
        f"normalisation {', '.join(sorted(set(schemes) - set(_INTENSITY)))[:120]} is not known": bool(
            set(schemes) - set(_INTENSITY)
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


def _experiment(
    plans: Plans, dataset: Dataset, configuration: Configuration, trained: Checkpoint, axes: NetworkAxes
) -> dict[str, Any]:
    """The experiment as a plain dictionary, but for its name."""
    mirrored = axes.names([axis for axis in trained.mirror_axes if axis < axes.dims])
    kept = ("i", "j", "k") if "no_resampling" in configuration.resampling_fn_data else axes.across
    return {
        "description": f"nnU-Net v2, {trained.trainer}, {plans.plans_name}, {trained.configuration}",
        "labels": _labels(dataset),
        "left_right_pairs": []
        if "i" in mirrored
        else None,  # mirrored sides kept their names in its training
        "data": {"cohort": plans.dataset_name, "channels": _channels(dataset)},
        "preprocessing": {
            "orientation": axes.orientation,
            "spacing_mm": _spacing(plans, configuration, axes),
            "keep_spacing": kept,
            "crop": "nonzero",
            "normalise": "before",
            "intensity": _intensity(configuration),
        },
        "sampling": {"patch_size": axes.triple(configuration.patch_size, 1), "foreground": 0.33},
        "model": model_settings(configuration.architecture, axes),
        "training": {
            "optimizer": "sgd",
            "learning_rate": 0.01,
            "schedule": "poly",
            "warmup": 0,
            "stop": {"epochs": max(1, trained.epoch)},
            "batch_size": configuration.batch_size,
            "steps_per_epoch": 250,
            "ema": None,
        },
        "inference": {"blend": "nnunet", "average": "logits", "padding": "zero", "mirror_axes": mirrored},
    }


def _labels(dataset: Dataset) -> dict[str, int]:
    """Structures by their value, which is the order of the network's outputs."""
    single = {
        name: value if isinstance(value, int) else value[0]
        for name, value in dataset.labels.items()
        if name not in ("background", "ignore")
    }
    labels = dict(sorted(single.items(), key=lambda item: item[1]))
    if list(labels.values()) != list(range(1, len(labels) + 1)):
        raise ModelFileError(
            Code.MODEL_FOREIGN, f"dataset.json: labels {list(labels.values())[:20]} do not count from 1 on"
        )
    return labels


def _channels(dataset: Dataset) -> dict[str, str] | None:
    """Channel to file pattern, ``*_0001.nii.gz``; a single channel needs none."""
    if len(dataset.channels) == 1:
        return None
    names = [dataset.channels[str(index)] for index in range(len(dataset.channels))]
    return {
        (name if names.count(name) == 1 else f"{name}_{index}"): f"*_{index:04d}{dataset.file_ending}"
        for index, name in enumerate(names)
    }


def _intensity(configuration: Configuration) -> list[dict[str, Any]]:
    each = zip(configuration.normalization_schemes, configuration.use_mask_for_norm, strict=True)
    return [
        {"kind": "zscore", "region": "nonzero"}
        if scheme == "ZScoreNormalization" and within
        else _INTENSITY[scheme]
        for scheme, within in each
    ]


def _spacing(plans: Plans, configuration: Configuration, axes: NetworkAxes) -> tuple[float, float, float]:
    return axes.triple(configuration.spacing[-axes.dims :], plans.median_spacing[0])


def _fitted(plans: Plans, dataset: Dataset, configuration: Configuration, axes: NetworkAxes) -> Fitted:
    statistics = None
    if "CTNormalization" in configuration.normalization_schemes:
        told = [plans.statistics[str(index)] for index in range(len(dataset.channels))]
        statistics = tuple(IntensityStatistics(s.low, s.high, s.mean, max(s.sd, 1e-8)) for s in told)
    return Fitted(_spacing(plans, configuration, axes), statistics)


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
