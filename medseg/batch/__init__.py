"""Many patients, one loaded model."""

from medseg.batch.infer import BatchResult, PatientResult, infer_patients, mask_path

__all__ = ["BatchResult", "PatientResult", "infer_patients", "mask_path"]
