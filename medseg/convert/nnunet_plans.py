"""What ``plans.json`` and ``dataset.json`` of an nnU-Net model folder say, checked."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medseg.errors import Code, EnvironmentProblem, ModelFileError

MAX_BYTES = 64_000_000
USUAL_RESAMPLING = "resample_data_or_seg_to_shape"

Scalars = int | tuple[int, ...]
Nested = int | tuple[Scalars, ...]
Model = TypeVar("Model", bound=BaseModel)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Statistics(_Part):
    """Of one channel's voxels inside labels."""

    low: float = Field(alias="percentile_00_5")
    high: float = Field(alias="percentile_99_5")
    mean: float
    sd: float = Field(alias="std")


class Network(_Part):
    """``arch_kwargs``: arguments of the network's class; unknown ones are kept, to be refused by name."""

    model_config = ConfigDict(frozen=True, extra="allow")

    n_stages: int = Field(ge=2)
    features_per_stage: Scalars
    conv_op: str
    kernel_sizes: Nested
    strides: Nested
    n_conv_per_stage: Scalars | None = None
    n_blocks_per_stage: Scalars | None = None
    n_conv_per_stage_decoder: Scalars
    conv_bias: bool = False
    norm_op: str | None = None
    norm_op_kwargs: dict[str, Any] | None = None
    dropout_op: str | None = None
    dropout_op_kwargs: dict[str, Any] | None = None
    nonlin: str | None = None
    nonlin_kwargs: dict[str, Any] | None = None
    nonlin_first: bool = False
    stem_channels: int | None = None
    deep_supervision: bool = False


class Architecture(_Part):
    network_class_name: str
    network: Network = Field(alias="arch_kwargs")


class Configuration(_Part):
    """One of the plans' configurations, inheritance resolved. Axes are those of the transposed array."""

    patch_size: tuple[int, ...] = Field(min_length=2, max_length=3)
    spacing: tuple[float, ...]
    batch_size: int = Field(ge=1)
    normalization_schemes: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    preprocessor_name: str = "DefaultPreprocessor"
    resampling_fn_data: str = USUAL_RESAMPLING
    resampling_fn_data_kwargs: dict[str, Any] = {}
    previous_stage: str | None = None
    architecture: Architecture


class Plans(_Part):
    dataset_name: str
    plans_name: str
    image_reader_writer: str
    transpose_forward: tuple[int, int, int]
    median_spacing: tuple[float, float, float] = Field(alias="original_median_spacing_after_transp")
    statistics: dict[str, Statistics] = Field(alias="foreground_intensity_properties_per_channel")
    configurations: dict[str, dict[str, Any]]


class Dataset(_Part):
    channels: dict[str, str] = Field(alias="channel_names")
    labels: dict[str, int | tuple[int, ...]]
    file_ending: str = ".nii.gz"
    regions_class_order: tuple[int, ...] | None = None

    @property
    def structures(self) -> dict[str, int | tuple[int, ...]]:
        """Labels or regions by name, in the order of the file, without background and what is ignored."""
        return {
            name: value
            for name, value in self.labels.items()
            if name != "ignore" and set((value,) if isinstance(value, int) else value) != {0}
        }

    @property
    def has_regions(self) -> bool:
        """Whether structures are sets of labels, which may overlap."""
        return any(isinstance(value, tuple) and len(value) > 1 for value in self.structures.values())


def read_plans(folder: Path) -> Plans:
    raw = _read(folder / "plans.json")
    _rename(raw, "foreground_intensity_properties_by_modality", "foreground_intensity_properties_per_channel")
    plans = _validated(Plans, raw, folder / "plans.json")
    if sorted(plans.transpose_forward) != [0, 1, 2]:
        raise ModelFileError(
            Code.MODEL_FOREIGN, f"{folder}/plans.json: transpose_forward is no permutation of 0, 1, 2"
        )
    return plans


def read_dataset(folder: Path) -> Dataset:
    raw = _read(folder / "dataset.json")
    _rename(raw, "modality", "channel_names")
    return _validated(Dataset, raw, folder / "dataset.json")


def read_configuration(folder: Path, plans: Plans, name: str) -> Configuration:
    """The configuration ``name`` with what it inherits; plans of older versions of nnU-Net are understood."""
    raw = _inherited(folder, plans, name, ())
    if "architecture" not in raw and "UNet_class_name" in raw:
        raw["architecture"] = _older_architecture(raw)
    return _validated(Configuration, raw, folder / "plans.json", name)


def _inherited(folder: Path, plans: Plans, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if name not in plans.configurations or name in seen:
        raise ModelFileError(
            Code.MODEL_FOREIGN,
            f"{folder}/plans.json: no configuration {name!r:.80} that ends; there are "
            f"{', '.join(sorted(plans.configurations))[:200]}",
        )
    own = plans.configurations[name]
    parent = own.get("inherits_from")
    return {**(_inherited(folder, plans, str(parent), (*seen, name)) if parent else {}), **own}


def _older_architecture(raw: dict[str, Any]) -> dict[str, Any]:
    """The network as plans described it before they had an ``architecture``."""
    convs = raw.get("n_conv_per_stage_encoder", ())
    dims = len(raw.get("patch_size", ()))
    base, most = raw.get("UNet_base_num_features", 0), raw.get("unet_max_num_features", 0)
    residual = raw["UNet_class_name"] == "ResidualEncoderUNet"
    return {
        "network_class_name": raw["UNet_class_name"],
        "arch_kwargs": {
            "n_stages": len(convs),
            "features_per_stage": [min(base * 2**stage, most) for stage in range(len(convs))],
            "conv_op": f"Conv{dims}d",
            "kernel_sizes": raw.get("conv_kernel_sizes"),
            "strides": raw.get("pool_op_kernel_sizes"),
            "n_blocks_per_stage" if residual else "n_conv_per_stage": convs,
            "n_conv_per_stage_decoder": raw.get("n_conv_per_stage_decoder"),
            "conv_bias": True,
            "norm_op": f"InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    }


def _rename(raw: dict[str, Any], old: str, new: str) -> None:
    if new not in raw and old in raw:
        raw[new] = raw[old]


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: more than {MAX_BYTES} bytes: not nnU-Net's")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(
            Code.NO_MODEL_FILE,
            f"{path}: no such file: give the folder of a trained model, "
            "as in nnUNet_results/Dataset005_Prostate/nnUNetTrainer__nnUNetPlans__3d_fullres",
        ) from None
    except OSError as error:
        raise EnvironmentProblem(Code.CANNOT_READ, f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise ModelFileError(Code.MODEL_DAMAGED, f"{path}: not JSON: copy it again") from None
    if not isinstance(raw, dict):
        raise ModelFileError(Code.MODEL_FOREIGN, f"{path}: not what nnU-Net v2 writes")
    return raw


def _validated(model: type[Model], raw: Any, path: Path, within: str = "") -> Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ModelFileError(
            Code.MODEL_FOREIGN,
            *(
                f"{path}: {'.'.join([*([within] if within else []), *map(str, problem['loc'])])[:120]}: "
                f"{problem['msg']}: not what nnU-Net v2 writes"
                for problem in error.errors(include_input=False)[:10]
            ),
        ) from None
