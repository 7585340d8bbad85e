"""Preprocessing for pipelines of TorchIO."""

import numpy as np
import torchio as tio

from medseg.config.preprocessing import PreprocessingConfig
from medseg.data.subject import IMAGE, LABEL, geometry_of
from medseg.transforms.base import SubjectTransform
from medseg.transforms.fitting import Fitted
from medseg.transforms.preprocessing import Preprocessing
from medseg.volume import Volume


class PreprocessSubject(SubjectTransform):
    """:class:`~medseg.transforms.Preprocessing` of a subject: its ``image`` and, if there, ``label``.

    For ``tio.SubjectsDataset(subjects, transform=...)`` and ``tio.Compose``; the numbers are those that
    medseg's own training and inference see.

    Raises:
        VolumeError: when the scan is blank, not finite, or has no body to crop to.
    """

    def __init__(self, config: PreprocessingConfig, fitted: Fitted) -> None:
        super().__init__()
        self.config = config
        self.fitted = fitted
        self.args_names = ["config", "fitted"]
        self._preprocessing = Preprocessing(config, fitted)

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        image, label = subject[IMAGE], subject.get(LABEL)
        geometry = geometry_of(image)
        channels = [Volume(channel.numpy(), geometry) for channel in image.data]
        classes = None
        if label is not None:
            classes = Volume(label.data[0].numpy().astype(np.uint8), geometry_of(label))
        prepared = self._preprocessing(channels, classes)
        image.set_data(prepared.image)
        image.affine = prepared.geometry.affine
        if label is not None and prepared.label is not None:
            label.set_data(prepared.label[None])
            label.affine = prepared.geometry.affine
        return subject
