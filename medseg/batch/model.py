"""The model of a batch: its description at once, its network only when a patient needs it."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from medseg.config import Experiment
from medseg.config.inference import InferenceConfig
from medseg.errors import Code, EnvironmentProblem, ModelFileError
from medseg.inference import Segmenter
from medseg.inference.choice import EngineChoice, choose_engine
from medseg.inference.engines import ranges_of
from medseg.inference.preparation import Preparation, recropped
from medseg.inference.review import ReviewRule
from medseg.inference.vram import limit_vram
from medseg.modelfile import ModelFile, load_model
from medseg.transforms import Fitted


@dataclass(frozen=True, eq=False)
class BatchModel:
    """A model file that was read and verified; ``inference`` and the device are how it is used.

    Its weights are read again when the network is built, so that they are not in memory twice.
    """

    path: Path
    file: ModelFile
    """Without the weights."""
    sha256: str
    inference: InferenceConfig
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    crop: str = "model"
    max_vram_bytes: int | None = None

    @classmethod
    def load(
        cls, path: Path, *, device: str = "auto", precision: str = "auto", engine: str = "auto"
    ) -> "BatchModel":
        """Read a model file.

        Raises:
            ModelFileError: damaged, or not a model file.
            UsageError: engine, device and precision do not go together, or no int8 ranges are in the file.
            EnvironmentProblem: it cannot be read, or the device is not there.
        """
        model = load_model(path)
        found = cls(
            path.absolute(),
            replace(model, weights={}),
            _sha256(path),
            model.experiment.inference,
            device,
            precision,
            engine,
        )
        if found.choice.precision == "int8":
            ranges_of(model)
        return found

    def with_inference(self, inference: InferenceConfig) -> "BatchModel":
        return replace(self, inference=inference)

    def with_crop(self, crop: str) -> "BatchModel":
        """``body``: cut scans to the body; ``none``: not even as the model was trained; ``model``: as it was.

        Raises:
            UsageError: another word, or intensities depend on what is around the body.
        """
        experiment = recropped(self.file.experiment, crop)
        return replace(self, file=replace(self.file, experiment=experiment), crop=crop)

    def with_vram(self, max_vram_bytes: int | None) -> "BatchModel":
        """The same model, taking at most so much of the graphics card's memory.

        Raises:
            UsageError: it does not run on a CUDA card.
        """
        limit_vram(self.choice.device, max_vram_bytes)
        return replace(self, max_vram_bytes=max_vram_bytes)

    @property
    def experiment(self) -> Experiment:
        return self.file.experiment

    @property
    def labels(self) -> dict[str, int]:
        return self.experiment.labels

    @cached_property
    def rule(self) -> ReviewRule | None:
        """Which masks somebody should look at; None where the model was not calibrated.

        Raises:
            ModelFileError: what the file holds is not a rule of medseg's.
        """
        return ReviewRule.from_json(self.file.review) if self.file.review else None

    @cached_property
    def choice(self) -> EngineChoice:
        return choose_engine(self.engine, self.device, self.precision)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides a mask besides the model file and the scan, but for each case's reading."""
        crop = {} if self.crop == "model" else {"crop": self.crop}
        return {"inference": self.inference.model_dump(mode="json"), **self.choice.to_json(), **crop}

    def settings_hash(self, reading: dict[str, Any]) -> str:
        told = json.dumps({**self.settings, "reading": reading}, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @cached_property
    def preparation(self) -> Preparation:
        return Preparation(self.experiment, Fitted.from_json(self.file.fitted))

    @cached_property
    def segmenter(self) -> Segmenter:
        """The network, built when it is first asked for.

        Raises:
            ModelFileError: the file was changed since it was read.
            EnvironmentProblem: it cannot be read any more; or a single window does not fit into the graphics
                card's memory that is allowed.
        """
        segmenter = Segmenter.from_model(
            self._whole(),
            device=self.device,
            precision=self.precision,
            engine=self.engine,
            inference=self.inference,
            again=self._whole,
        )
        segmenter.require_vram(self.max_vram_bytes)
        return segmenter

    def _whole(self) -> ModelFile:
        """With its weights, from disk."""
        if _sha256(self.path) != self.sha256:
            raise ModelFileError(
                Code.MODEL_DAMAGED, f"{self.path}: was changed while it was in use: start again"
            )
        return replace(self.file, weights=load_model(self.path).weights)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EnvironmentProblem(
            Code.CANNOT_READ, f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
