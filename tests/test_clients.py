"""The files in the runtimes of users, each in its environment (`make test-clients`)."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from keras_efsnet.models.presets import DEFAULT_MODEL, find_model
from keras_efsnet.models.saving import load_keras_model

pytestmark = pytest.mark.clients

TOP = Path(__file__).parents[1]
SCRIPT = TOP / "benchmarks" / "clients.py"
FOLDER = Path(os.environ.get("EFSNET_CLIENTS", TOP / "build" / "clients"))

EXACT = 1e-4
"""Largest difference of float files."""


def load_script():
    spec = importlib.util.spec_from_file_location("clients", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


clients = load_script()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Files, images and what Keras says of them."""
    file = find_model(DEFAULT_MODEL).keras_file
    model, images = load_keras_model(file), clients.make_images()
    files = clients.make_files(model, file.parent, tmp_path_factory.mktemp("files"))
    return files, images, clients.predict(model, images)


def name_of(client):
    return " ".join([client.name, *client.files])


@pytest.mark.parametrize("client", clients.CLIENTS, ids=name_of)
def test_says_what_keras_says(client, inputs):
    try:
        found = clients.run_client(client, FOLDER, *inputs)
    except clients.Unavailable as error:
        pytest.skip(f"{error}: make test-clients installs it")
    if client.quantized:
        # OpenVINO 2026.4 computes int8 .tflite files with other roundings.
        assert found.mask_dice > (0.95 if client.name == "OpenVINO" else 0.97)
        assert found.same_class == 1
    else:
        assert found.worst < EXACT
        assert found.mask_dice > 0.9999


@pytest.mark.parametrize("accelerator", clients.ACCELERATORS)
def test_every_operator_is_on_the_npu(accelerator, inputs):
    files, *_ = inputs
    try:
        facts = clients.compile_for(accelerator, FOLDER, files["int8-full"])
    except clients.Unavailable as error:
        pytest.skip(f"{error}: make test-clients installs it")
    assert facts["on_cpu"] == []
    # The plain graph needs 32.6, 9.7 and 14.3, and leaves four on the CPU.
    most = {"ethos-u55-128": 25, "ethos-u65-256": 8.5, "ethos-u85-256": 6.2}
    assert facts["milliseconds"] < most[accelerator]
