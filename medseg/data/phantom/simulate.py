"""One simulated patient, from two numbers."""

from dataclasses import dataclass

from medseg.data.phantom.acquisition import acquire, plan_scan, stored
from medseg.data.phantom.canvas import Canvas
from medseg.data.phantom.muscles import body_shape, paint_muscles
from medseg.data.phantom.organs import paint_organs, paint_pelvic_fat
from medseg.data.phantom.patient import draw_traits, generator
from medseg.data.phantom.skeleton import paint_skeleton
from medseg.volume import Volume

PHANTOM_LABELS = {"prostate": 1, "bladder": 2, "rectum": 3, "femoral_head_left": 4, "femoral_head_right": 5}

IS_SIMULATION_NOTE = (
    "These patients are a computer simulation (medseg's built-in pelvis phantom), not scans of people: "
    "scores on them say that the software works, and nothing about accuracy on real CT."
)


@dataclass(frozen=True, eq=False)
class PhantomPatient:
    """``image``: int16 HU; ``label``: uint8, values of ``PHANTOM_LABELS``; both (I, J, K) on one grid."""

    image: Volume
    label: Volume


def phantom_patient(seed: int, index: int, *, coarsen: float = 1.0) -> PhantomPatient:
    """Simulate a male pelvis CT; the same arguments give the same bytes.

    Args:
        seed: of the cohort.
        index: of the patient in it, from 0.
        coarsen: multiplies the voxel spacing, for quick looks.
    """
    traits = draw_traits(seed, index)
    scan = plan_scan(seed, index, traits, coarsen)
    canvas = Canvas(scan.geometry, scan.to_patient, generator(seed, index, "canvas"))
    canvas.paint(body_shape(traits.body, scan.table_y), (0, "skin"), (2.0, "fat"))
    paint_pelvic_fat(canvas)
    paint_muscles(canvas, traits.body)
    paint_organs(canvas, traits, generator(seed, index, "bowel"))
    paint_skeleton(canvas, traits.hips)
    image = acquire(canvas, scan, generator(seed, index, "noise"))
    return PhantomPatient(stored(image, scan), stored(canvas.labels, scan))
