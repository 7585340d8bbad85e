"""Where patients come from, and which of them teach, tune and judge."""

from typing import Literal

from pydantic import Field, model_validator

from medseg.config.base import Settings


class Reading(Settings):
    """Leniencies of the reader; each is off unless it is asked for, and is part of the record."""

    geometry: Literal["agreed", "sform", "qform", "pixdim"] = "agreed"
    """Which orientation of a NIfTI file holds; agreed: sform and qform must tell the same."""
    nonfinite: Literal["refuse", "zero"] = "refuse"
    """NaN and infinite voxels refuse the scan, or become 0."""
    series_uid: str | None = None
    """Which DICOM series of a folder with several."""
    resample_labels: bool = False
    """A reference on another grid than its image refuses the case, or is put onto the image's grid by nearest
    neighbour."""


class DataConfig(Settings):
    cohort: str
    """A folder of patient folders; a folder with images/ and labels/; a folder with a Decathlon or nnU-Net
    dataset.json; a CSV (case,image[,image2...],label[,patient][,not_contoured]); or phantom:pelvis_ct,
    a built-in simulation (phantom:pelvis_ct?patients=12&seed=3 makes another)."""

    channels: dict[str, str] | None = None
    """Channel name to file pattern, as in {t2: "*_t2.nii.gz", adc: "*_adc.nii.gz"}. Unset: one image a case,
    found by the usual names."""

    label: str | None = None
    """File pattern of the reference in a patient folder. Unset: found by the usual names."""

    missing_structures: Literal["absent", "not_contoured"] = "absent"
    """What it means when a structure has no voxel in a reference: it is not there (absent), or nobody drew it
    (not_contoured), and then the case teaches and judges nothing about it."""

    reading: Reading = Reading()
    """What may be forgiven in a file."""

    held_out: int | float = Field(0.2, ge=0)
    """Patients kept for the final test: a whole number counts them, a fraction is their share. They never
    train and never choose a checkpoint."""

    folds: int = Field(5, ge=2)
    """The remaining patients are cut into this many folds."""

    fold: int = Field(0, ge=0)
    """The fold that validates; the others train."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Decides who is held out, and the folds."""

    @model_validator(mode="after")
    def _fold_exists(self) -> "DataConfig":
        if self.fold >= self.folds:
            raise ValueError(
                f"fold {self.fold} is not one of 0 to {self.folds - 1} (data.folds is {self.folds})"
            )
        if isinstance(self.held_out, float) and self.held_out >= 1 and not self.held_out.is_integer():
            raise ValueError(f"held_out {self.held_out}: give a share below 1, or a whole number of patients")
        return self
