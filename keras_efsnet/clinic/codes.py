"""Coded concepts of the objects: SNOMED CT, DICOM, UCUM, and the project's own."""

import hashlib

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

SCHEME = "99KERASEFSNET"
"""The project's own coding scheme, for concepts that no standard one has."""

BREAST = codes.SCT.Breast
LESION = codes.SCT.Lesion
ABNORMAL_STRUCTURE = codes.SCT.MorphologicallyAbnormalStructure
PROCEDURE = codes.SCT.UltrasonographyOfBreast
DERIVED_BY_SEGMENTATION = CodedConcept("113076", "DCM", "Segmentation")
SOURCE_IMAGE = CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
CLASSES = {
    "normal": codes.SCT.Normal,
    "benign": codes.SCT.Benign,
    "malignant": codes.SCT.Malignant,
}
PREDICTED_CLASS = CodedConcept("CLASS", SCHEME, "Predicted class of the image")
REFERRAL = CodedConcept("REFER", SCHEME, "Reason for review by a person")

MILLIMETRE, SQUARE_MILLIMETRE = codes.UCUM.Millimeter, codes.UCUM.SquareMillimeter
PIXELS = CodedConcept("{pixels}", "UCUM", "pixels")

LENGTHS = {
    "longest_diameter": codes.SCT.LongAxis,
    "perpendicular_diameter": codes.SCT.ShortAxis,
    "width": codes.SCT.Width,
    "height": codes.DCM.Height,
    "depth": codes.SCT.Depth,
}
MEASUREMENTS = {
    **{f"{name}_mm": (code, MILLIMETRE) for name, code in LENGTHS.items()},
    **{f"{name}_px": (code, PIXELS) for name, code in LENGTHS.items()},
    "area_mm2": (codes.SCT.Area, SQUARE_MILLIMETRE),
    "area_px": (codes.SCT.Area, PIXELS),
}
"""Concept and unit of the measurements in a record's `lesions`."""


def code_class(label: str) -> Code | CodedConcept:
    """Returns the concept of a class; of the project's own scheme for other labels."""
    own = CodedConcept(f"CLASS_{_short(label)}", SCHEME, _ascii(label))
    return CLASSES.get(label, own)


def code_probability(label: str) -> CodedConcept:
    """Returns the concept of a class's probability."""
    name = label.upper() if label in CLASSES else _short(label)
    meaning = _ascii(f"Probability of class {label}")
    return CodedConcept(f"P_{name}", SCHEME, meaning)


def _ascii(meaning: str) -> str:
    """A text for any character set of a source, with at most 64 characters (LO)."""
    return meaning.encode("ascii", "xmlcharrefreplace")[:64].decode()


def _short(label: str) -> str:
    """A code for a label, as a code value has at most 16 characters."""
    return hashlib.sha256(label.encode()).hexdigest()[:8].upper()
