"""What is removed from a mask, by configuration."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from medseg.config.inference import PostprocessingConfig

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)


def postprocess(
    labels: UInt8[np.ndarray, "I J K"],
    config: PostprocessingConfig,
    classes: Mapping[str, int],
    voxel_ml: float,
) -> UInt8[np.ndarray, "I J K"]:
    """Remove parts as configured; voxels that fall become background.

    Args:
        labels: class indices.
        classes: structure to class index.
        voxel_ml: volume of a voxel in millilitres.
    """
    if not config.largest_component and not config.minimum_volume_ml:
        return labels
    cleaned = labels.copy()
    boxes = ndimage.find_objects(labels)
    for name in dict.fromkeys((*config.largest_component, *config.minimum_volume_ml)):
        index = classes[name]
        box = boxes[index - 1] if index <= len(boxes) else None
        if box is None:
            continue
        parts, count = ndimage.label(labels[box] == index, structure=_NEIGHBOURS_26)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        keep = np.ones(count + 1, dtype=bool)
        if name in config.largest_component:
            keep[:] = False
            keep[1 + int(np.argmax(sizes[1:]))] = True
        keep &= sizes * voxel_ml >= config.minimum_volume_ml.get(name, 0.0)
        keep[0] = True
        region = cleaned[box]
        region[~keep[parts]] = 0
    return cleaned
