"""Augmentation finished on the device, held against the same draws done by the workers alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from medseg.config.augmentation import Augmentation
from medseg.errors import UsageError
from medseg.transforms import sample_patch
from medseg.transforms.augmentation import Augment, Patch, build_augmentation
from medseg.transforms.device import DeviceAugment, Left, WorkerShare, put_together
from medseg.transforms.device.draws import ON_DEVICE
from medseg.transforms.sampling import ForegroundIndex
from medseg.transforms.warp import Warp, warp_coordinates

Size = tuple[int, int, int]
SPACING = (1.0, 1.2, 3.0)
SIZE = (24, 20, 12)
ALL_AXES = ["left_right", "posterior_anterior", "inferior_superior"]
KINDS: dict[str, dict] = {
    "spatial": {"elastic": {"points": 5}, "shear": 0.05, "shift_mm": 3},
    "flip": {"axes": ALL_AXES},
    "noise": {},
    "blur": {},
    "gamma": {},
    "brightness_contrast": {},
    "bias_field": {},
    "anisotropy": {},
}
WORKERS_ONLY: dict[str, dict] = {
    "motion": {},
    "ghosting": {},
    "spike": {},
    "torchio": {"name": "RandomNoise", "arguments": {"std": [0.1, 0.1]}},
}
PARSE = TypeAdapter(Augmentation).validate_python
KNOWN = torch.tensor([True, True, False, True])


def build(*kinds: str | dict, p: float = 1.0, size: Size = SIZE) -> Augment:
    settings_of = {**KINDS, **WORKERS_ONLY}
    configs = [
        PARSE(one if isinstance(one, dict) else {"kind": one, "p": p, **settings_of[one]}) for one in kinds
    ]
    return build_augmentation(configs, pairs=[(1, 2)], patch_size=size)


def volume(shape: Size, channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Smooth channels, as scans are at the scale of a voxel, and a label with left and right parts."""
    i, j, k = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    image = np.stack([np.sin(3 * i + 2 * j + c) + np.cos(2 * k - i * j) for c in range(channels)])
    label = np.ones(shape, dtype=np.uint8)
    label[shape[0] // 2 :] = 2
    label[:, : shape[1] // 3] = 0
    label[:, :, : shape[2] // 4] = 3
    return image.astype(np.float32), label


def cut(augment: Augment, key: tuple[int, int, int], shape: Size = (40, 34, 20)):
    """A patch with the margin of its draw, as training cuts it: at times over the volume's ends."""
    image, label = volume(shape)
    margin = augment.margin(SPACING, key)
    i, j, k = (n + 2 * m for n, m in zip(augment.patch_size, margin, strict=True))
    rng = np.random.default_rng(key)
    index = ForegroundIndex.build(label)
    return sample_patch(image, label, (i, j, k), foreground=0.5, index=index, rng=rng, margin=margin)


def finished(augment: Augment, keys, device: str = "cpu", shape: Size = (40, 34, 20)) -> list[Patch]:
    share = WorkerShare(augment)
    begun = [share(*cut(augment, key, shape), SPACING, key=key, known=KNOWN) for key in keys]
    left = Left.of([tuple(one.label.shape) for one in begun], [one.left for one in begun])
    image = torch.from_numpy(put_together([one.image.numpy() for one in begun])).to(device)
    label = torch.from_numpy(put_together([one.label.numpy() for one in begun])).to(device)
    kept = image.clone(), label.clone()
    images, labels = DeviceAugment(augment)(image, label, left)
    assert torch.equal(image, kept[0]) and torch.equal(label, kept[1])
    assert images.shape[2:] == augment.patch_size == labels.shape[1:]
    return [Patch(a.cpu(), b.cpu(), one.known) for a, b, one in zip(images, labels, begun, strict=True)]


def by_workers(augment: Augment, keys, shape: Size = (40, 34, 20)) -> list[Patch]:
    return [augment(*cut(augment, key, shape), SPACING, key=key, known=KNOWN) for key in keys]


def agree(ours: list[Patch], theirs: list[Patch], tolerance: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        span = float(other.image.max() - other.image.min())
        off = (one.image - other.image).abs() / span
        assert float(off.quantile(0.999)) < tolerance and float(off.max()) < 10 * tolerance
        assert float((one.label == other.label).float().mean()) >= 0.995
        assert torch.equal(one.known, other.known)


def keys_of(count: int, first: int = 0) -> list[tuple[int, int, int]]:
    return [(3, 1, first + n) for n in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [SIZE, (24, 20, 1), (1, 20, 12)])
def test_each_kind_gives_what_the_workers_give(kind: str, size: Size) -> None:
    augment = build(kind, size=size)
    ours, theirs = (of(augment, keys_of(4)) for of in (finished, by_workers))
    agree(ours, theirs, 1e-3 if kind == "spatial" else 2e-6)
    unchanged = by_workers(build(kind, p=0.0, size=size), keys_of(4))
    assert not all(torch.equal(a.image, b.image) for a, b in zip(theirs, unchanged, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_draw_the_patch_comes_back(kind: str) -> None:
    still = {"rotation_deg": 0, "scale": 0, "shear": 0, "shift_mm": 0, "elastic": {"max_mm": 0}}
    for augment in (build(kind, p=0.0), build({"kind": "spatial", "p": 1, **still})):
        ours = finished(augment, keys_of(2))
        for key, one in zip(keys_of(2), ours, strict=True):
            image, label = cut(augment, key)
            middle = [slice(m, m + n) for n, m in zip(SIZE, augment.margin(SPACING, key), strict=True)]
            torch.testing.assert_close(one.image, image[:, *middle], atol=1e-5, rtol=0)
            assert torch.equal(one.label, label[*middle])


def test_a_warp_reads_each_voxel_where_it_says() -> None:
    """Interpolating a ramp gives the place itself; the four patches have margins of their own."""
    augment = build("spatial")
    share, begun, wanted = WorkerShare(augment), [], []
    for key in keys_of(4):
        i, j, k = (n + 2 * m for n, m in zip(SIZE, augment.margin(SPACING, key), strict=True))
        ramps = torch.stack(torch.meshgrid(*(torch.arange(n) for n in (i, j, k)), indexing="ij")).float()
        begun.append(share(ramps, torch.zeros((i, j, k), dtype=torch.uint8), SPACING, key=key))
        drawn = {name: array.astype(np.float64) for name, array in begun[-1].left[0].items()}
        places = warp_coordinates(Warp(**drawn), (i, j, k), SIZE)
        ends = torch.tensor([i - 1.0, j - 1.0, k - 1.0])[:, None, None, None]
        wanted.append(torch.minimum(places.clamp(min=0), ends))
    shapes = [tuple(one.label.shape) for one in begun]
    assert len(set(shapes)) > 1
    image, label = (
        torch.from_numpy(put_together([getattr(one, name).numpy() for one in begun]))
        for name in ("image", "label")
    )
    ours, _ = DeviceAugment(augment)(image, label, Left.of(shapes, [one.left for one in begun]))
    torch.testing.assert_close(ours, torch.stack(wanted), atol=1e-4, rtol=0)


lists = st.lists(
    st.sampled_from([*KINDS, *WORKERS_ONLY]).map(
        lambda kind: {"kind": kind, "p": 0.5, **{**KINDS, **WORKERS_ONLY}[kind]}
    ),
    max_size=6,
)


@settings(max_examples=8)
@given(configs=lists, first=st.integers(0, 10_000))
def test_any_list_gives_what_the_workers_give_in_its_order(configs: list[dict], first: int) -> None:
    """Also where motion and the like stand before, between and behind what the device does."""
    augment = build(*configs)
    agree(finished(augment, keys_of(3, first)), by_workers(augment, keys_of(3, first)), 3e-3)


@settings(max_examples=6)
@given(
    size=st.tuples(*[st.integers(1, 14)] * 3),
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    first=st.integers(0, 10_000),
)
def test_a_batch_is_its_patches_and_no_class_is_invented(size: Size, shape: Size, first: int) -> None:
    """Volumes smaller than a patch included: what lies beyond them is background and the lowest value."""
    augment = build(*KINDS, p=0.6, size=size)
    together = finished(augment, keys_of(4, first), shape=shape)
    for key, one in zip(keys_of(4, first), together, strict=True):
        (alone,) = finished(augment, [key], shape=shape)
        torch.testing.assert_close(one.image, alone.image, atol=1e-5, rtol=1e-5)
        assert torch.equal(one.label, alone.label) and torch.equal(one.known, alone.known)
        there = set(np.unique(volume(shape)[1])) | {0}
        assert set(one.label.unique().tolist()) <= there | {1 if 2 in there else 0, 2 if 1 in there else 0}


def changes(augment: Augment, key: tuple[int, int, int]) -> bool:
    image, label = cut(augment, key)
    return not torch.equal(augment(image, label, SPACING, key=key).image, image)


def test_the_device_gets_all_that_no_worker_has_to_do_first() -> None:
    augment = build("noise", "spatial", "motion", "gamma", "ghosting", "blur", p=0.5)
    share, seen = WorkerShare(augment), set()
    for key in keys_of(16):
        begun = share(*cut(augment, key), SPACING, key=key)
        drawn_motion, drawn_ghosts = (changes(Augment([augment.transforms[n]], SIZE), key) for n in (2, 4))
        lowest = 5 if drawn_ghosts else 3 if drawn_motion else 0
        assert all(place >= lowest for place in begun.left)
        assert 0 not in begun.left or 1 not in begun.left, "noise before a warp is the worker's"
        seen.add((drawn_motion, drawn_ghosts, *begun.left))
    assert len(seen) > 6
    assert not any(isinstance(build(kind).transforms[0][1], ON_DEVICE) for kind in WORKERS_ONLY)
    assert all(isinstance(build(kind).transforms[0][1], ON_DEVICE) for kind in KINDS)


def test_left_and_right_swap_as_the_workers_swap_them() -> None:
    mirror = build({"kind": "flip", "p": 1.0})
    ours, theirs = finished(mirror, keys_of(2)), by_workers(mirror, keys_of(2))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.image, other.image) and torch.equal(one.label, other.label)
        assert one.known.tolist() == [True, False, True, True]
    twice = finished(build({"kind": "flip", "p": 1.0}, {"kind": "flip", "p": 1.0}), keys_of(1))[0]
    assert torch.equal(twice.image, cut(mirror, (3, 1, 0))[0]) and torch.equal(twice.known, KNOWN)


def test_a_patch_of_one_value_keeps_it() -> None:
    augment = build("gamma", "bias_field", "brightness_contrast")
    image, label = torch.full((2, *SIZE), 7.0), torch.zeros(SIZE, dtype=torch.uint8)
    begun = WorkerShare(augment)(image, label, SPACING, key=(0, 0, 0))
    ours, _ = DeviceAugment(augment)(image[None], label[None], Left.of([SIZE], [begun.left]))
    torch.testing.assert_close(ours[0], augment(image, label, SPACING, key=(0, 0, 0)).image)


def test_more_margin_than_is_needed_is_cut_off_and_less_than_the_patch_refused() -> None:
    augment = build("spatial", "noise", p=0.0)
    image, label = torch.randn((1, 30, 30, 30)), torch.ones((30, 30, 30), dtype=torch.uint8)
    begun = WorkerShare(augment)(image, label, SPACING, key=(0, 0, 0))
    assert torch.equal(begun.image, augment(image, label, SPACING, key=(0, 0, 0)).image)
    with pytest.raises(UsageError, match="at least the patch size"):
        WorkerShare(augment)(image[:, :5], label[:5], SPACING, key=(0, 0, 0))


@pytest.mark.gpu
def test_a_card_gives_what_a_processor_gives() -> None:
    augment = build(*KINDS, p=0.7, size=(48, 40, 32))
    shape = (80, 70, 60)
    ours = finished(augment, keys_of(16), device="cuda", shape=shape)
    for one, other in zip(ours, finished(augment, keys_of(16), shape=shape), strict=True):
        torch.testing.assert_close(one.image, other.image, atol=1e-3, rtol=1e-3)
        assert float((one.label == other.label).float().mean()) > 0.999
    again = finished(augment, keys_of(16), device="cuda", shape=shape)
    assert all(torch.equal(a.image, b.image) for a, b in zip(ours, again, strict=True))
