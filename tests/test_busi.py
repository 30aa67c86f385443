"""The dataset's index, its masks and its splits, on tiny folders and on BUSI."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.labels import LABELS
from keras_efsnet.training.datasets import splits as splitting
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.sample import Sample, load_mask
from keras_efsnet.training.datasets.splits import (
    group_by_facts,
    name_groups,
    read_split,
    read_subgroups,
)

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


def write_folds(path: Path, rows: list[tuple[str, str, object]]) -> Path:
    lines = ["stem,label,group,fold", *(f"{s},{la},0,{f}" for s, la, f in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def benign_folds(path: Path, folds: list[object]) -> Path:
    rows = [(f"benign ({n})", "benign", f) for n, f in enumerate(folds, start=1)]
    return write_folds(path, rows)


def write_list(path: Path, *stems: str) -> Path:
    path.write_text("\n".join(stems) + "\n\n", encoding="utf-8")
    return path


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


def test_folds_file_gives_test_validation_and_the_rest(dataset, tmp_path):
    samples = read_dataset(dataset)
    # The last row comes first in no subset but its own: file order is kept.
    path = benign_folds(tmp_path / "folds.csv", [4, 0, 1, 2, 3, -1, 4, 0, 1, 2])

    split = read_split(samples, [path], fold=4)

    assert stems(split.test) == ["benign (1)", "benign (7)"]
    assert stems(split.validation) == ["benign (2)", "benign (8)"]
    assert sorted(stems(split.train)) == sorted(
        f"benign ({number})" for number in (3, 9, 4, 10, 5)
    )
    assert split.protocol == "B"


def test_stem_lists_keep_their_order_and_validate_on_the_second(dataset, tmp_path):
    train = write_list(tmp_path / "train.txt", "malignant (2)", "benign (10)")
    validation = write_list(tmp_path / "val.txt", "benign (9)", "benign (3)")

    split = read_split(read_dataset(dataset), [train, validation])

    assert stems(split.train) == ["malignant (2)", "benign (10)"]
    assert stems(split.validation) == ["benign (9)", "benign (3)"]
    assert split.test == split.validation
    assert split.protocol == "A"


def test_digest_follows_content_not_file_name(dataset, tmp_path):
    samples = read_dataset(dataset)
    folds: list[object] = [0, 1, 2, 3, 4]
    first = read_split(samples, [benign_folds(tmp_path / "one.csv", folds)])
    same = read_split(samples, [benign_folds(tmp_path / "two.csv", folds)])
    moved = read_split(
        samples, [benign_folds(tmp_path / "three.csv", [0, 1, 2, 3, -1])]
    )
    next_fold = read_split(samples, [tmp_path / "one.csv"], fold=1)

    assert len(first.digest) == 64
    assert first.digest == same.digest
    assert len({first.digest, moved.digest, next_fold.digest}) == 3


@pytest.mark.parametrize("fold", [-1, 5])
def test_fold_out_of_range_is_refused(dataset, tmp_path, fold):
    path = benign_folds(tmp_path / "folds.csv", [0, 1, 2, 3, 4])

    with pytest.raises(ValueError, match=f"fold {fold}: the test fold must be 0 to 4"):
        read_split(read_dataset(dataset), [path], fold=fold)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("benign (99)", "benign", 0)], r"line 2: 'benign \(99\)' is not in the data"),
        ([("benign (1)", "benign", 7)], "line 2: a fold is 0 to 4, or -1 .* got '7'"),
        ([("benign (1)", "benign", "x")], "got 'x'"),
        ([("benign (1)", "normal", 0)], "is normal here but lies in the folder benign"),
        ([("benign (1)", "benign", f) for f in (0, 1)], "line 3: .* named twice"),
        ([("benign (1)", "benign", 0)], "but train, validation has none"),
    ],
)
def test_contradictions_in_a_folds_file_are_refused(dataset, tmp_path, rows, message):
    path = write_folds(tmp_path / "folds.csv", rows)

    with pytest.raises(ValueError, match=message):
        read_split(read_dataset(dataset), [path])


@pytest.mark.parametrize("header", ["stem,label", "name,fold,label", ""])
def test_folds_file_without_its_columns_is_refused(dataset, tmp_path, header):
    path = tmp_path / "folds.csv"
    path.write_text(f"{header}\nbenign (1),benign\n", encoding="utf-8")

    with pytest.raises(
        ValueError, match=r"folds\.csv: .* columns stem, label and fold"
    ):
        read_split(read_dataset(dataset), [path])


def test_byte_order_mark_and_extra_columns_do_no_harm(dataset, tmp_path):
    path = benign_folds(tmp_path / "folds.csv", [0, 1, 2, 3, 4])
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")

    assert stems(read_split(read_dataset(dataset), [path]).test) == ["benign (1)"]


@pytest.mark.parametrize(
    "names", [[], ["a.csv", "b.csv"], ["a.txt"], ["a.txt", "b.csv"], ["a.json"]]
)
def test_wrong_number_or_kind_of_split_files_is_refused(dataset, names):
    with pytest.raises(ValueError, match="one folds file .* or two stem lists"):
        read_split(read_dataset(dataset), [Path(name) for name in names])


def test_image_in_both_lists_is_refused(dataset, tmp_path):
    train = write_list(tmp_path / "train.txt", "benign (1)", "benign (2)")
    validation = write_list(tmp_path / "val.txt", "benign (3)", "benign (2)")

    with pytest.raises(ValueError, match=r"val\.txt, line 2: 'benign \(2\)' is named"):
        read_split(read_dataset(dataset), [train, validation])


def test_unknown_stem_in_a_list_is_refused(dataset, tmp_path):
    train = write_list(tmp_path / "train.txt", "benign (1)", "benign (11)")
    validation = write_list(tmp_path / "val.txt", "benign (3)")

    with pytest.raises(ValueError, match=r"train\.txt, line 2: 'benign \(11\)' is not"):
        read_split(read_dataset(dataset), [train, validation])


def test_fold_of_stem_lists_is_refused(dataset, tmp_path):
    train = write_list(tmp_path / "train.txt", "benign (1)")
    validation = write_list(tmp_path / "val.txt", "benign (3)")

    with pytest.raises(ValueError, match="stem lists have no folds"):
        read_split(read_dataset(dataset), [train, validation], fold=1)


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


def test_subgroups_are_the_words_of_the_remarks(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text(
        "stem,label,fold,objection,annotation\n"
        "a,benign,0,,measurement text\n"
        "b,benign,0,axilla,text\n"
        "c,normal,1,,\n"
    )
    assert read_subgroups([path]) == {
        "any annotation": {"a", "b"},
        "any objection": {"b"},
        "axilla": {"b"},
        "measurement": {"a"},
        "none": {"c"},
        "text": {"a", "b"},
    }


def test_splits_without_remarks_have_no_subgroups(tmp_path):
    assert read_subgroups([benign_folds(tmp_path / "folds.csv", [0, 1])]) == {}
    assert read_subgroups([tmp_path / "train.txt", tmp_path / "val.txt"]) == {}


def known(name: str, **facts: str) -> Sample:
    return Sample(name, "benign", Path(f"{name}.png"), (), "s", **facts)


def test_facts_of_some_images_are_subgroups():
    samples = [
        known("a", device="one", birads="4", histology="cyst"),
        known("b", device="one", birads="2"),
        known("c", device="one", birads="4"),
    ]
    assert group_by_facts(samples) == {
        "birads: 2": {"b"},
        "birads: 4": {"a", "c"},
        "histology: cyst": {"a"},
    }


def test_images_of_one_patient_or_scan_have_one_group(tmp_path):
    path = tmp_path / "folds.csv"
    groups = {"a": "4", "b": "4", "c": "5", "e": "7", "f": "7"}
    lines = ["stem,label,group,fold", *(f"{s},benign,{g},0" for s, g in groups.items())]
    path.write_text("\n".join(lines) + "\n")
    patients = {"b": "x", "d": "x", "c": "y"}
    samples = [
        known(s, patient=patients[s]) if s in patients else known(s) for s in "abcdefg"
    ]

    # b joins the scan of a and the patient of d.
    joined = dict(zip("abcdefg", "aacaeeg", strict=True))
    assert name_groups(samples, [path]) == joined
    alone = dict(zip("abcdefg", "abcbefg", strict=True))
    assert name_groups(samples) == alone
    assert name_groups(samples, [tmp_path / "a.txt", tmp_path / "b.txt"]) == alone


def test_groups_of_the_shipped_splits():
    folder = Path(splitting.__file__).parents[1] / "splits"
    samples = [known("benign (1)"), known("benign (5)"), known("x", patient="1")]
    for name in ("busi_grouped_folds.csv", "protocol_c_folds.csv"):
        assert len(set(name_groups(samples, [folder / name]).values())) == 3
    assert len(name_groups(samples, [folder / "bus_uclm_halves.csv"])) == 3
