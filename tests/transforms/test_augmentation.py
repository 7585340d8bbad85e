import threading

import numpy as np
import pytest
import torch
import torchio as tio
from pydantic import TypeAdapter

from medseg.config.augmentation import Augmentation, SpatialAugmentation
from medseg.errors import UsageError
from medseg.transforms import seeded, stable_seed
from medseg.transforms.acquisition import Motion, ghosted, polynomial
from medseg.transforms.augmentation import Augment, build_augmentation
from medseg.transforms.flip import swap_classes
from medseg.transforms.patch import patch_subject

SPACING = (1.0, 1.2, 3.0)
SIZE = (20, 18, 12)
KINDS = {
    "spatial": {"elastic": {}},
    "flip": {"axes": ["left_right", "posterior_anterior", "inferior_superior"]},
    "noise": {},
    "blur": {},
    "gamma": {},
    "brightness_contrast": {},
    "bias_field": {},
    "motion": {},
    "ghosting": {},
    "spike": {},
    "anisotropy": {},
}
LABEL_CHANGES = {"spatial", "flip"}
PARSE = TypeAdapter(Augmentation).validate_python


def build(*kinds: str, p: float = 1.0, size: tuple[int, int, int] = SIZE) -> Augment:
    configs = [PARSE({"kind": kind, "p": p, **KINDS[kind]}) for kind in kinds]
    return build_augmentation(configs, pairs=[(1, 2)], patch_size=size)


def patch(augment: Augment, channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth image and a label with left and right halves, margin included."""
    shape = tuple(n + 2 * m for n, m in zip(augment.patch_size, augment.margin(SPACING), strict=True))
    generator = torch.Generator().manual_seed(1)
    image = torch.randn((channels, *shape), generator=generator) * 0.1
    image += torch.linspace(-1, 1, shape[0])[:, None, None]
    label = torch.ones(shape, dtype=torch.uint8)
    label[shape[0] // 2 :] = 2
    label[:, : shape[1] // 3] = 0
    return image, label


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [SIZE, (20, 18, 1), (1, 18, 12)])
def test_each_kind_changes_what_it_should_and_nothing_else(kind, size):
    augment = build(kind, size=size)
    image, label = patch(augment)
    kept = image.clone(), label.clone()
    changed = 0
    for sample in range(3):
        new_image, new_label, _ = augment(image, label, SPACING, key=(0, 0, sample))
        assert new_image.shape == (2, *size) and new_label.shape == size
        assert new_image.dtype == torch.float32 and new_label.dtype == torch.uint8
        assert new_image.is_contiguous() and bool(torch.isfinite(new_image).all())
        assert set(new_label.unique().tolist()) <= {0, 1, 2}
        if kind not in LABEL_CHANGES:
            assert torch.equal(new_label, label)
        changed += new_image.shape != image.shape or not torch.equal(new_image, image)
    assert changed == 3
    assert torch.equal(image, kept[0]) and torch.equal(label, kept[1])
    if kind not in ("spatial",):
        assert augment.margin(SPACING) == (0, 0, 0)


def test_without_a_draw_the_middle_comes_back():
    augment = build(*KINDS, p=0.0)
    image, label = patch(augment)
    new_image, new_label, _ = augment(image, label, SPACING, key=(3, 1, 4))
    i, j, k = (slice(m, m + n) for m, n in zip(augment.margin(SPACING), SIZE, strict=True))
    assert min(augment.margin(SPACING)) > 0
    assert torch.equal(new_image, image[:, i, j, k]) and torch.equal(new_label, label[i, j, k])
    with pytest.raises(UsageError, match="at least the patch size"):
        augment(image[:, :5], label[:5], SPACING, key=(3, 1, 4))


def test_a_result_depends_on_its_key_alone():
    augment = build(*KINDS, p=0.7)
    image, label = patch(augment)
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = augment(image, label, SPACING, key=(7, 2, 5))
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    torch.manual_seed(99)
    augment(image, label, SPACING, key=(7, 2, 6))
    again = build(*KINDS, p=0.7)(image, label, SPACING, key=(7, 2, 5))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    for other in ((8, 2, 5), (7, 3, 5), (7, 2, 4)):
        assert not torch.equal(first[0], augment(image, label, SPACING, key=other)[0])


def test_other_transforms_in_the_list_do_not_change_a_draw():
    alone, together = build("flip"), build("noise", "gamma", "flip", "blur")
    image, label = patch(alone)
    flipped = {sample: alone(image, label, SPACING, key=(0, 0, sample))[1] for sample in range(12)}
    for sample, expected in flipped.items():
        assert torch.equal(together(image, label, SPACING, key=(0, 0, sample))[1], expected)
    twice = build("noise", "noise")
    a, b = (twice.transforms[n][0] for n in (0, 1))
    assert a != b and stable_seed(0, 0, 0, a) != stable_seed(0, 0, 0, b)
    assert stable_seed(1, 23, 4) != stable_seed(12, 3, 4) and 0 <= stable_seed("x") < 2**63
    assert (
        stable_seed(0, 1, 2, "flip/0") == 6752618914772265402
    )  # never changes: old runs must come out the same


def test_threads_do_not_change_a_bit():
    augment = build(*KINDS, size=(40, 36, 30))
    image, label = patch(augment)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(augment(image, label, SPACING, key=(0, 0, 1)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for image_, label_, _ in results[1:]:
        assert torch.equal(image_, results[0][0]) and torch.equal(label_, results[0][1])
    other: list = []
    thread = threading.Thread(target=lambda: other.append(augment(image, label, SPACING, key=(0, 0, 1))))
    thread.start()
    thread.join()
    assert torch.equal(other[0][0], results[0][0])


def test_left_and_right_swap_only_when_they_are_mirrored():
    image, label = patch(build("flip"))
    for name, axis in (("left_right", 0), ("posterior_anterior", 1), ("inferior_superior", 2)):
        config = PARSE({"kind": "flip", "p": 1, "axes": [name]})
        mirror = build_augmentation([config], pairs=[(1, 2)], patch_size=SIZE)
        new_image, new_label, _ = mirror(image, label, SPACING, key=(0, 0, 0))
        assert torch.equal(new_image, image.flip(axis + 1))
        expected = label.flip(axis)
        assert torch.equal(new_label, swap_classes(expected, [(1, 2)]) if axis == 0 else expected)
    back = mirror(*mirror(image, label, SPACING, key=(0, 0, 0))[:2], SPACING, key=(0, 0, 0))
    assert torch.equal(back[0], image) and torch.equal(back[1], label)
    chosen = [
        torch.equal(build("flip", p=0.5)(image, label, SPACING, key=(0, 0, s))[0], image) for s in range(60)
    ]
    assert 1 <= sum(chosen) <= 20  # one in eight


def test_probability_is_kept():
    augment = build("noise", p=0.3, size=(2, 2, 2))
    image, label = patch(augment)
    drawn = sum(not torch.equal(augment(image, label, SPACING, key=(0, 0, s))[0], image) for s in range(400))
    assert 90 <= drawn <= 150


def test_ghosts_equal_torchio():
    image = torch.randn((1, 16, 15, 12), generator=torch.Generator().manual_seed(0))
    subject = tio.Subject(image=tio.ScalarImage(tensor=image))
    for axis in range(3):
        stock = tio.Ghosting(num_ghosts=4, axis=axis, intensity=0.6, restore=None)(subject)["image"].data
        assert torch.allclose(ghosted(image, 4, axis, 0.6), stock, atol=1e-5)


def test_motion_without_movement_changes_nothing():
    config = PARSE({"kind": "motion", "p": 1, "degrees": 0, "translation_mm": 0, "movements": 3})
    image, label = patch(build("noise"))
    subject = patch_subject(image, label, SPACING)
    with seeded(0):
        assert torch.allclose(Motion(config)(subject)["image"].data, image, atol=5e-3)


def test_polynomial_equals_numpy():
    coefficients = np.random.default_rng(0).normal(size=(3, 3, 3))
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (7, 5, 6)), indexing="ij")
    expected = np.polynomial.polynomial.polyval3d(x, y, z, coefficients)
    assert np.allclose(polynomial(coefficients, (7, 5, 6)).numpy(), expected, atol=1e-5)


def test_gamma_and_bias_keep_the_ends():
    image, label = patch(build("gamma"))
    new, _, _ = build("gamma")(image, label, SPACING, key=(0, 0, 0))
    assert torch.allclose(new.amax(dim=(1, 2, 3)), image.amax(dim=(1, 2, 3)), atol=1e-6)
    assert torch.allclose(new.amin(dim=(1, 2, 3)), image.amin(dim=(1, 2, 3)), atol=1e-6)
    order = image[0].flatten().argsort()
    assert bool((new[0].flatten()[order].diff() >= 0).all())
    biased, _, _ = build("bias_field")(image, label, SPACING, key=(0, 0, 0))
    assert torch.allclose(biased.amin(dim=(1, 2, 3)), image.amin(dim=(1, 2, 3)), atol=1e-6)


def test_blur_and_thick_slices_smooth():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn((1, *SIZE), generator=generator)
    label = torch.zeros(SIZE, dtype=torch.uint8)
    for kind in ("blur", "anisotropy"):
        smooth, _, _ = build(kind)(image, label, (1.0, 1.0, 1.0), key=(0, 0, 1))
        assert float(smooth.std()) < 0.9 * float(image.std())
        assert abs(float(smooth.mean() - image.mean())) < 0.05
        constant, _, _ = build(kind)(torch.full_like(image, 3), label, (1.0, 1.0, 1.0), key=(0, 0, 1))
        assert torch.allclose(constant, torch.full_like(image, 3), atol=1e-5)


def test_margin_is_asked_for_by_the_spatial_transform():
    config = SpatialAugmentation(kind="spatial", p=1, rotation_deg=10)
    augment = build_augmentation([config], pairs=[], patch_size=(32, 32, 1))
    assert augment.margin(SPACING)[2] == 0 and 0 < augment.margin(SPACING)[0] <= 8


def test_the_margin_of_a_sample_is_enough_for_it_and_no_more():
    """A patch cut with the margin of its own draw comes out as one cut with far more around it."""
    config = SpatialAugmentation(
        kind="spatial",
        p=0.6,
        rotation_deg=20,
        scale=0.1,
        shear=0.05,
        shift_mm=2,
        elastic={"points": 5, "max_mm": 1},
    )
    size = (32, 30, 24)
    augment = build_augmentation([config, PARSE({"kind": "flip"})], pairs=[], patch_size=size)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn((1, 80, 80, 80), generator=generator)
    label = torch.randint(0, 4, (80, 80, 80), generator=generator, dtype=torch.uint8)
    largest, margins = augment.margin(SPACING), []

    def cut(margin):
        sides = [slice(40 - n // 2 - m, 40 - n // 2 + n + m) for n, m in zip(size, margin, strict=True)]
        return augment(image[(slice(None), *sides)], label[tuple(sides)], SPACING, key=(0, 0, sample))

    for sample in range(12):
        margins.append(augment.margin(SPACING, (0, 0, sample)))
        assert all(m <= n for m, n in zip(margins[-1], largest, strict=True))
        few, many = cut(margins[-1]), cut(largest)
        assert torch.allclose(few.image, many.image, atol=0.02)
        assert (few.label == many.label).float().mean() > 0.999
    assert 2 <= margins.count((0, 0, 0)) <= 9 and len(set(margins)) > 3
    assert augment.margin(SPACING, (0, 0, 3)) == margins[3]  # the same whenever it is asked
