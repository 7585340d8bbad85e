"""Grey values in one byte: which byte stands for which value, and the windows to look through."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

CT_KNOTS = ((0.0, -1024.0), (48.0, -200.0), (208.0, 300.0), (255.0, 2000.0))
"""(byte, HU), straight in between: about 3 HU a step in soft tissue, coarser in air and bone."""

CT_PRESETS: tuple[tuple[str, float, float], ...] = (
    ("Soft tissue", 40, 400),
    ("Liver", 80, 160),
    ("Brain", 40, 80),
    ("Lung", -600, 1500),
    ("Bone", 400, 1800),
)
"""Name, centre and width in HU."""

PERCENTILES = ((1.0, 99.0), (0.1, 99.9), (5.0, 95.0), (0.0, 100.0))
_SHOWN = (0.1, 99.9)
"""What lies outside is cut off: one bright voxel would cost all others their contrast."""
_HU_AIR, _HU_MOST, _HU_LEAST = -150, 4000, -3100


@dataclass(frozen=True)
class GreyScale:
    """``knots``: (byte, value), straight in between. ``presets``: (name, centre, width), best first."""

    knots: tuple[tuple[float, float], ...]
    presets: tuple[tuple[str, float, float], ...]
    unit: str

    def to_bytes(self, values: Float32[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "x y z"]:
        stored, known = zip(*self.knots, strict=True)
        return np.asarray(np.rint(np.interp(values, known, stored)), dtype=np.uint8)


def grey_scale(values: Float32[np.ndarray, "x y z"], window: tuple[float, float] | None) -> GreyScale:
    """HU where the values look like HU, with the CT windows; else percentiles of what is shown.

    ``window``: (centre, width) of the configuration, offered first.
    """
    wanted = tuple(dict.fromkeys(share for pair in PERCENTILES for share in pair))
    at = {share: float(value) for share, value in zip(wanted, np.percentile(values, wanted), strict=True)}
    configured = () if window is None else (("As configured", *window),)
    if at[1.0] < _HU_AIR and at[99.0] < _HU_MOST and at[0.0] >= _HU_LEAST:
        return GreyScale(CT_KNOTS, (*configured, *CT_PRESETS), "HU")
    presets = tuple(
        (f"Percentiles {below:g} to {above:g}", (at[below] + at[above]) / 2, max(at[above] - at[below], 1e-6))
        for below, above in PERCENTILES
    )
    least, most = at[_SHOWN[0]], at[_SHOWN[1]]
    most = most if most > least else least + 1.0
    return GreyScale(((0.0, least), (255.0, most)), (*configured, *presets), "")
