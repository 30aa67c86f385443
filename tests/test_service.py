"""The example of a web service, under load."""

import http.client
import io
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet import predict
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIENTS = 8

SERVER = """
import socket, sys, uvicorn
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.run("service:app", fd=listening.fileno(), log_level="error")
"""


@pytest.fixture(scope="module")
def server():
    """Yields the process and the port of the running example."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, cwd=EXAMPLES, stdout=subprocess.PIPE) as process:
        yield process, int(process.stdout.readline())
        process.terminate()


def post(port, content):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/predict", content)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def answer_of(pixels):
    """What the service must say of an image, but for its time."""
    facts = predict(pixels)[0].to_json()
    return without_time(facts)


def without_time(record):
    return {k: v for k, v in record.items() if k not in ("milliseconds", "lesions")}


def resident_megabytes(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize("requests", [80, pytest.param(1000, marks=pytest.mark.slow)])
def test_each_client_gets_its_own_answer(server, requests):
    process, port = server
    images = [make_phantom(LABELS[seed % 3], seed).image for seed in range(CLIENTS)]
    expected = [answer_of(image) for image in images]
    assert len({json.dumps(facts) for facts in expected}) == CLIENTS
    contents = [png(image) for image in images]

    def ask(number):
        status, record = post(port, contents[number % CLIENTS])
        return status, without_time(record)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, range(5 * CLIENTS)))
        if sys.platform == "linux":
            before = resident_megabytes(process)
        answers = list(clients.map(ask, range(requests)))
    for number, answer in enumerate(answers):
        assert answer == (200, expected[number % CLIENTS]), number
    if sys.platform == "linux":
        assert resident_megabytes(process) < before + 30


def test_measurements_come_with_the_answer(server):
    status, record = post(server[1], png(make_phantom("malignant", 2).image))
    assert status == 200
    assert [lesion["box"] for lesion in record["lesions"]] == record["boxes"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 415),
        (b"not an image", 415),
        (png(np.zeros((50, 50), np.uint8))[:60], 415),
        (bytes(21 * 2**20), 413),
    ],
)
def test_a_bad_upload_is_the_clients_error(server, content, status):
    found, body = post(server[1], content)
    assert found == status
    assert tempfile.gettempdir() not in body["detail"]
    assert post(server[1], png(make_phantom("benign", 1).image))[0] == 200
