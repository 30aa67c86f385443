"""Bounds of what is installed, no pickle, and no network at run time."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    file
    for room in ("keras_efsnet", "training", "tflite")
    for file in ROOT.glob(f"{room}/**/*.py")
)
PICKLING = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

OFFLINE = """
import sys

REACHING = ("connect", "getaddrinfo", "gethostby", "getnameinfo", "send")
blocked = []

def refuse(event, arguments):
    area, _, action = event.partition(".")
    if area == "socket" and action.startswith(REACHING):
        blocked.append((event, arguments))
        raise OSError(f"no network: {event} {arguments}")

sys.addaudithook(refuse)
"""
USED = """
from keras_efsnet.cli import main
assert main(["demo", "--out", "demo"]) == 0
assert main(["predict", "demo/benign.png", "--out", "out"]) == 0

from keras_efsnet.serve.server import Server, list_contents
Server(0, list_contents("efsnet_base_breast")).server_close()

import numpy as np
from keras_efsnet import EFSNet
model = EFSNet.from_preset("efsnet_base_breast", input_shape=(16, 16, 1))
model.compile("sgd", {"mask": "mse", "class": "sparse_categorical_crossentropy"},
              run_eagerly=True)
images = np.ones((2, 16, 16, 1))
model.fit(images, {"mask": images, "class": np.zeros(2)}, verbose=0)
assert not blocked, blocked
"""
TRAINED = """
from keras_efsnet.cli import main
tiny = "--data phantom --phantoms 2 --epochs 1 --image-size 16 --batch-size 2"
assert main(["train", *tiny.split(), "--out", "run"]) == 0
assert not blocked, blocked
"""
ONLINE = """
import urllib.request
try:
    urllib.request.urlopen("http://localhost:9")
except OSError as error:
    assert "no network" in str(error)
assert blocked
"""


def _requirements():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [
        config["options"]["install_requires"],
        *config["options.extras_require"].values(),
    ]
    lines = {line for text in texts for line in text.splitlines() if line.strip()}
    return sorted(map(Requirement, lines), key=str)


def _pins(file):
    lines = (ROOT / file).read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {pin.name: next(iter(pin.specifier)).version for pin in pins}


def test_every_requirement_has_one_pair_of_bounds():
    requirements = _requirements()
    for requirement in requirements:
        kinds = sorted(bound.operator for bound in requirement.specifier)
        assert kinds == ["<", ">="], requirement
    assert len({requirement.name for requirement in requirements}) == len(requirements)


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-lowest.txt"])
def test_the_tested_versions_lie_within_the_bounds(file):
    pins = _pins(file)
    for requirement in _requirements():
        assert pins[requirement.name] in requirement.specifier, requirement


def test_the_lowest_versions_are_those_tested():
    pins = _pins("constraints-lowest.txt")
    for requirement in _requirements():
        lowest = next(b.version for b in requirement.specifier if b.operator == ">=")
        assert pins[requirement.name].startswith(lowest), requirement


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_pickle(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported = {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported = {(node.module or "").partition(".")[0]}
        else:
            imported = set()
        assert not imported & PICKLING, f"line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False", f"line {node.value.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert "weights_only=True" in ast.unparse(node), f"line {node.lineno}"


def _run_offline(script, folder):
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE + script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_connection_would_be_noticed(tmp_path):
    _run_offline(ONLINE, tmp_path)


def test_prediction_presets_and_fit_need_no_network(tmp_path):
    _run_offline(USED, tmp_path)


@pytest.mark.slow
def test_the_train_command_needs_no_network(tmp_path):
    _run_offline(TRAINED, tmp_path)
