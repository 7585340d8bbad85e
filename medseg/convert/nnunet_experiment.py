"""From nnU-Net's plans and dataset to an experiment: preprocessing, labels, network, windows."""

from typing import Any

from medseg.convert.nnunet_axes import NetworkAxes
from medseg.convert.nnunet_checkpoint import Checkpoint
from medseg.convert.nnunet_network import model_settings
from medseg.convert.nnunet_plans import USUAL_RESAMPLING, Configuration, Dataset, Plans
from medseg.errors import Code, ModelFileError
from medseg.transforms import Fitted, IntensityStatistics

INTENSITY: dict[str, dict[str, Any]] = {
    "CTNormalization": {"kind": "fitted"},
    "ZScoreNormalization": {"kind": "zscore", "region": "whole"},
    "NoNormalization": {"kind": "linear"},
    "RescaleTo01Normalization": {"kind": "minmax"},
    "RGBTo01Normalization": {"kind": "linear", "divide": 255},
}


def experiment_settings(
    plans: Plans, dataset: Dataset, configuration: Configuration, trained: Checkpoint, axes: NetworkAxes
) -> dict[str, Any]:
    """The experiment as a plain dictionary, but for its name.

    Raises:
        ModelFileError: labels or network are not what medseg has.
    """
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
            "resampling": "cubic" if has_usual_resampling(configuration) else "linear",
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
        "inference": {
            "blend": "nnunet",
            "average": "logits",
            "padding": "zero",
            "mirror_axes": mirrored,
            "nested": dataset.has_regions,
        },
    }


def has_usual_resampling(configuration: Configuration) -> bool:
    """Cubic splines, nearest across thick slices: nnU-Net's own, with its own arguments."""
    usual = {"order": 3, "order_z": 0, "force_separate_z": None}
    told = configuration.resampling_fn_data_kwargs
    return configuration.resampling_fn_data == USUAL_RESAMPLING and all(
        told.get(name, value) == value for name, value in usual.items()
    )


def _labels(dataset: Dataset) -> dict[str, int]:
    """Structures with their value in the mask, in the order of the network's outputs."""
    told = dataset.structures
    if dataset.has_regions:
        return dict(zip(told, _region_values(dataset), strict=True))
    single = {name: value if isinstance(value, int) else value[0] for name, value in told.items()}
    labels = dict(sorted(single.items(), key=lambda item: item[1]))
    if list(labels.values()) != list(range(1, len(labels) + 1)):
        raise ModelFileError(
            Code.MODEL_FOREIGN, f"dataset.json: labels {list(labels.values())[:20]} do not count from 1 on"
        )
    return labels


def _region_values(dataset: Dataset) -> tuple[int, ...]:
    order = dataset.regions_class_order or ()
    if len(order) != len(dataset.structures) or len(set(order)) < len(order) or 0 in order:
        raise ModelFileError(
            Code.MODEL_FOREIGN,
            f"dataset.json: regions_class_order {list(order)[:20]} does not give each of "
            f"{len(dataset.structures)} regions a value of its own",
        )
    return order


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
        else INTENSITY[scheme]
        for scheme, within in each
    ]


def _spacing(plans: Plans, configuration: Configuration, axes: NetworkAxes) -> tuple[float, float, float]:
    return axes.triple(configuration.spacing[-axes.dims :], plans.median_spacing[0])


def fitted_values(plans: Plans, dataset: Dataset, configuration: Configuration, axes: NetworkAxes) -> Fitted:
    statistics = None
    if "CTNormalization" in configuration.normalization_schemes:
        told = [plans.statistics[str(index)] for index in range(len(dataset.channels))]
        statistics = tuple(IntensityStatistics(s.low, s.high, s.mean, max(s.sd, 1e-8)) for s in told)
    return Fitted(_spacing(plans, configuration, axes), statistics)
