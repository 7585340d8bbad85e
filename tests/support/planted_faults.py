"""Faults for the simulated pelvis cohort: how each is made in a copy of it, and what has to be told of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from medseg.io import read_label, read_volume, write_volume
from medseg.volume import Geometry, Volume
from support.check_cohort import CASES, second_channel, write_case


@dataclass(frozen=True)
class Planted:
    """A fault: how it is made in a cohort, and the finding that must follow, and no other."""

    name: str
    plant: Callable[[Path], Path | None]
    expected: str
    channels: int = 1
    case: str | None = "case04"


def _image(folder: Path, change: Callable[[Volume], Volume], name: str = "ct.nii.gz") -> None:
    changed = change(read_volume(folder / name))
    (folder / name).unlink()
    write_volume(changed, folder / name)


def _label(folder: Path, change: Callable[[Volume], Volume]) -> None:
    changed = change(read_label(folder / "organs.nii.gz"))
    (folder / "organs.nii.gz").unlink()
    write_volume(changed, folder / "organs.nii.gz")


def on_image(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda root: _image(root / "case04", lambda v: v.with_array(change(v.array)))


def on_label(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda root: _label(root / "case04", lambda v: v.with_array(change(v.array)))


def _copied(root: Path, change: Callable[[Volume, Volume], tuple[Volume, Volume]]) -> None:
    source = root / "case07"
    image, label = change(read_volume(source / "ct.nii.gz"), read_label(source / "organs.nii.gz"))
    write_case(root / "case04x", image, label)


def cropped_and_rescaled(image: Volume, label: Volume) -> tuple[Volume, Volume]:
    part = (slice(3, -3), slice(3, -3), slice(1, None))
    array = (image.array[part] * 0.8 + 45).astype(np.int16)
    grid = image.geometry.cropped((3, 3, 1), array.shape)
    return Volume(array, grid), Volume(label.array[part], grid)


def resampled_and_turned(image: Volume, label: Volume) -> tuple[Volume, Volume]:
    """Coarser, with other axes, and with an origin of its own."""
    fine = ndimage.zoom(image.array.astype(np.float32), (0.8, 0.8, 0.9), order=1)
    drawn = ndimage.zoom(label.array, (0.8, 0.8, 0.9), order=0)
    spacing = np.array(image.geometry.spacing_mm) * np.array(image.array.shape) / np.array(fine.shape)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (31.0, -12.0, 207.0)
    affine = affine[:, [2, 0, 1, 3]]
    turned = np.ascontiguousarray(fine.round().astype(np.int16).transpose(2, 0, 1))
    grid = Geometry((turned.shape[0], turned.shape[1], turned.shape[2]), affine)
    return Volume(turned, grid), Volume(np.ascontiguousarray(drawn.transpose(2, 0, 1)), grid)


def _scaled(factor: float) -> Callable[[Volume], Volume]:
    def change(volume: Volume) -> Volume:
        affine = volume.geometry.affine.copy()
        affine[:3] *= factor
        return Volume(volume.array, Geometry(volume.geometry.shape, affine))

    return change


def both(change: Callable[[Volume], Volume]) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        _image(root / "case04", change)
        _label(root / "case04", change)

    return plant


def swapped_sides(label: np.ndarray) -> np.ndarray:
    return np.array([0, 1, 2, 4, 3], np.uint8)[label]


def specks(label: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(1)
    label = label.copy()
    free = np.argwhere(label == 0)
    for i, j, k in free[random.choice(len(free), 60, replace=False)]:
        label[i, j, k] = 1
    return label


def grown(label: np.ndarray) -> np.ndarray:
    return np.where(ndimage.binary_dilation(label == 1, iterations=3) & (label == 0), np.uint8(1), label)


def without(value: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda label: np.where(label == value, np.uint8(0), label)


def cut_organ(volume: Volume) -> Volume:
    """The scan ends in the middle of the bladder."""
    array = volume.array[:, :, :17]
    return Volume(array, volume.geometry.cropped((0, 0, 0), array.shape))


def in_reverse(label: np.ndarray) -> np.ndarray:
    return label[:, :, ::-1]


def back_to_front(label: np.ndarray) -> np.ndarray:
    return label[:, ::-1]


def upside_down(volume: Volume) -> Volume:
    return volume.with_array(volume.array[:, :, ::-1])


def truncated(root: Path) -> None:
    path = root / "case04" / "ct.nii.gz"
    path.write_bytes(path.read_bytes()[:9000])


def with_nan(root: Path) -> None:
    def change(volume: Volume) -> Volume:
        array = volume.array.astype(np.float32)
        array[5, 6, 7] = np.nan
        return volume.with_array(array)

    folder = root / "case04"
    volume = change(read_volume(folder / "ct.nii.gz"))
    nib.save(  # our own writer refuses NaN
        nib.Nifti1Image(volume.array, volume.geometry.affine), folder / "ct.nii.gz"
    )


def exchanged(one: str, other: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        a, b = root / "case04" / one, root / "case04" / other
        first, second = a.read_bytes(), b.read_bytes()
        a.write_bytes(second)
        b.write_bytes(first)

    return plant


def other_spacing_label(root: Path) -> None:
    def change(volume: Volume) -> Volume:
        affine = volume.geometry.affine.copy()
        affine[2, 2] *= 1.5
        return Volume(volume.array, Geometry(volume.geometry.shape, affine))

    _label(root / "case04", change)


def everywhere_without_bladder(root: Path) -> None:
    for folder in root.iterdir():
        _label(folder, lambda v: v.with_array(without(2)(v.array)))


def patient_twice(root: Path) -> Path:
    lines = ["case,image,label,patient"]
    for number in range(CASES):
        name = {4: "Subject-007", 7: "subject 7"}.get(number, f"Subject-{100 + number}")
        lines.append(f"case{number:02d},case{number:02d}/ct.nii.gz,case{number:02d}/organs.nii.gz,{name}")
    table = root / "cohort.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def unnamed(label: np.ndarray) -> np.ndarray:
    return np.where(label == 1, np.uint8(9), label)


def coarse_slices(volume: Volume) -> Volume:
    """Every fourth slice alone."""
    array = np.ascontiguousarray(volume.array[:, :, ::4])
    affine = volume.geometry.affine.copy()
    affine[:3, 2] *= 4
    return Volume(array, Geometry((array.shape[0], array.shape[1], array.shape[2]), affine))


def moved(label: np.ndarray) -> np.ndarray:
    return np.roll(label, (4, -3, 0), axis=(0, 1, 2))


def in_grams(volume: Volume) -> Volume:
    return volume.with_array((volume.array / 1000 + 1).astype(np.float32))


def on_scan(change: Callable[[Volume], Volume]) -> Callable[[Path], None]:
    return lambda root: _image(root / "case04", change)


def copied(change: Callable[[Volume, Volume], tuple[Volume, Volume]]) -> Callable[[Path], None]:
    return lambda root: _copied(root, change)


PLANTED = (
    Planted("duplicate", copied(lambda i, v: (i, v)), "duplicate-image", case="case04x"),
    Planted("rescaled and cropped by 3", copied(cropped_and_rescaled), "near-duplicate", case="case04x"),
    Planted("resampled and turned", copied(resampled_and_turned), "near-duplicate", case="case04x"),
    Planted("one patient, two names", patient_twice, "same-patient"),
    Planted("label moved by several voxels", on_label(moved), "label-shifted"),
    Planted("left and right exchanged", on_label(swapped_sides), "left-right-swapped"),
    Planted("spacing in centimetres", both(_scaled(0.1)), "spacing-unit"),
    Planted("spacing in metres", both(_scaled(0.001)), "spacing-unit"),
    Planted("intensity in grams per cm3", on_scan(in_grams), "intensity-rescaled"),
    Planted(
        "intensity shifted by 1024", on_image(lambda a: (a + 1024).astype(np.int16)), "intensity-shifted"
    ),
    Planted("organ cut by the field of view", both(cut_organ), "cut-by-border"),
    Planted("truncated file", truncated, "unreadable"),
    Planted("empty label", on_label(np.zeros_like), "empty-label"),
    Planted("value without a name", on_label(unnamed), "unknown-label-value"),
    Planted("structure never drawn", everywhere_without_bladder, "structure-never-drawn", case=None),
    Planted("label on another grid", other_spacing_label, "grid-mismatch"),
    Planted("scan mirrored head to foot", both(upside_down), "mirrored"),
    Planted("slices of the label in reverse", on_label(in_reverse), "structures-out-of-order"),
    Planted("label turned over back to front", on_label(back_to_front), "label-mirrored"),
    Planted("NaN", with_nan, "nonfinite"),
    Planted("constant image", on_image(lambda a: np.full_like(a, 7)), "constant-image"),
    Planted("outlying spacing", both(coarse_slices), "spacing-outlier"),
    Planted("channel missing", lambda r: (r / "case04" / "t2.nii.gz").unlink(), "channels", channels=2),
    Planted("channels exchanged", exchanged("ct.nii.gz", "t2.nii.gz"), "channels-exchanged", channels=2),
    Planted("structure far too large", on_label(grown), "size-outlier"),
    Planted("specks", on_label(specks), "speckle"),
    Planted("image and mask exchanged", exchanged("ct.nii.gz", "organs.nii.gz"), "not-labels"),
    Planted("MR among CT", on_image(second_channel), "other-modality"),
)
