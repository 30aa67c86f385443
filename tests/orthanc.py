"""Debian's Orthanc with its DICOMweb plug-in, on loopback, for a test."""

import base64
import io
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pydicom
import pytest

PROGRAM = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "efsnet", "correct horse"

needs_orthanc = pytest.mark.skipif(
    not (PROGRAM and PLUGIN.exists()),
    reason="needs Orthanc: apt-get install orthanc orthanc-dicomweb",
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Orthanc:
    """A server with one account; `changes` are settings of its own."""

    def __init__(self, folder, **changes):
        self.folder = folder
        self.port = free_port()
        self.process = None
        self.settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.port,
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "Plugins": [str(PLUGIN)],
            **changes,
        }

    @property
    def url(self):
        """The address of DICOMweb."""
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def start(self):
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(self.settings))
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self):
        """SIGKILL: nothing is written any more."""
        self.process.kill()
        self.process.wait()

    def ask(self, path, body=None, method=None):
        """What Orthanc answers to a request; a body makes it a POST."""
        account = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        url = f"http://127.0.0.1:{self.port}/{path}"
        headers = {"Authorization": f"Basic {account}"}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read()

    def put(self, made):
        """Stores an object or a file's content; returns whether Orthanc took it."""
        try:
            content = made if isinstance(made, bytes) else encode(made)
            return json.loads(self.ask("instances", content))["Status"] == "Success"
        except urllib.error.HTTPError:
            return False

    def read(self, study, *modalities):
        """The objects of a study that have one of these modalities."""
        found = []
        for modality in modalities:
            keys = {"StudyInstanceUID": study, "Modality": modality}
            for name in self.find(**keys):
                content = self.ask(f"instances/{name}/file")
                found.append(pydicom.dcmread(io.BytesIO(content)))
        return found

    def find(self, **keys):
        """Orthanc's own names of the instances with these tags."""
        query = json.dumps({"Level": "Instance", "Query": keys})
        return json.loads(self.ask("tools/find", query.encode()))


def encode(made):
    """The file of an object."""
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()
