"""The report: complete, self-contained, and clear about what it cannot read."""

import base64
import io
import json
import re

import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.training.report import _draw_curves, _read_log

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
    assert "Dice, all images</td><td>0.500</td><td>0.250 to 0.750" in page
    assert "left:25.0%;width:50.0%" in page
    assert "HD95 in pixels, images with a lesion</td><td>30.0</td>" in page
    assert "accuracy of the class" not in page.partition("Subgroups")[0]
    assert "runs/a &amp; b/best.keras on the validation subset" in page
    assert "folds &lt;b&gt;.csv, 30 images, protocol B" in page
    assert "with &lt;text&gt;</td><td>20</td><td>0.25 (0.00 to 0.50)" in page
    assert "axilla</td><td>2</td><td>1.00 (too few)" in page
    assert "fewer than 10 patients or scans" in page
    assert "Sources" not in page
    assert [kind for kind, _ in pictures(page)] == ["png", "png", "jpeg"]
    assert "Worst cases" in page
    assert "Best cases" not in page
    assert "Settings" not in page


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

    assert "expected calibration error</td><td>0.110</td><td>none</td>" in page
    assert "<th>&lt;a&gt;, 30 images</th><th>b, 9 images</th>" in page
    rate = "normal images with a false mask</td><td>0.25 (0.00 to 0.50)</td>"
    assert f"{rate}<td></td><td>0.25 (&lt;a&gt;)</td>" in page
    ece = "<td>0.20</td><td>0.10 (too few)</td><td>0.15</td>"
    assert f"expected calibration error</td>{ece}" in page


def test_run(run, tmp_path, capsys):
    page = make(tmp_path, capsys, run)
    assert "3 epochs; best validation Dice 0.600 after epoch 2." in page
    assert "settings.augmentation.shear</td><td>0.1</td>" in page
    ((kind, (width, _)),) = pictures(page)
    assert (kind, width) == ("png", 1800)


def test_both_need_nothing_from_elsewhere(run, evaluation, tmp_path, capsys):
    page = make(tmp_path, capsys, run, evaluation / "metrics.json")
    assert "<title>Report: run, evaluation</title>" in page
    assert page.count("<section ") == page.count("</section>") == 6
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


def test_a_panel_compares_one_function(run):
    """The sums of the losses are two functions."""
    panel, *_ = _draw_curves(_read_log(run / "log.csv")).axes
    curves = {line.get_label(): line.get_ydata().tolist() for line in panel.lines}
    assert curves["training, augmented"] == [1.0, 0.8, 0.6]
    assert curves["validation"] == [0.9, 0.7, 0.5]
