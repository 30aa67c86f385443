"""The examples run from top to bottom."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
from packaging.version import Version

from keras_efsnet.images.grey import resize_image
from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import DEFAULT_MODEL, PRESETS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.litert import LiteModel

EXAMPLE = Path(__file__).parents[1] / "examples" / "phantoms.py"


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


@pytest.mark.slow
def test_cpp(tmp_path):
    if not shutil.which("g++") or sys.platform != "linux":
        pytest.skip("needs g++ on Linux")
    if Version(metadata.version("ai-edge-litert")) < Version("2.3"):
        pytest.skip("declares the functions of LiteRT 2.3")
    litert = Path(ai_edge_litert.__file__).parent
    program = tmp_path / "predict"
    source = EXAMPLE.with_name("predict.cc")
    library = [litert / "libLiteRt.so", f"-Wl,-rpath,{litert}"]
    subprocess.run(["g++", "-Wall", source, "-o", program, *library], check=True)

    image = resize_image(make_phantom("malignant", 1).image, (256, 256))
    image.tofile(tmp_path / "image.raw")
    model = PRESETS / DEFAULT_MODEL / "model_float32.tflite"
    files = [tmp_path / "image.raw", tmp_path / "mask.raw"]
    done = subprocess.run(
        [program, model, *files], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    expected = LiteModel(model)(image[None, :, :, None])
    classes = [float(line) for line in done.stdout.split()]
    mask = np.fromfile(files[1], np.float32).reshape(256, 256, 1)
    np.testing.assert_allclose(classes, expected["class"][0], atol=1e-5)
    np.testing.assert_allclose(mask, expected["mask"][0], atol=1e-5)

    (tmp_path / "image.raw").write_bytes(b"short")
    assert subprocess.run([program, model, *files], capture_output=True).returncode == 2
