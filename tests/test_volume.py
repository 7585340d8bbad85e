import numpy as np
import pytest

from medseg.errors import GridMismatchError, VolumeError
from medseg.volume import Geometry, Volume, require_same_grid


def geometry(shape=(4, 5, 6), spacing=(1.0, 2.0, 3.0), origin=(10.0, 20.0, 30.0)) -> Geometry:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def test_what_a_geometry_knows():
    grid = Geometry((4, 5, 6), np.diag([-1.0, -2.0, 3.0, 1.0]))
    assert grid.spacing_mm == (1, 2, 3)
    assert grid.voxel_ml == pytest.approx(0.006)
    assert grid.axis_codes == "LPS"
    assert str(grid) == "4x5x6 voxels of 1x2x3 mm, LPS"
    np.testing.assert_allclose(grid.to_world(np.array([[3.0, 4.0, 5.0]])), [[-3, -8, 15]])
    assert grid.corners_mm.min() == -8 and grid.corners_mm.max() == 15


def test_voxel_volume_of_a_sheared_grid_is_the_determinant():
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 1.0
    assert Geometry((3, 3, 3), affine).voxel_ml == pytest.approx(0.002)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.0, 1.0, 1.0, 2.0])])
def test_bad_affines_are_refused(affine):
    with pytest.raises(VolumeError, match="affine"):
        Geometry((2, 2, 2), affine)


def test_bad_shapes_are_refused():
    with pytest.raises(VolumeError, match="at least one voxel"):
        Geometry((2, 0, 2), np.eye(4))
    with pytest.raises(VolumeError, match=r"array of shape \(2, 2, 3\)"):
        Volume(np.zeros((2, 2, 3)), Geometry((2, 2, 2), np.eye(4)))


def test_a_geometry_cannot_be_changed_from_outside():
    affine = np.eye(4)
    grid = Geometry((2, 2, 2), affine)
    affine[0, 0] = 9
    assert grid.affine[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 9


def test_equal_geometries_hash_alike():
    assert geometry() == geometry() and hash(geometry()) == hash(geometry())
    assert geometry() != geometry(origin=(0.0, 0.0, 0.0)) and geometry() != "grid"


def test_cropping_and_padding_keep_voxels_in_place():
    grid = geometry()
    inner, outer = grid.cropped((1, 2, 3), (2, 2, 2)), grid.cropped((-1, 0, 0), (6, 5, 6))
    np.testing.assert_allclose(inner.to_world(np.zeros((1, 3))), grid.to_world(np.array([[1.0, 2.0, 3.0]])))
    np.testing.assert_allclose(outer.to_world(np.array([[1.0, 0.0, 0.0]])), grid.to_world(np.zeros((1, 3))))
    assert inner.shape == (2, 2, 2)


def test_grids_that_differ_are_refused_with_the_millimetres():
    require_same_grid(geometry(), geometry(origin=(10.05, 20.0, 30.0)), "case 7: label and image")
    with pytest.raises(GridMismatchError, match=r"case 7: label and image are 0.5 mm apart \(0.1 mm allowed"):
        require_same_grid(geometry(), geometry(origin=(10.5, 20.0, 30.0)), "case 7: label and image")
    with pytest.raises(GridMismatchError, match="not on the same grid"):
        require_same_grid(geometry(), geometry(shape=(4, 5, 7)), "case 7: label and image")
