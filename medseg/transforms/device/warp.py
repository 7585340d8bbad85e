"""The spatial transform of a batch: one field, one interpolation."""

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, nn

from medseg.transforms.warp import Size, spline_matrix


def batch_coordinates(
    matrix: Float32[Tensor, "B 3 3"],
    offset: Float32[Tensor, "B 3"],
    control: Float32[Tensor, "B 3 _ _ _"] | None,
    shapes: Float32[Tensor, "B 3"],
    result: Size,
) -> Float32[Tensor, "B 3 I J K"]:
    """Indices on each source grid of ``shapes`` voxels, as ``warp_coordinates`` gives them for one.

    Held within the patch's own grid, not that of the batch it is padded to: what lies further out repeats the
    edge, as it does where a patch is alone.
    """
    device = matrix.device
    i, j, k = (torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in result)
    last = shapes - 1
    start = (offset + last / 2)[:, :, None, None]
    plane = matrix[:, :, 1, None, None] * j[:, None] + matrix[:, :, 2, None, None] * k + start
    slope = matrix[:, :, 0, None, None].expand_as(plane)
    basis, parts = [i[:, None], torch.ones_like(i)[:, None]], [slope[:, :, None], plane[:, :, None]]
    if control is not None:
        along_i, along_j, along_k = (
            spline_matrix(n, p).to(device) for n, p in zip(result, control.shape[2:], strict=True)
        )
        basis.append(along_i)
        parts.append(torch.einsum("bdijk,Jj,Kk->bdiJK", control, along_j, along_k))
    field = torch.cat(basis, dim=1) @ torch.cat(parts, dim=2).flatten(3)
    coordinates = field.reshape(len(matrix), 3, *result).clamp_(min=0)
    return torch.minimum(coordinates, last[:, :, None, None, None])


def sample_images(
    image: Float32[Tensor, "B C I J K"], coordinates: Float32[Tensor, "B 3 i j k"]
) -> Float32[Tensor, "B C i j k"]:
    """Trilinear interpolation of each image at its ``coordinates`` (indices)."""
    grid = coordinates.new_empty((len(image), *coordinates.shape[2:], 3))
    for axis, size in enumerate(image.shape[2:]):  # grid_sample counts from -1 to 1, the last axis first
        torch.mul(coordinates[:, axis], 2 / size, out=grid[..., 2 - axis]).add_(1 / size - 1)
    return nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=False)


def sample_labels(
    label: UInt8[Tensor, "B I J K"], coordinates: Float32[Tensor, "B 3 i j k"]
) -> UInt8[Tensor, "B i j k"]:
    """The class of the voxel nearest to each of ``coordinates``, as a whole number throughout."""
    i, j, k = (index.round().to(torch.int64) for index in coordinates.unbind(1))
    place: Int64[Tensor, "B i j k"] = i.mul_(label.shape[2]).add_(j).mul_(label.shape[3]).add_(k)
    return label.flatten(1).gather(1, place.flatten(1)).reshape(place.shape)
