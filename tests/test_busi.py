"""The dataset's index and its masks on tiny folders, and BUSI with its splits."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.labels import LABELS
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.sample import Sample, load_mask
from keras_efsnet.training.datasets.splits import read_split

SIZE = (6, 8)


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def box_mask(top: int, left: int) -> np.ndarray:
    mask = np.zeros(SIZE)
    mask[top : top + 2, left : left + 2] = 255
    return mask


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Ten numbered benign images, two malignant and two normal ones."""
    folder = tmp_path / "data set"
    grey = np.full(SIZE, 90)
    numbers = {"benign": range(1, 11), "malignant": (1, 2), "normal": (1, 2)}
    for label, of_label in numbers.items():
        for number in of_label:
            write_image(folder / label / f"{label} ({number}).png", grey)
            mask = np.zeros(SIZE) if label == "normal" else box_mask(0, 0)
            write_image(folder / label / f"{label} ({number})_mask.png", mask)
    write_image(folder / "benign" / "benign (4)_mask_1.png", box_mask(3, 4))
    write_image(folder / "benign" / "benign (4)_mask_2.png", box_mask(1, 1))
    return folder


def stems(samples: tuple[Sample, ...] | list[Sample]) -> list[str]:
    return [sample.stem for sample in samples]


def test_index_is_sorted_by_label_and_number(dataset):
    samples = read_dataset(dataset)

    expected = ["normal (1)", "normal (2)"]
    expected += [f"benign ({number})" for number in range(1, 11)]
    expected += ["malignant (1)", "malignant (2)"]
    assert stems(samples) == expected
    assert [sample.label for sample in samples] == [s.split(" ")[0] for s in expected]


def test_index_gives_an_image_all_its_masks(dataset):
    by_stem = {sample.stem: sample for sample in read_dataset(str(dataset))}

    sample = by_stem["benign (4)"]
    assert sample.image == dataset / "benign" / "benign (4).png"
    assert [mask.name for mask in sample.masks] == [
        "benign (4)_mask.png",
        "benign (4)_mask_1.png",
        "benign (4)_mask_2.png",
    ]
    assert len(by_stem["benign (10)"].masks) == 1


def test_index_passes_over_hidden_and_foreign_files(dataset):
    before = read_dataset(dataset)
    (dataset / "benign" / "._benign (1).png").write_bytes(b"resource fork")
    (dataset / "benign" / "Thumbs.db").write_bytes(b"")

    assert read_dataset(dataset) == before


def test_mask_is_the_union_of_the_files(dataset):
    samples = {sample.stem: sample for sample in read_dataset(dataset)}

    mask = load_mask(samples["benign (4)"], SIZE)

    assert mask.dtype == bool
    expected = box_mask(0, 0) + box_mask(3, 4) + box_mask(1, 1) > 0
    np.testing.assert_array_equal(mask, expected)
    assert not load_mask(samples["normal (1)"], SIZE).any()


def test_sample_without_mask_file_has_an_empty_mask(dataset):
    (dataset / "normal" / "normal (2)_mask.png").unlink()
    sample = read_dataset(dataset)[1]

    assert sample.masks == ()
    np.testing.assert_array_equal(load_mask(sample, SIZE), np.zeros(SIZE, bool))


def test_mask_of_another_size_is_refused(dataset):
    write_image(dataset / "benign" / "benign (4)_mask_1.png", np.zeros((6, 9)))
    sample = {s.stem: s for s in read_dataset(dataset)}["benign (4)"]

    with pytest.raises(ValueError, match=r"mask_1\.png: .* 6 x 8 .* has 6 x 9"):
        load_mask(sample, SIZE)


def test_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_dataset(tmp_path / "nowhere")


def test_folder_without_the_class_folders_is_refused(dataset):
    with pytest.raises(ValueError, match=f"To fix: give {dataset}"):
        read_dataset(dataset.parent)


def test_folder_without_an_image_is_refused(tmp_path):
    for label in LABELS:
        (tmp_path / label).mkdir()

    with pytest.raises(ValueError, match="no image in its class folders"):
        read_dataset(tmp_path)


def test_two_images_of_one_stem_are_refused(dataset):
    write_image(dataset / "benign" / "benign (4).bmp", np.zeros(SIZE))

    with pytest.raises(ValueError, match="a name stands for one image"):
        read_dataset(dataset)


def folder_from(variable: str, content: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is unset; it names the folder of the BUSI {content}")
    return Path(os.environ[variable])


@pytest.fixture(scope="module")
def busi() -> list[Sample]:
    return read_dataset(folder_from("BUSI_DIR", "dataset"))


@pytest.fixture(scope="module")
def splits() -> Path:
    return folder_from("BUSI_SPLITS", "splits")


@pytest.mark.busi
def test_busi_has_its_published_numbers_of_images_and_masks(busi):
    counts = [sum(sample.label == label for sample in busi) for label in LABELS]

    assert counts == [133, 437, 210]
    assert sum(len(sample.masks) for sample in busi) == 798
    assert sum(len(sample.masks) > 1 for sample in busi) == 17
    assert all(sample.masks for sample in busi)


@pytest.mark.busi
def test_busi_masks_of_several_lesions_are_merged(busi):
    sample = next(s for s in busi if len(s.masks) == 3)
    with Image.open(sample.image) as image:
        shape = image.height, image.width

    union = load_mask(sample, shape).sum()

    parts = []
    for path in sample.masks:
        with Image.open(path) as mask:
            parts.append(np.count_nonzero(np.asarray(mask)))
    assert max(parts) < union <= sum(parts)


@pytest.mark.busi
def test_busi_folds_share_no_group_between_subsets(busi, splits):
    path = splits / "busi_grouped_folds.csv"
    with path.open(newline="", encoding="utf-8") as file:
        group = {row["stem"]: row["group"] for row in csv.DictReader(file)}
    for fold in range(5):
        split = read_split(busi, [path], fold=fold)
        subsets = [split.train, split.validation, split.test]
        groups = [{group[stem] for stem in stems(subset)} for subset in subsets]

        assert sum(map(len, subsets)) == 761
        assert len(set.union(*groups)) == sum(map(len, groups))


@pytest.mark.busi
def test_busi_default_fold_is_the_published_one(busi, splits):
    split = read_split(busi, [splits / "busi_grouped_folds.csv"])

    sizes = len(split.train), len(split.validation), len(split.test)
    assert sizes == (457, 151, 153)
    assert split.digest.startswith("a1fe6cd74d879a42")


@pytest.mark.busi
@pytest.mark.parametrize("number", [1, 2, 3])
def test_busi_lists_hold_the_tumour_images(busi, splits, number):
    files = [splits / f"busi_{part}{number}.txt" for part in ("train", "val")]

    split = read_split(busi, files)

    assert (len(split.train), len(split.validation)) == (452, 195)
    assert {s.label for s in split.train} == {"benign", "malignant"}
