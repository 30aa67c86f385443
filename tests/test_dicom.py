"""DICOM files made here: pixels, frames, sizes, and no word of a patient."""

import json
import subprocess
import sys
import traceback
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_supply_chain import OFFLINE

from keras_efsnet.cli import main
from keras_efsnet.images.reading import read_frame, read_image
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.measurements import measure_area, measure_lesions
from keras_efsnet.prediction.predictor import predict_frame

pydicom = pytest.importorskip("pydicom")
from dicom_files import (  # noqa: E402
    dataset,
    region,
    save,
    write,
)
from pydicom import uid  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402

SECRET = "Doe^Jane"


@pytest.fixture
def grey():
    return make_phantom("benign", seed=1, size=(48, 64)).image


@pytest.fixture
def colour(grey):
    """RGB `(48, 64, 3)` with colours that are not grey."""
    return np.dstack([grey, 255 - grey, np.roll(grey, 5)])


def predict(folder, out, capfd, *options):
    """Runs `efsnet predict`: exit code, records, and all that was printed."""
    code = main(["predict", str(folder), "--out", str(out), *options])
    file = out / "predictions.json"
    records = json.loads(file.read_text()) if file.exists() else []
    return code, records, "".join(capfd.readouterr())


def test_grey_kinds(tmp_path, grey):
    plain = write(tmp_path / "a.dcm", grey)
    np.testing.assert_array_equal(read_image(plain), grey)
    inverse = write(tmp_path / "b.dcm", 255 - grey, "MONOCHROME1")
    np.testing.assert_array_equal(read_image(inverse), grey)
    deep = (grey.astype(np.uint16) << 4) + 7
    twelve_bits = write(tmp_path / "c.dcm", deep, stored=12)
    np.testing.assert_array_equal(read_image(twelve_bits), grey)


def test_colour_kinds(tmp_path, colour):
    expected = np.asarray(Image.fromarray(colour).convert("L"))
    rgb = write(tmp_path / "a.dcm", colour, "RGB")
    np.testing.assert_array_equal(read_image(rgb), expected)
    ybr = np.asarray(Image.fromarray(colour).convert("YCbCr"))
    full = read_image(write(tmp_path / "b.dcm", ybr, "YBR_FULL"))
    assert np.abs(full.astype(int) - expected).max() <= 2


def test_halved_colour_of_ybr_full_422(tmp_path, grey):
    ybr = np.dstack([grey, np.full_like(grey, 128), np.full_like(grey, 128)])
    made = dataset(ybr, "YBR_FULL")
    made.PhotometricInterpretation = "YBR_FULL_422"
    pairs = [grey[:, ::2], grey[:, 1::2], ybr[:, ::2, 1], ybr[:, ::2, 2]]
    made.PixelData = np.stack(pairs, axis=-1).tobytes()
    np.testing.assert_array_equal(read_image(save(made, tmp_path / "a.dcm")), grey)


def test_palette(tmp_path, grey):
    made = dataset(grey)
    made.PhotometricInterpretation = "PALETTE COLOR"
    levels = (255 - np.arange(256)).astype(np.uint16) * 257
    for name in ("Red", "Green", "Blue"):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(made, f"{name}PaletteColorLookupTableData", levels.tobytes())
    found = read_image(save(made, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(found, 255 - grey)


def test_run_length(tmp_path, colour):
    made = dataset(colour, "RGB")
    made.compress(uid.RLELossless)
    expected = np.asarray(Image.fromarray(colour).convert("L"))
    np.testing.assert_array_equal(read_image(save(made, tmp_path / "a.dcm")), expected)


def test_each_frame_is_an_entry(stub_network, tmp_path, scan, capfd):
    (tmp_path / "in").mkdir()
    frames = np.stack([scan, np.roll(scan, 9, axis=1), np.full_like(scan, 220)])
    write(tmp_path / "in" / "cine.dcm", frames)
    write(tmp_path / "in" / "still", scan)  # without an ending: only if it is named
    code, records, printed = predict(tmp_path / "in", tmp_path / "out", capfd)
    assert code == 0
    assert [record["frame"] for record in records] == [1, 2, 3]
    assert [record["boxes"] for record in records[:2]] == [
        [[26, 16, 55, 45]],
        [[35, 16, 64, 45]],
    ]
    assert records[1]["mask_file"] == "cine_frame2_mask.png"
    assert read_image(tmp_path / "out" / "cine_frame3_mask.png").max() == 0
    assert "cine.dcm, frame 2: benign" in printed
    with pytest.raises(ValueError, match=r"cine\.dcm: one image a file .* got 3"):
        read_image(tmp_path / "in" / "cine.dcm")

    _, (still,), _ = predict(tmp_path / "in" / "still", tmp_path / "out", capfd)
    assert (still["frame"], still["mask_file"]) == (1, "still_mask.png")


def test_lesion_in_millimetres(stub_network, tmp_path, scan, capfd):
    path = write(tmp_path / "a.dcm", scan, regions=[region(0, 0, 79, 59, 0.02)])
    _, (record,), _ = predict(path, tmp_path / "out", capfd)
    # Pixels of 0.2 x 0.4 mm, and a disc 29 pixels across.
    (lesion,) = record["lesions"]
    assert (lesion["width_mm"], lesion["height_mm"]) == (5.8, 11.6)
    assert lesion["area_mm2"] == record["lesion_area_mm2"]
    assert record["lesion_area_mm2"] == pytest.approx(
        record["lesion_area_px"] * 0.08, abs=0.006
    )


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [region(0, 0, 79, 59, units=4)],  # seconds
        [region(0, 0, 79, 59, kind=2)],  # M-mode
        [region(0, 0, 79, 59, delta=0.0)],
        [region(0, 0, 79, 59, delta=float("nan"))],
    ],
)
def test_no_millimetres_without_a_calibrated_plane(
    stub_network, tmp_path, scan, capfd, regions
):
    path = write(tmp_path / "a.dcm", scan, regions=regions)
    _, (record,), _ = predict(path, tmp_path / "out", capfd)
    assert "lesion_area_mm2" not in record
    (lesion,) = record["lesions"]
    assert (lesion["width_px"], lesion["height_px"]) == (29, 29)
    assert not [key for key in lesion if key.endswith(("_mm", "_mm2"))]


def test_two_regions_each_measure_their_own(predictor, tmp_path, scan):
    both = np.hstack([scan, scan])
    regions = [region(0, 0, 79, 59, 0.1), region(80, 0, 159, 59, 0.2)]
    frame = read_frame(write(tmp_path / "a.dcm", both, regions=regions))
    prediction = predict_frame(predictor, frame)
    one, other = measure_lesions(frame, prediction)
    left, right = sorted((one, other), key=lambda lesion: lesion["box"])
    x, y, end, bottom = left["box"]
    assert (left["width_mm"], left["height_mm"]) == (end - x, 2 * (bottom - y))
    assert right["height_mm"] == 2 * left["height_mm"]
    # A lesion that no one region holds has no millimetres.
    half = replace(frame, regions=frame.regions[:1])
    lesions = measure_lesions(half, prediction)
    assert measure_area(half, lesions) == {"lesion_area_mm2": None}
    assert sorted("width_mm" in lesion for lesion in lesions) == [False, True]


def test_overlay_shows_only_the_regions(stub_network, tmp_path, scan, capfd):
    path = write(tmp_path / "a.dcm", scan, regions=[region(10, 0, 79, 59)])
    predict(path, tmp_path / "out", capfd)
    overlay = np.asarray(Image.open(tmp_path / "out" / "a_overlay.png"))[:60]
    assert overlay[:, :10].max() == 0
    assert overlay[0, 10:].min() == 220


def secretive(pixels):
    """A dataset with the name wherever a name can be, some of it malformed."""
    made = dataset(pixels, regions=[region(0, 0, 79, 59)])
    for tag, (kind, *_, keyword) in pydicom.datadict.DicomDictionary.items():
        text = kind in {"PN", "LO", "SH", "LT", "ST", "UT", "UC"}
        if text and keyword and tag >> 16 not in (0x0000, 0x0002, 0x0028):
            made.add_new(tag, kind, SECRET)
    with pydicom.config.disable_value_validation():
        made.add_new("PatientBirthDate", "DA", SECRET)
        made.add_new("PatientAge", "AS", SECRET * 40)
        made.add_new("StudyInstanceUID", "UI", SECRET)
        made.add_new("PatientWeight", "LO", SECRET)
    private = made.private_block(0x0011, SECRET, create=True)
    private.add_new(0x01, "LO", SECRET)
    made.SequenceOfUltrasoundRegions[0].add_new("PatientName", "PN", SECRET)
    return made


@pytest.mark.parametrize("options", [[], ["--group-by=study"], ["--group-by=patient"]])
def test_no_word_of_a_patient_leaves_the_file(
    stub_network, tmp_path, scan, capfd, caplog, options
):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    whole = save(secretive(scan), folder / "whole.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole[:-2000])
    (folder / "cut_early.dcm").write_bytes(whole[: len(whole) // 3])
    for keyword in ("PhotometricInterpretation", "Rows", "NumberOfFrames"):
        made = secretive(scan)
        with pydicom.config.disable_value_validation():
            kind = {"Rows": "CS"}.get(keyword, "LO")
            made.add_new(keyword, kind, SECRET)
            save(made, folder / f"{keyword}.dcm")
    assert whole.count(SECRET.encode()) > 100

    code, records, printed = predict(folder, out, capfd, *options)
    assert code == 1
    assert (out / "examinations.json").exists() == bool(options)
    assert sum("error" in record for record in records) == 5
    assert "mm2" in str(records[-1])
    assert "Doe" not in printed + caplog.text
    for file in out.rglob("*"):
        assert b"Doe" not in file.read_bytes()
    with pytest.raises(ValueError) as caught:
        read_image(folder / "Rows.dcm")
    assert "Doe" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PhotometricInterpretation": "HSV"}, "photometric interpretation is none of"),
        ({"Rows": 65535, "Columns": 65535}, "65535 x 65535 pixels are more than"),
        ({"Rows": 4000}, "damaged DICOM file"),
        ({"Rows": 0}, "no image in this DICOM file"),
        ({"NumberOfFrames": 2**31 - 1}, "cannot hold 2147483647 frames"),
        ({"NumberOfFrames": -3}, "cannot hold -3 frames"),
        ({"PixelData": b"\0\0"}, "damaged DICOM file"),
    ],
)
def test_wrong_files_are_one_clear_error(tmp_path, grey, change, message):
    made = dataset(grey)
    for keyword, value in change.items():
        setattr(made, keyword, value)
    path = save(made, tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=rf"a\.dcm: .*{message}"):
        read_image(path)


@pytest.mark.parametrize(
    "syntax",
    [uid.JPEGLosslessSV1, uid.MPEG4HP41, uid.DeflatedExplicitVRLittleEndian],
)
def test_what_cannot_be_decoded_says_so(tmp_path, grey, syntax):
    made = dataset(grey)
    if syntax != uid.DeflatedExplicitVRLittleEndian:
        made.PixelData = encapsulate([made.PixelData])
        made["PixelData"].VR = "OB"
    made.file_meta.TransferSyntaxUID = syntax
    path = save(made, tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=r"a\.dcm: .*save it uncompressed"):
        read_image(path)


def test_grey_jpeg_ls_is_read_where_it_can_be(tmp_path, grey):
    pytest.importorskip("jpeg_ls")
    made = dataset(grey)
    made.compress(uid.JPEGLSLossless)
    found = read_image(save(made, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(found, grey)


def test_without_pydicom_the_extra_is_named(tmp_path, grey, monkeypatch):
    path = write(tmp_path / "a.dcm", grey)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ValueError, match=r"keras-efsnet\[dicom\]"):
        read_image(path)


def test_dicom_is_read_without_a_network(tmp_path, grey):
    path = write(tmp_path / "a.dcm", grey)
    code = f"""{OFFLINE}
from keras_efsnet.images.reading import read_image
assert read_image({str(path)!r}).shape == {grey.shape}
assert not blocked, blocked
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_text_named_dcm_is_no_image(tmp_path):
    (tmp_path / "a.dcm").write_text("no image")
    with pytest.raises(ValueError, match=r"a\.dcm: not an image; give a PNG"):
        read_image(tmp_path / "a.dcm")
