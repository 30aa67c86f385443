"""README and docs name commands, options and files that exist."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from keras_efsnet.cli import app
from keras_efsnet.models.presets import DEFAULT_MODEL, PRESETS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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
    page = hooks.on_page_markdown((ROOT / "docs" / "model-card.md").read_text(), None)
    assert "{{" not in page
    report = card["metrics"]["validation"]["sources"]["busbra"]["mask"]
    low, high = report["dice_ci"]
    assert f"{report['dice']:.3f} ({low:.3f} to {high:.3f})" in page
    assert f"| {1 + len(card['earlier_runs'])} | {card['settings']['epochs']} |" in page
