"""The teacher: its training, what it answers, and files that are none."""

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from keras_efsnet.cli import main  # noqa: E402
from keras_efsnet.training import pipeline, teacher  # noqa: E402
from keras_efsnet.training.settings import TrainSettings  # noqa: E402

SETTINGS = TrainSettings(data="phantom", phantoms=2)


class Halving(torch.nn.Module):
    """A block of the encoder."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x, drop_connect_rate):
        return self.conv(x)


class Encoder(torch.nn.Module):
    """Has the names of EfficientNet-Lite's parts, and four channels everywhere."""

    def __init__(self):
        super().__init__()
        self._conv_stem = torch.nn.Conv2d(3, 4, 3, 2, 1)
        self._bn0 = torch.nn.BatchNorm2d(4)
        self._swish = torch.nn.ReLU6()
        self._blocks = torch.nn.ModuleList(Halving() for _ in range(4))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Replaces the encoder, whose packages are not always installed."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    monkeypatch.setattr(teacher, "_encoder", lambda pretrained: Encoder())
    monkeypatch.setattr(teacher, "EPOCHS", 2)
    monkeypatch.setattr(teacher, "BATCH", 2)
    yield
    torch.set_num_threads(threads)


def test_it_answers_images_of_a_multiple_of_its_size(tmp_path):
    weights = teacher.PretrainedUNet().state_dict()
    torch.save({"split_digest": "1a", "weights": weights}, tmp_path / "t.pt")
    trained = teacher.Teacher(tmp_path / "t.pt")
    assert trained.split_digest == "1a"
    small = np.random.default_rng(0).integers(0, 256, (2, 128, 128), np.uint8)
    mask, classes = trained(small)
    assert mask.shape == (2, 128, 128, 1)
    assert mask.min() >= 0 and mask.max() <= 1
    assert classes.sum(1) == pytest.approx([1, 1])
    large = small.repeat(2, 1).repeat(2, 2)
    for found, expected in zip(trained(large), (mask, classes), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="trains on PyTorch")
def test_training_gives_the_averaged_weights(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32), np.uint8)
    known = np.ones(4, np.float32)
    cache = pipeline.ImageCache(
        images=images,
        masks=np.uint8(images > 200),
        labels=np.array([0, 1, 2, 1]),
        mask_weight=known,
        class_weight=known,
        groups=np.array(["a/normal", *["a/tumour"] * 3]),
    )
    steps = []
    loss = teacher._loss

    def watch(model, *rest):
        steps.append({k: v.clone() for k, v in model.state_dict().items()})
        return loss(model, *rest)

    monkeypatch.setattr(teacher, "_loss", watch)
    network = teacher.train_teacher(cache, SETTINGS, 2)
    assert len(steps) == teacher.EPOCHS * 2
    assert not network.training
    name = "mask_logits.weight"
    found, last = network.state_dict()[name], steps[-1][name]
    assert not torch.equal(last, steps[0][name])
    # The average starts as the weights after the first step and hardly moves in four.
    assert (found - steps[1][name]).abs().max() < (last - steps[1][name]).abs().max()


@pytest.mark.parametrize("content", [b"", b"no file of PyTorch"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "t.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.pt: not a teacher .*; give the teacher"):
        teacher.Teacher(tmp_path / "t.pt")


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch is right")
def test_training_on_another_backend_is_refused(tmp_path, monkeypatch, capsys):
    given = ["--settings", "s.json", "--data", "d", "--split", "f.csv", "--out", "r"]
    monkeypatch.chdir(tmp_path)
    assert main(["teacher", *given]) == 2
    assert capsys.readouterr().err.endswith(
        "error: a teacher is trained with PyTorch; set KERAS_BACKEND=torch.\n"
    )
    assert not list(tmp_path.iterdir())
