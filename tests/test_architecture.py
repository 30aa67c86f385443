"""Imports point one way: no circle, and no room imports one above it."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "keras_efsnet": ROOT / "keras_efsnet",
    "keras_efsnet.training": ROOT / "training",
    "keras_efsnet.tflite": ROOT / "tflite",
}

ALONE = {"keras_efsnet.files", "keras_efsnet.labels", "keras_efsnet.extras"}
"""Modules of the package's own folder that every room may import."""

BELOW = {
    "images": {"images"},
    "models": {"models"},
    "phantoms": {"phantoms"},
    "prediction": {"prediction", "images", "models", "phantoms"},
    "clinic": {"clinic", "prediction", "images", "models"},
    "live": {"live", "prediction", "images", "models"},
    "serve": {"serve", "prediction", "images", "models", "phantoms"},
    "training": {"training", "prediction", "images", "models", "phantoms"},
    "tflite": {"tflite", "training", "prediction", "images", "models", "phantoms"},
}
"""What a room may import, itself included; `cli` may import everything."""


def find_modules():
    """The package's modules by their installed names."""
    modules = {}
    for room, folder in ROOMS.items():
        for file in folder.rglob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            name = ".".join((room, *parts)).removesuffix(".__init__")
            modules[name] = file
    return modules


def is_for_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(tree):
    """All nodes, those inside functions too, without imports for type hints."""
    for node in ast.iter_child_nodes(tree):
        if not is_for_types_only(node):
            yield node
            yield from statements(node)


def imports_of(file, modules):
    """The modules of this package that a file imports, now or when a function runs."""
    found = set()
    for node in statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return found & modules.keys()


@pytest.fixture(scope="module")
def arrows():
    modules = find_modules()
    return {name: imports_of(file, modules) for name, file in modules.items()}


def room_of(module):
    return module.removeprefix("keras_efsnet.").partition(".")[0]


def test_the_check_sees_every_kind_of_import(tmp_path):
    file = tmp_path / "some.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import p.hint\n"
        "import p.plain\nfrom p import member, value\n"
        "def run():\n    from p.lazy import thing\n"
    )
    modules = {"p", "p.hint", "p.plain", "p.member", "p.lazy"}
    found = imports_of(file, dict.fromkeys(modules))
    assert found == {"p", "p.plain", "p.member", "p.lazy"}


def test_no_circle_of_imports(arrows):
    # Raises CycleError, which names the circle.
    assert list(TopologicalSorter(arrows).static_order())


def test_rooms_import_only_what_is_below(arrows):
    wrong = [
        f"{module} imports {other}"
        for module, others in arrows.items()
        for other in others
        if (allowed := BELOW.get(room_of(module)))
        and other not in ALONE | {"keras_efsnet"}
        and room_of(other) not in allowed
    ]
    assert not wrong


def test_the_lowest_modules_import_no_room(arrows):
    for module in ALONE:
        assert not arrows[module]


PUBLIC = """
import importlib, sys
from keras_efsnet import predict
importlib.import_module(sys.argv[1])
import keras_efsnet
assert keras_efsnet.predict is predict and callable(predict)
"""
AFTERWARDS = """
import importlib, sys
importlib.import_module(sys.argv[1])
from keras_efsnet import LABELS, Prediction, predict
assert callable(predict) and callable(Prediction) and len(LABELS) == 3
"""
LIGHT = [
    *("keras_efsnet.cli.predict", "keras_efsnet.prediction.loading"),
    *("keras_efsnet.images.reading", "keras_efsnet.models.presets"),
    *("keras_efsnet.phantoms", "keras_efsnet.live.stream"),
    *("keras_efsnet.serve.server", "keras_efsnet.prediction.formats"),
]


@pytest.mark.parametrize("module", LIGHT)
@pytest.mark.parametrize("code", [PUBLIC, AFTERWARDS], ids=["before", "after"])
def test_the_public_function_survives_a_sub_modules_import(module, code):
    result = subprocess.run(
        [sys.executable, "-c", code, module], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr


def test_importing_every_module_keeps_the_public_names():
    pytest.importorskip("tensorflow")
    code = f"""
import importlib
from keras_efsnet import EFSNet, LABELS, Prediction, layers, predict
before = EFSNet, LABELS, Prediction, layers, predict
for module in {sorted(find_modules())!r}:
    if module not in ("keras_efsnet.__main__",):
        try:
            importlib.import_module(module)
        except ImportError as error:
            assert not str(error.name or "").startswith("keras_efsnet"), error
from keras_efsnet import EFSNet, LABELS, Prediction, layers, predict
assert before == (EFSNet, LABELS, Prediction, layers, predict)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
