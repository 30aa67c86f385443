"""The outputs that a network has for its training alone."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_efsnet import EFSNet
from keras_efsnet.models.losses import DiceBCE
from keras_efsnet.training.callbacks import Checkpoints
from keras_efsnet.training.networks import TrainingModel, compile_model
from keras_efsnet.training.settings import TrainSettings
from keras_efsnet.training.state import TrainingState

SETTINGS = TrainSettings(data="phantom", phantoms=2, deep_supervision=0.5)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 16, 16, 1)).astype("float32")
    mask = np.zeros((2, 16, 16, 1), "float32")
    mask[0, :12, :8] = 1
    weight = np.float32([1, 0.5])
    return (
        x,
        {"mask": mask, "class": np.int32([1, 0])},
        {
            "mask": weight,
            "class": weight,
        },
    )


@pytest.fixture
def model():
    model = TrainingModel(EFSNet((16, 16, 1), width=0.5), True, False)
    compile_model(model, SETTINGS, 1)
    return model


def test_the_loss_adds_that_of_the_shares_of_lesion(model, batch):
    x, y, weight = batch
    outputs = model(x)
    assert tuple(outputs["coarse"].shape) == (2, 2, 2, 1)
    total = model.compute_loss(x, y, outputs, weight)
    shares = np.array([[[1, 0], [0.5, 0]], [[0, 0], [0, 0]]])[..., None]
    losses = {
        "mask": DiceBCE()(y["mask"], outputs["mask"], weight["mask"]),
        "class": keras.losses.SparseCategoricalCrossentropy()(
            y["class"], outputs["class"], weight["class"]
        ),
        "coarse": DiceBCE()(shares, outputs["coarse"], weight["mask"]),
    }
    expected = losses["mask"] + losses["class"] + 0.5 * losses["coarse"]
    assert keras.ops.convert_to_numpy(total) == pytest.approx(
        keras.ops.convert_to_numpy(expected), rel=1e-5
    )


def test_fit_trains_the_network_and_the_second_head(model, batch):
    model.run_eagerly = True  # no graph is traced for one step
    before = [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]
    model.fit(*batch[:2], sample_weight=batch[2], verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert not np.array_equal(keras.ops.convert_to_numpy(weight), old), weight.path


def test_tumours_alone_are_judged_among_tumours(batch):
    x, y, _ = batch
    model = TrainingModel(EFSNet((16, 16, 1), width=0.5), False, True)
    compile_model(model, SETTINGS, 1)
    outputs = model(x)
    _, benign, malignant = keras.ops.convert_to_numpy(outputs["class"]).T
    found = keras.ops.convert_to_numpy(outputs["tumour"])[:, 0]
    np.testing.assert_allclose(found, malignant / (benign + malignant), rtol=1e-5)
    nothing, one = np.float32([0, 0]), np.float32([1, 0])
    only = {"mask": nothing, "class": nothing, "tumour": one}  # a benign image
    loss = keras.ops.convert_to_numpy(model.compute_loss(x, y, outputs, only))
    assert loss == pytest.approx(-np.log(1 - found[0]) / 2, rel=1e-4)
    without = {"mask": nothing, "class": nothing}
    assert keras.ops.convert_to_numpy(model.compute_loss(x, y, outputs, without)) == 0


def test_a_teacher_counts_as_much_as_the_truth(batch):
    x, y, weight = batch
    model = TrainingModel(EFSNet((16, 16, 1), width=0.5), False, False, 8)
    compile_model(model, replace(SETTINGS, deep_supervision=0), 1)
    outputs = model(x)
    taught = np.random.default_rng(1).random((2, 8, 8, 1), np.float32)
    classes = np.float32([[0.2, 0.5, 0.3], [0.9, 0.1, 0]])
    small = keras.ops.average_pool(outputs["mask"], 2, 2)
    sparse = keras.losses.SparseCategoricalCrossentropy()
    dense = keras.losses.CategoricalCrossentropy()
    truth = DiceBCE()(y["mask"], outputs["mask"], weight["mask"])
    truth += sparse(y["class"], outputs["class"], weight["class"])
    full = np.float32([1, 1])
    answers = DiceBCE()(taught, small, full) + dense(classes, outputs["class"], full)
    total = model.compute_loss(
        x,
        {**y, "taught_mask": taught, "taught_class": classes},
        outputs,
        {**weight, "taught_mask": full, "taught_class": full},
    )
    to_number = keras.ops.convert_to_numpy
    assert to_number(total) == pytest.approx(to_number(truth + answers) / 2, rel=1e-5)
    alone = model.compute_loss(x, y, outputs, weight)  # as in validation
    assert to_number(alone) == pytest.approx(to_number(truth) / 2, rel=1e-5)


def test_the_optimizer_has_the_settings_of_the_run(model):
    settings = replace(
        SETTINGS,
        epochs=10,
        learning_rate=0.01,
        warmup_epochs=2,
        weight_decay=0.03,
        clip_norm=0.7,
        ema_momentum=0.9,
    )
    compile_model(model, settings, 5)
    optimizer = model.optimizer
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert optimizer.global_clipnorm == 0.7
    assert optimizer.weight_decay == 0.03
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.9)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 5, 10, 30, 50)]
    assert rates == pytest.approx([1e-4, 0.00505, 0.01, 0.00505, 1e-4], rel=1e-3)
    decayed = {
        weight.name
        for weight in model.trainable_variables
        if optimizer._use_weight_decay(weight)
    }
    assert all("kernel" in name for name in decayed)
    kernels = {w.name for w in model.trainable_variables if "kernel" in w.name}
    assert decayed == kernels


def test_the_saved_weights_are_averages_of_the_steps(batch, tmp_path):
    network = EFSNet((16, 16, 1), width=0.5, class_dropout=0.0)
    settings = replace(SETTINGS, deep_supervision=0, ema_momentum=0.75)
    compile_model(network, settings, 1)
    network.run_eagerly = True
    steps = []
    for _ in range(2):
        network.train_on_batch(*batch)
        steps.append([np.array(w) for w in to_arrays(network.trainable_weights)])
    state = TrainingState(network, tmp_path / "state.npz")
    checkpoints = Checkpoints(state, network, tmp_path / "best.keras", -1.0)
    checkpoints.set_model(network)
    checkpoints.on_epoch_begin(0)
    checkpoints.on_epoch_end(0, {"val_mask_dice": 0.5})
    saved = EFSNet.from_preset(tmp_path / "best.keras").trainable_weights
    moved = 0
    for found, one, two in zip(to_arrays(saved), *steps, strict=True):
        np.testing.assert_allclose(found, 0.75 * one + 0.25 * two, atol=1e-6)
        moved += np.abs(two - found).sum()
    assert moved > 1e-3
    for raw, two in zip(to_arrays(network.trainable_weights), steps[1], strict=True):
        np.testing.assert_array_equal(raw, two)


def test_the_dropout_in_the_blocks_works():
    x = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1)).astype("float32")

    def differs(**rates):
        model = EFSNet((16, 16, 1), width=0.5, class_dropout=0.0, **rates)
        one, two = (model(x, training=True)["mask"] for _ in range(2))
        return not np.allclose(*to_arrays([one, two]), rtol=0, atol=1e-6)

    assert differs(dropout=0.3)
    assert not differs(dropout=0.0)


def to_arrays(values):
    return [keras.ops.convert_to_numpy(value) for value in values]
