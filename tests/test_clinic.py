"""DICOM SEG and SR of `efsnet predict`, read back by other programs."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.clinic.algorithm import Algorithm, describe_algorithm
from keras_efsnet.clinic.objects import make_objects
from keras_efsnet.clinic.writing import write_objects
from keras_efsnet.images.components import label_components
from keras_efsnet.images.reading import read_image
from keras_efsnet.models.presets import PRESETS, file_digest
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.planning import plan_jobs
from keras_efsnet.prediction.postprocess import Postprocess

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
from dicom_files import dataset, region, save  # noqa: E402
from highdicom.seg import segread  # noqa: E402
from highdicom.sr import srread  # noqa: E402
from pydicom.encaps import encapsulate, get_frame  # noqa: E402
from scanner_files import (  # noqa: E402
    PATIENT,
    SECRET,
    SECRETS,
    SOURCES,
    clip,
    complete,
    errors_of,
    lesions,
    single,
)

needs_dciodvfy = pytest.mark.skipif(
    not shutil.which("dciodvfy"), reason="dciodvfy is missing: apt install dicom3tools"
)
needs_dcmtk = pytest.mark.skipif(
    not shutil.which("dcmdump"), reason="dcmdump is missing: apt install dcmtk"
)
EXCEPTIONS: dict[str, set[str]] = {}
"""Errors of dciodvfy that we accept, by source; there are none."""

ALGORITHM = Algorithm("EFSNet test", "1.2", "ab" * 32, {"file": "m.tflite"})


@pytest.fixture(autouse=True)
def dark_is_lesion(predictor, monkeypatch):
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *_: predictor
    )


def run(folder, made, *arguments):
    """Predicts an object; (exit code, output folder)."""
    file = folder if made is None else save(made, folder / "scan.dcm")
    formats = arguments or ("--format=dicom-seg", "--format=dicom-sr")
    out = file.with_name("out")
    return main(["predict", str(file), "--out", str(out), *formats]), out


def records_of(out):
    return json.loads((out / "predictions.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def results(tmp_path_factory, request):
    """(source, records, masks, SEG's path, SR's path) of each kind of source."""
    found = {}
    for name, make in SOURCES.items():
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "keras_efsnet.prediction.loading.load_predictor",
                lambda *_: request.getfixturevalue("dark_predictor"),
            )
            code, out = run(folder, make())
        assert code == 0
        records = records_of(out)
        masks = [read_image(out / record["mask_file"]) > 0 for record in records]
        objects = out / "scan_seg.dcm", out / "scan_sr.dcm"
        found[name] = (folder / "scan.dcm", records, masks, *objects)
    return found


@pytest.fixture(scope="module")
def dark_predictor():
    from conftest import DarkIsLesion

    return DarkIsLesion()


@pytest.fixture(params=SOURCES)
def result(results, request):
    return (request.param, *results[request.param])


def texts_of(report):
    """All texts of a report's content."""
    elements = pydicom.dcmread(report).iterall()
    return [element.value for element in elements if element.keyword == "TextValue"]


def lesion_masks(masks):
    """Each lesion alone, in the order of the records and of their `lesions`."""
    labels = map(label_components, masks)
    return [one == n for one in labels for n in range(1, one.max() + 1)]


@needs_dciodvfy
def test_objects_have_no_error_by_dciodvfy(result):
    name, source, *_, seg, sr = result
    allowed = errors_of(source) | EXCEPTIONS.get(name, set())
    assert errors_of(seg) <= allowed
    assert errors_of(sr) <= allowed
    assert allowed == set()


@needs_dciodvfy
def test_dciodvfy_does_find_errors(result, tmp_path):
    seg = pydicom.dcmread(result[-2])
    del seg.SegmentSequence
    assert any("SegmentSequence" in e for e in errors_of(save(seg, tmp_path / "a")))


def test_segments_are_the_masks_lesions(result):
    _, source, records, masks, seg, _ = result
    expected = lesion_masks(masks)
    assert len(expected) == sum(len(record["lesions"]) for record in records) > 0
    read = pydicom.dcmread(seg)
    pixels = read.pixel_array.reshape(-1, *masks[0].shape)
    np.testing.assert_array_equal(pixels, expected)
    numbers = [item.SegmentNumber for item in read.SegmentSequence]
    assert numbers == list(range(1, len(expected) + 1))
    labels = [item.SegmentLabel for item in read.SegmentSequence]
    several = len(records) > 1
    assert labels == [
        f"Frame {r['frame']}, lesion {n['number']}"
        if several
        else f"Lesion {n['number']}"
        for r in records
        for n in r["lesions"]
    ]
    meanings = read.SegmentSequence[0]
    assert meanings.SegmentedPropertyTypeCodeSequence[0].CodeValue == "52988006"
    assert meanings.AnatomicRegionSequence[0].CodeValue == "76752008"


def test_highdicom_lays_the_segments_over_the_source(result):
    _, source, records, masks, seg, _ = result
    uid = pydicom.dcmread(source).SOPInstanceUID
    read = segread(seg)
    numbers = [record["frame"] for record in records]
    options = {"combine_segments": True, "relabel": False}
    options["assert_missing_frames_are_empty"] = True
    if len(records) > 1:
        found = read.get_pixels_by_source_frame(uid, numbers, **options)
    else:
        found = read.get_pixels_by_source_instance([uid], **options)
    np.testing.assert_array_equal(found > 0, masks)


@needs_dcmtk
def test_dcmtk_reads_the_same_pixels(result, tmp_path):
    *_, masks, seg, sr = result
    raw = tmp_path / "raw"
    raw.mkdir()
    subprocess.run(["dcmdump", "+W", raw, seg], check=True, capture_output=True)
    (file,) = raw.iterdir()
    bits = np.unpackbits(np.fromfile(file, np.uint8), bitorder="little")
    expected = np.stack(lesion_masks(masks)).ravel()
    np.testing.assert_array_equal(bits[: expected.size], expected)
    assert not bits[expected.size :].any()
    done = subprocess.run(["dsrdump", "+Pl", sr], capture_output=True, check=True)
    assert done.stderr == b""
    assert b"Not for diagnosis" in done.stdout


KEYS = {
    "Long axis": "longest_diameter",
    "Short axis": "perpendicular_diameter",
    "Width": "width",
    "Height": "height",
    "Depth": "depth",
    "Area": "area",
}


def key_of(measurement):
    """The key in `lesions` of a measurement of the report."""
    unit = {"mm": "mm", "mm2": "mm2", "{pixels}": "px"}[measurement.unit.value]
    return f"{KEYS[measurement.name.meaning]}_{unit}"


def test_the_report_measures_what_predictions_json_does(result):
    _, source, records, _, seg, sr = result
    groups = srread(sr).content.get_planar_roi_measurement_groups()
    expected = [lesion for record in records for lesion in record["lesions"]]
    segments = segread(seg).SegmentSequence
    assert len(groups) == len(expected) == len(segments)
    for group, lesion, segment in zip(groups, expected, segments, strict=True):
        found = {key_of(one): one.value for one in group.get_measurements()}
        lengths = ("_mm", "_mm2", "_px")
        assert found == {k: v for k, v in lesion.items() if k.endswith(lengths)}
        assert group.tracking_uid == segment.TrackingUID
        reference = group.referenced_segmentation_frame[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSegmentNumber == segment.SegmentNumber
        assert reference.ReferencedSOPInstanceUID == segread(seg).SOPInstanceUID


def test_the_report_has_class_probabilities_and_reasons_of_each_frame(result):
    _, source, records, _, _, sr = result
    groups = srread(sr).content.get_image_measurement_groups()
    assert len(groups) == len(records)
    for group, record in zip(groups, records, strict=True):
        found = {one.name.value: one.value for one in group.get_measurements()}
        assert found == {
            f"P_{name.upper()}": p for name, p in record["probabilities"].items()
        }
        values = {
            one.name.meaning: one.value.meaning
            for one in group.get_qualitative_evaluations()
        }
        presence = "Present" if record["lesions"] else "Absent"
        assert values["Predicted class of the image"].lower() == record["class"]
        assert values["Lesion"] == presence


@pytest.mark.parametrize(
    ("labels", "tasks", "expected"),
    [
        (("cyst", "solid mass", "normal"), ("mask", "class"), "solid mass"),
        (("Zyste groß", "囊肿", "normal"), ("mask", "class"), "&#22218;&#32959;"),
        ((), ("mask",), None),
    ],
)
def test_the_report_has_the_models_own_classes(
    tmp_path, predictor, labels, tasks, expected
):
    predictor.rules = Postprocess(labels=labels, tasks=tasks)
    code, out = run(tmp_path, single(), "--format=dicom-sr")
    assert code == 0
    group, *_ = srread(out / "scan_sr.dcm").content.get_image_measurement_groups()
    names = [one.name.meaning for one in group.get_measurements()]
    known = [label.encode("ascii", "xmlcharrefreplace").decode() for label in labels]
    assert names == [f"Probability of class {label}" for label in known]
    values = {
        one.name.meaning: one.value.meaning
        for one in group.get_qualitative_evaluations()
    }
    assert values.get("Predicted class of the image") == expected
    assert values["Lesion"] == "Present"
    if shutil.which("dciodvfy"):
        assert errors_of(out / "scan_sr.dcm") == set()


def test_a_model_without_a_mask_makes_no_objects(tmp_path, predictor, capsys):
    predictor.rules = Postprocess(tasks=("class",))
    code, out = run(tmp_path, single())
    assert code == 2
    assert "dicom-seg needs a model with a mask" in capsys.readouterr().err
    assert not list(out.iterdir())


def test_objects_name_their_frames(results):
    source, records, _, seg, sr = results["clip"]
    origin = pydicom.dcmread(source)
    frames = [
        group.DerivationImageSequence[0].SourceImageSequence[0]
        for group in pydicom.dcmread(seg).PerFrameFunctionalGroupsSequence
    ]
    assert [int(frame.ReferencedFrameNumber) for frame in frames] == [1, 1, 3]
    for frame in frames:
        assert frame.ReferencedSOPInstanceUID == origin.SOPInstanceUID
        assert frame.SpatialLocationsPreserved == "YES"
    evidence = {uid for *_, uid, _ in srread(sr).get_evidence()}
    assert evidence == {origin.SOPInstanceUID, pydicom.dcmread(seg).SOPInstanceUID}


def test_only_the_patient_and_the_study_are_copied(result):
    _, source, *_, seg, sr = result
    origin = pydicom.dcmread(source)
    for file in (seg, sr):
        made = pydicom.dcmread(file)
        assert {name: made[name].value for name in PATIENT} == PATIENT
        assert made.SeriesInstanceUID != origin.SeriesInstanceUID
        assert made.InstanceNumber == origin.InstanceNumber
        assert SECRET.encode() not in file.read_bytes()
        assert not made.get("ReferringPhysicianName")
        for name in SECRETS.keys() - {"SeriesDescription", "DeviceSerialNumber"}:
            assert not made.get(name)


def test_frame_of_reference_and_plane_are_kept_and_none_made_up(results):
    for name, (source, *_, seg, sr) in results.items():
        origin, made = pydicom.dcmread(source), pydicom.dcmread(seg)
        expected = origin.get("FrameOfReferenceUID")
        assert made.get("FrameOfReferenceUID") == expected
        assert (expected is not None) == (name == "referenced")
        assert "FrameOfReferenceUID" not in pydicom.dcmread(sr)
        (shared,) = made.SharedFunctionalGroupsSequence
        assert len(shared) == (0 if expected is None else 2)
        for frame in made.PerFrameFunctionalGroupsSequence:
            assert ("PlanePositionSequence" in frame) == (expected is not None)
    (position,) = frame.PlanePositionSequence
    (orientation,) = shared.PlaneOrientationSequence
    (measures,) = shared.PixelMeasuresSequence
    assert position.ImagePositionPatient == origin.ImagePositionPatient
    assert orientation.ImageOrientationPatient == origin.ImageOrientationPatient
    assert measures.PixelSpacing == origin.PixelSpacing


def test_lossy_compression_of_the_source_is_told(results):
    read = {name: pydicom.dcmread(files[3]) for name, files in results.items()}
    assert read["lossy"].LossyImageCompression == "01"
    assert read["lossy"].LossyImageCompressionMethod == "ISO_10918_1"
    assert read["single"].LossyImageCompression == "00"


def test_a_lesion_that_is_followed_has_one_uid_in_all_frames(tmp_path):
    moving = [lesions((30, 25 + n, 12), (30, 65, 6)) for n in range(4)]
    made = complete(dataset(np.stack(moving), regions=[region(0, 0, 79, 59)]))
    _, out = run(tmp_path, made)
    tracks = [one["track"] for r in records_of(out) for one in r["lesions"]]
    assert sorted(set(tracks)) == [1, 2]
    segments = pydicom.dcmread(out / "scan_seg.dcm").SegmentSequence
    assert [one.TrackingID for one in segments] == [f"Track {n}" for n in tracks]
    assert len({one.TrackingUID for one in segments}) == 2
    groups = srread(out / "scan_sr.dcm").content.get_planar_roi_measurement_groups()
    assert [g.tracking_uid for g in groups] == [one.TrackingUID for one in segments]


def test_what_was_anonymous_stays_so(tmp_path):
    made = single()
    made.PatientName = made.PatientID = "X1"
    made.PatientBirthDate = made.PatientSex = ""
    made.PatientIdentityRemoved, made.DeidentificationMethod = "YES", "Profile"
    _, out = run(tmp_path, made)
    for name in ("scan_seg.dcm", "scan_sr.dcm"):
        read = pydicom.dcmread(out / name)
        assert (read.PatientName, read.PatientBirthDate) == ("X1", "")
        assert read.PatientIdentityRemoved == "YES"
        assert read.DeidentificationMethod == "Profile"


def test_an_image_without_lesion_has_a_report_that_says_so(tmp_path):
    made = single()
    made.PixelData = lesions().tobytes()
    code, out = run(tmp_path, made)
    assert code == 0
    assert not (out / "scan_seg.dcm").exists()
    (record,) = records_of(out)
    assert (record.get("seg_file"), record["sr_file"]) == (None, "scan_sr.dcm")
    content = srread(out / "scan_sr.dcm").content
    assert content.get_planar_roi_measurement_groups() == []
    assert "No lesion was found in this image." in texts_of(out / "scan_sr.dcm")


def test_a_later_run_removes_the_objects_of_an_earlier_one(tmp_path):
    _, out = run(tmp_path, single())
    assert (out / "scan_seg.dcm").exists()
    assert {(r["seg_file"], r["sr_file"]) for r in records_of(out)} == {
        ("scan_seg.dcm", "scan_sr.dcm")
    }
    run(tmp_path, single(), "--format=dicom-sr")
    assert not (out / "scan_seg.dcm").exists()
    assert (out / "scan_sr.dcm").exists()
    run(tmp_path, single(), "--format=csv")
    assert not (out / "scan_sr.dcm").exists()


def test_a_report_alone_has_the_ends_of_the_diameters(tmp_path):
    _, out = run(tmp_path, clip(), "--format=dicom-sr")
    assert not (out / "scan_seg.dcm").exists()
    content = srread(out / "scan_sr.dcm").content
    assert content.get_planar_roi_measurement_groups() == []
    frames = [r for r in records_of(out)]
    expected = [
        lesion[f"{name}_points"]
        for record in frames
        for lesion in record["lesions"]
        for name in ("longest_diameter", "perpendicular_diameter")
    ]
    found = [
        coordinates.value
        for group in content.get_image_measurement_groups()
        for measurement in group.get_measurements()
        for coordinates in measurement.referenced_coordinates
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if shutil.which("dciodvfy"):
        assert errors_of(out / "scan_sr.dcm") == set()


def test_a_damaged_frame_is_not_in_the_objects(tmp_path, capsys):
    made = clip()
    made.compress(pydicom.uid.RLELossless)
    frames = [get_frame(made.PixelData, n, number_of_frames=3) for n in range(3)]
    made.PixelData = encapsulate([b"\0" * 70, *frames[1:]])
    code, out = run(tmp_path, made)
    assert code == 1
    assert "scan.dcm" in capsys.readouterr().err
    groups = pydicom.dcmread(out / "scan_seg.dcm").PerFrameFunctionalGroupsSequence
    (image,) = groups[0].DerivationImageSequence[0].SourceImageSequence
    assert (len(groups), image.ReferencedFrameNumber) == (1, 3)
    groups = srread(out / "scan_sr.dcm").content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["Frame 2", "Frame 3"]


def test_an_interrupted_clip_has_no_objects(tmp_path):
    _, out = run(tmp_path, clip(), "--format=csv")
    records = records_of(out)
    jobs = plan_jobs([tmp_path / "scan.dcm"], out)
    kinds = ("dicom-seg", "dicom-sr")
    assert write_objects(out, jobs, records[:2], ALGORITHM, kinds) == []
    assert not list(out.glob("*.dcm"))
    assert write_objects(out, jobs, records, ALGORITHM, kinds) == []
    assert len(list(out.glob("*.dcm"))) == 2


def identifiers(objects):
    return [
        str(element.value)
        for made in objects
        for element in made.iterall()
        if element.VR == "UI"
    ]


def test_the_same_run_has_the_same_uids(results):
    source, records, masks, *_ = results["clip"]
    tags = pydicom.dcmread(source)

    def uids(algorithm=ALGORITHM, kinds=("dicom-seg", "dicom-sr"), tags=tags):
        return identifiers(make_objects(tags, records, masks, algorithm, kinds))

    first = uids()
    assert uids() == first
    assert all(uid.startswith(("2.25.", "1.2.840.10008.")) for uid in first)
    own = {uid for uid in first if len(uid) > 20 and uid.startswith("2.25.")}
    assert len(own) > 8
    for other in (
        replace(ALGORITHM, weights="cd" * 32),
        replace(ALGORITHM, options={"file": "n.tflite"}),
    ):
        assert own.isdisjoint(uids(other))
    tags.SOPInstanceUID = "2.25.999"
    series = [made.SeriesInstanceUID for made in make_objects(*results_of(results))]
    again = make_objects(tags, records, masks, ALGORITHM)
    assert [made.SeriesInstanceUID for made in again] == series
    assert {made.SOPInstanceUID for made in again}.isdisjoint(first)


def results_of(results):
    source, records, masks, *_ = results["clip"]
    return pydicom.dcmread(source), records, masks, ALGORITHM


def test_the_objects_name_the_weights(results, predictor):
    _, _, _, seg, sr = results["single"]
    digest = file_digest(predictor.file.read_bytes())
    item = pydicom.dcmread(seg).SegmentSequence[0]
    (algorithm,) = item.SegmentationAlgorithmIdentificationSequence
    assert f"weights SHA-256={digest}" in algorithm.AlgorithmParameters
    assert f"weights SHA-256={digest}" in texts_of(sr)


def test_a_preset_is_named_with_the_hash_of_its_card():
    model = load_predictor("efsnet_base_breast", kind="int8")
    algorithm = describe_algorithm(model)
    folder = PRESETS / "efsnet_base_breast"
    card = json.loads((folder / "card.json").read_text())
    assert algorithm.name == "EFSNet efsnet_base_breast"
    assert algorithm.weights == card["sha256"]["model_int8.tflite"]
    assert algorithm.options == {
        "file": "model_int8.tflite",
        "card SHA-256": file_digest((folder / "card.json").read_bytes()),
    }


def test_other_files_are_refused_before_anything_is_predicted(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    save(single(), tmp_path / "in" / "a.dcm")
    Image.fromarray(lesions()).save(tmp_path / "in" / "b.png")
    out = tmp_path / "out"
    arguments = ["predict", str(tmp_path / "in"), "--out", str(out)]
    assert main([*arguments, "--format=dicom-seg"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "b.png: not a DICOM file" in line and "--format dicom-seg" in line
    assert not out.exists()


def test_without_highdicom_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    code, out = run(tmp_path, single())
    (line,) = capsys.readouterr().err.splitlines()
    assert (code, out.exists()) == (2, False)
    assert 'pip install "keras-efsnet[clinic]"' in line


@pytest.mark.parametrize(
    ("keyword", "problem"),
    [
        ("StudyInstanceUID", "the tag StudyInstanceUID is missing"),
        ("SOPInstanceUID", "the tag SOPInstanceUID is missing"),
        ("SeriesInstanceUID", "the tag SeriesInstanceUID is missing"),
    ],
)
def test_an_image_without_its_uids_is_one_line(tmp_path, capsys, keyword, problem):
    folder = tmp_path / "in"
    folder.mkdir()
    save(single(), folder / "a.dcm")
    made = single()
    setattr(made, keyword, "")
    made.preamble = bytes(128)
    made.save_as(folder / "b.dcm")
    out = tmp_path / "out"
    formats = ("--format=dicom-seg", "--format=dicom-sr")
    assert main(["predict", str(folder), "--out", str(out), *formats]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"b.dcm: {problem}" in line
    assert sorted(file.name for file in out.glob("*.dcm")) == [
        "a_seg.dcm",
        "a_sr.dcm",
    ]
    assert len(list(out.glob("*_mask.png"))) == 2


def test_no_value_of_a_tag_is_in_a_message(tmp_path, capsys, caplog):
    """highdicom and pydicom quote what they find wrong."""
    made = single()
    with pytest.warns(UserWarning):
        made.PatientName = f"{SECRET}=" * 5 + "\\" + SECRET
        made.StudyDate = made.StudyTime = made.PatientBirthDate = SECRET
        made.PatientSex = made.StudyInstanceUID = SECRET
        made.SpecificCharacterSet = f"ISO {SECRET}"
        made.preamble = bytes(128)
        made.save_as(tmp_path / "scan.dcm")
    caplog.clear()
    run(tmp_path / "scan.dcm", None)
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err + caplog.text


def test_a_wrong_character_set_is_not_quoted(tmp_path, capfd, caplog):
    """pydicom warns of it once more when an object is written."""
    content = save(single(), tmp_path / "a.dcm").read_bytes()
    wrong = content.replace(b"ISO_IR 100", b"ISO_GEHEIM")
    assert wrong != content
    file = tmp_path / "scan.dcm"
    file.write_bytes(wrong)
    caplog.clear()
    code, _ = run(file, None)
    captured = capfd.readouterr()
    assert code == 0
    assert "GEHEIM" not in captured.out + captured.err + caplog.text


def test_masks_of_another_size_are_refused(results):
    source, records, masks, *_ = results["clip"]
    wrong = [mask[1:] for mask in masks]
    with pytest.raises(ValueError, match=r"60 rows and 80 columns, got \(59, 80\)"):
        make_objects(pydicom.dcmread(source), records, wrong, ALGORITHM)


def test_no_predicted_frame_is_no_object(results):
    tags = pydicom.dcmread(results["clip"][0])
    assert make_objects(tags, [], [], ALGORITHM) == []


def test_masks_whose_frames_are_not_whole_bytes(tmp_path):
    grey = np.stack([lesions((5, 4, 3), (3, 10, 2), size=(9, 13))] * 7)
    made = clip()
    made.update(dataset(grey, regions=[region(0, 0, 12, 8)]))
    made.SOPInstanceUID = "2.25.7"
    _, out = run(tmp_path, made)
    masks = [read_image(out / r["mask_file"]) > 0 for r in records_of(out)]
    pixels = pydicom.dcmread(out / "scan_seg.dcm").pixel_array
    np.testing.assert_array_equal(pixels, lesion_masks(masks))
