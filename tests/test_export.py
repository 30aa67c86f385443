"""`efsnet export` from end to end, on phantoms and a small untrained network."""

import json
from dataclasses import replace

import keras
import pytest

from checks import randomize_weights
from keras_efsnet import EFSNet
from keras_efsnet.cli import main
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.tflite import convert as converting
from keras_efsnet.tflite import export as exporting
from keras_efsnet.tflite.interchange import OUTPUTS, export_format


@pytest.fixture(scope="module")
def made():
    """The files that were made of the network of `inputs`, by kind."""
    return {}


@pytest.fixture
def convert_once(made, monkeypatch):
    """A second export to a kind gives the first one's file.

    For tests that export `inputs` alone: the network is not looked at.
    """
    real = converting.convert

    def convert(model, kind, *arguments):
        if kind not in made:
            made[kind] = real(model, kind, *arguments)
        return made[kind]

    monkeypatch.setattr(converting, "convert", convert)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Options of `efsnet export` for a network, a dataset and its split."""
    folder = tmp_path_factory.mktemp("export")
    keras.utils.set_random_seed(0)
    EFSNet((32, 32, 1), width=0.5).save(folder / "tiny.keras")
    data = write_phantoms(folder / "phantoms", 2, seed=0)
    rows = [
        f"{label} ({n}),{label},{fold}"
        for label in ("normal", "benign", "malignant")
        for n, fold in ((1, 1), (2, 2))
    ]
    rows[0] = rows[0][:-1] + "0"  # fold 0 must not be empty
    split = folder / "folds.csv"
    split.write_text("\n".join(["stem,label,fold", *rows]) + "\n")
    options = ["--model", folder / "tiny.keras", "--data", data, "--split", split]
    return [str(option) for option in options]


PRESET = ("card.json", "export.json", "model.keras")
"""What every export leaves beside the files."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("convert_once")
def test_files_and_report(inputs, tmp_path, capsys):
    kinds = ["--kind", "float32", "--kind", "int8"]
    limits = ["--max-dice-loss", "1", "--min-class-agreement", "0"]
    assert main(["export", *inputs, "--out", str(tmp_path), *kinds, *limits]) == 0
    assert names(tmp_path) == [
        *PRESET,
        "model_float32.tflite",
        "model_float32.tflite.json",
        "model_int8.tflite",
        "model_int8.tflite.json",
    ]
    report = json.loads((tmp_path / "export.json").read_text())
    assert report["files"]["float32"]["mask_worst"] < 1e-4
    assert report["files"]["float32"]["class_agreement"] == 1
    assert 0 < report["files"]["int8"]["mask_worst"] < 0.3
    assert load_predictor(tmp_path / "model_int8.tflite").size == (32, 32)
    table = capsys.readouterr().out
    assert "Keras" in table and "int8" in table


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(OUTPUTS))
def test_other_formats_say_the_same(kind, inputs, tmp_path):
    if kind == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    for _ in range(2):  # the second replaces the first
        assert main(["export", *inputs, "--out", str(tmp_path), "--kind", kind]) == 0
    assert names(tmp_path) == sorted([*PRESET, OUTPUTS[kind]])
    report = json.loads((tmp_path / "export.json").read_text())
    assert report["files"][kind]["mask_worst"] < 1e-4
    assert report["files"][kind]["class_worst"] < 1e-4


def test_onnx_has_no_transposes_and_one_operator_for_each_activation(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("tf2onnx")
    trained = randomize_weights(EFSNet((32, 32, 1), width=0.5))
    export_format(trained, "onnx", tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    assert {node.op_type for node in model.graph.node} == {
        *("Add", "Concat", "Conv", "DepthToSpace", "Gemm", "GlobalAveragePool"),
        *("LeakyRelu", "MaxPool", "Mul", "Relu", "Reshape", "Resize", "Sigmoid"),
        *("Softmax", "Squeeze"),
    }
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["labels"]) == list(LABELS)


@pytest.mark.usefixtures("convert_once")
def test_a_file_beyond_the_limits_is_rejected(inputs, tmp_path, monkeypatch, capsys):
    def judge(*arguments, **options):
        results = verify(*arguments, **options)
        return {k: replace(v, failures=("too far",)) for k, v in results.items()}

    verify = exporting.verify
    monkeypatch.setattr(exporting, "verify", judge)
    command = ["export", *inputs, "--out", str(tmp_path), "--kind", "float32"]
    assert main(command) == 1
    assert names(tmp_path) == [*PRESET, "rejected"]
    assert names(tmp_path / "rejected")[0] == "model_float32.tflite"
    error = capsys.readouterr().err
    assert "\nerror: the float32 file: too far; moved to" in error


@pytest.mark.usefixtures("convert_once")
def test_an_interrupted_export_leaves_nothing(inputs, tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr(exporting, "verify", interrupt)
    command = ["export", *inputs, "--out", str(tmp_path), "--kind", "float32"]
    assert main(command) == 2
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kind", "int4"], "kind must be one of"),
        (["--max-dice-loss", "7"], "dice_loss must be a fraction"),
        (["--model", "nowhere.keras"], "nowhere.keras: no such model"),
    ],
)
def test_wrong_use(inputs, tmp_path, options, message, capsys):
    assert main(["export", *inputs, *options, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("error:") == 1
