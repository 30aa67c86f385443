"""Packs what MediaPipe Tasks must know about a `.tflite` file into the file.

That is a flatbuffer of TensorFlow Lite's metadata schema 1.5.0 and, appended to the
file as a zip archive, the names of the output's channels. The few tables that we need
are written here, so that the writer needs no MediaPipe.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from keras_efsnet import __version__
from keras_efsnet.tflite.flatbuffer import add_buffer

LABELS_FILE = "labels.txt"
_DESCRIPTION = (
    "Breast ultrasound. For research; not a medical device, not for diagnosis."
)

Table = dict[int, Any]
"""A table's values by the number of their field: an int is a byte, a str a string, a
list a vector of floats, strings or tables."""

_MODEL = (
    *("name", "description", "version", "subgraph_metadata"),
    *("author", "license", "associated_files", "min_parser_version"),
)
_SUBGRAPH = (
    *("name", "description", "input_tensor_metadata", "output_tensor_metadata"),
    *("associated_files", "input_process_units", "output_process_units"),
    *("input_tensor_groups", "output_tensor_groups", "custom_metadata"),
)
_TENSOR = (
    *("name", "description", "dimension_names", "content"),
    *("process_units", "stats", "associated_files"),
)
_FILE = ("name", "description", "type")
_UNION = ("type", "value")
"""A union takes two fields: in `Content` and in `ProcessUnit` the first ones."""

_IMAGE, _RGB = 2, 1
_NORMALIZATION = 1
_AXIS_LABELS = 2
_NO_ACTIVATION = 0


def with_task_metadata(content: bytes, output: str, labels: Sequence[str]) -> bytes:
    """Adds metadata to a file from one RGB image in [0, 255] to probabilities.

    Args:
        content: of a `.tflite` file with one input and one output, whose last axis has
            the `labels`.
        output: the output's name.
    """
    labels_file = _table(_FILE, name=LABELS_FILE, type=_AXIS_LABELS)
    outputs = _table(_TENSOR, name=output, associated_files=[labels_file])
    subgraph = _table(
        _SUBGRAPH,
        input_tensor_metadata=[_describe_image()],
        output_tensor_metadata=[outputs],
        custom_metadata=[_segmenter_options()],
    )
    metadata = _table(
        _MODEL,
        name="EFSNet",
        description=_DESCRIPTION,
        version=__version__,
        license="Apache-2.0",
        subgraph_metadata=[subgraph],
        min_parser_version="1.5.0",
    )
    content = add_buffer(content, "TFLITE_METADATA", _finish(metadata, b"M001"))
    return _append_zip(content, LABELS_FILE, "\n".join(labels))


def _describe_image() -> Table:
    """The task gives `(value - mean) / std`: with 0 and 1, the values as they are."""
    rgb = _table(_UNION, type=_IMAGE, value={0: _RGB})
    as_they_are = _table(_UNION, type=_NORMALIZATION, value={0: [0.0], 1: [1.0]})
    return _table(_TENSOR, name="image", content=rgb, process_units=[as_they_are])


def _segmenter_options() -> Table:
    """Tells ImageSegmenter to apply no activation; ImageClassifier does not read it."""
    options = _finish({0: _NO_ACTIVATION}, b"V001")
    return {0: "SEGMENTER_METADATA", 1: options}


def _table(fields: Sequence[str], **values: Any) -> Table:
    return {fields.index(name): value for name, value in values.items()}


def _finish(table: Table, identifier: bytes) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, table), file_identifier=identifier)
    return bytes(builder.Output())


def _write(builder: Any, value: Any) -> int:
    """Writes a value and what it refers to; gives its place."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, bytes):
        builder.Prep(16, len(value))  # the schema's alignment
        return builder.CreateByteVector(value)
    if isinstance(value, list):
        return _write_vector(builder, value)
    places = {
        field: part if isinstance(part, int) else _write(builder, part)
        for field, part in value.items()
    }
    builder.StartObject(max(places) + 1)
    for field, place in places.items():
        if isinstance(value[field], int):
            builder.PrependInt8Slot(field, place, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(field, place, 0)
    return builder.EndObject()


def _write_vector(builder: Any, values: list[Any]) -> int:
    if isinstance(values[0], float):
        return builder.CreateNumpyVector(np.array(values, np.float32))
    places = [_write(builder, value) for value in values]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return builder.EndVector()


def _append_zip(content: bytes, name: str, text: str) -> bytes:
    """Appends an archive of one file."""
    whole = io.BytesIO(content)
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), text)  # without date, uncompressed
    return whole.getvalue()
