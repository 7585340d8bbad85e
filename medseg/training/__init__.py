"""Training: prepare, fit, validate, save.

``medseg.training.train`` is not loaded with the package: verbs that only look for runs start without Fabric
and MONAI.
"""

from medseg.training.interrupt import Interrupted, leaving_at_once
from medseg.training.log import Listener, Plan, Silent, Step, Validation
from medseg.training.run_folder import RunFolder, find_runs, new_run_folder

__all__ = [
    "Interrupted",
    "Listener",
    "Plan",
    "RunFolder",
    "Silent",
    "Step",
    "Validation",
    "find_runs",
    "leaving_at_once",
    "new_run_folder",
]
