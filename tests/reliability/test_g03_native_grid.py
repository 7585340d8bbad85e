"""Whatever the grid: the mask comes back on it, every voxel at its place.

The answer is known (see support.oracle), files are written and read by nibabel and SimpleITK, and the network
sees either the scan's own spacing, where each voxel must get its code, or another one, where each voxel must
that lies further than that spacing can blur from a place where the code changes.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from medseg.inference import Segmenter
from medseg.inference.engine import TorchEngine
from medseg.io import read_volume, write_volume
from medseg.modelfile import load_model, load_network
from medseg.transforms import Fitted
from medseg.transforms.grid import canonical_spacing_mm
from medseg.volume import Geometry, Volume
from support.grids import apart_mm, grid_affine, read_plainly, write_plainly
from support.oracle import CODE_STEP, write_oracle

pytestmark = pytest.mark.usefixtures("annotations_at_rest")
_FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@st.composite
def grids(draw: st.DrawFn) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine: any orientation and rotation, 0.3 to 8 mm, odd shapes, up to 2 m off."""
    shape = draw(st.tuples(*[st.integers(5, 14)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 8)] * 3))
    angles = draw(st.tuples(*[st.floats(-np.pi, np.pi)] * 3))
    origin = draw(st.tuples(*[st.floats(-2000, 2000)] * 3))
    return shape, grid_affine(draw(st.integers(0, 47)), angles, spacing, origin)


@pytest.fixture(scope="module")
def segmenter_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[float, ...]], Segmenter]:
    """The oracle, reading scans at any spacing; its weights are loaded once."""
    model = load_model(write_oracle(tmp_path_factory.mktemp("oracle") / "oracle.safetensors"))
    engine = TorchEngine(load_network(model), "cpu")
    return lambda spacing: Segmenter(model.experiment, Fitted(spacing), engine)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is one, for thousands of small files."""
    memory = Path("/dev/shm")  # noqa: S108
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def codes_in_blocks(
    shape: tuple[int, ...], cuts: tuple[float, ...], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Eight blocks of codes, no two neighbours alike; and the distance in voxels to the cut, axis by axis."""
    at = [max(1, min(n - 1, round(cut * n))) for n, cut in zip(shape, cuts, strict=True)]
    half = [np.arange(n) >= cut for n, cut in zip(shape, at, strict=True)]
    order = np.random.default_rng(seed).permutation(4)
    parity = np.add.outer(np.add.outer(half[0] * 1, half[1] * 2), half[2] * 3) % 4
    away = [np.abs(np.arange(n) - (cut - 0.5)) for n, cut in zip(shape, at, strict=True)]
    return order[parity], np.stack(np.meshgrid(*away, indexing="ij"))


def example_of(
    grid: tuple[tuple[int, ...], np.ndarray], data: st.DataObject
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...] | None]:
    """Codes, where they must come back, and the network's spacing (None: the scan's own)."""
    shape, affine = grid
    if data.draw(st.booleans()):
        random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        return random.integers(0, 4, shape), np.ones(shape, dtype=bool), None
    codes, away = codes_in_blocks(
        shape, data.draw(st.tuples(*[st.floats(0.3, 0.7)] * 3)), data.draw(st.integers(0, 2**32 - 1))
    )
    factors = np.array(data.draw(st.tuples(*[st.floats(0.6, 2)] * 3)))
    # linear interpolation there and back, and the box that voxels are averaged over when they grow
    blur = 1 + factors + np.sqrt(np.maximum(factors**2 - 1, 0)) / 2
    wanted = canonical_spacing_mm(Geometry(shape, affine @ np.diag([*factors, 1])))
    return codes, (away + 0.5 >= blur[:, None, None, None]).all(axis=0), wanted


def require_native_mask(
    segmenter_for: Callable[[Any], Segmenter],
    place: Path,
    grid: tuple[tuple[int, ...], np.ndarray],
    data: Any,
) -> None:
    shape, affine = grid
    codes, resolved, spacing = example_of(grid, data)
    suffix = data.draw(st.sampled_from([".nii.gz", ".nrrd", ".mha"]))
    scan = Volume((codes * CODE_STEP).astype(np.int16), Geometry(shape, affine))
    if data.draw(st.integers(0, 3)) == 0:  # not always: files cost more than the rest
        scan = read_volume(write_plainly(place / f"scan{suffix}", scan.array, affine))
    segmenter = segmenter_for(spacing or canonical_spacing_mm(scan.geometry))
    mask = segmenter(scan)
    write_volume(mask, place / f"mask{suffix}")
    array, found = read_plainly(place / f"mask{suffix}")
    assert array.shape == shape
    assert apart_mm(shape, found, affine) < 1e-3
    np.testing.assert_array_equal(array[resolved], codes[resolved])


def run(examples: int, counts: Callable[[int], None], segmenter_for: Any, place: Path) -> None:
    tried = 0

    @settings(
        max_examples=examples,
        database=None,
        suppress_health_check=_FIXTURES,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(grids(), st.data())
    def check(grid: tuple[tuple[int, ...], np.ndarray], data: st.DataObject) -> None:
        nonlocal tried
        tried += 1
        require_native_mask(segmenter_for, place, grid, data)

    counts(examples)
    check()
    assert tried >= examples


@pytest.mark.long
@pytest.mark.row("G03")
def test_a_thousand_grids_come_back(
    counts: Callable[[int], None], segmenter_for: Callable[[Any], Segmenter], place: Path
) -> None:
    run(1000, counts, segmenter_for, place)


@pytest.mark.nightly
@pytest.mark.row("G03")
@pytest.mark.timeout(3600)
def test_twenty_thousand_grids_come_back(
    counts: Callable[[int], None], segmenter_for: Callable[[Any], Segmenter], place: Path
) -> None:
    run(20_000, counts, segmenter_for, place)


def test_a_qform_that_the_format_cannot_hold_is_left_out(tmp_path: Path) -> None:
    affine = grid_affine(3, (0.0005, 0, 0), (1, 1, 1), (0, 0, 0))
    write_volume(Volume(np.ones((5, 5, 5), dtype=np.uint8), Geometry((5, 5, 5), affine)), tmp_path / "m.nii")
    header = nib.load(tmp_path / "m.nii").header
    assert (header["sform_code"], header["qform_code"]) == (1, 0)
    assert apart_mm((5, 5, 5), read_plainly(tmp_path / "m.nii")[1], affine) < 1e-3
