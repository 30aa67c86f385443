"""Writes phantoms in the kinds of files that a browser and Python both read.

Args: the folder.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.demo import SEED

folder = Path(sys.argv[1])
grey = make_phantom("malignant", SEED).image
row, column = np.indices(grey.shape)

Image.fromarray(grey).save(folder / "grey.bmp")
Image.fromarray(grey * np.uint16(257)).save(folder / "grey16.png")

tinted = np.stack([grey, np.roll(grey, 9, axis=1), grey[::-1]], axis=-1)
Image.fromarray(tinted).save(folder / "colour.jpg", quality=90)
turned = Image.Exif()
turned[0x0112] = 6  # to be turned by a quarter
Image.fromarray(tinted).save(folder / "turned.jpg", quality=90, exif=turned)

alpha = ((row + column) % 256).astype(np.uint8)
transparent = np.concatenate([tinted, alpha[..., None]], axis=-1)
Image.fromarray(transparent).save(folder / "transparent.png")

# Reduced much, tall: Pillow takes columns first.
Image.fromarray(np.tile(grey, (3, 1))).save(folder / "tall.png")
