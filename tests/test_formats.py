"""COCO, LabelMe and CSV beside the predictions, and the way back to a dataset."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from keras_efsnet.cli import main
from keras_efsnet.images.reading import read_image
from keras_efsnet.prediction.formats import check_sources, write_formats
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.sample import load_mask


@pytest.fixture
def results(tmp_path, scan, predictor, monkeypatch):
    """The results for a disc (benign), an empty scan and a file that is no image."""
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *_: predictor
    )
    folder = tmp_path / "scans"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(scan).save(folder / "sub" / "disc.png")
    Image.fromarray(np.full_like(scan, 220)).save(folder / "empty.png")
    (folder / "text.png").write_text("no image")
    out = tmp_path / "out"
    formats = [f"--format={name}" for name in ("coco", "labelme", "csv")]
    arguments = ["predict", str(folder), "--out", str(out), *formats]
    assert main([*arguments, "--save-probabilities"]) == 1
    return out


def test_coco_is_what_pycocotools_reads(results, capsys):
    coco = COCO(results / "coco.json")
    capsys.readouterr()
    names = {image["file_name"]: image for image in coco.dataset["images"]}
    assert set(names) == {"../scans/sub/disc.png", "../scans/empty.png"}
    assert coco.loadCats(coco.getCatIds()) == [
        {"id": 1, "name": "benign"},
        {"id": 2, "name": "malignant"},
    ]
    assert coco.getAnnIds(names["../scans/empty.png"]["id"]) == []
    (lesion,) = coco.loadAnns(coco.getAnnIds(names["../scans/sub/disc.png"]["id"]))
    mask = read_image(results / "sub" / "disc_mask.png") > 0
    assert lesion["category_id"] == 1
    assert lesion["iscrowd"] == 0
    assert lesion["area"] == pytest.approx(mask.sum(), rel=0.03)
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert np.abs(np.subtract(lesion["bbox"], box)).max() <= 1
    drawn = coco.annToMask(lesion)
    assert drawn.shape == mask.shape
    assert 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum()) > 0.97


@pytest.fixture
def two_folders(tmp_path, scan, predictor, monkeypatch):
    """The results for two images `1.png`, a disc and an empty scan."""
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *_: predictor
    )
    folders = [tmp_path / name for name in ("left", "right")]
    for folder, image in zip(folders, (scan, np.full_like(scan, 220)), strict=True):
        folder.mkdir()
        Image.fromarray(image).save(folder / "1.png")
    out = tmp_path / "out"
    formats = [f"--format={name}" for name in ("coco", "labelme")]
    assert main(["predict", *map(str, folders), "--out", str(out), *formats]) == 0
    return out


def test_coco_names_equal_file_names_apart_and_comes_back(two_folders, tmp_path):
    content = json.loads((two_folders / "coco.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    assert names == ["../left/1.png", "../right/1.png"]
    manifest = tmp_path / "manifest.csv"
    arguments = [str(two_folders / "coco.json"), "--out", str(manifest)]
    assert main(["data", "index", *arguments]) == 0
    samples = {sample.name: sample.label for sample in read_dataset(manifest)}
    assert samples == {"out/left/1": "benign", "out/right/1": "normal"}


def test_labelme_files_of_equal_file_names_become_a_dataset(two_folders, tmp_path):
    data = tmp_path / "data"
    command = ["data", "from-labelme", str(two_folders / "labelme")]
    assert main([*command, "--out", str(data)]) == 0
    samples = {sample.name: sample.label for sample in read_dataset(data)}
    assert samples == {"left_1": "benign", "right_1": "normal"}


def test_labelme_names_image_and_size(results, scan):
    path = results / "labelme" / "sub" / "disc.json"
    content = json.loads(path.read_text())
    image = path.parent / content["imagePath"]
    assert (content["imageHeight"], content["imageWidth"]) == scan.shape
    np.testing.assert_array_equal(np.asarray(Image.open(image)), scan)
    (shape,) = content["shapes"]
    assert (shape["label"], shape["shape_type"]) == ("benign", "polygon")
    assert json.loads((results / "labelme" / "empty.json").read_text())["shapes"] == []


def test_csv_has_a_row_a_lesion(results):
    records = json.loads((results / "predictions.json").read_text())
    right = {
        (record["path"], lesion["number"]): lesion
        for record in records
        for lesion in record.get("lesions", ())
    }
    with (results / "lesions.csv").open(newline="") as file:
        rows = {(row["path"], int(row["number"])): row for row in csv.DictReader(file)}
    assert rows.keys() == right.keys()
    assert rows
    for place, lesion in right.items():
        assert float(rows[place]["depth_px"]) == lesion["depth_px"]
        assert json.loads(rows[place]["box"]) == lesion["box"]


def test_csv_has_a_row_an_image_failed_ones_too(results):
    with (results / "predictions.csv").open(newline="") as file:
        rows = {row["path"].rpartition("/")[2]: row for row in csv.DictReader(file)}
    assert set(rows) == {"disc.png", "empty.png", "text.png"}
    assert rows["disc.png"]["class"] == "benign"
    assert float(rows["disc.png"]["p_benign"]) == pytest.approx(0.7)
    assert len(json.loads(rows["disc.png"]["boxes"])) == 1
    assert "not an image" in rows["text.png"]["error"]
    assert rows["text.png"]["class"] == ""


def test_probabilities_have_16_bits_at_the_image_size(results, scan):
    records = json.loads((results / "predictions.json").read_text())
    (file,) = (r["probability_file"] for r in records if "disc" in r["path"])
    with Image.open(results / file) as image:
        assert image.mode == "I;16"
        probability = np.asarray(image) / 65535
    assert probability.shape == scan.shape
    mask = read_image(results / file.replace("_probability", "_mask")) > 0
    np.testing.assert_array_equal(probability > 0.5, mask)
    assert len(np.unique(probability)) > 5


def test_labelme_files_for_dicom_are_refused(tmp_path):
    clip = tmp_path / "clip"
    clip.write_bytes(bytes(128) + b"DICM")
    with pytest.raises(ValueError, match="LabelMe opens no DICOM"):
        check_sources([clip], ["csv", "labelme"])
    check_sources([clip], ["csv", "coco"])


def test_labelme_files_for_pages_are_refused(tmp_path, scan):
    Image.fromarray(np.zeros_like(scan)).save(tmp_path / "a_mask.png")
    record = {"path": "a.tif", "frame": 2, "mask_file": "a_mask.png"}
    with pytest.raises(ValueError, match=r"a\.tif: LabelMe opens only the first page"):
        write_formats(tmp_path, [record], ["labelme"])


def correct(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def move_right(content):
    (shape,) = content["shapes"]
    shape["points"] = [[x + 20, y] for x, y in shape["points"]]
    shape["label"] = "malignant"


def test_corrected_files_become_a_dataset(results, tmp_path, capsys):
    correct(results / "labelme" / "sub" / "disc.json", move_right)
    data = tmp_path / "data"
    command = ["data", "from-labelme", str(results / "labelme"), "--out", str(data)]
    assert main(command) == 0
    assert "malignant: 1" in capsys.readouterr().out
    normal, malignant = read_dataset(data)
    assert (normal.stem, malignant.stem) == ("empty", "disc")
    assert (normal.label, malignant.label) == ("normal", "malignant")
    before = read_image(results / "sub" / "disc_mask.png") > 0
    after = load_mask(malignant, before.shape)
    moved = np.roll(before, 20, axis=1)
    assert 2 * (after & moved).sum() / (after.sum() + moved.sum()) > 0.97
    assert not load_mask(normal, before.shape).any()
    assert main(command) == 2
    assert "not an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["shapes"][0].update(label="cyst"), "are benign or all malignant"),
        (lambda c: c["shapes"][0].update(shape_type="circle"), "must be a polygon"),
        (lambda c: c["shapes"][0].update(points=[[1, 2]]), "three points"),
        (lambda c: c.update(imageHeight=61), "has another size"),
        (lambda c: c.update(imagePath="../gone.png"), "gone.png: No such file"),
        (lambda c: c.pop("shapes"), "no LabelMe file"),
        (lambda c: c.update(imagePath="disc.json"), "images end in .png"),
    ],
)
def test_wrong_files_are_one_line_and_nothing_is_written(
    change, message, results, tmp_path, capsys
):
    path = results / "labelme" / "sub" / "disc.json"
    correct(path, change)
    capsys.readouterr()
    data = tmp_path / "data"
    arguments = ["data", "from-labelme", str(results / "labelme"), "--out", str(data)]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not data.exists()


def test_a_folder_without_labelme_files(tmp_path, capsys):
    assert main(["data", "from-labelme", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "no LabelMe file here" in capsys.readouterr().err


def test_an_image_named_like_a_mask_is_refused(results, tmp_path, capsys):
    """Else `disc_mask.png` would be written over the mask of `disc.png`."""
    scans = tmp_path / "scans" / "sub"
    (scans / "disc_mask.png").write_bytes((scans / "disc.png").read_bytes())
    path = results / "labelme" / "sub" / "disc.json"
    content = json.loads(path.read_text())
    content["imagePath"] = content["imagePath"].replace("disc", "disc_mask")
    path.with_name("other.json").write_text(json.dumps(content))
    data = tmp_path / "data"
    arguments = ["data", "from-labelme", str(results / "labelme"), "--out", str(data)]
    capsys.readouterr()
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "disc_mask.png: a mask by its name" in line and "rename it" in line
    assert not data.exists()
