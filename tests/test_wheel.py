"""The wheel holds every package and file, and works without the repository."""

import os
import shutil
import subprocess
import sys
import threading
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "keras_efsnet": "keras_efsnet",
    "training": "keras_efsnet/training",
    "tflite": "keras_efsnet/tflite",
}
DATA = (".json", ".csv", ".html", ".css", ".js", ".wasm", ".svg", ".tflite", ".keras")


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that no file appears in the repository."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=leave_out)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
    run(sys.executable, "-m", "pip", *build, str(source), timeout=300)
    (file,) = out.glob("*.whl")
    return file


def test_the_wheel_holds_every_module_and_data_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    for folder, place in FOLDERS.items():
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", *DATA) and "__pycache__" not in file.parts:
                assert f"{place}/{file.relative_to(ROOT / folder).as_posix()}" in packed


def check_demo_and_page(python, folder, **options):
    """Runs `efsnet demo` and `efsnet serve`, whose page is asked for once."""
    run(*python, "demo", "--out", str(folder / "demo"), cwd=folder, **options)
    assert (folder / "demo" / "predictions.json").is_file()
    command = [*python, "serve", "--port", "0", "--no-browser"]
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, **options
    )
    ending = threading.Timer(60, server.kill)
    ending.start()
    try:
        address = server.stdout.readline().split()[0]
        with urllib.request.urlopen(address) as page:
            assert b"<title>" in page.read()
    finally:
        ending.cancel()
        server.kill()
        server.communicate()


def test_the_unpacked_wheel_runs_demo_and_page(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    python = [sys.executable, "-m", "keras_efsnet"]
    code = "import keras_efsnet; print(keras_efsnet.__file__)"
    options = {"env": environment, "cwd": tmp_path}
    place = run(sys.executable, "-c", code, **options)
    assert place.startswith(str(tmp_path))
    check_demo_and_page(python, tmp_path, env=environment)


@pytest.mark.slow
def test_the_wheel_runs_in_a_clean_environment(wheel, tmp_path):
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    programs = tmp_path / "venv" / "bin"
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    run(str(programs / "pip"), "install", *constraints, f"{wheel}[lite]", timeout=600)
    check_demo_and_page([str(programs / "efsnet")], tmp_path)
