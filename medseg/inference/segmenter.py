"""A trained model that turns scans into masks on the scan's own grid."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from medseg.config import Experiment
from medseg.config.inference import InferenceConfig
from medseg.inference.engine import Engine, TorchEngine
from medseg.inference.postprocess import postprocess
from medseg.inference.preparation import Preparation, PreparedScan
from medseg.inference.restore import LabelRestorer
from medseg.inference.sliding import Progress, stream_probabilities
from medseg.inference.windows import WindowPlan, plan_windows
from medseg.modelfile import ModelFile, load_model, load_network
from medseg.transforms import Fitted, Prepared
from medseg.volume import Geometry, Volume


class Segmenter:
    """Calls a network on scans.

        segmenter = Segmenter.load("model.safetensors")
        mask = segmenter(scan)                 # or segmenter(t2, adc) for a model of two channels

    The mask holds the label values of the configuration, on exactly the grid of the (first) scan.
    """

    def __init__(
        self, experiment: Experiment, fitted: Fitted, engine: Engine, inference: InferenceConfig | None = None
    ) -> None:
        self.experiment = experiment
        self.inference = inference or experiment.inference
        self.fitted = fitted
        self.preparation = Preparation(experiment, fitted)
        self._engine = engine
        self._plan = plan_windows(experiment, self.inference)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        device: str = "auto",
        precision: str = "auto",
        inference: InferenceConfig | None = None,
    ) -> "Segmenter":
        """Read a model file.

        Raises:
            ModelFileError: damaged, or not a model file.
            EnvironmentProblem: the device is not there.
        """
        return cls.from_model(load_model(Path(path)), device=device, precision=precision, inference=inference)

    @classmethod
    def from_model(
        cls,
        model: ModelFile,
        *,
        device: str = "auto",
        precision: str = "auto",
        inference: InferenceConfig | None = None,
    ) -> "Segmenter":
        engine = TorchEngine(load_network(model), device, precision)
        return cls(model.experiment, Fitted.from_json(model.fitted), engine, inference)

    def with_inference(self, inference: InferenceConfig) -> "Segmenter":
        """The same model with other windows or postprocessing."""
        return Segmenter(self.experiment, self.fitted, self._engine, inference)

    @property
    def labels(self) -> dict[str, int]:
        """Structure to its value in the mask."""
        return self.experiment.labels

    def __call__(self, *images: Volume, progress: Progress | None = None) -> Volume:
        """Segment one scan, given as one volume a channel.

        Returns:
            Label values (uint8, or a wider integer where the values need it) on ``images[0].geometry``.

        Raises:
            UsageError: wrong number of channels.
            GridMismatchError: channels on different grids.
        """
        return self.predict(self.preparation(*images), progress=progress)

    def predict(self, scan: PreparedScan, *, progress: Progress | None = None) -> Volume:
        """Segment a scan that ``preparation`` gave."""
        classes = predict_classes(
            self._engine,
            scan.prepared,
            scan.native,
            self._plan,
            pairs=self.experiment.class_pairs,
            progress=progress,
        )
        order = {name: index for index, name in enumerate(self.labels, start=1)}
        classes = postprocess(classes, self.inference.postprocessing, order, scan.native.voxel_ml)
        return Volume(_to_values(classes, self.labels), scan.native)


def predict_classes(
    engine: Engine,
    prepared: Prepared,
    native: Geometry,
    plan: WindowPlan,
    *,
    pairs: tuple[tuple[int, int], ...] = (),
    progress: Progress | None = None,
) -> UInt8[np.ndarray, "I J K"]:
    """Class indices on the ``native`` grid of a preprocessed scan."""
    axis = int(np.argmax(prepared.image.shape[1:]))
    restorer = LabelRestorer(native, prepared.geometry, axis)
    stream = stream_probabilities(
        engine, prepared.image, plan, stream_axis=axis, pairs=pairs, progress=progress
    )
    for start, slab in stream:
        restorer.add(start, slab)
    return restorer.finish()


def _to_values(classes: UInt8[np.ndarray, "I J K"], labels: dict[str, int]) -> Any:
    values = np.array([0, *labels.values()])
    return values.astype(np.result_type(*(np.min_scalar_type(v) for v in values)))[classes]
