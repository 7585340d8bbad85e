"""The four panels of a case (image, prediction, reference, contours of both) at its most telling slices."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from jaxtyping import Int64, Shaped
from PIL import Image

from medseg.report.canvas import draw_contours, draw_filled, draw_grey, draw_scale_bar, draw_text
from medseg.report.colours import Rgb, structure_colour, to_rgb
from medseg.report.slices import (
    TellingSlice,
    choose_slices,
    count_slices,
    foreground_box,
    to_classes,
    to_lps,
    widen,
)
from medseg.volume import Volume, require_same_grid

TILE_PIXELS, GAP_PIXELS, LEAST_PIXELS = 300, 4, 90
JPEG_QUALITY = 82
CT_WINDOW = (40.0, 400.0)
"""Centre and width in HU of the soft-tissue window."""


@dataclass(frozen=True)
class Panel:
    """One row of pictures: ``picture`` is a JPEG (or PNG) file of ``width`` x ``height`` pixels."""

    title: str
    alt: str
    picture: bytes
    width: int
    height: int

    @property
    def media_type(self) -> str:
        return "image/png" if self.picture.startswith(b"\x89PNG") else "image/jpeg"


def render_panels(
    case_id: str,
    image: Volume,
    prediction: Volume,
    reference: Volume | None,
    *,
    labels: Mapping[str, int],
    window: tuple[float, float] | None = None,
    not_contoured: Collection[str] = (),
) -> tuple[Panel, ...]:
    """Pictures of the slice with the most disagreement and of the one with the largest reference.

    Axial, the patient's right on the left, anterior up, pixels in true proportion, prediction solid and
    reference dashed in the overlay.

    Args:
        image, prediction, reference: on one grid; ``labels`` names the values of the latter two.
        window: (centre, width) of the grey values. Unset: 40/400 HU when the values look like HU, else the
            1st to 99th percentile of what is shown.
        not_contoured: structures that nobody drew in this reference; they do not count as disagreement.

    Raises:
        GridMismatchError: the volumes are not on one grid.
    """
    for name, other in (("prediction", prediction), ("reference", reference)):
        if other is not None:
            require_same_grid(image.geometry, other.geometry, f"case {case_id}: image and {name}")
    pixels, spacing = to_lps(image)
    masks = [to_lps(volume)[0] for volume in (prediction, reference) if volume is not None]
    known = [value for name, value in labels.items() if name not in not_contoured]
    chosen, region = _choose(masks, known, spacing)
    grey = window_of(pixels[region[0], region[1], [each.index for each in chosen]], window)
    view = _View(region, spacing, grey, tuple(labels.values()))
    return tuple(_panel(case_id, each, pixels, masks, view) for each in chosen)


@dataclass(frozen=True)
class _View:
    """What all pictures of one case share."""

    region: tuple[slice, slice]
    spacing_mm: tuple[float, float, float]
    grey: tuple[float, float]
    values: tuple[int, ...]

    @property
    def extents_mm(self) -> tuple[float, float]:
        width, height = (part.stop - part.start for part in self.region)
        return width * self.spacing_mm[0], height * self.spacing_mm[1]

    @property
    def pixels_per_mm(self) -> float:
        return TILE_PIXELS / max(self.extents_mm)

    @property
    def size(self) -> tuple[int, int]:
        width, height = (max(LEAST_PIXELS, round(mm * self.pixels_per_mm)) for mm in self.extents_mm)
        return width, height

    @property
    def colours(self) -> dict[int, Rgb]:
        return {index + 1: to_rgb(structure_colour(index)) for index in range(len(self.values))}


def window_of(pixels: Shaped[np.ndarray, "X Y N"], window: tuple[float, float] | None) -> tuple[float, float]:
    """Lowest and highest grey value shown, from (centre, width) or from the values themselves."""
    if window is None:
        finite = pixels[np.isfinite(pixels)]
        if finite.size == 0:
            return 0.0, 1.0
        low, high = (float(value) for value in np.percentile(finite, (1, 99)))
        looks_like_hu = low < -150 and high < 4000 and float(finite.min()) >= -3100
        if not looks_like_hu:
            return low, high
        window = CT_WINDOW
    centre, width = window
    return centre - width / 2, centre + width / 2


def _choose(
    masks: Sequence[Shaped[np.ndarray, "X Y Z"]],
    values: Sequence[int],
    spacing_mm: tuple[float, float, float],
) -> tuple[tuple[TellingSlice, ...], tuple[slice, slice]]:
    """Slices (from the feet) and the in-plane region. ``masks``: prediction [and reference]."""
    shape = masks[0].shape
    box = foreground_box(masks)
    region = widen(box, (shape[0], shape[1]), (spacing_mm[0], spacing_mm[1]))
    if box is None or not values:
        return choose_slices(None, np.zeros(shape[2], dtype=np.int64), spacing_mm[2], "structure"), region
    counts = count_slices([mask[box] for mask in masks], values)
    compared = len(masks) > 1
    wrong = counts.disagreement if compared else None
    area = counts.areas[-1].sum(axis=1)
    chosen = choose_slices(wrong, area, spacing_mm[2], "reference" if compared else "predicted")
    return tuple(TellingSlice(each.index + box[2].start, each.reason) for each in chosen), region


def _panel(
    case_id: str,
    chosen: TellingSlice,
    pixels: Shaped[np.ndarray, "X Y Z"],
    masks: Sequence[Shaped[np.ndarray, "X Y Z"]],
    view: _View,
) -> Panel:
    place = (*view.region, chosen.index)
    classes = [to_classes(mask[place], view.values) for mask in masks]
    row = _join(_tiles(draw_grey(pixels[place], view.grey, view.size), classes, view))
    file = BytesIO()
    row.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    where = f"Axial slice {chosen.index + 1} of {pixels.shape[2]} from the feet"
    shown = "image, prediction, reference, and contours of both" if len(masks) > 1 else "image and prediction"
    alt = f"Case {case_id}, {where.lower()} ({chosen.reason}): {shown}; the patient's right is on the left"
    return Panel(f"{where}: {chosen.reason}", alt, file.getvalue(), row.width, row.height)


def _tiles(base: Image.Image, classes: Sequence[Int64[np.ndarray, "X Y"]], view: _View) -> list[Image.Image]:
    """Image, prediction, [reference,] contours; each with its name."""
    named = [("Image", base.copy())]
    for name, drawn in zip(("Prediction", "Reference"), classes, strict=False):
        named.append((name, draw_filled(base, drawn, view.colours)))
    overlay = draw_contours(base, classes[0], view.colours, dashed=False)
    if len(classes) > 1:
        overlay = draw_contours(overlay, classes[1], view.colours, dashed=True)
    named.append(("Contours", overlay))
    for name, tile in named:
        draw_text(tile, (0, 0), name)
    for tile in (named[0][1], overlay):
        draw_text(tile, (0, 0.5), "R", "lm")
        draw_text(tile, (1, 0.5), "L", "rm")
    draw_scale_bar(named[0][1], view.pixels_per_mm)
    return [tile for _, tile in named]


def _join(tiles: Sequence[Image.Image]) -> Image.Image:
    width = sum(tile.width for tile in tiles) + GAP_PIXELS * (len(tiles) - 1)
    row = Image.new("RGB", (width, tiles[0].height))
    left = 0
    for tile in tiles:
        row.paste(tile, (left, 0))
        left += tile.width + GAP_PIXELS
    return row
