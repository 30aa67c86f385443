"""Ultrasound objects with all that the standard asks of them, for `clinic` tests."""

import subprocess

import numpy as np
from dicom_files import compressed, dataset, jpeg, region
from pydicom import uid

SIZE = (60, 80)
PATIENT = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller^Änne",
    "PatientID": "4711",
    "PatientBirthDate": "19600102",
    "PatientSex": "F",
    "StudyInstanceUID": "2.25.101",
    "StudyID": "S1",
    "StudyDate": "20240305",
    "StudyTime": "101500",
    "AccessionNumber": "A17",
}
"""What the objects shall repeat."""

SECRET = "Geheim"
SECRETS = {
    "ReferringPhysicianName": f"{SECRET}^Arzt",
    "OperatorsName": f"{SECRET}^Helfer",
    "InstitutionName": f"Klinik {SECRET}",
    "StationName": SECRET,
    "StudyDescription": f"Mamma {SECRET}",
    "SeriesDescription": SECRET,
    "PatientComments": SECRET,
    "PatientAge": "064Y",
    "OtherPatientIDs": SECRET,
    "DeviceSerialNumber": SECRET,
    "ImageComments": SECRET,
}
"""What they shall not."""


def lesions(*places, size=SIZE):
    """Bright, with dark discs at `(row, column, radius)`; uint8."""
    y, x = np.indices(size)
    grey = np.full(size, 220, np.uint8)
    for row, column, radius in places:
        grey[np.hypot(y - row, x - column) < radius] = 20
    return grey


ONE = ((30, 40, 14),)
TWO = ((30, 25, 12), (35, 62, 8))


def complete(made):
    """Gives an object a patient, a study, a series, and the rest of its IOD."""
    several = int(made.get("NumberOfFrames", 1)) > 1
    made.SOPClassUID = (
        uid.UltrasoundMultiFrameImageStorage if several else uid.UltrasoundImageStorage
    )
    made.SOPInstanceUID = "2.25.103"
    made.SeriesInstanceUID = "2.25.102"
    made.SeriesNumber, made.InstanceNumber = 3, 12
    made.Manufacturer = "Scanner"
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.PatientOrientation = made.Laterality = None
    if several:
        made.FrameTime, made.FrameIncrementPointer = "40.0", 0x00181063
    elif "NumberOfFrames" in made:
        del made.NumberOfFrames
    for keyword, value in (PATIENT | SECRETS).items():
        setattr(made, keyword, value)
    return made


def single():
    return complete(dataset(lesions(*TWO), regions=[region(0, 0, 79, 59)]))


def clip():
    """Three frames: two lesions, none, one."""
    frames = [lesions(*TWO), lesions(), lesions(*ONE)]
    return complete(dataset(np.stack(frames), regions=[region(0, 0, 79, 59)]))


def palette():
    made = dataset(lesions(*ONE))
    made.PhotometricInterpretation = "PALETTE COLOR"
    for name in ("Red", "Green", "Blue"):
        keyword = f"{name}PaletteColorLookupTable"
        setattr(made, f"{keyword}Descriptor", [256, 0, 16])
        entries = (np.arange(256) * 257).astype("<u2")
        setattr(made, f"{keyword}Data", entries.tobytes())
    return complete(made)


def lossy():
    grey = lesions(*ONE)
    made = compressed(grey, "MONOCHROME2", jpeg(grey), uid.JPEGBaseline8Bit)
    made.LossyImageCompression = "01"
    made.LossyImageCompressionRatio = 5
    made.LossyImageCompressionMethod = "ISO_10918_1"
    return complete(made)


def run_length():
    made = dataset(lesions(*ONE))
    made.compress(uid.RLELossless)
    return complete(made)


def two_regions():
    """A lesion in each of two regions, of different scales."""
    regions = [region(0, 0, 43, 59, 0.02), region(44, 0, 79, 59, 0.01)]
    return complete(dataset(lesions(*TWO), regions=regions))


def referenced():
    """In a frame of reference, which ultrasound seldom has."""
    made = single()
    made.FrameOfReferenceUID = "2.25.104"
    made.PositionReferenceIndicator = None
    made.ImagePositionPatient = [10, -20.5, 30]
    made.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    made.PixelSpacing, made.SliceThickness = [0.4, 0.2], 1.5
    return made


SOURCES = {
    made.__name__: made
    for made in (single, clip, palette, lossy, run_length, two_regions, referenced)
}


def errors_of(path):
    """The errors that dciodvfy finds in a file, each once."""
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    return {line for line in lines if line.startswith("Error")}
