"""Every real file: read where nibabel, SimpleITK and pydicom say its voxels are, or refused by name.

``MEDSEG_VERDICTS=table.md pytest tests/reliability/test_real_files.py`` writes what was found as a table.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from medseg.errors import VolumeError
from medseg.io import read_geometry, read_label, read_volume
from medseg.volume import Volume
from support.real_verdicts import ACCEPT, FILES, FOREIGN

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
Told = Callable[[str, str, str], None]


@pytest.fixture(scope="module")
def tell() -> Iterator[Told]:
    """Collects the table's rows."""
    rows: dict[str, str] = {}

    def add(path: str, verdict: str, found: str) -> None:
        rows[path] = f"| {path} | {verdict} | {found.replace('|', '/')} |\n"

    yield add
    if target := os.environ.get("MEDSEG_VERDICTS"):
        head = "| path | verdict | shape, spacing, axes; or the refusal |\n|---|---|---|\n"
        Path(target).write_text(head + "".join(rows[path] for path in sorted(rows)))


@pytest.mark.parametrize("name", FILES)
def test_a_file_gets_the_verdict_it_deserves(shared_data: Path, tell: Told, name: str) -> None:
    verdict, path = FILES[name], shared_data / name
    if verdict == ACCEPT:
        volume = read_volume(path)
        assert read_geometry(path) == volume.geometry
        require_independent_agreement(path, volume)
        tell(name, "accepted", f"{volume.geometry}, {volume.array.dtype}")
        return
    with pytest.raises(VolumeError) as refusal:
        read_volume(path)
    tell(name, f"refused, {refusal.value.code}", refusal.value.problems[0])
    assert refusal.value.code in verdict
    assert all(";" in problem for problem in refusal.value.problems)  # each names a fix


def test_no_file_is_without_a_verdict(shared_data: Path, tell: Told) -> None:
    for path in sorted((shared_data / "odd_nifti").rglob("*")) + sorted((shared_data / "dicom").rglob("*")):
        name = path.relative_to(shared_data).as_posix()
        if not path.is_file() or name in FILES or FILES.get(path.parent.relative_to(shared_data).as_posix()):
            continue
        if path.name.endswith(FOREIGN):
            with pytest.raises(VolumeError) as refusal:
                read_volume(path)
            assert refusal.value.code == "E405", path
            tell(name, f"refused, {refusal.value.code}", refusal.value.problems[0])
        else:  # a slice of a series whose folder, or the folder above, has a verdict
            parents = [parent.relative_to(shared_data).as_posix() for parent in path.parents[:4]]
            assert any(parent in FILES for parent in parents), f"{name} has no verdict"


def test_real_label_maps_hold_whole_numbers(shared_data: Path) -> None:
    folder = shared_data / "odd_nifti" / "pyradiomics_nrrd" / "data"
    for path in folder.glob("b*_label.nrrd"):
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert np.unique(read_label(path).array).tolist() == np.unique(expected).tolist()


def require_independent_agreement(path: Path, volume: Volume) -> None:
    """Every voxel lies where another library puts it, and has the value that one reads."""
    if path.suffix == ".nrrd":
        image = sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
        corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(values.shape) - 1)
        points = [image.TransformIndexToPhysicalPoint(corner.tolist()) for corner in corners]
        np.testing.assert_allclose(
            volume.geometry.to_world(corners.astype(float)), points * LPS_TO_RAS, atol=1e-3
        )
    elif path.is_dir() or path.suffix == ".dcm":
        require_dicom_agreement(path, volume)
        return
    else:
        image = nib.load(path)
        form = image.header.get_sform() if image.header["sform_code"] > 0 else image.header.get_qform()
        np.testing.assert_allclose(volume.geometry.affine, form, atol=1e-4)
        values = np.asarray(image.dataobj).reshape(image.shape[:3])
    if values.dtype.kind in "iu":
        assert np.array_equal(volume.array, values)
    else:
        np.testing.assert_allclose(volume.array, values, rtol=1e-6)


def require_dicom_agreement(path: Path, volume: Volume) -> None:
    """Pixels of each plane, put into space by the standard's equation, are the voxels there.

    The equation is C.7.6.2.1-1 of DICOM PS3.3; pixels are decoded by GDCM where it knows the file.
    """
    to_index, planes, pixels = np.linalg.inv(volume.geometry.affine), 0, np.empty((0, 0))
    for position, cosines, spacing, pixels in planes_of(path):
        some = [np.unique([*range(0, n, 5), n - 1]) for n in pixels.shape]
        rows, columns = (part.ravel() for part in np.meshgrid(*some, indexing="ij"))
        lps = (
            position + np.outer(columns * spacing[1], cosines[:3]) + np.outer(rows * spacing[0], cosines[3:])
        )
        exact = (lps * LPS_TO_RAS) @ to_index[:3, :3].T + to_index[:3, 3]
        index = np.rint(exact).astype(int)
        np.testing.assert_allclose(exact, index, atol=2e-3)
        np.testing.assert_allclose(volume.array[tuple(index.T)], pixels[rows, columns], rtol=1e-5)
        planes += 1
    assert planes * pixels.size == volume.array.size


def planes_of(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Position, six cosines, spacing (row, column) and rescaled pixels of each plane of a CT or MR."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            if file.read_bytes()[128:132] != b"DICM":
                continue
            head = pydicom.dcmread(file, stop_before_pixels=True)
            if head.Modality not in ("CT", "MR"):
                continue
            if "PerFrameFunctionalGroupsSequence" not in head:
                place = (head.ImagePositionPatient, head.ImageOrientationPatient, head.PixelSpacing)
                yield *(np.array(part, dtype=float) for part in place), decoded(file, head)[0]
                continue
            shared = head.SharedFunctionalGroupsSequence[0]
            cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
            spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, dtype=float)
            for own, pixels in zip(head.PerFrameFunctionalGroupsSequence, decoded(file, head), strict=True):
                place = own.PlanePositionSequence[0].ImagePositionPatient
                yield np.array(place, dtype=float), cosines, spacing, pixels


def decoded(file: Path, head: pydicom.Dataset) -> np.ndarray:
    """Pixels (frame, row, column), rescaled."""
    if head.get("SOPClassUID"):
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO")))
    pixels = pydicom.dcmread(file).pixel_array[np.newaxis]  # GDCM declines a file without SOP class
    return np.asarray(pixels * float(head.RescaleSlope) + float(head.RescaleIntercept))
