"""Training: prepare, fit, validate, save."""

from medseg.training.interrupt import Interrupted, leaving_at_once
from medseg.training.log import Listener, Plan, Silent, Step, Validation
from medseg.training.run_folder import RunFolder, find_runs, new_run_folder
from medseg.training.train import Trained, train

__all__ = [
    "Interrupted",
    "Listener",
    "Plan",
    "RunFolder",
    "Silent",
    "Step",
    "Trained",
    "Validation",
    "find_runs",
    "leaving_at_once",
    "new_run_folder",
    "train",
]
