"""Prediction in shards: what is done, what a second run does, what it refuses."""

import importlib.util
import json
import shutil
import sys

import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.prediction import archive as sharding

SHARD_FILES = "predictions/[0-9]*.json"
SHARDS = ["000000.json", "000001.json", "000002.json"]


@pytest.fixture
def archive(tmp_path, scan, monkeypatch):
    """A folder of seven images, the fifth damaged, for shards of three."""
    monkeypatch.setattr(sharding, "SHARD", 3)
    folder = tmp_path / "archive"
    folder.mkdir()
    for number in range(7):
        Image.fromarray(scan[number:]).save(folder / f"{number}.png")
    (folder / "4.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def shards_done(monkeypatch):
    """The numbers of the shards that were predicted, in this process without Ray."""
    done = []

    def run(rows, workers, arguments):
        worker = sharding._Worker(*arguments)
        for row in rows:
            done.append(row["number"])
            yield worker(row)["number"]

    monkeypatch.setattr(sharding, "_run_on_ray", run)
    return done


def predict(archive, out, *options):
    return main(["predict", str(archive), "--out", str(out), *options])


def records(out, pattern):
    """The records of files in their order, without what differs by chance."""
    texts = [file.read_text() for file in sorted(out.glob(pattern))]
    found = [record for text in texts for record in json.loads(text)]
    return [{k: v for k, v in r.items() if k != "milliseconds"} for r in found]


def test_shards_hold_what_the_ordinary_command_writes(
    archive, tmp_path, shards_done, capsys
):
    out, plain = tmp_path / "out", tmp_path / "plain"
    assert predict(archive, out, "--workers", "2") == 1
    assert "6 of 7 images" in capsys.readouterr().out
    assert shards_done == [0, 1, 2]
    assert predict(archive, plain) == 1
    assert records(out, SHARD_FILES) == records(plain, "predictions.json")
    images = sorted(plain.glob("*.png"))
    assert len(images) == 12
    for image in images:
        assert (out / image.name).read_bytes() == image.read_bytes()


def test_a_second_run_predicts_the_shards_that_are_missing(
    archive, tmp_path, shards_done, capsys
):
    out = tmp_path / "out"
    predict(archive, out, "--workers", "2")
    (out / "predictions" / SHARDS[1]).unlink()
    shards_done.clear()
    capsys.readouterr()
    assert predict(archive, out, "--workers", "1") == 1
    assert shards_done == [1]
    assert "6 of 7 images" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["model", "images"])
def test_another_run_does_not_go_on_in_the_folder(
    archive, tmp_path, shards_done, change, capsys
):
    predict(archive, tmp_path / "out", "--workers", "2")
    options = ["--kind", "int8"] if change == "model" else []
    if change == "images":
        shutil.copy(archive / "0.png", archive / "new.png")
    assert predict(archive, tmp_path / "out", "--workers", "2", *options) == 2
    assert "holds a run of other images or another mod" in capsys.readouterr().err


@pytest.fixture
def model(tmp_path, predictor, monkeypatch):
    """A model's folder whose files are not read, as loading is replaced."""
    for place in ("loading", "archive"):
        name = f"keras_efsnet.prediction.{place}.load_predictor"
        monkeypatch.setattr(name, lambda *_: predictor)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model_float32.tflite", "model_int8.tflite", "card.json"):
        (folder / name).write_text(name)
    return folder


def _resume(archive, tmp_path, model):
    return predict(archive, tmp_path / "out", "--workers", "2", "--model", str(model))


@pytest.mark.parametrize("name", ["model_float32.tflite", "card.json"])
@pytest.mark.parametrize("as_file", [False, True])
def test_another_model_of_the_same_name_does_not_go_on(
    archive, tmp_path, shards_done, model, name, as_file, capsys
):
    given = model / "model_float32.tflite" if as_file else model
    assert _resume(archive, tmp_path, given) == 1
    (model / name).write_text("another")
    capsys.readouterr()
    assert _resume(archive, tmp_path, given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds a run of other images or another model" in line
    assert shards_done == [0, 1, 2]


def test_the_same_model_elsewhere_goes_on(archive, tmp_path, shards_done, model):
    assert _resume(archive, tmp_path, model) == 1
    (model / "model_int8.tflite").write_text("not used")
    moved = model.rename(tmp_path / "moved")
    assert _resume(archive, tmp_path, moved) == 1
    assert shards_done == [0, 1, 2]


def test_an_image_that_has_changed_does_not_go_on(
    archive, tmp_path, shards_done, model, scan
):
    assert _resume(archive, tmp_path, model) == 1
    Image.fromarray(scan[::-1, :40]).save(archive / "0.png")
    assert _resume(archive, tmp_path, model) == 2


@pytest.mark.parametrize("first", [["--workers", "2"], []])
def test_runs_with_and_without_workers_do_not_share_a_folder(
    archive, tmp_path, shards_done, model, first, capsys
):
    second = [] if first else ["--workers", "2"]
    out = tmp_path / "out"
    options = ["--model", str(model)]
    assert predict(archive, out, *first, *options) == 1
    before = {file: file.read_bytes() for file in out.rglob("*.*")}
    capsys.readouterr()
    assert predict(archive, out, *second, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    what = "holds a run with --workers" if first else "holds a run without --workers"
    assert what in line
    assert {file: file.read_bytes() for file in out.rglob("*.*")} == before


def test_a_full_disk_is_told(archive, tmp_path, shards_done, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "a_mask.png")

    monkeypatch.setattr(sharding, "predict_jobs", full)
    worker = sharding._Worker(tmp_path, "efsnet_base_breast")
    answer = worker({"number": 5, "jobs": []})
    assert answer == {"number": 5, "problem": "a_mask.png: No space left on device"}


def test_without_ray_it_says_what_to_install(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert predict(archive, tmp_path / "out", "--workers", "2") == 2
    assert 'pip install "keras-efsnet[scale]"' in capsys.readouterr().err
    assert predict(archive, tmp_path / "out") == 1


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_on_ray(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    # Paths relative to the working folder, which the workers share.
    assert main(["predict", "archive", "--out", "out", "--workers", "2"]) == 1
    assert [file.name for file in sorted(out.glob("predictions/0*"))] == SHARDS
    kept = (out / "predictions" / SHARDS[0]).stat().st_mtime_ns
    (out / "predictions" / SHARDS[1]).unlink()
    assert main(["predict", "archive", "--out", "out", "--workers", "2"]) == 1
    assert (out / "predictions" / SHARDS[0]).stat().st_mtime_ns == kept
    assert "6 of 7 images" in capsys.readouterr().out
    assert main(["predict", "archive", "--out", "plain"]) == 1
    assert records(out, SHARD_FILES) == records(tmp_path / "plain", "predictions.json")


def test_workers_write_no_annotations(archive, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(archive, out, "--workers", "2", "--format", "csv") == 2
    assert "--workers writes masks and plain overlays alone" in capsys.readouterr().err
    assert not out.exists()
