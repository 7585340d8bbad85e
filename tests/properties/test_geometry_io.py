"""Whatever the orientation, rotation, spacing and shape: what is written is read back at its place."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medseg.io import read_geometry, read_volume, write_volume
from medseg.volume import Geometry, Volume
from support.grids import grid_affine

SUFFIXES = (".nii.gz", ".nrrd", ".mha")


def oriented(orientation: int, angles, spacing, origin, shape) -> Volume:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape) - 7
    return Volume(array, Geometry(shape, grid_affine(orientation, angles, spacing, origin)))


def assert_round_trip(volume: Volume, path: Path) -> None:
    write_volume(volume, path)
    found = read_volume(path)
    assert found.geometry.displacement_mm(volume.geometry) < 1e-3
    assert found.geometry == read_geometry(path)
    np.testing.assert_array_equal(found.array, volume.array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_48_orientations(tmp_path, suffix):
    for index in range(48):
        volume = oriented(index, (0.1, -0.2, 0.3), (0.7, 1.3, 4.0), (-120.3, 88.8, 1204.5), (3, 5, 4))
        assert_round_trip(volume, tmp_path / f"{index}{suffix}")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 47),
    st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    st.tuples(*[st.floats(0.2, 8)] * 3),
    st.tuples(*[st.floats(-1500, 1500)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from(SUFFIXES),
)
def test_any_grid(tmp_path, index, angles, spacing, origin, shape, suffix):
    assert_round_trip(oriented(index, angles, spacing, origin, shape), tmp_path / f"scan{suffix}")
