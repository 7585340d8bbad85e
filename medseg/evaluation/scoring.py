"""One case: prediction against reference, every structure, every configured metric."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt16
from scipy.ndimage import find_objects

from medseg.config.inference import EvaluationConfig, LesionConfig
from medseg.errors import Code, UsageError
from medseg.evaluation import overlap, surfaces
from medseg.evaluation.case import LOWER_IS_BETTER, CaseScore, FailedCase, Status, StructureScore
from medseg.evaluation.confusion import Confusion, confusion_matrix, structure_confusion, to_classes
from medseg.evaluation.fingerprint import hash_structure
from medseg.evaluation.lesions import count_lesions, lesion_values, unmeasured_lesions
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
_NOWHERE: Box = (slice(0, 0), slice(0, 0), slice(0, 0))


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
    maps = _LabelMaps.of(reference.with_array(np.zeros_like(reference.array)), reference, labels)
    structures = []
    for index, name in enumerate(labels, start=1):
        if name in unknown:
            structures.append(_not_contoured_score(name, config, None))
        elif maps.reference_boxes[index - 1] is not None:
            missed = _score_structure(name, index, maps, config)
            values = dict(missed.values)
            if config.lesions:
                values["lesion_false_positives"] = None  # there is no prediction to count them in
            structures.append(replace(missed, prediction_ml=None, values=values))
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

    def masks(self, index: int) -> tuple[Bool[np.ndarray, "I J K"], Bool[np.ndarray, "I J K"]]:
        """Prediction and reference in the smallest box that holds the structure in both maps."""
        both = (self.prediction_boxes[index - 1], self.reference_boxes[index - 1])
        boxes = [box for box in both if box is not None] or [_NOWHERE]
        box = tuple(
            slice(min(s.start for s in along), max(s.stop for s in along))
            for along in zip(*boxes, strict=True)
        )
        return self.prediction[box] == index, self.reference[box] == index

    def surfaces(self, index: int) -> surfaces.SurfaceDistances:
        return surfaces.measure_surfaces(*self.masks(index), self.geometry)

    def lesions(self, index: int, config: LesionConfig) -> dict[str, float | None]:
        voxel_mm3 = 1000 * self.geometry.voxel_ml
        return lesion_values(count_lesions(*self.masks(index), voxel_mm3, config))

    def reference_hash(self, index: int) -> str:
        i, j, k = self.reference_boxes[index - 1] or _NOWHERE
        return hash_structure(self.reference[i, j, k] == index, (i.start, j.start, k.start), self.geometry)


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
    if config.lesions:
        rule = config.lesions.get(name)
        values |= unmeasured_lesions() if rule is None else maps.lesions(index, rule)
    told = maps.reference_hash(index)
    return StructureScore(name, status, reference_ml, prediction_ml, values, told)


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
    if config.lesions:
        values |= unmeasured_lesions()
    return StructureScore(name, "not_contoured", None, prediction_ml, values)
