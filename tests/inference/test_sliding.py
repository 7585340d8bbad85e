"""The stream of slabs equals the sliding window written down plainly; windows cover everything."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from medseg.inference.sliding import stream_scores
from medseg.inference.windows import WindowPlan, blend_weights, window_starts
from support.score_planes import whole

pytestmark = pytest.mark.usefixtures("annotations_at_rest")


class OnCpu:
    device = torch.device("cpu")

    def working_bytes(self, shape: tuple[int, int, int, int, int]) -> int:
        raise AssertionError("nobody asks here")


class PointwiseEngine(OnCpu):
    """A network that sees one voxel at a time, so that windows and blending must not change its answer."""

    def __init__(self, channels: int, classes: int) -> None:
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn(classes, channels, generator=generator)

    def __call__(self, windows: Tensor) -> Tensor:
        return torch.einsum("lc,bcijk->blijk", self.weight, windows)


class PlaceEngine(OnCpu):
    """A network whose answer depends on where in the window a voxel lies: the blending shows."""

    def __call__(self, windows: Tensor) -> Tensor:
        ramp = torch.linspace(-2, 2, windows.shape[2])[:, None, None].expand(windows.shape[2:])
        return torch.stack([windows[:, 0] * ramp, windows[:, 0] + ramp.flip(0)], dim=1)


@given(st.integers(1, 200), st.integers(1, 64), st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9]))
def test_windows_cover_every_voxel_and_overlap(length: int, window: int, overlap: float) -> None:
    starts = window_starts(length, min(window, length), overlap)
    window = min(window, length)
    assert starts[0] == 0
    assert starts[-1] + window == length
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= max(1, window * (1 - overlap)) + 1).all()


def test_gaussian_weights_are_symmetric_and_positive() -> None:
    weights = blend_weights((8, 6, 1), "gaussian")
    assert weights.shape == (8, 6, 1)
    assert float(weights.max()) == 1
    assert float(weights.min()) > 0
    torch.testing.assert_close(weights, weights.flip(0, 1, 2))


@pytest.mark.parametrize("axis", [0, 1, 2])
@given(data=st.data())
def test_stream_of_a_pointwise_network_is_its_plain_answer(axis: int, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 12)] * 3))
    size = data.draw(st.tuples(*[st.integers(1, 7)] * 3))
    overlap = data.draw(st.sampled_from([0.0, 0.3, 0.5]))
    batch = data.draw(st.integers(1, 3))
    image = torch.randn((2, *shape), generator=torch.Generator().manual_seed(1))
    engine = PointwiseEngine(2, 3)
    plan = WindowPlan(size=size, overlap=(overlap,) * 3, batch_size=batch)
    found = whole(stream_scores(engine, image, plan, stream_axis=axis), axis)
    torch.testing.assert_close(found, torch.softmax(engine(image[None]), dim=1)[0])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("blend", ["gaussian", "constant"])
def test_stream_equals_accumulation_of_the_whole_volume(axis: int, blend: str) -> None:
    image = torch.randn((1, 13, 9, 11), generator=torch.Generator().manual_seed(5))
    plan = WindowPlan(size=(6, 5, 4), overlap=(0.5, 0.4, 0.5), blend=blend)
    engine = PlaceEngine()
    weights = blend_weights(plan.size, blend)
    sums, norm = torch.zeros(2, 13, 9, 11), torch.zeros(13, 9, 11)
    starts = [window_starts(n, w, o) for n, w, o in zip((13, 9, 11), plan.size, plan.overlap, strict=True)]
    for i, j, k in product(*starts):
        place = (slice(i, i + 6), slice(j, j + 5), slice(k, k + 4))
        window = image[(slice(None), *place)][None]
        sums[(slice(None), *place)] += torch.softmax(engine(window), 1)[0] * weights
        norm[place] += weights
    torch.testing.assert_close(whole(stream_scores(engine, image, plan, stream_axis=axis), axis), sums / norm)


def test_progress_counts_every_window_once() -> None:
    calls: list[tuple[int, int]] = []
    image = torch.zeros(1, 8, 8, 8)
    plan = WindowPlan(size=(4, 4, 4), overlap=(0.5,) * 3, batch_size=2)
    list(stream_scores(PointwiseEngine(1, 2), image, plan, progress=lambda d, t: calls.append((d, t))))
    assert calls[-1][0] == calls[-1][1] == 27


class SidedEngine(OnCpu):
    """Says class 1 in the left half of a window and class 2 in the right half: mirroring shows."""

    def __call__(self, windows: Tensor) -> Tensor:
        half = windows.shape[2] // 2
        logits = torch.zeros((windows.shape[0], 3, *windows.shape[2:]))
        logits[:, 1, :half] = 10
        logits[:, 2, half:] = 10
        return logits


def test_mirroring_swaps_left_and_right_structures() -> None:
    image = torch.zeros(1, 8, 4, 4)
    plan = WindowPlan(size=(8, 4, 4), overlap=(0.5,) * 3, mirror=True)
    swapped = whole(stream_scores(SidedEngine(), image, plan, pairs=((1, 2),)))
    plain = whole(stream_scores(SidedEngine(), image, plan))
    assert float(swapped[1, 0, 0, 0]) > 0.99
    assert float(plain[1, 0, 0, 0]) == pytest.approx(0.5, abs=1e-3)


class IdentityEngine(OnCpu):
    """Gives back what it is shown, in either layout in which networks give their classes."""

    def __init__(self, *, classes_last: bool) -> None:
        self.layout = torch.channels_last_3d if classes_last else torch.contiguous_format

    def __call__(self, windows: Tensor) -> Tensor:
        return windows.clone(memory_format=self.layout)


@given(data=st.data())
def test_the_identity_gives_its_input(data: st.DataObject) -> None:
    """For any shape, window, overlap and blending: every voxel is covered, weights sum to one."""
    shape = data.draw(st.tuples(*[st.integers(1, 10)] * 3))
    plan = WindowPlan(
        size=data.draw(st.tuples(*[st.integers(1, 8)] * 3)),
        overlap=data.draw(st.tuples(*[st.sampled_from([0.0, 0.1, 0.5, 0.8])] * 3)),
        blend=data.draw(st.sampled_from(["gaussian", "constant", "nnunet"])),
        batch_size=data.draw(st.integers(1, 3)),
        average_logits=True,
        padding=data.draw(st.sampled_from(["minimum", "zero", "edge"])),
    )
    axis = data.draw(st.integers(0, 2))
    engine = IdentityEngine(classes_last=data.draw(st.booleans()))
    image = torch.randn((3, *shape), generator=torch.Generator().manual_seed(1))
    found = whole(stream_scores(engine, image, plan, stream_axis=axis), axis)
    torch.testing.assert_close(found, image)
