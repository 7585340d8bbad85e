"""Many patients, one loaded model: supervised, recorded, resumed."""

from medseg.batch.infer import infer_patients
from medseg.batch.model import BatchModel
from medseg.batch.plan import mask_path
from medseg.batch.results import BatchOptions, BatchResult, Listener, PatientResult
from medseg.batch.single import infer_patient

__all__ = [
    "BatchModel",
    "BatchOptions",
    "BatchResult",
    "Listener",
    "PatientResult",
    "infer_patient",
    "infer_patients",
    "mask_path",
]
