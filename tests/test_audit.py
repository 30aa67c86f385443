"""`efsnet audit`: whether a model suits a user's scans."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.images.frame import Frame
from keras_efsnet.images.grey import resize_image
from keras_efsnet.phantoms import make_phantom, write_phantoms
from keras_efsnet.prediction.audit import (
    AuditedFrame,
    audit_frame,
    draw_odd,
    find_odd,
    read_looks,
    summarize,
)
from keras_efsnet.prediction.postprocess import Postprocess
from keras_efsnet.training import seen
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.fit_referral import fit_appearance

SIDE = 64


class Network:
    """Sees a benign lesion everywhere."""

    size = (SIDE, SIDE)
    rules = Postprocess()

    def __call__(self, images):
        masks = np.ones((len(images), SIDE, SIDE, 1), np.float32)
        return {"mask": masks, "class": np.float32([[0, 1, 0]] * len(images))}


def frame(**distances):
    refer = ("class unsure",) if distances["a"] > 2 else ()
    name = f"{distances['a']}.png"
    return AuditedFrame(name, distances, refer, np.zeros((192, 192), np.uint8))


def test_summary_counts_by_source_and_reason():
    frames = [frame(a=0.5, b=3.0), frame(a=1.0, b=0.5), frame(a=3.0, b=2.0)]
    frames.append(frame(a=4.0, b=2.5))
    facts = summarize(frames)
    assert facts["images"] == 4
    assert facts["sources"] == {
        "a": {"median_distance": 2.0, "within": 0.5},
        "b": {"median_distance": 2.25, "within": 0.25},
    }
    assert facts["referred"] == {"class unsure": 0.5, "any": 0.5}
    # The nearest source counts.
    assert [odd["distance"] for odd in facts["odd"]] == [2.5, 2.0, 0.5, 0.5]


def test_distances_are_multiples_of_the_usual_one():
    phantoms = [
        resize_image(make_phantom(label, seed, (96, 120)).image, (SIDE, SIDE))
        for seed in range(20)
        for label in ("normal", "benign")
    ]
    look = fit_appearance(phantoms[:30], phantoms[30:])
    own = audit_frame(Frame(phantoms[35]), Network(), {"phantoms": look})
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    strange = audit_frame(Frame(noise), Network(), {"phantoms": look})
    limit = look.maximum_distance
    assert own.nearest == pytest.approx(look.distance(phantoms[35]) / limit)
    assert own.nearest <= 1 < strange.nearest
    assert find_odd([own, strange])[0] is strange


def test_odd_images_are_drawn(tmp_path):
    out = tmp_path / "odd.png"
    draw_odd([frame(a=1.0)] * 11, out)
    with Image.open(out) as sheet:
        assert sheet.size == (4 * 192, 2 * (192 + 16))
    draw_odd([frame(a=1.0)], out)
    with Image.open(out) as sheet:
        assert sheet.size == (192, 192 + 16)


def test_damaged_looks_name_the_card(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps({"looks": {"a": {"mean": [1]}}}))
    with pytest.raises(ValueError, match=r"card\.json: looks: "):
        read_looks(tmp_path)
    assert read_looks(tmp_path / "elsewhere" / "model.keras") == {}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("audit") / "phantoms", 1, seed=0)


def test_images_alone_get_no_metrics(phantoms, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["audit", str(phantoms / "benign"), "--out", str(out)]) == 0
    facts = json.loads((out / "audit.json").read_text())
    assert facts["images"] == 1
    assert {path.name for path in out.iterdir()} == {"audit.json", "odd_images.png"}
    assert "Fewer than 30 images" in capsys.readouterr().out


def test_a_labelled_dataset_gets_metrics(phantoms, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["audit", str(phantoms), "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n"] == 3
    assert "Fewer than 30 labelled images" in capsys.readouterr().out


def test_images_that_trained_the_model_are_told(
    phantoms, tmp_path, capsys, monkeypatch
):
    hashes = seen.hash_images(read_dataset(phantoms))
    monkeypatch.setattr(seen, "read_seen", lambda model: {"train": hashes[:2]})
    assert main(["audit", str(phantoms), "--out", str(tmp_path / "out")]) == 0
    assert "seen: 2 of these images trained the model" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["seen"] == 2


def test_a_damaged_image_is_named_and_the_others_count(phantoms, tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    make = make_phantom("benign", 1, (64, 80)).image
    Image.fromarray(make).save(folder / "good.png")
    (folder / "text.png").write_text("no image")
    out = tmp_path / "out"
    assert main(["audit", str(folder), "--out", str(out)]) == 1
    assert "text.png" in capsys.readouterr().err
    assert json.loads((out / "audit.json").read_text())["images"] == 1


@pytest.mark.parametrize("name", ["nowhere", "empty", "note.txt"])
def test_nothing_to_audit_leaves_nothing(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("text")
    out = tmp_path / "out"
    assert main(["audit", str(tmp_path / name), "--out", str(out)]) == 2
    assert name in capsys.readouterr().err
    assert not out.exists()


def test_the_looks_are_read_from_a_card(tmp_path):
    images = [np.random.default_rng(i).integers(0, 256, (32, 32)) for i in range(20)]
    images = [image.astype(np.uint8) for image in images]
    look = fit_appearance(images, images)
    (tmp_path / "card.json").write_text(json.dumps({"looks": {"a": asdict(look)}}))
    assert read_looks(tmp_path / "model.tflite") == {"a": look}
