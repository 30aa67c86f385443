"""DICOM SEG: one binary segment, of one frame, for each lesion.

highdicom's `Segmentation` accepts several frames only in a frame of reference, which
ultrasound clips do not have. The standard asks for none, and for no plane, if each
frame names the frame that it was derived from (PS3.3, A.51: the Derivation Image
functional group): both then have the same pixels. So the frames are put together here,
and highdicom makes the rest.
"""

from collections.abc import Sequence

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.base import SOPClass
from highdicom.seg import SegmentDescription
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, SegmentationStorage

from keras_efsnet.clinic.algorithm import Algorithm
from keras_efsnet.clinic.codes import (
    ABNORMAL_STRUCTURE,
    BREAST,
    DERIVED_BY_SEGMENTATION,
    LESION,
    SOURCE_IMAGE,
)
from keras_efsnet.clinic.lesions import Segment
from keras_efsnet.clinic.source import Source

SERIES_NUMBER = 9001
"""Far from the numbers of a scanner's series."""


def make_segmentation(
    source: Source, segments: Sequence[Segment], algorithm: Algorithm
) -> Dataset:
    """Makes the segmentation of one image, without its patient.

    Args:
        source: the image.
        segments: at least one.
        algorithm: what made them.
    """
    tags = source.reference
    made = SOPClass(
        study_instance_uid=tags.StudyInstanceUID,
        series_instance_uid=algorithm.derive_uid("SEG series", tags.SeriesInstanceUID),
        series_number=SERIES_NUMBER,
        sop_instance_uid=algorithm.derive_uid("SEG", tags.SOPInstanceUID),
        sop_class_uid=SegmentationStorage,
        instance_number=source.instance_number,
        modality="SEG",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        manufacturer="keras-efsnet",
        manufacturer_model_name=algorithm.name,
        device_serial_number=algorithm.weights,
        software_versions=algorithm.version,
        series_description="Lesions, not for diagnosis",
    )
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.PatientOrientation = None
    made.ContentLabel = "LESIONS"
    made.ContentDescription = "Predicted lesions; for research, not for diagnosis"
    made.ContentCreatorName = None
    made.SegmentationType = "BINARY"
    made.SegmentsOverlap = "NO"
    made.SegmentSequence = [_describe(source, part, algorithm) for part in segments]
    _add_pixels(made, segments)
    _add_functional_groups(made, source, segments, algorithm)
    _add_references(made, source)
    return made


def _describe(
    source: Source, segment: Segment, algorithm: Algorithm
) -> SegmentDescription:
    identifier, uid = track(source, segment, algorithm)
    return SegmentDescription(
        segment_number=segment.number,
        segment_label=label(source, segment),
        segmented_property_category=ABNORMAL_STRUCTURE,
        segmented_property_type=LESION,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=algorithm.name,
            family=codes.DCM.ArtificialIntelligence,
            version=algorithm.version,
            source="keras-efsnet",
            parameters=algorithm.parameters,
        ),
        tracking_uid=uid,
        tracking_id=identifier,
        anatomic_regions=[BREAST],
    )


def label(source: Source, segment: Segment) -> str:
    """A segment's name, with the number of the lesion in predictions.json."""
    frame = (
        f"Frame {segment.frame.number}, "
        if source.frame_numbers(segment.frame.number)
        else ""
    )
    return f"{frame}lesion {segment.lesion}".capitalize()


def track(source: Source, segment: Segment, algorithm: Algorithm) -> tuple[str, UID]:
    """A lesion's identifier and UID, the same in segmentation and report.

    A lesion that was followed over a clip has the same ones in all frames.
    """
    image, number = source.reference.SOPInstanceUID, segment.measurements.get("track")
    if number is not None:
        return f"Track {number}", algorithm.derive_uid("track", image, number)
    facts = ("lesion", image, segment.frame.number, segment.lesion)
    return label(source, segment), algorithm.derive_uid(*facts)


def _add_pixels(made: Dataset, segments: Sequence[Segment]) -> None:
    made.NumberOfFrames = len(segments)
    made.Rows, made.Columns = segments[0].frame.mask.shape
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelRepresentation = 0
    made.LossyImageCompression = "00"  # unless the image's own says otherwise
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0
    made.PixelData = _pack(segments)


def _pack(segments: Sequence[Segment]) -> bytes:
    """The masks as bits, without gaps between frames."""
    packed = bytearray()
    for first in range(0, len(segments), 8):  # eight masks fill whole bytes
        masks = [segment.mask for segment in segments[first : first + 8]]
        packed += np.packbits(np.stack(masks), bitorder="little").tobytes()
    return bytes(packed + bytes(len(packed) % 2))


def _add_functional_groups(
    made: Dataset, source: Source, segments: Sequence[Segment], algorithm: Algorithm
) -> None:
    """Says of each frame which segment it is and which frame it was derived from."""
    organization = algorithm.derive_uid("dimensions", made.SOPInstanceUID)
    made.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    made.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=0x0062000B,  # Referenced Segment Number
            FunctionalGroupPointer=0x0062000A,  # Segment Identification Sequence
            DimensionDescriptionLabel="Segment Number",
        )
    ]
    shared, position = Dataset(), Dataset()
    if source.plane:
        place, orientation, spacing, thickness = source.plane
        position.PlanePositionSequence = [_item(ImagePositionPatient=place)]
        shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=orientation)]
        shared.PixelMeasuresSequence = [
            _item(PixelSpacing=spacing, SliceThickness=thickness)
        ]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = [
        _item(
            FrameContentSequence=[_item(DimensionIndexValues=[segment.number])],
            SegmentIdentificationSequence=[
                _item(ReferencedSegmentNumber=segment.number)
            ],
            DerivationImageSequence=[_derivation(source, segment.frame.number)],
            **{element.keyword: element.value for element in position},
        )
        for segment in segments
    ]


def _derivation(source: Source, frame: int) -> Dataset:
    image = _reference(source)
    numbers = source.frame_numbers(frame)
    if numbers:
        image.ReferencedFrameNumber = numbers
    image.SpatialLocationsPreserved = "YES"
    image.PurposeOfReferenceCodeSequence = [SOURCE_IMAGE]
    return _item(
        SourceImageSequence=[image], DerivationCodeSequence=[DERIVED_BY_SEGMENTATION]
    )


def _add_references(made: Dataset, source: Source) -> None:
    """Names the image once more, with its series, as the standard asks."""
    made.ReferencedSeriesSequence = [
        _item(
            SeriesInstanceUID=source.reference.SeriesInstanceUID,
            ReferencedInstanceSequence=[_reference(source)],
        )
    ]


def _reference(source: Source) -> Dataset:
    return _item(
        ReferencedSOPClassUID=source.reference.SOPClassUID,
        ReferencedSOPInstanceUID=source.reference.SOPInstanceUID,
    )


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
