"""Which images the appearance rule refers: known and new scanners, and other pictures.

    python benchmarks/appearance.py --data DIR [--data DIR] --split FOLDS.csv \
        [--other FOLDER] [--test]

Fits the rule of `training.fit_referral` to the training images and prints the share of
images that it refers. "Without" leaves out one device of training and validation, then
refers all images of that device. `--other` adds folders of other images, such as scans
of another organ. `--test` adds the test subset.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from not_b_mode import KINDS

from keras_efsnet.images.grey import resize_image
from keras_efsnet.images.reading import SUFFIXES, read_image
from keras_efsnet.models.presets import DEFAULT_SIZE
from keras_efsnet.training.datasets.reading import read_datasets
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.datasets.splits import read_split
from keras_efsnet.training.fit_referral import fit_appearance

DRAWN = 40
"""Pictures of each kind that is no B-mode."""


def read(samples: Sequence[Sample]) -> list[np.ndarray]:
    return [resize_image(read_image(s.image), DEFAULT_SIZE) for s in samples]


def print_share(name: str, look, images: Sequence[np.ndarray]) -> None:
    refused = np.mean([not look.accepts(image) for image in images])
    print(f"| {name} | {len(images)} | {100 * refused:.1f} % |", flush=True)


def leave_out_devices(train, held_out) -> Iterator[tuple[str, object, list]]:
    """Yields each device's name, the rule fitted without it, and its images."""
    pairs = [*train, *held_out]
    devices = sorted({s.device for s, _ in pairs if s.device and s.source != "busi"})
    for device in devices:
        others = [
            [i for s, i in part if s.device != device] for part in (train, held_out)
        ]
        yield (
            device,
            fit_appearance(*others),
            [i for s, i in pairs if s.device == device],
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--other", type=Path, action="append", default=[])
    parser.add_argument("--test", action="store_true")
    options = parser.parse_args()
    split = read_split(read_datasets(options.data), [options.split])
    train, held_out = (
        list(zip(part, read(part), strict=True))
        for part in (split.train, split.validation)
    )
    look = fit_appearance([i for _, i in train], [i for _, i in held_out])

    print("| images | number | referred |\n|---|---|---|")
    parts = {"validation": held_out}
    if options.test:
        parts["test"] = list(zip(split.test, read(split.test), strict=True))
    for name, part in parts.items():
        for source in sorted({s.source or "" for s, _ in part}):
            images = [i for s, i in part if (s.source or "") == source]
            print_share(f"{name}, {source}", look, images)
    for device, without, images in leave_out_devices(train, held_out):
        print_share(f"without {device}: its images", without, images)
    for folder in options.other:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        images = [resize_image(read_image(file), DEFAULT_SIZE) for file in files]
        print_share(folder.name, look, images)
    rng = np.random.default_rng(11)
    for name, draw in KINDS.items():
        images = [resize_image(draw(rng), DEFAULT_SIZE) for _ in range(DRAWN)]
        print_share(name, look, images)


if __name__ == "__main__":
    main()
