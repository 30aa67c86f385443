"""The examples run from top to bottom."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.version import Version
from PIL import Image

from keras_efsnet.images.grey import resize_image, resize_probability
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import DEFAULT_MODEL, PRESETS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.litert import LiteModel

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "phantoms.py"
MODEL = PRESETS / DEFAULT_MODEL / "model_float32.tflite"


def run_cells(before):
    """Runs the example's cells up to the one with this heading; gives its names."""
    names = {}
    code, _, _ = EXAMPLE.read_text(encoding="utf-8").partition(f"\n# ## {before}\n")
    exec(compile(code, EXAMPLE.name, "exec"), names)
    return names


def test_phantoms_and_network(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorflow")
    monkeypatch.setenv("EXAMPLE_TINY", "1")
    monkeypatch.chdir(tmp_path)
    names = run_cells(before="Fit")
    assert capsys.readouterr().out == (
        "4 to train, 2 to validate\n"
        f"{names['model'].count_params():,} parameters, outputs ['class', 'mask']\n"
    )
    assert [sample.label for sample in names["unseen"]] == sorted(
        2 * LABELS, key=LABELS.index
    )


@pytest.mark.slow
def test_every_cell(tmp_path):
    pytest.importorskip("tensorflow")
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=tmp_path,
        env={**os.environ, "EXAMPLE_TINY": "1", "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    out = tmp_path / "phantom_example"
    for file in (
        "model.keras",
        "evaluation/metrics.json",
        "files/export.json",
        "result.png",
    ):
        assert (out / file).stat().st_size > 500


@pytest.fixture(scope="module")
def cpp(tmp_path_factory):
    """A folder in which the page's commands were run, and what they printed."""
    if not shutil.which("g++") or sys.platform != "linux":
        pytest.skip("needs g++ on Linux")
    if Version(metadata.version("ai-edge-litert")) < Version("2.3"):
        pytest.skip("declares the functions of LiteRT 2.3")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("examples", "keras_efsnet"):
        (folder / name).symlink_to(ROOT / name)
    commands, _ = cpp_blocks()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def cpp_blocks():
    page = (ROOT / "docs" / "how-to" / "on-device.md").read_text(encoding="utf-8")
    section = page.partition("\n## C++\n")[2].partition("\n## ")[0]
    return re.findall(r"```(?:sh|text)\n(.*?)```", section, re.DOTALL)


def read_classes(printed):
    return {name: float(p) for name, p in map(str.split, printed.splitlines())}


@pytest.mark.slow
def test_cpp_prints_what_the_page_says(cpp):
    _, printed = cpp
    _, promised = cpp_blocks()
    assert read_classes(printed) == pytest.approx(read_classes(promised), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(400, 500), (201, 133), (700, 300)])
def test_cpp_gives_the_mask_and_classes_of_python(cpp, size):
    folder, _ = cpp
    image = make_phantom("malignant", 3, size).image
    Image.fromarray(image).save(folder / "image.pgm")
    done = run_cpp(folder, "image.pgm")
    assert done.returncode == 0, done.stderr
    outputs = LiteModel(MODEL)(resize_image(image, (256, 256))[None, :, :, None])
    classes = dict(zip(LABELS, outputs["class"][0], strict=True))
    assert read_classes(done.stdout) == pytest.approx(classes, abs=1e-5)
    probability = resize_probability(outputs["mask"][0, :, :, 0], size)
    mask = np.asarray(Image.open(folder / "out.pgm"))
    assert mask.shape == size and set(np.unique(mask)) == {0, 255}
    sure = abs(probability - 0.5) > 1e-4
    assert np.array_equal((mask > 0)[sure], (probability > 0.5)[sure])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"P5 4 4 255\n0123", "ends before its last pixel"),
        (b"P5 4 4 65535\n" + bytes(32), "must be a binary PGM of 8 bits"),
        (b"P2 1 1 255\n7", "must be a binary PGM of 8 bits"),
        (b"", "must be a binary PGM of 8 bits"),
    ],
)
def test_cpp_says_what_is_wrong_with_an_image(cpp, content, message):
    folder, _ = cpp
    (folder / "bad.pgm").write_bytes(content)
    done = run_cpp(folder, "bad.pgm")
    assert done.returncode == 2
    assert f"error: bad.pgm {message}" in done.stderr


def run_cpp(folder, image):
    command = ["./predict", MODEL, image, "out.pgm"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60
    )
