"""From the scans as they were read to what the network sees; no weights needed, so any process can do it."""

from dataclasses import dataclass

from medseg.config import Experiment
from medseg.errors import Code, UsageError
from medseg.transforms import Fitted, Prepared, Preprocessing
from medseg.volume import Geometry, Volume, require_same_grid


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
