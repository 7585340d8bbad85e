from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.errors import UsageError
from medseg.transforms import ForegroundIndex, sample_patch

SHAPE = (20, 17, 9)


def case(shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """An image whose voxels hold their own flat index + 1, and a label with classes 1 and 3."""
    image = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(1, *shape)
    label = np.zeros(shape, np.uint8)
    label[3:6, 2:5, 1:3] = 1
    label[-2, -2, -2] = 3
    return image, label


def where(image_patch: torch.Tensor, shape: tuple[int, int, int]) -> np.ndarray:
    """(voxels, 3): where the voxels of a patch are in the volume."""
    flat = image_patch[0].numpy().astype(np.int64).ravel() - 1
    return np.stack(np.unravel_index(flat, shape), axis=1)


SIDE = st.integers(1, 14)


@given(shape=st.tuples(SIDE, SIDE, SIDE), size=st.tuples(SIDE, SIDE, SIDE), seed=st.integers(0, 99))
def test_any_size_from_any_volume(shape, size, seed):
    rng = np.random.default_rng(seed)
    image = rng.permutation(2 * np.prod(shape)).reshape(2, *shape).astype(np.float32)
    label = rng.integers(0, 3, shape).astype(np.uint8)
    index = ForegroundIndex.build(label)
    patch, classes = sample_patch(image, label, size, foreground=0.5, index=index, rng=rng)
    assert patch.shape == (2, *size) and classes.shape == size
    assert set(np.unique(patch.numpy())) <= set(np.unique(image))
    kept = np.prod(np.minimum(shape, size))
    assert np.count_nonzero(classes) <= np.count_nonzero(label)
    assert len(np.unique(patch[0].numpy())) == kept  # all that fits in is in, once


def test_image_and_label_are_of_one_place_and_nothing_else_is_read(tmp_path: Path):
    image, label = case()
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "label.npy", label)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("image", "label")]
    index = ForegroundIndex.build(mapped[1])
    for seed in range(20):
        drawn = [
            sample_patch(i, m, (6, 5, 4), foreground=0.5, index=index, rng=np.random.default_rng(seed))
            for i, m in ((image, label), mapped)
        ]
        assert torch.equal(drawn[0][0], drawn[1][0]) and torch.equal(drawn[0][1], drawn[1][1])
        places = where(drawn[0][0], SHAPE)
        assert np.array_equal(label[tuple(places.T)], drawn[0][1].numpy().ravel())
        drawn[1][0].fill_(0)  # a copy: the map is read-only and stays as it is
    assert np.array_equal(np.load(tmp_path / "image.npy"), image)


def test_foreground_takes_turns_and_lies_in_the_middle():
    image, label = case((40, 40, 40))
    label[:] = 0
    label[18:21, 15:18, 20:22], label[25, 14, 30] = 1, 3
    index = ForegroundIndex.build(label)
    assert (
        index.classes == (1, 3) and len(index.voxels[0]) == 18 and index.voxels[1].tolist() == [[25, 14, 30]]
    )
    rng = np.random.default_rng(0)
    seen = {1: 0, 3: 0}
    places = set()
    for _ in range(200):
        patch, classes = sample_patch(image, label, (12, 12, 12), foreground=1, index=index, rng=rng)
        for found in seen:
            seen[found] += bool((classes == found).any())
        places.add(tuple(where(patch, (40, 40, 40))[0]))
    assert seen[1] + seen[3] >= 200 and 70 < seen[3] < 130
    assert len(places) > 50
    anywhere = [
        bool(sample_patch(image, label, (12, 12, 12), foreground=0, index=index, rng=rng)[1].any())
        for _ in range(100)
    ]
    assert 0 < sum(anywhere) < 60


def test_turns_can_be_weighed_class_by_class():
    image, label = case()
    index = ForegroundIndex.build(label)  # of 1 and 3
    rng = np.random.default_rng(0)
    weights = np.array([0, 1, 5, 3], np.float32)  # class 2 is not here, and has no part
    patches = [
        sample_patch(image, label, (1, 1, 1), foreground=1, index=index, rng=rng, weights=weights)[1].item()
        for _ in range(400)
    ]
    assert set(patches) == {1, 3} and 260 < patches.count(3) < 340


def test_every_voxel_can_be_inside_the_margin():
    image, label = case((6, 6, 5))
    index = ForegroundIndex.build(label)
    rng = np.random.default_rng(0)
    seen = np.zeros((6, 6, 5), bool)
    for _ in range(1000):
        patch, _ = sample_patch(
            image, label, (8, 7, 6), foreground=0.3, index=index, rng=rng, margin=(2, 2, 2)
        )
        inner = patch[:, 2:-2, 2:-2, 2:-2]
        places = where(inner, (6, 6, 5))
        assert len(np.unique(places, axis=0)) == inner[0].numel()  # no padding inside the margin
        seen[tuple(places.T)] = True
    assert seen.all()
    with pytest.raises(UsageError, match="nothing is left"):
        sample_patch(image, label, (4, 4, 4), foreground=0, index=index, rng=rng, margin=(2, 2, 2))


def test_a_small_volume_is_centred_in_its_lowest_value():
    image, label = case((3, 4, 5))
    image[0, 0, 0, 0] = -7
    index = ForegroundIndex.build(label)
    patch, classes = sample_patch(
        image, label, (7, 4, 9), foreground=1, index=index, rng=np.random.default_rng(0)
    )
    assert np.array_equal(patch[:, 2:5, :, 2:7].numpy(), image)
    assert np.array_equal(classes[2:5, :, 2:7].numpy(), label)
    assert set(patch[0, [0, 1, 5, 6]].unique().tolist()) == {-7.0} and int(classes[[0, 1, 5, 6]].sum()) == 0


def test_index_is_bounded_and_the_same_each_time():
    label = np.ones((30, 30, 30), np.uint8)
    first, again = (ForegroundIndex.build(label, voxels_a_class=100) for _ in range(2))
    assert len(first.voxels[0]) == 100 and np.array_equal(first.voxels[0], again.voxels[0])
    assert np.ptp(first.voxels[0], axis=0).min() > 20
    assert ForegroundIndex.build(np.zeros((4, 4, 4), np.uint8)).classes == ()


def test_index_there_and_back():
    _, label = case()
    for one in (label, np.zeros((4, 4, 4), np.uint8)):
        index = ForegroundIndex.build(one)
        rows = index.to_array()
        again = ForegroundIndex.from_array(rows)
        assert rows.dtype == np.int32 and again.classes == index.classes
        assert all(np.array_equal(a, b) for a, b in zip(again.voxels, index.voxels, strict=True))
        assert np.array_equal(one[tuple(rows[:, 1:].T)], rows[:, 0])
