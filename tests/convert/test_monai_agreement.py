"""Masks of a converted bundle are those of MONAI's own transforms, windows and way back."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from medseg.convert import convert_monai
from medseg.inference import Segmenter
from medseg.io import read_volume
from support import monai_bundle as theirs

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI's own

STRAIGHT = np.diag([-0.9, -1.1, 3.1, 1.0])  # L, P, S
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "UNet, a window of HU": (theirs.UNET, {}),
    "SegResNet, z-score and Gaussian windows": (
        theirs.SEGRESNET,
        {
            "preprocessing": {
                "_target_": "Compose",
                "transforms": [*theirs.LOADED, *theirs.ZSCORE_THEN_SCALE],
            },
            "inferer": {**theirs.WINDOWS, "mode": "gaussian", "padding_mode": "replicate"},
        },
    ),
    "one output": (
        {**theirs.UNET, "out_channels": 1},
        {
            "postprocessing": {
                "_target_": "Compose",
                "transforms": [
                    {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
                    theirs.INVERT,
                    {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
                ],
            }
        },
    ),
}


def write_scan(path: Path, affine: np.ndarray, shape: tuple[int, int, int] = (46, 40, 22)) -> Path:
    """Blobs of several voxels, without symmetry; some voxels are exactly 0."""
    noise = np.random.default_rng(1).normal(0, 1, shape)
    smooth = ndimage.gaussian_filter(noise, (5, 5, 2))
    image = nibabel.Nifti1Image((smooth / smooth.std() * 150 + 80).astype(np.int16), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    return path


def oblique() -> np.ndarray:
    """The same voxels, tilted about two axes."""
    c, s = np.cos(0.2), np.sin(0.2)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, c, s], [0, -s, c]]
    )
    return affine @ STRAIGHT


@pytest.mark.parametrize(
    "name",
    [name if name.startswith("UNet") else pytest.param(name, marks=pytest.mark.nightly) for name in CASES],
)
def test_masks_are_those_of_monai(name: str, tmp_path: Path) -> None:
    network_def, changes = CASES[name]
    config, network = theirs.inference(network_def, **changes), theirs.build(network_def)
    told = theirs.metadata(
        ("background", "liver", "left kidney", "right kidney")[: network_def["out_channels"]]
    )
    converted = convert_monai(theirs.write_bundle(tmp_path / "bundle", config, network, told))
    scan = write_scan(tmp_path / "scan.nii.gz", STRAIGHT)
    expected = theirs.predicted(config, network, scan)
    assert all(share > 0.02 for share in np.bincount(expected.ravel()) / expected.size)
    engine = "openvino" if "UNet" in name else "torch"
    segmenter = Segmenter.from_model(converted.model, device="cpu", precision="fp32", engine=engine)
    mask = segmenter(read_volume(scan))
    assert np.mean(mask.array == expected) > 0.999
    tilted = segmenter(read_volume(write_scan(tmp_path / "tilted.nii.gz", oblique())))
    assert np.mean(tilted.array == mask.array) > 0.9999
