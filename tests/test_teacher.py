"""The teacher: what it answers, and files that are none."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from keras_efsnet.training.teacher import FILE, Teacher  # noqa: E402


def test_it_answers_images_of_a_multiple_of_its_size(tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs [teacher]")
    from keras_efsnet.training.teacher import PretrainedUNet

    torch.manual_seed(0)
    weights = PretrainedUNet(pretrained=False).state_dict()
    torch.save({"split_digest": "1a", "weights": weights}, tmp_path / FILE)
    teacher = Teacher(tmp_path / FILE)
    assert teacher.split_digest == "1a"
    small = np.random.default_rng(0).integers(0, 256, (2, 128, 128), np.uint8)
    mask, classes = teacher(small)
    assert mask.shape == (2, 128, 128, 1)
    assert mask.min() >= 0 and mask.max() <= 1
    assert classes.sum(1) == pytest.approx([1, 1])
    large = small.repeat(2, 1).repeat(2, 2)
    for found, expected in zip(teacher(large), (mask, classes), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no file of PyTorch"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "t.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.pt: not a teacher .*; give the teacher"):
        Teacher(tmp_path / "t.pt")
