"""The pictures of a case."""

from io import BytesIO
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medseg.errors import GridMismatchError
from medseg.report.colours import structure_colour, structure_colours, to_rgb
from medseg.report.panels import GAP_PIXELS, Panel, render_panels, window_of
from medseg.volume import Geometry, Volume

LABELS = {"liver": 1, "spleen": 205}
SHAPE = (60, 50, 20)
LPS = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))


def pixels(panel: Panel) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(panel.picture)).convert("RGB")).astype(int)


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
    flips = np.eye(4)
    array = volume.array.transpose(order)
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, source in enumerate(order):
        matrix[source, axis] = signs[axis]
        if signs[axis] < 0:
            array = np.flip(array, axis)
            matrix[source, 3] = volume.array.shape[source] - 1
    shape = (array.shape[0], array.shape[1], array.shape[2])
    return Volume(array, Geometry(shape, volume.geometry.affine @ flips @ matrix))


def tiles(panel: Panel, count: int) -> list[np.ndarray]:
    width = (panel.width - GAP_PIXELS * (count - 1)) // count
    found = pixels(panel)
    return [found[:, at * (width + GAP_PIXELS) :][:, :width] for at in range(count)]


def centre_of(tile: np.ndarray, place: int) -> tuple[float, float]:
    """Row and column (shares) of the pixels that lean to a structure's colour."""
    colour = np.array(to_rgb(structure_colour(place)))
    lean = (tile - tile.mean(axis=2, keepdims=True)) @ (colour - colour.mean())
    rows, columns = np.nonzero(lean > lean.max() * 0.6)
    return float(rows.mean() / tile.shape[0]), float(columns.mean() / tile.shape[1])


def test_radiological_view_with_a_colour_for_each_structure() -> None:
    first = render_panels("p1", *body(), labels=LABELS)[0]
    _, prediction, reference, _ = tiles(first, 4)
    for tile in (reference, prediction):
        row, column = centre_of(tile, 0)
        assert row < 0.5 and column < 0.5, "right and anterior is up left"
    row, column = centre_of(reference, 1)
    assert row > 0.5 and column > 0.5, "left and posterior is down right"


def test_most_disagreement_first_and_told_in_words() -> None:
    panels = render_panels("p1", *body(), labels=LABELS)
    assert panels[0].title == "Axial slice 9 of 20 from the feet: most disagreement"
    assert "largest reference area" in panels[1].title
    assert (
        panels[0].alt.startswith("Case p1, axial slice 9 of 20") and "right is on the left" in panels[0].alt
    )


@pytest.mark.parametrize(
    ("order", "signs"), list(product(permutations(range(3)), product((1, -1), repeat=3)))[::5]
)
def test_storage_order_cannot_change_a_picture(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    volumes = body()
    plain = render_panels("p1", *volumes, labels=LABELS)
    image, prediction, reference = (reoriented(volume, order, signs) for volume in volumes)
    assert render_panels("p1", image, prediction, reference, labels=LABELS) == plain


def test_pictures_are_small_true_to_proportion_and_decodable() -> None:
    for panel in render_panels("p1", *body(), labels=LABELS):
        assert len(panel.picture) < 60_000
        assert pixels(panel).shape == (panel.height, panel.width, 3)
        tile = (panel.width - 3 * GAP_PIXELS) / 4
        assert tile / panel.height == pytest.approx(120 / 100, rel=0.25)


def test_not_contoured_structures_do_not_attract_the_eye() -> None:
    panels = render_panels("p1", *body(), labels=LABELS, not_contoured=["spleen"])
    assert "slice 9 " not in panels[0].title


def test_without_reference_there_are_three_pictures() -> None:
    image, prediction, _ = body()
    (panel,) = render_panels("p1", image, prediction, None, labels=LABELS)
    assert "largest predicted area" in panel.title and panel.width == 3 * 300 + 2 * GAP_PIXELS


def test_nothing_drawn_and_no_finite_value_still_gives_a_picture() -> None:
    empty = Volume(np.zeros(SHAPE, dtype=np.uint8), LPS)
    image = Volume(np.full(SHAPE, np.nan, dtype=np.float32), LPS)
    (panel,) = render_panels("p1", image, empty, empty, labels=LABELS)
    assert "no structure in the volume" in panel.title


def test_single_voxel_axes_are_drawn() -> None:
    geometry = Geometry((200, 1, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    mask = Volume(np.ones((200, 1, 1), dtype=np.uint8), geometry)
    (panel,) = render_panels("thin", mask.astype(np.float32), mask, mask, labels={"a": 1})
    assert panel.height >= 90


def test_other_grid_is_refused() -> None:
    image, prediction, reference = body()
    moved = Volume(reference.array, Geometry(SHAPE, np.diag([-2.0, -2.0, 5.0, 1.0])))
    with pytest.raises(GridMismatchError, match="case p1: image and reference"):
        render_panels("p1", image, prediction, moved, labels=LABELS)


def test_window_is_soft_tissue_for_hu_and_percentiles_else() -> None:
    rng = np.random.default_rng(0)
    hu = rng.choice([-1000.0, 40.0, 300.0], size=(20, 20, 2))
    assert window_of(hu, None) == (-160.0, 240.0)
    low, high = window_of(rng.uniform(0, 1000, (30, 30, 2)), None)
    assert 0 < low < 30 and 970 < high < 1000
    assert window_of(hu, (400.0, 1000.0)) == (-100.0, 900.0)


def test_colours_are_all_different() -> None:
    colours = structure_colours(f"organ {number}" for number in range(60))
    assert len(set(colours.values())) == 60
    assert all(colour[0] == "#" and len(colour) == 7 for colour in colours.values())


def test_real_ct_is_drawn(shared_data: Path) -> None:
    from medseg.io import read_label, read_volume

    folder = sorted((shared_data / "sarcoma_ct").iterdir())[0]
    files = sorted(folder.glob("*.nii.gz"))
    label = next(path for path in files if path.name not in ("ct.nii.gz", "image.nii.gz"))
    image = next(path for path in files if path != label)
    mask = read_label(label)
    panels = render_panels(folder.name, read_volume(image), mask, mask, labels={"tumour": 1})
    assert len(panels) == 1 and pixels(panels[0]).std() > 20
