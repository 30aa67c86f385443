import json
import shutil
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_efsnet
from keras_efsnet.extras import MissingPackage
from keras_efsnet.models.presets import find_model, preset_names
from keras_efsnet.prediction.info import describe_model
from keras_efsnet.prediction.keras_runtime import KerasPredictor
from keras_efsnet.prediction.litert import LiteModel
from keras_efsnet.prediction.loading import load_predictor


@pytest.fixture
def presets(tmp_path, monkeypatch, tiny_model, make_lite):
    """A presets folder with one preset, `tiny`, that drops lesions below a half."""
    folder = tmp_path / "presets" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(tiny_model, folder / "model.keras")
    for kind in ("float32", "int8"):
        (folder / f"model_{kind}.tflite").write_bytes(make_lite(kind=kind))
    card = {"licence": "x", "postprocess": {"minimum_lesion_fraction": 0.5}}
    (folder / "card.json").write_text(json.dumps(card))
    monkeypatch.setattr("keras_efsnet.models.presets.PRESETS", folder.parent)
    return folder


def test_predict_finds_the_disc_at_the_images_own_size(scan, tmp_path, tiny_model):
    Image.fromarray(scan).save(tmp_path / "scan.png")
    images = [scan, str(tmp_path / "scan.png"), scan[:50].astype(np.uint16) * 257]
    from_array, from_file, deep = keras_efsnet.predict(images, tiny_model)
    assert from_array.mask.shape == (60, 80)
    assert deep.mask.shape == (50, 80)
    np.testing.assert_array_equal(from_array.mask, from_file.mask)
    overlap = (from_array.mask & (scan < 100)).sum()
    assert 2 * overlap / (from_array.mask.sum() + (scan < 100).sum()) > 0.95
    assert sum(from_array.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert from_array.milliseconds > 0


def test_one_image_alone_counts_as_a_list(scan, tiny_model):
    assert len(keras_efsnet.predict(scan, tiny_model)) == 1


def test_a_batch_is_the_same_as_its_images(tiny_model):
    network = load_predictor(tiny_model)
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 1))
    images = images.astype(np.float32)
    together = network(images)
    for number in range(3):
        alone = network(images[number : number + 1])
        for name in ("mask", "class"):
            np.testing.assert_allclose(
                together[name][number], alone[name][0], atol=1e-6
            )


def test_preset_is_found_by_name_folder_and_file(presets):
    assert preset_names() == ["tiny"]
    for model in ("tiny", presets, str(presets / "model.keras")):
        files = find_model(model)
        assert files.keras_file == presets / "model.keras"
        assert files.card["licence"] == "x"


def test_card_beside_the_file_gives_the_rules(presets, scan):
    assert load_predictor("tiny").rules.minimum_lesion_fraction == 0.5
    assert keras_efsnet.predict(scan, "tiny")[0].lesion_area_px == 0


@pytest.mark.parametrize(
    ("kind", "input_type"),
    [(None, "float32"), ("float32", "float32"), ("int8", "uint8")],
)
def test_preset_and_folder_run_with_litert(presets, kind, input_type):
    for model in ("tiny", presets):
        predictor = load_predictor(model, 2, kind)
        assert isinstance(predictor, LiteModel)
        assert predictor.input_type == input_type


def test_files_run_with_their_own_runtime(presets):
    from_keras = load_predictor(presets / "model.keras")
    from_lite = load_predictor(str(presets / "model_float32.tflite"))
    assert isinstance(from_keras, KerasPredictor)
    assert isinstance(from_lite, LiteModel)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1))
    images = images.astype(np.float32)
    np.testing.assert_allclose(
        from_lite(images)["mask"], from_keras(images)["mask"], atol=1e-5
    )


def test_a_missing_kind_is_named_and_nothing_stands_in(presets):
    (presets / "model_float32.tflite").unlink()
    with pytest.raises(ValueError, match=r"model_float32\.tflite: no such file"):
        load_predictor("tiny", kind="float32")
    with pytest.raises(ValueError, match=r"model_dynamic\.tflite: no such file"):
        load_predictor("tiny", kind="dynamic")


def test_where_no_kind_is_asked_for_keras_runs_a_preset_without_the_file(presets):
    (presets / "model_float32.tflite").unlink()
    assert isinstance(load_predictor("tiny"), KerasPredictor)


@pytest.mark.parametrize(
    ("model", "kind", "rule"),
    [
        ("tiny", "int4", "kind must be one of float32, float16, dynamic, int8"),
        ("model.keras", "int8", "kind int8 is for presets"),
        ("model_int8.tflite", "int8", "kind int8 is for presets"),
    ],
)
def test_a_wrong_kind_is_refused(presets, monkeypatch, model, kind, rule):
    monkeypatch.chdir(presets)
    with pytest.raises(ValueError, match=rule):
        load_predictor(model, kind=kind)


def test_without_litert_only_float32_falls_back_to_keras(presets, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert isinstance(load_predictor("tiny"), KerasPredictor)
    with pytest.raises(MissingPackage, match=r"keras-efsnet\[lite\]"):
        load_predictor("tiny", kind="int8")
    monkeypatch.setitem(sys.modules, "keras_efsnet.models.efsnet", None)
    with pytest.raises(MissingPackage, match=r"keras-efsnet\[lite\]"):
        load_predictor("tiny")


@pytest.mark.parametrize("file", ["model.keras", "model_float32.tflite"])
def test_threads_below_one_are_refused(presets, file):
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        load_predictor(presets / file, 0)


def test_info_of_a_lite_file_and_of_a_preset(presets):
    facts = describe_model(presets / "model_int8.tflite")
    assert facts["input image"] == "uint8 (1, 64, 64, 1)"
    assert facts["output mask"] == "float32 (1, 64, 64, 1)"
    assert facts["postprocess.minimum_lesion_fraction"] == "0.5"
    listed = describe_model("tiny")
    assert facts["sha256"] in listed["model_int8.tflite"]
    assert listed["parameters"] == "6 (6 trainable)"


def test_unknown_preset_lists_the_shipped_ones(presets):
    with pytest.raises(ValueError, match=r"huge: no such model; .* preset \(tiny\)"):
        find_model("huge")


@pytest.mark.parametrize(
    ("card", "rule"),
    [
        ("{", "card.json: not a JSON file"),
        ('{"postprocess": {"gate": 1}}', "card.json: postprocess: .*gate"),
        ('{"postprocess": {"normal_gate": 2}}', "normal_gate must be in"),
    ],
)
def test_a_bad_card_is_named(presets, card, rule):
    (presets / "card.json").write_text(card)
    with pytest.raises(ValueError, match=rule):
        load_predictor("tiny")


def test_a_cut_file_is_named(tmp_path, tiny_model):
    path = tmp_path / "cut.keras"
    path.write_bytes(tiny_model.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.keras: not a whole \.keras file"):
        load_predictor(path)


def test_an_archive_that_is_no_model_is_named(tmp_path):
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match=r"other\.keras: cannot be loaded"):
        load_predictor(path)


def test_code_and_foreign_classes_are_refused(tmp_path):
    import keras

    class Foreign(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    image = keras.Input((8, 8, 1))
    path = tmp_path / "code.keras"
    for layer, what in (
        (keras.layers.Lambda(lambda x: 2 * x), "a Lambda, code that would run here"),
        (Foreign(), "the foreign class Foreign"),
        (keras.Sequential([Foreign()]), "the foreign class Foreign"),
    ):
        keras.Model(image, layer(image)).save(path)
        with pytest.raises(ValueError, match="cannot be loaded as a model") as raised:
            load_predictor(path)
        assert f"code.keras: cannot be loaded as a model: it holds {what}" in str(
            raised.value
        )


def test_a_callable_of_python_itself_is_refused(tmp_path, tiny_model):
    path = tmp_path / "evil.keras"
    with zipfile.ZipFile(tiny_model) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1] |= {
                    "module": "os",
                    "class_name": "system",
                    "config": {"command": f"touch {tmp_path}/ran"},
                }
                content = json.dumps(config).encode()
            new.writestr(name, content)
    with pytest.raises(ValueError, match=r"evil\.keras: .*the foreign class system"):
        load_predictor(path)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_efsnet.models.keras_archive.MAX_UNPACKED", 1000)
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * 1001)
    with pytest.raises(ValueError, match=r"bomb\.keras: .*unpacks to 1,001 bytes"):
        load_predictor(path)


def test_a_model_with_other_outputs_is_refused(tmp_path):
    import keras

    image = keras.Input((8, 8, 1))
    keras.Model(image, keras.layers.Flatten()(image)).save(tmp_path / "flat.keras")
    with pytest.raises(ValueError, match=r"flat\.keras: the outputs must have"):
        load_predictor(tmp_path / "flat.keras")


def test_a_model_with_colour_input_is_refused(tmp_path):
    import keras

    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.ReLU()(image)).save(tmp_path / "rgb.keras")
    with pytest.raises(ValueError, match=r"rgb\.keras: the input must be"):
        load_predictor(tmp_path / "rgb.keras")


def test_a_model_of_any_size_runs_at_the_default_one(tmp_path):
    import keras

    image = keras.Input((None, None, 1), name="image")
    mask = keras.layers.Activation("sigmoid", name="mask")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    label = keras.layers.Dense(3, activation="softmax", name="class")(pooled)
    path = tmp_path / "any.keras"
    keras.Model(image, {"mask": mask, "class": label}).save(path)
    assert load_predictor(path).size == (256, 256)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow")
def test_tensorflows_number_of_threads_cannot_change(presets):
    load_predictor(presets / "model.keras")
    with pytest.raises(ValueError, match="threads cannot become 3: TensorFlow keeps"):
        load_predictor(presets / "model.keras", threads=3)
