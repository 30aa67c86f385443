"""`efsnet dicomweb` against Debian's Orthanc."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
from base64 import b64encode
from http.client import HTTPConnection

import numpy as np
import pytest

from keras_efsnet.cli import main

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
pytest.importorskip("dicomweb_client")
from dicom_files import dataset, region  # noqa: E402
from loopback import LoopbackHandler, LoopbackServer  # noqa: E402
from orthanc import PASSWORD, USER, Orthanc, encode, needs_orthanc  # noqa: E402
from pydicom import uid  # noqa: E402

pytestmark = [needs_orthanc, pytest.mark.usefixtures("stub_network")]
SECRET = "Doe^Jane"
BOTH = ["SEG", "SR"]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    server = Orthanc(tmp_path_factory.mktemp("orthanc")).start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def account(monkeypatch, tmp_path):
    """The right password, no proxy, no netrc file of the user."""
    monkeypatch.setenv("EFSNET_DICOMWEB_USER", USER)
    monkeypatch.setenv("EFSNET_DICOMWEB_PASSWORD", PASSWORD)
    monkeypatch.delenv("EFSNET_DICOMWEB_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


class Examination:
    """Ultrasound images of one study, to be put on a server."""

    def __init__(self, scan):
        self.scan = scan
        self.study, self.series = uid.generate_uid(), uid.generate_uid()
        self.count = 0

    def image(self, pixels=None, sop_class=uid.UltrasoundImageStorage, **tags):
        """An object; the scan by default, which has one lesion."""
        self.count += 1
        pixels = self.scan if pixels is None else pixels
        made = dataset(pixels, regions=[region(0, 0, 79, 59)])
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
        made.StudyInstanceUID, made.SeriesInstanceUID = self.study, self.series
        made.SOPInstanceUID = f"{self.series[:50]}.{self.count}"
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.InstanceNumber = self.count
        made.PatientName, made.PatientID = SECRET, "4711"
        for keyword, value in tags.items():
            setattr(made, keyword, value)
        return made

    def clip(self, frames):
        pixels = np.stack([np.roll(self.scan, step, axis=1) for step in range(frames)])
        return self.image(pixels, uid.UltrasoundMultiFrameImageStorage)


class Proxy(LoopbackServer):
    """Passes requests on to Orthanc with its account.

    Args:
        orthanc: the server.
        watch: sees each request before it is passed on; returns an HTTP status to
            answer instead, or None.
        watch_answer: sees each request whose answer is there but not yet passed on.
        context: for TLS.
    """

    def __init__(
        self,
        orthanc,
        watch=lambda _: None,
        watch_answer=lambda _: None,
        context=None,
    ):
        super().__init__(ProxyHandler)
        self.orthanc, self.watch, self.watch_answer = orthanc, watch, watch_answer
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server_port}/dicom-web"


class ProxyHandler(LoopbackHandler):
    def do_GET(self):
        body = self.read_body()
        status, content, kind = self.server.watch(self), b"", "text/plain"
        if status is None:
            upstream = HTTPConnection("127.0.0.1", self.server.orthanc.port)
            account = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            passed = {"Authorization": f"Basic {account}"}
            for name in ("Accept", "Content-Type"):
                if name in self.headers:
                    passed[name] = self.headers[name]
            upstream.request(self.command, self.path, body, passed)
            answer = upstream.getresponse()
            status, content = answer.status, answer.read()
            kind = answer.headers.get("Content-Type", "application/dicom+json")
            upstream.close()
            self.server.watch_answer(self)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET


@pytest.fixture
def examination(scan):
    return Examination(scan)


def run(server, study, *options):
    return main(
        ["dicomweb", getattr(server, "url", server), "--study", study, *options]
    )


def references(made):
    """All instances that an object refers to."""
    return {
        str(element.value)
        for element in made.iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    }


def test_results_of_a_study_are_stored_beside_its_images(orthanc, examination, capfd):
    empty = np.full_like(examination.scan, 220)
    images = [examination.image(), examination.image(empty), examination.clip(3)]
    assert all(map(orthanc.put, images))
    assert run(orthanc, examination.study) == 0
    lines = capfd.readouterr().out.splitlines()
    uids = [image.SOPInstanceUID for image in images]
    assert lines[0] == f"[1/3] {uids[0]}: 1 frame; stored dicom-seg, dicom-sr"
    assert lines[1] == f"[2/3] {uids[1]}: 1 frame; stored dicom-sr"
    assert lines[2] == f"[3/3] {uids[2]}: 3 frames; stored dicom-seg, dicom-sr"
    assert lines[3].startswith("3 of 3 images: 5 objects stored, 0 there before.")
    for modality, count in (("SEG", 2), ("SR", 3)):
        query = f"instances?Modality={modality}"
        listed = orthanc.ask(f"dicom-web/studies/{examination.study}/{query}")
        assert len(json.loads(listed)) == count


def test_references_resolve_and_identity_is_that_of_the_study(orthanc, examination):
    image = examination.image()
    orthanc.put(image)
    assert run(orthanc, examination.study) == 0
    found = {made.Modality: made for made in orthanc.read(examination.study, *BOTH)}
    segmentation, report = found["SEG"], found["SR"]
    source = image.SOPInstanceUID
    assert references(segmentation) == {source}
    assert references(report) == {source, segmentation.SOPInstanceUID}
    assert {str(made.PatientName) for made in found.values()} == {SECRET}
    np.testing.assert_array_equal(segmentation.pixel_array, examination.scan < 128)


def test_a_second_run_stores_nothing(orthanc, examination, capfd):
    orthanc.put(examination.image())
    assert run(orthanc, examination.study) == 0
    before = {made.SOPInstanceUID for made in orthanc.read(examination.study, *BOTH)}
    capfd.readouterr()
    assert run(orthanc, examination.study) == 0
    out = capfd.readouterr().out
    assert "1 frame; there before: dicom-seg, dicom-sr\n" in out
    assert "1 of 1 images: 0 objects stored, 2 there before." in out
    after = {made.SOPInstanceUID for made in orthanc.read(examination.study, *BOTH)}
    assert len(after) == 2 and after == before


def test_the_results_are_those_of_efsnet_predict(orthanc, examination, capfd, tmp_path):
    for number, image in enumerate([examination.image(), examination.clip(12)]):
        orthanc.put(image)
        (tmp_path / f"{number}.dcm").write_bytes(encode(image))
    files, out = sorted(map(str, tmp_path.glob("*.dcm"))), tmp_path / "out"
    formats = ("--format", "dicom-seg", "--format", "dicom-sr")
    assert main(["predict", *files, "--out", str(out), *formats]) == 0
    made = [*out.glob("*_seg.dcm"), *out.glob("*_sr.dcm")]
    assert len(made) == 4
    assert all(orthanc.put(file.read_bytes()) for file in made)
    capfd.readouterr()
    assert run(orthanc, examination.study) == 0
    assert "2 images: 0 objects stored, 4 there before" in capfd.readouterr().out


def test_lesions_of_a_clip_are_followed(orthanc, examination):
    orthanc.put(examination.clip(12))
    assert run(orthanc, examination.study) == 0
    (segmentation,) = orthanc.read(examination.study, "SEG")
    tracked = {part.TrackingUID for part in segmentation.SegmentSequence}
    assert len(segmentation.SegmentSequence) == 12 and len(tracked) == 1


def test_a_dry_run_stores_nothing(orthanc, examination, capfd):
    orthanc.put(examination.image())
    assert run(orthanc, examination.study, "--dry-run") == 0
    out = capfd.readouterr().out
    assert "1 frame; would store dicom-seg, dicom-sr\n" in out
    assert "2 objects would be stored, 0 there before." in out
    assert not orthanc.read(examination.study, *BOTH)


def test_one_format_and_one_series(orthanc, examination):
    chosen, other = examination.image(), examination.image(SeriesInstanceUID="1.2.9")
    assert orthanc.put(chosen) and orthanc.put(other)
    options = ("--series", examination.series, "--format", "dicom-seg")
    assert run(orthanc, examination.study, *options) == 0
    found = orthanc.read(examination.study, *BOTH)
    assert [made.Modality for made in found] == ["SEG"]
    assert references(found[0]) == {chosen.SOPInstanceUID}


def test_a_segmentation_larger_than_one_piece_of_a_request(orthanc, examination):
    pixels = np.stack([np.kron(examination.scan, np.ones((10, 10), np.uint8))] * 20)
    clip = examination.image(pixels, uid.UltrasoundMultiFrameImageStorage)
    assert orthanc.put(clip)
    assert run(orthanc, examination.study, "--format", "dicom-seg") == 0
    (found,) = orthanc.read(examination.study, "SEG")
    assert len(found.PixelData) > 2**20


def test_what_is_no_ultrasound_is_left_out(orthanc, examination, capfd):
    orthanc.put(
        examination.image(Modality="MG", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.2")
    )
    assert run(orthanc, examination.study) == 2
    assert "none of the 1 instances of the study is an ultra" in capfd.readouterr().err


def test_an_instance_that_cannot_be_read_is_one_line(orthanc, examination, capfd):
    damaged = examination.image()
    damaged.PixelData = damaged.PixelData[:100]
    orthanc.put(damaged)
    assert run(orthanc, examination.study) == 2
    orthanc.put(examination.image())
    capfd.readouterr()
    assert run(orthanc, examination.study) == 1
    captured = capfd.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith(f"error: {damaged.SOPInstanceUID}: ")
    assert "1 of 2 images: 2 objects stored" in captured.out
    assert SECRET not in line


def test_no_word_of_the_patient_is_printed(orthanc, examination, capfd):
    orthanc.put(examination.image())
    run(orthanc, examination.study, "--debug")
    run("http://127.0.0.1:1/dicom-web", examination.study)
    printed = "".join(capfd.readouterr())
    assert printed and "Doe" not in printed and "4711" not in printed
    assert PASSWORD not in printed


@pytest.mark.parametrize("moment", ["watch", "watch_answer"])
def test_a_server_killed_in_the_middle(tmp_path, examination, capfd, moment):
    """Before the second result reaches it, or when it has just stored it."""
    orthanc = Orthanc(tmp_path).start()
    for _ in range(4):
        orthanc.put(examination.image())
    stores = []

    def kill(request):
        if request.command == "POST":
            stores.append(request.path)
            if len(stores) == 2:
                orthanc.kill()
                raise ConnectionAbortedError

    with Proxy(orthanc, **{moment: kill}) as proxy:
        assert run(proxy, examination.study) == 1
        captured = capfd.readouterr()
        assert "1 of 4 images: 2 objects stored" in captured.out
        (line,) = captured.err.splitlines()
        assert line.startswith(f"error: {proxy.url}: no connection")
    orthanc.start()
    before = {made.SOPInstanceUID for made in orthanc.read(examination.study, *BOTH)}
    assert len(before) == (2 if moment == "watch" else 4)
    assert run(orthanc, examination.study) == 0
    out = capfd.readouterr().out
    assert (
        f"4 of 4 images: {8 - len(before)} objects stored, {len(before)} there" in out
    )
    found = orthanc.read(examination.study, *BOTH)
    assert sorted(made.Modality for made in found) == ["SEG"] * 4 + ["SR"] * 4
    assert before < {made.SOPInstanceUID for made in found}
    orthanc.kill()


def test_a_result_stored_half_is_completed(orthanc, examination, capfd):
    """Orthanc stores one object after the other: it can be killed between them."""
    image = examination.image()
    orthanc.put(image)
    assert run(orthanc, examination.study) == 0
    (report,) = orthanc.read(examination.study, "SR")
    (name,) = orthanc.find(SOPInstanceUID=report.SOPInstanceUID)
    orthanc.ask(f"instances/{name}", method="DELETE")
    assert not orthanc.read(examination.study, "SR")
    capfd.readouterr()
    assert run(orthanc, examination.study) == 0
    assert "stored dicom-sr; there before: dicom-seg" in capfd.readouterr().out
    (again,) = orthanc.read(examination.study, "SR")
    assert again.SOPInstanceUID == report.SOPInstanceUID


def test_ctrl_c_waits_for_a_request_to_store(orthanc, examination, capfd):
    for _ in range(3):
        orthanc.put(examination.image())
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(request):
        if request.command == "POST":
            os.kill(os.getpid(), signal.SIGINT)

    with Proxy(orthanc, press) as proxy:
        assert run(proxy, examination.study) == 130
    assert "0 of 3 images" not in capfd.readouterr().out
    found = orthanc.read(examination.study, *BOTH)
    assert sorted(made.Modality for made in found) == BOTH


def test_a_wrong_password_and_none(orthanc, examination, capfd, monkeypatch):
    monkeypatch.setenv("EFSNET_DICOMWEB_PASSWORD", "wrong")
    assert run(orthanc, examination.study) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {orthanc.url}: the server refuses to search")
    assert "(HTTP 401)" in line and "wrong" not in line
    monkeypatch.delenv("EFSNET_DICOMWEB_USER")
    monkeypatch.delenv("EFSNET_DICOMWEB_PASSWORD")
    assert run(orthanc, examination.study) == 2
    assert "(HTTP 401)" in capfd.readouterr().err


def test_a_netrc_file(orthanc, examination, monkeypatch, tmp_path):
    orthanc.put(examination.image())
    monkeypatch.delenv("EFSNET_DICOMWEB_USER")
    monkeypatch.delenv("EFSNET_DICOMWEB_PASSWORD")
    file = tmp_path / "netrc"
    file.write_text(f'machine 127.0.0.1 login {USER} password "{PASSWORD}"\n')
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    assert run(orthanc, examination.study, "--dry-run") == 0


def test_a_token(orthanc, examination, capfd, monkeypatch):
    orthanc.put(examination.image())
    monkeypatch.delenv("EFSNET_DICOMWEB_USER")
    monkeypatch.delenv("EFSNET_DICOMWEB_PASSWORD")

    def check(request):
        return None if request.headers["Authorization"] == "Bearer abc.def" else 401

    with Proxy(orthanc, check) as proxy:
        monkeypatch.setenv("EFSNET_DICOMWEB_TOKEN", "abc.def")
        assert run(proxy, examination.study) == 0
        assert len(orthanc.read(examination.study, *BOTH)) == 2
        monkeypatch.setenv("EFSNET_DICOMWEB_TOKEN", "stale")
        capfd.readouterr()
        assert run(proxy, examination.study) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert "(HTTP 401)" in line and "stale" not in line


def test_an_account_that_may_not_store(orthanc, examination, capfd):
    for _ in range(2):
        orthanc.put(examination.image())
    with Proxy(
        orthanc, lambda asked: 403 if asked.command == "POST" else None
    ) as proxy:
        assert run(proxy, examination.study) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {proxy.url}: the account may not store results")


def test_an_unknown_study_and_series(orthanc, examination, capfd):
    assert run(orthanc, "1.2.3.99") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {orthanc.url}: no study 1.2.3.99 on this server")
    orthanc.put(examination.image())
    assert run(orthanc, examination.study, "--series", "1.2.3.98") == 2
    assert "no series 1.2.3.98 of " in capfd.readouterr().err


def test_tls_with_the_certificate_of_a_clinic(
    orthanc, tmp_path, examination, capfd, monkeypatch
):
    if not (openssl := shutil.which("openssl")):
        pytest.skip("needs openssl for a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=pacs", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-keyout", key, "-out", certificate, *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    orthanc.put(examination.image())
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with Proxy(orthanc, context=context) as proxy:
        assert run(proxy, examination.study) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"error: {proxy.url}: the certificate is not trusted")
        assert "set REQUESTS_CA_BUNDLE" in line
        assert run(proxy.url.replace("https", "http"), examination.study) == 2
        assert len(capfd.readouterr().err.splitlines()) == 1
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert run(proxy, examination.study) == 0
    assert run(orthanc.url.replace("http", "https"), examination.study) == 2
    assert "no TLS connection" in capfd.readouterr().err


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_changed_objects_beside_good_ones(orthanc, examination, capfd, count):
    """An answer or a line for each; none has a part of its results."""
    random = np.random.default_rng(1)
    good = [examination.image() for _ in range(2)]
    taken = sum(
        orthanc.put(change(encode(examination.image()), random)) for _ in range(count)
    )
    assert all(map(orthanc.put, good)) and taken > count / 3
    assert run(orthanc, examination.study) in (0, 1)
    captured = capfd.readouterr()
    errors = captured.err.splitlines()
    assert len(errors) + len(re.findall(r"^\[", captured.out, re.M)) >= len(good)
    assert all(line.startswith("error: ") for line in errors)
    assert SECRET not in captured.err
    found = orthanc.read(examination.study, *BOTH)
    reported = [references(made) for made in found if made.Modality == "SR"]
    for image in good:
        assert any(image.SOPInstanceUID in named for named in reported)
    for made in found:  # a segmentation has its report
        if made.Modality == "SEG":
            assert any(made.SOPInstanceUID in named for named in reported)
    for line in errors:
        failed = line.split(": ")[1]
        assert not any(failed in references(made) for made in found)


def change(content, random):
    """Writes other bytes in a few places behind the preamble."""
    changed = bytearray(content)
    for place in random.integers(132, len(content), random.integers(1, 6)):
        changed[place] = random.integers(256)
    return bytes(changed)
