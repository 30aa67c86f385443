"""Prints the time and memory that `efsnet predict` takes for many images.

    python benchmarks/archive.py FOLDER --images 10000 [--workers 2]

Writes phantoms of 64 x 80 pixels to FOLDER/images, once. Memory is the resident size of
the command and all its processes, with shared memory counted once. Linux only.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom

SIZE = (64, 80)
REPORTS = 10


def fill(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(list(folder.iterdir())), count):
        phantom = make_phantom(LABELS[number % 3], number, SIZE)
        Image.fromarray(phantom.image).save(folder / f"{number:06}.png")


def processes(pid: int) -> Iterator[int]:
    """Gives the ids of a process and of all processes below it."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            yield from processes(int(child))


def resident_mib(pid: int) -> float:
    """Adds up the memory of a process and of all processes below it."""
    kib = 0
    for process in processes(pid):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--workers")
    options = parser.parse_args()
    fill(options.folder / "images", options.images)
    out = options.folder / ("sharded" if options.workers else "plain")
    command = [sys.executable, "-m", "keras_efsnet", "predict"]
    command += [str(options.folder / "images"), "--out", str(out)]
    if options.workers:
        command += ["--workers", options.workers]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for number, line in enumerate(process.stdout, 1):
        if number % max(options.images // REPORTS, 1) == 0:
            seconds = time.monotonic() - started
            size = resident_mib(process.pid)
            print(f"{number} images, {seconds:.0f} s, {size:.0f} MiB", flush=True)
        if " images: " in line:
            print(line.strip())
    sys.exit(process.wait())


if __name__ == "__main__":
    main()
