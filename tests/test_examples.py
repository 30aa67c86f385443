"""The examples run from top to bottom."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_efsnet.prediction import LABELS

EXAMPLE = Path(__file__).parents[1] / "examples" / "phantoms.py"


def run_cells(before):
    """Runs the example's cells up to the one with this heading; gives its names."""
    names = {}
    code, _, _ = EXAMPLE.read_text(encoding="utf-8").partition(f"\n# ## {before}\n")
    exec(compile(code, EXAMPLE.name, "exec"), names)
    return names


def test_phantoms_and_network(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorflow")
    monkeypatch.setenv("EXAMPLE_TINY", "1")
    monkeypatch.chdir(tmp_path)
    names = run_cells(before="Fit")
    assert capsys.readouterr().out == (
        "4 to train, 2 to validate\n"
        f"{names['model'].count_params():,} parameters, outputs ['class', 'mask']\n"
    )
    assert [sample.label for sample in names["unseen"]] == sorted(
        2 * LABELS, key=LABELS.index
    )


@pytest.mark.slow
def test_every_cell(tmp_path):
    pytest.importorskip("tensorflow")
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=tmp_path,
        env={**os.environ, "EXAMPLE_TINY": "1", "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    out = tmp_path / "phantom_example"
    for file in (
        "model.keras",
        "evaluation/metrics.json",
        "files/export.json",
        "result.png",
    ):
        assert (out / file).stat().st_size > 500
