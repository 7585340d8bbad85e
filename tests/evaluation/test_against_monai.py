"""Where the definitions agree, MONAI must agree."""

import numpy as np
import pytest
import torch
from monai import metrics
from scipy.ndimage import gaussian_filter

from medseg.evaluation import surfaces
from medseg.evaluation.confusion import Confusion
from medseg.evaluation.overlap import dice, iou
from medseg.volume import Geometry

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.9, 3.0)]


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    smooth = [gaussian_filter(random.normal(size=(22, 20, 14)), 2) for _ in range(2)]
    return smooth[0] > 0.02, smooth[0] + 0.6 * smooth[1] > 0.03


def tensor(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask[None, None].astype(np.float32))


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spacing", SPACINGS)
def test_surfaces(seed: int, spacing: tuple[float, float, float]) -> None:
    prediction, reference = blobs(seed)
    geometry = Geometry(prediction.shape, np.diag([*spacing, 1.0]))
    ours = surfaces.measure_surfaces(prediction, reference, geometry)
    p, r = tensor(prediction), tensor(reference)
    theirs = metrics.compute_hausdorff_distance(p, r, include_background=True, percentile=95, spacing=spacing)
    assert surfaces.hd95(ours) == pytest.approx(theirs.item(), rel=1e-5)
    theirs = metrics.compute_average_surface_distance(
        p, r, include_background=True, symmetric=True, spacing=spacing
    )
    assert surfaces.assd(ours) == pytest.approx(theirs.item(), rel=1e-5)
    for tolerance in (0.5, 1.5, 3.1):
        theirs = metrics.compute_surface_dice(p, r, [tolerance], include_background=True, spacing=spacing)
        assert surfaces.nsd(ours, tolerance) == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_overlap(seed: int) -> None:
    prediction, reference = blobs(seed)
    counts = Confusion(
        tp=int((prediction & reference).sum()),
        fp=int((prediction & ~reference).sum()),
        fn=int((~prediction & reference).sum()),
        tn=int((~prediction & ~reference).sum()),
    )
    p, r = tensor(prediction), tensor(reference)
    assert dice(counts) == pytest.approx(metrics.compute_dice(p, r, include_background=True).item(), rel=1e-6)
    assert iou(counts) == pytest.approx(metrics.compute_iou(p, r, include_background=True).item(), rel=1e-6)
