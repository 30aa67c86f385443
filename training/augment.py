"""One random change of an image and its mask together, in NumPy and Pillow.

A function of its arguments alone: the same seed gives the same pixels in any thread,
process and backend. Exact resume needs this; Keras's Random layers, with their seed
state, cannot give it in a parallel map.
"""

from collections.abc import Sequence

import numpy as np

from keras_efsnet.training.augmentation import Augmentation
from keras_efsnet.training.geometry import move
from keras_efsnet.training.intensity import repaint


def augment_batch(
    images: np.ndarray,
    masks: np.ndarray,
    seed: Sequence[int],
    policy: Augmentation | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Changes each image of a batch, and its mask with it, at random.

    Image number `i` depends on itself, its mask, `seed`, `i` and `policy` only.

    Args:
        images: uint8 `(n, height, width)`.
        masks: uint8 `(n, height, width)`, 1 = lesion, 0 = elsewhere.
        seed: non-negative integers.
        policy: probabilities and strengths; None takes the defaults.

    Returns:
        New arrays of the same shapes, types and ranges. A warp brings in, from the
        sides, image and mask mirrored at the border; the middle of the lesions stays
        in view.
    """
    policy = policy or Augmentation()
    new_images, new_masks = np.empty_like(images), np.empty_like(masks)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        rng = np.random.default_rng([*seed, index])
        image, new_masks[index] = move(image, mask, rng, policy)
        new_images[index] = repaint(image, rng, policy)
    return new_images, new_masks
