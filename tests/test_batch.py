"""Prediction of many files at a time: order, memory, interruption, threads."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.images.frame import Frame
from keras_efsnet.images.reading import read_image
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction import batch
from keras_efsnet.prediction.parallel import AHEAD
from keras_efsnet.prediction.planning import Job, plan_jobs
from keras_efsnet.prediction.predictor import predict_batch, predict_frame
from keras_efsnet.prediction.turns import take_turn


def test_records_have_the_order_of_the_files(tmp_path, scan, predictor):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for number in range(12):
        height = 16 + 40 * (number % 3)  # a small one is done before a large one
        Image.fromarray(scan[:height]).save(data / f"{number:02}.png")
    (data / "05.png").write_bytes(b"no image")
    records = list(batch.run_jobs(plan_jobs([data], out), predictor, out))
    names = [record["path"].rpartition("/")[2] for record in records]
    assert names == [f"{number:02}.png" for number in range(12)]
    assert [number for number in range(12) if "error" in records[number]] == [5]
    for number, record in enumerate(records):
        if number != 5:
            height = 16 + 40 * (number % 3)
            assert read_image(out / record["mask_file"]).shape == (min(height, 60), 80)


@pytest.fixture
def alive(monkeypatch, scan):
    """Replaces reading and writing; gives the number of frames in memory, and most."""
    lock, facts = threading.Lock(), {"now": 0, "most": 0}

    def leave():
        with lock:
            facts["now"] -= 1

    def read_frames(path):
        frame = Frame(scan.copy(), path)
        weakref.finalize(frame, leave)
        with lock:
            facts["now"] += 1
            facts["most"] = max(facts.values())
        yield frame

    monkeypatch.setattr(batch, "read_frames", read_frames)
    monkeypatch.setattr(batch, "predict_frame", lambda network, frame: None)
    monkeypatch.setattr(
        batch, "write_prediction", lambda frame, *rest: {"path": str(frame.source)}
    )
    return facts


def test_ten_thousand_images_take_the_memory_of_a_few(alive, predictor, tmp_path):
    jobs = [Job(tmp_path / f"{i}.png", tmp_path / str(i)) for i in range(10_000)]
    records = batch.predict_jobs(jobs, predictor, tmp_path, at_a_time=2)
    for job, record in zip(jobs, records, strict=True):
        assert record == {"path": str(job.source)}
    assert alive["now"] <= 2
    assert 2 <= alive["most"] <= 2 * AHEAD + 3


def test_the_largest_images_are_in_work_alone(alive, predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_PIXELS", 60 * 80)
    monkeypatch.setattr(batch, "predict_frame", lambda *_: time.sleep(0.005))
    jobs = [Job(tmp_path / f"{i}.png", tmp_path / str(i)) for i in range(20)]
    assert len(list(batch.predict_jobs(jobs, predictor, tmp_path, at_a_time=4))) == 20
    assert alive["most"] <= 3  # one in work, one read ahead, one just done


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_lists_what_is_done(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    image = Image.fromarray(make_phantom("benign", 1, (96, 128)).image)
    for number in range(400):
        image.save(data / f"{number:03}.png")
    command = [sys.executable, "-m", "keras_efsnet", "predict", str(data)]
    process = subprocess.Popen(
        [*command, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert (process.returncode, errors) == (130, "interrupted\n")
    records = json.loads((out / "predictions.json").read_text())
    assert 5 <= len(records) < 400
    for number, record in enumerate(records):
        assert record["path"] == str(data / f"{number:03}.png")
        assert read_image(out / record["mask_file"]).shape == (96, 128)
        assert read_image(out / record["overlay_file"]).shape[1] == 128
    assert not list(out.glob(".*"))


def test_the_time_of_a_prediction_leaves_out_the_wait_for_others(scan, predictor):
    lock = threading.Lock()

    class OneAtATime(type(predictor)):
        def __call__(self, images):
            with take_turn(lock):
                time.sleep(0.3)
                return super().__call__(images)

    start = time.perf_counter()
    predictions = predict_batch(OneAtATime(), [scan] * 3, threads=3)
    assert time.perf_counter() - start > 0.85
    assert all(300 <= p.milliseconds < 550 for p in predictions)


def test_a_batch_gives_what_single_predictions_give(tmp_path, scan, predictor):
    images = [scan[: 20 + number] for number in range(30)]
    Image.fromarray(scan).save(tmp_path / "scan.png")
    mixed = [*images, tmp_path / "scan.png", Frame(scan), str(tmp_path / "scan.png")]
    found = predict_batch(predictor, mixed, threads=4)
    for prediction, grey in zip(found, [*images, scan, scan, scan], strict=True):
        expected = predict_frame(predictor, Frame(grey))
        np.testing.assert_array_equal(prediction.mask, expected.mask)
        assert prediction.boxes == expected.boxes


@pytest.mark.parametrize("bad", ["missing.png", "bad.png"])
def test_a_bad_image_of_a_batch_is_named(tmp_path, scan, predictor, bad):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises((OSError, ValueError), match=bad):
        predict_batch(predictor, [scan, tmp_path / bad, scan])


def test_a_batch_needs_a_thread(scan, predictor):
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        predict_batch(predictor, scan, threads=0)


def test_threads_that_read_dicom_leave_warnings_and_logs_as_they_were(
    tmp_path, scan, monkeypatch
):
    pytest.importorskip("pydicom")
    from dicom_files import write

    from keras_efsnet.images import dicom

    real = dicom.read_tags

    def read_slowly(file):
        time.sleep(0.01)
        warnings.warn("a patient's name", stacklevel=1)
        return real(file)

    monkeypatch.setattr(dicom, "read_tags", read_slowly)
    path = write(tmp_path / "scan.dcm", scan)
    logger = logging.getLogger("pydicom")
    before = logger.level, list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        for grey in pool.map(read_image, [path] * 24):
            np.testing.assert_array_equal(grey, scan)
    assert (logger.level, list(warnings.filters)) == before


def test_the_benchmark_compares_two_checkouts():
    top = Path(__file__).parents[1]
    script = top / "benchmarks" / "predict.py"
    options = ["--images", "2", "--rounds", "1", "--against", str(top)]
    done = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| network | " in done.stdout
    assert "differ: {'masks': 0, 'overlays': 0, 'records': 0}" in done.stdout
