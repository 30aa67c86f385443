"""Runs mutants of the modules that decide against their tests and lists the survivors.

    make mutants
    python tests/mutants.py [NAME ...]

A mutant is the code with one small change: another operator, number, text, argument or
returned value. Tests that pass with it do not check what it changes. mutmut makes the
mutants, in a copy of the package in build/mutants, and runs the tests that reach each
of them. NAME is a mutant or a pattern, which runs again. Without it, every mutant runs
that has no result yet, or whose function or tests changed: a stopped run goes on.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

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

SETTINGS = f"""
[tool.mutmut]
source_paths = ["keras_efsnet"]
only_mutate = {[f"keras_efsnet/{module}.py" for module in CHOSEN]}
process_isolation = "forkserver"
pytest_add_cli_args = ["--numprocesses=0", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {TESTS}
do_not_mutate_patterns = ['ArgumentParser|add_argument']
timeout_multiplier = 5
timeout_constant = 60
"""

KILLED = ("killed", "timeout", "caught by type check")


def main() -> None:
    lay_out()
    # With patterns, mutmut would run mutants again that have a result.
    subprocess.run([MUTMUT, "run", "--max-children", "2", *sys.argv[1:]], cwd=FOLDER)
    report(read_results())


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


def read_results() -> dict[str, str]:
    """Gives the state of each chosen mutant that ran, by its name."""
    command = [MUTMUT, "results", "--all", "true"]
    run = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, check=True
    )
    states = dict(re.findall(r"^\s*(keras_efsnet\S+): (.+)$", run.stdout, re.MULTILINE))
    return {
        name: state
        for name, state in states.items()
        if state != "not checked" and any(fnmatchcase(name, p) for p in PATTERNS)
    }


def report(states: dict[str, str]) -> None:
    survivors = [name for name, state in states.items() if state not in KILLED]
    for name in survivors:
        command = [MUTMUT, "show", name]
        shown = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
        changes = re.findall(r"^[-+](?![-+]).*$", shown.stdout, re.MULTILINE)
        print(f"{name}: {states[name]}", *changes, sep="\n    ")
    total = Counter(map(module_of, states))
    left = Counter(map(module_of, survivors))
    for module, count in sorted(total.items()):
        print(f"{module}: {count} mutants, {left[module]} survive")
    share = len(survivors) / max(len(states), 1)
    print(f"all: {len(states)} mutants, {len(survivors)} survive ({share:.1%})")


def module_of(mutant: str) -> str:
    return mutant.rpartition(".")[0].removeprefix("keras_efsnet.")


if __name__ == "__main__":
    main()
