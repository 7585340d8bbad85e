"""One scan, one mask, all in this process."""

import time
from pathlib import Path

from medseg.batch.results import PatientResult
from medseg.batch.tasks import structure_volumes
from medseg.data import Case, load_images
from medseg.inference import Segmenter
from medseg.inference.sliding import Progress
from medseg.io import write_volume


def infer_patient(
    segmenter: Segmenter, case: Case, target: Path, progress: Progress | None = None
) -> PatientResult:
    """Segment one patient into the file ``target``.

    Raises:
        VolumeError: the scan is damaged.
        EnvironmentProblem: memory is short, or the mask cannot be written.
    """
    start = time.perf_counter()
    mask = segmenter(*load_images(case), progress=progress)
    write_volume(mask, target)
    volumes = structure_volumes(mask, segmenter.labels)
    return PatientResult(case.id, target, volumes, time.perf_counter() - start, inputs=case.images)
