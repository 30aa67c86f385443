"""Measures how well images of the same scan are found among several datasets.

    python benchmarks/shared_scans.py --data BUSI BUSBRA BUS-UCLM \
        --groups training/splits/busi_grouped_folds.csv --copies 1080

Two images of one `group` in the folds file are a true pair; two images of one group
that is found are a found pair. `--copies` adds made copies of so many images, each cut,
resized, brightened and marked by chance, and says how many are found with their image.
Pairs of different patients and of different datasets are printed, to be looked at.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from keras_efsnet.images.reading import read_image
from keras_efsnet.training.datasets import Sample, read_datasets
from keras_efsnet.training.datasets.duplicates import find_duplicates
from keras_efsnet.training.datasets.splits import read_groups

Pairs = set[tuple[str, str]]


def all_pairs(groups: Iterable[Iterable[str]]) -> Pairs:
    return {
        pair for group in groups for pair in itertools.combinations(sorted(group), 2)
    }


def make_copy(grey: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Cuts up to a fifth of each side away, resizes by 0.6 to 1.5, marks."""
    height, width = grey.shape
    top, left = rng.uniform(0, 0.1, 2) * (height, width)
    bottom, right = rng.uniform(0.9, 1, 2) * (height, width)
    gain, offset = rng.uniform(0.7, 1.2), rng.uniform(-20, 30)
    changed = Image.fromarray((grey * gain + offset).clip(0, 255).astype(np.uint8))
    factor = rng.uniform(0.6, 1.5)
    size = (round((right - left) * factor), round((bottom - top) * factor))
    copy = changed.crop((left, top, right, bottom)).resize(size)
    draw = ImageDraw.Draw(copy)
    draw.text((10, size[1] - 25), "RIGHT 3 H", fill=255, font_size=16)
    x, y = rng.uniform(0.2, 0.8, 2) * size
    draw.line((x - 30, y, x + 30, y + 10), fill=255, width=2)
    return copy


def write_copies(samples: Sequence[Sample], count: int, folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for i in sorted(rng.permutation(len(samples))[:count].tolist()):
        paths.append(folder / f"{i}.png")
        make_copy(read_image(samples[i].image), rng).save(paths[-1])
    return paths


def report_busi(found: Pairs, folds: Path) -> None:
    members = defaultdict(set)
    for stem, group in read_groups(folds).items():
        members[group].add(stem)
    known = {stem for group in members.values() for stem in group}
    true = all_pairs(members.values())
    reported = {pair for pair in found if known.issuperset(pair)}
    for one, other in sorted(true - reported):
        print(f"missed: {one}, {other}")
    for one, other in sorted(reported - true):
        print(f"false: {one}, {other}")
    print(
        f"BUSI: {len(true)} true pairs, recall {len(reported & true) / len(true):.3f}, "
        f"false pairs {len(reported - true)} of {len(reported)} found"
    )


def report_others(found: Pairs, samples: Sequence[Sample]) -> None:
    named = {sample.name: sample for sample in samples}
    pairs = [(named[one], named[other]) for one, other in sorted(found)]
    for one, other in pairs:
        if (one.source, one.person) != (other.source, other.person):
            print(f"to be looked at: {one.name}, {other.name}")
    same = sum(one.person is not None and one.person == o.person for one, o in pairs)
    print(f"pairs of one patient: {same}; of others or unknown: {len(pairs) - same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--groups", type=Path)
    parser.add_argument("--copies", type=int, default=0)
    arguments = parser.parse_args()
    samples = read_datasets(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        copies = write_copies(samples, arguments.copies, Path(folder))
        images = [*(sample.image for sample in samples), *copies]
        wall, cpu = time.perf_counter(), time.process_time()
        groups = find_duplicates(images)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    names = [*(sample.name for sample in samples), *(f"copy {p.stem}" for p in copies)]
    pairs = all_pairs([names[i] for i in group] for group in groups)
    found = {pair for pair in pairs if not any(n.startswith("copy ") for n in pair)}
    if arguments.groups:
        report_busi(found, arguments.groups)
    report_others(found, samples)
    if copies:
        ends = [{f"copy {p.stem}", samples[int(p.stem)].name} for p in copies]
        recalled = sum(tuple(sorted(pair)) in pairs for pair in ends)
        print(f"made copies: {recalled} of {len(copies)} found with their image")
    print(
        f"{len(images)} images: {wall:.0f} s on {os.cpu_count()} cores, "
        f"CPU {cpu:.0f} s, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
