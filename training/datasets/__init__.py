"""Datasets of breast ultrasound: reading, indexing, splitting and checking them."""

from keras_efsnet.images.mask_names import is_mask_name, mask_owner
from keras_efsnet.training.datasets.manifest import read_manifest, write_manifest
from keras_efsnet.training.datasets.masks import (
    MaskProblem,
    mask_problems,
    read_mask_file,
)
from keras_efsnet.training.datasets.reading import read_dataset, read_datasets
from keras_efsnet.training.datasets.sample import Sample, by_name, load_mask

__all__ = [
    "MaskProblem",
    "Sample",
    "by_name",
    "is_mask_name",
    "load_mask",
    "mask_owner",
    "mask_problems",
    "read_dataset",
    "read_datasets",
    "read_manifest",
    "read_mask_file",
    "write_manifest",
]
