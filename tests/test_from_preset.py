"""`EFSNet.from_preset` and `save_to_preset`: arguments, folders and handles of hubs."""

import json
import sys
from types import SimpleNamespace
from uuid import uuid4

import keras
import numpy as np
import pytest
from PIL import Image

import keras_efsnet
from keras_efsnet import EFSNet
from keras_efsnet.extras import MissingPackage
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.reading import read_image
from keras_efsnet.images.screen_region import ScreenRegion
from keras_efsnet.models import presets
from keras_efsnet.prediction.keras_runtime import KerasPredictor
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.predictor import predict_frame

SIZE = (16, 16, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (1, *SIZE)).astype("float32")


@pytest.fixture(scope="module")
def model():
    return EFSNet(SIZE, width=0.25)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset")
    model.save(folder / "model.keras")
    return folder


def masks(network):
    return keras.ops.convert_to_numpy(network(IMAGES)["mask"])


def assert_same_weights(one, other):
    for old, new in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_saved_folder_is_a_preset(model, tmp_path):
    folder = tmp_path / "new" / "mine"
    model.save_to_preset(folder)
    assert [file.name for file in folder.iterdir()] == ["model.keras"]
    assert_same_weights(EFSNet.from_preset(folder), model)
    predictor = load_predictor(folder)
    assert isinstance(predictor, KerasPredictor)
    np.testing.assert_allclose(predictor(IMAGES)["mask"], masks(model), atol=1e-6)


def test_a_saved_preset_is_float32(tmp_path):
    EFSNet(SIZE, width=0.25, dtype="mixed_bfloat16").save_to_preset(tmp_path)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.dtype_policy.name == "float32"


def test_a_preset_can_be_saved_again(model, tmp_path):
    EFSNet(SIZE, width=0.25).save_to_preset(tmp_path)
    model.save_to_preset(tmp_path)
    assert_same_weights(EFSNet.from_preset(tmp_path), model)


@pytest.mark.parametrize("name", ["card.json", "model_int8.tflite", "model.onnx"])
def test_files_of_other_weights_are_not_kept_beside_a_new_model(model, tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=f"holds {name} of other weights; remove it"):
        model.save_to_preset(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_load_weights_false_gives_new_weights(model, folder):
    fresh = EFSNet.from_preset(folder, load_weights=False)
    assert fresh.width == model.width
    kernels = [m.get_layer("mask_logits").get_weights()[0] for m in (fresh, model)]
    assert not np.array_equal(*kernels)


def test_other_arguments_replace_those_of_the_preset(model, folder):
    changed = EFSNet.from_preset(
        folder, class_dropout=0.5, name="mine", trainable=False
    )
    assert (changed.class_dropout, changed.name) == (0.5, "mine")
    assert changed.dropout == model.dropout
    assert not changed.trainable_weights
    assert_same_weights(changed, model)


def test_another_width_needs_new_weights(folder):
    with pytest.raises(ValueError, match=r"width must be .* 0.25, .* got 0.5; leave"):
        EFSNet.from_preset(folder, width=0.5)
    assert EFSNet.from_preset(folder, width=0.5, load_weights=False).width == 0.5


def test_an_unknown_argument_is_refused(folder):
    with pytest.raises(TypeError, match="widht"):
        EFSNet.from_preset(folder, widht=0.5)


def test_presets_are_described_by_their_cards(model):
    assert EFSNet.presets.keys() == set(presets.preset_names())
    assert model.presets == EFSNet.presets
    card = json.loads((presets.PRESETS / "efsnet_base_busi/card.json").read_text())
    facts = EFSNet.presets["efsnet_base_busi"]["metadata"]
    assert facts["description"] == card["intended_use"]
    assert facts["labels"] == ["normal", "benign", "malignant"]
    assert any("BUSI" in name for name in facts["datasets"])


HUBS = {
    "hf": ("huggingface_hub", "snapshot_download"),
    "kaggle": ("kagglehub", "model_download"),
}


@pytest.fixture(params=HUBS)
def handle(request):
    return f"{request.param}://user/{uuid4().hex}"


@pytest.fixture
def hub(handle, monkeypatch):
    """Puts a function in place of the hub's; nothing is downloaded."""
    package, function = HUBS[handle.partition(":")[0]]

    def put(download):
        monkeypatch.setitem(
            sys.modules, package, SimpleNamespace(**{function: download})
        )

    return put


def test_a_handle_is_read_from_its_hub_once(handle, hub, model, folder):
    asked = []

    def download(name):
        asked.append(name)
        return str(folder)

    hub(download)

    assert_same_weights(EFSNet.from_preset(handle), model)
    assert load_predictor(handle).size == (16, 16)
    assert asked == [handle.partition("://")[2]]


def test_a_hub_without_its_package_is_named(handle, monkeypatch):
    package, _ = HUBS[handle.partition(":")[0]]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=f"needs {package}.*pip install {package}"):
        EFSNet.from_preset(handle)


def test_a_failed_download_is_one_line(handle, hub):
    def download(name):
        raise ConnectionError("no route to host\nand much more")

    hub(download)
    with pytest.raises(ValueError, match="cannot be downloaded: no route to host; che"):
        EFSNet.from_preset(handle)


def test_a_folder_of_a_hub_without_a_model_is_named(handle, hub, tmp_path):
    hub(lambda name: str(tmp_path))
    with pytest.raises(ValueError, match=f"{handle}: no such model"):
        EFSNet.from_preset(handle)


def network_input(predictor, frame):
    """What prediction gives to the network."""
    given = []

    class Spy(type(predictor)):
        size = (24, 32)

        def __call__(self, images):
            given.append(images)
            return super().__call__(images)

    predict_frame(Spy(), frame)
    return given[0]


def test_preprocess_gives_the_pixels_that_prediction_gives(scan, predictor, tmp_path):
    colour = np.stack([scan, scan // 2, 255 - scan], axis=-1)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    part = Frame(scan, scan=ScreenRegion(10, 5, 50, 40))
    deep = scan.astype(np.uint16) * 256

    found = keras_efsnet.preprocess(
        [scan, tmp_path / "colour.png", part, deep], (24, 32)
    )

    grey = Frame(read_image(tmp_path / "colour.png"))
    expected = [network_input(predictor, f) for f in (Frame(scan), grey, part)]
    assert (found.shape, found.dtype) == ((4, 24, 32, 1), np.float32)
    np.testing.assert_array_equal(found[:3], np.concatenate(expected))
    np.testing.assert_array_equal(found[3], found[0])


def test_preprocess_takes_one_image_at_the_size_of_the_presets(scan):
    assert keras_efsnet.preprocess(scan).shape == (1, 256, 256, 1)
