"""`index_datasets`: a manifest of what people have, with masks drawn beside it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.labels import LABELS
from keras_efsnet.training.datasets import load_mask, read_dataset, read_manifest
from keras_efsnet.training.datasets.classes import parse_names
from keras_efsnet.training.datasets.coco import decode_runs
from keras_efsnet.training.datasets.importing import index_datasets
from keras_efsnet.training.datasets.labelme import read_annotations, write_dataset

SIZE = (8, 10)
GREY = np.full(SIZE, 90)
BOX = np.zeros(SIZE, bool)
BOX[2:5, 3:7] = True
CORNERS = [3, 2, 7, 2, 7, 5, 3, 5]


def save(path: Path, pixels: np.ndarray = GREY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def index(tmp_path: Path, *paths: Path, **options) -> dict:
    out = tmp_path / "out" / "manifest.csv"
    written = index_datasets(list(paths), out, **options)
    read = read_manifest(out)
    assert [sample.name for sample in read] == [sample.name for sample in written]
    return {sample.name: sample for sample in read}


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def assert_box(sample) -> None:
    np.testing.assert_array_equal(load_mask(sample, SIZE), BOX)


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def coco(tmp_path) -> Path:
    """Three images: a polygon, run lengths, and none."""
    folder = tmp_path / "clinic"
    for name in "abc":
        save(folder / "images" / f"{name}.png")
    columns = BOX.T.ravel()
    borders = np.flatnonzero(np.diff(np.r_[False, columns])).tolist()
    runs = np.diff([0, *borders, columns.size]).tolist()
    content = {
        "images": [{"id": i, "file_name": f"{n}.png"} for i, n in enumerate("abc")],
        "categories": [{"id": 7, "name": "Benign"}, {"id": 8, "name": "cancer"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 7, "segmentation": [CORNERS]},
            {
                "id": 2,
                "image_id": 1,
                "category_id": 8,
                "segmentation": {"size": list(SIZE), "counts": runs},
            },
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


NAMES = parse_names(["cancer=malignant"])


def test_coco(coco, tmp_path):
    before = files(coco)

    samples = index(tmp_path, coco, names=NAMES)

    labels = {name: sample.label for name, sample in samples.items()}
    assert labels == {
        "clinic/a": "benign",
        "clinic/b": "malignant",
        "clinic/c": "normal",
    }
    assert_box(samples["clinic/a"])
    assert_box(samples["clinic/b"])
    assert not load_mask(samples["clinic/c"], SIZE).any()
    (mask,) = samples["clinic/a"].masks
    assert mask == tmp_path / "out" / "manifest_masks" / "clinic" / "a.png"
    assert set(np.unique(np.asarray(Image.open(mask)))) == {0, 255}
    assert files(coco) == before


def test_coco_file_by_itself(coco, tmp_path):
    assert len(index(tmp_path, coco / "annotations.json", names=NAMES)) == 3


def change_coco(folder: Path, change) -> None:
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["categories"][0].update(name="mass"),
            r"a\.png: the class 'mass' is none of .*--class 'mass=benign'",
        ),
        (lambda c: c["annotations"][0].update(segmentation=[]), "1 has no outline"),
        (
            lambda c: c["annotations"][1]["segmentation"].update(size=[9, 9]),
            r"b\.png: run lengths of \[9, 9\]",
        ),
        (
            lambda c: c["annotations"][1]["segmentation"].update(counts=[5, 5]),
            r"b\.png: damaged run lengths",
        ),
        (
            lambda c: c["annotations"][1].update(image_id=0),
            r"a\.png: an image has one class, but its lesions are benign, malignant",
        ),
        (lambda c: c["images"][0].update(file_name="x.png"), "x.png is not there"),
        (lambda c: c["images"][0].pop("id"), "no COCO file .*KeyError"),
        (
            lambda c: c["images"][0].update(height=80, width=60),
            r"a\.png: drawn on an image of 80 x 60 \(height x width\), but it has",
        ),
        (
            lambda c: c["annotations"][0].update(segmentation=[[*range(900, 906)]]),
            r"a\.png: an outline holds no pixel of the image",
        ),
        (
            lambda c: c["annotations"][0].update(image_id="0"),
            "annotation 1 is of the image '0', but no image has this id",
        ),
        (lambda c: c["images"][2].update(id=0), "images: two have the same id"),
        (lambda c: c["categories"][0].update(id=8), "categories: two have the same id"),
    ],
)
def test_coco_is_checked_and_nothing_is_left(coco, tmp_path, change, message):
    change_coco(coco, change)

    with pytest.raises(ValueError, match=message):
        index(tmp_path, coco, names=NAMES)
    assert not files(tmp_path / "out") if (tmp_path / "out").exists() else True


def test_name_that_leaves_the_folder_writes_inside_the_masks(coco, tmp_path):
    save(coco / "else" / "d.png")
    change_coco(coco, lambda c: c["images"][0].update(file_name="../else/d.png"))

    sample = index(tmp_path, coco, names=NAMES)["clinic/d"]

    assert sample.masks[0].parent.parent.name == "manifest_masks"


def test_coco_images_of_two_folders_have_two_names(tmp_path):
    """As `efsnet predict one two --format coco` lists them."""
    folder = tmp_path / "results"
    names = ["../one/1.png", "../two/1.png", "../two/2.png"]
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    for name in names:
        save(tmp_path / name[3:])
    folder.mkdir()
    content = {
        "images": images,
        "categories": [{"id": 1, "name": "benign"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [CORNERS]}
        ],
    }
    (folder / "coco.json").write_text(json.dumps(content))

    samples = index(tmp_path, folder / "coco.json")

    assert list(samples) == ["results/one/1", "results/two/1", "results/2"]
    assert not load_mask(samples["results/one/1"], SIZE).any()
    assert_box(samples["results/two/1"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("A.png", r"A\.png: its name differs from a\.png in its ending or in capital"),
        ("a.jpg", r"a\.jpg: its name differs from a\.png in its ending or in capital"),
        ("a.png", r"a\.png: annotated twice; keep one"),
        ("a_mask.png", r"a_mask\.png: a mask by its name, .*; rename it"),
    ],
)
def test_coco_images_whose_masks_would_be_one_file(coco, tmp_path, name, message):
    save(coco / "images" / name)
    change_coco(coco, lambda c: c["images"][2].update(file_name=name))

    with pytest.raises(ValueError, match=message):
        index(tmp_path, coco, names=NAMES)
    assert not files(tmp_path / "out") if (tmp_path / "out").exists() else True


def test_datasets_of_equal_folder_names_have_two_names(coco, tmp_path):
    for where in ("first", "second"):
        shutil.copytree(coco, tmp_path / where / "clinic")
    paths = [tmp_path / "first" / "clinic", tmp_path / "second" / "clinic"]

    samples = index(tmp_path, *paths, names=NAMES)

    assert len(samples) == 6
    assert {s.source for s in samples.values()} == {"first/clinic", "second/clinic"}
    assert_box(samples["second/clinic/a"])


def test_coco_file_in_annotations_is_named_by_the_dataset(coco, tmp_path):
    (coco / "annotations").mkdir()
    file = (coco / "annotations.json").rename(coco / "annotations" / "all.json")

    assert set(index(tmp_path, file, names=NAMES)) == {f"clinic/{n}" for n in "abc"}


def test_run_lengths_are_those_of_pycocotools():
    coco_mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for size in ((5, 7), (60, 90), (300, 400)):
        mask = rng.random(size) < 0.3
        mask[size[0] // 2 :] = True  # Long runs take several signs.
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        encoded["counts"] = encoded["counts"].decode()
        np.testing.assert_array_equal(decode_runs(encoded, size, "a.json"), mask)


def labelme(folder: Path, name: str, *labels: str) -> None:
    save(folder / f"{name}.png")
    shapes = [
        {"label": label, "shape_type": "polygon", "points": np.reshape(CORNERS, (4, 2))}
        for label in labels
    ]
    content = {
        "shapes": [{**s, "points": s["points"].tolist()} for s in shapes],
        "imagePath": f"{name}.png",
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
    }
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_labelme(tmp_path):
    labelme_folder = tmp_path / "drawn"
    save(labelme_folder / "x.png").unlink()
    labelme(labelme_folder, "a", "malignant")
    labelme(labelme_folder, "b")

    samples = index(tmp_path, labelme_folder)

    assert samples["drawn/a"].label == "malignant"
    assert_box(samples["drawn/a"])
    assert samples["drawn/b"].label == "normal"


def test_labelme_images_of_two_folders_have_two_names(tmp_path):
    folder = tmp_path / "drawn"
    for name, label in (("p1/1", "benign"), ("p2/1", "malignant"), ("p2/2", "benign")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        labelme((folder / name).parent, name[3:], label)

    samples = index(tmp_path, folder)
    write_dataset(read_annotations(folder), tmp_path / "data")

    assert list(samples) == ["drawn/p1_1", "drawn/p2_1", "drawn/2"]
    for sample in (*samples.values(), *read_dataset(tmp_path / "data")):
        assert_box(sample)
    written = {s.name: s.label for s in read_dataset(tmp_path / "data")}
    assert written == {"p1_1": "benign", "p2_1": "malignant", "2": "benign"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "a_mask"), r"a_mask\.png: a mask by its name, .*; rename it"),
        (("a", "A"), "its name differs from .* in its ending or in capital letters"),
        (
            ("x_mask/1", "y/1"),
            r"x_mask/1\.png: the dataset would name it x_mask_1\.png, as a mask is",
        ),
    ],
)
def test_labelme_images_whose_files_would_be_one(tmp_path, names, message):
    folder = tmp_path / "drawn"
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        labelme(path.parent, path.name, "benign")

    with pytest.raises(ValueError, match=message):
        read_annotations(folder)


def test_labelme_files_in_linked_folders_are_read_once(tmp_path):
    folder = make_folder(tmp_path / "drawn" / "here")
    labelme(folder, "a", "benign")
    labelme(make_folder(tmp_path / "far"), "b", "malignant")
    (tmp_path / "drawn" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "drawn" / "again").symlink_to(folder)
    (tmp_path / "far" / "up").symlink_to(tmp_path / "drawn")

    names = [annotation.name for annotation in read_annotations(tmp_path / "drawn")]
    assert sorted(names) == ["a", "b"]
    assert len(index(tmp_path, tmp_path / "drawn")) == 2


def test_a_labelme_polygon_outside_its_image_is_refused(tmp_path):
    labelme(make_folder(tmp_path / "drawn"), "a", "benign")
    file = tmp_path / "drawn" / "a.json"
    content = json.loads(file.read_text())
    content["shapes"][0]["points"] = [[-9, 0], [-3, 0], [-3, 9]]
    file.write_text(json.dumps(content))

    with pytest.raises(ValueError, match=r"a\.json: a polygon holds no pixel of its"):
        read_annotations(tmp_path / "drawn")


@pytest.fixture
def nnunet(tmp_path) -> Path:
    folder = tmp_path / "Dataset001"
    for case, value in (("a", 1), ("b", 2), ("c", 0)):
        save(folder / "imagesTr" / f"{case}_0000.png")
        save(folder / "labelsTr" / f"{case}.png", BOX * value)
    labels = {"background": 0, "benign": 1, "cancer": 2}
    content = {"labels": labels, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("version", [1, 2])
def test_nnunet(nnunet, tmp_path, version):
    if version == 1:
        labels = {"0": "background", "1": "benign", "2": "cancer"}
        (nnunet / "dataset.json").write_text(json.dumps({"labels": labels}))

    samples = index(tmp_path, nnunet, names=NAMES)

    labels = {name: sample.label for name, sample in samples.items()}
    assert labels == {
        "Dataset001/a": "benign",
        "Dataset001/b": "malignant",
        "Dataset001/c": "normal",
    }
    assert_box(samples["Dataset001/b"])


def test_nnunet_is_checked(nnunet, tmp_path):
    save(nnunet / "labelsTr" / "a.png", BOX * 3)
    with pytest.raises(ValueError, match=r"a\.png: the value 3 is none of the labels"):
        index(tmp_path, nnunet, names=NAMES)
    save(nnunet / "labelsTr" / "a.png", np.pad(BOX, 1))
    with pytest.raises(ValueError, match=r"a_0000\.png: its label has 10 x 12, the im"):
        index(tmp_path, nnunet, names=NAMES)


def test_nnunet_cases_whose_masks_would_be_one_file(nnunet, tmp_path):
    save(nnunet / "imagesTr" / "A_0000.png")
    save(nnunet / "labelsTr" / "A.png", BOX)
    with pytest.raises(ValueError, match=r"would be one file, .*\.png; rename one of"):
        index(tmp_path, nnunet, names=NAMES)


def test_folders_of_images_and_masks_with_a_table(tmp_path):
    folder = tmp_path / "pairs"
    for name in ("a", "b"):
        save(folder / "images" / f"{name}.png")
    save(folder / "masks" / "a.png", BOX * 255)
    save(folder / "masks" / "b_mask.png", BOX * 255)
    before = files(folder)

    assert {s.label for s in index(tmp_path, folder).values()} == {None}

    (tmp_path / "out" / "manifest.csv").unlink()
    table = tmp_path / "labels.csv"
    table.write_text("image,label\na.png,Benign\nb,cancer\n")
    samples = index(tmp_path, folder, classes=table, names=NAMES)
    labels = [sample.label for sample in samples.values()]
    assert labels == ["benign", "malignant"]
    assert_box(samples["pairs/a"])
    assert_box(samples["pairs/b"])
    assert files(folder) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na,benign\n", r"b\.png: has no row in labels\.csv"),
        ("image,label\na,benign\nb,mass\n", "line 3: the class 'mass' is none of"),
        ("image,label\na,benign\nb,\nc,\n", "'c' is no image there"),
        ("image,label\na,benign\na,\nb,\n", "line 3: a is named twice"),
    ],
)
def test_table_is_checked(tmp_path, text, message):
    for name in ("a", "b"):
        save(tmp_path / "flat" / f"{name}.png")
    (tmp_path / "flat" / "labels.csv").write_text(text)

    with pytest.raises(ValueError, match=message):
        index(tmp_path, tmp_path / "flat")


def test_class_folders_without_normal_images(tmp_path):
    folder = tmp_path / "classes"
    for label in ("Benign", "malignant"):
        save(folder / label / "1.png") if label == "Benign" else None
        save(folder / label / f"{label} 2.png")
        save(folder / label / f"{label} 2_Mask.png", BOX * 255)

    samples = index(tmp_path, folder)

    assert [sample.label for sample in samples.values()] == ["benign"] * 2 + [
        "malignant"
    ]
    assert_box(samples["classes/malignant 2"])


@pytest.mark.parametrize("labels", [("benign", "malignant"), LABELS])
def test_equal_file_names_in_class_folders_have_two_names(tmp_path, labels):
    folder = tmp_path / "classes"
    for label in labels:
        save(folder / label / "1.png")
        save(folder / label / "1_mask.png", BOX * 255 * (label != "normal"))

    samples = index(tmp_path, folder)

    found = {name: sample.label for name, sample in samples.items()}
    assert found == {f"classes/{label}/1": label for label in labels}
    assert_box(samples["classes/malignant/1"])


def test_mask_names_are_never_images(tmp_path):
    save(tmp_path / "flat" / "a.png")
    save(tmp_path / "flat" / "b_mask.png", BOX * 255)
    with pytest.raises(ValueError, match=r"b_mask\.png: a mask by its name, but no"):
        index(tmp_path, tmp_path / "flat")
    save(tmp_path / "pairs" / "images" / "a_mask.png")
    save(tmp_path / "pairs" / "masks" / "a.png")
    with pytest.raises(ValueError, match=r"a_mask\.png: a mask by its name, but it"):
        index(tmp_path, tmp_path / "pairs")
    (tmp_path / "mine.csv").write_text("image,label\nflat/b_mask.png,benign\n")
    with pytest.raises(ValueError, match=r"b_mask\.png: a mask by its name, which is"):
        read_manifest(tmp_path / "mine.csv")


def test_flat_folder_with_the_table_in_it(tmp_path):
    folder = tmp_path / "flat"
    for name in ("a", "b", "c"):
        save(folder / f"{name}.png")
    save(folder / "a_mask.png", BOX * 255)
    save(folder / "b_Mask (1).png", BOX * 255)
    (folder / "classes.csv").write_text("image,label\na.png,benign\nb,cancer\nc,\n")

    samples = index(tmp_path, folder, names=NAMES)

    labels = {name: sample.label for name, sample in samples.items()}
    assert labels == {"flat/a": "benign", "flat/b": "malignant", "flat/c": None}
    assert_box(samples["flat/a"])
    assert_box(samples["flat/b"])
    assert samples["flat/c"].masks == ()


def test_the_command_indexes_every_format_at_once(coco, nnunet, tmp_path, capsys):
    labelme(make_folder(tmp_path / "drawn"), "a", "malignant")
    save(tmp_path / "classes" / "benign" / "a.png")
    save(tmp_path / "classes" / "benign" / "a_mask.png", BOX * 255)
    save(tmp_path / "pairs" / "images" / "a.png")
    save(tmp_path / "pairs" / "masks" / "a.png", BOX * 255)
    table = tmp_path / "classes.csv"
    table.write_text("image,label\na,cancer\n")
    out = tmp_path / "manifest.csv"
    folders = [coco, nnunet, *(tmp_path / n for n in ("drawn", "classes", "pairs"))]

    code = main(
        [
            *("data", "index", *map(str, folders), "--out", str(out)),
            *("--classes", str(table), "--class", "cancer=malignant"),
        ]
    )

    assert code == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"9 images: {out}"
    assert {"benign: 3", "malignant: 4", "normal: 2"} <= set(printed)
    samples = {sample.name: sample for sample in read_dataset(out)}
    found = {name: sample.label for name, sample in samples.items()}
    assert found == {
        **{"clinic/a": "benign", "clinic/b": "malignant", "clinic/c": "normal"},
        **{"Dataset001/a": "benign", "Dataset001/b": "malignant"},
        **{"Dataset001/c": "normal", "drawn/a": "malignant"},
        **{"classes/a": "benign", "pairs/a": "malignant"},
    }
    for sample in samples.values():
        expected = BOX & (sample.label != "normal")
        np.testing.assert_array_equal(load_mask(sample, SIZE), expected)


def test_several_datasets_in_one_manifest(coco, nnunet, tmp_path):
    samples = index(tmp_path, coco, nnunet, names=NAMES)

    assert len(samples) == 6
    assert {sample.source for sample in samples.values()} == {"clinic", "Dataset001"}


def test_what_exists_is_not_written_over(coco, tmp_path):
    masks = save(tmp_path / "out" / "manifest_masks" / "clinic" / "a.png")
    before = masks.read_bytes()

    with pytest.raises(ValueError, match="manifest_masks: exists already"):
        index(tmp_path, coco, names=NAMES)
    assert files(tmp_path / "out") == {masks} and masks.read_bytes() == before


def test_unknown_content_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(ValueError, match="none of the layouts BUSI .*nnU-Net") as error:
        index(tmp_path, tmp_path / "empty")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pair", ["cancer", "cancer=bad", "=benign="])
def test_names_are_checked(pair):
    with pytest.raises(ValueError, match="give NAME=LABEL"):
        parse_names([pair])


def test_a_name_of_its_own_is_a_class_of_its_own():
    names = parse_names(["Cyst=Cyst", "complex cyst=cyst", "Tumour=Malignant"])
    assert names == {"cyst": "Cyst", "complex cyst": "Cyst", "tumour": "malignant"}
    assert parse_names(["normal=normal", "x=Unknown"])["x"] == "unknown"
    with pytest.raises(
        ValueError, match="--class a,b=a,b: the label 'a,b' has a comma"
    ):
        parse_names(["a,b=a,b"])


def test_folders_may_be_classes_of_their_own(tmp_path):
    for name in ("Cyst", "solid", "left out"):
        save(tmp_path / "set" / name / "1.png")
    names = parse_names(["cyst=Cyst", "solid=malignant"])
    with pytest.raises(
        ValueError, match="left out: is the folder of no class; give --c"
    ):
        index(tmp_path, tmp_path / "set", names=names)
    samples = index(tmp_path, tmp_path / "set", names={**names, "left out": "unknown"})
    assert [sample.label for sample in samples.values()] == ["Cyst", "malignant", None]
    with pytest.raises(ValueError, match="name the class of each folder with --class"):
        index(tmp_path / "other", tmp_path / "set")
