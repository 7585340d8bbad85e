"""medseg: CT and MR volumes in, organ and tumour masks on the scan's own grid out, with a report to trust.

    import medseg

    scan = medseg.read_volume("scan.nii.gz")
    segmenter = medseg.Segmenter.load("model.safetensors")
    medseg.write_volume(segmenter(scan), "scan_seg.nii.gz")

Names are imported when they are first used, so that ``import medseg`` and the command line start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.config import Experiment, load_experiment
    from medseg.errors import MedsegError
    from medseg.evaluation import score_case
    from medseg.inference import Segmenter
    from medseg.io import read_label, read_volume, write_volume
    from medseg.training.train import train
    from medseg.volume import Geometry, Volume

__version__ = "0.1.0"

_HOMES = {
    "Experiment": "medseg.config",
    "Geometry": "medseg.volume",
    "MedsegError": "medseg.errors",
    "Segmenter": "medseg.inference",
    "Volume": "medseg.volume",
    "load_experiment": "medseg.config",
    "read_label": "medseg.io",
    "read_volume": "medseg.io",
    "score_case": "medseg.evaluation",
    "train": "medseg.training.train",
    "write_volume": "medseg.io",
}

__all__ = [
    "Experiment",
    "Geometry",
    "MedsegError",
    "Segmenter",
    "Volume",
    "load_experiment",
    "read_label",
    "read_volume",
    "score_case",
    "train",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
