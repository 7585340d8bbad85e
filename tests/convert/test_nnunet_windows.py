"""Windows as nnU-Net lays, weighs and pads them."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from medseg.inference.sliding import stream_scores
from medseg.inference.windows import WindowPlan, blend_weights, window_starts
from support.score_planes import whole


@pytest.mark.parametrize("size", [(8, 16, 12), (1, 32, 24), (7, 5, 6)])
def test_weights(size: tuple[int, int, int]) -> None:
    """nnU-Net's: a point at size // 2, blurred, its peak 10, no weight below half precision's smallest."""
    point = np.zeros(size)
    point[tuple(n // 2 for n in size)] = 1
    blurred = ndimage.gaussian_filter(point, [n / 8 for n in size], mode="constant")
    half = (10 * blurred / blurred.max()).astype(np.float16)
    half[half == 0] = half[half > 0].min()
    found = blend_weights(size, "nnunet")
    seen = half > 1e-4  # below, half precision has few digits
    np.testing.assert_allclose(10 * found[seen], half[seen], rtol=2e-3)
    np.testing.assert_allclose(10 * found, half, rtol=2e-3, atol=2e-7)


@pytest.mark.parametrize("length", [16, 17, 23, 40, 56])
@pytest.mark.parametrize("window", [16, 12, 10])
def test_places(length: int, window: int) -> None:
    steps = int(np.ceil((length - window) / (window * 0.5))) + 1
    step = (length - window) / max(steps - 1, 1)
    assert window_starts(length, window, 0.5) == tuple(int(np.round(step * index)) for index in range(steps))


class Values:
    """An engine whose logits are the intensities, and their negatives."""

    device = torch.device("cpu")

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen = windows
        return torch.cat((windows, -windows), dim=1)

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int:
        return 4 * 2 * math.prod(shape)


def test_logits_pass_and_a_small_scan_is_padded_with_zero() -> None:
    engine, image = Values(), torch.randn(1, 3, 4, 5) + 5
    plan = WindowPlan((6, 4, 5), (0.5,) * 3, average_logits=True, padding="zero")
    torch.testing.assert_close(whole(stream_scores(engine, image, plan)), torch.cat((image, -image)))
    assert not engine.seen[0, 0, 0].any()
    torch.testing.assert_close(engine.seen[0, 0, 1:4], image[0])
    assert not engine.seen[0, 0, 4:].any()
