"""MediaPipe Tasks: ImageSegmenter and ImageClassifier, each with its own file.

python mediapipe_worker.py SEGMENTER.tflite CLASSIFIER.tflite IMAGES.npy OUT

The time is of both. MediaPipe has no option for the number of threads.
"""

from pathlib import Path

import mediapipe
import numpy as np
from common import Run, work
from mediapipe.tasks.python.vision import ImageClassifier, ImageSegmenter


def load(segmenter_file: Path, classifier_file: Path) -> tuple[str, Run]:
    segmenter = ImageSegmenter.create_from_model_path(str(segmenter_file))
    classifier = ImageClassifier.create_from_model_path(str(classifier_file))
    lesion = segmenter.labels.index("lesion")

    def run(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rgb = np.repeat(frame[:, :, None], 3, axis=2)
        image = mediapipe.Image(mediapipe.ImageFormat.SRGB, rgb)
        mask = segmenter.segment(image).confidence_masks[lesion].numpy_view()
        (head,) = classifier.classify(image).classifications
        by_index = sorted(head.categories, key=lambda category: category.index)
        return mask.copy(), np.float32([category.score for category in by_index])

    return mediapipe.__version__, run


if __name__ == "__main__":
    work(load)
