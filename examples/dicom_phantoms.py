"""Writes a study of synthetic ultrasound images as DICOM files and prints its UID.

    python examples/dicom_phantoms.py FOLDER [SEED]

Another seed makes another study. Needs the extra [clinic].
"""

import sys
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import set_pixel_data
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom

CENTIMETRES_A_PIXEL = 0.01


def make_image(label: str, seed: int, number: int) -> Dataset:
    """Makes an object of one phantom, calibrated, of a patient who does not exist."""
    pixels = make_phantom(label, seed).image
    study, series, image = (
        generate_uid(entropy_srcs=["keras-efsnet", str(seed), name])
        for name in ("study", "series", f"image {number}")
    )
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = UltrasoundImageStorage, image
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    made.Modality, made.Manufacturer = "US", "keras-efsnet phantoms"
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.PatientName, made.PatientID = f"Phantom^{seed}", f"PHANTOM-{seed}"
    made.PatientBirthDate = made.PatientSex = ""
    made.StudyDate, made.StudyTime = "20260101", "120000"
    made.StudyID, made.SeriesNumber, made.InstanceNumber = "1", 1, number
    made.AccessionNumber = made.ReferringPhysicianName = ""
    made.PatientOrientation = made.Laterality = ""
    made.SequenceOfUltrasoundRegions = [_whole_image(*pixels.shape)]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    set_pixel_data(made, pixels, "MONOCHROME2", 8)
    return made


def _whole_image(height: int, width: int) -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat = region.RegionDataType = 1  # 2D tissue
    region.RegionFlags = 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = width - 1, height - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
    region.PhysicalDeltaX = region.PhysicalDeltaY = CENTIMETRES_A_PIXEL
    return region


def main(folder: str, seed: str = "1") -> None:
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for number, label in enumerate(LABELS, 1):
        made = make_image(label, int(seed), number)
        made.save_as(target / f"{label}-{seed}.dcm", enforce_file_format=True)
    print(made.StudyInstanceUID)


if __name__ == "__main__":
    main(*sys.argv[1:])
