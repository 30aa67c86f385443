"""The two files for MediaPipe Tasks; `test_clients.py` runs them in MediaPipe."""

import zipfile

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import encode, packer
from flatbuffers.number_types import Float32Flags, Int8Flags, Uint8Flags
from flatbuffers.table import Table

from checks import randomize_weights
from keras_efsnet import EFSNet, __version__
from keras_efsnet.images.grey import resize_image, to_grey
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.tflite.flatbuffer import check_operators
from keras_efsnet.tflite.interchange import ExportedModel, export_format

if keras.backend.backend() != "tensorflow":
    pytest.skip("TFLite files are made on TensorFlow", allow_module_level=True)

from keras_efsnet.tflite.mediapipe_files import CLASSIFIER, SEGMENTER

SIZE = (48, 64)
VERSION = __version__.encode()
FILES = {
    SEGMENTER: ("mask", (1, *SIZE, 2), ["background", "lesion"]),
    CLASSIFIER: ("class", (1, 3), list(LABELS)),
}


@pytest.fixture(scope="module")
def model():
    return randomize_weights(EFSNet((*SIZE, 1), width=0.5))


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "mediapipe"
    export_format(model, "mediapipe", folder)
    return folder


@pytest.fixture(scope="module")
def grey():
    """uint8 (3, 48, 64): a phantom of each class."""
    phantoms = [make_phantom(label, seed=0) for label in LABELS]
    return np.stack([resize_image(phantom.image, SIZE) for phantom in phantoms])


def run(file, image):
    return Interpreter(str(file)).get_signature_runner()(image=np.float32(image))


def test_an_export_writes_two_files(folder):
    assert {path.name for path in folder.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_from_an_rgb_image_to_one_output(name, folder):
    output, shape, _ = FILES[name]
    runner = Interpreter(str(folder / name)).get_signature_runner()
    ((key, image),) = runner.get_input_details().items()
    assert (key, image["dtype"]) == ("image", np.float32)
    assert tuple(image["shape"]) == (1, *SIZE, 3)
    ((key, found),) = runner.get_output_details().items()
    assert (key, found["dtype"]) == (output, np.float32)
    assert tuple(found["shape"]) == shape
    check_operators((folder / name).read_bytes())


def test_the_classifier_has_no_decoder(folder):
    names = {
        name: [tensor.name for tensor in unpack(folder / name).subgraphs[0].tensors]
        for name in FILES
    }
    assert any(name.startswith(b"up_1") for name in names[SEGMENTER])
    assert not any(name.startswith(b"up_1") for name in names[CLASSIFIER])


def test_grey_images_give_the_answers_of_the_model(model, folder, grey):
    exported = ExportedModel(folder)
    assert exported.size == SIZE
    found = exported(grey[..., None])
    expected = model.predict_on_batch(np.float32(grey[..., None]))
    for key in ("mask", "class"):
        assert found[key].shape == expected[key].shape
        assert np.abs(found[key] - expected[key]).max() < 1e-4, key


def test_colour_becomes_grey_as_in_the_package(folder, grey):
    rgb = np.stack([grey[0], grey[1] // 4, 255 - grey[0]], axis=-1)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - to_grey(rgb)).max() <= 0.51  # rounded
    same = np.repeat(luma[..., None], 3, axis=-1)
    other = rgb[..., ::-1]
    for name, (output, *_) in FILES.items():
        found, expected, wrong = (
            run(folder / name, image[None])[output] for image in (rgb, same, other)
        )
        error, change = (np.abs(found - x).max() for x in (expected, wrong))
        assert error < 0.05 * change


def test_the_masks_add_up_to_1(folder, grey):
    image = np.repeat(grey[:1, ..., None], 3, axis=-1)
    masks = run(folder / SEGMENTER, image)["mask"]
    assert np.ptp(masks[..., 1]) > 0.1
    assert np.abs(masks.sum(-1) - 1).max() < 1e-6


@pytest.mark.parametrize("name", FILES)
def test_labels_are_in_the_archive_after_the_file(name, folder):
    with zipfile.ZipFile(folder / name) as archive:
        assert archive.namelist() == ["labels.txt"]
        (entry,) = archive.infolist()
        assert entry.compress_type == zipfile.ZIP_STORED  # MediaPipe reads no other
        assert archive.read(entry).decode().split("\n") == FILES[name][2]


@pytest.mark.parametrize("name", FILES)
def test_metadata_describe_image_and_output(name, folder):
    content = unpack(folder / name)
    (entry,) = (x for x in content.metadata if x.name == b"TFLITE_METADATA")
    metadata = bytes(content.buffers[entry.buffer].data)
    model = root(metadata, b"M001")
    assert [text(model, i) for i in (0, 2, 5)] == [b"EFSNet", VERSION, b"Apache-2.0"]
    assert b"not a medical device" in text(model, 1)
    (subgraph,) = tables(model, 3)
    (image,), (output,), (custom,) = (tables(subgraph, i) for i in (2, 3, 9))

    assert text(image, 0) == b"image"
    content_of_image = table(image, 3)
    assert byte(content_of_image, 0) == 2  # ImageProperties
    assert byte(table(content_of_image, 1), 0) == 1  # RGB
    (unit,) = tables(image, 4)
    assert byte(unit, 0) == 1  # NormalizationOptions
    assert [floats(table(unit, 1), i) for i in (0, 1)] == [[0], [1]]

    assert text(output, 0) == FILES[name][0].encode()
    (labels,) = tables(output, 6)
    assert (text(labels, 0), byte(labels, 2)) == (b"labels.txt", 2)  # axis labels

    assert text(custom, 0) == b"SEGMENTER_METADATA"
    options = root(bytes(integers(custom, 1)), b"V001")
    assert options.Offset(4) == 0  # activation: the default, none


def test_equal_models_give_equal_files(model, folder, tmp_path):
    export_format(model, "mediapipe", tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_another_network_is_exported_too(tiny_model, tmp_path):
    model = keras.saving.load_model(tiny_model)
    export_format(model, "mediapipe", tmp_path)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 1))
    found = ExportedModel(tmp_path)(np.float32(images))
    expected = model.predict_on_batch(np.float32(images))
    for key in ("mask", "class"):
        assert np.abs(found[key] - expected[key]).max() < 1e-4, key


def unpack(file):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes(), 0))


def root(content, identifier):
    """A flatbuffer's first table; fields are read by their number in the schema."""
    assert content[4:8] == identifier
    return Table(content, encode.Get(packer.uoffset, content, 0))


def place(parent, number):
    offset = parent.Offset(4 + 2 * number)
    assert offset, f"field {number} is missing"
    return offset


def table(parent, number):
    at = parent.Pos + place(parent, number)
    return Table(parent.Bytes, parent.Indirect(at))


def tables(parent, number):
    at = place(parent, number)
    starts = [parent.Vector(at) + 4 * i for i in range(parent.VectorLen(at))]
    return [Table(parent.Bytes, parent.Indirect(start)) for start in starts]


def text(parent, number):
    return parent.String(parent.Pos + place(parent, number))


def byte(parent, number):
    return parent.Get(Int8Flags, parent.Pos + place(parent, number))


def floats(parent, number):
    return parent.GetVectorAsNumpy(Float32Flags, place(parent, number)).tolist()


def integers(parent, number):
    return parent.GetVectorAsNumpy(Uint8Flags, place(parent, number))
