"""Masks of the same shape on another grid: refused, or resampled, never compared as arrays.

Every prediction holds the very array of the reference, so comparing arrays would give a Dice of 1.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from medseg.config.data import Reading
from medseg.config.inference import EvaluationConfig
from medseg.evaluation.files import read_cases_csv
from medseg.report.folders import Comparison, report_on_folders
from support.grids import corners_mm, grid_affine, rotation, write_plainly
from support.warm_start import WarmStart

SHAPE = (14, 14, 14)
REFERENCE = grid_affine(3, (0.1, -0.05, 0.2), (0.9, 1.1, 2.5), (12.0, 9.0, -410.0))
CENTRE = corners_mm(SHAPE, REFERENCE).mean(axis=0)
LABELS = {"organ": 1, "tumour": 205}
LOST = ("shifted by 100 mm",)
"""Where nothing of the mask reaches the reference's grid, even resampling is refused."""
SLIGHT = ("shifted by 0.2 mm", "turned by 2 degrees", "slices of 2.4 mm")
"""More than a tenth of a voxel, but less than half a one where there is a structure."""


def shifted(mm: float) -> np.ndarray:
    change = np.eye(4)
    change[0, 3] = mm
    return np.asarray(change @ REFERENCE)


def flipped(*axes: int) -> np.ndarray:
    mirror = np.eye(4)
    for axis in axes:
        mirror[axis, axis], mirror[axis, 3] = -1, SHAPE[axis] - 1
    return REFERENCE @ mirror


def turned(*degrees: float) -> np.ndarray:
    change = np.eye(4)
    change[:3, :3] = rotation(np.radians(degrees))
    change[:3, 3] = CENTRE - change[:3, :3] @ CENTRE
    return np.asarray(change @ REFERENCE)


def respaced(*spacing: float) -> np.ndarray:
    return REFERENCE @ np.diag([*(new / old for new, old in zip(spacing, (0.9, 1.1, 2.5), strict=True)), 1])


CASES: dict[str, np.ndarray] = {
    **{f"shifted by {mm:g} mm": shifted(mm) for mm in (0.2, 0.5, 1, 3, 100)},
    **{f"flipped along {'ijk'[axis]}": flipped(axis) for axis in range(3)},
    "flipped along i and j": flipped(0, 1),
    "turned by 2 degrees": turned(0, 0, 2),
    "turned by 10 degrees": turned(10, 0, 0),
    "turned by 30 degrees": turned(0, 30, 0),
    "turned by 90 degrees": turned(0, 0, 90),
    **{
        f"axes in the order {''.join('ijk'[a] for a in order)}": REFERENCE[:, [*order, 3]]
        for order in ((1, 0, 2), (2, 1, 0), (1, 2, 0))
    },
    "slices of 2.4 mm": respaced(0.9, 1.1, 2.4),
    "columns of 1 mm": respaced(1.0, 1.1, 2.5),
    "voxels 1.7 times as large": respaced(1.53, 1.87, 4.25),
    "spacing in another order": respaced(2.5, 1.1, 0.9),
}


def drawn() -> np.ndarray:
    """An organ and a tumour beside it, alike under no turn or flip."""
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[2:9, 3:12, 4:11] = 1
    label[6:10, 2:7, 3:6] = 205
    label[9:12, 9:12, 8:12] = 205
    return label


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``predictions/`` and ``references/``, a file a case, all with the same array."""
    place = tmp_path_factory.mktemp("evaluation")
    for kind in ("predictions", "references"):
        (place / kind).mkdir()
    for name, affine in CASES.items():
        write_plainly(place / "predictions" / f"{name}.nii", drawn(), affine)
        write_plainly(place / "references" / f"{name}.nii", drawn(), REFERENCE)
    return place


@pytest.fixture(scope="module")
def evaluated(folders: Path) -> Callable[[bool], Path]:
    """The folder of results, with or without resampling; each made once."""
    made: dict[bool, Path] = {}

    def evaluate(resample: bool) -> Path:
        if resample not in made:
            made[resample] = folders / f"resampled {resample}"
            reading = Reading(resample_labels=resample)
            comparison = Comparison(LABELS, EvaluationConfig(metrics=("dice",)), reading=reading)
            report_on_folders(folders / "predictions", folders / "references", made[resample], comparison)
        return made[resample]

    return evaluate


def dice_in_the_patient(name: str) -> dict[str, float]:
    """Dice after SimpleITK has put the prediction onto the reference's grid."""
    with_header = {}
    for kind, affine in (("prediction", CASES[name]), ("reference", REFERENCE)):
        image = sitk.GetImageFromArray(drawn().transpose(2, 1, 0))
        lps = np.diag([-1.0, -1, 1, 1]) @ np.float32(affine)  # as a NIfTI holds it
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        cosines, _, rows = np.linalg.svd(lps[:3, :3] / spacing)
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetDirection((cosines @ rows).ravel().tolist())
        with_header[kind] = image
    moved = sitk.Resample(
        with_header["prediction"], with_header["reference"], sitk.Transform(), sitk.sitkNearestNeighbor, 0
    )
    array = sitk.GetArrayFromImage(moved).transpose(2, 1, 0)
    found = {}
    for structure, value in LABELS.items():
        ours, theirs = array == value, drawn() == value
        found[structure] = 2 * float((ours & theirs).sum()) / float(ours.sum() + theirs.sum())
    return found


@pytest.mark.row("G25")
@pytest.mark.parametrize("name", CASES)
def test_another_grid_is_never_compared_as_arrays(evaluated: Callable[[bool], Path], name: str) -> None:
    scores, failures = read_cases_csv(evaluated(False) / "cases.csv")
    assert not scores and len(failures) == len(CASES)
    (failure,) = (failure for failure in failures if failure.case == name)
    assert f"case {name}: reference and prediction are" in failure.reason and "[E410]" in failure.reason
    assert "mm apart" in failure.reason and "--resample-labels" in failure.reason
    assert [one.status for one in failure.structures] == ["missed", "missed"]
    assert [one.values["dice"] for one in failure.structures] == [0, 0]

    scores, failures = read_cases_csv(evaluated(True) / "cases.csv")
    recorded = json.loads((evaluated(True) / "evaluation.json").read_text())
    assert recorded["reading"]["resample_labels"] is True
    if name in LOST:
        (failure,) = (failure for failure in failures if failure.case == name)
        assert "have nothing in common" in failure.reason
        assert name not in recorded["predictions_off_the_grid"]
        return
    (score,) = (score for score in scores if score.case == name)
    expected = dice_in_the_patient(name)
    assert {one.structure: one.values["dice"] for one in score.structures} == pytest.approx(
        expected, abs=1e-9
    )
    assert (min(expected.values()) == 1) == (name in SLIGHT)
    assert recorded["predictions_off_the_grid"][name].endswith("mm apart, resampled by nearest neighbour")


def test_the_command_line_refuses_and_repairs(folders: Path, tmp_path: Path, warm: WarmStart) -> None:
    def medseg(*options: str) -> tuple[int, str]:
        files = [folders / kind / "turned by 10 degrees.nii" for kind in ("predictions", "references")]
        done = warm.run("evaluate", *files, "-o", tmp_path / "out", *options, cwd=tmp_path)
        return done.returncode, done.stderr

    code, told = medseg()
    assert code == 3
    assert "failed: turned by 10 degrees" in told and "--resample-labels" in told and "Traceback" not in told
    code, told = medseg("--resample-labels", "--geometry", "qform")
    assert code == 0
    assert "label resampled by nearest neighbour" in told
