"""Prediction with LiteRT: the contract of the files, and an environment without Keras.

The networks here are small stand-ins of the shipped files, made by the test."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.labels import LABELS
from keras_efsnet.prediction.litert import LiteModel

BLOCKED = (
    *("keras", "tensorflow", "jax", "torch", "tf_keras", "h5py"),
    *("sklearn", "scipy", "matplotlib"),
)
WITHOUT_KERAS = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ImportError(f"{{name}} is not installed")

sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture
def int8_file(make_lite, tmp_path):
    path = tmp_path / "int8.tflite"
    path.write_bytes(make_lite(kind="int8"))
    return path


def greys(number=3, size=(64, 64)):
    return np.random.default_rng(1).integers(0, 256, (number, *size, 1), np.uint8)


def test_outputs_follow_the_network(lite_file):
    images = greys().astype(np.float32)
    model = LiteModel(lite_file)
    outputs = model(images)
    assert (model.size, model.input_type) == ((64, 64), np.float32)
    assert set(outputs) == {"mask", "class"}
    mask = 1 / (1 + np.exp(images / 16 - 8))
    np.testing.assert_allclose(outputs["mask"], mask, atol=1e-5)
    powers = np.exp(images.mean(axis=(1, 2)) * np.float32([[0.01, -0.02, 0.02]]))
    classes = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["class"], classes, atol=1e-5)
    assert {output.dtype for output in outputs.values()} == {np.dtype(np.float32)}


def test_an_empty_batch_gives_empty_outputs(lite_file):
    outputs = LiteModel(lite_file)(greys(0))
    assert outputs["mask"].shape == (0, 64, 64, 1)
    assert outputs["class"].shape == (0, 3)


def test_uint8_file_agrees_within_its_quantization(lite_file, int8_file):
    images = greys().astype(np.float32)
    quantized = LiteModel(int8_file)
    assert quantized.input_type == np.uint8
    outputs, expected = quantized(images), LiteModel(lite_file)(images)
    # Half a step of 1/16 each in image / 16 and in the logits, times the sigmoid's
    # slope of at most 1/4, and half of the output's step of 1/256: 4.5 / 256.
    for name, steps in (("mask", 4.5), ("class", 1.5)):
        error = np.abs(outputs[name] - expected[name]).max()
        assert 0 < error < steps / 256, name


def test_float_pixels_are_rounded_for_a_uint8_file(int8_file):
    model, images = LiteModel(int8_file), greys()
    expected = model(images)["mask"]
    nearly = images.astype(np.float32) + np.float32(0.4)
    np.testing.assert_array_equal(model(nearly)["mask"], expected)
    too_bright = np.full((1, 64, 64, 1), 300, np.float32)
    white = np.full((1, 64, 64, 1), 255, np.uint8)
    np.testing.assert_array_equal(model(too_bright)["mask"], model(white)["mask"])


def test_predict_takes_arrays_and_files(lite_file, scan, tmp_path):
    Image.fromarray(scan).save(tmp_path / "scan.png")
    model = LiteModel(lite_file)
    from_array, from_file = model.predict([scan, tmp_path / "scan.png"])
    (alone,) = model.predict(scan)
    assert from_array.mask.shape == scan.shape
    assert from_array.mask[30, 40] and not from_array.mask[0, 0]
    np.testing.assert_array_equal(from_array.mask, from_file.mask)
    np.testing.assert_array_equal(from_array.mask, alone.mask)


def test_the_card_beside_the_file_gives_the_rules(lite_file, scan):
    card = {"postprocess": {"minimum_lesion_fraction": 0.5}}
    (lite_file.parent / "card.json").write_text(json.dumps(card))
    model = LiteModel(lite_file, threads=2)
    assert model.rules.minimum_lesion_fraction == 0.5
    assert model.predict(scan)[0].lesion_area_px == 0


@pytest.mark.parametrize("shape", [(2, 64, 32, 1), (2, 64, 64, 3), (64, 64), (64,)])
def test_images_of_another_size_are_refused(lite_file, shape):
    with pytest.raises(ValueError, match=r"images must be \(n, 64, 64, 1\), got"):
        LiteModel(lite_file)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(lite_file, threads):
    with pytest.raises(ValueError, match=f"threads must be at least 1, got {threads}"):
        LiteModel(lite_file, threads)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"shape": (1, 64, 64, 3)}, r"one grey image .* got \(1, 64, 64, 3\)"),
        ({"shape": (2, 64, 64, 1)}, r"one grey image .* got \(2, 64, 64, 1\)"),
        ({"shape": (1, None, 64, 1)}, r"fixed size.* got \(1, -1, 64, 1\)"),
        ({"names": ("x", "mask", "class")}, "the one input image, got .*'x'"),
        ({"names": ("image", "map", "class")}, "outputs must .* got .*'map'"),
        ({"kind": "int8", "full_scale": 100}, "scale 1 and zero point 0, got uint8"),
    ],
)
def test_a_file_with_another_contract_is_refused(make_lite, tmp_path, changes, rule):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(make_lite(**changes))
    with pytest.raises(ValueError, match=rf"foreign\.tflite: .*{rule}"):
        LiteModel(path)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_file_is_named(lite_file, kept):
    content = lite_file.read_bytes()
    _check_refused(lite_file, content[: int(kept * len(content))])


def test_a_file_with_a_gap_is_named(lite_file):
    content = lite_file.read_bytes()
    _check_refused(lite_file, content[:100] + bytes(300) + content[400:])


def _check_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"tiny\.tflite: not a \.tflite") as raised:
        LiteModel(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        LiteModel(tmp_path / "none.tflite")


def test_missing_litert_says_how_to_install_it(lite_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ValueError, match=r'pip install "keras-efsnet\[lite\]"'):
        LiteModel(lite_file)


def test_a_damaged_file_is_one_line_of_the_command(lite_file, scan, tmp_path, capsys):
    Image.fromarray(scan).save(tmp_path / "scan.png")
    lite_file.write_bytes(lite_file.read_bytes()[:500])
    arguments = ["predict", tmp_path / "scan.png", "--out", tmp_path / "out"]
    assert main([str(a) for a in (*arguments, "--model", lite_file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {lite_file}: not a .tflite file")
    assert captured.err.count("\n") == 1


def test_commands_need_neither_keras_nor_a_backend(lite_file, scan, tmp_path):
    """`efsnet predict`, `demo` and `info` where only the extra [lite] is installed."""
    preset = tmp_path / "presets" / "efsnet_base_breast"
    preset.mkdir(parents=True)
    lite_file.rename(preset / "model_float32.tflite")
    (preset / "model.keras").touch()
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in "abc":
        Image.fromarray(scan).save(scans / f"{name}.png")
    code = f"""{WITHOUT_KERAS}
from pathlib import Path
from keras_efsnet.models import presets
from keras_efsnet.cli import main
presets.PRESETS = Path({str(preset.parent)!r})
codes = [
    main(["predict", {str(scans)!r}, "--out", "predicted", "--threads", "2"]),
    main(["demo", "--out", "demo"]),
    main(["info", "efsnet_base_breast"]),
]
print(codes, sorted({set(BLOCKED)} & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "[0, 0, 0] []"
    assert _files(tmp_path / "predicted") == _outputs("abc") | {"run.json"}
    assert _files(tmp_path / "demo") == _outputs(LABELS) | {f"{x}.png" for x in LABELS}


def _files(folder):
    return {file.name for file in folder.iterdir()}


def _outputs(stems):
    pictures = {f"{stem}_{kind}.png" for stem in stems for kind in ("mask", "overlay")}
    return pictures | {"index.html", "predictions.json"}
