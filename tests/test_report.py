"""The report: complete, self-contained, and clear about what it cannot read."""

import base64
import io
import json
import re
from datetime import date
from html import escape

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from keras_efsnet.cli import main
from keras_efsnet.training.learning_curves import PANELS, draw_curves, read_log
from keras_efsnet.training.plots import CHARTS

LOG = """epoch,class_sparse_categorical_accuracy,loss,mask_dice,mask_loss,\
val_class_sparse_categorical_accuracy,val_loss,val_mask_dice,val_mask_loss
0,0.4,1.5,0.1,1.0,0.5,1.4,0.2,0.9
1,0.5,1.2,0.3,0.8,0.5,1.3,0.6,0.7
2,0.6,1.1,0.4,0.6,0.5,1.3,0.5,0.5
"""
METRICS = {
    "n": 30,
    "mask": {"dice": 0.5, "dice_ci": [0.25, 0.75], "hd95_tumour": 30.0},
    "class": {"accuracy": None, "accuracy_ci": None, "confusion": [[1, 2], [3, 4]]},
    "split": {"name": "folds <b>.csv", "digest": "12ab"},
    "subset": "validation",
    "model": "runs/a & b/best.keras",
    "protocol": "B",
    "subgroups": {
        "with <text>": {"n": 20, "mask": {"dice": 0.25, "dice_ci": [0.0, 0.5]}},
        "axilla": {"n": 2, "mask": {"dice": 1.0, "dice_ci": [1.0, 1.0]}},
    },
}
"""As earlier versions wrote it: without groups and sources."""
METRICS["mask"]["hd95_tumour_ci"] = [10.0, 50.5]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.csv").write_text(LOG)
    facts = {"settings": {"epochs": 3, "augmentation": {"shear": 0.1}}, "backend": "x"}
    (folder / "settings.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def evaluation(tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    for name in ("roc", "dice_by_size", "worst_cases"):
        Image.new("RGB", (30, 20), "red").save(folder / f"{name}.png")
    return folder


def make(tmp_path, capsys, *sources):
    out = tmp_path / "report.html"
    assert main(["report", *map(str, sources), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 0.")
    return out.read_text(encoding="utf-8")


def pictures(page):
    for kind, data in re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format.lower() == kind
            yield kind, image.size


def test_evaluation(evaluation, tmp_path, capsys):
    page = make(tmp_path, capsys, evaluation)
    assert "Dice, all images</th><td>0.500</td><td>0.250 to 0.750" in page
    assert "left:25.0%;width:50.0%" in page
    assert "HD95 in pixels, images with a lesion</th><td>30.0</td>" in page
    assert "accuracy of the class" not in page.partition("Subgroups")[0]
    opening = page.partition("<h2>What was found</h2>")[2].partition("</p>")[0]
    assert opening == (
        "<p>runs/a &amp; b/best.keras was evaluated on the validation subset of "
        "folds &lt;b&gt;.csv, 30 images, by protocol B."
    )
    assert "with &lt;text&gt;</th><td>20</td><td>0.25 (0.00 to 0.50)" in page
    assert "axilla</th><td>2</td><td>1.00 (too few)" in page
    assert "fewer than 10 patients or scans" in page
    assert "Sources" not in page
    assert [kind for kind, _ in pictures(page)] == ["png", "png", "jpeg"]
    assert titles(page) == ["What was found", "Charts", "Cases", "Figures", "Subgroups"]
    assert "Worst cases: " in page
    assert "Best cases: " not in page


def titles(page):
    return re.findall("<h2>(.*?)</h2>", page)


def test_evaluation_opens_with_what_was_found(evaluation, tmp_path, capsys):
    def part(dice, referred):
        return {
            "n": 30,
            "mask": {"dice_tumour": dice, "dice_tumour_ci": [0.5, 0.75]},
            "class": {
                "sensitivity_at_90_specificity": 0.8,
                "sensitivity_at_90_specificity_ci": None,
                "auroc_malignant_benign": 0.9,
                "auroc_malignant_benign_ci": [0.8, 0.95],
            },
            "refer": {"referred": referred, "referred_ci": [0.1, 0.3]},
        }

    metrics = {
        **METRICS,
        **part(0.625, 0.2),
        **{"date": "2026-01-31", "groups": 20, "seen": 3},
        "sources": {"a": part(0.7, 0.1), "<b>": part(0.5, None)},
        "mean_over_sources": {"sources": []},
        "patients": {**part(None, None), "n": 20},
    }
    (evaluation / "metrics.json").write_text(json.dumps(metrics))

    page = make(tmp_path, capsys, evaluation)

    opening = page.partition("</h2>")[2].partition("</section>")[0]
    words = re.findall("<(?:p|li)>(.*?)</", opening.replace("\N{NO-BREAK SPACE}", " "))
    assert words == [
        "runs/a &amp; b/best.keras was evaluated on 2026-01-31 on the validation "
        "subset of folds &lt;b&gt;.csv, 30 images of 20 patients or scans from a and "
        "&lt;b&gt;, by protocol B.",
        "3 of the images trained the model, so the figures are too good for new "
        "images.",
        "Mean Dice of the images with a lesion: 0.62 (0.50 to 0.75); a 0.70, "
        "&lt;b&gt; 0.50.",
        "AUROC of malignant against benign: 0.90 (0.80 to 0.95); a 0.90, "
        "&lt;b&gt; 0.90.",
        "Sensitivity for malignant lesions at 90 % specificity: 0.80; a 0.80, "
        "&lt;b&gt; 0.80.",
        "By patient or scan: AUROC of malignant against benign: 0.90 (0.80 to 0.95).",
        "For comparison: S-Detect, a commercial system, has a sensitivity of 0.82 at a "
        "specificity of 0.83 (pooled from 11 studies with other images; Wang and Meng, "
        "Medicine 101(34), 2022).",
        "Images referred to a person: 20 % (10 % to 30 %); a 10 %.",
    ]
    assert f"Made on {date.today().isoformat()} by keras-efsnet" in page


def test_all_images_of_a_dataset_are_said(evaluation, tmp_path, capsys):
    metrics = {**METRICS, "split": {"name": "none", "digest": "12ab"}}
    (evaluation / "metrics.json").write_text(json.dumps(metrics))

    page = make(tmp_path, capsys, evaluation)

    assert "was evaluated on all 30 images, by protocol B." in page


def test_pictures_have_their_own_alternative_text(evaluation, tmp_path, capsys):
    facts = PngInfo()
    facts.add_text("Description", 'ROC of "a"; area 0.9.')
    Image.new("RGB", (30, 20)).save(evaluation / "roc.png", pnginfo=facts)

    page = make(tmp_path, capsys, evaluation)

    texts = re.findall('alt="(.*?)"', page)
    assert texts[0] == "ROC of &quot;a&quot;; area 0.9."
    assert texts[1] == escape(CHARTS["dice_by_size"])


def test_sources_and_metrics_without_interval(evaluation, tmp_path, capsys):
    def part(n, ece, rate=None):
        interval = rate and [0.0, 0.5]
        return {
            **{"n": n, "groups": n},
            "mask": {
                "normal_false_positive_rate": rate,
                "normal_false_positive_rate_ci": interval,
            },
            "class": {"ece": ece, "ece_ci": None},
        }

    means = {
        "sources": ["<a>", "b"],
        "mask": {
            "normal_false_positive_rate": 0.25,
            "normal_false_positive_rate_sources": ["<a>"],
        },
        "class": {"ece": 0.15, "ece_sources": ["<a>", "b"]},
    }
    metrics = {
        **METRICS,
        **part(39, 0.11),
        "sources": {"<a>": part(30, 0.2, 0.25), "b": part(9, 0.1)},
        "mean_over_sources": means,
        "subgroups": {},
    }
    (evaluation / "metrics.json").write_text(json.dumps(metrics))

    page = make(tmp_path, capsys, evaluation)

    assert "expected calibration error</th><td>0.110</td><td>none</td>" in page
    heads = re.findall('<th scope="col">(.*?)</th>', page)
    assert heads[-3:-1] == ["&lt;a&gt;, 30 images", "b, 9 images"]
    rate = "normal images with a false mask</th><td>0.25 (0.00 to 0.50)</td>"
    assert f"{rate}<td></td><td>0.25 (&lt;a&gt;)</td>" in page
    ece = "<td>0.20</td><td>0.10 (too few)</td><td>0.15</td>"
    assert f"expected calibration error</th>{ece}" in page


def test_run(run, tmp_path, capsys):
    page = make(tmp_path, capsys, run)
    assert "3 epochs; best validation Dice 0.600 after epoch 2." in page
    assert "settings.augmentation.shear</th><td>0.1</td>" in page
    assert [kind for kind, _ in pictures(page)] == ["png"] * 3
    assert 'alt="Loss of the mask; training, augmented: 0.600 at the end; ' in page
    assert titles(page) == ["Training", "Learning curves", "Settings"]


def test_both_need_nothing_from_elsewhere(run, evaluation, tmp_path, capsys):
    page = make(tmp_path, capsys, run, evaluation / "metrics.json")
    assert "<title>Report: run, evaluation</title>" in page
    assert titles(page) == [
        *("Training: run", "What was found: evaluation", "Learning curves: run"),
        *("Charts: evaluation", "Cases: evaluation", "Figures: evaluation"),
        *("Subgroups: evaluation", "Settings: run"),
    ]
    assert page.count("<section ") == page.count("</section>") == 8
    links = re.findall(r'(?:src|href)="([^"]{,20})', page)
    assert all(link.startswith("data:image/") for link in links)
    assert not re.search(r"<script|<link|@import|url\(|https?:", page)
    assert "prefers-color-scheme: dark" in page
    assert "$" not in page


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("evaluation/metrics.json", "{"),
        ("evaluation/metrics.json", '{"n": 3}'),
        ("run/settings.json", "no JSON"),
        ("run/log.csv", "epoch,loss\n0,\n"),
        ("run/log.csv", "epoch,loss\n0,1\n1\n"),
        ("run/log.csv", "epoch,loss\n0,1\n"),
    ],
)
def test_a_damaged_file_is_named(file, content, run, evaluation, tmp_path, capsys):
    (tmp_path / file).write_text(content)
    out = tmp_path / "report.html"
    assert main(["report", str(run), str(evaluation), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / file}: not as `efsnet` writes it")
    assert not out.exists()


def test_a_folder_of_something_else(tmp_path, capsys):
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "r.html")]) == 2
    assert "no settings.json or metrics.json here" in capsys.readouterr().err


def test_a_run_without_an_epoch_shows_its_settings(run, tmp_path, capsys):
    (run / "log.csv").write_text("")
    page = make(tmp_path, capsys, run)
    assert "Learning curves" not in page
    assert "settings.epochs" in page


def test_a_curve_compares_one_function(run):
    """The sums of the losses are two functions."""
    figure = draw_curves(read_log(run / "log.csv"))["Loss of the mask"]
    curves = {
        line.get_label().partition(":")[0]: line.get_ydata().tolist()
        for line in figure.axes[0].lines
    }
    assert curves["training, augmented"] == [1.0, 0.8, 0.6]
    assert curves["validation"] == [0.9, 0.7, 0.5]


@pytest.mark.parametrize("epochs", [1, 2, 3, 60])
def test_epochs_are_whole_numbers(epochs):
    ones = np.ones(epochs)
    columns = (f"{part}{name}" for name in PANELS.values() for part in ("", "val_"))
    log = {"epoch": np.arange(epochs), **dict.fromkeys(columns, ones)}
    for figure in draw_curves(log).values():
        figure.canvas.draw()
        (axes,) = figure.axes
        ticks = axes.get_xticks()
        assert np.array_equal(ticks, ticks.round())
        assert not axes.get_legend()
