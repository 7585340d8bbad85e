"""The bridge to TorchIO and back."""

import numpy as np
import pytest
import torch
import torchio as tio

from medseg.data.subject import as_tensor, geometry_of, to_subject
from medseg.errors import GridMismatchError
from medseg.volume import Geometry, Volume

OBLIQUE = Geometry((4, 3, 2), np.array([[0.0, -2, 0, 5], [1, 0, 0.2, 6], [0, 0, 3, 7], [0, 0, 0, 1]]))


def volume(dtype: str, geometry: Geometry = OBLIQUE) -> Volume:
    return Volume(np.arange(24, dtype=dtype).reshape(4, 3, 2), geometry)


def test_there_and_back() -> None:
    label = volume("uint8")
    subject = to_subject([volume("int16"), volume("float64")], label)
    image = subject["image"]
    assert isinstance(image, tio.ScalarImage) and isinstance(subject["label"], tio.LabelMap)
    assert image.data.shape == (2, 4, 3, 2) and image.data.dtype == torch.float32
    assert subject["label"].data.dtype == torch.uint8
    assert geometry_of(image) == geometry_of(subject["label"]) == OBLIQUE
    assert (subject["label"].data[0].numpy() == label.array).all()
    assert image.data[1, 3, 2, 1] == 23
    assert "label" not in to_subject([volume("int16")])


def test_memory_is_shared_where_it_can_be() -> None:
    image, label = volume("float32"), volume("uint8")
    subject = to_subject([image], label)
    assert np.shares_memory(subject["image"].data.numpy(), image.array)
    assert np.shares_memory(subject["label"].data.numpy(), label.array)


@pytest.mark.parametrize("dtype", [">f4", ">i2", "uint16", "uint32", "bool", "float16", "int64"])
def test_every_type_of_array(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    assert (as_tensor(array).numpy() == array).all()
    assert (as_tensor(array[::-1, ::2]).numpy() == array[::-1, ::2]).all()


def test_read_only_arrays_stay_as_they_are() -> None:
    array = np.zeros((2, 2), dtype=np.float32)
    array.setflags(write=False)
    as_tensor(array)[0, 0] = 1
    assert array[0, 0] == 0


def test_other_grids_are_refused() -> None:
    other = Geometry((4, 3, 2), np.eye(4))
    with pytest.raises(GridMismatchError, match="image and label"):
        to_subject([volume("int16")], volume("uint8", other))
    with pytest.raises(GridMismatchError, match="channels 1 and 2"):
        to_subject([volume("int16"), volume("int16", other)])
