"""DICOM files for tests, whole or contradicting themselves."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import set_pixel_data

from keras_efsnet.images.reading import read_image


def region(left, top, right, bottom, delta=0.02, units=3, kind=1, data=1):
    """An item of the region sequence; the last column and row belong to it."""
    item = Dataset()
    item.RegionSpatialFormat = kind
    item.RegionDataType = data
    item.RegionFlags = 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = delta, -2 * delta
    return item


def dataset(pixels, photometric="MONOCHROME2", stored=8, regions=()):
    """An ultrasound object; `pixels` are those of one frame or of several."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    made.SOPInstanceUID = "1.2.3.4"
    made.Modality = "US"
    set_pixel_data(made, pixels, photometric, stored)
    if regions:
        made.SequenceOfUltrasoundRegions = list(regions)
    return made


def save(made, path):
    made.save_as(path, enforce_file_format=True)
    return path


def write(path, pixels, *arguments, **options):
    return save(dataset(pixels, *arguments, **options), path)


def compressed(pixels, photometric, codestream, syntax, **tags):
    """An object of `pixels` by its tags, with another's codestream inside."""
    colour = pixels.ndim == 3
    made = dataset(pixels, "RGB" if colour else "MONOCHROME2", 8)
    made.PhotometricInterpretation = photometric
    made.PixelData = encapsulate([codestream])
    made["PixelData"].VR = "OB"
    made.file_meta.TransferSyntaxUID = syntax
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def jpeg(pixels, *, jfif=False, adobe=None, identifiers=b"\1\2\3", **options):
    """A JPEG with chosen markers; `keep_rgb=True` codes RGB and not YCbCr."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, **options)
    content, place, head = file.getvalue(), 2, b"\xff\xd8"
    if jfif:
        head += b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    if adobe is not None:
        head += b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([adobe])
    while place < len(content):
        marker = content[place + 1]
        length = 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        part = bytearray(content[place : place + length])
        if marker in (0xC0, 0xC2, 0xDA) and pixels.ndim == 3:
            first, step = (10, 3) if marker != 0xDA else (5, 2)
            part[first : first + 3 * step : step] = identifiers
        if not 0xE0 <= marker <= 0xEF:
            head += part
        place += length
        if marker == 0xDA:
            return head + content[place:]
    raise AssertionError("no scan")


def jpeg_2000(pixels, **options):
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, "JPEG2000", **{"no_jp2": True, **options})
    return file.getvalue()


def found_in(made, tmp_path):
    """The grey values that are read from an object."""
    return read_image(save(made, tmp_path / "a.dcm")).astype(int)


def check_same(found, expected, tolerance=0):
    """Checks grey values."""
    assert np.abs(found - expected.astype(int)).max() <= tolerance


def check_refused(made, tmp_path, message):
    """Checks that an object is refused in one line that names its file."""
    path = save(made, tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=rf"a\.dcm: .*{message}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
