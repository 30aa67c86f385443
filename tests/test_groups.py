"""Patients and scans stay on one side of a split."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from keras_efsnet.training.datasets import Sample, read_dataset
from keras_efsnet.training.datasets import groups as splitting
from keras_efsnet.training.datasets.protocol_c import make_rows
from keras_efsnet.training.datasets.splits import read_split, read_subgroups

SHIPPED = Path(splitting.__file__).parents[1] / "splits"
LABELS = ("benign", "malignant")


def sample(number: int, patient: int | None = None, label: str = "benign") -> Sample:
    name = None if patient is None else str(patient)
    return Sample(f"s/{number}", label, Path(f"{number}.png"), (), "s", name)


def test_groups_join_patients_and_scans():
    samples = [
        sample(0, 7),
        sample(1),
        sample(2, 7),
        sample(3, 8),
        sample(4),
        sample(5),
    ]

    assert splitting.group_samples(samples, []).tolist() == [0, 1, 0, 2, 3, 4]
    groups = splitting.group_samples(samples, [[2, 3], [1, 5]])
    assert groups.tolist() == [0, 1, 0, 0, 2, 1]


def test_equal_patients_of_two_sources_are_two():
    samples = [Sample(n, None, Path(n), (), n, "1") for n in ("a", "b")]

    assert splitting.group_samples(samples, []).tolist() == [0, 1]


def test_no_samples_have_no_groups():
    assert splitting.group_samples([], []).tolist() == []


def test_folds_keep_patients_with_both_classes_and_leave_contradictions_out(tmp_path):
    samples = [sample(n, n // 2, LABELS[n % 2]) for n in range(40)]
    duplicates = [[0, 1], [4, 6]]
    groups = splitting.group_samples(samples, duplicates)
    unused = splitting.find_contradictions(samples, duplicates)

    folds = splitting.assign_folds(samples, groups, unused)

    assert unused == [0, 1]
    assert np.flatnonzero(folds == splitting.UNUSED).tolist() == [0, 1]
    assert set(folds[2:]) == set(range(5))
    assert (folds[2::2] == folds[3::2]).all() and folds[4] == folds[6]
    again = splitting.assign_folds(samples, groups, unused)
    np.testing.assert_array_equal(folds, again)
    path = tmp_path / "folds.csv"
    splitting.write_folds(path, samples, groups, folds)
    assert path.read_text().splitlines()[:2] == [
        "stem,label,group,fold",
        "s/0,benign,0,-1",
    ]


def test_too_few_patients_of_a_class_are_refused():
    samples = [sample(n, n % 4, "malignant") for n in range(40)]
    groups = splitting.group_samples(samples, [])

    with pytest.raises(ValueError, match="malignant has 4; add images"):
        splitting.assign_folds(samples, groups)


def test_leaks_are_patients_and_scans_on_two_sides():
    samples = [sample(0, 1), sample(1, 1), sample(2, 2), sample(3), sample(4)]
    subsets = {"train": samples[::2], "test": samples[1::2]}

    assert splitting.find_leaks(subsets, []) == [[samples[0], samples[1]]]
    leaks = splitting.find_leaks(subsets, [[samples[2], samples[3]], [sample(9)]])
    assert sorted(s.name for leak in leaks for s in leak) == [
        "s/0",
        "s/1",
        "s/2",
        "s/3",
    ]


def write_subsets(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["source,stem,label,patient,group,subset", *rows]))
    return path


def test_subsets_of_the_sources_that_are_there(tmp_path):
    samples = [sample(0), sample(1), sample(2), sample(3)]
    path = write_subsets(
        tmp_path / "c.csv",
        *("s,s/1,benign,,,train", "t,t/1,benign,,,train", "s,s/0,benign,,,test"),
        "s,s/2,benign,,,unused",
    )

    subsets = splitting.read_subsets(samples, path)

    expected = {"train": (samples[1],), "validation": (), "test": (samples[0],)}
    assert subsets == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s,s/9,benign,,,train", "line 2: 's/9' is not in the dataset"),
        ("s,s/0,normal,,,train", "line 2: 's/0' is 'normal' here but 'benign' in"),
        ("s,s/0,benign,,,both", "line 2: a subset is train, validation, test, unused"),
        ("s,s/0,benign,,,test\ns,s/0,benign,,,train", "line 3: 's/0' is named twice"),
    ],
)
def test_subsets_are_checked(tmp_path, row, message):
    path = write_subsets(tmp_path / "c.csv", row)

    with pytest.raises(ValueError, match=message):
        splitting.read_subsets([sample(0)], path)


def test_halves_are_read_by_patient(tmp_path):
    path = tmp_path / "halves.csv"
    path.write_text("patient,half\n1,test\n2,development\n")
    samples = [sample(0, 1), sample(1, 2), sample(2, 1)]

    halves = splitting.read_halves(samples, path)

    assert halves == {"development": (samples[1],), "test": (samples[0], samples[2])}
    with pytest.raises(ValueError, match=r"3\.png: the patient 5 is not in"):
        splitting.read_halves([sample(3, 5)], path)
    path.write_text("patient,half\n1,both\n")
    with pytest.raises(ValueError, match="line 2: a half is development or test"):
        splitting.read_halves(samples, path)


def rows_of(name: str) -> list[dict[str, str]]:
    with (SHIPPED / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_protocol_c_has_no_group_on_two_sides():
    sides: dict[str, set[str]] = {}
    rows = rows_of("protocol_c_folds.csv")
    for row in rows:
        if row["subset"] != "unused":
            sides.setdefault(row["group"], set()).add(row["subset"])

    assert len(rows) == 780 + 1692
    assert all(len(of_group) == 1 for of_group in sides.values())
    folds = {row["stem"]: row["fold"] for row in rows_of("busi_grouped_folds.csv")}
    test = {r["stem"] for r in rows if r["source"] == "busi" and r["subset"] == "test"}
    assert test == {stem for stem, fold in folds.items() if fold == "0"}


def test_a_patient_with_two_numbers_stays_on_the_later_side(tmp_path):
    folds = tmp_path / "folds.csv"
    folds.write_text("stem,label,group,fold\nbenign (1),benign,4,-1\n")
    twice = [
        Sample(f"b/{f}", "benign", Path("x.png"), (), "b", "44", fold=f) for f in (1, 3)
    ]

    rows = make_rows(folds, twice)

    assert rows[0] == ("busi", "benign (1)", "benign", "", "busi/4", "unused")
    assert [row[-1] for row in rows[1:]] == ["test", "unused"]


def test_one_patient_of_bus_uclm_lies_in_one_half():
    half = {row["patient"]: row["half"] for row in rows_of("bus_uclm_halves.csv")}

    assert half["CHCO"] == half["CHVI"]
    assert set(half.values()) == {"development", "test"}


@pytest.mark.bus_uclm
def test_halves_of_the_real_bus_uclm_are_balanced():
    folder = os.environ.get("BUS_UCLM_DIR")
    if not folder:
        pytest.skip("BUS_UCLM_DIR is unset; it names the dataset's folder")
    samples = read_dataset(folder)

    halves = splitting.read_halves(samples, SHIPPED / "bus_uclm_halves.csv")

    for label in ("normal", *LABELS):
        one, other = (sum(s.label == label for s in half) for half in halves.values())
        assert abs(one - other) < 0.15 * (one + other)


def test_a_split_of_halves_has_no_training_images(tmp_path):
    path = tmp_path / "halves.csv"
    path.write_text("patient,half\n5,test\n6,development\n")
    samples = [sample(0, 5), sample(1, 6), sample(2, 5)]

    split = read_split(samples, [path])

    assert (split.train, split.validation) == ((), (samples[1],))
    assert split.test == (samples[0], samples[2])
    assert split.protocol == "C"
    assert read_subgroups([path]) == {}


def test_a_split_of_subsets_keeps_their_names(tmp_path):
    path = tmp_path / "subsets.csv"
    rows = ("0,train", "1,validation", "2,test", "3,unused")
    lines = [f"s,s/{row[0]},benign,{row[2:]}" for row in rows]
    path.write_text("\n".join(["source,stem,label,subset", *lines]) + "\n")
    samples = [sample(number) for number in range(4)]

    split = read_split(samples, [path])

    assert (split.train, split.validation) == ((samples[0],), (samples[1],))
    assert (split.test, split.protocol) == ((samples[2],), "C")
