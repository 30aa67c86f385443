"""Model files against the hashes in their card."""

import json
import shutil

import pytest

from keras_efsnet import EFSNet
from keras_efsnet.models.presets import PRESETS
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.training.card import refresh_hashes


@pytest.fixture
def preset(tmp_path):
    """A copy of the shipped preset, to be changed."""
    return shutil.copytree(PRESETS / "efsnet_base_breast", tmp_path / "preset")


def _damage(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["model.keras", "model_int8.tflite"])
def test_a_changed_file_is_refused(preset, name):
    load_predictor(preset / name)
    _damage(preset / name)
    with pytest.raises(ValueError, match=rf"{name}: its SHA-256 is not the one in"):
        load_predictor(preset / name)


def test_a_changed_preset_is_refused_by_kind_and_as_a_network(preset):
    for name in ("model.keras", "model_dynamic.tflite"):
        _damage(preset / name)
    with pytest.raises(ValueError, match=r"model_dynamic\.tflite: its SHA-256"):
        load_predictor(preset, kind="dynamic")
    with pytest.raises(ValueError, match=r"model\.keras: its SHA-256"):
        EFSNet.from_preset(preset)
    load_predictor(preset, kind="int8")


def test_hashes_can_be_written_anew(preset):
    before = json.loads((preset / "card.json").read_text())
    for ending in ("tflite", "tflite.json"):
        shutil.copy(
            preset / f"model_float16.{ending}", preset / f"model_float32.{ending}"
        )
    with pytest.raises(ValueError, match="its SHA-256"):
        load_predictor(preset)
    refresh_hashes(preset)
    load_predictor(preset)
    after = json.loads((preset / "card.json").read_text())
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"sha256"}


def test_a_model_without_a_card_is_not_checked(preset):
    (preset / "card.json").unlink()
    load_predictor(preset)
