"""Configuration: pydantic models, YAML loading, overrides."""

from medseg.config.data import DataConfig, Reading
from medseg.config.experiment import Experiment
from medseg.config.labels import find_left_right_pairs
from medseg.config.load import dump_experiment, load_experiment, parse_experiment
from medseg.config.model import ModelConfig
from medseg.config.preprocessing import PreprocessingConfig
from medseg.config.training import TrainingConfig

__all__ = [
    "DataConfig",
    "Experiment",
    "ModelConfig",
    "PreprocessingConfig",
    "Reading",
    "TrainingConfig",
    "dump_experiment",
    "find_left_right_pairs",
    "load_experiment",
    "parse_experiment",
]
