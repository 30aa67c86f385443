"""Times `efsnet predict` from files to files, and compares it with another checkout.

    python benchmarks/predict.py [--data DIR] [--images 200] [--rounds 5]
        [--against CHECKOUT]

The images are phantoms of 480 x 640 pixels and, with `--data`, as many images of a
folder, evenly spaced in the order of their names. The first table has the stages of one
image on one thread, in processor time. The second has whole runs of the command with
default options: both checkouts take turns, each with a new output folder. "CPU" adds up
the cores. Ratios are medians over the rounds, with the smallest and the largest. Last
come the numbers of files and records that differ; of records, only what both write,
without the time taken.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from keras_efsnet.images.reading import read_frame
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.prediction.overlay import draw_overlay
from keras_efsnet.prediction.parallel import count_cores
from keras_efsnet.prediction.planning import plan_jobs
from keras_efsnet.prediction.predictor import Predictor, predict_frame
from keras_efsnet.prediction.writing import write_prediction

HERE = Path(__file__).resolve().parents[1]
SIZE = (480, 640)
PHANTOMS = 12
"""Different ones; the files repeat them."""


@dataclass(frozen=True)
class Run:
    """A run of the command, in seconds."""

    wall: float
    cpu: float


class Timed:
    """A predictor that adds up the processor seconds of its network."""

    def __init__(self, predictor: Predictor) -> None:
        self.size, self.rules = predictor.size, predictor.rules
        self.seconds = 0.0
        self._predictor = predictor

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        start = time.process_time()
        outputs = self._predictor(images)
        self.seconds += time.process_time() - start
        return outputs


def write_phantoms(folder: Path, count: int) -> list[Path]:
    phantoms = [make_phantom(LABELS[i % 3], i, SIZE).image for i in range(PHANTOMS)]
    files = [folder / f"{number:06}.png" for number in range(count)]
    for number, file in enumerate(files):
        Image.fromarray(phantoms[number % PHANTOMS]).save(file)
    return files


def choose(folder: Path, count: int) -> list[Path]:
    """Gives up to `count` images of a folder."""
    files = [job.source for job in plan_jobs([folder], Path("out"))]
    count = min(count, len(files))
    return [files[number * len(files) // count].resolve() for number in range(count)]


def measure_stages(files: Sequence[Path], out: Path) -> dict[str, float]:
    """Gives the mean milliseconds of an image in each stage."""
    predictor = Timed(load_predictor())
    marks = np.zeros(5)
    for file in files:
        moments = [time.process_time()]
        frame = read_frame(file)
        moments.append(time.process_time())
        prediction = predict_frame(predictor, frame)
        moments.append(time.process_time())
        draw_overlay(frame, prediction)
        moments.append(time.process_time())
        write_prediction(frame, prediction, out / file.stem, out)
        moments.append(time.process_time())
        marks[:4] += np.diff(moments)
    marks[4] = predictor.seconds
    reading, predicting, drawing, writing, network = 1000 * marks / len(files)
    return {
        "reading": reading,
        "network": network,
        "resizing, postprocessing": predicting - network,
        "overlay": drawing,
        "measuring, PNG files": writing - drawing,  # which draws it again
    }


def run(checkout: Path, files: Sequence[Path], out: Path) -> Run:
    """Runs the command of a checkout."""
    command = [sys.executable, "-m", "keras_efsnet", "predict"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [*command, *map(str, files), "--out", str(out)],
        cwd=checkout,  # the first place where Python looks for the package
        check=True,
        capture_output=True,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu)


def count_differences(one: Path, other: Path) -> dict[str, int]:
    """Counts the masks, overlays and records of two runs that differ."""
    found = {"masks": 0, "overlays": 0, "records": 0}
    for a, b in zip(_read_records(one), _read_records(other), strict=True):
        found["records"] += any(a[key] != b[key] for key in a.keys() & b.keys())
        for kind in ("mask", "overlay"):
            pictures = (
                np.asarray(Image.open(folder / record[f"{kind}_file"]))
                for folder, record in ((one, a), (other, b))
            )
            found[f"{kind}s"] += not np.array_equal(*pictures)
    return found


def _read_records(out: Path) -> list[dict[str, Any]]:
    records = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    return [{**record, "milliseconds": None} for record in records]


def compare(files: Sequence[Path], checkouts: Sequence[Path], rounds: int) -> None:
    """Prints the runs of each checkout, the first one's ratios, and differences."""
    with tempfile.TemporaryDirectory() as name:
        runs: list[list[Run]] = [[] for _ in checkouts]
        for number in range(rounds):
            for which, checkout in enumerate(checkouts):
                out = Path(name, f"{number}_{which}")
                runs[which].append(run(checkout, files, out))
        print(f"\n| {len(files)} files | s | ms an image | CPU s |\n|---|---|---|---|")
        for which, measured in enumerate(runs):
            wall, cpu = (
                median(r.wall for r in measured),
                median(r.cpu for r in measured),
            )
            title = "other checkout" if which else "this checkout"
            each = 1000 * wall / len(files)
            print(f"| {title} | {wall:.2f} | {each:.1f} | {cpu:.2f} |")
        if len(checkouts) == 2:
            pairs = list(zip(*runs, strict=True))
            walls = sorted(ours.wall / theirs.wall for ours, theirs in pairs)
            cpu = median(ours.cpu / theirs.cpu for ours, theirs in pairs)
            print(
                f"\nratio {median(walls):.2f} ({walls[0]:.2f} to {walls[-1]:.2f}), of "
                f"CPU {cpu:.2f}; differ: "
                f"{count_differences(Path(name, '0_0'), Path(name, '0_1'))}"
            )


def print_stages(stages: dict[str, float]) -> None:
    total = sum(stages.values())
    print("\n| stage | ms | share |\n|---|---|---|")
    for stage, milliseconds in stages.items():
        print(f"| {stage} | {milliseconds:.1f} | {milliseconds / total:.0%} |")
    print(f"| sum | {total:.1f} | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    options = parser.parse_args()
    checkouts = [HERE, *([options.against.resolve()] if options.against else [])]
    print(f"{count_cores()} of {os.cpu_count()} cores, as many images at a time")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = {
            f"phantoms, {SIZE[0]} x {SIZE[1]}": write_phantoms(folder, options.images)
        }
        if options.data:
            sets[options.data.name] = choose(options.data, options.images)
        for title, files in sets.items():
            print(f"\n## {title}")
            with tempfile.TemporaryDirectory() as out:
                print_stages(measure_stages(files, Path(out)))
            compare(files, checkouts, options.rounds)


if __name__ == "__main__":
    main()
