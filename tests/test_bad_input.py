"""A folder full of good and bad files, and files changed at random (`fuzz.py`)."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.reading import read_image
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.predictor import predict_frame

FUZZ = Path(__file__).with_name("fuzz.py")

GOOD = (
    *(("L", ending) for ending in ("png", "PNG", "bmp", "tif", "tiff")),
    *(("RGB", ending) for ending in ("png", "bmp", "tif")),
    ("RGBA", "png"),
    ("LA", "png"),
    ("I;16", "png"),
)
"""Modes and endings that keep a grey image's values."""


def good_bytes(grey, mode, ending):
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert(mode)
    file = io.BytesIO()
    kinds = {"png": "PNG", "bmp": "BMP", "tif": "TIFF", "tiff": "TIFF"}
    image.save(file, kinds[ending.lower()])
    return file.getvalue()


def bad_bytes(grey):
    """Contents that are no image, by the reason that is given."""
    whole, png, jpeg, pages = Image.fromarray(grey), *(io.BytesIO() for _ in range(3))
    whole.save(png, "PNG")
    whole.save(jpeg, "JPEG")
    whole.save(pages, "PNG", save_all=True, append_images=[Image.fromarray(255 - grey)])
    deep, bomb = io.BytesIO(), io.BytesIO()
    Image.fromarray(grey.astype(np.float32)).save(deep, "TIFF")
    Image.new("1", (60_000, 1)).save(bomb, "BMP")
    huge = bytearray(bomb.getvalue())
    huge[22:26] = (60_000).to_bytes(4, "little")  # the header's height
    return {
        "not an image": [b"", b"no image", b"GIF89a" + bytes(99), bytes(5000)],
        "damaged": [png.getvalue()[:-500], jpeg.getvalue()[:800]],
        "one image a file is read": [pages.getvalue()],
        "32-bit": [deep.getvalue()],
        "more than 33,554,432 pixels": [bytes(huge)],
    }


def fill(folder, count):
    """Writes about as many files; (pixels of the good ones, reasons of the bad ones).

    Both by path; four in five are good.
    """
    good, bad, folder = {}, {}, Path(folder)
    phantoms = [make_phantom(LABELS[i % 3], i, (96 + i, 128)).image for i in range(12)]
    reasons = [
        (r, c) for r, contents in bad_bytes(phantoms[0]).items() for c in contents
    ]
    for number in range(count - 5):
        path = folder / f"{number % 7}" / f"scan ({number})"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 5:
            grey = phantoms[number % len(phantoms)]
            mode, ending = GOOD[number % len(GOOD)]
            path = path.with_name(f"{path.name}.{ending}")
            path.write_bytes(good_bytes(grey, mode, ending))
            good[path] = grey
        else:
            reason, content = reasons[number // 5 % len(reasons)]
            path = path.with_name(f"{path.name}.png")
            path.write_bytes(content)
            bad[path] = reason
    names = {"gone": "not there", "loop": "Too many levels", "pipe": "not a file"}
    bad |= {folder / f"{name}.png": reason for name, reason in names.items()}
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    for name in ("é" * 125, "\udcff"):
        path = folder / f"{name}.png"
        path.write_bytes(good_bytes(phantoms[1], "L", "png"))
        good[path] = phantoms[1]
    return good, bad


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_every_good_file_is_predicted_and_every_bad_one_listed(tmp_path, capfd, count):
    data, out = tmp_path / "data", tmp_path / "out"
    good, bad = fill(data, count)
    assert len(good) + len(bad) == count
    assert main(["predict", str(data), "--out", str(out)]) == 1
    text = (out / "predictions.json").read_text(encoding="utf-8")
    records = {Path(record["path"]): record for record in json.loads(text)}
    assert records.keys() == good.keys() | bad.keys()

    network, answers = load_predictor(), {}
    for path, grey in good.items():
        if id(grey) not in answers:
            answers[id(grey)] = predict_frame(network, Frame(grey))
        expected, record = answers[id(grey)], records[path]
        assert record["class"] == expected.label
        assert record["lesion_area_px"] == expected.lesion_area_px
        mask = read_image(out / record["mask_file"]) > 0
        np.testing.assert_array_equal(mask, expected.mask)
    for path, reason in bad.items():
        assert records[path].keys() == {"path", "error"}
        assert str(path) in records[path]["error"]
        assert reason in records[path]["error"]
    written = [file for file in out.rglob("*") if file.is_file()]
    # predictions.json, run.json and index.html
    assert len(written) == 2 * len(good) + 3
    errors = capfd.readouterr().err.splitlines()
    assert sorted(errors) == sorted(f"error: {records[p]['error']}" for p in bad)
    print(f"{count} files: {len(good)} predicted, {len(bad)} listed with their reason")


@pytest.mark.parametrize(
    ("campaign", "cases"),
    [
        ("images", 100),
        ("layouts", 200),
        ("masks", 200),
        ("threads", 10),
        ("objects", 15),
        pytest.param("images", 2000, marks=pytest.mark.slow),
        pytest.param("layouts", 4000, marks=pytest.mark.slow),
        pytest.param("masks", 2000, marks=pytest.mark.slow),
        pytest.param("threads", 200, marks=pytest.mark.slow),
        pytest.param("objects", 200, marks=pytest.mark.slow),
        pytest.param("lite", 200, marks=pytest.mark.slow),
        pytest.param("keras", 200, marks=pytest.mark.slow),
    ],
)
def test_changed_files_are_answered_or_refused(campaign, cases):
    done = subprocess.run(
        [sys.executable, str(FUZZ), campaign, str(cases)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert int(done.stdout.split()[1]) >= cases
