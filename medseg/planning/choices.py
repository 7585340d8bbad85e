"""The values of one candidate configuration by dotted key, each with its reason."""

from math import prod
from typing import Any

from medseg.config import DataConfig
from medseg.planning import learning, rules
from medseg.planning.fingerprint import Fingerprint
from medseg.planning.rules import Chosen

MOST_IN_A_BATCH = 0.05
"""A batch holds at most this share of the cohort's voxels (Isensee 2021)."""


def geometry(
    found: Fingerprint, size_mm: tuple[float, float, float], flat: int | None, base: int, edge: int
) -> dict[str, Chosen]:
    voxels = edge**2 if flat is not None else edge**3
    chosen = rules.spacing(found)
    spacing_mm: Any = chosen.value
    if flat is None:
        smallest: Any = tuple(min(one.extent_mm[axis] for one in found.structures) for axis in range(3))
        spacing_mm, larger = rules.coarsened(spacing_mm, size_mm, voxels, smallest)
        if larger:
            chosen = Chosen(spacing_mm, f"larger than the median, so that a patch of {edge}³ sees more")
    patch, layout = rules.patch(spacing_mm, size_mm, voxels, flat)
    covered = prod(min(1.0, n * s / mm) for n, s, mm in zip(patch, spacing_mm, size_mm, strict=True))
    sees = f"{' x '.join(f'{n * s:.0f}' for n, s in zip(patch, spacing_mm, strict=True))} mm, "
    sees += "the whole median scan" if covered > 0.98 else f"{100 * covered:.0f} % of the median scan"
    told = {
        "preprocessing.spacing_mm": chosen,
        "sampling.patch_size": Chosen(patch, sees),
        "model.spatial_dims": Chosen(3, "volumes"),
        "model.channels": Chosen(rules.channels(base, layout.depth), "as wide as the budget lets it be"),
    }
    if flat is None:
        kernels: Any = 3 if {n for stage in layout.kernels for n in stage} == {3} else layout.kernels
        told["model.kernel"] = Chosen(kernels, "flat across slices until the others are as coarse")
        if kernels == 3:
            told["model.kernel"] = Chosen(3, "voxels are about as long as wide")
        told["model.strides"] = Chosen(layout.strides, "halved while 4 voxels are left")
    else:
        plane = ("sagittal", "coronal", "axial")[flat]
        few = f"{size_mm[flat] / found.spacing_mm[flat]:.0f} slices in the median scan, too few to pool over"
        told["model.spatial_dims"] = Chosen(2, few)
        told["model.plane"] = Chosen(plane, "slices across the thick axis")
        told["preprocessing.keep_spacing"] = Chosen(("ijk"[flat],), "slices are seen one by one")
    return told


def learned(
    found: Fingerprint, data: DataConfig, choices: dict[str, Chosen], flat: int | None
) -> dict[str, Chosen]:
    spacing_mm: Any = choices["preprocessing.spacing_mm"].value
    told = {f"data.{key}": chosen for key, chosen in rules.split(found.patients).items()}
    told["preprocessing.orientation"] = Chosen("RAS", "scans are turned to it, however they are stored")
    told["preprocessing.intensity"] = learning.intensity(found)
    augmentation = learning.augmentation(found, spacing_mm, flat)
    told["augmentation"] = Chosen([one.value for one in augmentation], "")
    for index, one in enumerate(augmentation):
        told[f"augmentation.{index}"] = one
    told["sampling.foreground"] = rules.foreground(found)
    told["inference.postprocessing.largest_component"] = learning.largest_component(found)
    told["evaluation.nsd_tolerance_mm"] = learning.tolerance(spacing_mm)
    if data.missing_structures == "not_contoured":
        told["data.missing_structures"] = Chosen("not_contoured", "a structure without a voxel was not drawn")
    return told


def batch_of(wanted: int, choices: dict[str, Chosen], found: Fingerprint) -> Chosen:
    patch: Any = choices["sampling.patch_size"].value
    most = int(MOST_IN_A_BATCH * found.voxels / prod(patch))
    value = max(1, min(wanted, max(2, most)))
    return Chosen(value, "few, since more steps teach more than larger batches")
