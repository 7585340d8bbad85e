"""One volume stored in 58 ways: the network sees the same, so the masks are the same, voxel for voxel.

Written by nibabel, SimpleITK or by hand; judged after nibabel has turned each mask to one orientation. The
oracle sees the scan's own spacing and must give back every code; the random U-Net sees another one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from medseg.inference import Segmenter
from medseg.io import read_volume, write_volume
from medseg.modelfile import ModelFile, load_model, save_model
from medseg.models import build_network
from medseg.transforms import Fitted
from support.grids import apart_mm, read_plainly, reordered, sitk_image, write_plainly
from support.oracle import CODE_STEP, write_oracle

SHAPE = (15, 13, 11)
SPACING = (1.5, 2.0, 2.5)
CANONICAL = np.array([[1.5, 0, 0, -31.5], [0, 2, 0, 12.25], [0, 0, 2.5, -404], [0, 0, 0, 1.0]])
NETWORK_MM = (1.9, 1.9, 2.3)  # no native voxel lies halfway between two of these
Write = Callable[[Path, np.ndarray], Path]


class Known(NamedTuple):
    """The scan, and the masks of the oracle and of a random U-Net, all in canonical order."""

    scan: np.ndarray
    segmenters: tuple[Segmenter, Segmenter]
    masks: tuple[np.ndarray, np.ndarray]


def scan_array() -> np.ndarray:
    """Structures of random codes, 3x3x3 voxels each, with noise; even numbers."""
    random = np.random.default_rng(4)
    blocks = random.integers(0, 4, [-(-n // 3) for n in SHAPE])
    for axis in range(3):
        blocks = np.repeat(blocks, 3, axis=axis)
    i, j, k = SHAPE
    return (blocks[:i, :j, :k] * CODE_STEP + 2 * random.integers(-10, 11, SHAPE)).astype(np.int16)


def write_random_network(path: Path, oracle: Path) -> Path:
    """A model like the oracle's with another network: norms, 3x3x3 kernels, random weights."""
    like = load_model(oracle)
    model = like.experiment.model.model_validate({"kind": "unet", "channels": [4, 8], "norm": "instance"})
    experiment = like.experiment.model_copy(update={"model": model})
    torch.manual_seed(1)
    network = build_network(model, in_channels=1, classes=4, patch_size=experiment.sampling.patch_size)
    save_model(path, ModelFile(experiment, Fitted(NETWORK_MM).to_json(), {}, network.state_dict()))
    return path


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = tmp_path_factory.mktemp("models")
    oracle = write_oracle(folder / "oracle.safetensors", spacing_mm=SPACING)
    random = write_random_network(folder / "random.safetensors", oracle)
    segmenters = (Segmenter.load(oracle, device="cpu"), Segmenter.load(random, device="cpu"))
    scan = read_volume(write_plainly(folder / "scan.nii", scan_array(), CANONICAL))
    masks = (np.rint(scan_array() / CODE_STEP), segmenters[1](scan).array)
    assert all(len(np.unique(mask)) == 4 for mask in masks)  # nothing is equal for want of anything to see
    return Known(scan_array(), segmenters, masks)


def nifti(order: int) -> Write:
    def write(folder: Path, scan: np.ndarray) -> Path:
        return write_plainly(folder / "scan.nii", *reordered(scan, CANONICAL, order))

    return write


def itk(name: str, dtype: str = "int16", *, compress: bool) -> Write:
    """Axes to left, posterior, superior, as these formats usually have them."""

    def write(folder: Path, scan: np.ndarray) -> Path:
        array, affine = reordered(scan, CANONICAL, 3)
        image = sitk_image(array.astype(dtype), affine)
        sitk.WriteImage(image, str(folder / name), useCompression=compress)
        return folder / name

    return write


def big_endian_gzip(folder: Path, scan: np.ndarray) -> Path:
    image = nib.Nifti1Image(scan, CANONICAL, header=nib.Nifti1Header(endianness=">"))
    image.header.set_data_dtype(">i2")
    nib.save(image, folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def nifti_2_of_floats(folder: Path, scan: np.ndarray) -> Path:
    nib.save(nib.Nifti2Image(scan.astype(np.float32), CANONICAL), folder / "scan.nii")
    return folder / "scan.nii"


def rescaled_uint16_with_sform_alone(folder: Path, scan: np.ndarray) -> Path:
    stored = ((scan + 1024) // 2).astype(np.uint16)
    image = nib.Nifti1Image(stored, CANONICAL)
    image.set_sform(CANONICAL, code=2)
    image.set_qform(None, code=0)
    header = image.header.copy()
    header["scl_slope"], header["scl_inter"], header["vox_offset"], header["magic"] = 2, -1024, 352, b"n+1"
    (folder / "scan.nii").write_bytes(header.binaryblock + bytes(4) + stored.tobytes(order="F"))
    return folder / "scan.nii"


def qform_alone(folder: Path, scan: np.ndarray) -> Path:
    array, affine = reordered(scan, CANONICAL, 3)
    image = nib.Nifti1Image(array, None)
    image.set_qform(affine, code=1)
    image.set_sform(None, code=0)
    nib.save(image, folder / "scan.nii")
    return folder / "scan.nii"


WAYS: dict[str, Write] = {
    **{f"nii, orientation {order}": nifti(order) for order in range(48)},
    "nii.gz, big-endian": big_endian_gzip,
    "nii, NIfTI-2, float32": nifti_2_of_floats,
    "nii, uint16 with a slope, sform alone": rescaled_uint16_with_sform_alone,
    "nii, qform alone": qform_alone,
    "nrrd, raw": itk("scan.nrrd", compress=False),
    "nrrd, gzip": itk("scan.nrrd", "int32", compress=True),
    "nhdr and raw": itk("scan.nhdr", compress=False),
    "mha, raw, float64": itk("scan.mha", "float64", compress=False),
    "mha, compressed": itk("scan.mha", "int32", compress=True),
    "mhd and raw": itk("scan.mhd", compress=False),
}


@pytest.mark.row("G04")
@pytest.mark.parametrize("way", WAYS)
def test_the_same_labels_however_it_is_stored(known: Known, tmp_path: Path, way: str) -> None:
    scan = read_volume(WAYS[way](tmp_path, known.scan))
    for segmenter, expected in zip(known.segmenters, known.masks, strict=True):
        write_volume(segmenter(scan), tmp_path / "mask.nii")
        array, affine = read_plainly(tmp_path / "mask.nii")
        turned = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
        assert turned.shape == SHAPE and apart_mm(SHAPE, turned.affine, CANONICAL) < 1e-3
        np.testing.assert_array_equal(np.asarray(turned.dataobj), expected)


def test_there_are_58_ways() -> None:
    assert len(WAYS) == 58
