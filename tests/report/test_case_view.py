"""What a viewer is given: the right voxels, in the right place, within its bytes."""

import zlib
from io import BytesIO
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medseg.errors import GridMismatchError
from medseg.report.budget import LEAST_CASE_BYTES, PAGE_BYTES, Shown, bytes_for_a_case
from medseg.report.case_view import CASE_BYTES, CaseView, render_view
from medseg.report.colours import structure_colour, structure_colours
from medseg.report.grey import CT_PRESETS, grey_scale
from medseg.report.sampling import coarse_shape, mean_values, nearest_values
from medseg.volume import Geometry, Volume

LABELS = {"liver": 1, "spleen": 205}
SHAPE = (60, 50, 20)
LPS = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))


def body(geometry: Geometry = LPS) -> tuple[Volume, Volume, Volume]:
    """CT of a block, prediction and reference: liver right and in front, spleen left and behind."""
    rng = np.random.default_rng(0)
    image = np.full(SHAPE, -1000, dtype=np.int16)
    image[5:55, 5:45] = rng.normal(40, 15, (50, 40, 20))
    reference = np.zeros(SHAPE, dtype=np.uint8)
    reference[10:25, 8:20, 3:17] = 1
    reference[40:50, 30:40, 5:12] = 205
    prediction = np.roll(reference, 1, axis=0)
    prediction[..., 8][prediction[..., 8] == 205] = 0
    return Volume(image, geometry), Volume(prediction, geometry), Volume(reference, geometry)


def reoriented(volume: Volume, order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    array = volume.array.transpose(order)
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, source in enumerate(order):
        matrix[source, axis] = signs[axis]
        if signs[axis] < 0:
            array = np.flip(array, axis)
            matrix[source, 3] = volume.array.shape[source] - 1
    shape = (array.shape[0], array.shape[1], array.shape[2])
    return Volume(array, Geometry(shape, volume.geometry.affine @ matrix))


def masks_of(view: CaseView) -> np.ndarray:
    """(2, x, y, z): predicted and reference classes, as the page unpacks them."""
    x, y, z = view.facts["shape"]
    kind = "<u1" if len(view.facts["pairs"]) <= 256 else "<u2"
    places = np.frombuffer(zlib.decompress(view.labels), kind).reshape(z, y, x)
    return np.moveaxis(np.array(view.facts["pairs"])[places], -1, 0).transpose(0, 3, 2, 1)


def values_of(view: CaseView) -> np.ndarray:
    """Grey values as the page unpacks them."""
    x, y, z = view.facts["shape"]
    columns = view.facts["columns"]
    sheet = np.asarray(Image.open(BytesIO(view.image)).convert("RGB"))[..., 1]
    tiles = [sheet[k // columns * y :, k % columns * x :][:y, :x].T for k in range(z)]
    stored, known = np.array(view.facts["knots"]).T
    return np.interp(np.stack(tiles, axis=2), stored, known)


def test_masks_come_through_voxel_by_voxel() -> None:
    _, prediction, reference = body()
    view = render_view("p1", None, prediction, reference, labels=LABELS)
    first = [slice(at, at + n) for at, n in zip(view.facts["first"], view.facts["shape"], strict=True)]
    for found, mask in zip(masks_of(view), (prediction, reference), strict=True):
        expected = mask.array[tuple(first)]
        assert np.array_equal(found, np.where(expected == 205, 2, expected))
    assert view.image == b"" and view.facts["slices"] == list(SHAPE)


def test_grey_values_come_through_within_some_hu() -> None:
    image, prediction, reference = body()
    view = render_view("p1", image, prediction, reference, labels=LABELS)
    first = tuple(slice(at, at + n) for at, n in zip(view.facts["first"], view.facts["shape"], strict=True))
    assert view.facts["unit"] == "HU" and view.facts["presets"][0] == ("Soft tissue", 40, 400)
    error = np.abs(values_of(view) - image.array[first])
    assert np.median(error) < 12 and np.percentile(error[image.array[first] > -500], 99) < 50


@pytest.mark.parametrize(
    ("order", "signs"), list(product(permutations(range(3)), product((1, -1), repeat=3)))[::5]
)
def test_storage_order_cannot_change_a_view(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    volumes = body()
    plain = render_view("p1", *volumes, labels=LABELS)
    image, prediction, reference = (reoriented(volume, order, signs) for volume in volumes)
    assert render_view("p1", image, prediction, reference, labels=LABELS) == plain


def test_opens_at_the_most_disagreement_of_what_was_contoured() -> None:
    volumes = body()
    facts = render_view("p1", *volumes, labels=LABELS).facts
    assert facts["telling"][2] + facts["first"][2] == 8, "the slice where the spleen is missed"
    facts = render_view("p1", *volumes, labels=LABELS, not_contoured=["spleen"]).facts
    assert facts["telling"][2] + facts["first"][2] != 8 and facts["unknown"] == [2]
    right = render_view("p1", volumes[0], volumes[2], volumes[2], labels=LABELS).facts
    assert 5 <= right["telling"][2] + right["first"][2] < 12, "the largest area where all is right"


def test_stays_within_its_bytes_and_keeps_the_space() -> None:
    rng = np.random.default_rng(0)
    geometry = Geometry((120, 120, 60), np.diag([1.0, 1.0, 2.0, 1.0]))
    image = Volume(rng.normal(40, 300, geometry.shape).astype(np.float32), geometry)
    mask = Volume((rng.random(geometry.shape) > 0.98).astype(np.uint8), geometry)
    large = render_view("noise", image, mask, mask, labels={"a": 1})
    small = render_view("noise", image, mask, mask, labels={"a": 1}, most_bytes=30_000)
    assert len(small.image) + len(small.labels) <= 30_000 < len(large.image)
    for view in (small, large):
        extents = np.array(view.facts["shape"]) * view.facts["spacing_mm"]
        assert extents == pytest.approx([120, 120, 120], rel=0.001)


@pytest.mark.parametrize("fill", [np.nan, 0.0, 1e30])
def test_nothing_drawn_and_flat_or_no_values_still_give_a_view(fill: float) -> None:
    empty = Volume(np.zeros(SHAPE, dtype=np.uint8), LPS)
    view = render_view("p1", Volume(np.full(SHAPE, fill, dtype=np.float32), LPS), empty, empty, labels=LABELS)
    assert view.facts["shape"] == list(SHAPE) and np.isfinite(view.facts["presets"][0][1:]).all()
    assert not masks_of(view).any() and view.facts["telling"] == [30, 25, 10]


def test_single_voxel_axes_are_shown() -> None:
    geometry = Geometry((200, 1, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    mask = Volume(np.ones((200, 1, 1), dtype=np.uint8), geometry)
    view = render_view("thin", mask.astype(np.float32), mask, mask, labels={"a": 1})
    assert view.facts["shape"] == [200, 1, 1]


def test_more_pairs_than_a_byte_holds() -> None:
    geometry = Geometry((20, 20, 1), np.eye(4))
    grid = np.arange(400, dtype=np.int32).reshape(20, 20, 1) + 1
    mask = Volume(grid, geometry)
    view = render_view("p", None, mask, mask, labels={f"s{n}": n for n in range(1, 401)})
    assert len(view.facts["pairs"]) == 400
    assert np.array_equal(masks_of(view)[0], np.flip(grid, (0, 1)))


def test_other_grid_is_refused() -> None:
    image, prediction, reference = body()
    moved = Volume(reference.array, Geometry(SHAPE, np.diag([-2.0, -2.0, 5.0, 1.0])))
    with pytest.raises(GridMismatchError, match="case p1: image and reference"):
        render_view("p1", image, prediction, moved, labels=LABELS)


@given(st.tuples(*[st.integers(1, 400)] * 3), st.tuples(*[st.floats(0.2, 6)] * 3), st.integers(1, 3_000_000))
def test_coarse_grids_are_small_enough_and_never_finer(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], most: int
) -> None:
    found = coarse_shape(shape, spacing, most)
    assert all(1 <= m <= n for m, n in zip(found, shape, strict=True))
    assert np.prod(found) <= max(most, 1)
    if np.prod(shape) <= most:
        assert found == shape


def test_means_and_nearest_values() -> None:
    array = np.arange(4 * 4 * 4, dtype=np.int16).reshape(4, 4, 4)
    box = (slice(0, 4), slice(0, 4), slice(0, 4))
    blocks = array.reshape(2, 2, 2, 2, 2, 2).mean(axis=(1, 3, 5))
    assert np.allclose(mean_values(array, box, (2, 2, 2)), blocks)
    assert np.array_equal(nearest_values(array, box, (4, 4, 4)), array)
    assert np.isin(nearest_values(array, box, (3, 2, 1)), array).all()
    assert mean_values(array, box, (4, 4, 3)).mean() == pytest.approx(array.mean())


def test_windows_are_of_ct_for_hu_and_percentiles_else() -> None:
    rng = np.random.default_rng(0)
    hu = rng.choice([-1000.0, 40.0, 300.0], size=(20, 20, 2)).astype(np.float32)
    assert grey_scale(hu, None).presets == CT_PRESETS
    assert grey_scale(hu, (400.0, 1000.0)).presets[0] == ("As configured", 400.0, 1000.0)
    magnetic = grey_scale(rng.uniform(0, 1000, (30, 30, 2)).astype(np.float32), None)
    name, centre, width = magnetic.presets[0]
    assert name == "Percentiles 1 to 99" and centre == pytest.approx(500, abs=20) and 950 < width < 1000


def view_of(size: int) -> CaseView:
    return CaseView(b"\0" * size, b"", {})


def test_the_worst_cases_have_viewers_where_there_is_not_room_for_all() -> None:
    views = {f"case {at}": view_of(3000) for at in range(10)}
    order = [f"case {at}" for at in reversed(range(12))]
    shown = Shown.of(order, views, page_bytes=13_000)
    assert list(shown.views) == ["case 9", "case 8", "case 7"] and shown.left_out == 7
    assert len(Shown.of(order, views, page_bytes=1).views) == 1
    assert Shown.of(order, {}, page_bytes=1) == Shown({}, 0)


def test_a_hundred_cases_fit_and_five_hundred_are_worth_looking_at() -> None:
    assert bytes_for_a_case(1) == CASE_BYTES and bytes_for_a_case(500) == LEAST_CASE_BYTES
    assert 100 * view_of(bytes_for_a_case(100)).bytes_in_page < PAGE_BYTES
    assert bytes_for_a_case(100) > LEAST_CASE_BYTES


def test_colours_are_all_different() -> None:
    colours = structure_colours(f"organ {number}" for number in range(60))
    assert len(set(colours.values())) == 60
    assert colours["organ 3"] == structure_colour(3)
    assert all(colour[0] == "#" and len(colour) == 7 for colour in colours.values())
