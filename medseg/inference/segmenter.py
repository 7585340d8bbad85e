"""A trained model that turns scans into masks on the scan's own grid."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Integer

from medseg.config import Experiment
from medseg.config.inference import InferenceConfig
from medseg.inference.choice import choose_engine
from medseg.inference.confidence import ConfidenceMeter
from medseg.inference.engine import Engine
from medseg.inference.engines import build_engines
from medseg.inference.ensemble import Ensemble, together
from medseg.inference.head import let_wait
from medseg.inference.memory import (
    Need,
    ScanSize,
    choose_way,
    memory_named,
    network_shape,
    peak_bytes,
    prediction_bytes,
    ways_for,
)
from medseg.inference.postprocess import postprocess
from medseg.inference.predict import predict_classes, stream_axis, to_values
from medseg.inference.preparation import Preparation, PreparedScan
from medseg.inference.profile import note_need, stage
from medseg.inference.review import ReviewRule
from medseg.inference.sliding import Progress
from medseg.inference.vram import require_vram
from medseg.inference.windows import plan_windows
from medseg.inference.workspace import WAYS, Way, Workspace
from medseg.modelfile import ModelFile, load_model
from medseg.transforms import Fitted
from medseg.transforms.intensity import zscores
from medseg.volume import Geometry, Volume


@dataclass(frozen=True, eq=False)
class Segmented:
    """A mask, and the Dice that the network's probabilities promise for each structure (of a model that was
    calibrated: None else)."""

    mask: Volume
    expected_dice: dict[str, float] | None = None


class Segmenter:
    """Calls a network on scans.

        segmenter = Segmenter.load("model.safetensors")
        mask = segmenter(scan)                 # or segmenter(t2, adc) for a model of two channels

    The mask holds the label values of the configuration, on exactly the grid of the (first) scan.
    """

    def __init__(
        self,
        experiment: Experiment,
        fitted: Fitted,
        engine: Engine,
        inference: InferenceConfig | None = None,
        max_ram: int | None = None,
        rule: ReviewRule | None = None,
    ) -> None:
        self.experiment = experiment
        self.rule = rule
        self.inference = inference or experiment.inference
        self.fitted = fitted
        self.preparation = Preparation(experiment, fitted)
        self.max_ram = max_ram
        self._plan = plan_windows(experiment, self.inference)
        if isinstance(engine, Ensemble):
            engine = engine.averaging(logits=self._plan.average_logits)
        self._engine = engine

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        inference: InferenceConfig | None = None,
    ) -> "Segmenter":
        """Read a model file.

        Args:
            engine: ``torch``, ``openvino``, or ``auto``: OpenVINO on the CPU, PyTorch elsewhere.
            precision: ``fp32``, ``bf16``, ``fp16``, ``int8``; ``auto``: bf16 where the device has it.

        Raises:
            ModelFileError: damaged, not a model file, or its network is not for this engine.
            UsageError: engine, device and precision do not go together, or no int8 ranges are in the file.
            EnvironmentProblem: the device is not there.
        """
        model = load_model(Path(path))
        return cls.from_model(model, device=device, precision=precision, engine=engine, inference=inference)

    @classmethod
    def from_model(
        cls,
        model: ModelFile,
        *,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        inference: InferenceConfig | None = None,
        again: Callable[[], ModelFile] | None = None,
    ) -> "Segmenter":
        """As :meth:`load`, of a model in memory; with ``again``, which gives it anew, it need not be kept."""
        choice = choose_engine(engine, device, precision)
        engines = build_engines(model, choice, plan_windows(model.experiment, inference).size, again)
        whole = together(engines, model.experiment.class_count)
        rule = ReviewRule.from_json(model.review) if model.review else None
        return cls(model.experiment, Fitted.from_json(model.fitted), whole, inference, None, rule)

    def with_inference(self, inference: InferenceConfig) -> "Segmenter":
        """The same model with other windows or postprocessing."""
        return Segmenter(self.experiment, self.fitted, self._engine, inference, self.max_ram, self.rule)

    def with_memory(self, max_ram: int | None) -> "Segmenter":
        """The same model in a process that must stay within ``max_ram`` bytes (None: no limit).

        Large arrays move to temporary files as far as is needed; the labels stay the same, bit for bit. Scans
        that cannot be segmented within the limit are refused before the work begins.
        """
        return Segmenter(self.experiment, self.fitted, self._engine, self.inference, max_ram, self.rule)

    def require_vram(self, max_vram: int | None) -> None:
        """See to it that a window fits into ``max_vram`` bytes of the graphics card, before a scan is read.

        Raises:
            EnvironmentProblem: it does not.
        """
        device = self._engine.device
        held = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        require_vram(self._engine, self._plan, self.experiment.channel_count, held, max_vram)

    def need_bytes(self, native: Geometry, read_bytes: int = 0) -> int:
        """The most that ``self(scan)`` takes for a scan on this grid, beyond what the process holds.

        Held already are the loaded model and the scan as it was read, of which ``read_bytes`` are let go of
        when it is preprocessed. Where preprocessing crops to the body
        less is taken. With a limit, it is the need of the way that takes the least.
        """
        size = replace(self._size(native), read_bytes=read_bytes)
        ways = ways_for(size, self._plan)
        way = ways[0] if self.max_ram is None else ways[-1]
        return peak_bytes(size, self._plan, self._engine, way)

    def _size(self, native: Geometry) -> ScanSize:
        keep = ["ijk".index(axis) for axis in self.experiment.preprocessing.keep_spacing]
        network = network_shape(native, self.fitted.spacing_mm, keep)
        channels = self.experiment.channel_count
        chosen = self.inference.postprocessing
        _, head = let_wait(self._engine, self._plan)
        return ScanSize(
            native.shape,
            network,
            channels,
            len(self.labels) + 1,
            0 if head is None else head.maps,
            self._values.itemsize,
            cleaned=bool(chosen.largest_component or chosen.minimum_volume_ml),
            at_once=not self.preparation.block_by_block,
            ranked=any(zscores(one) for one in self.experiment.preprocessing.intensity),
        )

    @property
    def _values(self) -> Integer[np.ndarray, " L"]:
        """The value in the mask of each class, in the narrowest type that holds them all."""
        values = np.array([0, *self.labels.values()])
        return values.astype(np.result_type(*(np.min_scalar_type(value) for value in values)))

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
            EnvironmentProblem: the memory does not suffice.
        """
        return self.segment(list(images), progress=progress).mask

    def segment(self, images: list[Volume], *, progress: Progress | None = None) -> Segmented:
        """As calling it, with what is expected of the mask; ``images`` is emptied when they are preprocessed,
        so that their memory is free."""
        way = WAYS[0]
        if images:
            read = sum(image.array.nbytes for image in images)
            size = replace(self._size(images[0].geometry), read_bytes=read)
            way = self._way(size, ways_for(size, self._plan), peak_bytes, images[0].geometry)
        workspace = Workspace(way)
        with memory_named("segmenting"):
            with stage("preparing"):
                scan = self.preparation(*images)
                images.clear()
                axis = stream_axis(scan.prepared)
                image = workspace.image(scan.prepared.image, axis)
                scan = replace(scan, prepared=replace(scan.prepared, image=image))
            return self._predict(scan, workspace, progress)

    def predict(self, scan: PreparedScan, *, progress: Progress | None = None) -> Segmented:
        """Segment a scan that ``preparation`` gave.

        Raises:
            EnvironmentProblem: the memory does not suffice.
        """
        i, j, k = scan.prepared.geometry.shape
        size = replace(self._size(scan.native), network=(i, j, k))
        ways = dict.fromkeys(Way(sums_on_disk=way.sums_on_disk) for way in ways_for(size, self._plan))
        way = self._way(size, tuple(ways), prediction_bytes, scan.native)
        with memory_named("segmenting"):
            return self._predict(scan, Workspace(way), progress)

    def _way(self, size: ScanSize, ways: tuple[Way, ...], need: Need, native: Geometry) -> Way:
        """The quickest of ``ways`` that the limit allows."""
        way = ways[0]
        if self.max_ram is not None:
            needs = {way: need(size, self._plan, self._engine, way) for way in ways}
            way = choose_way(needs, self.max_ram, f"scan of {native}")
        note_need(lambda: need(size, self._plan, self._engine, way))
        return way

    def _predict(self, scan: PreparedScan, workspace: Workspace, progress: Progress | None) -> Segmented:
        meter = self._meter()
        classes = predict_classes(
            self._engine,
            scan.prepared,
            scan.native,
            self._plan,
            pairs=self.experiment.class_pairs,
            progress=progress,
            workspace=workspace,
            nearest_axis=self.preparation.nearest_axis(scan.native),
            meter=meter,
        )
        order = {name: index for index, name in enumerate(self.labels, start=1)}
        with stage("postprocessing"):
            postprocess(classes, self.inference.postprocessing, order, scan.native.voxel_ml)
            mask = Volume(to_values(classes, self._values), scan.native)
        return Segmented(mask, None if meter is None else dict(zip(self.labels, meter.dice(), strict=True)))

    def _meter(self) -> ConfidenceMeter | None:
        if self.rule is None or self._plan.nested:
            return None
        return ConfidenceMeter(len(self.labels) + 1, self.rule.temperature, logits=self._plan.gives_logits)
