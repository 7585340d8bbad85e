"""From volumes as they were read to the tensor that a network sees."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float32, UInt8
from torch import Tensor

from medseg.config.preprocessing import PreprocessingConfig
from medseg.errors import Code, UsageError
from medseg.transforms.crop import crop
from medseg.transforms.fitting import Fitted
from medseg.transforms.grid import canonical_spacing_mm, keeping
from medseg.transforms.intensity import Normalise
from medseg.transforms.resample import Respace
from medseg.transforms.splines import thick_axis
from medseg.transforms.upright import Turned, Upright
from medseg.volume import Geometry, Volume, require_same_grid


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case on the network's grid, whose axes run closest to ``preprocessing.orientation``.

    ``label`` holds class indices: 0 background, structures from 1.
    """

    image: Float32[Tensor, "C I J K"]
    label: UInt8[Tensor, "I J K"] | None
    geometry: Geometry


class Preprocessing:
    """Crop, orientation, spacing, intensity: what ``config`` says, with the ``fitted`` values.

    The network's axes are the scan's own, permuted and flipped (:func:`medseg.transforms.grid.axis_maps`).
    """

    def __init__(self, config: PreprocessingConfig, fitted: Fitted) -> None:
        self.config = config
        self.fitted = fitted
        self._keep = ["ijk".index(axis) for axis in config.keep_spacing]
        self._respace = Respace(fitted.spacing_mm, self._keep, config.resampling)
        self._normalise = Normalise(config.intensity, fitted.intensity)

    def __call__(self, images: Sequence[Volume], label: Volume | None = None) -> Prepared:
        """``images`` (one a channel) and ``label`` (class indices) on one grid, made ready.

        Raises:
            GridMismatchError: when the channels or the label are not on the same grid.
            VolumeError: when the scan is blank, not finite, or has no body to crop to.
        """
        if not images:
            raise UsageError(Code.CALL, "no image to preprocess: give one volume a channel")
        for index, image in enumerate(images[1:], start=1):
            require_same_grid(images[0].geometry, image.geometry, f"channels 0 and {index}")
        if label is not None:
            require_same_grid(images[0].geometry, label.geometry, "image and label")
        if self.config.crop is not None:
            images, label = crop(images, label, self.config.crop)
        return self._streamed(images, label) if self.block_by_block else self._whole(images, label)

    def nearest_axis(self, native: Geometry) -> int | None:
        """The axis of what the network sees that has thick slices, there or in ``native``.

        On the way back from cubic resampling the nearest slice is taken along it, as on the way there.
        """
        if self.config.resampling != "cubic":
            return None
        own_mm = canonical_spacing_mm(native)
        return thick_axis(keeping(own_mm, self.fitted.spacing_mm, self._keep), own_mm)

    @property
    def block_by_block(self) -> bool:
        """Whether images are resampled a few slices at a time."""
        return self.config.normalise == "after" and self.config.resampling != "cubic"

    def _streamed(self, images: Sequence[Volume], label: Volume | None) -> Prepared:
        upright = Upright(images[0].geometry, self.config.orientation, self._respace)
        image = upright.images(images)
        self._normalise(image)
        return Prepared(image, None if label is None else upright.label(label), upright.geometry)

    def _whole(self, images: Sequence[Volume], label: Volume | None) -> Prepared:
        turned = Turned(images[0].geometry, self.config.orientation)
        old = turned.geometry
        image = turned.images(images)
        if self.config.normalise == "before":
            self._normalise(image)
        image = self._respace.image(image, old)
        if self.config.normalise == "after":
            self._normalise(image)
        classes = None if label is None else self._respace.label(turned.label(label), old)
        return Prepared(image.contiguous(), classes, self._respace.geometry(old))
