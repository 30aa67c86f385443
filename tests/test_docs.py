"""README and docs name commands, options and files that exist."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from keras_efsnet.cli import app
from keras_efsnet.models.presets import DEFAULT_MODEL, PRESETS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page):
    """The `efsnet` lines of the shell blocks, continued lines joined."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            program, _, rest = line.partition(" ")
            if Path(program).name == "efsnet":
                yield shlex.split(rest, comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page):
    for words in commands(page):
        command = typer.main.get_command(app)
        while getattr(command, "commands", None):
            command = command.commands[words.pop(0)]
        known = {name for option in command.params for name in option.opts}
        used = {word for word in words if word.startswith("--")}
        assert used <= known, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_check_reads_commands():
    assert sum(1 for _ in commands(ROOT / "README.md")) > 5


def test_the_model_card_shows_the_figures_of_the_card():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    card = json.loads((PRESETS / DEFAULT_MODEL / "card.json").read_text())
    text = (ROOT / "docs" / "reference" / "model-card.md").read_text()
    page = hooks.on_page_markdown(text, None)
    assert "{{" not in page
    report = card["metrics"]["validation"]["sources"]["busbra"]["mask"]
    low, high = report["dice_ci"]
    assert f"{report['dice']:.3f} ({low:.3f} to {high:.3f})" in page
    assert f"| {1 + len(card['earlier_runs'])} | {card['settings']['epochs']} |" in page


RUN_WHOLE = [
    "tutorials/scans.md",
    "tutorials/training.md",
    "tutorials/shipping.md",
    "how-to/fine-tuning.md",
    "how-to/own-data.md",
]
"""Pages whose blocks run one after the other."""

OTHERS = ("my_images", "another_hospital")
"""Data that the reader has and the test does not."""

PROGRAM = """
import json, os, pathlib, subprocess, sys
names = {"__name__": "page"}
for language, before, text in json.load(sys.stdin):
    print(text, flush=True)
    if language == "sh":
        subprocess.run(["bash", "-ec", text], check=True)
    elif "save this script as" in before:
        pathlib.Path(before.rpartition("as `")[2].partition("`")[0]).write_text(text)
    else:
        exec(text, names)
"""


def blocks(page):
    """Language, paragraph before and text of the blocks that a reader runs."""
    pattern = r"([^\n]*(?:\n[^\n]+)*)\n\n```(sh|python)\n(.*?)```"
    for before, language, text in re.findall(pattern, page.read_text(), re.DOTALL):
        kept = "".join(
            line
            for line in text.splitlines(keepends=True)
            if not any(name in line for name in OTHERS) and "efsnet serve" not in line
        )
        yield language, " ".join(before.split()), kept


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN_WHOLE)
def test_a_page_runs_from_its_first_block_to_its_last(name, tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(list(blocks(ROOT / "docs" / name))),
        env={**os.environ, "PATH": path, "KERAS_BACKEND": "tensorflow"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_group_of_vectors_is_described():
    page = (ROOT / "docs" / "reference" / "vectors.md").read_text()
    vectors = json.loads((ROOT / "tests" / "vectors.json").read_text())
    keys = {key for cases in vectors.values() for key in cases[0]}
    assert [name for name in [*vectors, *keys] if f"`{name}`" not in page] == []


def test_the_example_of_the_vectors_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    ((language, _, text),) = blocks(ROOT / "docs" / "reference" / "vectors.md")
    exec(text, {})
    lines = capsys.readouterr().out.splitlines()
    assert language == "python" and len(lines) > 5
    assert all(line.endswith(("most 0", "most 1")) for line in lines)


def test_the_blocks_of_a_page_are_found():
    for name in RUN_WHOLE:
        page = ROOT / "docs" / name
        fences = re.findall(r"^```(?:sh|python)$", page.read_text(), re.MULTILINE)
        assert len(list(blocks(page))) == len(fences) > 3
