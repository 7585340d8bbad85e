"""How alike two scans are, whatever their contrast, brightness, crop and resolution.

Thumbnails are sampled on one lattice, filtered to the scale of organs' edges, and divided by their local
strength, so that neither the outline of the body nor a bright bone decides. Two scans are compared where they
overlap best: normalised cross-correlation (Lewis, "Fast normalized cross-correlation", 1995) at the shift of
the largest correlation.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Complex64, Float32, Float64
from scipy import fft, ndimage

from medseg.audit.thumbnail import Thumbnail

ALONG = 48
"""Cells along the median of the longest sides."""

REACH = 8
"""Cells that one scan may lie beside the other."""

PARTNERS, MIRRORED_PARTNERS = 3, 1
"""Of each scan this many others, those most alike at first sight, are compared closely."""

_FINE, _COARSE = 0.8, 2.5
_AT_FIRST = 4
_SIDE = 12
_LEAST_OVERLAP = 0.3
_LEAST_AT_FIRST, _LEAST_MIRRORED = 0.4, 0.7

Turn = tuple[bool, bool, bool]
TURNS: tuple[Turn, ...] = tuple((a, b, c) for a, b, c in product((False, True), repeat=3))


@dataclass(frozen=True)
class Alike:
    """Places of two scans, their correlation, and along which axes the second is mirrored."""

    first: int
    second: int
    correlation: float
    turn: Turn


def most_alike(
    thumbnails: Sequence[Thumbnail], progress: Callable[[int, int], None] | None = None
) -> Iterator[Alike]:
    """Pairs that were compared closely, each once, at the way of mirroring that fits best."""
    if len(thumbnails) < 2:
        return
    cell_mm = float(np.median([max(each.size_mm) for each in thumbnails])) / ALONG
    filtered = [_filtered(_sampled(each, cell_mm)) for each in thumbnails]
    likeness = _Likeness(filtered)
    candidates = sorted(_candidates([_at_first(each) for each in filtered]))
    best: dict[tuple[int, int], Alike] = {}
    for done, (a, b, turn) in enumerate(candidates, start=1):
        found = Alike(a, b, likeness(a, b, turn), turn)
        if (a, b) not in best or found.correlation > best[a, b].correlation:
            best[a, b] = found
        if progress is not None:
            progress(done, len(candidates))
    yield from best.values()


def _sampled(each: Thumbnail, cell_mm: float) -> Float32[np.ndarray, "i j k"]:
    """A scan of quite another size (a wrong unit) keeps its own cells, and is like nothing."""
    return (
        each.at(cell_mm) if 0.2 < max(each.size_mm) / (ALONG * cell_mm) < 2 else each.cells.astype(np.float32)
    )


def _filtered(cells: Float32[np.ndarray, "i j k"]) -> Float32[np.ndarray, "i j k"]:
    band = ndimage.gaussian_filter(cells, _FINE, mode="nearest")
    band -= ndimage.gaussian_filter(cells, _COARSE, mode="nearest")
    strength = np.sqrt(ndimage.gaussian_filter(band * band, 3.0, mode="nearest"))
    return np.asarray(band / (strength + 0.2 * band.std() + 1e-9), dtype=np.float32)


def _at_first(filtered: Float32[np.ndarray, "i j k"]) -> Float32[np.ndarray, "12 12 12"]:
    """The middle of a scan in few cells, of length 1."""
    smooth = ndimage.gaussian_filter(filtered, _AT_FIRST / 3, mode="constant")
    result = np.zeros((_SIDE,) * 3, np.float32)
    index = []
    for n in filtered.shape:
        places = np.rint((n - 1) / 2 + (np.arange(_SIDE) - (_SIDE - 1) / 2) * _AT_FIRST).astype(int)
        index.append(places)
    inside = [(places >= 0) & (places < n) for places, n in zip(index, filtered.shape, strict=True)]
    result[np.ix_(*inside)] = smooth[np.ix_(*(p[i] for p, i in zip(index, inside, strict=True)))]
    result -= result.mean()
    return result / max(float(np.linalg.norm(result)), 1e-9)


def _candidates(small: Sequence[Float32[np.ndarray, "12 12 12"]]) -> set[tuple[int, int, Turn]]:
    """Pairs worth a close look: for each scan and way to mirror the others most alike, within a cell."""
    flat = np.array([each.ravel() for each in small])
    found: set[tuple[int, int, Turn]] = set()
    for turn in TURNS:
        axes = tuple(axis for axis in range(3) if turn[axis])
        turned = [np.flip(each, axes) for each in small]
        best: Float64[np.ndarray, "n n"] = np.full((len(small), len(small)), -1.0)
        for shift in product((-1, 0, 1), repeat=3):
            moved = np.array([np.roll(each, shift, axis=(0, 1, 2)).ravel() for each in turned])
            np.maximum(best, flat @ moved.T, out=best)
        np.fill_diagonal(best, -1.0)
        for a, row in enumerate(best):
            for b in np.argsort(row)[::-1][: MIRRORED_PARTNERS if axes else PARTNERS]:
                if row[b] > (_LEAST_MIRRORED if axes else _LEAST_AT_FIRST):
                    found.add((min(a, int(b)), max(a, int(b)), turn))
    return found


class _Likeness:
    """Correlation of two filtered scans at their best shift."""

    def __init__(self, filtered: Sequence[np.ndarray]) -> None:
        self._all = filtered
        sides = np.array([each.shape for each in filtered]).max(axis=0)
        self._shape = tuple(fft.next_fast_len(min(int(n), 2 * ALONG) + REACH, real=True) for n in sides)
        self._transformed = lru_cache(maxsize=512)(self._transform)

    def __call__(self, a: int, b: int, turn: Turn) -> float:
        c = fft.irfftn(self._transformed(a, TURNS[0]) * np.conj(self._transformed(b, turn)), self._shape)
        near = np.r_[0 : REACH + 1, -REACH:0]
        c = c[np.ix_(near, near, near)]
        shift = [int(near[p]) for p in np.unravel_index(int(np.argmax(c)), c.shape)]
        return _overlapping(self._turned(a, TURNS[0]), self._turned(b, turn), shift)

    def _turned(self, at: int, turn: Turn) -> Float32[np.ndarray, "i j k"]:
        cut = self._all[at][tuple(slice(0, n - REACH) for n in self._shape)]
        turned: Float32[np.ndarray, "i j k"] = np.flip(cut, tuple(axis for axis in range(3) if turn[axis]))
        return turned

    def _transform(self, at: int, turn: Turn) -> Complex64[np.ndarray, "i j k"]:
        cells = self._turned(at, turn)
        found: Complex64[np.ndarray, "i j k"] = fft.rfftn(cells - cells.mean(), self._shape).astype(
            np.complex64
        )
        return found


def _overlapping(
    a: Float32[np.ndarray, "i j k"], b: Float32[np.ndarray, "I J K"], shift: Sequence[int]
) -> float:
    """Correlation where ``b`` moved by ``shift`` covers ``a``; 0 when that is less than a third."""
    ours = tuple(slice(max(0, s), min(n, m + s)) for s, n, m in zip(shift, a.shape, b.shape, strict=True))
    theirs = tuple(slice(side.start - s, side.stop - s) for side, s in zip(ours, shift, strict=True))
    x, y = a[ours].ravel().astype(np.float64), b[theirs].ravel().astype(np.float64)
    if x.size < _LEAST_OVERLAP * min(a.size, b.size) or x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])
