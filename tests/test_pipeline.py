"""The input pipeline: cache, weights, order, and what `fit` really consumes."""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_efsnet.images.grey import resize_image
from keras_efsnet.training import pipeline
from keras_efsnet.training.augmentation import Augmentation
from keras_efsnet.training.datasets.sample import Sample
from keras_efsnet.training.pipeline import ImageCache

UNCHANGED = Augmentation(
    flip_probability=0,
    warp_probability=0,
    tone_probability=0,
    speckle_probability=0,
    depth_gain_probability=0,
    shadow_probability=0,
    blur_probability=0,
    erase_probability=0,
    caliper_probability=0,
)
PLAN = {"batch_size": 2, "seed": 5, "steps_per_epoch": 3}
GREYS = 2 ** np.arange(7)
"""One grey level an image: the sum over a batch tells which images are in it."""


@pytest.fixture
def cache() -> ImageCache:
    images = np.ones((7, 16, 24), np.uint8) * GREYS[:, None, None].astype(np.uint8)
    return ImageCache(
        images=images,
        masks=(np.arange(24) < 8) * np.ones_like(images),
        labels=np.arange(7) % 3,
        mask_weight=np.float32([1, 0, 1, 1, 1, 1, 1]),
        class_weight=np.float32([1, 1, 1, 1, 1, 1, 0]),
        groups=np.array(["a/normal", "a/tumour", "a/tumour"] * 2 + ["a/normal"]),
    )


def to_list(data: Iterable) -> list:
    return [keras.tree.map_structure(np.asarray, batch) for batch in data]


def sums(batches: list) -> list[int]:
    return [int(x[:, 0, 0, 0].sum()) for x, _, _ in batches]


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def test_cache_holds_resized_images_and_merged_masks(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    left, top = np.zeros((2, 40, 60))
    left[:, :30], top[:20] = 255, 255
    masks = (save(tmp_path / "a_mask.png", left), save(tmp_path / "a_mask_1.png", top))
    path = save(tmp_path / "a.png", image)
    cache = pipeline.load_cache([Sample("a", "malignant", path, masks)], 32)
    assert np.array_equal(cache.images, [resize_image(image, (32, 32))])
    expected = np.ones((32, 32))
    expected[16:, 16:] = 0
    assert np.array_equal(cache.masks, [expected])
    assert cache.images.dtype == cache.masks.dtype == np.uint8


@pytest.mark.parametrize(
    ("label", "has_mask", "index", "mask_weight", "class_weight"),
    [
        ("normal", False, 0, 1, 1),
        ("benign", True, 1, 1, 1),
        ("malignant", False, 2, 0, 1),
        (None, True, 0, 1, 0),
        (None, False, 0, 0, 0),
    ],
)
def test_what_is_unknown_has_no_weight(
    label, has_mask, index, mask_weight, class_weight, tmp_path
):
    path = save(tmp_path / "a.png", np.zeros((8, 8)))
    masks = (
        (save(tmp_path / "a_mask.png", np.pad(np.ones((4, 4)), 2)),) if has_mask else ()
    )
    cache = pipeline.load_cache([Sample("a", label, path, masks)], 8)
    assert cache.labels.tolist() == [index]
    assert cache.mask_weight.tolist() == [mask_weight]
    assert cache.class_weight.tolist() == [class_weight]
    assert cache.masks.max() == has_mask


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="samples is empty"):
        pipeline.load_cache([], 32)


def test_steps_per_epoch_drops_a_partial_batch(cache):
    assert pipeline.steps_per_epoch(cache, 2) == 3
    assert pipeline.steps_per_epoch(cache, 7) == 1
    for batch_size in (0, 8):
        with pytest.raises(ValueError, match="batch_size must lie between 1 and .* 7"):
            pipeline.steps_per_epoch(cache, batch_size)


def test_an_epoch_longer_than_the_data_is_refused(cache):
    with pytest.raises(ValueError, match="steps_per_epoch, 4, must be at most 3"):
        pipeline.training_batches(
            cache,
            batch_size=2,
            seed=0,
            steps_per_epoch=4,
            first_epoch=0,
            epochs=1,
        )


def test_batches_have_the_contract_of_fit(cache):
    data = pipeline.training_batches(cache, **PLAN, first_epoch=0, epochs=1)
    for x, y, weight in to_list(data):
        assert x.shape == y["mask"].shape == (2, 16, 24, 1)
        assert x.dtype == y["mask"].dtype == np.float32
        assert x.max() > 1 and set(np.unique(y["mask"])) <= {0, 1}
        assert y["class"].shape == (2,) and y["class"].dtype == np.int32
        assert weight["mask"].shape == weight["class"].shape == (2,)


def test_targets_and_weights_belong_to_their_image(cache):
    data = pipeline.training_batches(
        cache,
        **PLAN,
        first_epoch=0,
        epochs=4,
        policy=UNCHANGED,
        class_weight_at=lambda epoch: epoch / 2,
    )
    for step, (x, y, weight) in enumerate(to_list(data)):
        chosen = np.log2(x[:, 0, 0, 0]).astype(int)
        assert np.array_equal(y["class"], cache.labels[chosen])
        assert np.array_equal(y["mask"][..., 0], cache.masks[chosen])
        assert np.array_equal(weight["mask"], cache.mask_weight[chosen])
        known = cache.class_weight[chosen]
        # Over the known classes alone, as the class's loss is a mean over the batch.
        factor = step // 3 / 2 * len(known) / known.sum()
        assert np.array_equal(weight["class"], factor * known)


def test_an_epoch_takes_no_image_twice_and_shuffles_anew(cache):
    data = pipeline.training_batches(
        cache, **PLAN, first_epoch=0, epochs=8, policy=UNCHANGED
    )
    epochs = np.reshape(sums(to_list(data)), (8, 3))
    assert all(int(total).bit_count() == 6 for total in epochs.sum(axis=1))
    assert len(np.unique(epochs, axis=0)) > 4
    assert np.bitwise_or.reduce(epochs, axis=None) == GREYS.sum()


def test_resuming_gives_the_same_later_batches_on_every_backend(cache, monkeypatch):
    streams = []
    for backend, first_epoch in (("tensorflow", 0), ("tensorflow", 1), ("torch", 1)):
        monkeypatch.setattr(keras.backend, "backend", lambda name=backend: name)
        data = pipeline.training_batches(
            cache, **PLAN, first_epoch=first_epoch, epochs=3
        )
        streams.append(to_list(data)[-6:])
    for whole, resumed, elsewhere in zip(*streams, strict=True):
        keras.tree.map_structure(np.testing.assert_array_equal, whole, resumed)
        keras.tree.map_structure(np.testing.assert_array_equal, whole, elsewhere)


@pytest.fixture
def alike(cache) -> ImageCache:
    """Copies of one image: what differs between batches is the augmentation alone."""
    image = np.random.default_rng(0).integers(50, 200, (16, 24), dtype=np.uint8)
    return ImageCache(**{**vars(cache), "images": np.stack([image] * 7)})


def test_an_image_is_changed_anew_in_each_batch_epoch_and_seed(alike):
    images = [
        x
        for plan in (PLAN, {**PLAN, "seed": 6})
        for x, _, _ in to_list(
            pipeline.training_batches(alike, **plan, first_epoch=0, epochs=3)
        )
    ]
    images = np.concatenate(images)
    assert len(np.unique(images, axis=0)) == len(images)


def test_the_order_depends_on_the_seed(cache):
    orders = [
        sums(
            to_list(
                pipeline.training_batches(
                    cache,
                    **{**PLAN, "seed": seed},
                    first_epoch=0,
                    epochs=2,
                    policy=UNCHANGED,
                )
            )
        )
        for seed in (0, 1)
    ]
    assert orders[0] != orders[1]


def test_evaluation_takes_every_image_once_in_order(cache):
    batches = to_list(pipeline.evaluation_batches(cache, 3))
    assert [len(x) for x, _, _ in batches] == [3, 3, 1]
    images = np.concatenate([x[..., 0] for x, _, _ in batches])
    masks = np.concatenate([y["mask"][..., 0] for _, y, _ in batches])
    assert np.array_equal(images, cache.images)
    assert np.array_equal(masks, cache.masks)


class SeenByFit(keras.callbacks.Callback):
    """The sum over each batch's images, from the running mean of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def on_epoch_begin(self, epoch, logs=None):
        self.total = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = (batch + 1) * float(logs["mask_loss"])
        self.batches.append(round(PLAN["batch_size"] * (total - self.total)))
        self.total = total


def fit(cache: ImageCache, first_epoch: int, **options: bool) -> list[int]:
    def mean_grey(y_true, y_pred):
        return keras.ops.mean(y_pred, axis=(1, 2, 3))

    image = keras.Input((16, 24, 1))
    mask = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="mask")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    label = keras.layers.Dense(3, activation="softmax", name="class")(pooled)
    model = keras.Model(image, {"mask": mask, "class": label})
    loss = {"mask": mean_grey, "class": "sparse_categorical_crossentropy"}
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=False)
    seen = SeenByFit()
    model.fit(
        pipeline.training_batches(
            cache, **PLAN, first_epoch=first_epoch, epochs=3, policy=UNCHANGED
        ),
        validation_data=pipeline.evaluation_batches(cache, 3),
        epochs=3,
        initial_epoch=first_epoch,
        steps_per_epoch=PLAN["steps_per_epoch"],
        verbose=0,
        callbacks=[seen],
        **options,
    )
    return seen.batches


def test_fit_consumes_each_batch_once_in_order(cache):
    cache = ImageCache(**{**vars(cache), "mask_weight": np.ones(7, np.float32)})
    data = pipeline.training_batches(
        cache, **PLAN, first_epoch=0, epochs=3, policy=UNCHANGED
    )
    expected = sums(to_list(data))
    assert len(set(expected)) > 6
    assert fit(cache, 0, shuffle=False) == expected
    assert fit(cache, 1, shuffle=False) == expected[3:]
    assert fit(cache, 3, shuffle=False) == []
    with pytest.warns(UserWarning, match="will be ignored"):
        assert fit(cache, 0) == expected


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_fit_consumes_the_same_without_tensorflow(backend):
    pytest.importorskip(backend)
    this = f"{__file__}::{test_fit_consumes_each_batch_once_in_order.__name__}"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", this],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout


def test_shares_decide_how_often_a_group_is_drawn(cache):
    plan = {**PLAN, "steps_per_epoch": 3, "policy": UNCHANGED}
    shares = {"a/normal": 1.0, "a/tumour": 0.0}
    data = pipeline.training_batches(
        cache, first_epoch=0, epochs=20, shares=shares, **plan
    )
    labels = np.concatenate([y["class"] for _, y, _ in to_list(first_steps(data, 60))])
    assert set(labels) == {0}
    shares = {"a/normal": 3.0, "a/tumour": 1.0}
    data = pipeline.training_batches(
        cache, first_epoch=0, epochs=100, shares=shares, **plan
    )
    labels = np.concatenate([y["class"] for _, y, _ in to_list(first_steps(data, 300))])
    assert 0.7 < np.mean(labels == 0) < 0.8


def first_steps(data: Iterable, count: int) -> Iterable:
    return (batch for batch, _ in zip(iter(data), range(count), strict=False))


@pytest.mark.parametrize(
    "shares", [{"a/normal": 1}, {"a/normal": 1, "a/tumour": 1, "b/normal": 1}]
)
def test_shares_name_every_group(cache, shares):
    with pytest.raises(ValueError, match=r"shares must hold .* a/normal, a/tumour"):
        pipeline.training_batches(cache, first_epoch=0, epochs=1, shares=shares, **PLAN)


def test_added_normals_follow_the_real_images(cache):
    images = np.full((2, 16, 24), 9, np.uint8)
    more = pipeline.add_normals(cache, images, np.array([1, 5]))
    assert len(more) == 9
    assert np.array_equal(more.images[:7], cache.images)
    assert np.array_equal(more.images[7:], images)
    assert not more.masks[7:].any()
    assert more.labels[7:].tolist() == [0, 0]
    assert more.groups[7:].tolist() == ["a/removed"] * 2
    assert more.mask_weight[7:].tolist() == more.class_weight[7:].tolist() == [1, 1]
    none = pipeline.add_normals(cache, images[:0], np.array([], int))
    assert len(none) == 7


def test_a_teacher_answers_the_augmented_images(cache):
    def teacher(images):
        assert images.shape == (2, 16, 24)
        grey = images[:, 0, 0].astype(np.float32)
        return np.float32(grey[:, None, None, None] * np.ones((4, 4, 1))), np.float32(
            grey[:, None] * [0, 1, 2]
        )

    data = pipeline.training_batches(
        cache,
        first_epoch=0,
        epochs=1,
        class_weight_at=lambda epoch: 0.25,
        teacher=teacher,
        **PLAN,
    )
    for x, y, weight in to_list(first_steps(data, 3)):
        grey = x[:, 0, 0, 0]
        assert y["taught_mask"].shape == (2, 4, 4, 1)
        assert y["taught_mask"][:, 0, 0, 0].tolist() == grey.tolist()
        assert y["taught_class"].tolist() == (grey[:, None] * [0, 1, 2]).tolist()
        assert weight["taught_mask"].tolist() == [1, 1]
        assert weight["taught_class"].tolist() == [0.25, 0.25]


def from_sources(cache: ImageCache, groups: list[str], labels: list[int]):
    return replace(cache, groups=np.array(groups), labels=np.array(labels))


def test_sources_of_tumours_alone_have_another_loss(cache):
    groups = ["a/normal", "a/tumour", "b/tumour", "b/tumour", *["a/tumour"] * 3]
    mixed = from_sources(cache, groups, [0, 1, 1, 2, 2, 1, 1])
    alone = [False, False, True, True, False, False, False]
    assert pipeline.tumours_only(mixed).tolist() == alone
    data = pipeline.training_batches(
        mixed,
        first_epoch=0,
        epochs=1,
        policy=UNCHANGED,
        class_weight_at=lambda epoch: 0.5,
        **{**PLAN, "batch_size": 7, "steps_per_epoch": 1},
    )
    ((x, _, weight),) = to_list(first_steps(data, 1))
    grey = x[:, 0, 0, 0].astype(int)
    of_b = np.isin(grey, GREYS[2:4])
    known = np.float32(np.where(grey == GREYS[6], 0, 0.5 * 7 / 6))
    assert weight["class"].tolist() == (known * ~of_b).tolist()
    assert weight["tumour"].tolist() == (known * of_b).tolist()


def test_one_source_or_none_without_normals_is_judged_as_a_whole(cache):
    only = from_sources(cache, ["b/tumour"] * 7, [1, 2] * 3 + [1])
    assert not pipeline.tumours_only(only).any()
    both = from_sources(
        cache, ["a/normal", *["a/tumour"] * 5, "b/removed"], [0, 1, 1, 1, 1, 1, 0]
    )
    known = replace(both, class_weight=np.ones(7, np.float32))
    assert not pipeline.tumours_only(known).any()


def test_own_classes_are_numbered_in_their_order(tmp_path):
    path = save(tmp_path / "a.png", np.full((16, 16), 90))
    samples = [Sample(str(n), x, path) for n, x in enumerate(("solid", None, "cyst"))]
    cache = pipeline.load_cache(samples, 16, ("cyst", "solid"))
    assert cache.labels.tolist() == [1, 0, 0]
    assert cache.class_weight.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="its label is 'solid', but the model's are"):
        pipeline.load_cache(samples, 16)
    # Without classes any label will do, and none counts.
    assert not pipeline.load_cache(samples, 16, ()).class_weight.any()


def test_a_mask_that_is_not_trained_has_no_weight(tmp_path):
    path = save(tmp_path / "a.png", np.full((16, 16), 90))
    mask = np.zeros((16, 16))
    mask[4:8, 4:8] = 255
    drawn = (save(tmp_path / "a_mask.png", mask),)
    samples = [Sample("a", "normal", path), Sample("b", "benign", path, drawn)]
    assert pipeline.load_cache(samples, 16).mask_weight.tolist() == [1, 1]
    cache = pipeline.load_cache(samples, 16, tasks=("class",))
    assert cache.mask_weight.tolist() == [0, 0]


def test_tumours_alone_are_of_the_usual_classes(cache):
    groups = np.array(["a/normal", "b/tumour", "b/tumour", *["a/normal"] * 4])
    usual = replace(cache, groups=groups)
    assert pipeline.tumours_only(usual).sum() == 2
    assert not pipeline.tumours_only(replace(usual, classes=("a", "b", "c"))).any()


def test_a_removed_lesion_is_normal_where_there_is_such_a_class(cache):
    images, originals = np.zeros((2, 16, 24), np.uint8), np.array([1, 4])
    for classes, weight, number in (
        (("cyst", "normal", "solid"), 1, 1),
        (("cyst", "solid", "abscess"), 0, 0),
    ):
        own = replace(cache, classes=classes)
        more = pipeline.add_normals(own, images, originals)
        assert more.classes == classes
        assert more.class_weight[-2:].tolist() == [weight] * 2
        assert more.labels[-2:].tolist() == [number] * 2
        assert more.mask_weight[-2:].tolist() == [1, 1]
