import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.volume import Geometry
from support.grids import ORIENTATIONS


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_axis_codes_of_all_48_orientations(order, signs):
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, voxel] = sign * (1.0 + voxel)
    codes = Geometry((2, 3, 4), affine).axis_codes
    expected = "".join("LPI"[w] if s < 0 else "RAS"[w] for w, s in zip(order, signs, strict=True))
    assert codes == expected


@given(
    st.lists(st.floats(-3, 3), min_size=9, max_size=9),
    st.tuples(*[st.integers(-4, 4)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
)
def test_a_crop_puts_each_voxel_where_it_was(cells, start, shape):
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(cells, (3, 3)) + np.diag([7.0, 8.0, 9.0])
    if abs(np.linalg.det(affine[:3, :3])) < 1:
        return
    grid = Geometry((3, 4, 5), affine)
    index = np.array([[0.5, 1.0, 2.0]])
    moved = grid.cropped(start, shape).to_world(index)
    np.testing.assert_allclose(moved, grid.to_world(index + start), atol=1e-9)
    assert len(set(grid.axis_codes.translate(str.maketrans("LPI", "RAS")))) == 3
