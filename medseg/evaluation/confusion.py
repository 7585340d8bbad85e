"""Which voxels agree: all structures counted in one pass over the two label maps."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer, Shaped, UInt16

from medseg.errors import Code, ConfigError, VolumeError

_TABLE_LIMIT = 1 << 20  # label values that span more than this are looked up by search, not by table
_SLAB_VOXELS = 1 << 22


@dataclass(frozen=True)
class Confusion:
    """Voxels of one structure: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int


def to_classes(array: Shaped[np.ndarray, "I J K"], labels: Mapping[str, int]) -> UInt16[np.ndarray, "I J K"]:
    """Label values to class indices: structures 1..L in the order of ``labels``, all else 0.

    The result is C-contiguous.

    Raises:
        VolumeError: the array does not hold whole numbers.
        ConfigError: a structure has the value 0, or two have the same.
    """
    values = np.array([int(value) for value in labels.values()], dtype=np.int64)
    if 0 in values or len(set(values.tolist())) < len(values):
        raise ConfigError(
            Code.CONFIG_VALUE, f"labels {dict(labels)}: give each structure a value of its own, not 0"
        )
    if array.dtype.kind not in "iub":
        raise VolumeError(
            Code.NOT_LABELS,
            f"label map of dtype {array.dtype}: whole numbers are needed; read it with read_label",
        )
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    array = np.ascontiguousarray(array)  # what follows walks along the last axis
    lowest, highest = int(array.min()), int(array.max())
    lowest = min(lowest, 0) if highest < _TABLE_LIMIT else lowest  # a table from 0 needs no subtraction
    if highest - lowest >= _TABLE_LIMIT:
        return _search(array, values)
    table = np.zeros(highest - lowest + 1, dtype=np.uint16)
    for index, value in enumerate(values.tolist(), start=1):
        if lowest <= value <= highest:
            table[value - lowest] = index
    return table[array if lowest == 0 else array.astype(np.int64) - lowest]


def _search(
    array: Shaped[np.ndarray, "I J K"], values: Int64[np.ndarray, " L"]
) -> UInt16[np.ndarray, "I J K"]:
    classes = np.zeros(array.shape, dtype=np.uint16)
    for index, value in enumerate(values.tolist(), start=1):
        classes[array == value] = index
    return classes


def confusion_matrix(
    reference: Integer[np.ndarray, "I J K"], prediction: Integer[np.ndarray, "I J K"], classes: int
) -> Int64[np.ndarray, "C C"]:
    """Voxels by reference class (row) and predicted class (column), slab by slab.

    Args:
        reference: class indices 0..classes-1.
        prediction: class indices 0..classes-1, on the same grid.
        classes: background and structures.
    """
    counts = np.zeros(classes * classes, dtype=np.int64)
    thickness = max(1, _SLAB_VOXELS * reference.shape[0] // reference.size)
    for start in range(0, reference.shape[0], thickness):
        pairs = reference[start : start + thickness].astype(np.int64)
        pairs *= classes
        pairs += prediction[start : start + thickness]
        counts += np.bincount(pairs.ravel(), minlength=classes * classes)
    return counts.reshape(classes, classes)


def structure_confusion(matrix: Int64[np.ndarray, "C C"], index: int) -> Confusion:
    """One structure against all else."""
    tp = int(matrix[index, index])
    fn = int(matrix[index].sum()) - tp
    fp = int(matrix[:, index].sum()) - tp
    return Confusion(tp=tp, fp=fp, fn=fn, tn=int(matrix.sum()) - tp - fp - fn)
