"""HD95, the two protocols, and the files of an evaluation."""

import csv
import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.labels import LABELS
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.prediction.referral import ReferralRule
from keras_efsnet.training.breakdown import group_by_size
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.evaluate import evaluate, hd95
from keras_efsnet.training.per_image import read_table
from keras_efsnet.training.scores import compute_metrics

FILES = {
    *("metrics.json", "per_image.csv", "roc.png", "confusion.png"),
    *("roc_malignant_benign.png", "figures.png", "reliability.png"),
    *("dice_histogram.png", "dice_by_size.png", "risk_coverage.png"),
    *("worst_cases.png", "median_cases.png", "best_cases.png"),
}


def disc(shape, centre, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def outline_points(mask):
    """Lesion pixels with a neighbour that is not lesion, one by one."""
    framed = np.pad(mask, 1)
    return np.array(
        [
            (row, column)
            for row, column in np.argwhere(mask)
            if not (
                framed[row, column + 1]
                and framed[row + 2, column + 1]
                and framed[row + 1, column]
                and framed[row + 1, column + 2]
            )
        ]
    )


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        (disc((40, 50), (20, 20), 9), disc((40, 50), (22, 25), 6)),
        (disc((40, 50), (0, 0), 12), disc((40, 50), (39, 49), 7)),
        (
            disc((40, 50), (10, 10), 5),
            disc((40, 50), (10, 10), 5) | disc((40, 50), (30, 44), 4),
        ),
    ],
)
def test_hd95_is_that_of_all_pairs_of_outline_pixels(truth, prediction):
    one, other = outline_points(truth), outline_points(prediction)
    distances = np.linalg.norm(one[:, np.newaxis] - other, axis=-1)
    there = np.percentile(distances.min(axis=1), 95)
    back = np.percentile(distances.min(axis=0), 95)

    assert hd95(truth, prediction) == pytest.approx(max(there, back))
    assert hd95(prediction, truth) == pytest.approx(max(there, back))


def test_hd95_of_empty_masks():
    empty, lesion = np.zeros((30, 40), bool), disc((30, 40), (10, 10), 3)

    assert hd95(lesion, lesion) == 0.0
    assert hd95(lesion, empty) == 50.0
    assert hd95(empty, lesion) is None
    assert hd95(empty, empty) is None


class FakeNetwork:
    """Predicts the bright pixels, and the class by the image's place in the list."""

    def __init__(self, labels, rules=None, size=(32, 48), classes=3):
        self.size = size
        self.rules = rules or Postprocess()
        self.classes = np.eye(3, classes)[[LABELS.index(label) for label in labels]]
        self.seen: list[np.ndarray] = []

    def __call__(self, images):
        first = sum(map(len, self.seen))
        self.seen.append(images)
        places = np.arange(first, first + len(images)) % len(self.classes)
        classes = 0.8 * self.classes[places] + 0.2 / 3
        return {"mask": images / 255, "class": classes.astype(np.float32)}


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Two images a class of 32 x 48 pixels, lesions bright, read in `LABELS` order."""
    folder = tmp_path / "data"
    for number, label in enumerate(label for label in LABELS for _ in range(2)):
        lesion = np.zeros((32, 48), np.uint8)
        if label != "normal":
            lesion[8:16, 4 * number : 4 * number + 16] = 255
        (folder / label).mkdir(parents=True, exist_ok=True)
        path = folder / label / f"{label} ({number}).png"
        Image.fromarray(lesion).save(path)
        Image.fromarray(lesion).save(path.with_name(f"{path.stem}_mask.png"))
    return read_dataset(folder)


def run(samples, out, protocol="B", network=None, plots=False, **more):
    """Evaluates; plots take the most time, so most tests leave them out."""
    network = network or FakeNetwork([sample.label for sample in samples])
    drawing = patch("keras_efsnet.training.evaluate.write_plots")
    with nullcontext() if plots else drawing:
        return evaluate(
            network,
            samples,
            split_digest="12ab",
            split_name="folds.csv, fold 0",
            subset="test",
            model_name="fake",
            protocol=protocol,
            out=out,
            **more,
        )


def test_a_perfect_network_has_perfect_figures(samples, tmp_path):
    metrics = run(samples, tmp_path / "out")

    assert metrics["n"] == 6
    for name in ("iou", "dice", "iou_pooled", "f1_batch8"):
        assert metrics["mask"][name] == pytest.approx(1)
    assert metrics["mask"]["hd95_tumour"] == 0
    assert metrics["mask"]["normal_false_positive_rate"] == 0
    assert metrics["class"]["confusion"] == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert metrics["class"]["auroc_macro"] == 1


def test_all_files_are_written_and_nothing_else(samples, tmp_path):
    out = tmp_path / "new" / "out"

    metrics = run(samples, out, plots=True)

    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert list(metrics) == [
        "n",
        "groups",
        "mask",
        "class",
        "refer",
        "split",
        "subset",
        "model",
        "date",
        "protocol",
        "seen",
        "sources",
        "mean_over_sources",
        "patients",
        "subgroups",
    ]
    assert metrics["split"] == {"name": "folds.csv, fold 0", "digest": "12ab"}
    assert metrics["date"] == date.today().isoformat()
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").resize((64, 64)).getcolors(4096)) > 3


def test_table_holds_a_row_an_image_and_gives_the_metrics_again(samples, tmp_path):
    metrics = run(samples, tmp_path)

    with (tmp_path / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (
        *("stem", "source", "group", "label", "predicted"),
        *("p_normal", "p_benign", "p_malignant", "height", "width"),
        *("truth_px", "predicted_px", "intersection_px", "iou", "dice", "hd95"),
        *("mask_peak", "mask_margin", "refer"),
    )
    assert [row["stem"] for row in rows] == [sample.stem for sample in samples]
    assert [row["predicted"] for row in rows] == [sample.label for sample in samples]
    assert [row["hd95"] for row in rows] == ["", "", *["0.0"] * 4]
    assert [row["source"] for row in rows] == ["busi"] * 6
    assert [row["group"] for row in rows] == [sample.stem for sample in samples]
    assert [float(row["mask_peak"]) for row in rows] == [0, 0, 1, 1, 1, 1]
    again = compute_metrics(read_table(tmp_path / "per_image.csv"))
    assert again == {key: metrics[key] for key in again}


def test_tables_of_earlier_versions_can_be_read(samples, tmp_path):
    metrics = run(samples, tmp_path)
    path = tmp_path / "per_image.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        new = ("source", "group", "mask_peak")
        old = [name for name in rows[0] if name not in new]
        writer = csv.DictWriter(file, old, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)

    again = compute_metrics(read_table(path))

    assert again["groups"] == 6
    assert again["class"] == metrics["class"]
    assert again["mask"]["auroc_lesion_mask_peak"] is None


def test_images_are_grouped_by_patient_or_as_told(samples, tmp_path):
    known = [replace(sample, patient="7") for sample in samples[:2]]
    told = {sample.stem: "one scan" for sample in samples[3:5]}

    metrics = run([*known, *samples[2:]], tmp_path, groups=told)

    rows = read_table(tmp_path / "per_image.csv")
    assert [row.group for row in rows] == [
        *["busi/7"] * 2,
        *(samples[2].stem, "one scan", "one scan", samples[5].stem),
    ]
    assert (metrics["n"], metrics["groups"]) == (6, 4)


def test_sources_are_apart_and_their_mean_counts_each_once(samples, tmp_path):
    # The second source has a perfect and a wrong class, and no normal image.
    elsewhere = [replace(sample, source="else") for sample in samples[4:]]
    labels = ["normal", "benign", "benign", "benign", "malignant", "benign"]

    metrics = run([*samples[:4], *elsewhere], tmp_path, network=FakeNetwork(labels))

    assert list(metrics["sources"]) == ["busi", "else"]
    busi, other = metrics["sources"].values()
    assert (busi["n"], other["n"]) == (4, 2)
    assert other["mask"]["normal_false_positive_rate"] is None
    means = metrics["mean_over_sources"]
    assert means["sources"] == ["busi", "else"]
    assert means["class"]["accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert means["class"]["accuracy_sources"] == ["busi", "else"]
    rate = busi["mask"]["normal_false_positive_rate"]
    assert means["mask"]["normal_false_positive_rate"] == rate
    assert means["mask"]["normal_false_positive_rate_sources"] == ["busi"]
    assert means["class"]["auroc_malignant_benign"] is None
    assert means["class"]["auroc_malignant_benign_sources"] == []


def test_network_gets_float32_images_of_its_size(samples, tmp_path):
    labels = [sample.label for sample in samples] * 2
    network = FakeNetwork(labels, size=(16, 24))

    run(samples * 2, tmp_path, network=network)

    assert sum(map(len, network.seen)) >= 12
    for images in network.seen:
        assert images.dtype == np.float32
        assert images.shape[1:] == (16, 24, 1)
        assert images.max() == 255


def test_protocol_b_scores_at_the_image_size_after_the_rules(samples, tmp_path):
    # The lesions cover a twelfth of the image and P(class) is 0.87.
    labels = [sample.label for sample in samples]
    dropped = FakeNetwork(labels, Postprocess(minimum_lesion_fraction=0.1))
    gated = FakeNetwork(["normal"] * 6, Postprocess(normal_gate=0.8))

    rows = {}
    for name, network in (("dropped", dropped), ("gated", gated)):
        run(samples, tmp_path / name, network=network)
        rows[name] = read_table(tmp_path / name / "per_image.csv")

    for table in rows.values():
        assert [row.predicted_px for row in table] == [0] * 6
        assert [row.truth_px for row in table] == [0, 0, *[128] * 4]
        assert [(row.height, row.width) for row in table] == [(32, 48)] * 6
        assert table[2].hd95 == pytest.approx(np.hypot(32, 48))


def test_protocol_a_scores_the_raw_cut_at_256(samples, tmp_path):
    network = FakeNetwork(["normal"] * 6, Postprocess(0.5, normal_gate=0.1))

    metrics = run(samples[2:], tmp_path, protocol="A", network=network)

    assert metrics["protocol"] == "A"
    rows = read_table(tmp_path / "per_image.csv")
    for row in rows:
        assert (row.height, row.width) == (256, 256)
        assert row.truth_px == pytest.approx(256**2 / 12, rel=0.05)
        assert row.predicted_px == pytest.approx(row.truth_px, rel=0.1)


def test_a_lesion_found_in_a_normal_image_is_a_false_positive(samples, tmp_path):
    bright = replace(samples[0], image=samples[2].image)

    metrics = run([bright, *samples[1:]], tmp_path)

    assert metrics["mask"]["normal_false_positive_rate"] == 0.5
    assert metrics["mask"]["dice"] == pytest.approx(5 / 6)
    assert metrics["mask"]["dice_tumour"] == pytest.approx(1)


def test_reasons_and_margins_are_in_the_table(samples, tmp_path):
    # Every mask is sure: its highest probability is 0 or 1.
    rule = ReferralRule(minimum_class_probability=0.9, minimum_mask_margin=0.9)
    labels = ["benign", *(sample.label for sample in samples[1:])]

    run(samples, tmp_path, network=FakeNetwork(labels, Postprocess(refer=rule)))

    rows = read_table(tmp_path / "per_image.csv")
    assert [row.mask_margin for row in rows] == pytest.approx([1] * 6)
    assert rows[0].refer == ("class unsure", "mask and class disagree")
    assert [row.refer for row in rows[1:]] == [("class unsure",)] * 5


def test_subgroups_have_the_figures_of_their_images(samples, tmp_path):
    subgroups = {
        "text": {samples[0].stem, samples[3].stem},
        "absent": {"benign (99)"},
        "none": {sample.stem for sample in samples},
    }

    metrics = run(samples, tmp_path, subgroups=subgroups)

    assert list(metrics["subgroups"]) == [
        *("text", "none", "lesion size: 3 to 10 %"),
    ]
    rows = read_table(tmp_path / "per_image.csv")
    assert metrics["subgroups"]["text"] == compute_metrics([rows[0], rows[3]])
    assert metrics["subgroups"]["none"]["mask"] == metrics["mask"]
    # Each lesion covers a twelfth of its image.
    assert metrics["subgroups"]["lesion size: 3 to 10 %"]["n"] == 4


def test_lesion_sizes_are_shares_of_the_image(samples, tmp_path):
    run(samples, tmp_path)
    row = read_table(tmp_path / "per_image.csv")[2]
    pixels = {"a": 0, "b": 29, "c": 30, "d": 99, "e": 100, "f": 1000}
    rows = [
        replace(row, stem=stem, truth_px=truth, intersection_px=0, height=100, width=10)
        for stem, truth in pixels.items()
    ]

    assert group_by_size(rows) == {
        "lesion size: below 3 %": {"b"},
        "lesion size: 3 to 10 %": {"c", "d"},
        "lesion size: 10 % or more": {"e", "f"},
    }


def test_pictures_of_an_earlier_evaluation_are_removed(samples, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("missed_cases.png", "mine.png"):
        (out / name).write_bytes(b"old")

    run(samples, out)

    assert [path.name for path in out.glob("*.png")] == ["mine.png"]


def test_pictures_show_the_picked_images(samples, tmp_path):
    with patch("keras_efsnet.training.evaluate.write_plots") as drawing:
        metrics = evaluate(
            FakeNetwork([sample.label for sample in samples]),
            [replace(samples[0], image=samples[2].image), *samples[1:]],
            **{"split_digest": "", "split_name": "", "subset": "test"},
            **{"model_name": "fake", "protocol": "B", "out": tmp_path},
        )

    _, sources, cases, _ = drawing.call_args.args
    assert sources == metrics["sources"]
    stems = {name: [c.score.stem for c in shown] for name, shown in cases.items()}
    lesions = [sample.stem for sample in samples[2:]]
    kinds = ("best_cases", "median_cases", "worst_cases")
    assert stems == dict.fromkeys(kinds, lesions) | {"false_masks": [samples[0].stem]}
    (false,) = cases["false_masks"]
    assert false.prediction.sum() == 128
    assert not false.truth.any()


def test_progress_counts_the_images(samples, tmp_path):
    calls = []

    run(samples, tmp_path, progress=lambda done, total: calls.append((done, total)))

    assert calls == [(done, 6) for done in range(1, 7)]


def test_a_failed_evaluation_leaves_the_earlier_one(samples, tmp_path):
    out = tmp_path / "out"
    run(samples, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    samples[-1].image.write_bytes(b"no image")

    with pytest.raises(ValueError, match="not an image"):
        run(samples, out)

    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_one_class_and_one_image_are_enough(samples, tmp_path):
    metrics = run(samples[:1], tmp_path, plots=True)

    assert metrics["class"]["auroc_macro"] is None
    assert "NaN" not in (tmp_path / "metrics.json").read_text()
    written = {path.name for path in tmp_path.iterdir()}
    cases = {f"{name}_cases.png" for name in ("best", "median", "worst")}
    assert written - {"data"} == FILES - cases


def test_tumour_image_without_mask_is_refused(samples, tmp_path):
    unmasked = replace(samples[3], masks=())

    with pytest.raises(
        ValueError, match=r"benign \(3\)\.png: .* mask for every tumour"
    ):
        run([*samples[:3], unmasked], tmp_path)


def test_wrong_arguments_are_refused(samples, tmp_path):
    with pytest.raises(ValueError, match="the test subset has no image"):
        run([], tmp_path)
    with pytest.raises(ValueError, match="protocol must be A, B or C, got D"):
        run(samples, tmp_path, protocol="D")
    with pytest.raises(ValueError, match=r"got probabilities of shape \(5,\)"):
        labels = [sample.label for sample in samples]
        run(samples, tmp_path, "A", FakeNetwork(labels, classes=5))
