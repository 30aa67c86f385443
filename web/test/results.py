"""Writes folders of results: `few`, predicted from odd files, and `many`, 2,000.

`own`, `masks` and `classes` are those of models with own classes, with masks alone and
with classes alone.

Args: the folder.
"""

import os
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from keras_efsnet.cli import main
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.page import write_page
from keras_efsnet.prediction.writing import read_records, write_records

NAMES = (
    *("<img src=x onerror=alert(1)>", "\"'>&amp;", "100% #1 ?a=b&c", "javascript:x"),
    *("\udcff undecodable", "ünïcode 乳腺", "a very long name " * 10),
)
MANY = 2000
SIZES = [(400, 500), (768, 1024), (700, 500), (300, 900)]

folder = Path(sys.argv[1])
scans, few, many = (folder / name for name in ("scans </script>", "few", "many"))


def phantom(number: int) -> Image.Image:
    """A phantom of each class and size in turn."""
    label, size = LABELS[number % len(LABELS)], SIZES[number % len(SIZES)]
    return Image.fromarray(make_phantom(label, number, size).image)


scans.mkdir(parents=True)
for number, name in enumerate(NAMES):
    phantom(number).save(scans / f"{name}.png")
for number in range(7, 19):
    phantom(number).save(scans / f"scan {number}.png")
two = np.hstack([np.asarray(phantom(1).resize((500, 400)))] * 2)  # two lesions
Image.fromarray(two).save(scans / "two.png")
phantom(0).save(
    scans / "pages.tif", save_all=True, append_images=[phantom(1), phantom(2)]
)
(scans / "broken.png").write_text("no image")
assert main(["predict", str(scans), "--out", str(few)]) == 1

many.mkdir()
random.seed(1)
predicted = [r for r in read_records(few) if "scan " in r["path"]]
records = []
for number in range(MANY):
    record = predicted[number % len(predicted)] | {
        "path": f"/scans/patient {number // 7}/{number}.png",
        "probabilities": {label: random.random() for label in LABELS},
    }
    for kind in ("mask", "overlay"):
        name = f"{number}_{kind}.png"
        os.link(few / record[f"{kind}_file"], many / name)
        record[f"{kind}_file"] = name
    records.append(record)
write_page(many, write_records(many, records), "model", refers=True)

lesion = next(record for record in predicted if record["lesions"])
cyst = {"class": "cyst", "probabilities": {"cyst": 0.75, "solid": 0.25}}
models = {"own": cyst, "masks": {"class": None, "probabilities": {}}, "classes": cyst}
for name, answer in models.items():
    record = {**lesion, **answer, "path": f"{name}.png", "refer": []}
    if name == "classes":
        del record["lesions"], record["mask_file"]
    (folder / name).mkdir()
    os.link(few / record["overlay_file"], folder / name / record["overlay_file"])
    write_page(folder / name, [record], "model", refers=False)
