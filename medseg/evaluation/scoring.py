"""One case: prediction against reference, every structure, every configured metric."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt16
from scipy.ndimage import find_objects

from medseg.config.inference import EvaluationConfig
from medseg.errors import Code, UsageError
from medseg.evaluation import overlap, surfaces
from medseg.evaluation.case import LOWER_IS_BETTER, CaseScore, FailedCase, Status, StructureScore
from medseg.evaluation.confusion import Confusion, confusion_matrix, structure_confusion, to_classes
from medseg.volume import Geometry, Volume, require_same_grid

_SHARES: dict[str, Callable[[Confusion], float | None]] = {
    "dice": overlap.dice,
    "iou": overlap.iou,
    "pixel_accuracy": overlap.pixel_accuracy,
    "mean_pixel_accuracy": overlap.mean_pixel_accuracy,
    "precision": overlap.precision,
    "recall": overlap.recall,
    "f1": overlap.f1,
}
_OVERALL: dict[str, Callable[[Int64[np.ndarray, "C C"]], float | None]] = {
    "pixel_accuracy": overlap.overall_pixel_accuracy,
    "mean_pixel_accuracy": overlap.overall_mean_pixel_accuracy,
}
_SURFACE = ("hd95", "assd", "nsd")

Box = tuple[slice, slice, slice]


def score_case(
    case_id: str,
    prediction: Volume,
    reference: Volume,
    *,
    labels: Mapping[str, int],
    known: Mapping[str, bool] | None = None,
    config: EvaluationConfig = EvaluationConfig(),  # noqa: B008 - frozen
    patient: str = "",
) -> CaseScore:
    """Score a prediction on the grid of its reference.

    Args:
        case_id: names the case in errors and tables.
        prediction: label values, as in a file.
        reference: label values, as in a file.
        labels: structure to label value; other values are background.
        known: structure to whether somebody contoured it (missing: yes); the others are not measured.
        config: which metrics, and the tolerance of NSD.
        patient: groups cases of one person; unset, the case stands for itself.

    Raises:
        GridMismatchError: the volumes are not on the same grid; they are not compared as arrays.
        VolumeError: a volume does not hold whole numbers.
    """
    require_same_grid(reference.geometry, prediction.geometry, f"case {case_id}: reference and prediction")
    unknown = _not_contoured(labels, known)
    maps = _LabelMaps.of(prediction, reference, labels)
    structures = tuple(
        _not_contoured_score(name, config, maps.prediction_ml(index))
        if name in unknown
        else _score_structure(name, index, maps, config)
        for index, name in enumerate(labels, start=1)
    )
    kept = [0, *(index for index, name in enumerate(labels, start=1) if name not in unknown)]
    told = maps.matrix[np.ix_(kept, kept)]
    overall = {str(metric): _OVERALL[metric](told) for metric in config.metrics if metric in _OVERALL}
    return CaseScore(case_id, patient or case_id, structures, overall)


def score_failure(
    failed: FailedCase,
    reference: Volume,
    *,
    labels: Mapping[str, int],
    known: Mapping[str, bool] | None = None,
    config: EvaluationConfig = EvaluationConfig(),  # noqa: B008 - frozen
) -> FailedCase:
    """The failed case with every structure that its reference has counted as missed."""
    unknown = _not_contoured(labels, known)
    sizes = np.bincount(to_classes(reference.array, labels).ravel(order="K"), minlength=len(labels) + 1)
    structures = []
    for index, name in enumerate(labels, start=1):
        if name in unknown:
            structures.append(_not_contoured_score(name, config, None))
        elif sizes[index]:
            reference_ml = float(sizes[index]) * reference.geometry.voxel_ml
            values = _empty_values("missed", reference.geometry, config)
            values |= {"volume_error_ml": -reference_ml, "volume_error_relative": -1.0}
            structures.append(StructureScore(name, "missed", reference_ml, None, values))
    return FailedCase(failed.case, failed.patient or failed.case, failed.reason, tuple(structures))


@dataclass(frozen=True, eq=False)
class _LabelMaps:
    """Both label maps as class indices, counted once, and where each structure lies."""

    prediction: UInt16[np.ndarray, "I J K"]
    reference: UInt16[np.ndarray, "I J K"]
    matrix: Int64[np.ndarray, "C C"]
    prediction_boxes: list[Box | None]
    reference_boxes: list[Box | None]
    geometry: Geometry

    @classmethod
    def of(cls, prediction: Volume, reference: Volume, labels: Mapping[str, int]) -> "_LabelMaps":
        predicted, referred = to_classes(prediction.array, labels), to_classes(reference.array, labels)
        return cls(
            predicted,
            referred,
            confusion_matrix(referred, predicted, len(labels) + 1),
            _boxes(predicted, len(labels)),
            _boxes(referred, len(labels)),
            reference.geometry,
        )

    def prediction_ml(self, index: int) -> float:
        return float(self.matrix[:, index].sum()) * self.geometry.voxel_ml

    def reference_ml(self, index: int) -> float:
        return float(self.matrix[index].sum()) * self.geometry.voxel_ml

    def surfaces(self, index: int) -> surfaces.SurfaceDistances:
        """Measured in the smallest box that holds the structure in both maps."""
        ours, theirs = self.prediction_boxes[index - 1], self.reference_boxes[index - 1]
        if ours is None or theirs is None:
            raise UsageError(
                Code.CALL, f"class {index}: not in both label maps, and has no surface distances"
            )
        box = tuple(
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(ours, theirs, strict=True)
        )
        return surfaces.measure_surfaces(
            self.prediction[box] == index, self.reference[box] == index, self.geometry
        )


def _boxes(classes: UInt16[np.ndarray, "I J K"], count: int) -> list[Box | None]:
    found: list[Any] = find_objects(classes, max_label=count)
    return [box and (box[0], box[1], box[2]) for box in found]


def _not_contoured(labels: Mapping[str, int], known: Mapping[str, bool] | None) -> frozenset[str]:
    known = known or {}
    if strangers := set(known) - set(labels):
        raise UsageError(
            Code.CALL, f"known: {', '.join(sorted(strangers))} not in labels ({', '.join(labels)})"
        )
    return frozenset(name for name in labels if not known.get(name, True))


def _score_structure(name: str, index: int, maps: _LabelMaps, config: EvaluationConfig) -> StructureScore:
    counts = structure_confusion(maps.matrix, index)
    reference_ml, prediction_ml = maps.reference_ml(index), maps.prediction_ml(index)
    status = _status(counts)
    if status == "scored":
        values = _scored_values(counts, index, maps, config)
    else:
        values = _empty_values(status, maps.geometry, config)
    error_ml = prediction_ml - reference_ml
    values["volume_error_ml"] = None if status == "both_empty" else error_ml
    values["volume_error_relative"] = error_ml / reference_ml if reference_ml else None
    return StructureScore(name, status, reference_ml, prediction_ml, values)


def _status(counts: Confusion) -> Status:
    match bool(counts.tp + counts.fn), bool(counts.tp + counts.fp):
        case True, True:
            return "scored"
        case True, False:
            return "missed"
        case False, True:
            return "false_positive"
        case _:
            return "both_empty"


def _scored_values(
    counts: Confusion, index: int, maps: _LabelMaps, config: EvaluationConfig
) -> dict[str, float | None]:
    wants_surfaces = any(metric in _SURFACE for metric in config.metrics)
    measured = maps.surfaces(index) if wants_surfaces else None
    values: dict[str, float | None] = {}
    for metric in config.metrics:
        if metric in _SHARES:
            values[metric] = _SHARES[metric](counts)
        elif measured is not None:
            values[metric] = _read_surface(metric, measured, config)
    return values


def _read_surface(metric: str, measured: surfaces.SurfaceDistances, config: EvaluationConfig) -> float:
    if metric == "hd95":
        return surfaces.hd95(measured)
    if metric == "assd":
        return surfaces.assd(measured)
    return surfaces.nsd(measured, config.nsd_tolerance_mm)


def _empty_values(status: Status, geometry: Geometry, config: EvaluationConfig) -> dict[str, float | None]:
    """The values of a structure that is empty in the prediction, the reference or both (see rules.RULES)."""
    if status == "both_empty":
        return dict.fromkeys(config.metrics)
    worst = surfaces.diagonal_mm(geometry)
    values: dict[str, float | None] = {
        metric: worst if metric in LOWER_IS_BETTER else 0.0 for metric in config.metrics
    }
    if status == "false_positive" and "recall" in values:
        values["recall"] = None
    return values


def _not_contoured_score(name: str, config: EvaluationConfig, prediction_ml: float | None) -> StructureScore:
    values = dict.fromkeys((*config.metrics, "volume_error_ml", "volume_error_relative"))
    return StructureScore(name, "not_contoured", None, prediction_ml, values)
