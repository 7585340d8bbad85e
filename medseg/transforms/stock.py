"""TorchIO's own random transforms, as a configuration names them."""

import torch
import torchio as tio
from pydantic import JsonValue

from medseg.config.augmentation import TorchIOAugmentation
from medseg.errors import Code, ConfigError
from medseg.transforms.base import SubjectTransform

REFUSALS = (TypeError, ValueError, AttributeError, KeyError, IndexError, AssertionError, RuntimeError)
"""What TorchIO raises about its arguments."""


class Stock(SubjectTransform):
    """One of TorchIO's transforms; what it makes has the types that all patches have.

    Raises:
        ConfigError: TorchIO refuses the arguments, at once or when it sees the patch.
    """

    def __init__(self, config: TorchIOAugmentation) -> None:
        super().__init__(config.p)
        self.config = config
        arguments = {name: _as_tuple(value) for name, value in config.arguments.items()}
        try:
            self.transform: tio.Transform = getattr(tio, config.name)(**arguments, copy=False)
        except REFUSALS as error:
            raise self._refused(error) from error

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        try:
            subject = self.transform(subject)
        except REFUSALS as error:
            raise self._refused(error) from error
        for image in subject.get_images(intensity_only=False):
            wanted = torch.uint8 if isinstance(image, tio.LabelMap) else torch.float32
            if image.data.dtype != wanted:
                image.set_data(image.data.to(wanted))
        return subject

    def _refused(self, error: Exception) -> ConfigError:
        return ConfigError(
            Code.CONFIG_VALUE,
            f"augmentation: TorchIO refuses {self.config.name} with {self.config.arguments} ({error}): "
            "correct arguments, or leave them out",
        )


def _as_tuple(value: JsonValue) -> object:
    """YAML has lists where TorchIO wants tuples."""
    return tuple(_as_tuple(one) for one in value) if isinstance(value, list) else value
