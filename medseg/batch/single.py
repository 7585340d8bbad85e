"""One scan, one mask, all in this process."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from medseg.batch.results import PatientResult
from medseg.data import Case, load_images
from medseg.inference import Segmenter
from medseg.inference.profile import stage
from medseg.inference.review import review_of
from medseg.inference.sliding import Progress
from medseg.inference.volumes import structure_volumes
from medseg.io import write_volume


def infer_patient(
    segmenter: Segmenter,
    case: Case,
    target: Path,
    progress: Progress | None = None,
    told: Callable[[int], None] | None = None,
) -> PatientResult:
    """Segment one patient into the file ``target``; ``told`` is called with the memory (bytes) this process
    will need, before the work.

    Raises:
        VolumeError: the scan is damaged.
        EnvironmentProblem: memory is short, or the mask cannot be written.
    """
    start = time.perf_counter()
    with stage("reading"):
        images = list(load_images(case))
    if told is not None:
        read = sum(image.array.nbytes for image in images)
        told(psutil.Process().memory_info().rss + segmenter.need_bytes(images[0].geometry, read))
    segmented = segmenter.segment(images, progress=progress)
    with stage("writing"):
        write_volume(segmented.mask, target)
        volumes = structure_volumes(segmented.mask, segmenter.labels)
    judged = review_of(segmenter.rule, segmented.expected_dice, volumes)
    seconds = time.perf_counter() - start
    return PatientResult(case.id, target, volumes, seconds, inputs=case.images, review=judged)
