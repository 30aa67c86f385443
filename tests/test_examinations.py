"""Examinations: which images belong together, and what their views say together."""

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.models.presets import PRESETS
from keras_efsnet.prediction import archive as sharding
from keras_efsnet.prediction.examinations import summarize_views, worst_view
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.referral import (
    CLASS_UNSURE,
    MALIGNANCY_NOT_EXCLUDED,
    ReferralRule,
)

pytest.importorskip("pydicom")
from dicom_files import dataset, region, save  # noqa: E402
from pydicom import config  # noqa: E402

SECRET = "Doe^Jane"
NORMAL, BENIGN, SUSPICIOUS, MALIGNANT = 240, 200, 160, 120
"""Grey values of a scan's tissue, by which the stub network tells the class."""
ANSWERS = {
    NORMAL: [0.8, 0.15, 0.05],
    BENIGN: [0.1, 0.8, 0.1],
    SUSPICIOUS: [0.05, 0.5, 0.45],
    MALIGNANT: [0.05, 0.15, 0.8],
}


class ByTissue:
    """A predictor without a network: black is lesion, the first pixel is the class."""

    size = (64, 64)
    file = PRESETS / "efsnet_base_breast" / "model_float32.tflite"
    rules = Postprocess(
        refer=ReferralRule(
            minimum_class_probability=0.6,
            minimum_mask_margin=0,
            malignancy_limit=0.4,
        )
    )

    def __call__(self, images):
        answers = [ANSWERS[int(image[0, 0, 0])] for image in images]
        return {"mask": (images < 60) * np.float32(1), "class": np.float32(answers)}


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *_: ByTissue()
    )
    monkeypatch.setattr(sharding, "load_predictor", lambda *_: ByTissue())


def scan(tissue, width=20, height=10):
    """uint8 (64, 64): a black lesion in even tissue, or even tissue if normal."""
    image = np.full((64, 64), tissue, np.uint8)
    if tissue != NORMAL:
        image[20 : 20 + height, 20 : 20 + width] = 0
    return image


def write_png(path, tissue, **size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scan(tissue, **size)).save(path)


def write_dicom(path, tissues, **tags):
    pixels = np.stack([scan(tissue) for tissue in tissues])
    regions = [region(0, 0, 63, 63, delta=0.05)]  # 0.5 mm wide, 1 mm high
    made = dataset(pixels if len(tissues) > 1 else pixels[0], regions=regions)
    with config.disable_value_validation():
        for keyword, value in tags.items():
            setattr(made, keyword, value)
        return save(made, path)


@pytest.fixture
def run(stub, tmp_path, capsys):
    """Predicts `tmp_path/in` into `tmp_path/out`; gives code, content and lines."""

    def predict(*options, out="out"):
        arguments = [str(tmp_path / "in"), "--out", str(tmp_path / out)]
        code = main(["predict", *arguments, *options])
        return code, read(tmp_path / out), "".join(capsys.readouterr())

    (tmp_path / "in").mkdir()
    return predict


def read(out):
    file = out / "examinations.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def names(entries):
    return [entry["path"].rpartition("/")[2] for entry in entries]


def view(label, malignant, name=""):
    return {"class": label, "probabilities": {"malignant": malignant}, "path": name}


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ([view("normal", 0.1, "a"), view("normal", 0.3, "b")], "b"),
        ([view("normal", 0.4, "a"), view("benign", 0.1, "b")], "b"),
        ([view("malignant", 0.5, "a"), view("benign", 0.45, "b")], "a"),
        ([view("malignant", 0.5, "a"), view("malignant", 0.9, "b")], "b"),
        ([view("benign", 0.2, "a"), view("benign", 0.2, "b")], "a"),
    ],
)
def test_the_worst_class_then_the_highest_probability_decides(views, expected):
    assert worst_view(views)["path"] == expected


def test_without_a_class_malignant_the_surest_lesion_decides():
    rows = [("normal", 0.9), ("cyst", 0.6), ("solid", 0.7), ("solid", 0.5)]
    views = [
        {"class": label, "probabilities": {label: p}, "path": str(n)}
        for n, (label, p) in enumerate(rows)
    ]
    assert worst_view(views)["path"] == "2"
    assert worst_view(views[:1])["path"] == "0"


def test_views_of_a_model_without_classes_have_none():
    view = {"class": None, "probabilities": {}, "refer": [], "lesions": []}
    found = summarize_views([{**view, "path": "a"}, {**view, "path": "b"}])
    assert "class" not in found and "worst_view" not in found
    assert found["views"][0] == {"path": "a", "class": None}


def test_each_folder_is_an_examination(run, tmp_path):
    write_png(tmp_path / "in" / "a" / "1.png", NORMAL)
    write_png(tmp_path / "in" / "a" / "2.png", SUSPICIOUS, width=30)
    write_png(tmp_path / "in" / "a" / "3.png", BENIGN)
    write_png(tmp_path / "in" / "b" / "1.png", NORMAL)
    (tmp_path / "in" / "b" / "2.png").write_text("no image")
    code, content, printed = run("--group-by", "folder")
    assert code == 1
    assert "4 of 5 images, 1 referred, 2 examinations" in printed
    assert content["grouped_by"] == "folder"
    assert content["ungrouped"] == []
    a, b = content["examinations"]
    assert (a["number"], b["number"]) == (1, 2)
    assert a["folder"] == str(tmp_path / "in" / "a")
    assert names(a["views"]) == ["1.png", "2.png", "3.png"]
    assert (a["class"], b["class"]) == ("benign", "normal")
    assert a["probabilities"]["malignant"] == pytest.approx(0.45)
    assert names([a["worst_view"]]) == ["2.png"]
    assert a["refer"] == [MALIGNANCY_NOT_EXCLUDED, CLASS_UNSURE]
    assert (a["referred_views"], b["referred_views"]) == (1, 0)
    assert names(a["lesions"]) == ["2.png", "3.png"]
    longest = [lesion["longest_diameter_px"] for lesion in a["lesions"]]
    assert longest[0] > longest[1]
    assert a["largest_diameter_px"] == longest[0]
    assert "largest_diameter_mm" not in a
    assert b["lesions"] == []
    assert names(b["failed"]) == ["2.png"]
    assert "not an image" in b["failed"][0]["error"]


def test_the_lesions_are_those_of_predictions_json(run, tmp_path):
    write_png(tmp_path / "in" / "1.png", BENIGN)
    write_dicom(tmp_path / "in" / "2.dcm", [BENIGN, MALIGNANT])
    _, content, _ = run("--group-by", "folder")
    (entry,) = content["examinations"]
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())
    lesions = [
        (record["path"], record.get("frame"), lesion)
        for record in records
        for lesion in record["lesions"]
    ]
    assert len(lesions) == len(entry["lesions"]) == 3
    for found, (path, frame, lesion) in zip(entry["lesions"], lesions, strict=True):
        assert (found.pop("path"), found.pop("frame", None)) == (path, frame)
        assert found.keys() < lesion.keys()
        assert len(found) == 3
        assert found == {key: lesion[key] for key in found}
    millimetres = [lesion["longest_diameter_mm"] for *_, lesion in lesions[1:]]
    assert entry["largest_diameter_mm"] == max(millimetres)
    assert entry["largest_diameter_px"] == lesions[0][2]["longest_diameter_px"]


def test_the_table_has_a_row_an_examination(run, tmp_path):
    write_dicom(tmp_path / "in" / "a.dcm", [NORMAL, MALIGNANT])
    write_png(tmp_path / "in" / "b" / "ä, b.png", NORMAL)
    (tmp_path / "in" / "b" / "c.png").write_text("no image")
    _, content, _ = run("--group-by", "folder")
    with (tmp_path / "out" / "examinations.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    one, two = content["examinations"]
    assert (first["class"], second["class"]) == ("malignant", "normal")
    assert float(first["p_malignant"]) == one["probabilities"]["malignant"]
    assert first["worst_path"].endswith("a.dcm")
    assert (first["worst_frame"], second["worst_frame"]) == ("2", "")
    assert (first["views"], first["lesions"], first["failed"]) == ("2", "1", "0")
    assert float(first["largest_diameter_mm"]) == one["largest_diameter_mm"]
    assert json.loads(second["paths"]) == [
        entry["path"] for entry in (*two["views"], *two["failed"])
    ]
    assert (second["failed"], second["refer"]) == ("1", "")


def test_an_examination_without_a_prediction_has_no_class(run, tmp_path):
    write_png(tmp_path / "in" / "a" / "1.png", BENIGN)
    (tmp_path / "in" / "b").mkdir()
    (tmp_path / "in" / "b" / "1.png").write_text("no image")
    code, content, _ = run("--group-by", "folder")
    assert code == 1
    empty = content["examinations"][1]
    assert "class" not in empty
    assert "probabilities" not in empty
    assert empty["views"] == []
    assert len(empty["failed"]) == 1


@pytest.mark.parametrize("by", ["study", "patient"])
def test_dicom_files_are_grouped_without_their_identifiers(run, tmp_path, by, caplog):
    tags = {"study": "StudyInstanceUID", "patient": "PatientID"}
    for name, value, tissues in (
        ("1", f"{SECRET} 1", [NORMAL]),
        ("2", f"{SECRET} 2", [BENIGN]),
        ("3", f" {SECRET} 1 ", [NORMAL, MALIGNANT]),
    ):
        path = tmp_path / "in" / f"{name}.dcm"
        write_dicom(path, tissues, **{tags[by]: value})
    code, content, printed = run("--group-by", by)
    assert code == 0
    one, two = content["examinations"]
    assert (one["number"], two["number"]) == (1, 2)
    assert names(one["views"]) == ["1.dcm", "3.dcm", "3.dcm"]
    assert [entry.get("frame") for entry in one["views"]] == [1, 1, 2]
    assert one["worst_view"].items() >= {"frame": 2}.items()
    assert (one["class"], two["class"]) == ("malignant", "benign")
    assert "folder" not in one
    assert SECRET not in printed + caplog.text
    for file in (tmp_path / "out").iterdir():
        assert SECRET.encode() not in file.read_bytes()


def test_the_same_id_of_two_hospitals_is_two_patients(run, tmp_path):
    for name, issuer in (("1", "one"), ("2", "other"), ("3", "one")):
        path = tmp_path / "in" / f"{name}.dcm"
        write_dicom(path, [BENIGN], PatientID="7", IssuerOfPatientID=issuer)
    _, content, _ = run("--group-by", "patient")
    found = [names(entry["views"]) for entry in content["examinations"]]
    assert found == [["1.dcm", "3.dcm"], ["2.dcm"]]


@pytest.mark.parametrize("by", ["study", "patient"])
def test_what_has_no_identifier_is_refused_before_anything(run, tmp_path, by):
    tags = {"PatientID": SECRET, "StudyInstanceUID": "1.2.3"}
    write_dicom(tmp_path / "in" / "1.dcm", [BENIGN], **tags)
    write_png(tmp_path / "in" / "2.png", BENIGN)
    code, content, printed = run("--group-by", by)
    (line,) = printed.splitlines()
    assert (code, content) == (2, None)
    assert "2.png: not a DICOM file" in line
    assert "--group-by folder" in line
    assert not (tmp_path / "out").exists()
    (tmp_path / "in" / "2.png").unlink()
    write_dicom(tmp_path / "in" / "0.dcm", [BENIGN], **dict.fromkeys(tags, ""))
    code, _, printed = run("--group-by", by)
    (line,) = printed.splitlines()
    assert code == 2
    assert "0.dcm: no " in line
    assert SECRET not in line
    assert not (tmp_path / "out").exists()


def test_without_pydicom_there_is_one_line(run, tmp_path, monkeypatch):
    write_dicom(tmp_path / "in" / "1.dcm", [BENIGN], StudyInstanceUID="1.2.3")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    code, _, printed = run("--group-by", "study")
    (line,) = printed.splitlines()
    assert code == 2
    assert "1.dcm: DICOM files need pydicom" in line


@pytest.mark.parametrize("length", [140, 300, 420])
def test_a_damaged_file_belongs_to_no_study(run, tmp_path, length):
    whole = write_dicom(tmp_path / "in" / "1.dcm", [BENIGN], StudyInstanceUID="1.2.3")
    (tmp_path / "in" / "2.dcm").write_bytes(whole.read_bytes()[:length])
    code, content, _ = run("--group-by", "study")
    assert code == 1
    (entry,) = content["examinations"]
    assert names(entry["views"]) == ["1.dcm"]
    (lost,) = content["ungrouped"]
    assert names([lost]) == ["2.dcm"]
    assert "DICOM file" in lost["error"]


@pytest.fixture
def stop_at(monkeypatch):
    """Interrupts the run at its n-th image, from 1, and at all that follow."""
    whole = ByTissue.__call__

    def stop(number):
        calls = iter(range(1, 99))

        def interrupted(self, images):
            if next(calls) >= number:
                raise KeyboardInterrupt
            return whole(self, images)

        monkeypatch.setattr(ByTissue, "__call__", interrupted)

    monkeypatch.setattr("keras_efsnet.prediction.parallel.count_cores", lambda: 1)
    return stop


@pytest.mark.parametrize(
    ("at", "views", "unfinished"),
    [
        (2, ["1.png"], ["2.dcm", "3.png"]),
        (3, ["1.png", "2.dcm"], ["2.dcm", "3.png"]),  # between two frames
        (4, ["1.png", "2.dcm", "2.dcm"], ["2.dcm", "3.png"]),
    ],
)
def test_ctrl_c_says_what_is_missing(run, tmp_path, stop_at, at, views, unfinished):
    write_png(tmp_path / "in" / "1.png", BENIGN)
    write_dicom(tmp_path / "in" / "2.dcm", [NORMAL, MALIGNANT])
    write_png(tmp_path / "in" / "3.png", BENIGN)
    stop_at(at)
    code, content, _ = run("--group-by", "folder")
    assert code == 130
    (entry,) = content["examinations"]
    assert names(entry["views"]) == views
    assert [path.rpartition("/")[2] for path in entry["unfinished"]] == unfinished


def test_a_run_that_is_stopped_at_once_leaves_the_earlier_files(run, tmp_path, stop_at):
    write_png(tmp_path / "in" / "1.png", BENIGN)
    _, before, _ = run("--group-by", "folder")
    stop_at(1)
    assert run("--group-by", "folder")[:2] == (130, before)
    stop_at(1)
    assert run()[:2] == (130, before)


def test_a_later_run_replaces_or_removes_the_files(run, tmp_path):
    write_png(tmp_path / "in" / "1.png", BENIGN)
    run("--group-by", "folder")
    write_png(tmp_path / "in" / "1.png", MALIGNANT)
    _, content, _ = run("--group-by", "folder")
    assert content["examinations"][0]["class"] == "malignant"
    _, content, _ = run()
    assert content is None
    assert not (tmp_path / "out" / "examinations.csv").exists()


def test_files_of_others_are_not_removed(run, tmp_path):
    write_png(tmp_path / "in" / "1.png", BENIGN)
    (tmp_path / "out").mkdir()
    for name, text in (("examinations.json", "[1]"), ("examinations.csv", "a,b\n")):
        (tmp_path / "out" / name).write_text(text)
    code, content, _ = run()
    assert (code, content) == (0, [1])
    assert (tmp_path / "out" / "examinations.csv").read_text() == "a,b\n"


@pytest.fixture
def without_ray(monkeypatch):
    """Shards of two, predicted in this process, the last one first."""
    monkeypatch.setattr(sharding, "SHARD", 2)

    def run(rows, workers, arguments):
        worker = sharding._Worker(*arguments)
        for row in rows[::-1]:
            yield worker(row)["number"]

    monkeypatch.setattr(sharding, "_run_on_ray", run)


def test_workers_give_the_same_examinations(run, tmp_path, without_ray, stop_at):
    for name in ("a/1", "a/2", "b/1", "b/2", "b/3"):
        write_png(tmp_path / "in" / f"{name}.png", BENIGN)
    _, plain, _ = run("--group-by", "folder")
    plain_table = (tmp_path / "out" / "examinations.csv").read_text()
    options = ("--group-by", "folder", "--workers", "2")
    stop_at(3)  # in the second shard
    code, content, _ = run(*options, out="shards")
    assert code == 130
    unfinished = [entry["unfinished"] for entry in content["examinations"]]
    assert [len(paths) for paths in unfinished] == [2, 2]
    stop_at(99)  # not again
    code, content, _ = run(*options, out="shards")
    assert (code, content) == (0, plain)
    assert (tmp_path / "shards" / "examinations.csv").read_text() == plain_table


def test_a_refused_run_with_workers_changes_nothing(run, tmp_path, without_ray):
    write_png(tmp_path / "in" / "1.png", BENIGN)
    run("--group-by", "folder", "--workers", "2")
    before = (tmp_path / "out" / "examinations.json").read_bytes()
    write_png(tmp_path / "in" / "2.png", BENIGN)
    code, _, printed = run("--group-by", "folder", "--workers", "2")
    assert code == 2
    assert "holds a run of other images" in printed
    assert (tmp_path / "out" / "examinations.json").read_bytes() == before
