import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.data.phantom.acquisition import plan_scan, stored
from medseg.data.phantom.canvas import Canvas
from medseg.data.phantom.fields import smooth_noise
from medseg.data.phantom.patient import draw_traits
from medseg.data.phantom.shapes import Profile, Shape, ball, capsule, ellipsoid, mirrored, union, without
from medseg.volume import Geometry


def at(shape: Shape, x: float, y: float, z: float) -> float:
    point = (np.full((1, 1, 1), v, dtype=np.float32) for v in (x, y, z))
    return float(shape.distance(*point)[0, 0, 0])


@given(x=st.floats(-50, 50), y=st.floats(-50, 50), z=st.floats(-50, 50))
def test_distance_to_a_ball_is_exact_and_its_mirror_is_its_mirror(x: float, y: float, z: float) -> None:
    shape = ball((3.0, -4.0, 5.0), 7.0)
    expected = np.linalg.norm(np.array([x - 3, y + 4, z - 5])) - 7
    assert at(shape, x, y, z) == pytest.approx(expected, abs=1e-3)
    assert at(mirrored(shape), -x, y, z) == pytest.approx(expected, abs=1e-3)


def test_combinations() -> None:
    a, b = ball((0, 0, 0), 10), ball((12, 0, 0), 5)
    assert at(union(a, b), 12, 0, 0) == pytest.approx(-5)
    assert at(without(a, b, gap=2), 9, 0, 0) > 0
    assert at(without(a, b, gap=2), 0, 0, 0) < 0
    assert at(capsule((0, 0, 0), (10, 0, 0), 2, 4), 5, 3, 0) == pytest.approx(0, abs=1e-3)
    assert at(ellipsoid((0, 0, 0), (10, 20, 30)), 0, 20, 0) == pytest.approx(0, abs=1e-3)
    assert at(ellipsoid((0, 0, 0), (10, 20, 30)), 0, 0, 33) == pytest.approx(3, rel=0.1)
    assert Profile([0, 10], [1, 3]).at(5) == pytest.approx(2, abs=0.1)


def test_smooth_noise_has_its_size_and_is_smooth() -> None:
    noise = smooth_noise(np.random.default_rng(0), (90, 80, 70), np.array([6.0, 6.0, 6.0]), sd=2.0)
    assert noise.mean() == pytest.approx(0, abs=0.15)
    assert noise.std() == pytest.approx(2, rel=0.1)
    assert np.diff(noise, axis=0).std() < 0.5
    ramp = smooth_noise(
        np.random.default_rng(0), (5, 6, 7), np.ones(3), sd=0.0, ramp=(1.0, 10.0, 100.0, 1000.0)
    )
    assert ramp[2, 3, 4] == pytest.approx(1432)


def test_painting_by_blocks_equals_painting_every_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = Geometry((40, 37, 25), np.diag([2.0, 2.0, 3.0, 1.0]))
    middle = np.eye(4)
    middle[:3, 3] = (-40, -37, -37)
    shape = without(ellipsoid((2, 1, 0), (25, 20, 24)), ball((10, 8, 0), 9))

    def painted() -> Canvas:
        canvas = Canvas(geometry, middle, np.random.default_rng(3))
        canvas.paint(shape, (0, "bladder_wall"), (4, "urine"), label=2)
        return canvas

    blocks = painted()
    monkeypatch.setattr(
        Canvas, "_crossed", lambda self, shape, deepest: (np.arange(len(self._label)), np.arange(0))
    )
    whole = painted()
    np.testing.assert_array_equal(blocks.labels, whole.labels)
    np.testing.assert_array_equal(blocks.image, whole.image)
    assert (blocks.labels == 2).sum() > 500


def test_storing_flips_axes_and_keeps_every_voxel_in_its_place() -> None:
    for index in range(6):
        scan = plan_scan(1, index, draw_traits(1, index), coarsen=8.0)
        array = np.arange(np.prod(scan.geometry.shape)).reshape(scan.geometry.shape)
        volume = stored(array, scan)
        assert volume.geometry.axis_codes == scan.orientation
        for value in (0, 17, array.size - 1):
            before = scan.geometry.to_world(np.argwhere(array == value).astype(np.float64))
            after = volume.geometry.to_world(np.argwhere(volume.array == value).astype(np.float64))
            np.testing.assert_allclose(before, after, atol=1e-9)
