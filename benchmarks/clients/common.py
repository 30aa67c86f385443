"""What all workers do: run one file in one client and write down what it says.

    python NAME_worker.py FILE [FILE ...] IMAGES.npy OUT

Workers run in the client's own environment, which has NumPy and not this package. They
write `mask.npy`, `class.npy` and `facts.json` to OUT.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

MIDDLE_GREY = 128
RUNS = 40

Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From grey values, uint8 (height, width), to the mask and the class probabilities."""


def work(load: Callable[..., tuple[str, Run]]) -> None:
    """Loads the files with `load`, which gives the client's version and a function."""
    *files, images, out = map(Path, sys.argv[1:])
    frames = np.load(images)
    version, run = load(*files)
    answers = [run(frame) for frame in frames]
    np.save(
        out / "mask.npy", np.stack([m.reshape(frames.shape[1:]) for m, _ in answers])
    )
    np.save(out / "class.npy", np.stack([labels.ravel() for _, labels in answers]))
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run(frames[0])
        times.append(time.perf_counter() - start)
    facts = {"version": version, "seconds": statistics.median(times)}
    (out / "facts.json").write_text(json.dumps(facts))


def quantize(frame: np.ndarray, dtype: type) -> np.ndarray:
    """Gives (1, height, width, 1) in the type that a file takes."""
    grey = frame[None, :, :, None]
    if dtype == np.int8:
        grey = grey.astype(np.int16) - MIDDLE_GREY
    return grey.astype(dtype)


def to_float(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Gives probabilities as float32; those of float files have the scale 0."""
    if not scale:
        return values
    return np.float32(scale) * (values.astype(np.float32) - zero_point)
