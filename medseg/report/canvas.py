"""Drawing one picture of a slice: grey values, filled structures, contours, marks. Pillow and numpy only."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float64, Int64, Shaped
from PIL import Image, ImageDraw, ImageFont

from medseg.report.colours import Rgb

_FINE = 2
"""Contours are drawn this many times larger and shrunk, which smooths their edges."""
_FILL_ALPHA = 140
_DASH, _GAP = 5.0, 4.0

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Size = tuple[int, int]


def draw_grey(pixels: Shaped[np.ndarray, "X Y"], window: tuple[float, float], size: Size) -> Image.Image:
    """Grey picture of ``pixels`` (to the patient's left, posterior), ``window`` = (lowest, highest) shown."""
    low, high = window
    scaled = (np.nan_to_num(pixels.T.astype(np.float32)) - low) * (255.0 / max(high - low, 1e-6))
    picture = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    return picture.resize(size, Image.Resampling.BICUBIC).convert("RGB")


def draw_filled(
    base: Image.Image, classes: Int64[np.ndarray, "X Y"], colours: Mapping[int, Rgb]
) -> Image.Image:
    """``base`` with each structure in its translucent colour."""
    picture = base.copy()
    for index in _present(classes):
        alpha = Image.fromarray(np.where(index == classes.T, np.uint8(_FILL_ALPHA), np.uint8(0)))
        smooth = alpha.resize(base.size, Image.Resampling.BILINEAR)
        # halfway between the colour and nothing is the edge; a hard edge there keeps neighbours apart
        sharp = smooth.point([0 if value < _FILL_ALPHA / 2 else _FILL_ALPHA for value in range(256)])
        picture.paste(colours[index], (0, 0, *base.size), sharp)
    return picture


def draw_contours(
    base: Image.Image, classes: Int64[np.ndarray, "X Y"], colours: Mapping[int, Rgb], *, dashed: bool
) -> Image.Image:
    """``base`` with the contour of each structure; a dashed one is tinted white and has a dark edge."""
    size = (base.width * _FINE, base.height * _FINE)
    layer = Image.new("RGBA", size)
    pen = ImageDraw.Draw(layer)
    scale = np.array(size, dtype=np.float64) / classes.shape
    for index in _present(classes):
        colour = _tint(colours[index]) if dashed else colours[index]
        for line in _outlines(classes == index, scale):
            # a dark edge below the colour keeps it visible on bone
            pen.line(_points(line), fill=(0, 0, 0, 60 if dashed else 140), width=2 * _FINE + 3)
            for piece in _dashes(line) if dashed else [line]:
                pen.line(_points(piece), fill=(*colour, 255), width=_FINE + 1, joint="curve")
    smooth = layer.resize(base.size, Image.Resampling.BOX)
    return Image.alpha_composite(base.convert("RGBA"), smooth).convert("RGB")


def draw_text(picture: Image.Image, place: tuple[float, float], text: str, anchor: str = "lt") -> None:
    """White text with a dark edge, in place; ``place`` as a share of width and height."""
    x, y = (round(part * (length - 12)) + 6 for part, length in zip(place, picture.size, strict=True))
    ImageDraw.Draw(picture).text(
        (x, y),
        text,
        fill=(255, 255, 255),
        font=_font(13),
        anchor=anchor,
        stroke_width=2,
        stroke_fill=(0, 0, 0),
    )


def draw_scale_bar(picture: Image.Image, pixels_per_mm: float) -> None:
    """A bar of a round length, at most a third of the picture, in the lower left corner."""
    length_mm = max((mm for mm in (5, 10, 20, 50, 100) if mm * pixels_per_mm < picture.width / 3), default=5)
    right, bottom = 8 + length_mm * pixels_per_mm, picture.height - 9
    pen = ImageDraw.Draw(picture)
    pen.rectangle((7, bottom - 1, right + 1, bottom + 3), fill=(0, 0, 0))
    pen.rectangle((8, bottom, right, bottom + 2), fill=(255, 255, 255))
    draw_text(picture, (0.02, (bottom - 10) / (picture.height - 12)), f"{length_mm} mm", "lb")


def _present(classes: Int64[np.ndarray, "X Y"]) -> list[int]:
    return [int(index) for index in np.unique(classes) if index > 0]


def _tint(colour: Rgb) -> Rgb:
    red, green, blue = (round(0.3 * part + 0.7 * 255) for part in colour)
    return red, green, blue


def _outlines(
    mask: Bool[np.ndarray, "X Y"], scale: Float64[np.ndarray, " 2"]
) -> list[Float64[np.ndarray, "points 2"]]:
    """Closed lines around the mask, in picture coordinates (x to the right, y down)."""
    padded = np.pad(mask, 1).astype(np.float64).T
    lines = contour_generator(z=padded).lines(0.5)
    # index 1 of the padded grid is the centre of the first pixel
    return [(np.asarray(line, dtype=np.float64) - 0.5) * scale for line in lines]


def _dashes(line: Float64[np.ndarray, "points 2"]) -> list[Float64[np.ndarray, "n 2"]]:
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    dash, period = _DASH * _FINE, (_DASH + _GAP) * _FINE
    pieces = []
    for start in np.arange(0.0, along[-1], period):
        stop = min(start + dash, along[-1])
        places = np.concatenate([[start], along[(along > start) & (along < stop)], [stop]])
        pieces.append(np.stack([np.interp(places, along, line[:, axis]) for axis in (0, 1)], axis=1))
    return pieces


def _points(line: Float64[np.ndarray, "n 2"]) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in line]


@lru_cache(maxsize=4)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
