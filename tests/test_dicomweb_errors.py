"""`efsnet dicomweb` and servers that fail, each in one line; without Orthanc."""

import json
import sys
import time

import pytest

from keras_efsnet.cli import main

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
pytest.importorskip("dicomweb_client")
from dicom_files import dataset  # noqa: E402
from loopback import LoopbackHandler, LoopbackServer  # noqa: E402
from orthanc import encode  # noqa: E402

from keras_efsnet.clinic.multipart import first_part  # noqa: E402

STUDY, SERIES = "1.2.3", "1.2.3.4"
SECRET = "Doe^Jane"
HTML = 200, "text/html", f"<html>{SECRET}</html>".encode()
JSON, DICOM = "application/dicom+json", "application/dicom"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, predictor, tmp_path):
    """No credentials, no proxy, no network to load, few tries."""
    for name in ("TOKEN", "USER", "PASSWORD"):
        monkeypatch.delenv(f"EFSNET_DICOMWEB_{name}", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr("keras_efsnet.clinic.session.RETRIES", 1)
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *args: predictor
    )


class FakeServer(LoopbackServer):
    """A server with instances 1.2.3.4.1 and so on, and answers that a test changes.

    `search`, `fetch` and `store` return status, content type and body.
    """

    def __init__(self, scan, count=1):
        super().__init__(Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/pacs"
        self.seen = []
        self.stored = set()
        self.scan = scan
        self.listed = [f"{SERIES}.{number}" for number in range(1, count + 1)]

    def search(self, path):
        if "SOPInstanceUID=" in path:
            found = self.stored & {path.split("SOPInstanceUID=")[1].split("&")[0]}
        else:
            found = self.listed if "offset=0" in path else []
        return 200, JSON, json.dumps([self.item(uid) for uid in found]).encode()

    def item(self, uid, modality="US"):
        values = {"0020000E": SERIES, "00080018": uid, "00080060": modality}
        return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}

    def fetch(self, path):
        made = dataset(self.scan)
        made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, SERIES
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = path.rsplit(
            "/", 1
        )[1]
        made.PatientName = SECRET
        return 200, DICOM, encode(made)

    def store(self, body):
        self.stored |= {uid.decode() for uid in body_uids(body)}
        return 200, JSON, b"{}"


def body_uids(body):
    """The SOP Instance UIDs of the objects in a request to store."""
    mark = b"\x08\x00\x18\x00UI"
    for part in body.split(mark)[1:]:
        length = int.from_bytes(part[:2], "little")
        yield part[2 : 2 + length].rstrip(b"\0")


class Handler(LoopbackHandler):
    def do_GET(self):
        body = self.read_body()
        self.server.seen.append((self.command, self.path))
        if self.command == "POST":
            answer = self.server.store(body)
        elif "?" in self.path:
            answer = self.server.search(self.path)
        else:
            answer = self.server.fetch(self.path)
        status, kind, content = answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if 300 <= status < 400:
            self.send_header("Location", f"https://login.example.org/?name={SECRET}")
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET


@pytest.fixture
def server(scan):
    with FakeServer(scan) as running:
        yield running


def run(url, *options):
    return main(["dicomweb", getattr(url, "url", url), "--study", STUDY, *options])


def fails(capfd, url, code=2):
    """The one line of a run that fails, which has no word of a patient."""
    assert run(url) == code
    captured = capfd.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert SECRET not in captured.out + line
    return line


def always(*answer):
    return lambda _: answer


def test_the_fake_server_can_be_used(server, capfd):
    assert run(server) == 0
    assert "1 of 1 images: 2 objects stored" in capfd.readouterr().out
    assert run(server) == 0
    assert "0 objects stored, 2 there before" in capfd.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [
        HTML,
        (200, JSON, b'{"a": 1}'),
        (200, JSON, b"[1, 2]"),
        (200, JSON, b'[{"00080018": 3}]'),
        (200, JSON, b"\xff\xfe"),
        (302, "text/html", b""),
        (404, "text/html", b"no such page"),
    ],
)
def test_an_address_without_dicomweb(server, capfd, answer):
    server.search = always(*answer)
    line = fails(capfd, server)
    assert line.startswith(f"error: {server.url}: no DICOMweb service answers there (")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "refuses to search for images (HTTP 400)"),
        (401, "with these credentials (HTTP 401); set EFSNET_DICOMWEB_USER"),
        (403, "the account may not search for images (HTTP 403)"),
        (500, "the server failed to search for images (HTTP 500)"),
    ],
)
def test_refusals(server, capfd, status, words):
    server.search = always(status, "text/plain", SECRET.encode())
    assert words in fails(capfd, server)
    assert len(server.seen) == 1


def test_a_busy_server_is_asked_again_but_not_to_store(server, capfd):
    answers = [(503, "text/plain", b"")]
    search = server.search
    server.search = lambda path: answers.pop() if answers else search(path)
    server.store = always(503, "text/plain", b"")
    assert "failed to store results (HTTP 503)" in fails(capfd, server)
    assert [command for command, _ in server.seen].count("POST") == 1


def test_no_server_and_no_host(capfd):
    line = fails(capfd, "http://127.0.0.1:9/pacs")
    assert "/pacs: no connection to 127.0.0.1:9 (Connection refused)" in line
    line = fails(capfd, "https://pacs.invalid/pacs")
    assert "https://pacs.invalid/pacs: no connection to pacs.invalid (" in line


def test_a_proxy_that_does_not_answer(capfd, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "the proxy does not answer" in fails(capfd, "http://192.0.2.1/pacs")


def test_a_server_that_does_not_answer(server, capfd, monkeypatch):
    monkeypatch.setattr("keras_efsnet.clinic.dicomweb.TIMEOUTS", (0.2, 0.2))
    server.search = lambda path: time.sleep(1)
    assert f"{server.url}: no answer for 60 s" in fails(capfd, server)


def test_a_server_whose_search_has_no_end(server, capfd):
    server.search = always(200, JSON, json.dumps([server.item("1.2.3.4.1")]).encode())
    assert run(server, "--dry-run") == 0
    assert "1 of 1 images" in capfd.readouterr().out


@pytest.mark.parametrize("number", ["x", -1, 1.5, "", None])
def test_a_damaged_instance_number_hides_nothing(server, capfd, number):
    item = server.item("1.2.3.4.1") | {"00200013": {"vr": "IS", "Value": [number]}}
    server.search = always(200, JSON, json.dumps([item]).encode())
    assert run(server, "--dry-run") == 0


@pytest.mark.parametrize("status", [404, 410, 500])
def test_an_instance_that_is_not_sent_is_one_line(scan, capfd, status):
    with FakeServer(scan, count=3) as server:
        fetch = server.fetch
        server.fetch = lambda path: (
            (status, "text/plain", SECRET.encode())
            if path.endswith(".2")
            else fetch(path)
        )
        line = fails(capfd, server, code=1)
        assert f"1.2.3.4.2: the server cannot send it (HTTP {status})" in line
        assert len(server.stored) == 4


def test_an_image_has_no_name_on_the_disk(server, predictor, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = []

    def look(images):
        seen.extend(tmp_path.iterdir())
        return type(predictor).__call__(predictor, images)

    look.size, look.rules, look.file = predictor.size, predictor.rules, predictor.file
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *args: look
    )
    assert run(server) == 0
    assert not seen and not list(tmp_path.iterdir())


def test_what_is_sent_is_no_dicom(server, capfd):
    server.fetch = always(*HTML)
    assert "no DICOMweb service answers there (it sent text/html)" in fails(
        capfd, server
    )
    server.fetch = always(200, DICOM, b"nothing")
    assert "1.2.3.4.1: the server did not send a DICOM file" in fails(capfd, server)


@pytest.mark.parametrize("closed", [b"", b"--"])
def test_a_part_that_ends_early(server, capfd, closed):
    _, _, content = server.fetch("/1.2.3.4.1")
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    server.fetch = always(200, kind, head + content[:1000])
    assert "1.2.3.4.1: the server did not send all of it" in fails(capfd, server)
    server.fetch = always(200, kind, head + content + b"\r\n--b" + closed)
    assert run(server, "--dry-run") == 0
    server.fetch = always(200, "multipart/related", content)
    assert run(server, "--dry-run") == 0


def test_objects_that_are_not_stored(server, capfd):
    item = {
        "00081155": {"vr": "UI", "Value": ["1.2"]},
        "00081197": {"vr": "US", "Value": [0xA700]},
    }

    def refuse(body):
        failed = [
            {**item, "00081155": {"vr": "UI", "Value": [uid.decode()]}}
            for uid in body_uids(body)
        ]
        answer = {"00081198": {"vr": "SQ", "Value": failed}}
        return 202, JSON, json.dumps(answer).encode()

    server.store = refuse
    assert (
        "1.2.3.4.1: the server did not store all results (failure reason 0xa700)"
        in (fails(capfd, server))
    )
    server.store = always(200, "application/json;charset=utf-8", b"{}")
    assert "did not store all results (no SEG is there)" in fails(capfd, server)
    server.store = always(409, JSON, SECRET.encode())
    assert "did not store all results (HTTP 409)" in fails(capfd, server)
    server.store = always(200, JSON, b'{"00081199": 7}')
    assert "did not store all results (no SEG is there)" in fails(capfd, server)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://pacs/x", "got ftp://pacs/x."),
        ("pacs", "got pacs."),
        ("https://", "got https://."),
        ("https://pacs:port/", "got https://pacs:port/."),
        ("https://pacs/?key=hunter2", "without ? or #, got https://pacs/...."),
        ("https://jane:hunter2@pacs:x/", "must not hold a user name or password"),
        ("https://jane:hunter2@pacs/", "must not hold a user name or password"),
    ],
)
def test_addresses(capfd, url, words):
    line = fails(capfd, url)
    assert words in line and "hunter2" not in line


@pytest.mark.parametrize("uid", ["", "1.2/3", "1" * 65, "study"])
def test_uids(server, capfd, uid):
    assert main(["dicomweb", server.url, "--study", uid]) == 2
    assert "--study must be a DICOM UID" in capfd.readouterr().err
    assert not server.seen


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TOKEN": "a", "USER": "b", "PASSWORD": "c"}, "both set; unset one"),
        ({"USER": "b"}, "belong together"),
        ({"PASSWORD": "hunter2"}, "belong together"),
        ({"TOKEN": "hunter2\nx"}, "holds no bearer token"),
        ({"TOKEN": "hunter2"}, "credentials are not sent unencrypted"),
    ],
)
def test_credentials(capfd, monkeypatch, variables, words):
    for name, value in variables.items():
        monkeypatch.setenv(f"EFSNET_DICOMWEB_{name}", value)
    line = fails(capfd, "http://192.0.2.1/pacs")
    assert words in line and "hunter2" not in line


def test_a_netrc_file_that_cannot_be_used(capfd, tmp_path):
    (tmp_path / "netrc").write_text("machine pacs login jane hunter2")
    line = fails(capfd, "https://pacs/")
    assert "netrc: not a netrc file" in line and "hunter2" not in line


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
@pytest.mark.parametrize("content", [b"", b"a", b"\r\n--", b"\r\n--borde\r\n\r\n" * 9])
def test_the_first_part_of_a_body(size, content):
    body = (
        b"\r\n--border\r\nA: b\r\n\r\n"
        + content
        + b"\r\n--border\r\n\r\nx\r\n--border--"
    )
    for start in (0, 2):
        rest = body[start:]
        chunks = [rest[place : place + size] for place in range(0, len(rest), size)]
        assert b"".join(first_part(chunks, "border")) == content


def test_memory_does_not_grow_with_the_instance():
    """A part of 100 MiB passes in pieces."""
    piece = bytes(2**20)
    chunks = [b"--b\r\n\r\n", *(piece for _ in range(100)), b"\r\n--b--"]
    assert max(map(len, first_part(chunks, "b"))) <= 2**20 + 10
    assert sum(map(len, first_part(chunks, "b"))) == 100 * 2**20


def test_without_the_client_a_line_says_what_to_install(capfd, monkeypatch):
    for name in ("studies", "dicomweb"):
        monkeypatch.delitem(sys.modules, f"keras_efsnet.clinic.{name}", raising=False)
    monkeypatch.delattr("keras_efsnet.clinic.studies", raising=False)
    monkeypatch.setitem(sys.modules, "dicomweb_client.web", None)
    assert 'pip install "keras-efsnet[clinic]"' in fails(capfd, "https://pacs/")
