"""Bad input on purpose: images and model files, changed or laid out at random.

    python tests/fuzz.py images 2000
    python tests/fuzz.py layouts 4000
    python tests/fuzz.py masks 2000
    python tests/fuzz.py threads 200
    python tests/fuzz.py objects 200
    python tests/fuzz.py lite 200
    python tests/fuzz.py keras 200

Each case must end with the right answer or one line of error, within ten seconds of
the processor's time and 2 GiB of memory, and leave no part of a file. Prints how many
did which, the time of the slowest case with its processes, and the largest resident
size of this process or one of them.
"""

import faulthandler
import io
import os
import resource
import signal
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path

import numpy as np
from fuzz_layouts import fuzz_dicom, fuzz_tiff
from fuzz_masks import fuzz_mask
from fuzz_objects import fuzz_objects
from fuzz_threads import fuzz_threads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_efsnet import cli
from keras_efsnet.images.grey import to_grey
from keras_efsnet.images.reading import read_image
from keras_efsnet.models.presets import DEFAULT_MODEL, PRESETS
from keras_efsnet.phantoms import make_phantom
from keras_efsnet.prediction import loading
from keras_efsnet.tflite.benchmark_worker import peak_memory

SECONDS, BYTES = 10, 2 * 2**30
PATIENCE = 120
"""Seconds on the clock after which a case hangs even if it does nothing."""
RESULTS = {"index.html", "predictions.json", "run.json"}
"""What a run writes beside its pictures."""

SIZE = (48, 64)
INTERESTING = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0")

KINDS = [
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB")),
    *(("JPEG", mode, {"quality": 90}) for mode in ("L", "RGB", "CMYK")),
    ("JPEG", "RGB", {"progressive": True}),
    *(("TIFF", mode, {}) for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I;16", "F")),
    *(("TIFF", "RGB", {"compression": f"tiff_{c}"}) for c in ("lzw", "adobe_deflate")),
    ("TIFF", "L", {"compression": "jpeg"}),
    ("TIFF", "1", {"compression": "group4"}),
]
"""Files that Pillow writes: format, mode and options."""


@cache
def phantom() -> np.ndarray:
    return make_phantom("benign", seed=1, size=SIZE).image


@cache
def image_file(number: int) -> bytes:
    """A phantom as the file of `KINDS[number]`."""
    kind, mode, options = KINDS[number]
    buffer = io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(phantom().astype(np.uint16) * 257)
    else:
        image = Image.fromarray(phantom()).convert(mode)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@st.composite
def changed(draw: Callable, content: bytes) -> bytes:
    """The content, with up to six changes, half of them in its first 300 bytes."""
    result = bytearray(content)
    for _ in range(draw(st.integers(0, 6))):
        last = max(len(result) - 1, 0)
        place = draw(st.integers(0, min(last, 300)) | st.integers(0, last))
        length = draw(st.sampled_from([1, 1, 1, 4, 60]))
        bits = st.binary(min_size=1, max_size=8) | st.sampled_from(INTERESTING)
        match draw(st.sampled_from(["write", "write", "remove", "insert", "cut"])):
            case "write":
                new = draw(bits)
                result[place : place + len(new)] = new
            case "remove":
                del result[place : place + length]
            case "insert":
                result[place:place] = draw(bits)
            case "cut":
                del result[place:]
    return bytes(result)


def predict(file: Path, out: Path, model: str = DEFAULT_MODEL) -> str:
    """Runs `efsnet predict` on a file; "read" or "refused"."""
    with tempfile.TemporaryFile() as stderr:
        with redirect_stdout(io.StringIO()), stderr_to(stderr.fileno()):
            code = cli.main(["predict", str(file), "--out", str(out), "--model", model])
        stderr.seek(0)
        errors = stderr.read().decode()
    found = {path.name for path in out.iterdir()} if out.exists() else set()
    if code == 0:
        assert errors == "", errors
        assert found == {"a_mask.png", "a_overlay.png", *RESULTS}
        return "read"
    assert code == 2, code
    assert found <= RESULTS
    assert errors.startswith("error: ") and errors.count("\n") == 1, errors
    assert file.name in errors or Path(model).name in errors, errors
    return "refused"


@contextmanager
def stderr_to(descriptor: int) -> Iterator[None]:
    """Catches what C libraries write, too."""
    stderr = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)


def fuzz_image(data: st.DataObject, folder: Path) -> str:
    """A changed image is refused, or its mask has the size that Pillow tells."""
    number = data.draw(st.integers(0, len(KINDS) - 1))
    content = data.draw(changed(image_file(number)))
    file = folder / "a.png"
    file.write_bytes(content)
    outcome = predict(file, folder / "out")
    if outcome == "read":
        shape = read_image(file).shape
        assert read_image(folder / "out" / "a_mask.png").shape == shape
        with Image.open(file) as image:
            assert sorted(image.size) == sorted(shape)
    if content == image_file(number):
        assert outcome == ("refused" if KINDS[number][1] == "F" else "read")
    return outcome


def fuzz_pixels(data: st.DataObject, folder: Path) -> str:
    """A whole file of any size and kind is read as the pixels in it."""
    kinds = [("PNG", 1), ("PNG", 3), ("PNG", 4), ("BMP", 1), ("BMP", 3), ("TIFF", 3)]
    kind, channels = data.draw(st.sampled_from(kinds))
    height, width = data.draw(st.integers(1, 99)), data.draw(st.integers(1, 99))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    pixels = rng.integers(0, 256, (height, width, channels), np.uint8)
    file = folder / "a.png"
    Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels).save(file, kind)
    assert predict(file, folder / "out") == "read"
    np.testing.assert_array_equal(read_image(file), to_grey(pixels))
    return "read"


@cache
def scan() -> bytes:
    return image_file(1)


def fuzz_model(model: Path, folder: Path) -> str:
    """A changed model is refused, or it still answers."""
    file = folder / "a.png"
    file.write_bytes(scan())
    return predict(file, folder / "out", str(model))


def fuzz_lite(data: st.DataObject, folder: Path) -> str:
    content = _shipped(data.draw(st.sampled_from(["float32", "int8"])))
    model = folder / "m.tflite"
    model.write_bytes(data.draw(st.one_of(changed(content), changed_graph(content))))
    return fuzz_model(model, folder)


@st.composite
def changed_graph(draw: Callable, content: bytes) -> bytes:
    """Changes bytes of the graph alone, which lies behind the weights."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = len(content) - draw(st.integers(1, 60_000))
        result[place] = draw(st.sampled_from([0, 1, 2, 127, 255]) | st.integers(0, 255))
    return bytes(result)


def fuzz_keras(data: st.DataObject, folder: Path) -> str:
    """Changes the archive, or what is in it, so that its checksums are right."""
    content, model = _keras_file(), folder / "m.keras"
    if data.draw(st.booleans()):
        model.write_bytes(data.draw(changed(content)))
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as old:
            chosen = data.draw(st.sampled_from(old.namelist()))
            with zipfile.ZipFile(model, "w") as new:
                for name in old.namelist():
                    part = old.read(name)
                    new.writestr(
                        name, data.draw(changed(part)) if name == chosen else part
                    )
    return fuzz_model(model, folder)


@cache
def _shipped(kind: str) -> bytes:
    return (PRESETS / DEFAULT_MODEL / f"model_{kind}.tflite").read_bytes()


@cache
def _keras_file() -> bytes:
    """A network with EFSNet's contract that loads quickly, a layer of ours in it."""
    import keras

    from keras_efsnet.models.convolutions import ConvNorm

    image = keras.Input((32, 32, 1))
    x = ConvNorm(8, 3)(keras.layers.Rescaling(1 / 255)(image))
    mask = keras.layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    label = keras.layers.Dense(3, activation="softmax", name="class")(x)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "m.keras")
        keras.Model(image, {"mask": mask, "class": label}).save(file)
        return file.read_bytes()


def fuzz_clinic(data: st.DataObject, folder: Path) -> str:
    return fuzz_objects(data, folder, stderr_to)


CAMPAIGNS = {
    "images": [fuzz_image, fuzz_pixels],
    "layouts": [fuzz_tiff, fuzz_dicom],
    "masks": [fuzz_mask],
    "threads": [fuzz_threads],
    "objects": [fuzz_clinic],
    "lite": [fuzz_lite],
    "keras": [fuzz_keras],
}


def run(campaign: str, cases: int) -> None:
    """Runs as many cases; a hang ends the process by a signal, with its traceback."""
    for number in (signal.SIGPROF, signal.SIGALRM):
        faulthandler.register(number, chain=True)
    if campaign == "keras":  # which starts for seconds
        _keras_file()
    if campaign == "images":  # the shipped network, loaded once
        load = cache(loading.load_predictor)
        loading.load_predictor = lambda model, *rest: load(model, *rest)
    outcomes: Counter = Counter()
    slowest = 0.0

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data(), st.sampled_from(CAMPAIGNS[campaign]))
    def case(data: st.DataObject, fuzz: Callable) -> None:
        nonlocal slowest
        with tempfile.TemporaryDirectory() as folder:
            begin = processor_seconds()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.alarm(PATIENCE)
            outcome = fuzz(data, Path(folder))
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            slowest = max(slowest, processor_seconds() - begin)
        outcomes[outcome] += 1

    case()
    assert slowest < SECONDS, slowest
    # Not this process's own ru_maxrss: it starts at that of the one which started it.
    children = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak = max(peak_memory() or 0, children)
    assert peak < BYTES, peak
    total = outcomes.total()
    facts = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    print(
        f"{campaign}: {total} cases: {facts}; slowest {slowest:.1f} s, peak "
        f"{peak / 2**20:.0f} MiB"
    )


def processor_seconds() -> float:
    """Of this process and those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    # Compiling on the others would be most of a case's time.
    os.environ.setdefault("KERAS_BACKEND", "torch")
    run(sys.argv[1], int(sys.argv[2]))
