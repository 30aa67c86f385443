"""`efsnet data verify`, `efsnet data split`, and scans on both sides of a split."""

import csv
import json
import logging
import os
import shutil
import sys
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.training import train as training
from keras_efsnet.training.datasets.groups import assign_folds, group_samples
from keras_efsnet.training.datasets.leaks import count_leaks
from keras_efsnet.training.datasets.reading import read_dataset, read_datasets
from keras_efsnet.training.datasets.splits import read_split
from keras_efsnet.training.settings import TrainSettings

SIZE = (96, 128)


def file_of(folder: Path, stem: str, mask: str = "") -> Path:
    return folder / stem.split(" ")[0] / f"{stem}{mask}.png"


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """Five small phantoms of each class, all different."""
    folder = tmp_path_factory.mktemp("clean")
    for label in LABELS:
        for number in range(1, 6):
            phantom = make_phantom(label, number, SIZE)
            stem = f"{label} ({number})"
            save(phantom.image, file_of(folder, stem))
            save(phantom.mask.astype(np.uint8) * 255, file_of(folder, stem, "_mask"))
    return folder


@pytest.fixture
def dataset(clean, tmp_path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "data"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "keras-efsnet"


def copy_scan(folder: Path, stem: str, copy: str) -> None:
    """Adds a scan again under another name, cut, with its own mask."""
    for mask in ("", "_mask"):
        pixels = np.asarray(Image.open(file_of(folder, stem, mask)))
        save(pixels[4:, 6:], file_of(folder, copy, mask))


def verify(folder: Path, out: Path) -> tuple[int, dict]:
    code = main(["data", "verify", str(folder), "--out", str(out)])
    return code, json.loads((out / "report.json").read_text(encoding="utf-8"))


def folds_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["stem"]: row for row in csv.DictReader(file)}


@pytest.fixture
def second(tmp_path) -> Path:
    """A manifest of another hospital: five images of each class, two of a patient."""
    folder = tmp_path / "second"
    lines = ["image,masks,label,patient,source"]
    for label in LABELS:
        for number in range(6):
            phantom = make_phantom(label, 100 + number, SIZE)
            stem = f"{label[0]}{number}"
            save(phantom.image, folder / f"{stem}.png")
            save(phantom.mask.astype(np.uint8) * 255, folder / f"{stem}_mask.png")
            patient = max(number, 1)
            lines.append(f"{stem}.png,{stem}_mask.png,{label},{label}{patient},second")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


BOTH_WAYS = [
    lambda *paths: [str(path) for path in paths],
    lambda *paths: [word for path in paths for word in ("--data", str(path))],
]


@pytest.mark.parametrize("arguments", BOTH_WAYS, ids=["positional", "--data"])
def test_several_datasets_are_checked_together(dataset, second, tmp_path, arguments):
    shutil.copy(file_of(dataset, "benign (1)"), second / "b1.png")
    shutil.copy(file_of(dataset, "benign (1)", "_mask"), second / "b1_mask.png")
    out = tmp_path / "out"

    code = main(["data", "verify", *arguments(dataset, second), "--out", str(out)])

    report = json.loads((out / "report.json").read_text())
    assert (code, report["images"], report["problems"]) == (1, 33, [])
    assert report["duplicate_groups"] == [
        {
            "images": ["data/benign/benign (1).png", "second/b1.png"],
            "labels": ["benign", "benign"],
        }
    ]


@pytest.mark.parametrize("arguments", BOTH_WAYS, ids=["positional", "--data"])
def test_several_datasets_are_split_together(dataset, second, tmp_path, arguments):
    shutil.copy(file_of(dataset, "benign (1)"), second / "b1.png")
    shutil.copy(file_of(dataset, "benign (1)", "_mask"), second / "b1_mask.png")
    out = tmp_path / "folds.csv"

    code = main(["data", "split", *arguments(dataset, second), "--out", str(out)])

    rows = folds_of(out)
    assert (code, len(rows)) == (0, 33)
    # One scan in both datasets, and a patient with two images.
    together = {rows[name]["group"] for name in ("benign (1)", "second/b1")}
    assert len(together | {rows["second/b0"]["group"]}) == 1
    split = read_split(read_datasets([dataset, second]), [out])
    assert count_leaks(split, [out]) == (0, 0)


@pytest.mark.parametrize("command", ["verify", "split"])
def test_no_dataset_at_all_is_one_line(tmp_path, capsys, command):
    assert main(["data", command, "--out", str(tmp_path / "folds.csv")]) == 2

    assert "no dataset is given; name its folder" in capsys.readouterr().err


def test_clean_dataset_passes(dataset, tmp_path):
    code, report = verify(dataset, tmp_path / "out")

    assert code == 0
    assert report == {"images": 15, "problems": [], "duplicate_groups": []}


def test_odd_names_of_masks_are_masks_in_every_command(dataset, tmp_path):
    image = file_of(dataset, "benign (1)")
    mask = file_of(dataset, "benign (1)", "_mask")
    for ending in ("_Mask", "_mask (1)", "_mask - Copy", "_mask2"):
        shutil.copy(mask, image.with_stem(f"benign (1){ending}"))
    out, folds = tmp_path / "out", tmp_path / "folds.csv"

    code, report = verify(dataset, out)
    assert (code, report["images"], report["problems"]) == (0, 15, [])
    assert main(["data", "split", str(dataset), "--out", str(folds)]) == 0
    assert len(folds_of(folds)) == 15
    manifest = tmp_path / "manifest.csv"
    assert main(["data", "index", str(dataset), "--out", str(manifest)]) == 0
    for path in (dataset, manifest):
        (sample,) = (s for s in read_dataset(path) if s.name == "benign (1)")
        assert len(sample.masks) == 5


def truncate(folder: Path) -> None:
    path = file_of(folder, "benign (2)")
    path.write_bytes(path.read_bytes()[:500])


def break_mask(folder: Path) -> None:
    file_of(folder, "malignant (1)", "_mask").write_bytes(b"no image")


def write_mask(stem: str, pixels: np.ndarray):
    return lambda folder: save(pixels.astype(np.uint8), file_of(folder, stem, "_mask"))


def rename(name: str, new_name: str):
    return lambda folder: (folder / name).rename(folder / new_name)


BOX = np.zeros(SIZE)
BOX[20:40, 20:40] = 255
SOFT = BOX.copy()
SOFT[20, 20:40] = 90


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (truncate, [("unreadable", "benign/benign (2).png")]),
        (break_mask, [("unreadable", "malignant/malignant (1)_mask.png")]),
        (
            write_mask("benign (3)", BOX[:, :-1]),
            [("size of mask", "benign/benign (3)_mask.png")],
        ),
        (
            write_mask("benign (3)", SOFT),
            [("grey mask", "benign/benign (3)_mask.png")],
        ),
        (
            write_mask("benign (3)", BOX * 0),
            [("empty mask", "benign/benign (3)_mask.png")],
        ),
        (
            lambda folder: save(BOX.astype(np.uint8), file_of(folder, "benign (3)")),
            [("no scan", "benign/benign (3).png")],
        ),
        (
            write_mask("normal (1)", BOX),
            [("lesion in normal", "normal/normal (1)_mask.png")],
        ),
        (
            rename("benign/benign (4)_mask.png", "benign/benign (44)_mask.png"),
            [
                ("missing mask", "benign/benign (4).png"),
                ("orphan mask", "benign/benign (44)_mask.png"),
            ],
        ),
        (
            rename("normal/normal (2).png", "normal/malignant (22).png"),
            [
                ("wrong folder", "normal/malignant (22).png"),
                ("orphan mask", "normal/normal (2)_mask.png"),
            ],
        ),
        (
            rename("normal/normal (2).png", "normal/benign (2).png"),
            [
                ("wrong folder", "normal/benign (2).png"),
                ("repeated name", "benign/benign (2).png"),
                ("orphan mask", "normal/normal (2)_mask.png"),
            ],
        ),
    ],
)
def test_each_kind_of_damage_is_named(dataset, tmp_path, capsys, damage, expected):
    damage(dataset)

    code, report = verify(dataset, tmp_path / "out")

    assert code == 1
    found = [(problem["kind"], problem["path"]) for problem in report["problems"]]
    assert sorted(found) == sorted(expected)
    printed = capsys.readouterr().out
    assert all(f"{path}: {kind}: " in printed for kind, path in expected)


def test_duplicates_are_reported_with_their_labels(dataset, tmp_path):
    copy_scan(dataset, "benign (1)", "benign (9)")
    copy_scan(dataset, "benign (2)", "malignant (9)")

    code, report = verify(dataset, tmp_path / "out")

    assert code == 1
    assert report["duplicate_groups"] == [
        {
            "images": ["benign/benign (1).png", "benign/benign (9).png"],
            "labels": ["benign", "benign"],
        },
        {
            "images": ["benign/benign (2).png", "malignant/malignant (9).png"],
            "labels": ["benign", "malignant"],
        },
    ]
    (problem,) = report["problems"]
    assert problem["kind"] == "duplicates of different classes"
    assert "benign (2), malignant (9) are one scan" in problem["detail"]


def test_verify_without_out_writes_nothing(dataset, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))

    assert main(["data", "verify", str(dataset)]) == 0

    assert sorted(tmp_path.rglob("*")) == before
    assert "15" in capsys.readouterr().out


def test_split_keeps_scans_together_and_leaves_contradictions_out(dataset, tmp_path):
    copy_scan(dataset, "benign (1)", "benign (9)")
    copy_scan(dataset, "normal (2)", "malignant (9)")
    save(make_phantom("normal", 6, SIZE).image, file_of(dataset, "normal (6)"))
    out = tmp_path / "folds.csv"

    assert main(["data", "split", str(dataset), "--out", str(out)]) == 0

    rows = folds_of(out)
    assert rows["benign (1)"]["group"] == rows["benign (9)"]["group"]
    assert rows["benign (1)"]["fold"] == rows["benign (9)"]["fold"]
    unused = {stem for stem, row in rows.items() if row["fold"] == "-1"}
    assert unused == {"normal (2)", "malignant (9)"}
    labels = defaultdict(set)
    for row in rows.values():
        labels[row["fold"]].add(row["label"])
    assert all(labels[str(fold)] == set(LABELS) for fold in range(5))
    split = read_split(read_dataset(dataset), [out])
    assert len(split.train) + len(split.validation) + len(split.test) == 16
    assert count_leaks(split, [out]) == (0, 0)


def test_folds_depend_on_the_seed_alone(dataset):
    samples = read_dataset(dataset)
    groups = group_samples(samples, [])
    first, again, other = (
        assign_folds(samples, groups, (), seed) for seed in (0, 0, 1)
    )

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_split_of_too_few_scans_is_refused(dataset, tmp_path, capsys):
    file_of(dataset, "normal (5)").unlink()
    out = tmp_path / "folds.csv"

    assert main(["data", "split", str(dataset), "--out", str(out)]) == 2

    assert "normal has 4; add images" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("folds.txt", "ends with .csv"), ("taken.csv", "exists already")],
)
def test_split_refuses_the_name(dataset, tmp_path, capsys, name, message):
    (tmp_path / "taken.csv").write_text("kept", encoding="utf-8")

    code = main(["data", "split", str(dataset), "--out", str(tmp_path / name)])

    assert code == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "taken.csv").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("command", ["verify", "split"])
def test_what_is_no_dataset_is_one_line(tmp_path, capsys, command):
    options = ["--out", str(tmp_path / "folds.csv")] if command == "split" else []

    assert main(["data", command, str(tmp_path / "nowhere"), *options]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere" in line


def test_missing_opencv_says_what_to_install(dataset, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for module in ("duplicates", "scans", "verification"):
        name = f"keras_efsnet.training.datasets.{module}"
        monkeypatch.delitem(sys.modules, name, False)
        monkeypatch.delattr(name, raising=False)

    assert main(["data", "verify", str(dataset)]) == 2

    assert 'pip install "keras-efsnet[train]"' in capsys.readouterr().err


def write_lists(folder: Path) -> tuple[str, str]:
    """Stem lists: number 1 of each class validates, the rest trains."""
    stems = [sample.stem for sample in read_dataset(folder)]
    held_out = [stem for stem in stems if stem.endswith("(1)")]
    paths = folder / "train.txt", folder / "val.txt"
    paths[0].write_text("\n".join(s for s in stems if s not in held_out))
    paths[1].write_text("\n".join(held_out))
    return str(paths[0]), str(paths[1])


def test_leaks_of_stem_lists_are_looked_for_once(dataset, tmp_path, cache, monkeypatch):
    copy_scan(dataset, "benign (1)", "benign (9)")
    copy_scan(dataset, "benign (2)", "benign (10)")  # Both in training: no leak.
    lists = write_lists(dataset)
    split = read_split(read_dataset(dataset), lists)

    assert count_leaks(split, lists) == (1, 2)

    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(
        "keras_efsnet.training.datasets.duplicates.find_duplicates",
        lambda images, progress: pytest.fail("looked for again"),
    )
    assert count_leaks(split, lists) == (1, 2)


def test_changed_images_are_looked_at_again(dataset):
    lists = write_lists(dataset)
    split = read_split(read_dataset(dataset), lists)
    assert count_leaks(split, lists) == (0, 0)

    shutil.copy(file_of(dataset, "benign (1)"), file_of(dataset, "benign (3)"))

    assert count_leaks(split, lists) == (1, 2)


def test_groups_of_a_folds_file_are_taken_at_its_word(dataset, tmp_path, cache):
    path = tmp_path / "folds.csv"
    stems = [sample.stem for sample in read_dataset(dataset)]
    rows = [f"{s},{s.split(' ')[0]},{n % 14},{n % 5}" for n, s in enumerate(stems)]
    path.write_text("\n".join(["stem,label,group,fold", *rows]), encoding="utf-8")

    # Rows 0 and 14 are group 0, in the folds 0 and 4.
    assert count_leaks(read_split(read_dataset(dataset), [path]), [path]) == (1, 2)
    assert not cache.exists()


@pytest.mark.parametrize(("resume", "warnings"), [(False, 1), (True, 0)])
def test_train_warns_at_the_start_of_a_run(
    dataset, tmp_path, caplog, monkeypatch, resume, warnings
):
    copy_scan(dataset, "benign (1)", "benign (9)")
    lists = write_lists(dataset)
    settings = TrainSettings(data=str(dataset), split=lists)
    run = tmp_path / "run"
    if resume:
        run.mkdir()
        (run / "state.npz").touch()
        digest = read_split(read_dataset(dataset), lists).digest
        facts = {"settings": settings.to_json(), "split_digest": digest}
        (run / "settings.json").write_text(json.dumps(facts))

    class Stop(Exception):
        pass

    def stop(*arguments):
        raise Stop

    monkeypatch.setattr(training.pipeline, "load_cache", stop)
    with caplog.at_level(logging.WARNING), pytest.raises(Stop):
        training.train(settings, run, resume=resume)

    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == warnings
    assert all("1 scans (2 near-duplicate images) lie in" in m for m in messages)


@pytest.fixture
def start_training(dataset, tmp_path, monkeypatch):
    """Runs `efsnet train` on a split with a shared scan, up to reading the images."""
    copy_scan(dataset, "benign (1)", "benign (9)")
    lists = write_lists(dataset)

    class Stop(Exception):
        pass

    def stop(*arguments):
        raise Stop

    monkeypatch.setattr(training.pipeline, "load_cache", stop)

    def start(*options: str) -> None:
        splits = [word for file in lists for word in ("--split", file)]
        words = ["train", "--data", str(dataset), *splits, *options]
        with pytest.raises(Stop):
            main([*words, "--out", str(tmp_path / "run")])

    return start


def test_train_shows_its_search_and_warns_once(start_training, monkeypatch, capsys):
    bars: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def bar(description):
        yield lambda *step: bars.setdefault(description, []).append(step)

    monkeypatch.setattr("keras_efsnet.cli.console.progress_bar", bar)

    start_training()

    error = capsys.readouterr().err
    assert error.count("1 scans (2 near-duplicate images) lie in more than one") == 1
    steps = bars["Looking for shared scans"]
    assert len(steps) > 16 and steps[-2:] == [(48, 48), (1, 1)]
    steps.clear()
    start_training()
    assert steps == [(1, 1)]
    assert "1 scans (2 near-duplicate images)" in capsys.readouterr().err


def test_train_skips_the_search(start_training, monkeypatch, capsys, caplog):
    monkeypatch.setattr(
        "keras_efsnet.training.datasets.duplicates.find_duplicates",
        lambda images, progress: pytest.fail("looked for"),
    )

    start_training("--skip-scan-check")

    assert "near-duplicate" not in capsys.readouterr().err + caplog.text


@pytest.mark.busi
@pytest.mark.slow
def test_busi_duplicates(tmp_path):
    if not os.environ.get("BUSI_DIR") or not os.environ.get("BUSI_SPLITS"):
        pytest.skip("BUSI_DIR or BUSI_SPLITS is unset; they name BUSI's folders")
    code, report = verify(Path(os.environ["BUSI_DIR"]), tmp_path)

    assert code == 1
    truth = folds_of(Path(os.environ["BUSI_SPLITS"]) / "busi_grouped_folds.csv")
    group = {stem: row["group"] for stem, row in truth.items()}
    found = [[Path(i).stem for i in g["images"]] for g in report["duplicate_groups"]]
    assert all(len({group[stem] for stem in stems}) == 1 for stems in found)
    assert sum(map(len, found)) > 0.95 * 347
    assert len(report["problems"]) == 8
