"""What nobody drew on one side is, in the mirrored patch, not drawn on the other."""

import torch

from medseg.config.augmentation import FlipAugmentation
from medseg.transforms.augmentation import build_augmentation

KNOWN = torch.tensor([True, True, False, True])
"""Background, left (drawn), right (not drawn), and a structure without sides."""


def test_known_classes_swap_with_a_mirrored_patch_and_only_then() -> None:
    flips = FlipAugmentation(kind="flip", p=0.5, axes=("left_right", "inferior_superior"))
    augment = build_augmentation([flips], pairs=[(1, 2)], patch_size=(6, 4, 4))
    image = torch.arange(96.0).reshape(1, 6, 4, 4)
    label = torch.zeros((6, 4, 4), dtype=torch.uint8)
    label[0] = 1
    seen = set()
    for sample in range(40):
        patch = augment(image, label, (1.0, 1.0, 1.0), key=(0, 0, sample), known=KNOWN)
        mirrored = 2 in patch.label.unique().tolist()
        seen.add(mirrored)
        assert patch.known.tolist() == ([True, False, True, True] if mirrored else KNOWN.tolist())
    assert seen == {True, False}
    assert KNOWN.tolist() == [True, True, False, True]


def test_a_drawn_voxel_is_always_of_a_known_class() -> None:
    augment = build_augmentation([FlipAugmentation(kind="flip", p=1.0)], pairs=[(1, 2)], patch_size=(4, 4, 4))
    label = torch.ones((4, 4, 4), dtype=torch.uint8)
    patch = augment(torch.zeros(1, 4, 4, 4), label, (1.0, 1.0, 1.0), key=(0, 0, 0), known=KNOWN)
    assert patch.known[patch.label.long()].all()


def test_without_a_word_every_class_is_known() -> None:
    augment = build_augmentation([FlipAugmentation(kind="flip", p=1.0)], pairs=[(1, 2)], patch_size=(4, 4, 4))
    label = torch.zeros((4, 4, 4), dtype=torch.uint8)
    assert augment(torch.zeros(1, 4, 4, 4), label, (1.0, 1.0, 1.0), key=(0, 0, 0)).known.all()
