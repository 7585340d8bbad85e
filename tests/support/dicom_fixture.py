"""A DICOM series of a few tiny slices, with one thing wrong in it."""

from pathlib import Path

import numpy as np
import pydicom


def write_dicom(
    folder: Path,
    *,
    slices: int = 6,
    series: int = 1,
    modality: str = "CT",
    without: int | None = None,
    same_place: bool = False,
    other_spacing: bool = False,
    other_size: bool = False,
    no_orientation: bool = False,
    cut_header: bool = False,
    cut_pixels: bool = False,
) -> None:
    folder.mkdir()
    for number in range(1, series + 1):
        for place in range(slices):
            if place == without:
                continue
            odd = place == 2
            header = _slice(number, place, modality)
            if same_place and odd:
                header.ImagePositionPatient = [0, 0, 3]
            if other_spacing and odd:
                header.PixelSpacing = [2.5, 2.5]
            if other_size and odd:
                header.Rows, header.Columns = 3, 4
            if no_orientation and odd:
                del header.ImageOrientationPatient
            path = folder / f"{number}-{place}.dcm"
            header.save_as(path, enforce_file_format=True)
            data = path.read_bytes()
            if cut_header and odd:
                path.write_bytes(data[:200])
            if cut_pixels and odd:
                path.write_bytes(data[:-8])


def _slice(series: int, place: int, modality: str) -> pydicom.Dataset:
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{series}.{place + 1}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header = pydicom.Dataset()
    header.file_meta = meta
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.PatientName, header.PatientID, header.Modality = "A^B", "1", modality
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2", f"1.2.{series}"
    header.FrameOfReferenceUID, header.SeriesNumber, header.InstanceNumber = "1.2.9", series, place + 1
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.ImageOrientationPatient, header.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 3 * place]
    header.PixelSpacing, header.SliceThickness = [2, 2], 3
    header.Rows, header.Columns, header.SamplesPerPixel = 4, 3, 1
    header.PhotometricInterpretation, header.PixelRepresentation = "MONOCHROME2", 1
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    header.PixelData = np.arange(12, dtype=np.int16).tobytes()
    return header
