"""How much of each structure a mask holds."""

from collections.abc import Mapping

import numpy as np

from medseg.volume import Volume


def structure_volumes(mask: Volume, labels: Mapping[str, int]) -> dict[str, float]:
    """Volume of each structure in millilitres."""
    counts = dict.fromkeys(labels.values(), 0)
    axis = int(np.argmax(np.abs(mask.array.strides)))
    for plane in np.moveaxis(mask.array, axis, 0):  # plane by plane: little memory
        values, found = np.unique(plane, return_counts=True)
        for value, count in zip(values.tolist(), found.tolist(), strict=True):
            if value in counts:
                counts[value] += count
    return {name: counts[value] * mask.geometry.voxel_ml for name, value in labels.items()}
