import io

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from medseg.config import Experiment
from medseg.errors import UsageError
from medseg.transforms import Prepared
from medseg.transforms.preview import augmentation_preview
from medseg.volume import Geometry


def experiment(patch_size: list[int]) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "preview",
            "labels": {"lung_left": 1, "lung_right": 2},
            "data": {"cohort": "phantom:pelvis_ct"},
            "preprocessing": {"intensity": {"kind": "zscore"}},
            "augmentation": [{"kind": "spatial", "p": 1}, {"kind": "flip"}],
            "sampling": {"patch_size": patch_size},
            "model": {"kind": "unet", "spatial_dims": 2 if 1 in patch_size else 3, "channels": [4, 8]},
            "training": {"stop": {"epochs": 1}},
        }
    )


def prepared(with_label: bool = True) -> Prepared:
    image = torch.randn((1, 24, 20, 16), generator=torch.Generator().manual_seed(0))
    label = torch.zeros((24, 20, 16), dtype=torch.uint8)
    label[4:9, 5:15, 4:12], label[14:20, 5:15, 4:12] = 1, 2
    geometry = Geometry((24, 20, 16), np.diag([1.0, 1.0, 2.0, 1.0]))
    return Prepared(image, label if with_label else None, geometry)


@pytest.mark.parametrize("size", [[16, 16, 8], [16, 16, 1], [1, 16, 8]])
def test_preview_is_the_same_picture_each_time(size):
    first, again = (augmentation_preview(prepared(), experiment(size), rows=1, columns=3) for _ in range(2))
    assert first == again and first.startswith(b"\x89PNG")
    picture = imread(io.BytesIO(first))
    assert picture.shape[1] == 660
    coloured = np.ptp(picture[..., :3], axis=-1) > 0.5
    assert coloured.sum() > 50  # contours


def test_preview_needs_a_label():
    with pytest.raises(UsageError, match="with a label"):
        augmentation_preview(prepared(with_label=False), experiment([16, 16, 8]))
