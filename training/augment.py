"""Changes training images and their masks at random, with NumPy and Pillow.

The same seed gives the same pixels in any thread, process and backend. Exact resume
needs this, and Keras's Random layers cannot do it in a parallel map.
"""

from collections.abc import Sequence

import numpy as np

from keras_efsnet.training.augmentation import Augmentation
from keras_efsnet.training.geometry import move
from keras_efsnet.training.intensity import repaint
from keras_efsnet.training.screens import add_screen


def augment_batch(
    images: np.ndarray,
    masks: np.ndarray,
    seed: Sequence[int],
    policy: Augmentation | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Changes each image of a batch and its mask at random.

    Result `i` depends only on image and mask `i`, `seed`, `i` and `policy`.

    Args:
        images: uint8 `(n, height, width)`.
        masks: uint8 `(n, height, width)`, 1 = lesion, 0 = elsewhere.
        seed: non-negative integers.
        policy: probabilities and strengths; None means the defaults.

    Returns:
        New arrays of the same shapes, types and ranges. Warps fill the sides with the
        mirrored image and mask, and keep the centre of the lesions in view.
    """
    policy = policy or Augmentation()
    new_images, new_masks = np.empty_like(images), np.empty_like(masks)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        rng = np.random.default_rng([*seed, index])
        image, mask = move(image, mask, rng, policy)
        image = repaint(image, rng, policy)
        # Nothing is drawn where it is off, so that older runs repeat exactly.
        if policy.screen_probability and rng.random() < policy.screen_probability:
            image, mask = add_screen(image, mask, rng)
        new_images[index], new_masks[index] = image, mask
    return new_images, new_masks
