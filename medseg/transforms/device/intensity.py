"""Intensity transforms of a batch, each as its namesake changes one patch; drawn numbers come in arrays."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from medseg.transforms.acquisition import BiasField
from medseg.transforms.appearance import TINY, Anisotropy, Blur, BrightnessContrast, Gamma, Noise
from medseg.transforms.base import IntensityChange
from medseg.transforms.device.draws import Drawn
from medseg.transforms.randomness import normal_of

Images = Float32[Tensor, "B C I J K"]
SPACE = (2, 3, 4)


def noisy(image: Images, drawn: Drawn) -> Images:
    """The very noise of a worker: it is a hash of the voxel's place and of the seeds, on any device."""
    noise = normal_of(_at(drawn["seeds"], image), image[0].numel()).reshape(image.shape)
    return noise.mul_(_as_volumes(_at(drawn["std"], image))).add_(image)


def blurred(image: Images, drawn: Drawn) -> Images:
    for axis, matrices in drawn.items():
        image = products_along(image, _at(matrices, image), int(axis))
    return image


def to_power(image: Images, drawn: Drawn) -> Images:
    low, high = image.amin(SPACE, keepdim=True), image.amax(SPACE, keepdim=True)
    span = torch.where(high > low, high - low, 1)  # a patch of one value keeps it
    scaled = image.sub(low).div_(span).clamp_(TINY, 1)
    power = scaled.log_().mul_(_as_volumes(_at(drawn["gamma"], image))).clamp_(min=-80).exp_()
    return power.mul_(high - low).add_(low)


def brightened(image: Images, drawn: Drawn) -> Images:
    contrast, offset = (_as_volumes(part) for part in _at(drawn["change"], image).unbind(-1))
    mean = image.mean(SPACE, keepdim=True)
    return image.mul(contrast).add_(mean.mul_(1 - contrast).add_(offset))


def biased(image: Images, drawn: Drawn) -> Images:
    coefficients = _at(drawn["coefficients"], image)
    axes = [_powers(n, coefficients.shape[1], image.device) for n in image.shape[2:]]
    field = torch.einsum("zabc,Ia,Jb,Kc->zIJK", coefficients, *axes).exp_()[:, None]
    field.div_(field.mean(SPACE, keepdim=True))
    low = image.amin(SPACE, keepdim=True)
    return (image - low).mul_(field).add_(low)


def with_thick_slices(image: Images, drawn: Drawn) -> Images:
    result = image.clone()
    for axis in range(3):
        rows, n = np.flatnonzero(drawn["axis"] == axis), image.shape[axis + 2]
        if rows.size:
            matrices = _at(drawn["matrix"][rows][:, :n, :n], image)
            chosen = _at(rows, image)
            result[chosen] = products_along(image[chosen], matrices, axis)
    return result


def products_along(image: Images, matrices: Float32[Tensor, "B n n"], axis: int) -> Images:
    """One matrix a patch, along one axis."""
    batch, channels, *shape = image.shape
    flat = image.reshape(batch, channels * int(np.prod(shape[:axis])), shape[axis], -1)
    return torch.einsum("bmn,blnr->blmr", matrices, flat).reshape(image.shape)


CHANGES: Mapping[type[IntensityChange], Callable[[Images, Drawn], Images]] = {
    Noise: noisy,
    Blur: blurred,
    Gamma: to_power,
    BrightnessContrast: brightened,
    BiasField: biased,
    Anisotropy: with_thick_slices,
}


def _powers(size: int, count: int, device: torch.device) -> Float32[Tensor, "n m"]:
    """1, x, x², ... at ``size`` voxels between -1 and 1; a single one lies at 0."""
    axis = torch.linspace(-1, 1, size, device=device) if size > 1 else torch.zeros(1, device=device)
    return torch.stack([axis**power for power in range(count)], dim=1)


def _at(array: np.ndarray, image: Tensor) -> Tensor:
    """On the device of ``image``."""
    return torch.from_numpy(array).to(image.device, non_blocking=True)


def _as_volumes(numbers: Tensor) -> Tensor:
    """A number a patch, or one a channel, to be multiplied with volumes."""
    return numbers.reshape(len(numbers), -1, 1, 1, 1)
