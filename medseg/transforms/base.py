"""The classes of TorchIO that ours are built on, typed once."""

from abc import abstractmethod

import torch
import torchio as tio
from jaxtyping import Float32
from torch import Tensor


class SubjectTransform(tio.SpatialTransform):  # type: ignore[misc]  # torchio is untyped
    """Moves, cuts or resamples all images of a subject; works in place on a subject that is ours."""

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p=p, copy=False)

    @abstractmethod
    def apply_transform(self, subject: tio.Subject) -> tio.Subject: ...


class IntensityChange(tio.IntensityTransform):  # type: ignore[misc]  # torchio is untyped
    """Changes the values of the scalar images of a subject, and nothing else."""

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p=p, copy=False)

    @abstractmethod
    def change(self, image: tio.ScalarImage) -> Float32[Tensor, "C I J K"]:
        """New values for ``image.data``, which itself stays as it is."""

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        for image in self.get_images(subject):
            image.set_data(self.change(image))
        return subject


def drawn(transform: tio.Transform) -> bool:
    """Whether ``transform`` is applied: the draw that TorchIO makes when a transform is called."""
    return bool(torch.rand(1).item() <= transform.probability)
