"""One colour a structure, the same in pictures, plots and tables.

The first seven are the colour-blind safe set of Okabe and Ito (2008), the next ones Paul Tol's muted set;
from then on hues a golden angle apart.
"""

import colorsys
from collections.abc import Iterable

_SAFE = (
    "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#f0e442",
    "#44aa99", "#aa4499", "#ddcc77", "#88ccee", "#999933", "#882255", "#117733",
)  # fmt: skip
_GOLDEN_TURN = 0.381966

Rgb = tuple[int, int, int]


def structure_colour(index: int) -> str:
    """The colour, as ``#rrggbb``, of the structure at place ``index`` (from 0) in the order of the labels."""
    if index < len(_SAFE):
        return _SAFE[index]
    red, green, blue = colorsys.hls_to_rgb((index * _GOLDEN_TURN) % 1.0, 0.6, 0.65)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def structure_colours(names: Iterable[str]) -> dict[str, str]:
    """Colours of all structures, ``names`` in the order of the labels."""
    return {name: structure_colour(index) for index, name in enumerate(names)}


def to_rgb(colour: str) -> Rgb:
    """``#rrggbb`` as three numbers from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
