"""From the scans as they were read to what the network sees; no weights needed, so any process can do it."""

from dataclasses import dataclass

from medseg.config import Experiment
from medseg.config.preprocessing import CropConfig
from medseg.errors import Code, UsageError
from medseg.transforms import Fitted, Prepared, Preprocessing
from medseg.volume import Geometry, Volume, require_same_grid

CT_BODY = CropConfig(above=-300)

_BY_VOXEL = ("window", "fitted", "linear")
"""Intensities that do not depend on what else is in the scan."""


def recropped(experiment: Experiment, crop: str) -> Experiment:
    """``body``: scans are cut to the body (CT); ``none``: they are not cut; ``model``: as it was trained.

    Raises:
        UsageError: another word, or the intensities would come out otherwise than in training.
    """
    if crop not in ("model", "body", "none"):
        raise UsageError(Code.OPTION, f"--crop {crop}: give model, body or none")
    old = experiment.preprocessing
    if crop == "model" or (crop == "none" and old.crop is None):
        return experiment
    if crop == "body" and isinstance(old.crop, CropConfig):
        return experiment
    dependent = [one.kind for one in old.intensity if one.kind not in _BY_VOXEL]
    if dependent:
        raise UsageError(
            Code.OPTION,
            f"--crop {crop}: the model's intensities ({dependent[0]}) depend on all that is in the scan, and "
            "would not be those it was trained with: leave it out",
        )
    new = old.model_copy(update={"crop": CT_BODY if crop == "body" else None})
    return experiment.model_copy(update={"preprocessing": new})


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A preprocessed scan, and the grid its mask has to lie on."""

    native: Geometry
    prepared: Prepared


class Preparation:
    """Checks and preprocesses the channels of a scan, as a model's training did."""

    def __init__(self, experiment: Experiment, fitted: Fitted) -> None:
        self._channels = tuple(experiment.data.channels or ("image",))
        self._count = experiment.channel_count
        self._preprocessing = Preprocessing(experiment.preprocessing, fitted)

    @property
    def block_by_block(self) -> bool:
        """Whether only a few slices of the scan are ever in memory as the network's numbers."""
        return self._preprocessing.block_by_block

    def __call__(self, *images: Volume) -> PreparedScan:
        """Preprocess one scan, given as one volume a channel.

        Raises:
            UsageError: wrong number of channels.
            GridMismatchError: channels on different grids.
        """
        if len(images) != self._count:
            names = ", ".join(self._channels)
            raise UsageError(
                Code.CHANNELS,
                f"{len(images)} images given, the model takes {self._count} ({names}): give one a channel",
            )
        native = images[0].geometry
        for index, other in enumerate(images[1:], start=2):
            require_same_grid(native, other.geometry, f"channel 1 and channel {index}")
        return PreparedScan(native, self._preprocessing(images))

    def nearest_axis(self, native: Geometry) -> int | None:
        """The network's axis along which a mask comes back to ``native`` from the nearest slice."""
        return self._preprocessing.nearest_axis(native)
