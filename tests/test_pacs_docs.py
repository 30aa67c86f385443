"""The commands of docs/how-to/clinic.md for a PACS, with Debian's Orthanc."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("highdicom")
pytest.importorskip("dicomweb_client")
from orthanc import free_port, needs_orthanc  # noqa: E402

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "clinic.md"


def blocks(heading, language):
    section = PAGE.read_text().split(f"### {heading}\n")[1].split("\n### ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def clone(tmp_path):
    """A folder with the examples, whose Orthanc has a free port and little patience."""
    port = str(free_port())
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for file in (tmp_path / "examples" / "orthanc").iterdir():
        text = file.read_text().replace("8043", port)
        file.write_text(text.replace('"StableAge": 60', '"StableAge": 1'))
    return tmp_path, port


@needs_orthanc
@pytest.mark.slow
def test_the_commands_run_and_print_what_the_page_says(clone):
    folder, port = clone
    _, commands = blocks("Ten commands with Orthanc", "sh")
    (hook,) = blocks("When a study has arrived", "sh")
    (promised,) = blocks("Ten commands with Orthanc", "text")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_PROXY": "127.0.0.1",
    }
    for name in ("TOKEN", "USER", "PASSWORD"):
        environment.pop(f"EFSNET_DICOMWEB_{name}", None)
    script = "set -e\n" + (commands + hook).replace("8043", port)
    with open(folder / "printed", "w+b") as printed:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = process.wait(timeout=600)
        output = (folder / "printed").read_text()
        assert code == 0, output
        assert all(line in output.splitlines() for line in promised.splitlines())
        listed = re.findall(r'"00080060"\s*:\s*\{[^}]*\}', output)
        assert len(listed) == 3 and all("SEG" in item for item in listed)
        log = wait_for(folder / "efsnet.log", "0 objects stored, 4 there before")
        assert "4 objects stored, 0 there before" in log and "error" not in log
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def wait_for(file, words):
    """The text of a file, when it holds these words."""
    for _ in range(900):
        text = file.read_text() if file.exists() else ""
        if words in text:
            return text
        time.sleep(0.2)
    raise AssertionError(text)
