"""What was seen of a case, in the cache and back: the same files are read once."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from medseg.audit.contrast import Contrast
from medseg.audit.look import CaseFacts, ChannelFacts, StructureFacts
from medseg.audit.thumbnail import Thumbnail
from medseg.data import Case
from medseg.planning.look import CaseLook, IntensityLook, StructureLook
from medseg.volume import Geometry

_LARGEST = 1e4  # a contrast beyond belongs to a scan that is nearly flat


def to_arrays(facts: CaseFacts) -> dict[str, np.ndarray]:
    """What is too large for JSON; contrasts with three digits."""
    return {
        "thumbnail": facts.thumbnail.cells,
        "shifted": facts.contrast.shifted.clip(-_LARGEST, _LARGEST).astype(np.float16),
        "mirrored": facts.contrast.mirrored,
    }


def to_json(facts: CaseFacts) -> dict[str, Any]:
    """All the rest."""
    return {
        "look": {
            **asdict(facts.look),
            "values": {str(value): asdict(seen) for value, seen in facts.look.values.items()},
        },
        "cropped": {"shape": list(facts.cropped.shape), "affine": facts.cropped.affine.tolist()},
        "axis_codes": facts.axis_codes,
        "label_content": facts.label_content,
        "channels": [asdict(channel) for channel in facts.channels],
        "drawn": {name: asdict(structure) for name, structure in facts.drawn.items()},
        "contrast": {"cell_mm": list(facts.contrast.cell_mm)},
        "thumbnail": {"cell_mm": facts.thumbnail.cell_mm, "first_mm": list(facts.thumbnail.first_mm)},
        "read_seconds": facts.read_seconds,
    }


def from_stored(told: Mapping[str, Any], arrays: Mapping[str, np.ndarray], case: Case) -> CaseFacts:
    """The same again; the names of case and patient are those of today."""
    look = {
        **told["look"],
        "id": case.id,
        "patient": case.patient,
        "values": {int(v): StructureLook(**_tuples(seen)) for v, seen in told["look"]["values"].items()},
        "intensity": tuple(IntensityLook(**channel) for channel in told["look"]["intensity"]),
    }
    small = told["thumbnail"]
    shifted = np.array(arrays["shifted"], np.float32)
    return CaseFacts(
        look=CaseLook(**_tuples(look)),
        cropped=Geometry(tuple(told["cropped"]["shape"]), np.array(told["cropped"]["affine"])),
        axis_codes=told["axis_codes"],
        label_content=told["label_content"],
        channels=tuple(ChannelFacts(**_tuples(channel)) for channel in told["channels"]),
        drawn={
            name: StructureFacts(tuple(s["centre_mm"]), s["border"], tuple(tuple(q) for q in s["inside"]))
            for name, s in told["drawn"].items()
        },
        contrast=Contrast(shifted, np.array(arrays["mirrored"]), tuple(told["contrast"]["cell_mm"])),
        thumbnail=Thumbnail(np.array(arrays["thumbnail"]), small["cell_mm"], tuple(small["first_mm"])),
        read_seconds=told["read_seconds"],
    )


def _tuples(told: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
