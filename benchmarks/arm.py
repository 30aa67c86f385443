"""Compares the float32 and int8 files on emulated 64-bit Arm with this machine.

    sudo apt-get install qemu-user-static mmdebstrap
    python benchmarks/arm.py --root arm64

The first run downloads Debian's Python for arm64 and the wheels of LiteRT and NumPy
(217 MB) to `--root`. Compared are the classes and masks of phantoms of each class. The
exit code is 1 if a class differs or a mask's Dice is below 0.99. Speed is not measured.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_efsnet.images.grey import resize_image
from keras_efsnet.labels import LABELS
from keras_efsnet.phantoms import make_phantom

REPOSITORY = Path(__file__).parents[1]
QEMU = "qemu-aarch64-static"
KINDS = ("float32", "int8")
CPUS = {"cortex-a72": "0xd08", "neoverse-n1": "0xd0c"}
"""QEMU's names and the part numbers: the CPU of a Raspberry Pi 4, and one with int8 dot
products, similar to those of a Raspberry Pi 5 and of phones."""
LOWEST_DICE = 0.99

WORKER = """
import sys
import numpy as np
from keras_efsnet.prediction.loading import load_predictor
kind, images, outputs = sys.argv[1:]
np.savez(outputs, **load_predictor(threads=1, kind=kind)(np.load(images)))
"""


def make_root(root: Path) -> None:
    """Unpacks Debian's Python 3.11 for arm64, and its wheels to `root/site`."""
    debian = ["mmdebstrap", "--variant=extract", "--arch=arm64"]
    packages = "--include=python3.11,libstdc++6,libgomp1"
    subprocess.run([*debian, packages, "bookworm", str(root)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    pip += [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)]
    pip += ["--platform=manylinux2014_aarch64", "--python-version=3.11"]
    pip += ["--constraint", str(REPOSITORY / "constraints.txt")]
    pip += ["--target", str(root / "site"), "ai-edge-litert", "numpy", "pillow"]
    subprocess.run(pip, check=True)


def describe_cpu(root: Path, part: str) -> None:
    """Writes root's /proc/cpuinfo; LiteRT crashes if it reads this machine's."""
    path = root / "proc" / "cpuinfo"
    path.parent.mkdir(exist_ok=True)
    facts = f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {part}\n"
    path.write_text(f"processor\t: 0\n{facts}\n")


def phantoms(per_class: int) -> np.ndarray:
    """Makes the network's input, float32 `(n, 256, 256, 1)`."""
    images = [
        resize_image(make_phantom(label, seed).image, (256, 256))
        for label in LABELS
        for seed in range(per_class)
    ]
    return np.stack(images)[..., np.newaxis].astype(np.float32)


def run(python: list[str], kind: str, images: Path, **environment: str) -> dict:
    """Runs the preset's file in another Python and gives its outputs."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder) / "outputs.npz"
        command = [*python, "-c", WORKER, kind, str(images), str(outputs)]
        subprocess.run(
            command, env=os.environ | environment, stderr=subprocess.DEVNULL, check=True
        )
        return dict(np.load(outputs))


def compare(here: dict, arm: dict) -> tuple[float, float]:
    """Prints the differences; gives the share of equal classes and the lowest Dice."""
    masks = here["mask"] > 0.5, arm["mask"] > 0.5
    shared = (masks[0] & masks[1]).sum(axis=(1, 2, 3))
    both = masks[0].sum(axis=(1, 2, 3)) + masks[1].sum(axis=(1, 2, 3))
    dice = np.where(both > 0, 2 * shared / np.maximum(both, 1), 1.0)
    same = np.mean(here["class"].argmax(axis=1) == arm["class"].argmax(axis=1))
    print(
        f"same class {same:.1%}, mask Dice {dice.mean():.5f}, lowest {dice.min():.5f}"
    )
    for name in ("mask", "class"):
        off = np.abs(here[name] - arm[name])
        print(f"  {name} probability off by {off.mean():.1e}, at most {off.max():.1e}")
    return float(same), float(dice.min())


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare Arm with this machine.")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--per-class", type=int, default=5)
    options = parser.parse_args()
    root = options.root.resolve()
    if not (root / "site").is_dir():
        make_root(root)
    arm = [QEMU, "-L", str(root), str(root / "usr/bin/python3.11")]
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npy"
        np.save(images, phantoms(options.per_class))
        for kind in KINDS:
            here = run([sys.executable], kind, images, PYTHONPATH=str(REPOSITORY))
            for cpu, part in CPUS.items():
                describe_cpu(root, part)
                packages = f"{REPOSITORY}:{root / 'site'}"
                there = run(arm, kind, images, PYTHONPATH=packages, QEMU_CPU=cpu)
                print(f"{kind} on {cpu}: ", end="")
                same, dice = compare(here, there)
                passed &= same == 1 and dice >= LOWEST_DICE
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
