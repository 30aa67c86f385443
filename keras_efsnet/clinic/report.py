"""DICOM SR: a measurement report (TID 1500) of one image.

Each frame has a group with its class and the reasons for review, each lesion one with
its measurements.
"""

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegmentationFrame,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from keras_efsnet.clinic.algorithm import Algorithm
from keras_efsnet.clinic.codes import (
    BREAST,
    LESION,
    MEASUREMENTS,
    PREDICTED_CLASS,
    PROCEDURE,
    REFERRAL,
    code_class,
    code_probability,
)
from keras_efsnet.clinic.lesions import FrameResult, Segment
from keras_efsnet.clinic.segmentation import track
from keras_efsnet.clinic.source import Source

SERIES_NUMBER = 9002
NOT_FOR_DIAGNOSIS = (
    "Computed by keras-efsnet, research software. Not for diagnosis; no person has "
    "reviewed it."
)


def make_report(
    source: Source,
    frames: Sequence[FrameResult],
    segments: Sequence[Segment],
    algorithm: Algorithm,
    segmentation: Dataset | None,
) -> Dataset:
    """Makes the report of one image, without its patient.

    Args:
        source: the image.
        frames: those that were predicted, at least one.
        segments: their lesions.
        algorithm: what made the results.
        segmentation: the object of the segments; None if there is none.
    """
    tags = source.reference
    with_segments = "" if segmentation is None else segmentation.SOPInstanceUID
    report = MeasurementReport(
        observation_context=_observer(algorithm),
        procedure_reported=PROCEDURE,
        imaging_measurements=[
            group
            for frame in frames
            for group in _groups(source, frame, segments, algorithm, segmentation)
        ],
    )
    report[0].ContentSequence.append(_text(codes.DCM.Comment, NOT_FOR_DIAGNOSIS))
    evidence = [tags] if segmentation is None else [tags, segmentation]
    return ComprehensiveSR(
        evidence=evidence,
        content=report[0],
        series_instance_uid=algorithm.derive_uid("SR series", tags.SeriesInstanceUID),
        series_number=SERIES_NUMBER,
        sop_instance_uid=algorithm.derive_uid("SR", tags.SOPInstanceUID, with_segments),
        instance_number=source.instance_number,
        manufacturer="keras-efsnet",
        manufacturer_model_name=algorithm.name,
        device_serial_number=algorithm.weights,
        software_versions=algorithm.version,
        series_description="Measurements, not for diagnosis",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )


def _observer(algorithm: Algorithm) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=algorithm.derive_uid("device"),
        name="keras-efsnet",
        model_name=algorithm.name,
    )
    return ObservationContext(
        observer_device_context=ObserverContext(codes.DCM.Device, device)
    )


def _groups(
    source: Source,
    frame: FrameResult,
    segments: Sequence[Segment],
    algorithm: Algorithm,
    segmentation: Dataset | None,
) -> list[MeasurementsAndQualitativeEvaluations]:
    """The group of a frame, then those of its lesions."""
    lesions = [segment for segment in segments if segment.frame is frame]
    groups = [_frame_group(source, frame, algorithm, bool(lesions))]
    for segment in lesions:
        groups.append(_lesion_group(source, segment, algorithm, segmentation))
    return groups


def _frame_group(
    source: Source, frame: FrameResult, algorithm: Algorithm, has_lesion: bool
) -> MeasurementsAndQualitativeEvaluations:
    record = frame.record
    uid = algorithm.derive_uid("frame", source.reference.SOPInstanceUID, frame.number)
    number = source.frame_numbers(frame.number)
    label = record["class"]  # None if the model has no classes
    found = [QualitativeEvaluation(PREDICTED_CLASS, code_class(label))] if label else []
    presence = codes.SCT.Present if has_lesion else codes.SCT.Absent
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid, f"Frame {frame.number}" if number else "Image"
        ),
        algorithm_id=_algorithm(algorithm),
        finding_sites=[FindingSite(BREAST)],
        source_images=[_source_image(SourceImageForMeasurementGroup, source, number)],
        measurements=[
            Measurement(code_probability(name), value, codes.UCUM.NoUnits)
            for name, value in record["probabilities"].items()
        ],
        qualitative_evaluations=[*found, QualitativeEvaluation(LESION, presence)],
    )
    texts = [_text(REFERRAL, reason) for reason in record["refer"]]
    if not has_lesion:
        texts.append(_text(codes.DCM.Comment, "No lesion was found in this image."))
    group[0].ContentSequence.extend(texts)
    return group


def _lesion_group(
    source: Source,
    segment: Segment,
    algorithm: Algorithm,
    segmentation: Dataset | None,
) -> MeasurementsAndQualitativeEvaluations:
    identifier, uid = track(source, segment, algorithm)
    facts = {
        "tracking_identifier": TrackingIdentifier(uid, identifier),
        "finding_type": LESION,
        "algorithm_id": _algorithm(algorithm),
        "finding_sites": [FindingSite(BREAST)],
    }
    numbers = source.frame_numbers(segment.frame.number)
    if segmentation is None:
        image = _source_image(SourceImageForMeasurementGroup, source, numbers)
        lines = _source_image(SourceImageForRegion, source, numbers)
        return MeasurementsAndQualitativeEvaluations(
            source_images=[image], measurements=_measurements(segment, lines), **facts
        )
    reference = ReferencedSegmentationFrame(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        frame_number=segment.number,
        segment_number=segment.number,
        source_image=_source_image(SourceImageForSegmentation, source, numbers),
    )
    # The standard allows only one of the two numbers (PS3.3, table 10-3).
    del reference[0].ReferencedSOPSequence[0].ReferencedFrameNumber
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=reference, measurements=_measurements(segment), **facts
    )


def _measurements(
    segment: Segment, image: SourceImageForRegion | None = None
) -> list[Measurement]:
    """What is known of a lesion; with the diameters' ends if their image is given."""
    measurements = []
    for name, (concept, unit) in MEASUREMENTS.items():
        value = segment.measurements.get(name)
        points = segment.measurements.get(f"{name.rpartition('_')[0]}_points")
        ends = None
        if image is not None and points is not None:
            ends = [CoordinatesForMeasurement("POLYLINE", np.array(points), image)]
        if value is not None:
            measurements.append(
                Measurement(concept, value, unit, referenced_coordinates=ends)
            )
    return measurements


def _source_image(kind: type, source: Source, numbers: list[int] | None) -> Dataset:
    tags = source.reference
    return kind(tags.SOPClassUID, tags.SOPInstanceUID, numbers)


def _algorithm(algorithm: Algorithm) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=algorithm.name,
        version=algorithm.version,
        parameters=[f"{name}={text}" for name, text in algorithm.parameters.items()],
    )


def _text(name: object, value: str) -> TextContentItem:
    return TextContentItem(name, value, RelationshipTypeValues.CONTAINS)
