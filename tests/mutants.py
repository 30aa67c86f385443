"""Runs mutants of the modules that decide against their tests and lists the survivors.

    make mutants
    python tests/mutants.py [PATTERN ...]

A mutant is the code with one small change: another operator, number, text, argument or
returned value. Tests that pass with it do not check what it changes. mutmut makes the
mutants, in a copy of the package in build/mutants, and finds the tests that reach each
of them. These tests run here, all in one process: mutmut would start one for each
mutant, which takes ten times as long. PATTERN is of names of mutants, such as
`keras_efsnet.training.scores.*`; without it, all of them run.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "mutants"
MUTMUT = Path(sys.executable).with_name("mutmut")

CHOSEN = {
    "training/datasets/splits": "*",
    "training/calibrate": "*",
    "training/scores": "*",
    "prediction/postprocess": "*",
    "prediction/referral": "*",
    "tflite/convert": "x_representative_images*",
}
"""Modules, with a pattern of their mutants' names."""

PATTERNS = [
    f"keras_efsnet.{module.replace('/', '.')}.{pattern}"
    for module, pattern in CHOSEN.items()
]

TESTS = [
    "tests/test_splits.py",
    "tests/test_scores.py",
    "tests/test_calibrate_choice.py",
    "tests/test_calibrate_parts.py",
    "tests/test_postprocess.py",
    "tests/test_card_labels.py",
    "tests/test_referral.py",
    "tests/test_convert.py::test_representative_images_are_stratified_and_seeded",
]

OPTIONS = ["--numprocesses=0", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
"""Without the last, a test would fail for what another one left to the collector."""

SETTINGS = f"""
[tool.mutmut]
source_paths = ["keras_efsnet"]
only_mutate = {[f"keras_efsnet/{module}.py" for module in CHOSEN]}
process_isolation = "forkserver"
pytest_add_cli_args = {OPTIONS}
pytest_add_cli_args_test_selection = {TESTS}
do_not_mutate_patterns = ['ArgumentParser|add_argument']
"""

FIRST = "keras_efsnet.prediction.referral.x_mask_margin__*"
"""Few mutants, which mutmut runs itself after it has made all."""

SECONDS = 60
"""A test that takes longer has failed: a mutant may never end."""


def main() -> None:
    lay_out()
    run = [MUTMUT, "run", "--max-children", "1", FIRST]
    subprocess.run(run, cwd=FOLDER, check=True)
    patterns = sys.argv[1:] or PATTERNS
    names = [n for n in list_mutants() if any(fnmatchcase(n, p) for p in patterns)]
    loop = MutantLoop(names)
    os.chdir(FOLDER / "mutants")
    sys.path.insert(0, os.getcwd())
    os.environ["MUTANT_UNDER_TEST"] = ""
    pytest.main(["--rootdir=.", "--tb=native", "-q", *OPTIONS, *TESTS], plugins=[loop])
    report(loop.killed)
    if loop.broken:
        sys.exit(f"These fail without a mutant too: {', '.join(loop.broken)}")


def lay_out() -> None:
    """Copies the package as it is installed, and the tests; keeps earlier results."""
    clean = shutil.ignore_patterns("__pycache__")
    copies = {
        "keras_efsnet": "keras_efsnet",
        "training": "keras_efsnet/training",
        "tflite": "keras_efsnet/tflite",
        "tests": "tests",
    }
    for source, target in copies.items():
        shutil.copytree(
            ROOT / source, FOLDER / target, ignore=clean, dirs_exist_ok=True
        )
    text = (ROOT / "pyproject.toml").read_text()
    (FOLDER / "pyproject.toml").write_text(text + SETTINGS)


def list_mutants() -> list[str]:
    command = [MUTMUT, "results", "--all", "true"]
    run = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, check=True
    )
    return re.findall(r"^\s*(keras_efsnet\S+): ", run.stdout, re.MULTILINE)


class MutantLoop:
    """A plugin of pytest that runs the tests of each mutant instead of each test.

    Attributes:
        killed: by mutant, whether one of its tests failed.
        broken: tests that fail afterwards without a mutant; then nothing counts.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.killed: dict[str, bool] = {}
        self.broken: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        tests = {item.nodeid: item for item in session.items}
        facts = json.loads(Path("mutmut-stats.json").read_text())
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        signal.signal(signal.SIGALRM, give_up)
        for name in self.names:
            function = name.rpartition("__mutmut_")[0]
            reached = facts["tests_by_mangled_function_name"].get(function, [])
            quick = sorted(reached, key=facts["duration_by_test"].__getitem__)
            os.environ["MUTANT_UNDER_TEST"] = name
            self.killed[name] = any(fails(tests[test]) for test in quick)
            reporter.write("." if self.killed[name] else "s")
        os.environ["MUTANT_UNDER_TEST"] = ""
        self.broken = [name for name, test in tests.items() if fails(test)]
        return True


def fails(test: pytest.Item) -> bool:
    signal.alarm(SECONDS)
    reports = runtestprotocol(test, log=False, nextitem=None)
    signal.alarm(0)
    return any(found.failed for found in reports)


def give_up(*_: object) -> NoReturn:
    raise TimeoutError(f"the test takes more than {SECONDS} s")


def report(killed: dict[str, bool]) -> None:
    survivors = [name for name in killed if not killed[name]]
    for name in survivors:
        command = [MUTMUT, "show", name]
        shown = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
        changes = re.findall(r"^[-+](?![-+]).*$", shown.stdout, re.MULTILINE)
        print(name, *changes, sep="\n    ")
    total = Counter(map(module_of, killed))
    left = Counter(map(module_of, survivors))
    for module, count in sorted(total.items()):
        print(f"{module}: {count} mutants, {left[module]} survive")
    share = len(survivors) / max(len(killed), 1)
    print(f"all: {len(killed)} mutants, {len(survivors)} survive ({share:.1%})")


def module_of(mutant: str) -> str:
    return mutant.rpartition(".")[0].removeprefix("keras_efsnet.")


if __name__ == "__main__":
    main()
