"""PNG files: other readers see the pixels that were written."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_efsnet.prediction.png import encode_png


def pixels_of(mode, height, width):
    rng = np.random.default_rng(height * width)
    if mode == "I;16":
        return rng.integers(0, 2**16, (height, width), np.uint16)
    if mode == "mask":
        return np.uint8(255) * rng.integers(0, 2, (height, width), np.uint8)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return rng.integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (40, 61)])
@pytest.mark.parametrize("mode", ["L", "mask", "RGB", "I;16"])
def test_pillow_and_opencv_read_what_was_written(mode, size):
    cv2 = pytest.importorskip("cv2")
    pixels = pixels_of(mode, *size)
    content = encode_png(Image.fromarray(pixels))
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == ("L" if mode == "mask" else mode)
        np.testing.assert_array_equal(np.asarray(image), pixels)
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, pixels[..., ::-1] if mode == "RGB" else pixels)


def test_smooth_pictures_are_compressed():
    y, x = np.ogrid[:200, :300]
    grey = ((x + y) // 2 % 256).astype(np.uint8)
    assert len(encode_png(Image.fromarray(grey))) < grey.size / 20


def test_another_mode_is_refused():
    with pytest.raises(KeyError, match="CMYK"):
        encode_png(Image.new("CMYK", (3, 3)))
