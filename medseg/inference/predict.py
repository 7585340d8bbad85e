"""From a preprocessed scan to classes on the scan's own grid, as one stream."""

import numpy as np
from jaxtyping import Integer, UInt8

from medseg.inference.confidence import ConfidenceMeter
from medseg.inference.engine import Engine
from medseg.inference.head import let_wait
from medseg.inference.profile import note_scan, stage
from medseg.inference.restore import LabelRestorer
from medseg.inference.sliding import Progress, stream_scores
from medseg.inference.windows import WindowPlan
from medseg.inference.workspace import Workspace
from medseg.transforms import Prepared
from medseg.volume import Geometry


def predict_classes(
    engine: Engine,
    prepared: Prepared,
    native: Geometry,
    plan: WindowPlan,
    *,
    pairs: tuple[tuple[int, int], ...] = (),
    progress: Progress | None = None,
    workspace: Workspace | None = None,
    nearest_axis: int | None = None,
    meter: ConfidenceMeter | None = None,
) -> UInt8[np.ndarray, "I J K"]:
    """Class indices on the ``native`` grid of a prepared scan (``nearest_axis``: of ``LabelRestorer``).

    ``meter`` is shown the scores of each plane.
    """
    place = workspace or Workspace()
    axis = stream_axis(prepared)
    head = let_wait(engine, plan)[1] if plan.gives_logits else None
    restorer = LabelRestorer(
        native, prepared.geometry, axis, nested=plan.nested, nearest_axis=nearest_axis, head=head
    )

    def after_window(done: int, total: int) -> None:
        place.release()
        if progress is not None:
            progress(done, total)

    stream = stream_scores(
        engine,
        prepared.image,
        plan,
        stream_axis=axis,
        pairs=pairs,
        progress=after_window,
        allocate=place.zeros,
        release=place.release,
    )
    for plane in stream:
        with stage("restoring"):
            restorer.add(plane)
        if meter is not None:
            with stage("judging"):
                meter.add(plane.scores if head is None else head(plane.scores))
    note_scan(int(np.prod(native.shape)))
    return restorer.finish()


def stream_axis(prepared: Prepared) -> int:
    """The longest: the planes across it are the smallest."""
    return int(np.argmax(prepared.image.shape[1:]))


def to_values(
    classes: UInt8[np.ndarray, "I J K"], values: Integer[np.ndarray, " L"]
) -> Integer[np.ndarray, "I J K"]:
    """Plane by plane, in place where the values fit: an index of a whole scan takes eight bytes a voxel."""
    if np.array_equal(values, np.arange(len(values))):
        return classes
    result = classes if values.dtype == classes.dtype else np.empty(classes.shape, values.dtype, order="F")
    for plane, found in zip(classes.T, result.T, strict=True):
        found[...] = values[plane]
    return result
