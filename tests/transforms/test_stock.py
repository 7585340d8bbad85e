"""TorchIO's own transforms, named in a configuration."""

import inspect
import warnings

import pytest
import torch
import torchio as tio
from pydantic import TypeAdapter, ValidationError

from medseg.config.augmentation import TORCHIO_ARGUMENTS, Augmentation
from medseg.errors import ConfigError
from medseg.transforms.augmentation import build_augmentation

PARSE = TypeAdapter(Augmentation).validate_python
SIZE = (20, 18, 16)
IMAGE = torch.randn((2, *SIZE), generator=torch.Generator().manual_seed(0))
LABEL = (IMAGE[0] > 0).to(torch.uint8)


@pytest.mark.parametrize("name", TORCHIO_ARGUMENTS)
def test_each_is_applied_and_depends_on_its_key_alone(name):
    config = PARSE({"kind": "torchio", "name": name, "p": 1})
    augment = build_augmentation([config], pairs=[], patch_size=SIZE)
    with warnings.catch_warnings():  # what TorchIO warns of is its own matter
        warnings.simplefilter("ignore")
        first, again, other = (augment(IMAGE, LABEL, (1, 1, 2), key=(0, 0, s)) for s in (3, 3, 4))
    assert torch.equal(first.image, again.image) and torch.equal(first.label, again.label)
    assert not torch.equal(first.image, other.image) and not torch.equal(first.image, IMAGE)
    assert first.image.shape == IMAGE.shape and first.image.dtype == torch.float32
    assert first.label.shape == LABEL.shape and first.label.dtype == torch.uint8
    assert bool(torch.isfinite(first.image).all())


@pytest.mark.parametrize("name", TORCHIO_ARGUMENTS)
def test_arguments_are_those_that_torchio_has(name):
    has = inspect.signature(getattr(tio, name).__init__).parameters
    assert tuple(has)[1:-1] == TORCHIO_ARGUMENTS[name]
    assert tuple(has)[-1] == "kwargs"


def test_arguments_arrive_and_lists_are_tuples():
    config = PARSE({"kind": "torchio", "name": "RandomNoise", "p": 1, "arguments": {"std": [7, 7]}})
    augment = build_augmentation([config], pairs=[], patch_size=SIZE)
    noisy = augment(torch.zeros((1, *SIZE)), LABEL, (1, 1, 1), key=(0, 0, 0)).image
    assert 6.5 < float(noisy.std()) < 7.5


def test_probability_is_kept():
    config = PARSE({"kind": "torchio", "name": "RandomNoise", "p": 0.3})
    augment = build_augmentation([config], pairs=[], patch_size=SIZE)
    drawn = [
        not torch.equal(augment(IMAGE, LABEL, (1, 1, 1), key=(0, 0, s)).image, IMAGE) for s in range(200)
    ]
    assert 35 <= sum(drawn) <= 90


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"name": "RandomGost"}, "RandomGhosting"),
        ({"name": "os.system"}, "RandomAffine"),
        ({"name": "RandomGhosting", "arguments": {"num_ghost": 3}}, "did you mean num_ghosts"),
        ({"name": "RandomBlur", "arguments": {"include": ["image"]}}, "known here: std"),
        ({"name": "RandomBlur", "arguments": {"p": 0.5}}, "takes no p"),
    ],
)
def test_what_is_not_known_is_refused(told, expected):
    with pytest.raises(ValidationError, match=expected):
        PARSE({"kind": "torchio", **told})


def test_values_that_torchio_refuses_are_a_fault_of_the_configuration():
    config = PARSE({"kind": "torchio", "name": "RandomBlur", "arguments": {"std": [-3, -1]}})
    with pytest.raises(ConfigError, match=r"TorchIO refuses RandomBlur with .*correct arguments"):
        build_augmentation([config], pairs=[], patch_size=SIZE)


def test_a_patch_that_is_too_small_for_it_is_told():
    config = PARSE({"kind": "torchio", "name": "RandomSwap", "p": 1, "arguments": {"patch_size": 30}})
    augment = build_augmentation([config], pairs=[], patch_size=SIZE)
    with pytest.raises(ConfigError, match=r"TorchIO refuses RandomSwap .*larger than image"):
        augment(IMAGE, LABEL, (1, 1, 1), key=(0, 0, 0))
