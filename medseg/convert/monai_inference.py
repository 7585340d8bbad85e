"""From a bundle's ``inferer`` and ``postprocessing`` to ours."""

from dataclasses import dataclass
from typing import Any

from medseg.convert.monai_expressions import Component
from medseg.convert.monai_preprocessing import allowed, component, refused, short_name, transforms_of

_PADDING = {"constant": "zero", "replicate": "edge"}
_SPLIT = (
    "sw_batch_size",
    "sw_device",
    "device",
    "progress",
    "cache_roi_weight_map",
    "cpu_thresh",
    "buffer_steps",
    "buffer_dim",
    "with_coord",
)
"""How the work is cut up, which changes no number."""


@dataclass(frozen=True)
class Windows:
    """``size`` along the network's axes; ``settings`` of ``inference``."""

    size: tuple[int, int, int]
    settings: dict[str, Any]


@dataclass
class Decision:
    """How scores become a mask.

    ``labels_return``: labels go back to the scan's grid, not scores. ``largest``: classes of which only the
    largest part is kept (empty: of all; None: of none).
    """

    activation: str = ""
    rule: str = ""
    largest: list[int] | None = None
    labels_return: bool = False


def read_inferer(inferer: Any) -> Windows:
    """
    Raises:
        ModelFileError: no sliding window, or one that medseg has not.
    """
    inferer = component(inferer, "inferer")
    if inferer.name != "SlidingWindowInferer":
        raise refused(
            inferer,
            f"{inferer.target:.80}, a SlidingWindowInferer is expected: write one with the roi_size that the "
            "network was trained with",
        )
    told = {name for name in inferer.arguments if name not in _SPLIT}
    checked = Component(
        inferer.target, inferer.place, {name: inferer.told[name] for name in told}, inferer.bundle
    )
    allowed(checked, "roi_size", "overlap", "mode", "padding_mode", sigma_scale=(0.125,), cval=(0, 0.0))
    size = checked.get("roi_size")
    each = size if isinstance(size, list) else [size] * 3
    if len(each) != 3 or not all(type(n) is int and n > 0 for n in each):
        raise refused(inferer, f"roi_size {size!r:.60}: three numbers above 0 are expected: write them")
    overlap, mode = checked.get("overlap", 0.25), checked.get("mode", "constant")
    padding = _PADDING.get(str(checked.get("padding_mode", "constant")))
    if padding is None or mode not in ("constant", "gaussian"):
        raise refused(inferer, f"mode {mode!r:.30} or padding_mode is not known: run the bundle in MONAI")
    if not isinstance(overlap, int | float) or not 0 <= overlap < 1:
        raise refused(inferer, f"overlap {overlap!r:.30}: a share from 0 to below 1 is expected: write it")
    i, j, k = each
    return Windows((i, j, k), {"overlap": float(overlap), "blend": mode, "padding": padding, "step": "fixed"})


def read_postprocessing(pipeline: Any) -> Decision:
    """
    Raises:
        ModelFileError: a step that medseg has not, or none that makes a mask.
    """
    found = Decision()
    last: Component | None = None
    for last in transforms_of(pipeline):
        match short_name(last):
            case "Activations":
                _activation(last, found)
            case "AsDiscrete":
                _discrete(last, found)
            case "Invert":
                found.labels_return = bool(found.rule)
            case "KeepLargestConnectedComponent":
                _largest(last, found)
            case "SaveImage" | "EnsureType" | "ToTensor" | "ToDevice" | "Identity" | "CopyItems":
                pass
            case _:
                raise refused(
                    last,
                    f"{last.target:.80} is a step that medseg has not: run the bundle in MONAI, or take the "
                    "step out of the file where its work is not needed",
                )
    if not found.rule and last is not None:
        raise refused(
            last, "no AsDiscreted before the end, so what it saves is no mask: write one with argmax: true"
        )
    return found


def _activation(step: Component, found: Decision) -> None:
    allowed(step, softmax=(True, False), sigmoid=(True, False), other=(None,), dim=(0,), kwargs=(None,))
    if found.rule or found.activation:
        raise refused(step, "activated twice, or after the decision: run the bundle in MONAI")
    found.activation = next((name for name in ("softmax", "sigmoid") if step.get(name) is True), "")


def _discrete(step: Component, found: Decision) -> None:
    allowed(
        step,
        argmax=(True, False, None),
        threshold=(0.5, None),
        to_onehot=(None, False),
        rounding=(None,),
        dim=(0,),
        keepdim=(True,),
    )
    threshold = step.get("threshold")
    if step.get("argmax") is True and threshold is None:
        rule = "argmax"
    elif threshold is not None and found.activation == "sigmoid":
        rule = "threshold"
    else:
        rule = ""
    if not rule or found.rule:
        raise refused(
            step,
            "AsDiscreted is known once, with argmax: true, or with threshold: 0.5 after a sigmoid: "
            "write it so, or run the bundle in MONAI",
        )
    found.rule = rule


def _largest(step: Component, found: Decision) -> None:
    allowed(
        step,
        "applied_labels",
        is_onehot=(None, False),
        independent=(True,),
        connectivity=(None, 3),
        num_components=(1,),
    )
    if not found.rule:
        raise refused(step, "parts are looked for before there is a mask: run the bundle in MONAI")
    labels = step.get("applied_labels")
    each = labels if isinstance(labels, list) else [labels] if labels is not None else []
    found.largest = [int(label) for label in each]
