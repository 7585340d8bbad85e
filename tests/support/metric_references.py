"""What other tools say of a pair of masks, under the name of medseg's variant that does the same.

MedPy 0.5: HD95 pools both directions. MONAI: HD95 is the larger of the two directed percentiles. SimpleITK:
overlaps by its filter; surfaces by its label contour and its exact distance map, read out here by the
definitions. DeepMind's surface-distance measures patches of surface between voxels and weighs them by their
area: medseg has no such variant, so only its Dice is the same.
"""

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its name in the field
import torch
from scipy.ndimage import gaussian_filter

SPACINGS = ((1.0, 1.0, 1.0), (0.7, 0.9, 3.0), (2.5, 0.4, 1.1))
Spacing = tuple[float, float, float]


def mask_pair(seed: int) -> tuple[np.ndarray, np.ndarray, Spacing]:
    """Two masks that are not empty and do not touch the edge: blobs, boxes, specks or noise."""
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers(12, 23, size=3))
    inner = tuple(n - 2 for n in shape)
    kind = ("blobs", "boxes", "specks", "noise")[seed % 4]
    masks = []
    base = gaussian_filter(random.normal(size=inner), 2)
    for number in range(2):
        if kind == "blobs":
            other = gaussian_filter(random.normal(size=inner), 2)
            mask = base + (0.02, 0.2, 0.9)[seed // 4 % 3] * number * other > 0.03 * base.std()
        elif kind == "boxes":
            mask = np.zeros(inner, dtype=bool)
            start = [int(random.integers(0, n - 3)) for n in inner]
            mask[tuple(slice(a, a + int(random.integers(1, 9))) for a in start)] = True
        elif kind == "specks":
            mask = np.zeros(inner, dtype=bool)
            for _ in range(int(random.integers(1, 5))):
                mask[tuple(int(random.integers(0, n)) for n in inner)] = True
        else:
            mask = random.random(inner) < random.uniform(0.02, 0.6)
        if not mask.any():
            mask[tuple(n // 2 for n in inner)] = True
        masks.append(np.pad(mask, 1))
    return masks[0], masks[1], SPACINGS[seed // 2 % 3]


def medpy(prediction: np.ndarray, reference: np.ndarray, spacing: Spacing, _: float) -> dict[str, float]:
    from medpy.metric import binary

    return {
        "dice": binary.dc(prediction, reference),
        "iou": binary.jc(prediction, reference),
        "precision": binary.precision(prediction, reference),
        "recall": binary.recall(prediction, reference),
        "hd95_pooled": binary.hd95(prediction, reference, voxelspacing=spacing),
        "assd": binary.assd(prediction, reference, voxelspacing=spacing),
    }


def monai(
    prediction: np.ndarray, reference: np.ndarray, spacing: Spacing, tolerance: float
) -> dict[str, float]:
    from monai import metrics

    masks = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, reference)]
    told = {"include_background": True}
    found = {
        "dice": metrics.compute_dice(*masks, **told),
        "iou": metrics.compute_iou(*masks, **told),
        "hd95": metrics.compute_hausdorff_distance(*masks, percentile=95, spacing=spacing, **told),
        "assd": metrics.compute_average_surface_distance(*masks, symmetric=True, spacing=spacing, **told),
        "nsd": metrics.compute_surface_dice(*masks, [tolerance], spacing=spacing, **told),
    }
    return {metric: float(value.item()) for metric, value in found.items()}


def simpleitk(
    prediction: np.ndarray, reference: np.ndarray, spacing: Spacing, tolerance: float
) -> dict[str, float]:
    images = []
    for mask in (prediction, reference):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing[::-1])  # arrays are (i, j, k) here; SimpleITK's axes run the other way
        images.append(image)
    overlaps = sitk.LabelOverlapMeasuresImageFilter()
    overlaps.Execute(images[1], images[0])  # the reference is its source
    contours = [sitk.GetArrayFromImage(sitk.LabelContour(image)) > 0 for image in images]
    maps = []
    for contour in contours:
        image = sitk.GetImageFromArray(contour.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
        maps.append(sitk.GetArrayFromImage(distance).clip(0).astype(np.float64))
    ways = maps[1][contours[0]], maps[0][contours[1]]
    pooled = np.concatenate(ways)
    return {
        "dice": overlaps.GetDiceCoefficient(1),
        "iou": overlaps.GetJaccardCoefficient(1),
        "hd95": max(float(np.percentile(way, 95)) for way in ways),
        "hd95_pooled": float(np.percentile(pooled, 95)),
        "assd": float(pooled.mean()),
        "nsd": float((pooled <= tolerance).mean()),
    }


def deepmind(prediction: np.ndarray, reference: np.ndarray, spacing: Spacing, _: float) -> dict[str, float]:
    import surface_distance

    return {"dice": surface_distance.compute_dice_coefficient(reference, prediction)}
