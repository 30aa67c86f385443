import http.client
import io
import json
import socket
import threading
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.models.presets import PRESETS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.demo import SEED
from keras_efsnet.serve.server import Server, list_contents, name_release

PRESET = PRESETS / "efsnet_base_breast"


@pytest.fixture(scope="module")
def server():
    with Server(0, list_contents("efsnet_base_breast")) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def get(server):
    def ask(path, method="GET"):
        with closing(http.client.HTTPConnection(*server.server_address)) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            return response, response.read()

    return ask


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/index.html", "text/html"),
        ("/manifest.webmanifest", "application/manifest+json"),
        ("/service-worker.js", "text/javascript"),
        ("/icon-512.png", "image/png"),
        ("/licences.txt", "text/plain"),
        ("/index.js", "text/javascript"),
        ("/index.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/litert/litert_wasm_compat_internal.wasm", "application/wasm"),
        ("/model/card.json", "application/json"),
        ("/model/model.tflite", "application/octet-stream"),
        ("/phantom/benign.png", "image/png"),
    ],
)
def test_types_and_lengths(get, path, kind):
    response, body = get(path, "HEAD")
    assert response.status == 200
    assert response.getheader("Content-Type") == kind
    assert body == b""
    assert int(response.getheader("Content-Length")) > 100


def test_the_page_may_use_threads_and_reach_no_other_origin(get):
    response, _ = get("/")
    headers = dict(response.getheaders())
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cache-Control"] == "no-store"
    rules = dict(
        rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; ")
    )
    assert rules["default-src"] == "'self'"
    allowed = {source for rule in rules.values() for source in rule.split()}
    assert allowed == {"'self'", "'none'", "'wasm-unsafe-eval'", "blob:"}


def test_the_model_and_the_phantoms_are_those_of_the_package(get):
    assert (
        get("/model/model.tflite")[1] == (PRESET / "model_float32.tflite").read_bytes()
    )
    card = json.loads((PRESET / "card.json").read_text(encoding="utf-8"))
    assert json.loads(get("/model/card.json")[1]) == card
    image = np.asarray(Image.open(io.BytesIO(get("/phantom/malignant.png")[1])))
    assert np.array_equal(image, make_phantom("malignant", SEED).image)


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/%2e%2e/server.py",
        "/litert/../../server.py",
        "//etc/passwd",
        "/model/../card.json",
        "/model/model_int8.tflite",
        "/phantom/none.png",
        "/litert",
        "/index.html/",
    ],
)
def test_nothing_else_is_there(get, path):
    assert get(path)[0].status == 404


def test_a_query_is_ignored_and_nothing_is_taken(get):
    assert get("/index.html?a=b")[0].status == 200
    assert get("/", "POST")[0].status == 501


def test_the_address_leads_to_the_release_that_is_served(server, get):
    folder = f"/{server.release}/"
    for path in ("/", "/?a=b", "/0123456789abcdef/"):
        response, body = get(path)
        assert (response.status, response.getheader("Location")) == (302, folder)
        assert body == b""
    assert get(folder)[1] == get("/index.html")[1]
    names = json.loads(get(f"{folder}files.json")[1])
    assert {"index.html", "worker.js", "model/model.tflite"} < set(names)
    assert all(get(folder + name, "HEAD")[0].status == 200 for name in names)
    assert get("/0123456789abcdef/index.js")[0].status == 404


def test_a_release_is_named_for_all_that_it_holds():
    files = {"/a.js": lambda: b"1", "/b.js": lambda: b"2"}
    name = name_release(files)
    assert name == name_release(dict(reversed(files.items())))
    others = [
        {**files, "/b.js": lambda: b"3"},
        {"/a.js": files["/a.js"], "/c.js": files["/b.js"]},
        {"/a.js": files["/b.js"], "/b.js": files["/a.js"]},
    ]
    assert name not in map(name_release, others)


def test_only_this_machine_is_answered(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}/"


@pytest.fixture
def started(monkeypatch):
    """The addresses that a browser is asked to open; the server ends as by Ctrl-C."""
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", interrupt)
    return opened


def test_ctrl_c_is_one_line(started, capsys):
    assert main(["serve", "--port", "0"]) == 130
    printed = capsys.readouterr()
    assert printed.err == "interrupted\n"
    assert printed.out.startswith(started[0])


def test_no_browser(started):
    assert main(["serve", "--port", "0", "--no-browser"]) == 130
    assert started == []


def test_port_in_use(started, capsys):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        assert main(["serve", "--port", port]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: port {port} of 127.0.0.1 cannot be used (")
    assert line.endswith("choose another with --port, 0 takes a free one.\n")
    assert started == []


def test_unknown_model(started, capsys):
    assert main(["serve", "--model", "huge"]) == 2
    assert capsys.readouterr().err.startswith("error: huge: no such model")
