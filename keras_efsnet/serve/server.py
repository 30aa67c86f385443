"""Local web server for the browser demo: the built page, a model and phantoms.

The page runs the model in the browser and sends no images. The server only answers this
machine, with the files of a fixed table.

All files together are a release, named for the digest of their contents. "/" leads to
the release's folder, so that a browser which keeps files never mixes two releases.
"""

import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from keras_efsnet.labels import LABELS
from keras_efsnet.models.presets import (
    check_digest,
    find_folder,
    find_lite_file,
    no_such_model,
    read_card,
)
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.demo import SEED
from keras_efsnet.prediction.postprocess import read_rules

PAGE = Path(__file__).parent / "page"
ADDRESS = "127.0.0.1"

# The machine's own table may differ.
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tflite": "application/octet-stream",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}

RELEASE_DIGITS = 16
_FRONT_DOOR = re.compile(f"/([0-9a-f]{{{RELEASE_DIGITS}}}/)?")

POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "img-src": "'self' blob:",
    "media-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    # WebAssembly threads need the first two.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "; ".join(f"{k} {v}" for k, v in POLICY.items()),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Another version of the package may later run on the same port.
    "Cache-Control": "no-store",
}

Contents = Mapping[str, Callable[[], bytes]]


class Server(ThreadingTCPServer):
    """An HTTP server on 127.0.0.1.

    Unlike `http.server.HTTPServer`, it does not look up the machine's name, which could
    use the network.

    Args:
        port: 0 takes a free one.
        contents: functions that return a file's bytes, by path from "/".

    Attributes:
        release: the folder under which all files are served too.

    Raises:
        ValueError: the port cannot be used.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, contents: Contents) -> None:
        self.contents = contents
        self.release = name_release(contents)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise ValueError(
                f"port {port} of {ADDRESS} cannot be used ({error.strerror}); choose "
                "another with --port, 0 takes a free one."
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a browser that closes the connection during a response."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}/"


def list_contents(model: str | Path) -> Contents:
    """Returns everything that the server offers, by path.

    Args:
        model: a preset's name or a folder in its layout; its float32 file is served.

    Raises:
        OSError, ValueError: there is no such model, or it is damaged.
    """
    folder = find_folder(model)
    if folder is None:
        raise no_such_model(model, "the folder of `efsnet export`")
    file = find_lite_file(folder, "float32")
    check_digest(file, file.read_bytes())
    read_rules(file)
    card = json.dumps(read_card(file)).encode()
    pages = {
        f"/{path.relative_to(PAGE).as_posix()}": path.read_bytes
        for path in PAGE.rglob("*")
        if path.is_file()
    }
    files: dict[str, Callable[[], bytes]] = {
        **pages,
        "/model/model.tflite": file.read_bytes,
        "/model/card.json": lambda: card,
        **{f"/phantom/{label}.png": partial(_phantom, label) for label in LABELS},
    }
    # What a browser keeps.
    names = json.dumps([path[1:] for path in sorted(files)]).encode()
    return {**files, "/files.json": lambda: names}


def name_release(contents: Contents) -> str:
    """Returns the first digits of a digest of all paths and contents."""
    digest = hashlib.sha256()
    for path in sorted(contents):
        digest.update(f"{path}\n".encode())
        digest.update(hashlib.sha256(contents[path]()).digest())
    return digest.hexdigest()[:RELEASE_DIGITS]


@cache
def _phantom(label: str) -> bytes:
    """The PNG of `efsnet demo` for this class."""
    file = io.BytesIO()
    Image.fromarray(make_phantom(label, SEED).image).save(file, format="PNG")
    return file.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        folder = f"/{self.server.release}"
        path = urlsplit(self.path).path
        if _FRONT_DOOR.fullmatch(path) and path != f"{folder}/":
            self._lead_to(f"{folder}/")
            return
        if path.startswith(f"{folder}/"):
            path = path.removeprefix(folder)
        name = "/index.html" if path == "/" else path
        read = self.server.contents.get(name)
        if read is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = read()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[Path(name).suffix])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _lead_to(self, place: str) -> None:
        """Sends to the release that is served, also from an older one."""
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", place)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        return "efsnet"

    def log_message(self, format: str, *args: object) -> None:
        """Prints no request log."""
