# %% [markdown]
# # Train and deploy EFSNet on synthetic images
#
# Build, fit, evaluate, export, predict and plot in a few minutes on a laptop's CPU,
# without a dataset. Run it with `python examples/phantoms.py`, or cell by cell: VS
# Code, PyCharm, Spyder and Jupyter (with jupytext) open this file as a notebook.
#
#     pip install -e ".[tflite]"
#
# The images are phantoms from an ultrasound simulation. The results say nothing about
# patients.

# %%
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # the export needs it
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_efsnet import EFSNet, predict
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.models.metrics import Dice
from keras_efsnet.models.presets import find_model
from keras_efsnet.phantoms import write_phantoms
from keras_efsnet.prediction.loading import load_predictor
from keras_efsnet.tflite.export import export
from keras_efsnet.training import pipeline
from keras_efsnet.training.datasets.reading import read_dataset
from keras_efsnet.training.datasets.sample import load_mask
from keras_efsnet.training.datasets.splits import hold_out_fifth
from keras_efsnet.training.evaluate import evaluate

OUT = Path("phantom_example")
# The tests run every cell with settings too small to learn anything.
TINY = bool(os.environ.get("EXAMPLE_TINY"))
PER_CLASS, EPOCHS, SIZE = (2, 1, 32) if TINY else (40, 30, 128)

# %% [markdown]
# ## Data
#
# A dataset has three folders, `normal`, `benign` and `malignant`, with `benign (1).png`
# and its mask `benign (1)_mask.png` side by side. Every fifth image is for validation.
# The test phantoms have another seed.

# %%
samples = read_dataset(write_phantoms(OUT / "data", PER_CLASS, seed=0))
split = hold_out_fifth(samples)
unseen = read_dataset(write_phantoms(OUT / "unseen", max(PER_CLASS // 4, 2), seed=1))
print(f"{len(split.train)} to train, {len(split.validation)} to validate")

# %% [markdown]
# ## Build
#
# The network has two outputs: `mask` is the probability of lesion in each pixel, and
# `class` holds the probabilities of the three classes.

# %%
keras.utils.set_random_seed(0)
model = EFSNet(input_shape=(SIZE, SIZE, 1))
print(f"{model.count_params():,} parameters, outputs {sorted(model.output)}")

# %% [markdown]
# ## Fit
#
# Plain `compile` and `fit`. The batches are shuffled and augmented (flips, warps,
# speckle, shadows). `efsnet train` adds warm-up, averaged weights and exact resume.

# %%
train_cache = pipeline.load_cache(split.train, SIZE)
steps = pipeline.steps_per_epoch(train_cache, batch_size=4)
model.compile(
    keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * steps)
    ),
    loss={"mask": DiceBCE(), "class": "sparse_categorical_crossentropy"},
    loss_weights={"mask": 1.0, "class": 0.3},
    weighted_metrics={"mask": [Dice()], "class": ["sparse_categorical_accuracy"]},
    jit_compile=False,
)
batches = pipeline.training_batches(
    train_cache,
    batch_size=4,
    seed=0,
    steps_per_epoch=steps,
    first_epoch=0,
    epochs=EPOCHS,
)
history = model.fit(
    batches,
    validation_data=pipeline.evaluation_batches(
        pipeline.load_cache(split.validation, SIZE), batch_size=4
    ),
    epochs=EPOCHS,
    steps_per_epoch=steps,
    shuffle=False,
    verbose=2,
)
model_file = OUT / "model.keras"
model.save(model_file)

# %% [markdown]
# ## Evaluate
#
# On phantoms that the network has not seen, at each image's own size. This writes
# `metrics.json`, `per_image.csv` and plots. `efsnet report` makes an HTML page of them.

# %%
metrics = evaluate(
    load_predictor(model_file),
    unseen,
    split_digest="",
    split_name="phantoms, seed 1",
    subset="test",
    model_name=model_file.name,
    protocol="B",
    out=OUT / "evaluation",
)
print(f"Dice of tumour images {metrics['mask']['dice_tumour']:.2f}")
print(f"accuracy of classes {metrics['class']['accuracy']:.2f}")

# %% [markdown]
# ## Export
#
# Two files for LiteRT, which runs on phones and small boards. Each is compared with
# Keras on the validation images. The int8 file takes the raw grey image.

# %%
comparisons = export(
    find_model(model_file), split, ["float32", "int8"], OUT / "files", name="phantoms"
)
for kind, comparison in comparisons.items():
    verdict = "; ".join(comparison.failures) or "passed"
    print(f"{kind}: same class {comparison.class_agreement:.0%}, {verdict}")

# %% [markdown]
# ## Predict
#
# With the float32 file, as an application would do it. This needs no Keras.

# %%
shown = [
    next(s for s in unseen if s.label == label) for label in ("benign", "malignant")
]
predictions = predict([s.image for s in shown], OUT / "files" / "model_float32.tflite")
for sample, prediction in zip(shown, predictions, strict=True):
    print(f"{sample.stem}: {prediction.label}, {prediction.lesion_fraction:.1%} lesion")

# %% [markdown]
# ## Plot
#
# The learning curves, and the true (blue) and predicted (yellow) masks of two images.

# %%
figure = Figure(figsize=(12, 4), layout="constrained")
FigureCanvasAgg(figure)
curves, *panels = figure.subplots(1, 3)
epochs = np.arange(1, EPOCHS + 1)
curves.plot(epochs, history.history["mask_dice"], "o-", label="training")
curves.plot(epochs, history.history["val_mask_dice"], "o-", label="validation")
curves.set(title="Dice of the mask", xlabel="epoch", ylim=(0, 1))
curves.legend()
for axes, sample, prediction in zip(panels, shown, predictions, strict=True):
    axes.imshow(keras.utils.load_img(sample.image))
    truth = load_mask(sample, prediction.mask.shape)
    for mask, colour in ((truth, "#56B4E9"), (prediction.mask, "#FFD600")):
        if mask.any():
            axes.contour(mask, levels=[0.5], colors=[colour])
    axes.set(title=f"{sample.stem}: {prediction.label}")
    axes.set_axis_off()
figure.savefig(OUT / "result.png")
print(f"see {OUT / 'result.png'}")
