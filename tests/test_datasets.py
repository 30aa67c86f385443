"""Each dataset's layout is recognised and read; manifests go out and come back."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.labels import LABELS
from keras_efsnet.training.datasets import (
    Sample,
    load_mask,
    read_dataset,
    read_datasets,
    write_manifest,
)
from keras_efsnet.training.datasets.sample import check_known

SIZE = (8, 10)
GREY = np.full(SIZE, 90)
BOX = np.zeros(SIZE, bool)
BOX[2:5, 3:7] = True


def save(path: Path, pixels: np.ndarray = GREY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def coloured(channel: int) -> np.ndarray:
    pixels = np.zeros((*SIZE, 3))
    pixels[BOX, channel] = 255
    return pixels


@pytest.fixture
def busi(tmp_path) -> Path:
    folder = tmp_path / "busi"
    for label in LABELS:
        for number in (2, 10):
            save(folder / label / f"{label} ({number}).png")
            save(folder / label / f"{label} ({number})_mask.png", BOX * 255)
    shifted = np.roll(BOX, 1, axis=0)
    save(folder / "benign" / "benign (2)_mask_1.png", shifted * 255)
    return folder


@pytest.fixture
def busbra(tmp_path) -> Path:
    folder = tmp_path / "busbra"
    for stem in ("0001-l", "0001-r", "0002-s"):
        save(folder / "Images" / f"bus_{stem}.png")
        save(folder / "Masks" / f"mask_{stem}.png", BOX * 255)
    (folder / "bus_data.csv").write_text(
        "ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX\n"
        'bus_0001-l,1,invasive,malignant,5,GE Logiq 7,10,8,left,"[1,2,3,4]"\n'
        'bus_0001-r,1,cyst,benign,2,GE Logiq 7,10,8,right,"[1,2,3,4]"\n'
        'bus_0002-s,2,cyst,benign,,U-Systems,10,8,single,"[1,2,3,4]"\n'
    )
    (folder / "5-fold-cv.csv").write_text(
        "ID,Pathology,kFold,valid_1\n"
        "bus_0001-l,malignant,3,1\nbus_0001-r,benign,3,1\nbus_0002-s,benign,1,NaN\n"
    )
    return folder


@pytest.fixture
def bus_uclm(tmp_path) -> Path:
    folder = tmp_path / "uclm"
    masks = {"CHCO_000": coloured(1), "CHVI_001": coloured(0), "ALWI_002": coloured(2)}
    masks["ALWI_002"] *= 0
    for stem, mask in masks.items():
        save(folder / "images" / f"{stem}.png")
        save(folder / "masks" / f"{stem}.png", mask)
    (folder / "INFO.csv").write_text(
        "Image;Resolution;Label;Doppler;Marks;Combined\n"
        "CHCO_000.png;855x606;Benign;No;Yes;No\n"
        "CHVI_001.png;855x606;Malignant;Y;No;No\n"
        "ALWI_002.png;855x606;Normal;No;No;No\n"
    )
    return folder


def test_busi(busi):
    samples = read_dataset(busi)

    expected = [f"{label} ({number})" for label in LABELS for number in (2, 10)]
    assert [sample.name for sample in samples] == expected
    assert samples[2].stem == "benign (2)" and samples[2].source == "busi"
    assert [mask.name for mask in samples[2].masks] == [
        "benign (2)_mask.png",
        "benign (2)_mask_1.png",
    ]
    union = BOX | np.roll(BOX, 1, axis=0)
    np.testing.assert_array_equal(load_mask(samples[2], SIZE), union)


def test_a_dataset_in_busis_layout_has_no_source(busi):
    save(busi / "benign" / "scan 7.png")

    assert {sample.source for sample in read_dataset(busi)} == {None}


def test_busbra(busbra):
    first, second, third = read_dataset(busbra)

    assert first == Sample(
        "busbra/bus_0001-l",
        "malignant",
        busbra / "Images" / "bus_0001-l.png",
        (busbra / "Masks" / "mask_0001-l.png",),
        source="busbra",
        patient="1",
        device="GE Logiq 7",
        birads="5",
        histology="invasive",
        fold=3,
    )
    assert first.person == second.person == "busbra/1"
    assert (third.patient, third.birads, third.fold) == ("2", None, 1)
    np.testing.assert_array_equal(load_mask(third, SIZE), BOX)


def test_busbra_without_folds(busbra):
    (busbra / "5-fold-cv.csv").unlink()

    assert {sample.fold for sample in read_dataset(busbra)} == {None}


def test_bus_uclm(bus_uclm):
    benign, malignant, normal = read_dataset(bus_uclm)

    assert [s.name for s in (benign, malignant, normal)] == [
        "bus_uclm/CHCO_000",
        "bus_uclm/CHVI_001",
        "bus_uclm/ALWI_002",
    ]
    assert [s.label for s in (benign, malignant)] == ["benign", "malignant"]
    assert [s.patient for s in (benign, malignant, normal)] == ["CHCO", "CHCO", "ALWI"]
    assert (benign.doppler, benign.marks) == (False, True)
    assert (malignant.doppler, malignant.marks) == (True, False)
    for sample in (benign, malignant):
        np.testing.assert_array_equal(load_mask(sample, SIZE), BOX)
    assert not load_mask(normal, SIZE).any()


def test_listed_and_present_files_must_agree(busbra, bus_uclm):
    (busbra / "Images" / "bus_0001-l.png").unlink()
    with pytest.raises(ValueError, match=r"bus_0001-l\.png: listed in bus_data\.csv"):
        read_dataset(busbra)
    save(bus_uclm / "masks" / "ALWI_003.png")
    with pytest.raises(ValueError, match=r"ALWI_003\.png: every image needs a row in"):
        read_dataset(bus_uclm)


def test_manifest_comes_back(busi, busbra, bus_uclm, tmp_path):
    samples = read_datasets([busi, busbra, bus_uclm])
    path = tmp_path / "index" / "manifest.csv"
    path.parent.mkdir()

    write_manifest(samples, path)

    read = read_dataset(path)
    assert read == read_dataset(path.parent)
    assert [resolved(s) for s in read] == [resolved(s) for s in samples]
    assert str(tmp_path) not in path.read_text(encoding="utf-8")


def resolved(sample: Sample) -> Sample:
    facts = {**vars(sample), "image": sample.image.resolve()}
    return Sample(**{**facts, "masks": tuple(m.resolve() for m in sample.masks)})


def test_manifest_of_few_columns(tmp_path):
    save(tmp_path / "scans" / "a.png")
    save(tmp_path / "truth" / "a.png", BOX * 255)
    save(tmp_path / "truth" / "b.png", np.roll(BOX, 1, axis=1) * 255)
    path = tmp_path / "mine.csv"
    path.write_text("image,mask,label\nscans/a.png,truth/a.png;truth/b.png,\n")

    (sample,) = read_dataset(path)

    assert (sample.name, sample.label, sample.source) == ("a", None, None)
    union = BOX | np.roll(BOX, 1, axis=1)
    np.testing.assert_array_equal(load_mask(sample, SIZE), union)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mask\na.png,\n", r"mine\.csv: .* label is missing"),
        ("image,label\n", "lists no image"),
        ("image,label\nb.png,benign\n", r"line 2: the file 'b\.png' is not there"),
        ("image,label\na.png,a=b\n", "line 2: the label 'a=b' has a comma"),
        ("image,label,fold\na.png,benign,x\n", "line 2: a fold is a whole number"),
        ("image,label,marks\na.png,benign,x\n", "line 2: marks is yes, no or empty"),
        ("image,label\na.png,benign\na.png,normal\n", "a name stands for one image"),
        ("image,label\na.png,benign,more\n", "line 2: more cells than columns"),
    ],
)
def test_manifest_is_checked(tmp_path, text, message):
    save(tmp_path / "a.png")
    path = tmp_path / "mine.csv"
    path.write_text(text)

    with pytest.raises(ValueError, match=message):
        read_dataset(path)


def test_manifest_is_not_written_over(busi, tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text("kept")

    with pytest.raises(ValueError, match="exists already"):
        write_manifest(read_dataset(busi), path)
    assert path.read_text() == "kept"


def test_unknown_layout_is_one_line_that_lists_the_layouts(busbra, tmp_path):
    with pytest.raises(ValueError) as error:
        read_dataset(tmp_path)

    line = str(error.value)
    assert "\n" not in line
    assert all(name in line for name in ("BUSI", "BUS-BRA", "BUS-UCLM", "manifest"))
    assert f"give {busbra}" in line


def test_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_dataset(tmp_path / "nowhere")


def test_equal_names_of_two_datasets_name_both_files(busi, tmp_path):
    other = tmp_path / "other"
    busi.rename(other)
    for label in LABELS:
        save(tmp_path / "busi" / label / f"{label} (2).png")

    with pytest.raises(ValueError) as error:
        read_datasets([other, tmp_path / "busi"])
    assert str(other / "normal" / "normal (2).png") in str(error.value)
    assert str(tmp_path / "busi" / "normal" / "normal (2).png") in str(error.value)


def test_label_is_checked():
    with pytest.raises(ValueError, match=r"a\.png: the label 'a,b' has a comma"):
        Sample("a", "a,b", Path("a.png"))


def test_a_manifest_may_have_other_classes(tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    path = tmp_path / "mine.csv"
    path.write_text("image,label\na.png,Phyllodes tumour\nb.png,Normal\n")
    labels = [sample.label for sample in read_dataset(path)]
    assert labels == ["Phyllodes tumour", "normal"]


def test_a_class_that_the_model_lacks_names_the_option():
    samples = [Sample(x, x, Path(f"{x}.png")) for x in ("cyst", "benign", "a cyst")]
    check_known(samples, ("cyst", "benign", "a cyst"))
    message = r"^cyst\.png: its label is 'cyst', .* --labels 'benign,a cyst,cyst'\.$"
    with pytest.raises(ValueError, match=message):
        check_known(samples, LABELS)


def test_mask_of_another_size_is_refused(busi):
    save(busi / "benign" / "benign (10)_mask.png", np.pad(BOX, 1) * 255)
    sample = read_dataset(busi)[3]

    with pytest.raises(ValueError, match=r"10\)_mask\.png: .* 8 x 10 .* has 10 x 12"):
        load_mask(sample, SIZE)


def folder_of(variable: str) -> str:
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} is unset; it names the dataset's folder")
    return folder


@pytest.mark.busbra
def test_the_real_bus_bra():
    samples = read_dataset(folder_of("BUSBRA_DIR"))

    assert {sample.label for sample in samples} == {"benign", "malignant"}
    assert {sample.fold for sample in samples} == {1, 2, 3, 4, 5}
    folds: dict[str | None, set[int | None]] = {}
    for sample in samples:
        folds.setdefault(sample.person, set()).add(sample.fold)
    assert [p for p in folds if len(folds[p]) > 1] == ["busbra/44", "busbra/853"]
    assert all(load_mask(s, mask_size(s)).any() for s in samples[::40])


@pytest.mark.bus_uclm
def test_the_real_bus_uclm():
    samples = read_dataset(folder_of("BUS_UCLM_DIR"))

    assert {sample.label for sample in samples} == set(LABELS)
    assert "CHVI" not in {sample.patient for sample in samples}
    for sample in samples[::10]:
        lesion = load_mask(sample, mask_size(sample)).any()
        assert lesion == (sample.label != "normal")


def mask_size(sample: Sample) -> tuple[int, int]:
    with Image.open(sample.masks[0]) as mask:
        return mask.height, mask.width
