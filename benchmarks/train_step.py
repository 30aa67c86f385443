"""Prints the images per second of a fit step at 256 x 256, on each installed backend.

    python benchmarks/train_step.py [--batch-size 8] [--reference FILE]

Backends run one after the other, each in its own process, with the losses of `efsnet
train` and AdamW. "plain" uses `keras.ops` for norms, activations and native grouped and
depthwise convolutions. "kernels" is EFSNet. "averaged" adds the averaged weights and
gradient clipping of `efsnet train`. `--reference` is a Python file whose `step(batch)`
gives the images per second of another implementation.
"""

import argparse
import importlib.util
import os
import runpy
import statistics
import subprocess
import sys
import time

BACKENDS = ("tensorflow", "jax", "torch")
FORMS = ("plain", "kernels", "averaged")
STEPS = 8
WARM_UP = 2


def main() -> None:
    arguments = parse()
    if arguments.backend:
        print(measure(arguments.batch_size, arguments.form))
        return
    print(f"fit step, batch {arguments.batch_size} at 256 x 256, {os.cpu_count()} CPUs")
    print(f"{'implementation':30} images/s (median of {STEPS})")
    if arguments.reference:
        rate = runpy.run_path(arguments.reference)["step"](arguments.batch_size)
        print(f"{'reference':30} {rate:.1f}")
    for backend in BACKENDS:
        if importlib.util.find_spec(backend):
            for form in FORMS:
                rate = measure_apart(backend, arguments.batch_size, form)
                print(f"{f'{backend}, {form}':30} {rate}", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--reference", help="Python file with step(batch)")
    parser.add_argument("--backend", choices=BACKENDS, help=argparse.SUPPRESS)
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_apart(backend: str, batch_size: int, form: str) -> str:
    """Runs this script for one backend; gives the rate it prints."""
    command = [sys.executable, __file__, "--backend", backend]
    command += ["--batch-size", str(batch_size), "--form", form]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        return "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1]
    return done.stdout.strip().splitlines()[-1]


def measure(batch_size: int, form: str) -> str:
    """Gives the images per second on the current backend."""
    import keras
    import numpy as np

    if form == "plain":
        use_plain_operations()
    from keras_efsnet.training.networks import build_model, compile_model
    from keras_efsnet.training.settings import TrainSettings

    settings = TrainSettings(data="phantom", phantoms=2)
    model = build_model(settings)
    compile_model(model, settings, steps=100)
    if form != "averaged":
        model.compile(
            keras.optimizers.AdamW(),
            loss=model.loss,
            jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
        )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, 256, 256, 1)).astype("float32")
    targets = {
        "mask": (images > 230).astype("float32"),
        "class": rng.integers(0, 3, batch_size),
    }
    seconds = []
    for _ in range(WARM_UP + STEPS):
        start = time.perf_counter()
        model.train_on_batch(images, targets)
        seconds.append(time.perf_counter() - start)
    return f"{batch_size / statistics.median(seconds[WARM_UP:]):.1f}"


def use_plain_operations() -> None:
    """Replaces EFSNet's kernels with plain operations."""
    import keras
    from keras import ops

    from keras_efsnet.models import activations, convolutions

    def grouped(self, inputs):  # type: ignore[no-untyped-def]
        return ops.conv(inputs, self.kernel)

    def separable(self, inputs):  # type: ignore[no-untyped-def]
        deep = ops.depthwise_conv(inputs, self.depthwise_kernel, padding="same")
        return ops.conv(deep, self.pointwise_kernel)

    def prelu(self, inputs):  # type: ignore[no-untyped-def]
        return ops.maximum(inputs, self.slope * inputs)

    # TensorFlow has no CPU gradient for native groups outside XLA.
    if keras.backend.backend() != "tensorflow":
        convolutions.GroupedPointwiseConv2D.call = grouped
    convolutions.SeparableConv2D.call = separable
    activations.SharedPReLU.call = prelu
    convolutions.BatchNorm.call = keras.layers.BatchNormalization.call


if __name__ == "__main__":
    main()
