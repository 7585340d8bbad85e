"""Slices in the batch: every plane, neighbours, deep supervision."""

import pytest
import torch
from torch import Tensor, nn

from medseg.config.model import Plane
from medseg.models.slicewise import SliceWise


class Spy(nn.Module):
    """Remembers what it saw; its logits are its input."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x


class TwoLevels(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x[:, :, ::2, ::2]]


@pytest.mark.parametrize(
    ("plane", "seen"), [("sagittal", (8, 3, 5, 6)), ("coronal", (10, 3, 4, 6)), ("axial", (12, 3, 4, 5))]
)
def test_planes_are_cut_and_put_back(plane: Plane, seen: tuple[int, ...]) -> None:
    x, spy = torch.randn(2, 3, 4, 5, 6), Spy()
    assert torch.equal(SliceWise(spy, plane)(x), x)
    assert spy.seen.shape == seen


def test_a_slice_is_seen_as_it_is() -> None:
    x, spy = torch.randn(2, 3, 4, 5, 6), Spy()
    SliceWise(spy, "coronal")(x)
    assert torch.equal(spy.seen[5 + 2], x[1, :, :, 2, :])  # second sample, third slice


def test_neighbours_become_channels_and_the_outermost_slice_is_repeated() -> None:
    x, spy = torch.randn(1, 2, 4, 5, 6), Spy()
    SliceWise(spy, "axial", neighbours=2)(x)
    assert spy.seen.shape == (6, 10, 4, 5)
    slices = [x[0, :, :, :, k] for k in range(6)]
    assert torch.equal(spy.seen[3], torch.cat(slices[1:6]))
    assert torch.equal(spy.seen[0], torch.cat([slices[0], slices[0], *slices[:3]]))
    assert torch.equal(spy.seen[5], torch.cat([*slices[3:], slices[5], slices[5]]))


def test_every_level_is_put_back() -> None:
    levels = SliceWise(TwoLevels(), "axial")(torch.randn(2, 3, 4, 8, 6))
    assert [tuple(level.shape) for level in levels] == [(2, 3, 4, 8, 6), (2, 3, 2, 4, 6)]
