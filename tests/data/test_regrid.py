"""Labels put onto another grid: where SimpleITK puts them, said in millimetres, and never a guess."""

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st

from medseg.config.data import Reading
from medseg.data import Case, load_case
from medseg.data.regrid import label_on_grid, place_label
from medseg.errors import GridMismatchError
from medseg.volume import Geometry, Volume
from support.grids import grid_affine, reordered, sitk_image, write_plainly

LABELS = {"organ": 1, "tumour": 2}


def resampled_by_itk(
    array: np.ndarray, affine: np.ndarray, shape: tuple[int, ...], onto: np.ndarray
) -> np.ndarray:
    grid = sitk_image(np.zeros(shape, dtype=np.uint8), onto)
    found = sitk.Resample(sitk_image(array, affine), grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return np.asarray(sitk.GetArrayFromImage(found).transpose(2, 1, 0))


@st.composite
def grids(draw: st.DrawFn) -> Geometry:
    """Any orientation and rotation, within a few millimetres of each other."""
    affine = grid_affine(
        draw(st.integers(0, 47)),
        draw(st.tuples(*[st.floats(-3.1, 3.1)] * 3)),
        draw(st.tuples(*[st.floats(0.5, 3)] * 3)),
        draw(st.tuples(*[st.floats(-5, 5)] * 3)),
    )
    return Geometry(draw(st.tuples(*[st.integers(2, 8)] * 3)), affine)


seeds = st.integers(0, 2**32 - 1)


@given(grids(), grids(), seeds)
def test_any_label_lands_where_itk_puts_it(own: Geometry, onto: Geometry, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 6, own.shape, dtype=np.uint8)
    found = label_on_grid(Volume(array, own), onto)
    assert found.geometry == onto and found.array.dtype == np.uint8
    matrix = np.linalg.inv(own.affine) @ onto.affine
    index = np.moveaxis(np.indices(onto.shape), 0, -1) @ matrix[:3, :3].T + matrix[:3, 3]
    clear = (np.abs(index + 0.5 - np.rint(index + 0.5)) > 1e-4).all(axis=-1)  # not halfway between two voxels
    expected = resampled_by_itk(array, own.affine, onto.shape, onto.affine)
    np.testing.assert_array_equal(found.array[clear], expected[clear])


@given(grids(), st.integers(0, 47), seeds)
def test_reordered_axes_lose_nothing(own: Geometry, order: int, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 300, own.shape, dtype=np.uint16)
    moved, theirs = reordered(array, own.affine, order)
    there = label_on_grid(Volume(array, own), Geometry(moved.shape, theirs))
    np.testing.assert_array_equal(there.array, moved)
    np.testing.assert_array_equal(label_on_grid(there, own).array, array)


def test_the_same_grid_gives_the_label_itself() -> None:
    label = Volume(np.ones((2, 3, 4), dtype=np.int16), Geometry((2, 3, 4), np.diag([1.0, 2, 3, 1])))
    assert label_on_grid(label, Geometry((2, 3, 4), np.diag([1.0, 2, 3, 1]))) is label


def test_a_tie_goes_up_whatever_the_rounding() -> None:
    label = Volume(
        np.arange(4, dtype=np.uint8).reshape(4, 1, 1), Geometry((4, 1, 1), np.diag([0.1, 1, 1, 1]))
    )
    for offset in (0.05, 0.05 - 1e-9, 0.05 + 1e-9):
        halfway = np.diag([0.1, 1, 1, 1])
        halfway[0, 3] = offset
        assert label_on_grid(label, Geometry((4, 1, 1), halfway)).array.ravel().tolist() == [1, 2, 3, 0]


def two_files(folder: Path, shift_mm: float = 7.0) -> Case:
    """An image of 2 mm, and a label of 1.3 mm on turned axes, ``shift_mm`` to the right."""
    random = np.random.default_rng(3)
    image = np.diag([2.0, 2, 2, 1])
    label = grid_affine(11, (0.1, 0.2, 0.3), (1.3, 1.1, 1.7), (shift_mm, 3.0, 16.0))
    scan = write_plainly(folder / "ct.nii", random.integers(0, 99, (16, 14, 12), dtype=np.int16), image)
    drawn = random.integers(0, 3, (12, 10, 9), dtype=np.uint8)
    return Case("p1", (scan,), write_plainly(folder / "label.nii", drawn, label))


def allowing(case: Case) -> Case:
    return Case(case.id, case.images, case.label, reading=Reading(resample_labels=True))


def test_a_cohort_may_allow_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case = two_files(tmp_path)
    with pytest.raises(GridMismatchError, match=r"--set data.reading.resample_labels=true"):
        load_case(case, LABELS)
    with caplog.at_level(logging.WARNING, "medseg"):
        loaded = load_case(allowing(case), LABELS)
    assert loaded.label is not None and loaded.label.geometry == loaded.images[0].geometry
    onto = sitk.ReadImage(str(case.images[0]))
    drawn = sitk.ReadImage(str(case.label))
    found = sitk.Resample(drawn, onto, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    expected = sitk.GetArrayFromImage(found).transpose(2, 1, 0)
    assert np.count_nonzero(expected) > 100
    np.testing.assert_array_equal(loaded.label.array, expected)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith("case p1: image and label are on different grids (corners up to ")
    assert f"{np.count_nonzero(expected) * 0.008:.4g} mL after" in told


def test_nothing_in_common_is_refused_even_then(tmp_path: Path) -> None:
    with pytest.raises(
        GridMismatchError, match=r"image and label have nothing in common .* mL labelled none"
    ):
        load_case(allowing(two_files(tmp_path, shift_mm=300)), LABELS)


def test_an_empty_label_may_be_anywhere() -> None:
    empty = Volume(np.zeros((2, 2, 2), dtype=np.uint8), Geometry((2, 2, 2), np.eye(4)))
    far = Geometry((3, 3, 3), grid_affine(0, (0, 0, 0), (1, 1, 1), (900, 0, 0)))
    placed = place_label(empty, far, "a and b", resample=True, option="--x")
    assert placed.resampled and placed.label.geometry == far and not placed.label.array.any()
    assert str(placed) == "corners up to 901 mm apart, resampled by nearest neighbour"
