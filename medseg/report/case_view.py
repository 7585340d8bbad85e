"""What a page needs to scroll through one case: its grey values and its masks on a small grid."""

import zlib
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil, sqrt
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8
from PIL import Image

from medseg.report.grey import grey_scale
from medseg.report.sampling import Box, Triple, coarse_shape, mean_values, nearest_values
from medseg.report.slices import count_slices, foreground_box, telling_slice, to_classes, to_lps, widen
from medseg.volume import Volume, require_same_grid

CASE_BYTES = 1_000_000
"""Of one case, as long as there are few."""
_VOXELS_PER_BYTE, _MOST_VOXELS = 11.0, 3_000_000
_ATTEMPTS = ((1.0, 60), (1.0, 40), (0.6, 40), (0.35, 40), (0.2, 30))
"""Share of the voxels, and WebP quality, until the bytes suffice."""


@dataclass(frozen=True)
class CaseView:
    """One case for the viewer.

    Attributes:
        image: WebP, the axial slices side by side, one byte a voxel (``facts["knots"]`` tells its value).
        labels: zlib; for each voxel, x fastest, then y, then z, the place in ``facts["pairs"]`` of its
            (predicted, reference) class; lossless, so that no picture codec can move an edge.
        facts: what the page has to know of both, fit for JSON.
    """

    image: bytes
    labels: bytes
    facts: Mapping[str, Any]

    @property
    def bytes_in_page(self) -> int:
        return 4 * (ceil(len(self.image) / 3) + ceil(len(self.labels) / 3))

    @property
    def image_text(self) -> str:
        return b64encode(self.image).decode()

    @property
    def labels_text(self) -> str:
        return b64encode(self.labels).decode()


def render_view(
    case_id: str,
    image: Volume | None,
    prediction: Volume,
    reference: Volume,
    *,
    labels: Mapping[str, int],
    window: tuple[float, float] | None = None,
    not_contoured: Collection[str] = (),
    most_bytes: int = CASE_BYTES,
) -> CaseView:
    """The surroundings of all structures, as fine as ``most_bytes`` allows; axes to the left, back and head.

    Args:
        image, prediction, reference: on one grid; ``labels`` names the values of the latter two.
        window: (centre, width) of the grey values that the viewer opens with.
        not_contoured: structures that nobody drew in this reference; they do not count as disagreement.

    Raises:
        GridMismatchError: the volumes are not on one grid.
    """
    for name, other in (("image", image), ("prediction", prediction)):
        if other is not None:
            require_same_grid(other.geometry, reference.geometry, f"case {case_id}: {name} and reference")
    scene = _Scene.of(image, prediction, reference, labels, not_contoured)
    most_voxels = min(_MOST_VOXELS, round(most_bytes * _VOXELS_PER_BYTE))
    *attempts, last = _ATTEMPTS
    for share, quality in attempts:
        view = scene.render(round(most_voxels * share), quality, window)
        if len(view.image) + len(view.labels) <= most_bytes:
            return view
    return scene.render(round(most_voxels * last[0]), last[1], window)


@dataclass(frozen=True)
class _Scene:
    """The volumes as views along the patient's axes, and the part of them that is shown."""

    pixels: Shaped[np.ndarray, "X Y Z"] | None
    masks: tuple[Shaped[np.ndarray, "X Y Z"], Shaped[np.ndarray, "X Y Z"]]
    spacing_mm: tuple[float, float, float]
    box: Box
    values: tuple[int, ...]
    unknown: tuple[int, ...]

    @classmethod
    def of(
        cls,
        image: Volume | None,
        prediction: Volume,
        reference: Volume,
        labels: Mapping[str, int],
        not_contoured: Collection[str],
    ) -> "_Scene":
        masks = to_lps(prediction)[0], to_lps(reference)[0]
        spacing = to_lps(reference)[1]
        box = widen(foreground_box(masks), masks[0].shape, spacing)
        unknown = tuple(place for place, name in enumerate(labels, start=1) if name in not_contoured)
        pixels = None if image is None else to_lps(image)[0]
        return cls(pixels, masks, spacing, box, tuple(labels.values()), unknown)

    def render(self, most_voxels: int, quality: int, window: tuple[float, float] | None) -> CaseView:
        lengths = [part.stop - part.start for part in self.box]
        whole = (lengths[0], lengths[1], lengths[2])
        shape = coarse_shape(whole, self.spacing_mm, max(most_voxels, 1))
        spacing = [mm * n / m for mm, n, m in zip(self.spacing_mm, whole, shape, strict=True)]
        classes = [to_classes(nearest_values(mask, self.box, shape), self.values) for mask in self.masks]
        known = [place for place in range(1, len(self.values) + 1) if place not in self.unknown]
        pairs, told = _paired(classes[0], classes[1])
        facts: dict[str, Any] = {
            "shape": list(shape),
            "spacing_mm": [round(mm, 4) for mm in spacing],
            "first": [part.start for part in self.box],
            "step": [n / m for n, m in zip(whole, shape, strict=True)],
            "slices": list(self.masks[0].shape),
            "telling": _telling(classes, known),
            "pairs": told,
            "unknown": list(self.unknown),
            "columns": _columns(shape),
        }
        if self.pixels is None:
            return CaseView(b"", pairs, facts)
        values = mean_values(self.pixels, self.box, shape)
        grey = grey_scale(values, window)
        facts |= {"knots": grey.knots, "presets": grey.presets, "unit": grey.unit}
        return CaseView(_sprite(grey.to_bytes(values), facts["columns"], quality), pairs, facts)


def _telling(classes: Sequence[Int64[np.ndarray, "x y z"]], known: Sequence[int]) -> list[int]:
    """The slice with the most disagreement along each axis; where there is none, the largest one."""
    turned = [[each.transpose(order) for each in classes] for order in ((1, 2, 0), (0, 2, 1), (0, 1, 2))]
    return [
        telling_slice(count_slices(masks, known)) if known else masks[0].shape[2] // 2 for masks in turned
    ]


def _paired(
    predicted: Int64[np.ndarray, "x y z"], reference: Int64[np.ndarray, "x y z"]
) -> tuple[bytes, list[list[int]]]:
    """One number a voxel for both masks (a byte where there are at most 256 pairs), and the pairs."""
    most = int(max(predicted.max(), reference.max())) + 1
    both = (predicted * most + reference).transpose(2, 1, 0)
    found = np.flatnonzero(np.bincount(both.ravel()))
    table = np.zeros(most * most, dtype="<u1" if len(found) <= 256 else "<u2")
    table[found] = np.arange(len(found))
    return zlib.compress(table[both].tobytes(), 9), [[int(pair) // most, int(pair) % most] for pair in found]


def _columns(shape: Triple) -> int:
    """Slices in a row, so that the picture is about square."""
    return max(1, ceil(sqrt(shape[2] * shape[1] / shape[0])))


def _sprite(grey: UInt8[np.ndarray, "x y z"], columns: int, quality: int) -> bytes:
    x, y, z = grey.shape
    rows = ceil(z / columns)
    tiles = np.zeros((rows * columns, y, x), dtype=np.uint8)
    tiles[:z] = grey.transpose(2, 1, 0)
    sheet = tiles.reshape(rows, columns, y, x).transpose(0, 2, 1, 3).reshape(rows * y, columns * x)
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(sheet)).convert("RGB").save(file, "WEBP", quality=quality, method=2)
    return file.getvalue()
