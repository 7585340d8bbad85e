"""What the workers left of the augmentation, done to a batch where the network is."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from medseg.transforms.augmentation import Augment
from medseg.transforms.device.intensity import CHANGES
from medseg.transforms.device.left import Left, Step
from medseg.transforms.device.warp import batch_coordinates, sample_images, sample_labels
from medseg.transforms.flip import Flip, swap_table
from medseg.transforms.spatial import FusedSpatial


class DeviceAugment:
    """The transforms of ``augment``, each applied at once to all patches of a batch that it was drawn for."""

    def __init__(self, augment: Augment) -> None:
        self.augment = augment

    def __call__(
        self, image: Float32[Tensor, "B C I J K"], label: UInt8[Tensor, "B I J K"], left: Left
    ) -> tuple[Float32[Tensor, "B C i j k"], UInt8[Tensor, "B i j k"]]:
        """Patches with their margin, padded to the largest, in; of ``patch_size`` out, on the same device.

        Draws nothing: ``left`` holds what was drawn. The tensors that come in stay as they are.
        """
        with torch.no_grad():
            first = next((step for step in left.steps if step.place == self.augment.first_spatial), None)
            i, j, k = self.augment.patch_size
            whole = image, label
            image, label = image[..., :i, :j, :k].clone(), label[..., :i, :j, :k].clone()
            if first is not None:  # on no patch was anything done on the device before
                image, label = self._warped(*whole, left.shapes[first.rows], first, (image, label))
            for step in left.steps:
                if step is not first:
                    image, label = self._stepped(image, label, step)
        return image, label

    def _stepped(self, image: Tensor, label: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        transform = self.augment.transforms[step.place][1]
        if isinstance(transform, FusedSpatial):
            shapes = np.tile(np.array(self.augment.patch_size), (len(step.rows), 1))
            return self._warped(image, label, shapes, step, (image, label))
        if isinstance(transform, Flip):
            return self._flipped(image, label, step, transform)
        change = CHANGES[type(transform)]
        return _on_rows(image, step.rows, lambda some: change(some, step.drawn)), label

    def _warped(
        self,
        image: Tensor,
        label: Tensor,
        shapes: Int64[np.ndarray, "b 3"],
        step: Step,
        into: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """The step's rows of ``image`` and ``label``, warped and put among those of ``into``."""
        chosen = torch.from_numpy(step.rows).to(image.device)
        drawn = {name: torch.from_numpy(array).to(image.device) for name, array in step.drawn.items()}
        sizes = torch.from_numpy(shapes.astype(np.float32)).to(image.device)
        coordinates = batch_coordinates(
            drawn["matrix"], drawn["offset"], drawn.get("control"), sizes, self.augment.patch_size
        )
        into[0][chosen] = sample_images(image[chosen], coordinates)
        into[1][chosen] = sample_labels(label[chosen], coordinates)
        return into

    def _flipped(self, image: Tensor, label: Tensor, step: Step, flip: Flip) -> tuple[Tensor, Tensor]:
        for axis in range(3):
            rows = step.rows[step.drawn["axes"][:, axis]]
            if rows.size:
                image = _on_rows(image, rows, partial(torch.flip, dims=(axis + 2,)))
                label = _on_rows(label, rows, partial(torch.flip, dims=(axis + 1,)))
                if axis == 0:
                    label = _on_rows(label, rows, partial(_with_classes_swapped, pairs=flip.pairs))
        return image, label


def _on_rows(batch: Tensor, rows: Int64[np.ndarray, " b"], change: Callable[[Tensor], Tensor]) -> Tensor:
    """``batch``, with some of its patches changed in place or all of them anew."""
    if len(rows) == len(batch):
        return change(batch)
    chosen = torch.from_numpy(rows).to(batch.device)
    batch[chosen] = change(batch[chosen])
    return batch


def _with_classes_swapped(label: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """``label`` with the two classes of each pair exchanged."""
    return torch.from_numpy(swap_table(pairs)).to(label.device)[label.to(torch.int64)]
