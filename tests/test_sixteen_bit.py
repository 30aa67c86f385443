"""`--sixteen-bit`: how 16-bit grey files become 8-bit, on every command."""

import inspect
import json

import numpy as np
import pytest
from PIL import Image

from keras_efsnet import cli
from keras_efsnet.images.reading import chosen_sixteen_bit, read_image, sixteen_bit_as
from keras_efsnet.prediction import batch

READING = [
    *("predict", "audit", "stream", "train", "evaluate", "export"),
    *("data verify", "data split", "data index", "data from-labelme"),
]
"""The commands that read a user's images."""


@pytest.fixture
def dark(tmp_path):
    """A file that uses 4095 of 65535 grey values."""
    path = tmp_path / "in" / "dark.png"
    path.parent.mkdir()
    Image.fromarray(
        np.linspace(0, 4095, 60 * 80, dtype=np.uint16).reshape(60, 80)
    ).save(path)
    return path


@pytest.mark.parametrize("command", READING)
def test_every_command_that_reads_images_takes_it(command, capsys):
    assert cli.main([*command.split(), "--help"]) == 0
    assert "--sixteen-bit" in capsys.readouterr().out


@pytest.mark.parametrize("rule", [None, "full", "minmax"])
def test_predict_reads_by_it_and_only_then(
    rule, dark, tmp_path, monkeypatch, predictor
):
    seen = []
    real = batch.predict_frame

    def predict_frame(network, frame):
        seen.append(int(frame.pixels.max()))
        return real(network, frame)

    monkeypatch.setattr(batch, "predict_frame", predict_frame)
    monkeypatch.setattr(
        "keras_efsnet.prediction.loading.load_predictor", lambda *args: predictor
    )
    words = ["predict", str(dark), "--out", str(tmp_path / "out")]
    assert cli.main(words + (["--sixteen-bit", rule] if rule else [])) == 0
    assert seen == [255 if rule == "minmax" else 15]
    assert chosen_sixteen_bit() == "full"


def test_another_word_is_wrong_use(dark, tmp_path, capfd):
    words = ["predict", str(dark), "--out", str(tmp_path), "--sixteen-bit", "auto"]
    assert cli.main(words) == 2
    assert "--sixteen-bit" in capfd.readouterr().err


def test_a_call_goes_before_the_rule_of_the_block(dark):
    with sixteen_bit_as("minmax"):
        assert read_image(dark).max() == 255
        assert read_image(dark, "full").max() == 15
    assert read_image(dark).max() == 15


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_colour_of_sixteen_bits_cannot_be_stretched(tmp_path, ending):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / f"a.{ending}"
    cv2.imwrite(str(path), np.full((8, 8, 3), 4095, np.uint16))
    assert read_image(path, "full").max() == 15
    with pytest.raises(ValueError, match=r"a\.\w+: 16-bit colour .* save it as"):
        read_image(path, "minmax")


def test_a_run_records_it():
    from keras_efsnet.training.settings import TrainSettings

    stored = TrainSettings("phantom", phantoms=2, sixteen_bit="minmax").to_json()
    assert json.loads(json.dumps(stored))["sixteen_bit"] == "minmax"
    assert TrainSettings.from_json(stored).sixteen_bit == "minmax"


def test_workers_of_ray_read_by_it(dark, tmp_path, monkeypatch):
    from keras_efsnet.prediction import archive
    from keras_efsnet.prediction.planning import plan_jobs

    out = tmp_path / "out"
    out.mkdir()
    given = []

    def run(rows, workers, arguments):
        given.append(arguments)
        return iter(())

    monkeypatch.setattr(archive, "_run_on_ray", run)
    jobs = plan_jobs([dark], out)
    with sixteen_bit_as("minmax"):
        list(archive.run_sharded(jobs, out, 1, "m"))
    names = list(inspect.signature(archive._Worker).parameters)
    assert given[0][names.index("rule")] == "minmax"
    with pytest.raises(ValueError, match="holds a run of other"):
        list(archive.run_sharded(jobs, out, 1, "m"))
