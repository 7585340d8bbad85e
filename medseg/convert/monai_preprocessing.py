"""From a bundle's ``preprocessing`` to ours. What would change a mask and is not ours is refused by name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from medseg.convert.monai_expressions import Component
from medseg.errors import Code, ModelFileError

_NEUTRAL = {
    "LoadImage", "EnsureChannelFirst", "AddChannel", "AsChannelFirst", "EnsureType", "ToTensor", "ToDevice",
    "Identity",
}  # fmt: skip
"""Transforms that leave the numbers as they are; EnsureType's device and type are ours to choose."""

Step = dict[str, Any]


@dataclass
class Preprocessing:
    """``orientation`` and ``spacing_mm`` are None where nothing turns or resamples scans; 0 keeps an axis."""

    channels: int
    orientation: str | None = None
    spacing_mm: tuple[float, float, float] | None = None
    intensity: list[Step] = field(default_factory=list)
    normalise: str = "after"


def read_preprocessing(pipeline: Any, channels: int) -> Preprocessing:
    """``pipeline``: the value of ``preprocessing``, a Compose or a list of transforms.

    Raises:
        ModelFileError: a transform or an argument that is not known, with its place and name.
    """
    found = Preprocessing(channels)
    for transform in transforms_of(pipeline):
        name = short_name(transform)
        _require_image(transform)
        if name in _NEUTRAL:
            continue
        read = _READERS.get(name)
        if read is None:
            raise refused(
                transform,
                f"{transform.target:.80} is a step that medseg has not: run the bundle in MONAI, or "
                "take the step out of the file where the network does not need it",
            )
        read(transform, found)
    return found


def transforms_of(pipeline: Any) -> list[Component]:
    """The transforms that are not switched off."""
    if isinstance(pipeline, Component):
        if pipeline.name != "Compose":
            raise refused(
                pipeline, f"{pipeline.target:.80}, a Compose is expected: write the transforms in one"
            )
        given = pipeline.get("transforms", [])
        allowed(pipeline, "transforms", lazy=(False, None), map_items=(True,), unpack_items=(False,))
    else:
        given = pipeline
    each = [component(one, "a pipeline") for one in (given if isinstance(given, list) else [given])]
    return [transform for transform in each if not transform.is_off]


def component(value: Any, what: str) -> Component:
    """``value``, which has to be an object of the configuration."""
    if not isinstance(value, Component):
        raise ModelFileError(
            Code.MODEL_FOREIGN,
            f"{what} holds {value!r:.60}, and an object with a _target_ is expected: write one",
        )
    return value


def short_name(transform: Component) -> str:
    """``Spacingd``, ``SpacingD`` and ``SpacingDict`` are ``Spacing``."""
    for ending in ("Dict", "d", "D"):
        if transform.name.endswith(ending):
            return transform.name.removesuffix(ending)
    return transform.name


def refused(part: Component, problem: str) -> Exception:
    return part.bundle.refusal(part.place, problem)


def allowed(part: Component, *read: str, **values: tuple[Any, ...]) -> None:
    """Refuse arguments of ``part`` that are neither ``read`` nor one of ``values`` that change nothing."""
    for name in part.arguments:
        if name in read or name in ("keys", "allow_missing_keys"):
            continue
        value = part.get(name)
        if name not in values or value not in values[name]:
            raise refused(
                part,
                f"{part.name} with {name}: {value!r:.60}, which medseg has not: run the bundle in MONAI, or "
                "take the argument out where the network does not need it",
            )


def _require_image(transform: Component) -> None:
    keys = transform.get("keys", "image")
    if isinstance(keys, list) and len(keys) != 1:
        raise refused(
            transform, f"keys {keys!r:.60}: one image of all channels is expected, as in keys: image"
        )


def _orientation(transform: Component, found: Preprocessing) -> None:
    allowed(
        transform, "axcodes", as_closest_canonical=(False, True, None), labels=(None,), lazy=(False, None)
    )
    codes = "RAS" if transform.get("as_closest_canonical") else str(transform.get("axcodes", ""))
    pairs = ("RL", "AP", "SI")
    if len(codes) != 3 or any(code not in pair for code, pair in zip(codes, pairs, strict=True)):
        raise refused(
            transform,
            f"axcodes {codes:.20}: axes in another order than R/L, A/P, S/I are not known: "
            "run the bundle in MONAI",
        )
    if found.orientation is not None or found.spacing_mm is not None:
        raise refused(
            transform, "scans are turned twice, or after they were resampled: run the bundle in MONAI"
        )
    found.orientation = codes


def _spacing(transform: Component, found: Preprocessing) -> None:
    allowed(
        transform, "pixdim", "mode", diagonal=(False,), padding_mode=("border", ["border"]),
        align_corners=(False, None, [False]), scale_extent=(False,), recompute_affine=(False, True),
        lazy=(False, None), dtype=("float32", "float64", None), ensure_same_shape=(True, False),
    )  # fmt: skip
    if transform.get("mode", "bilinear") not in ("bilinear", ["bilinear"], 1):
        raise refused(
            transform, f"mode {transform.get('mode')!r:.40}: only bilinear is known: run the bundle in MONAI"
        )
    given = transform.get("pixdim")
    each = given if isinstance(given, list) else [given] * 3
    values = [value for value in each if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(each) != 3 or len(values) != 3 or found.spacing_mm is not None:
        raise refused(transform, f"pixdim {given!r:.60}: three numbers are expected, once: correct them")
    i, j, k = (max(float(value), 0.0) for value in values)
    found.spacing_mm = (i, j, k)
    if found.intensity:
        found.normalise = "before"


def _one_channel(transform: Component, found: Preprocessing) -> None:
    """Refuse statistics that are taken over several channels together."""
    if found.channels > 1 and not _true(transform.get("channel_wise", False)):
        raise refused(
            transform,
            f"{transform.name} takes its numbers over {found.channels} channels together, and medseg "
            "over each: run the bundle in MONAI, or set channel_wise: true if it was trained so",
        )


def _number(transform: Component, name: str) -> float:
    value = transform.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused(transform, f"{name}: {value!r:.40}, and a number is expected: write it")
    return float(value)


def _true(value: Any) -> bool:
    return value in (True, "True", "true")


def _scale_range(transform: Component, found: Preprocessing) -> None:
    allowed(transform, "a_min", "a_max", "b_min", "b_max", "clip", dtype=("float32", None))
    low, high, start, end = (_number(transform, name) for name in ("a_min", "a_max", "b_min", "b_max"))
    clipped = _true(transform.get("clip", False))
    if not (high > low and end > start):
        raise refused(transform, "a_max must be above a_min, and b_max above b_min: run the bundle in MONAI")
    divide = (high - low) / (end - start)
    step = {"kind": "linear", "subtract": low - start * divide, "divide": divide}
    _add(transform, found, {**step, "low": low, "high": high} if clipped else step)


def _scale(transform: Component, found: Preprocessing) -> None:
    allowed(transform, "minv", "maxv", "channel_wise", factor=(None,), dtype=("float32", None))
    _one_channel(transform, found)
    low = _number(transform, "minv") if "minv" in transform.told else 0.0
    high = _number(transform, "maxv") if "maxv" in transform.told else 1.0
    if not low < high:
        raise refused(transform, f"minv {low:g} must be below maxv {high:g}: run the bundle in MONAI")
    _add(transform, found, {"kind": "minmax", "low": low, "high": high})


def _percentiles(transform: Component, found: Preprocessing) -> None:
    allowed(
        transform,
        "lower",
        "upper",
        "b_min",
        "b_max",
        "clip",
        "channel_wise",
        relative=(False,),
        dtype=("float32", None),
    )
    _one_channel(transform, found)
    lower, upper, start, end = (_number(transform, name) for name in ("lower", "upper", "b_min", "b_max"))
    if not _true(transform.get("clip", False)) or not start < end:
        raise refused(transform, "only clip: true and b_min below b_max are known: run the bundle in MONAI")
    divide = 2 / (end - start)
    _add(transform, found, {"kind": "percentile", "low": lower, "high": upper})
    _add(transform, found, {"kind": "linear", "subtract": -1 - start * divide, "divide": divide})


def _normalise(transform: Component, found: Preprocessing) -> None:
    allowed(transform, "subtrahend", "divisor", "nonzero", "channel_wise", dtype=("float32", None))
    subtract, divide = transform.get("subtrahend"), transform.get("divisor")
    nonzero = _true(transform.get("nonzero", False))
    if subtract is None and divide is None:
        _one_channel(transform, found)
        _add(transform, found, {"kind": "zscore", "region": "nonzero_voxels" if nonzero else "whole"})
        return
    step = {"subtract": _number(transform, "subtrahend"), "divide": _number(transform, "divisor")}
    if nonzero or step["divide"] <= 0:
        raise refused(transform, "with nonzero, or a divisor that is not above 0: run the bundle in MONAI")
    _add(transform, found, {"kind": "linear", **step})


def _add(transform: Component, found: Preprocessing, step: Step) -> None:
    if found.normalise == "before":
        raise refused(
            transform, "intensities are normalised before and after Spacingd: run the bundle in MONAI"
        )
    found.intensity.append(step)


_READERS: dict[str, Callable[[Component, Preprocessing], None]] = {
    "Orientation": _orientation,
    "Spacing": _spacing,
    "ScaleIntensityRange": _scale_range,
    "ScaleIntensityRangePercentiles": _percentiles,
    "ScaleIntensity": _scale,
    "NormalizeIntensity": _normalise,
}
