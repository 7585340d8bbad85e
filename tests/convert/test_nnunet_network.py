"""A converted nnU-Net says what nnU-Net's own network says, on tensors and on scans."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medseg.convert.nnunet import Converted, assemble
from medseg.convert.nnunet_checkpoint import Checkpoint
from medseg.convert.nnunet_unpickle import wanted
from medseg.inference import Segmenter
from medseg.modelfile import load_network
from medseg.volume import Geometry, Volume
from support import nnunet

CLASSES = 4
ISOTROPIC = {"kernel_sizes": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]]}
LAYOUTS: dict[str, dict[str, Any]] = {
    "plain, isotropic": ISOTROPIC,
    "plain, anisotropic": {},
    "plain, 2D": {"dims": 2},
    "plain, no biases": {"conv_bias": False},
    "plain, norms without scale": {"norm_op_kwargs": {"eps": 1e-5}},
    "plain, batch norm": {"norm_op": "torch.nn.BatchNorm3d", "norm_op_kwargs": {}},
    "plain, dropout": {"dropout_op": "torch.nn.Dropout3d", "dropout_op_kwargs": {"p": 0.2}},
    "residual, isotropic": {"residual": True, **ISOTROPIC},
    "residual, anisotropic": {"residual": True, "nonlin": "torch.nn.ReLU"},
    "residual, 2D": {"residual": True, "dims": 2},
}


def read(saved: dict[str, Any]) -> Checkpoint:
    """What the converter's other process gives, made in this one: the file is ours."""
    weights, told = wanted(saved, torch)
    told["mirror_axes"] = tuple(told["mirror_axes"])
    return Checkpoint(weights, "0" * 64, **told)


def converted(
    folder: Path,
    layout: str,
    channels: int = 1,
    orientation: str | None = None,
    mirror_axes: tuple[int, ...] | None = (0, 1, 2),
    **plans: Any,
) -> tuple[nn.Module, Converted]:
    """Their network with random weights, and ours."""
    told = nnunet.architecture(**LAYOUTS[layout])
    theirs = nnunet.build(told, channels, CLASSES)
    schemes = plans.pop("schemes", ("NoNormalization",) * channels)
    nnunet.write_folder(folder, nnunet.plans(told, schemes=schemes, **plans), nnunet.dataset(channels))
    path = folder / "fold_0" / "checkpoint_final.pth"
    saved = nnunet.checkpoint(theirs.state_dict(), mirror_axes)
    return theirs, assemble(folder, path, read(saved), orientation)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_same_logits(layout: str, channels: int, tmp_path: Path) -> None:
    theirs, ours = converted(tmp_path, layout, channels)
    network = load_network(ours.model)
    x = torch.randn(1, channels, *nnunet.PATCH)  # z, y, x
    with torch.inference_mode():
        wanted = slices(theirs, x) if LAYOUTS[layout].get("dims") == 2 else theirs(x)
        found = network(x.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2)
    assert wanted.std() > 0.1
    assert (found - wanted).abs().max() < 1e-4


def slices(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return torch.stack([network(x[:, :, index]) for index in range(x.shape[2])], dim=2)


STORED = {
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "RAS": np.diag([1.0, 1.0, 1.0]),
    "PSR": np.array([[0.0, 0, 1], [-1, 0, 0], [0, 1, 0]]),  # sagittal
}


@functools.cache
def stored_scan(orientation: str, transpose_forward: tuple[int, ...]) -> Volume:
    """Noise stored along ``orientation``, of the patch's size once nnU-Net has transposed it."""
    array = np.random.default_rng(3).normal(size=nnunet.PATCH).astype(np.float32)
    array = array.transpose(np.argsort(transpose_forward)).T  # to stored z, y, x; to i, j, k
    spacing = np.array(nnunet.plans(nnunet.architecture())["original_median_spacing_after_transp"])
    spacing = spacing[np.argsort(transpose_forward)][::-1]
    affine = np.eye(4)
    affine[:3, :3] = STORED[orientation] * spacing
    affine[:3, 3] = (-40, 30, 500)
    return Volume(np.ascontiguousarray(array), Geometry(array.shape, affine))


def nnunets_mask(
    network: nn.Module, scan: Volume, transpose_forward: tuple[int, ...], dims: int
) -> np.ndarray:
    """As nnU-Net does it: the stored array, last axis first, transposed; one window; and back."""
    data = torch.from_numpy(scan.array.T.transpose(transpose_forward).copy())[None, None]
    with torch.inference_mode():
        logits = slices(network, data) if dims == 2 else network(data)
    mask: np.ndarray = logits[0].argmax(0).numpy().transpose(np.argsort(transpose_forward)).T
    return mask


@pytest.mark.parametrize("layout", ["plain, anisotropic", "residual, anisotropic", "plain, 2D"])
@pytest.mark.parametrize("transpose_forward", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("stored", list(STORED))
def test_same_mask_of_a_scan(
    layout: str, transpose_forward: tuple[int, ...], stored: str, tmp_path: Path
) -> None:
    theirs, ours = converted(
        tmp_path, layout, orientation=None if stored == "LPS" else stored, transpose_forward=transpose_forward
    )
    scan = stored_scan(stored, transpose_forward)
    wanted = nnunets_mask(theirs, scan, transpose_forward, LAYOUTS[layout].get("dims", 3))
    mask = Segmenter.from_model(ours.model, device="cpu", precision="fp32")(scan)
    assert len(np.unique(wanted)) == CLASSES
    assert np.mean(mask.array == wanted) > 0.999
    assert np.mean(mask.array[::-1] == wanted) < 0.9  # the noise has no symmetry to hide behind


def test_a_scan_stored_otherwise_gives_the_same_mask(tmp_path: Path) -> None:
    _, ours = converted(tmp_path, "plain, anisotropic")
    segmenter = Segmenter.from_model(ours.model, device="cpu", precision="fp32")
    scan = stored_scan("LPS", (0, 1, 2))
    affine = scan.geometry.affine.copy()
    affine[:3, 3] = scan.geometry.to_world(np.array([[0.0, scan.array.shape[1] - 1, 0]]))[0]
    affine[:, 1] *= -1
    other = Volume(scan.array[:, ::-1].copy(), Geometry(scan.array.shape, affine))
    assert other.geometry.axis_codes == "LAS"
    np.testing.assert_array_equal(segmenter(other).array[:, ::-1], segmenter(scan).array)


def test_mirroring_goes_along_the_trained_axes(tmp_path: Path) -> None:
    """Mirrored along y of the transposed array alone, logits averaged, no sides swapped."""
    theirs, ours = converted(tmp_path, "plain, anisotropic", mirror_axes=(1,), transpose_forward=(2, 0, 1))
    inference = ours.model.experiment.inference.model_copy(update={"mirror": True})
    assert inference.mirror_axes == ("k",)
    scan = stored_scan("LPS", (2, 0, 1))

    class Averaged(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean: torch.Tensor = (theirs(x) + theirs(x.flip(3)).flip(3)) / 2
            return mean

    wanted = nnunets_mask(Averaged(), scan, (2, 0, 1), 3)
    mask = Segmenter.from_model(ours.model, device="cpu", precision="fp32", inference=inference)(scan)
    assert np.mean(mask.array == wanted) > 0.999
