"""The Kotlin port of the Android example gives Python's answers."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import vectors

from keras_efsnet.models.presets import DEFAULT_MODEL, PRESETS

CORE = Path(__file__).parents[1] / "examples" / "android" / "core" / "src"
JSON = Path("/usr/share/java/com.android.json.jar")
"""Android's org.json, from Debian."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The command that answers a file of vectors."""
    if not (shutil.which("kotlinc") and JSON.exists()):
        pytest.skip("needs Debian's kotlin and libandroid-json-java")
    folder = tmp_path_factory.mktemp("kotlin")
    sources = sorted(CORE.rglob("*.kt"))
    subprocess.run(["kotlinc", "-cp", JSON, "-d", folder, *sources], check=True)
    return ["kotlin", "-cp", f"{folder}:{JSON}", "efsnet.VectorsKt"]


def answer(program, file):
    card = PRESETS / DEFAULT_MODEL / "card.json"
    return subprocess.run([*program, file, card], capture_output=True, text=True)


@pytest.mark.slow
def test_the_port_is_equal_on_all_vectors(program):
    done = answer(program, vectors.FILE)
    assert done.returncode == 0, done.stdout + done.stderr
    equal = dict(re.findall(r"^(\w+): (\d+) of", done.stdout, re.MULTILINE))
    stored = json.loads(vectors.FILE.read_text())
    assert equal == {name: str(len(stored[name])) for name in equal}
    assert {"grey", "resize_image", "resize_probability", "postprocess"} == set(equal)
    assert done.stdout.endswith("card: normal, benign, malignant\n")


@pytest.mark.slow
def test_a_difference_is_found(program, tmp_path):
    changed = json.loads(vectors.FILE.read_text())
    changed["grey"][0]["grey"] = changed["resize_image"][0]["resized"]
    cases = changed["postprocess"]
    far = next(i for i, case in enumerate(cases) if "distance" in case)
    referred = next(
        i for i in range(far + 1, len(cases)) if cases[i]["record"]["refer"]
    )
    cases[far]["distance"] *= 1.001
    cases[referred]["record"]["refer"] = []
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps(changed))
    done = answer(program, file)
    assert done.returncode == 1
    assert "grey: 0 of 1 equal, different: [0]" in done.stdout
    assert f"different: [{far}, {referred}]" in done.stdout
