"""Splits: which images a file puts into which subset, and what it refuses."""

import hashlib
import re
from pathlib import Path

import pytest

from keras_efsnet.training.datasets import splits as splitting
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.datasets.splits import (
    group_by_facts,
    hold_out_fifth,
    name_groups,
    read_groups,
    read_split,
    read_subgroups,
    take_all,
)


def sample(name, label="benign", **facts):
    return Sample(name, label, Path("data", f"{name}.png"), **facts)


SIX = [sample(name) for name in "abcdef"]


def write(path, *lines, encoding="utf-8"):
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)
    return path


@pytest.fixture
def folds(tmp_path):
    """Folds 0, 1, 2, 3, 4 for a to e; f is unused."""
    rows = [
        f"{s.name},benign,{n}" for s, n in zip(SIX, (0, 1, 2, 3, 4, -1), strict=True)
    ]
    return write(tmp_path / "folds.csv", "stem,label,fold", *rows)


def names(split):
    subsets = split.train, split.validation, split.test
    return tuple("".join(s.name for s in subset) for subset in subsets)


@pytest.mark.parametrize(
    ("fold", "parts"),
    [
        (0, ("cde", "b", "a")),
        (2, ("abe", "d", "c")),
        (3, ("abc", "e", "d")),
        (4, ("bcd", "a", "e")),
    ],
)
def test_the_fold_after_the_test_fold_is_for_validation(folds, fold, parts):
    split = read_split(SIX, [folds], fold)
    assert names(split) == parts
    assert split.protocol == "B"
    assert (split.train[0], split.test[0]) == (
        SIX["abcdef".index(parts[0][0])],
        SIX["abcdef".index(parts[2])],
    )


def test_fold_0_is_the_test_fold_unless_another_one_is_given(folds):
    assert read_split(SIX, [str(folds)]) == read_split(SIX, [folds], 0)


def test_subsets_have_the_order_of_the_file(tmp_path):
    lines = [
        f"{name},benign,{n}" for name, n in zip("edcab", (2, 1, 4, 0, 3), strict=True)
    ]
    path = write(tmp_path / "F.CSV", "stem,label,fold", *lines)
    assert names(read_split(SIX, [path])) == ("ebc", "d", "a")


def test_the_digest_is_of_names_and_order(folds, tmp_path):
    text = "train\nc\nd\ne\nvalidation\nb\ntest\na\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert read_split(SIX, [folds]).digest == digest
    copy = tmp_path / "other.csv"
    copy.write_text(folds.read_text())
    assert read_split(SIX, [copy]).digest == digest
    lists = write(tmp_path / "t.txt", "b", "a"), write(tmp_path / "v.txt", "c")
    text = "train\nb\na\nvalidation\nc\ntest\nc\n"
    assert read_split(SIX, lists).digest == hashlib.sha256(text.encode()).hexdigest()


def test_the_label_of_an_image_of_unknown_class_is_empty(tmp_path):
    samples = [sample(name, None) for name in "abc"]
    rows = [f"{name},,{n}" for n, name in enumerate("abc")]
    path = write(tmp_path / "f.csv", "stem,label,fold", *rows)
    assert names(read_split(samples, [path])) == ("c", "b", "a")


def test_lists_have_no_test_subset_of_their_own(tmp_path):
    train = write(tmp_path / "t.TXT", "b", "", " a ", encoding="utf-8-sig")
    split = read_split(SIX, [train, write(tmp_path / "v.txt", "c", "d")])
    assert names(split) == ("ba", "cd", "cd")
    assert split.protocol == "A"


def test_halves_are_for_validation_and_test(tmp_path):
    samples = [sample(n, patient=p) for n, p in zip("abc", "121", strict=True)]
    path = write(tmp_path / "h.csv", "patient,half", "1,development", "2,test")
    split = read_split(samples, [path])
    assert names(split) == ("", "ac", "b")
    assert split.protocol == "C"


def test_subsets_of_several_sources(tmp_path):
    path = write(
        tmp_path / "c.csv",
        "source,stem,label,subset",
        "x,a,benign,train",
        "x,b,benign,validation",
        "x,c,benign,test",
        "x,d,benign,unused",
        "y,z,benign,train",
    )
    split = read_split([sample(name, source="x") for name in "abcd"], [path])
    assert names(split) == ("a", "b", "c")
    assert split.protocol == "C"
    write(path, "source,stem,label,subset", "x,a,benign,train", "x,b,benign,test")
    message = (
        f"{path}: every subset needs an image, but validation has none; add images to "
        "it."
    )
    with pytest.raises(ValueError, match=exactly(message)):
        read_split([sample(name, source="x") for name in "abcd"], [path])


FOLDS_HEAD = "stem,label,fold"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            (FOLDS_HEAD, "a,benign,0", "z,benign,1"),
            "{path}, line 3: 'z' is not in the dataset; give the dataset this split "
            "was made for.",
        ),
        (
            (FOLDS_HEAD, "a,benign,0", "a,benign,1"),
            "{path}, line 3: 'a' is named twice in the split; keep one of the two.",
        ),
        (
            (FOLDS_HEAD, "a,normal,0"),
            "{path}, line 2: a is normal here but lies in the folder benign; correct "
            "the file or move the image.",
        ),
        (
            (FOLDS_HEAD, "a,benign,5"),
            "{path}, line 2: a fold is 0 to 4, or -1 for an unused image, got '5'; "
            "correct it.",
        ),
        (
            (FOLDS_HEAD, "a,benign,x"),
            "{path}, line 2: a fold is 0 to 4, or -1 for an unused image, got 'x'; "
            "correct it.",
        ),
        (
            (FOLDS_HEAD, "a,benign"),
            "{path}, line 2: a fold is 0 to 4, or -1 for an unused image, got ''; "
            "correct it.",
        ),
        (
            (FOLDS_HEAD, "a,benign,0", "b,benign,1"),
            "{path}: every subset needs an image, but train has none; add images to "
            "it.",
        ),
        (
            (FOLDS_HEAD, "c,benign,2"),
            "{path}: every subset needs an image, but validation, test has none; add "
            "images to it.",
        ),
        (
            ("stem,class", "a,benign"),
            "{path}: a folds file has the columns stem, label and fold, but label, "
            "fold is missing; add it to the first line.",
        ),
        (
            ("name,fold,label", "a,0,benign"),
            "{path}: a folds file has the columns stem, label and fold, but stem is "
            "missing; add it to the first line.",
        ),
        (
            ("label,subset", "benign,train"),
            "{path}: a folds file has the columns stem, label and fold, but stem is "
            "missing; add it to the first line.",
        ),
        (
            ("half", "test"),
            "{path}: a folds file has the columns stem, label and fold, but patient "
            "is missing; add it to the first line.",
        ),
        (
            (),
            "{path}: a folds file has the columns stem, label and fold, but stem, "
            "label, fold is missing; add it to the first line.",
        ),
    ],
)
def test_wrong_folds_files(tmp_path, lines, message):
    path = write(tmp_path / "f.csv", *lines)
    with pytest.raises(ValueError, match=exactly(message.format(path=path))):
        read_split(SIX, [path])


def exactly(message):
    return f"^{re.escape(message)}$"


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_is_none(folds, fold):
    message = f"fold {fold}: the test fold must be 0 to 4."
    with pytest.raises(ValueError, match=exactly(message)):
        read_split(SIX, [folds], fold)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ((), "nothing"),
        (("a.txt",), "a.txt"),
        (("a.json",), "a.json"),
        (("a.csv", "b.csv"), "a.csv b.csv"),
        (("a.txt", "b.csv"), "a.txt b.csv"),
    ],
)
def test_files_that_make_no_split(files, named):
    message = (
        "a split is one folds file (.csv) or two stem lists (TRAIN.txt VAL.txt), got "
        f"{named}."
    )
    with pytest.raises(ValueError, match=exactly(message)):
        read_split(SIX, files)


def test_wrong_lists(tmp_path):
    train, val = tmp_path / "t.txt", write(tmp_path / "v.txt", "b")
    write(train, "a", "", "z")
    message = f"{train}, line 3: 'z' is not in the dataset; give the dataset this split"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        read_split(SIX, [train, val])
    write(train, "a", "b")
    message = f"{val}, line 1: 'b' is named twice in the split; keep one of the two."
    with pytest.raises(ValueError, match=exactly(message)):
        read_split(SIX, [train, val])
    with pytest.raises(
        ValueError, match=exactly("fold 1: stem lists have no folds; leave it out.")
    ):
        read_split(SIX, [train, val], 1)
    write(train)
    message = (
        f"{train}, {val}: every subset needs an image, but train has none; add images "
        "to it."
    )
    with pytest.raises(ValueError, match=exactly(message)):
        read_split(SIX, [train, val])


def test_files_of_another_encoding_do_not_end_in_a_traceback(tmp_path):
    """Names that are no UTF-8 are not in the dataset."""
    folds, train = tmp_path / "f.csv", tmp_path / "t.txt"
    folds.write_bytes("stem,label,fold\né,benign,0\n".encode("latin-1"))
    train.write_bytes("é\n".encode("latin-1"))
    for files in ([folds], [train, train]):
        with pytest.raises(ValueError, match="'\ufffd' is not in the dataset"):
            read_split(SIX, files)
    write(folds, FOLDS_HEAD, "a,benign,0", encoding="utf-8-sig")
    with pytest.raises(ValueError, match="train, validation has none"):
        read_split(SIX, [folds])


def test_groups_of_a_folds_file(tmp_path):
    head = "stem,label,fold,group"
    path = write(tmp_path / "f.csv", head, "a,benign,0,7", "b,benign,0,", "c,benign,0")
    assert read_groups(path) == {"a": "7"}
    assert read_groups(write(path, FOLDS_HEAD, "a,benign,0")) == {}


def test_subgroups_are_the_words_of_remarks(tmp_path):
    head = "stem,label,fold,objection,annotation"
    rows = [
        "a,benign,0,axilla,text measurement",
        "b,benign,0,,text",
        "c,benign,0,needle,",
        "d,benign,0,,",
    ]
    path = write(tmp_path / "f.csv", head, *rows)
    found = read_subgroups([str(path)])
    assert found == {
        "any annotation": {"a", "b"},
        "any objection": {"a", "c"},
        "axilla": {"a"},
        "measurement": {"a"},
        "needle": {"c"},
        "none": {"d"},
        "text": {"a", "b"},
    }
    assert list(found) == sorted(found)
    assert read_subgroups([write(path, FOLDS_HEAD, "a,benign,0")]) == {}
    one = write(path, "stem,label,fold,annotation", "a,benign,0,x", "b,benign,0,")
    assert read_subgroups([one]) == {"any annotation": {"a"}, "none": {"b"}, "x": {"a"}}
    assert read_subgroups([tmp_path / "t.txt", tmp_path / "v.txt"]) == {}


def test_all_images_of_another_hospital_are_for_the_test():
    split = take_all(SIX)
    assert names(split) == ("", "", "abcdef")
    assert split.protocol == "C"


def test_a_fifth_is_held_out_without_a_file():
    samples = [sample(name) for name in "abcdefghijk"]
    split = hold_out_fifth(samples)
    assert names(split) == ("bcdeghij", "afk", "afk")
    assert split.protocol == "B"
    message = "data: every subset needs an image, but train has none; add images to it."
    with pytest.raises(ValueError, match=exactly(message)):
        hold_out_fifth(samples[:1])


def test_images_of_a_patient_or_of_a_scan_have_one_group(tmp_path):
    patients = {"a": "1", "b": "2", "c": "1", "e": "3"}
    samples = [sample(n, source="x", patient=patients.get(n)) for n in "abcdef"]
    assert name_groups(samples) == {
        "a": "a",
        "b": "b",
        "c": "a",
        "d": "d",
        "e": "e",
        "f": "f",
    }
    head = "stem,label,fold,group"
    rows = [
        "b,benign,0,7",
        "c,benign,0,7",
        "f,benign,0,8",
        "z,benign,0,8",
        "d,benign,0,9",
    ]
    path = write(tmp_path / "f.csv", head, *rows)
    expected = {"a": "a", "b": "a", "c": "a", "d": "d", "e": "e", "f": "f"}
    assert name_groups(samples, [str(path)]) == expected
    lists = [tmp_path / "t.txt", tmp_path / "v.txt"]
    assert name_groups(samples, lists) == name_groups(samples)


def test_facts_group_images_unless_all_share_them():
    samples = [
        sample("a", device="GE", birads="4", histology="cyst"),
        sample("b", device="GE", birads="5"),
        sample("c", device="GE", birads="4"),
    ]
    found = group_by_facts(samples)
    assert found == {
        "birads: 4": {"a", "c"},
        "birads: 5": {"b"},
        "histology: cyst": {"a"},
    }
    assert list(found) == sorted(found)


def test_groups_of_the_shipped_splits():
    folder = Path(splitting.__file__).parents[1] / "splits"
    samples = [sample("benign (1)"), sample("benign (5)"), sample("x", patient="1")]
    for name in ("busi_grouped_folds.csv", "protocol_c_folds.csv"):
        assert len(set(name_groups(samples, [folder / name]).values())) == 3
    assert len(name_groups(samples, [folder / "bus_uclm_halves.csv"])) == 3
