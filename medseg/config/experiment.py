"""The whole experiment: one YAML file."""

import re

from pydantic import Field, field_validator, model_validator

from medseg.config.augmentation import Augmentation
from medseg.config.base import Settings
from medseg.config.data import DataConfig
from medseg.config.inference import EvaluationConfig, InferenceConfig
from medseg.config.labels import find_left_right_pairs
from medseg.config.model import ModelConfig
from medseg.config.preprocessing import PreprocessingConfig
from medseg.config.training import SamplingConfig, TrainingConfig


class Experiment(Settings):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Names the run folder: letters, digits, dot, dash, underscore."""
    description: str = ""
    labels: dict[str, int] = Field(min_length=1)
    """Structure to its value in the reference files; any whole numbers but 0. Other values are background."""
    left_right_pairs: tuple[tuple[str, str], ...] | None = None
    """Structures that swap when left and right are mirrored. Unset: found from the names."""
    data: DataConfig
    preprocessing: PreprocessingConfig
    augmentation: tuple[Augmentation, ...] = ()
    sampling: SamplingConfig
    model: ModelConfig
    training: TrainingConfig
    inference: InferenceConfig = InferenceConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def channel_count(self) -> int:
        return len(self.data.channels) if self.data.channels else 1

    @property
    def class_count(self) -> int:
        """Structures and background."""
        return len(self.labels) + 1

    @property
    def class_pairs(self) -> tuple[tuple[int, int], ...]:
        """Left/right pairs as class indices (background 0, structures from 1 in the order of ``labels``)."""
        order = {name: index for index, name in enumerate(self.labels, start=1)}
        pairs = self.left_right_pairs
        named = find_left_right_pairs(tuple(self.labels)) if pairs is None else pairs
        return tuple((order[left], order[right]) for left, right in named)

    @field_validator("labels")
    @classmethod
    def _distinct_values(cls, labels: dict[str, int]) -> dict[str, int]:
        for name, value in labels.items():
            if value == 0:
                raise ValueError(f"{name}: 0 is background; give the structure's own value")
            if not -(2**31) <= value < 2**31:
                raise ValueError(f"{name}: no label map holds {value}; give a value of at most 32 bits")
            if not re.fullmatch(r"[\w .()+-]{1,64}", name):
                raise ValueError(
                    f"{name!r}: a structure's name has 1 to 64 letters, digits, spaces or _.()+-"
                )
        if len(set(labels.values())) < len(labels):
            raise ValueError("two structures have the same value: give each its own")
        return labels

    @model_validator(mode="after")
    def _fits_together(self) -> "Experiment":
        names = set(self.labels)
        post = self.inference.postprocessing
        told = {
            "inference.postprocessing.largest_component": set(post.largest_component),
            "inference.postprocessing.minimum_volume_ml": set(post.minimum_volume_ml),
            "evaluation.lesions": set(self.evaluation.lesions),
            "left_right_pairs": {name for pair in self.left_right_pairs or () for name in pair},
        }
        for key, used in told.items():
            if used - names:
                raise ValueError(
                    f"{key}: {', '.join(sorted(used - names))} not in labels ({', '.join(self.labels)})"
                )
        sides = [name for pair in self.left_right_pairs or () for name in pair]
        if len(set(sides)) < len(sides):
            raise ValueError("left_right_pairs: a structure is there twice; each has one other side")
        intensity = self.preprocessing.intensity
        if len(intensity) not in (1, self.channel_count):
            raise ValueError(
                f"preprocessing.intensity has {len(intensity)} entries for {self.channel_count} channel(s)"
            )
        return self
