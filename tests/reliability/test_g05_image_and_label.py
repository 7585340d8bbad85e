"""A label that is not on its image's grid: up to a tenth of a voxel noted, beyond refused, in millimetres.

The image has 24x20x16 voxels of 0.8x0.8x2.5 mm on oblique axes, so 0.08 mm are allowed.
"""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.data import Case, load_case
from medseg.errors import Code, GridMismatchError
from support.grids import apart_mm, corners_mm, grid_affine, write_plainly

SHAPE, SPACING = (24, 20, 16), (0.8, 0.8, 2.5)
IMAGE = grid_affine(3, (0.1, -0.05, 0.2), SPACING, (80.0, 65.0, -410.0))  # axes to left, posterior, superior
CENTRE = corners_mm(SHAPE, IMAGE).mean(axis=0)
LABELS = {"organ": 1, "tumour": 2}


def about_centre(linear: np.ndarray) -> np.ndarray:
    """The image's affine after ``linear`` was applied to the world about the volume's centre."""
    change = np.eye(4)
    change[:3, :3], change[:3, 3] = linear, CENTRE - linear @ CENTRE
    return np.asarray(change @ IMAGE)


def shifted(mm: float) -> np.ndarray:
    change = np.eye(4)
    change[:3, 3] = np.array([2, -1, 2]) / 3 * mm
    return np.asarray(change @ IMAGE)


def respaced(*spacing: float) -> np.ndarray:
    return IMAGE @ np.diag([*(new / old for new, old in zip(spacing, SPACING, strict=True)), 1])


def turned(degrees: float) -> np.ndarray:
    axis = IMAGE[:3, 2] / np.linalg.norm(IMAGE[:3, 2])
    cross = np.cross(np.eye(3), axis)
    angle = np.radians(degrees)
    return about_centre(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def flipped(*axes: int) -> np.ndarray:
    """The header of an array that was mirrored along its own axes."""
    mirror = np.eye(4)
    for axis in axes:
        mirror[axis, axis], mirror[axis, 3] = -1, SHAPE[axis] - 1
    return IMAGE @ mirror


NOTED, REFUSED = "noted", "refused"
CASES: dict[str, tuple[tuple[int, ...], np.ndarray, str, float]] = {
    # shape and affine of the label, verdict, millimetres between the corners
    "a slice fewer": ((24, 20, 15), IMAGE, REFUSED, 2.5),
    "a slice more": ((24, 20, 17), IMAGE, REFUSED, 2.5),
    "rows and columns exchanged": ((20, 24, 16), IMAGE, REFUSED, 4.525),  # sqrt(2) * 4 * 0.8
    "every other voxel": ((12, 10, 16), respaced(1.6, 1.6, 2.5), REFUSED, 1.131),  # sqrt(2) * 0.8
    "four columns cut off": ((20, 20, 16), IMAGE, REFUSED, 3.2),
    "spacing 0.001 mm off": (SHAPE, respaced(0.801, 0.8, 2.5), NOTED, 0.023),
    "slices 0.003 mm off": (SHAPE, respaced(0.8, 0.8, 2.503), NOTED, 0.045),
    "slices 0.01 mm off": (SHAPE, respaced(0.8, 0.8, 2.51), REFUSED, 0.15),
    "spacing 0.1 mm off": (SHAPE, respaced(0.9, 0.8, 2.5), REFUSED, 2.3),
    "origin 0.01 mm off": (SHAPE, shifted(0.01), NOTED, 0.01),
    "origin 0.02 mm off": (SHAPE, shifted(0.02), NOTED, 0.02),
    "origin 0.05 mm off": (SHAPE, shifted(0.05), NOTED, 0.05),
    "origin 0.079 mm off": (SHAPE, shifted(0.079), NOTED, 0.079),
    "origin 0.081 mm off": (SHAPE, shifted(0.081), REFUSED, 0.081),
    "origin 0.5 mm off": (SHAPE, shifted(0.5), REFUSED, 0.5),
    "origin 5 mm off": (SHAPE, shifted(5), REFUSED, 5),
    "origin 50 mm off": (SHAPE, shifted(50), REFUSED, 50),
    "turned by 0.1 degrees": (SHAPE, turned(0.1), NOTED, 0.02083),  # about the slice's centre, 11.93 mm away
    "turned by 0.2 degrees": (SHAPE, turned(0.2), NOTED, 0.04165),
    "turned by 0.3 degrees": (SHAPE, turned(0.3), NOTED, 0.06248),
    "turned by 0.5 degrees": (SHAPE, turned(0.5), REFUSED, 0.1041),
    "turned by 1 degree": (SHAPE, turned(1), REFUSED, 0.2083),
    "left and right exchanged": (SHAPE, flipped(0), REFUSED, 18.4),
    "upside down and back to front": (SHAPE, flipped(1, 2), REFUSED, 40.47),  # hypot(15.2, 37.5)
}


@pytest.fixture
def case(tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    shape, affine, _, _ = CASES[request.param]
    random = np.random.default_rng(5)
    image = write_plainly(tmp_path / "ct.nii", random.integers(-900, 900, SHAPE, dtype=np.int16), IMAGE)
    label = write_plainly(tmp_path / "label.nii", random.integers(0, 3, shape, dtype=np.uint8), affine)
    return Case("p7", (image,), label)


def log_of(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.row("G05")
@pytest.mark.parametrize(("case", "name"), [(name, name) for name in CASES], indirect=["case"])
def test_a_label_off_its_image(case: Case, name: str, caplog: pytest.LogCaptureFixture) -> None:
    shape, affine, verdict, apart = CASES[name]
    if shape == SHAPE:
        assert apart_mm(shape, affine, IMAGE) == pytest.approx(apart, rel=2e-3)  # the table is right
    with caplog.at_level(logging.INFO, "medseg"):
        if verdict == NOTED:
            loaded = load_case(case, LABELS)
            assert loaded.label is not None and case.label is not None
            np.testing.assert_array_equal(loaded.label.array, np.asarray(nib.load(case.label).dataobj))
            assert "case p7: image and label are" in log_of(caplog)
            assert millimetres_told(log_of(caplog)) == pytest.approx(apart, rel=0.02)
            return
        with pytest.raises(GridMismatchError) as refusal:
            load_case(case, LABELS)
    text = str(refusal.value)
    assert refusal.value.code == Code.GRID_MISMATCH
    assert "case p7: image and label" in text and "--set data.reading.resample_labels=true" in text
    assert millimetres_told(text) == pytest.approx(apart, rel=0.02)


def millimetres_told(text: str) -> float:
    """The number in front of the first ``mm apart``."""
    return float(text.partition(" mm apart")[0].split()[-1])


def test_a_label_on_its_image_is_taken_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    label = np.random.default_rng(1).integers(0, 3, SHAPE, dtype=np.uint8)
    scan = write_plainly(tmp_path / "ct.nii", label.astype(np.int16), IMAGE)
    other = write_plainly(tmp_path / "label.nrrd", label, IMAGE)  # rounded otherwise than the NIfTI
    with caplog.at_level(logging.INFO, "medseg"):
        assert load_case(Case("p7", (scan,), other), LABELS).label is not None
    assert log_of(caplog) == ""
