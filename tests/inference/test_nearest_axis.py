"""Thick slices on the way back: each of the scan's slices takes the network's nearest, as nnU-Net does it."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy import ndimage

from medseg.config.preprocessing import PreprocessingConfig
from medseg.inference.restore import LabelRestorer
from medseg.transforms import Fitted, Preprocessing
from medseg.transforms.grid import divided
from medseg.volume import Geometry
from support.score_planes import planes_of

NATIVE = Geometry((10, 9, 12), np.diag([-1.0, -1.0, 4.0, 1.0]))


@pytest.mark.parametrize("stream_axis", [0, 1, 2])
@pytest.mark.parametrize("slices", [7, 12, 17])
def test_nearest_along_one_axis_linear_along_the_others(stream_axis: int, slices: int) -> None:
    network = divided(NATIVE, (13, 7, slices))
    scores = torch.randn((4, *network.shape), generator=torch.Generator().manual_seed(0))
    restorer = LabelRestorer(NATIVE, network, stream_axis, nearest_axis=2)
    for plane in planes_of(scores, stream_axis):
        restorer.add(plane)
    at = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(NATIVE.shape, network.shape, strict=True)]
    near = ndimage.map_coordinates(np.arange(slices), [at[2]], order=0, mode="nearest")
    places = np.meshgrid(at[0], at[1], near, indexing="ij")
    wanted = [ndimage.map_coordinates(one.numpy(), places, order=1, mode="nearest") for one in scores]
    assert np.mean(restorer.finish() == np.argmax(wanted, axis=0)) > 0.998


CASES = [
    # resampling, network's spacing, kept axes, the axis
    ("linear", (1.0, 1.0, 4.0), (), None),
    ("cubic", (1.0, 1.0, 4.0), (), 2),
    ("cubic", (2.0, 2.0, 2.0), (), 2),  # the scan's slices are thick
    ("cubic", (4.0, 1.0, 1.0), (), 0),  # on the way back the network's grid goes first
    ("cubic", (2.0, 2.0, 1.0), ("k",), 2),
]


@pytest.mark.parametrize(("resampling", "spacing", "kept", "axis"), CASES)
def test_the_axis(
    resampling: str, spacing: tuple[float, float, float], kept: tuple[str, ...], axis: int | None
) -> None:
    told = {"resampling": resampling, "keep_spacing": kept, "intensity": {"kind": "linear"}}
    config = TypeAdapter(PreprocessingConfig).validate_python(told)
    assert Preprocessing(config, Fitted(spacing)).nearest_axis(NATIVE) == axis
